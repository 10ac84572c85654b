//! The firehose: while a virtual host is traced, every publish and every delivery there is told to its exchange
//! `amq.rabbitmq.trace`.
//!
//! [`Vhost::set_tracing`] is the switch; it is off again after a restart. Connections look at it once for each read, queues
//! once for each batch of deliveries, and nothing else is paid for while it is off.

use std::sync::atomic::Ordering;

use super::broker::Broker;
use super::own::{Own, OwnBatch};
use super::topology::Vhost;
use crate::message::MessageView;
use crate::message::trace::{EXCHANGE, Event, Origin, entry};
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
        let told = Own { key: &entry.key, properties: &entry.properties, is_persistent: false };
        let mut batch = OwnBatch::default();
        batch.publish(broker, self, &exchange, &told, || message.body.to_vec());
        batch.finish(broker);
    }
}
