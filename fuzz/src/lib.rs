//! What the fuzzers check: for each target a function that takes any bytes and panics when the broker is wrong.
//!
//! The fuzz targets call these; so does `tests/fuzz_seeds.rs`, with the seeds kept in `fuzz/seeds`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

pub mod connection;
pub mod definitions;
pub mod frames;
mod observer;
mod peer;
pub mod properties;
mod script;
pub mod tables;
