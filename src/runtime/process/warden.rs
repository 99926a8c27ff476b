//! The small process between the proxy and one replica: `pilotlight warden -- <command...>`.
//!
//! It owns one promise: nothing that the replica started outlives the proxy, whatever ends the proxy. Its
//! standard input is a socket whose other end only the proxy holds. A byte `T` there means SIGTERM for the
//! replica's process group, `F` and `C` that it stops and goes on; a byte `K`, or the end of the stream, means SIGKILL
//! for all of it. As a subreaper it inherits every orphan, so that a grandchild which left the group is found as well.
//!
//! It tells the proxy `S<pid>` when the command runs or `E<reason>` when it cannot, and ends with the
//! replica's exit code (128 + signal where a signal ended it). It must not read configuration, log, or
//! start threads beyond the two it needs (the allocator has one of its own).

use std::ffi::OsString;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{io, thread};

use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitOptions, WaitStatus, getpid, kill_process, kill_process_group,
    set_child_subreaper, wait, waitid,
};

use super::procfs::children_of;

/// The byte that asks for SIGTERM.
pub(super) const TERMINATE: u8 = b'T';
/// The byte that asks for SIGSTOP.
pub(super) const FREEZE: u8 = b'F';
/// The byte that asks for SIGCONT.
pub(super) const THAW: u8 = b'C';
/// The byte that asks for SIGKILL.
pub(super) const KILL: u8 = b'K';
/// First byte of the answer where the command runs; its PID follows, and a line's end.
pub(super) const STARTED: char = 'S';
/// First byte of the answer where it does not; the reason follows, and a line's end.
pub(super) const FAILED: char = 'E';

/// Ends a warden that could not start its command, or not be one.
const NOT_STARTED: u8 = 127;

/// Runs `command` under the rules above, with this process's environment, folder, and output.
#[must_use]
pub fn run(command: Vec<OsString>) -> ExitCode {
    match guard(command) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("pilotlight warden: {error} (it is part of runtime process, not for use by hand)");
            ExitCode::from(NOT_STARTED)
        }
    }
}

fn guard(command: Vec<OsString>) -> io::Result<u8> {
    let mut words = command.into_iter();
    let program = words.next().ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, "no command"))?;
    let mut control = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    // Only the fact counts here, not whose: any PID switches it on.
    set_child_subreaper(Some(getpid()))?;
    let spawned = Command::new(program).args(words).stdin(Stdio::null()).process_group(0).spawn();
    let app = match spawned {
        Ok(app) => Pid::from_child(&app),
        Err(error) => {
            let reason = error.to_string().replace('\n', " ");
            writeln!(control, "{FAILED}{reason}")?;
            return Ok(NOT_STARTED);
        }
    };
    let brood = Arc::new(Brood::new(app));
    // A proxy that has gone already cannot be told; its end of the stream says so to the loop below.
    let _ = writeln!(control, "{STARTED}{}", app.as_raw_nonzero());
    let obeying = Arc::clone(&brood);
    let listening = thread::Builder::new().name("orders".to_owned()).spawn(move || obey(control, &obeying));
    if listening.is_err() {
        // Deaf, it could not keep its promise.
        brood.kill();
    }
    brood.outlast()
}

/// Follows the proxy's orders to the last one, which is its end.
fn obey(mut control: UnixStream, brood: &Brood) {
    let mut order = [0];
    loop {
        match control.read(&mut order) {
            Ok(1) if order[0] == TERMINATE => brood.terminate(),
            Ok(1) if order[0] == FREEZE => brood.signal(Signal::STOP),
            Ok(1) if order[0] == THAW => brood.signal(Signal::CONT),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            _ => return brood.kill(),
        }
    }
}

/// The replica and everything it started.
struct Brood(Mutex<Fate>);

/// Guarded by one lock, which reaping takes too: no signal can go to a number that has a new owner.
struct Fate {
    /// The replica's own process, leader of its group; `None` once it is reaped.
    leader: Option<Pid>,
    /// SIGTERM was asked for: what the leader leaves behind may finish.
    terminating: bool,
    /// SIGKILL was asked for: whatever turns up is killed.
    killing: bool,
}

impl Brood {
    fn new(leader: Pid) -> Self {
        Self(Mutex::new(Fate { leader: Some(leader), terminating: false, killing: false }))
    }

    fn fate(&self) -> MutexGuard<'_, Fate> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn terminate(&self) {
        self.fate().terminating = true;
        self.signal(Signal::TERM);
        // Where it is stopped it could not act on it.
        self.signal(Signal::CONT);
    }

    /// Signals the replica's process group.
    fn signal(&self, signal: Signal) {
        if let Some(leader) = self.fate().leader {
            let _ = kill_process_group(leader, signal);
        }
    }

    fn kill(&self) {
        let mut fate = self.fate();
        fate.killing = true;
        fate.kill_known();
    }

    /// Waits until nothing is left, and says how the replica ended.
    fn outlast(&self) -> io::Result<u8> {
        let mut code = NOT_STARTED;
        loop {
            // First wait without reaping, then reap under the lock.
            match waitid(WaitId::All, WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(Errno::CHILD) => return Ok(code),
                Err(error) => return Err(error.into()),
            }
            let mut fate = self.fate();
            let Some((pid, status)) = wait(WaitOptions::NOHANG)? else { continue };
            if fate.leader == Some(pid) {
                code = exit_code(status);
                fate.leader = None;
                // A replica that ended of itself has no business leaving anything behind.
                fate.killing |= !fate.terminating;
            }
            if fate.killing {
                fate.kill_known();
            }
        }
    }
}

impl Fate {
    /// Kills the group and every child of ours. Their orphans become our children, and are next.
    fn kill_known(&self) {
        if let Some(leader) = self.leader {
            let _ = kill_process_group(leader, Signal::KILL);
        }
        for child in children_of(getpid()) {
            let _ = kill_process(child, Signal::KILL);
        }
    }
}

fn exit_code(status: WaitStatus) -> u8 {
    let code = status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(NOT_STARTED)
}
