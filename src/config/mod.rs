//! `jcloud.yml`: as written, checked, and as run.

pub mod spec;
