//! What memory a process has, as the kernel counts it.

use std::fs;

use rustix::process::Pid;

/// What is resident now, in KiB.
pub(crate) fn resident(pid: Pid) -> u64 {
    line(pid, "VmRSS:")
}

/// The most that ever was resident, in KiB: no peak between two looks escapes it. The kernel counts in batches, so that
/// a later look may give a little less.
pub(crate) fn peak(pid: Pid) -> u64 {
    line(pid, "VmHWM:")
}

fn line(pid: Pid, name: &str) -> u64 {
    let path = format!("/proc/{}/status", pid.as_raw_nonzero());
    let status = fs::read_to_string(path).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("Linux says so");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
