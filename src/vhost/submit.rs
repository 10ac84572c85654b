//! Publishing without a connection: what the HTTP API is given, and what a new binding brings.

use std::sync::Arc;

use super::broker::Broker;
use super::post::{Fate, Forwarded, put};
use super::recall::Past;
use super::route::Routed;
use super::topology::{Exchange, Vhost};
use crate::exchange::RouteInput;
use crate::frames::{Properties, write};
use crate::message::{Message, Traits, headers};
use crate::persist::journal::Waiter;
use crate::queue::Wakes;
use crate::queue::entries::Entries;
use crate::stats::{Counted, Kind, Sizes};

/// A message that is to be published.
pub struct Submission<'a> {
    /// `None` is the default exchange.
    pub exchange: Option<&'a Arc<Exchange>>,
    pub key: &'a str,
    /// In the form of a content header, checked.
    pub properties: &'a [u8],
    pub body: Vec<u8>,
}

/// What has become of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Submitted {
    /// No queue is there for it.
    Unroutable,
    /// All its queues have it; it is safe once the journal has done this commit.
    Taken(Option<u64>),
    /// A queue was full.
    Refused,
    /// A queue is damaged on disk.
    Damaged,
}

impl Broker {
    /// Publishes a message. `waiter` is woken when the commit is done.
    pub fn submit(&self, vhost: &Vhost, message: Submission<'_>, waiter: Option<&Arc<dyn Waiter>>) -> Submitted {
        let Submission { exchange, key, properties, body } = message;
        let now = self.clock.now_ms();
        let found = Properties::parse(properties).unwrap_or_default();
        let of_message = found.headers.unwrap_or_default();
        let mut keys = vec![key.as_bytes()];
        for name in [&b"CC"[..], b"BCC"] {
            let more = headers::routing_keys(of_message, name).unwrap_or_default();
            keys.extend(more.into_iter().map(str::as_bytes));
        }
        let routed = vhost.route(exchange, &RouteInput { keys: &keys, properties: &found, now });
        let traits = Traits {
            due: found.expires_after().and_then(|ms| std::num::NonZeroU64::new(now.saturating_add(ms))),
            priority: found.priority.unwrap_or_default(),
            hidden: crate::frames::table::find(of_message, b"BCC").is_some(),
            ..Traits::plain(now, found.is_persistent())
        };
        let mut route = Vec::new();
        write::short(&mut route, exchange.map_or("", |exchange| exchange.record.name.as_str()).as_bytes());
        write::short(&mut route, key.as_bytes());
        let counts = exchange.map_or(&vhost.default_exchange, |exchange| &exchange.counts);
        let queues = routed.queues.len() as u64;
        counts.publish(1, queues);
        if let Some(flows) = &vhost.flows {
            flows.add(counts, &routed.queues, 1);
        }
        let (mut counted, size) = (Counted::default(), body.len() as u64);
        for (kind, n) in [(Kind::Publish, 1), (Kind::PublishConfirm, 1), (Kind::Route, queues)] {
            counted.add(kind, n);
        }
        let message = Message::from_parts(&route, properties, body, traits, self.memory);
        let (mut entries, mut wakes) = (Entries::default(), Wakes::default());
        let fate = self.put(message, routed, &mut entries, &mut wakes);
        let commit = self.store.as_ref().and_then(|store| entries.append(&store.journal, waiter, &mut wakes));
        wakes.run();
        if matches!(fate, Fate::Nowhere) {
            counts.unroutable(true);
            counted.add(Kind::ReturnUnroutable, 1);
        }
        if matches!(fate, Fate::Refused | Fate::Damaged) {
            counted.add(Kind::Refuse, 1);
        } else {
            counted.add(Kind::Confirm, 1);
            counts.confirm(1);
        }
        self.count_apart(vhost, &counted, &Sizes::of(size));
        match fate {
            Fate::Nowhere => Submitted::Unroutable,
            Fate::Arrived => Submitted::Taken(commit),
            Fate::Refused => Submitted::Refused,
            Fate::Damaged => Submitted::Damaged,
        }
    }

    /// Counts what happens without a channel.
    pub fn count_apart(&self, vhost: &Vhost, counted: &Counted, sizes: &Sizes) {
        vhost.totals.leave(counted, sizes);
        self.totals.leave(counted, sizes);
    }

    /// Gives a new binding's destination the messages that came before it.
    pub fn submit_past(&self, vhost: &Vhost, past: &Past) {
        let now = self.clock.now_ms();
        let (mut entries, mut wakes) = (Entries::default(), Wakes::default());
        for message in past.messages(now, self.memory) {
            let routed = past.route(vhost, &message, now);
            self.put(message, routed, &mut entries, &mut wakes);
        }
        if let Some(store) = &self.store {
            entries.append(&store.journal, None, &mut wakes);
        }
        wakes.run();
    }

    fn put(&self, message: Message, routed: Routed, entries: &mut Entries, wakes: &mut Wakes) -> Fate {
        let Routed { queues, followers, delayed, .. } = routed;
        let waiting = delayed.map(|delayed| (message.with_due(Some(delayed.due), self.memory), delayed.queues));
        put(Forwarded { message, targets: queues, waiting, followers }, &mut Vec::new(), entries, wakes)
    }
}
