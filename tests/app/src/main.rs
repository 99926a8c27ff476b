//! The app that the black-box tests run as replicas.
fn main() {}
