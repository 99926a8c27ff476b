//! Processes of this machine, found by a mark in their environment: it is inherited, so nothing that a marked
//! process starts can hide, whatever group, session or parent it has.

use std::fs;
use std::process::Child;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// The variable that carries the mark.
const NAME: &str = "PILOTLIGHT_TEST_MARK";

/// One test's mark. Dropping it kills what still carries it.
pub(crate) struct Mark(String);

impl Mark {
    /// A mark that no other test has.
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        Self(format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)))
    }

    /// The variable and its value.
    pub(crate) fn env(&self) -> (String, String) {
        (NAME.to_owned(), self.0.clone())
    }

    /// Who carries it. A zombie carries nothing.
    pub(crate) fn bearers(&self) -> Vec<Pid> {
        let sought = format!("{NAME}={}", self.0);
        let entries = fs::read_dir("/proc").expect("Linux has /proc").flatten();
        entries
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|pid| environment(*pid).split(|byte| *byte == 0).any(|pair| pair == sought.as_bytes()))
            .filter_map(Pid::from_raw)
            .collect()
    }

    /// Those of them that run the program `name` (of which the kernel keeps 15 letters).
    pub(crate) fn bearers_named(&self, name: &str) -> Vec<Pid> {
        let mut bearers = self.bearers();
        bearers.retain(|pid| program(*pid) == name);
        bearers
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        for pid in self.bearers() {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// Ends a child that may run: with SIGTERM, and after so long with SIGKILL. Blocks.
pub(crate) fn end(mut child: Child, patience: Duration) {
    // One that has been waited for has a number that may be another's.
    if !matches!(child.try_wait(), Ok(None)) {
        return;
    }
    let pid = Pid::from_child(&child);
    let (tell, told) = mpsc::channel();
    let waiter = std::thread::spawn(move || {
        let _ = child.wait();
        let _ = tell.send(());
    });
    let _ = kill_process(pid, Signal::TERM);
    if told.recv_timeout(patience).is_err() {
        let _ = kill_process(pid, Signal::KILL);
    }
    let _ = waiter.join();
}

/// Sends SIGKILL.
pub(crate) fn kill(pid: Pid) {
    kill_process(pid, Signal::KILL).expect("it is there and ours");
}

fn environment(pid: i32) -> Vec<u8> {
    fs::read(format!("/proc/{pid}/environ")).unwrap_or_default()
}

fn program(pid: Pid) -> String {
    let name = fs::read_to_string(format!("/proc/{}/comm", pid.as_raw_nonzero())).unwrap_or_default();
    name.trim_end().to_owned()
}
