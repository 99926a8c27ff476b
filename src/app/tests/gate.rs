//! A gate, step by step.

use crate::app::gate::{Gate, Left};

#[test]
fn a_closed_gate_lets_nobody_in() {
    let gate = Gate::new();
    assert_eq!(gate.enter(1), Some(0));
    assert_eq!(gate.enter(1), None, "the limit is one");
    assert!(!gate.close_if_idle());
    assert_eq!(gate.close(), 1);
    assert_eq!(gate.enter(9), None);
    assert_eq!(gate.leave(), Left::Empty);
    assert_eq!(gate.inside(), 0);
}

#[test]
fn reopening_raises_the_generation_and_keeps_the_count() {
    let gate = Gate::new();
    gate.enter(9);
    gate.enter(9);
    gate.close();
    assert_eq!(gate.leave(), Left::Closing);
    gate.reopen();
    assert_eq!((gate.inside(), gate.is_closed()), (1, false));
    assert_eq!(gate.enter(9), Some(1));
    assert_eq!(gate.leave(), Left::Room);
}

#[test]
fn who_stands_aside_is_inside_and_in_nobodys_way() {
    let gate = Gate::new();
    gate.enter(9);
    gate.enter(9);
    gate.step_aside();
    assert_eq!((gate.inside(), gate.busy()), (2, 1));
    assert_eq!(gate.enter(2), None, "it has its place");
    assert!(!gate.close_if_idle(), "the other is busy");
    assert_eq!(gate.leave(), Left::Room);
    assert!(gate.close_if_idle());
    assert_eq!((gate.inside(), gate.busy()), (1, 0));
    gate.reopen();
    assert_eq!((gate.inside(), gate.busy(), gate.generation()), (1, 0, 1));
    gate.close();
    assert_eq!(gate.leave_aside(), Left::Empty);
    assert_eq!((gate.inside(), gate.busy()), (0, 0));
}

#[test]
fn generations_begin_anew_after_the_last_one() {
    let gate = Gate::new();
    gate.enter(9);
    gate.step_aside();
    gate.enter(9);
    for _ in 0..1 << 15 {
        gate.close();
        gate.reopen();
    }
    assert_eq!((gate.inside(), gate.busy(), gate.generation(), gate.is_closed()), (2, 1, 0, false));
}
