//! What `/proc` says about processes: whose children they are, what CPU time they have used, what memory they hold,
//! where they listen. Reads only; blocking, in time that grows with the number of processes on the machine.

use std::collections::HashMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use rustix::process::Pid;

use crate::runtime::sockets;

/// The few fields of `/proc/<pid>/stat` that matter here.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stat {
    parent: i32,
    /// Ticks in user and kernel mode.
    own: u64,
    /// The same of children that have ended and been waited for, and of theirs.
    reaped: u64,
    /// Ticks from boot to the start: with the PID, it names a process for good.
    started: u64,
    /// Pages in memory.
    resident: u64,
}

/// The living children of one process.
pub(super) fn children_of(parent: Pid) -> Vec<Pid> {
    let parent = parent.as_raw_nonzero().get();
    every_process()
        .filter(|(_, stat)| stat.parent == parent)
        .filter_map(|(pid, _)| Pid::from_raw(pid))
        .collect()
}

/// CPU time of all that ever descended from a warden. Its own is not the replica's.
pub(super) fn cpu_time_below(warden: Pid) -> Duration {
    let all: HashMap<i32, Stat> = every_process().collect();
    let living: u64 = below(warden, &all).map(|stat| stat.own + stat.reaped).sum();
    let ended = all.get(&warden.as_raw_nonzero().get()).map_or(0, |stat| stat.reaped);
    ticks(living + ended)
}

/// Bytes in memory of all that descends from a warden: the sum of their resident sets, so that pages which several
/// of them share count for each. The warden's own are not the replica's.
pub(super) fn resident_below(warden: Pid) -> u64 {
    let all: HashMap<i32, Stat> = every_process().collect();
    let pages: u64 = below(warden, &all).map(|stat| stat.resident).sum();
    pages * rustix::param::page_size() as u64
}

/// Where all that descends from a warden listens. `None` where one of them may not be looked at.
pub(super) fn listening_below(warden: Pid) -> Option<Vec<SocketAddr>> {
    let all: HashMap<i32, Stat> = every_process().collect();
    let inodes: Vec<_> = pids_below(warden, &all).map(sockets_of).collect::<Option<Vec<_>>>()?.concat();
    let listening = sockets::listening(Path::new("/proc/self/net"))?;
    Some(listening.into_iter().filter(|it| inodes.contains(&it.inode)).map(|it| it.address).collect())
}

/// The inodes of a process's sockets; none of one that has gone.
fn sockets_of(pid: i32) -> Option<Vec<u64>> {
    let entries = match fs::read_dir(format!("/proc/{pid}/fd")) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Some(Vec::new()),
        Err(_) => return None,
    };
    let inode = |entry: io::Result<fs::DirEntry>| {
        let target = fs::read_link(entry.ok()?.path()).ok()?;
        target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    };
    Some(entries.filter_map(inode).collect())
}

/// The living descendants of one process.
fn below(ancestor: Pid, all: &HashMap<i32, Stat>) -> impl Iterator<Item = &Stat> {
    pids_below(ancestor, all).filter_map(|pid| all.get(&pid))
}

fn pids_below(ancestor: Pid, all: &HashMap<i32, Stat>) -> impl Iterator<Item = i32> {
    let ancestor = ancestor.as_raw_nonzero().get();
    let descends = move |mut pid: i32| {
        // As many steps as there are processes: a table read while it changes could hold a circle.
        for _ in 0..all.len() {
            match all.get(&pid) {
                Some(stat) if stat.parent == ancestor => return true,
                Some(stat) => pid = stat.parent,
                None => return false,
            }
        }
        false
    };
    all.keys().copied().filter(move |pid| descends(*pid))
}

/// When a process started, in ticks since boot; `None` once it has gone.
pub(super) fn started(pid: Pid) -> Option<u64> {
    stat_of(pid.as_raw_nonzero().get()).map(|stat| stat.started)
}

fn ticks(count: u64) -> Duration {
    Duration::from_secs_f64(count as f64 / rustix::param::clock_ticks_per_second() as f64)
}

fn every_process() -> impl Iterator<Item = (i32, Stat)> {
    fs::read_dir("/proc").into_iter().flatten().filter_map(|entry| {
        let pid = entry.ok()?.file_name().to_str()?.parse().ok()?;
        Some((pid, stat_of(pid)?))
    })
}

fn stat_of(pid: i32) -> Option<Stat> {
    // The command's name may be any bytes at all.
    let bytes = fs::read(format!("/proc/{pid}/stat")).ok()?;
    parse(&String::from_utf8_lossy(&bytes))
}

/// The name stands in parentheses and may hold parentheses and spaces: what counts follows the last one.
fn parse(text: &str) -> Option<Stat> {
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(Stat {
        parent: fields.get(1)?.parse().ok()?,
        own: number(11)? + number(12)?,
        reaped: number(13)? + number(14)?,
        started: number(19)?,
        resident: number(21)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_full_of_parentheses_hides_no_field() {
        let text = "42 (a) b (c) R 7 42 42 0 -1 4194304 100 0 0 0 5 6 30 40 20 0 1 0 98765 1000 10";
        assert_eq!(parse(text), Some(Stat { parent: 7, own: 11, reaped: 70, started: 98765, resident: 10 }));
    }

    #[test]
    fn a_child_is_found_and_its_start_is_known() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("sleep is everywhere");
        let pid = Pid::from_child(&child);
        assert!(children_of(rustix::process::getpid()).contains(&pid));
        assert!(started(pid).is_some());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!children_of(rustix::process::getpid()).contains(&pid));
    }
}
