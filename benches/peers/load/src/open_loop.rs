//! Requests at the times that a clock says, whatever became of those before: each one's time counts from when it
//! was due, so a proxy that stops for a moment pays for all that it made wait.

use std::io::{ErrorKind, Read, Result, Write};
use std::net::TcpStream;
use std::num::NonZeroU64;
use std::thread;
use std::time::{Duration, Instant};

use rustix::thread::set_current_timer_slack;

use crate::exchange::{KEPT, whole};
use crate::threads::Plan;
use crate::told::Told;

/// A thread for each connection: the kernel wakes one to the microsecond, a runtime's timer to the millisecond.
pub fn run(plan: &Plan, rate: f64) -> Told {
    let began = Instant::now() + Duration::from_millis(100);
    let plan = *plan;
    let threads: Vec<_> = (0..plan.connections)
        .map(|connection| {
            let first = began + Duration::from_secs_f64(connection as f64 / rate);
            let step = Duration::from_secs_f64(plan.connections as f64 / rate);
            thread::spawn(move || connection_of(&plan, first, step, began + plan.time))
        })
        .collect();
    let mut told = Told::default();
    for thread in threads {
        told.join(thread.join().expect("no thread panics"));
    }
    told.lasted = began.elapsed();
    told
}

fn connection_of(plan: &Plan, first: Instant, step: Duration, end: Instant) -> Told {
    let mut told = Told::default();
    set_current_timer_slack(NonZeroU64::new(1)).expect("any thread may ask for it");
    let Ok(mut stream) = TcpStream::connect(plan.address) else {
        told.failed();
        return told;
    };
    stream.set_nodelay(true).expect("a socket takes it");
    // What comes with a new connection is not of interest here.
    let mut broken = ask(&mut stream).is_err();
    let mut due = first;
    while due < end && !broken {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        broken = ask(&mut stream).is_err();
        told.took(due.elapsed());
        due += step;
    }
    if broken {
        told.failed();
    }
    told
}

fn ask(stream: &mut TcpStream) -> Result<()> {
    stream.write_all(KEPT)?;
    let mut buffer = [0; 4096];
    let mut filled = 0;
    while !whole(&buffer[..filled])? {
        match stream.read(&mut buffer[filled..])? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            count => filled += count,
        }
    }
    Ok(())
}
