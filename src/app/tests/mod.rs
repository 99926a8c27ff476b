//! Tests of what the models in `tests/loom` share: in files of their own, since the models take in the sources whole.

mod gate;
mod hold;
mod meter;
