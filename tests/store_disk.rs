//! What users notice of a disk: that it is full, that it errs, that a sync fails, how much is written to it, and that
//! backlogs and transactions are on it.
//!
//! The broker runs in this process on a simulated disk.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

#[allow(dead_code, unused_imports)]
#[path = "compat"]
mod compat {
    pub mod harness;
}
mod store_disk {
    mod backlog;
    mod broker;
    mod errors;
    mod fan_out;
    mod full;
    mod quorum;
    mod transaction;
    mod unawaited;
}
