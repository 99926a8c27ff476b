//! A gate, step by step.

use crate::app::gate::{Gate, Left};

#[test]
fn a_closed_gate_lets_nobody_in() {
    let gate = Gate::new();
    assert_eq!(gate.enter(1), Some(0));
    assert_eq!(gate.enter(1), None, "the limit is one");
    assert!(!gate.close_if_empty());
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
