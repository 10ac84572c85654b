//! How many logins were tried: by protocol, and, where that is switched on, by address and user name.
//!
//! Anybody can try names, so the table by source is bounded: what comes when it is full is counted in one row that names
//! nobody.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;

/// Most addresses and names.
const MOST: usize = 4096;
/// Characters of a name that are kept.
const LONGEST_NAME: usize = 64;

/// What a login is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    Amqp,
    Http,
}

impl Protocol {
    pub const ALL: [Self; 2] = [Self::Amqp, Self::Http];

    /// RabbitMQ's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Amqp => "amqp091",
            Self::Http => "http",
        }
    }
}

/// Logins that were tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tried {
    pub succeeded: u64,
    pub failed: u64,
}

impl Tried {
    pub fn total(self) -> u64 {
        self.succeeded.saturating_add(self.failed)
    }
}

/// Who has tried.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source {
    /// Empty, as the name, for all who found no room in the table.
    pub address: String,
    pub user: String,
    pub protocol: Protocol,
}

/// The counts.
#[derive(Debug, Default)]
pub struct LoginCounts {
    /// Failed and succeeded, by protocol.
    by_protocol: [[AtomicU64; 2]; Protocol::ALL.len()],
    tracks: AtomicBool,
    by_source: Mutex<HashMap<Source, Tried>>,
}

impl LoginCounts {
    pub fn new(tracks: bool) -> Self {
        Self { tracks: tracks.into(), ..Self::default() }
    }

    /// Whether addresses and names are kept from now on. What has been kept stays until it is forgotten.
    pub fn track(&self, on: bool) {
        self.tracks.store(on, Relaxed);
    }

    /// Counts a login.
    pub fn note(&self, protocol: Protocol, address: IpAddr, user: &str, succeeded: bool) {
        let counts = self.by_protocol.get(protocol as usize);
        if let Some(count) = counts.and_then(|counts| counts.get(usize::from(succeeded))) {
            count.fetch_add(1, Relaxed);
        }
        if !self.tracks.load(Relaxed) {
            return;
        }
        let user = user.chars().take(LONGEST_NAME).collect();
        let source = Source { address: address.to_canonical().to_string(), user, protocol };
        let mut sources = self.by_source.lock();
        let has_room = sources.len() < MOST || sources.contains_key(&source);
        let source = if has_room { source } else { Source { address: String::new(), user: String::new(), protocol } };
        let tried = sources.entry(source).or_default();
        let count = if succeeded { &mut tried.succeeded } else { &mut tried.failed };
        *count = count.saturating_add(1);
    }

    pub fn of(&self, protocol: Protocol) -> Tried {
        let counts = self.by_protocol.get(protocol as usize);
        counts.map_or_else(Tried::default, |[failed, succeeded]| Tried {
            succeeded: succeeded.load(Relaxed),
            failed: failed.load(Relaxed),
        })
    }

    /// All sources, in order.
    pub fn by_source(&self) -> Vec<(Source, Tried)> {
        let mut all: Vec<_> = self.by_source.lock().iter().map(|(source, tried)| (source.clone(), *tried)).collect();
        all.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        all
    }

    /// Counts anew from 0.
    pub fn forget(&self) {
        self.by_protocol.iter().flatten().for_each(|count| count.store(0, Relaxed));
        self.by_source.lock().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn sources_are_counted_only_where_that_is_wanted() {
        let counts = LoginCounts::new(false);
        counts.note(Protocol::Http, HERE, "joe", true);
        assert_eq!(counts.of(Protocol::Http), Tried { succeeded: 1, failed: 0 });
        assert!(counts.by_source().is_empty());
        counts.track(true);
        let mapped: IpAddr = "::ffff:127.0.0.1".parse().unwrap();
        counts.note(Protocol::Amqp, mapped, "joe", false);
        counts.note(Protocol::Amqp, HERE, "joe", true);
        let joe = Source { address: "127.0.0.1".to_owned(), user: "joe".to_owned(), protocol: Protocol::Amqp };
        assert_eq!(counts.by_source(), [(joe, Tried { succeeded: 1, failed: 1 })]);
        counts.forget();
        assert_eq!((counts.of(Protocol::Amqp).total(), counts.by_source().len()), (0, 0));
    }

    #[test]
    fn the_table_is_bounded_and_nothing_goes_uncounted() {
        let counts = LoginCounts::new(true);
        (0..MOST + 50).for_each(|n| counts.note(Protocol::Amqp, HERE, &format!("user{n}"), false));
        counts.note(Protocol::Amqp, HERE, "user0", true);
        let all = counts.by_source();
        assert_eq!(all.len(), MOST + 1);
        assert_eq!((all[0].0.address.as_str(), all[0].1.failed), ("", 50));
        let total: u64 = all.iter().map(|(_, tried)| tried.total()).sum();
        assert_eq!(total, counts.of(Protocol::Amqp).total());
    }
}
