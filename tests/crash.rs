//! What is promised to survive does: kill -9 and cuts of power at random and at named points, under load, with checkers.
//!
//! `cargo test` runs a short form. The long one is `cargo test --release --test crash -- --ignored --nocapture`;
//! `LEVERET_CRASH_COUNT` changes how often, and `LEVERET_CRASH_SEED` repeats a run (as far as the timing of processes
//! lets it). The named points exist only in debug builds, so without `--release`.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

mod crash {
    mod answers;
    mod bitflips;
    mod broker;
    mod harness;
    #[path = "../compat/harness/method.rs"]
    #[allow(dead_code)]
    mod method;

    mod catalog;
    mod catalog_growth;
    mod catalog_kill;
    mod catalog_power;
    #[cfg(not(feature = "sled-catalog"))]
    mod catalog_start;

    mod checker;
    mod client;
    mod letters;
    mod load;
    mod message;
    mod messages;
    mod messages_power;
    mod moves;
    mod photos;
    mod repetitions;
}
