//! Tests of what both planes share. In files of their own, since the models in `tests/loom` take in the sources whole.

mod balance;
mod budget;
mod ejection;
mod gate;
mod hold;
mod meter;
mod rate;
mod refusing;
mod tally;
