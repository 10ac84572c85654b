//! The load generator behind `leveret perf`, good against any AMQP 0-9-1 broker.
//!
//! It is there to find a broker's limits and its mistakes, so it must be faster than the broker and must check what it
//! gets. Each connection is one thread with one event loop ([`pump`]). Its producers copy a pre-made message
//! ([`template`]) into one buffer until window, rate or buffer end, and write it at once; its consumers fold
//! what one read brought into runs of numbers and hand these to their queue's ledger ([`check`]). The clock is read once
//! a turn, and latencies are counted by batch ([`confirms`], [`consumer`], [`histogram`]). The thread that called
//! [`run`] sets everything up ([`setup`]), prints a line a second, and judges at the end ([`load`], [`report`]).
//! [`idle`] and [`declare`] measure what connections and queues cost.
//!
//! Of the rest of the program only `frames` and the bottom of `tls` are used: what is measured with is no part of what is measured.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic))]

mod body;
mod check;
mod clock;
mod confirms;
mod consumer;
mod declare;
mod failure;
mod histogram;
mod idle;
mod inbox;
mod lane;
mod load;
mod meter;
mod methods;
mod options;
mod pace;
mod procfs;
mod producer;
mod pump;
mod report;
mod sampler;
mod seqset;
mod session;
mod setup;
mod socket;
mod system;
mod template;
mod topology;
mod uri;

use std::process::ExitCode;

pub use options::Options;

use failure::Failure;

/// Exit code 0: all is well. 1: messages were lost, duplicated, out of order, or the like. 2: it could not be done.
#[must_use]
pub fn run(options: Options) -> ExitCode {
    match measure(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(failure) => {
            eprintln!("leveret perf: {failure}");
            ExitCode::from(2)
        }
    }
}

/// Runs what the options ask for, and prints what it found; false when a check has failed.
fn measure(options: &Options) -> Result<bool, Failure> {
    options.check().map_err(Failure::Options)?;
    let (sound, json, text) = match (options.idle_connections, options.declare_queues) {
        (Some(connections), _) => {
            let idle = idle::run(options, connections)?;
            (idle.is_sound(), idle.json(), idle.text())
        }
        (_, Some(queues)) => {
            let declared = declare::run(options, queues)?;
            (declared.is_sound(), declared.json(), declared.text())
        }
        _ => {
            let summary = load::run(options)?;
            (summary.is_sound(), summary.json(), summary.text())
        }
    };
    if options.json {
        println!("{json}");
    } else {
        print!("{text}");
    }
    Ok(sound)
}
