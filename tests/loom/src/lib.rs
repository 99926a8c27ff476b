//! The lock-free parts of pilotlight, their own source under loom.
