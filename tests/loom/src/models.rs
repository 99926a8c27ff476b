//! What must hold in every interleaving.

use loom::future::block_on;
use loom::sync::Arc;
use loom::thread;

use crate::ejection::{Ejection, FAILURES, TimeOut};
use crate::gate::{Gate, Left};
use crate::hold::Hold;
use crate::meter::Meter;
use crate::tally::{Cut, Tally};

/// A request that enters while its replica is being stopped: either it is inside and the stop waits for it, or
/// it is not and the stop goes on. Exactly one of the two sees the gate empty.
#[test]
fn closing_and_entering_exclude_each_other() {
    loom::model(|| {
        let gate = Arc::new(Gate::new());
        let request = {
            let gate = Arc::clone(&gate);
            thread::spawn(move || gate.enter(8).map(|_| gate.leave()))
        };
        let inside = gate.close();
        let left = request.join().unwrap();
        let by_stop = inside == 0;
        let by_request = left == Some(Left::Empty);
        assert!(by_stop != by_request, "{inside} {left:?}");
        assert_eq!((gate.inside(), gate.enter(8)), (0, None));
    });
}

/// Stopping only if idle: with a request inside it does not happen, whatever the order.
#[test]
fn only_an_idle_gate_closes_if_idle() {
    loom::model(|| {
        let gate = Arc::new(Gate::new());
        let request = {
            let gate = Arc::clone(&gate);
            thread::spawn(move || {
                let entered = gate.enter(8).is_some();
                let closed_under_it = entered && gate.is_closed();
                if entered {
                    gate.leave();
                }
                closed_under_it
            })
        };
        gate.close_if_idle();
        assert!(!request.join().unwrap());
    });
}

/// Going out while one of those inside steps aside: it happens only after that, and the last to leave sees it.
#[test]
fn who_steps_aside_lets_the_gate_close() {
    loom::model(|| {
        let gate = Arc::new(Gate::new());
        gate.enter(8);
        let socket = {
            let gate = Arc::clone(&gate);
            thread::spawn(move || {
                gate.step_aside();
                gate.leave_aside()
            })
        };
        let closed = gate.close_if_idle();
        let inside = gate.inside();
        let left = socket.join().unwrap();
        assert!(!closed || inside == 0 || left == Left::Empty);
        assert_eq!((gate.inside(), gate.busy(), gate.is_closed()), (0, 0, closed));
    });
}

/// Two that enter at a limit of one: never both.
#[test]
fn the_limit_holds() {
    loom::model(|| {
        let gate = Arc::new(Gate::new());
        let enter = |gate: &Arc<Gate>| {
            let gate = Arc::clone(gate);
            move || gate.enter(1).is_some()
        };
        let other = thread::spawn(enter(&gate));
        let one = enter(&gate)();
        assert!(one != other.join().unwrap());
    });
}

/// A drain that is taken back while a request leaves: nothing is lost, and the generation is a new one.
#[test]
fn reopening_keeps_those_inside() {
    loom::model(|| {
        let gate = Arc::new(Gate::new());
        gate.enter(8);
        let leaving = {
            let gate = Arc::clone(&gate);
            thread::spawn(move || gate.leave())
        };
        gate.close();
        gate.reopen();
        leaving.join().unwrap();
        assert_eq!((gate.inside(), gate.enter(8)), (0, Some(1)));
    });
}

/// A ticket that is queued while the only place becomes free: one of the two sees the other.
#[test]
fn no_ticket_misses_the_place_that_becomes_free() {
    loom::model(|| {
        let gate = Arc::new(Gate::new());
        let hold: Arc<Hold<u32, ()>> = Arc::new(Hold::default());
        gate.enter(1);
        let leaver = {
            let (gate, hold) = (Arc::clone(&gate), Arc::clone(&hold));
            thread::spawn(move || {
                gate.leave();
                if hold.waiting() > 0 {
                    hold.dispatch(|| gate.enter(1));
                }
            })
        };
        let ticket = hold.enqueue(9, || gate.enter(1)).unwrap();
        assert_eq!(block_on(ticket), Ok(0));
        leaver.join().unwrap();
        assert_eq!((gate.inside(), hold.waiting()), (1, 0));
    });
}

fn taken_out() -> (Ejection, TimeOut) {
    let ejection = Ejection::new();
    let mut out = None;
    for _ in 0..FAILURES {
        out = ejection.failed(|| true);
    }
    (ejection, out.expect("so many take it out"))
}

/// A ticket that is queued while the only replica that has room comes back: one of the two sees the other.
#[test]
fn no_ticket_misses_the_end_of_a_time_out() {
    loom::model(|| {
        let (ejection, TimeOut { round, .. }) = taken_out();
        let ejection = Arc::new(ejection);
        let hold: Arc<Hold<u32, ()>> = Arc::new(Hold::default());
        let claim = |ejection: &Arc<Ejection>| {
            let ejection = Arc::clone(ejection);
            move || (!ejection.is_out()).then_some(7)
        };
        let ending = {
            let (ejection, hold, claim) = (Arc::clone(&ejection), Arc::clone(&hold), claim(&ejection));
            thread::spawn(move || {
                assert!(ejection.end(round));
                if hold.waiting() > 0 {
                    hold.dispatch(claim);
                }
            })
        };
        let ticket = hold.enqueue(9, claim(&ejection)).unwrap();
        assert_eq!(block_on(ticket), Ok(7));
        ending.join().unwrap();
        assert_eq!(hold.waiting(), 0);
    });
}

/// The last two failures at once: one of them takes it out, and for one time.
#[test]
fn failures_that_come_together_take_it_out_once() {
    loom::model(|| {
        let ejection = Arc::new(Ejection::new());
        for _ in 2..FAILURES {
            ejection.failed(|| true);
        }
        let other = {
            let ejection = Arc::clone(&ejection);
            thread::spawn(move || ejection.failed(|| true))
        };
        let one = ejection.failed(|| true);
        let other = other.join().unwrap();
        assert!(one.is_some() != other.is_some(), "{one:?} {other:?}");
        assert!(ejection.is_out());
    });
}

/// A time out that a success has ended, and the next one, while the clock of the first runs out.
#[test]
fn the_end_of_a_time_out_ends_no_other() {
    loom::model(|| {
        let (ejection, TimeOut { round, .. }) = taken_out();
        let ejection = Arc::new(ejection);
        let ending = {
            let ejection = Arc::clone(&ejection);
            thread::spawn(move || ejection.end(round))
        };
        ejection.answered(true);
        let mut next = None;
        for _ in 0..FAILURES {
            next = next.or(ejection.failed(|| true));
        }
        ending.join().unwrap();
        assert!(next.is_some() && ejection.is_out());
    });
}

/// A ticket that is given up while it is granted: the grant is given back, and there is nobody in the queue.
#[test]
fn a_grant_is_used_or_comes_back() {
    struct Place(Arc<Gate>);
    impl Drop for Place {
        fn drop(&mut self) {
            self.0.leave();
        }
    }
    loom::model(|| {
        let gate = Arc::new(Gate::new());
        let hold: Arc<Hold<Place, ()>> = Arc::new(Hold::default());
        let ticket = hold.enqueue(9, || None).unwrap();
        let granter = {
            let (gate, hold) = (Arc::clone(&gate), Arc::clone(&hold));
            thread::spawn(move || hold.dispatch(|| gate.enter(1).map(|_| Place(Arc::clone(&gate)))))
        };
        drop(ticket);
        granter.join().unwrap();
        assert_eq!((gate.inside(), hold.waiting()), (0, 0));
    });
}

/// A reader beside two writers: the total is never more than what was recorded, and in the end exactly that.
#[test]
fn the_meter_counts_each_request_once() {
    loom::model(|| {
        let meter = Arc::new(Meter::new(10, 20));
        let other = {
            let meter = Arc::clone(&meter);
            thread::spawn(move || {
                let writer = meter.writer();
                writer.record(5);
                writer.record(15);
            })
        };
        let seen = meter.sum(0, 19).count;
        assert!(seen <= 2, "{seen}");
        let writer = meter.writer();
        writer.record(15);
        other.join().unwrap();
        assert_eq!((meter.total(), meter.sum(0, 19).count, meter.sum(10, 19).count), (3, 3, 2));
    });
}

/// A bucket that is used again: a reader sees the old one or the new one, never the old count in the new epoch.
#[test]
fn a_bucket_changes_as_a_whole() {
    loom::model(|| {
        // Four buckets of 10: time 45 falls into the bucket of time 5.
        let meter = Arc::new(Meter::new(10, 10));
        let writer_thread = {
            let meter = Arc::clone(&meter);
            thread::spawn(move || {
                let writer = meter.writer();
                writer.record(5);
                writer.record(5);
                writer.record(45);
            })
        };
        let seen = meter.sum(40, 49).count;
        assert!(seen <= 1, "{seen}");
        writer_thread.join().unwrap();
        assert_eq!(meter.sum(40, 49).count, 1);
    });
}

/// A shard goes from a worker that leaves to one that comes while a third reads: nothing is lost, and what was
/// seen once is never less afterwards.
#[test]
fn a_tally_never_goes_back() {
    loom::model(|| {
        let tally = Arc::new(Tally::default());
        let cuts = |tally: &Tally| tally.read().map_or(0, |counts| counts.cuts[Cut::Client as usize]);
        let worker = |tally: &Arc<Tally>| {
            let tally = Arc::clone(tally);
            thread::spawn(move || tally.writer().cut(Cut::Client))
        };
        let (one, other) = (worker(&tally), worker(&tally));
        let first = cuts(&tally);
        let second = cuts(&tally);
        assert!(first <= second && second <= 2, "{first} {second}");
        one.join().unwrap();
        other.join().unwrap();
        assert_eq!(cuts(&tally), 2);
    });
}
