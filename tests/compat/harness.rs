//! The broker under test and a client that says exactly what it is told to.

pub mod admin;
pub mod broker;
pub mod client;
pub mod letters;
pub mod message;
pub mod method;
pub mod random;
pub mod wire;

pub use broker::{Broker, parallel};
pub use client::{Channel, Client, Options};
pub use message::{Incoming, Message, Props, props};
pub use method::*;
pub use random::Random;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long anything may take; a hang is a failure.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A channel on a connection of its own to the shared broker.
pub fn channel() -> Channel {
    Broker::start().connect().channel()
}

/// Asks again and again until it is so.
#[track_caller]
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "waited {PATIENCE:?} in vain: {what}");
    }
}

/// So much time has passed, as the broker counts it: in whole milliseconds, of which the first had begun already.
#[track_caller]
pub fn assert_waited(waited: Duration, ms: u64) {
    assert!(waited > Duration::from_millis(ms.saturating_sub(1)), "waited {waited:?} instead of {ms} ms");
}

/// A name that nobody else uses, in this run or another.
pub fn unique(name: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{name}-{:x}-{}-{}", now.as_micros(), std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}
