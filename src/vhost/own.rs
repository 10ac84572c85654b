//! What the broker itself publishes: events, lines of the log, copies for the firehose. Nobody waits for a confirm of it.

use std::sync::Arc;

use super::broker::Broker;
use super::post::{Forwarded, put};
use super::topology::{Exchange, Vhost};
use crate::exchange::RouteInput;
use crate::frames::{Properties, write};
use crate::message::{Message, Traits};
use crate::queue::Wakes;
use crate::queue::entries::Entries;

/// A message of the broker's.
pub(super) struct Own<'a> {
    pub key: &'a [u8],
    /// In the form of a content header.
    pub properties: &'a [u8],
    pub is_persistent: bool,
}

/// Messages that go into the journal as one entry.
#[derive(Default)]
pub(super) struct OwnBatch {
    entries: Entries,
    wakes: Wakes,
}

impl OwnBatch {
    /// Puts a message into the queues that are bound for it; its body is made only if there are any.
    pub fn publish(
        &mut self,
        broker: &Broker,
        vhost: &Vhost,
        exchange: &Arc<Exchange>,
        message: &Own<'_>,
        body: impl FnOnce() -> Vec<u8>,
    ) {
        let &Own { key, properties: bytes, is_persistent } = message;
        let properties = Properties::parse(bytes).unwrap_or_default();
        let now = broker.clock.now_ms();
        let routed = vhost.route(Some(exchange), &RouteInput { keys: &[key], properties: &properties, now });
        if routed.queues.is_empty() {
            return;
        }
        let mut route = Vec::new();
        write::short(&mut route, exchange.record.name.as_bytes());
        write::short(&mut route, key);
        let message = Message::from_parts(&route, bytes, body(), Traits::plain(now, is_persistent), broker.memory);
        let forwarded = Forwarded { message, targets: routed.queues, waiting: None, followers: routed.followers };
        put(forwarded, &mut Vec::new(), &mut self.entries, &mut self.wakes);
    }

    /// Hands them to the journal and wakes who waits for them. No lock may be held.
    pub fn finish(mut self, broker: &Broker) {
        if let Some(store) = &broker.store {
            self.entries.append(&store.journal, None, &mut self.wakes);
        }
        self.wakes.run();
    }
}
