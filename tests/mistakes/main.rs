//! The mistakes that newcomers make, each of them really made, and all that the binary says to it: `tests/mistakes/*.txt`.
//! `UPDATE_GOLDEN=1 cargo test --test mistakes` writes the texts anew: read each of them as somebody who does not know
//! what is wrong, at three in the morning.

#[path = "../support/mod.rs"]
mod support;

mod ending;
mod engine;
mod file;
mod folder;
mod golden;
mod hosts;
mod images;
mod listening;
mod starting;
mod trouble;
