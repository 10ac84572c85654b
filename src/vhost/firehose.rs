//! The firehose: while a virtual host is traced, every publish and every delivery there is told to its exchange
//! `amq.rabbitmq.trace`.
//!
//! [`Vhost::set_tracing`] is the switch; it is off again after a restart. Connections look at it once for each read, queues
//! once for each batch of deliveries, and nothing else is paid for while it is off.

use std::sync::atomic::Ordering;

use super::broker::Broker;
use super::post::{Forwarded, put};
use super::topology::Vhost;
use crate::exchange::RouteInput;
use crate::frames::{Properties, write};
use crate::message::trace::{EXCHANGE, Event, Origin, entry};
use crate::message::{Message, MessageView, Traits};
use crate::queue::Wakes;
use crate::queue::entries::Entries;
use crate::queue::watched::Owner;

impl Vhost {
    /// Has publishes and deliveries traced from now on, or no longer.
    pub fn set_tracing(&self, on: bool) {
        self.traced.store(on, Ordering::Relaxed);
    }

    pub fn is_traced(&self) -> bool {
        self.traced.load(Ordering::Relaxed)
    }

    /// Tells what has happened to a message, to whoever has bound a queue. No lock may be held.
    pub fn tell(&self, broker: &Broker, message: MessageView<'_>, event: Event<'_>, owner: &Owner, channel: u16) {
        let node = broker.node_name();
        let origin = Origin { node, vhost: &self.name, connection: &owner.connection, channel, user: &owner.user };
        let (Some(exchange), Some(entry)) = (self.exchange(EXCHANGE), entry(message, event, &origin)) else { return };
        let properties = Properties::parse(&entry.properties).unwrap_or_default();
        let now = broker.clock.now_ms();
        let routed = self.route(Some(&exchange), &RouteInput { keys: &[&entry.key], properties: &properties, now });
        if routed.queues.is_empty() {
            return;
        }
        let mut route = Vec::new();
        write::short(&mut route, EXCHANGE.as_bytes());
        write::short(&mut route, &entry.key);
        let (body, traits) = (message.body.to_vec(), Traits::plain(now, false));
        let told = Message::from_parts(&route, &entry.properties, body, traits, broker.memory);
        let forwarded = Forwarded { message: told, targets: routed.queues, waiting: None, followers: routed.followers };
        let (mut entries, mut wakes) = (Entries::default(), Wakes::default());
        put(forwarded, &mut Vec::new(), &mut entries, &mut wakes);
        if let Some(store) = &broker.store {
            entries.append(&store.journal, None, &mut wakes);
        }
        wakes.run();
    }
}
