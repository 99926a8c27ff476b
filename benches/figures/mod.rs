//! What the benches that run the binary share: percentiles, and what a process costs as the kernel counts it.

// Each bench is a crate of its own and uses its own part of this.
#![allow(dead_code)]

use std::fs;
use std::time::Duration;

use rustix::process::Pid;

/// The smallest of `values` that no more than `share` of them are below.
pub(crate) fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (share * sorted.len() as f64).ceil().max(1.0);
    // A share of a count is a count.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let index = rank as usize - 1;
    sorted[index.min(sorted.len() - 1)]
}

/// In milliseconds.
pub(crate) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// A process's resident memory in KiB.
pub(crate) fn resident_kib(pid: Pid) -> u64 {
    let status = read(pid, "status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("every process has a size");
    line.trim().trim_end_matches(" kB").parse().expect("a number of kB")
}

/// The CPU time that a process has used, in user and kernel mode, right to a hundredth of a second.
pub(crate) fn cpu_time(pid: Pid) -> Duration {
    let stat = read(pid, "stat");
    // The name in parentheses may hold anything; utime and stime are the 12th and 13th field behind it, proc(5).
    let (_, fields) = stat.rsplit_once(')').expect("a name in parentheses");
    let ticks: u64 =
        fields.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("ticks")).sum();
    // USER_HZ, which is 100 on every Linux that this runs on.
    Duration::from_millis(ticks * 10)
}

fn read(pid: Pid, file: &str) -> String {
    fs::read_to_string(format!("/proc/{}/{file}", pid.as_raw_nonzero())).expect("the process runs")
}
