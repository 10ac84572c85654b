//! Deliveries on a traced virtual host: what they were, for whoever publishes the traces.
//!
//! A queue delivers under its lock, and traces are messages themselves. So [`Wakes`](super::Wakes) notes each delivery
//! while the queue's virtual host is traced, and hands what has gathered to the postman once no lock is held.

use std::sync::Arc;

use super::engine::Delivery;
use super::local::{Queue, QueueSpec, Subscriber};
use crate::message::MessageView;

/// Whose an outlet is.
#[derive(Clone, Debug, Default)]
pub struct Owner {
    /// The connection's name.
    pub connection: Arc<str>,
    pub user: Arc<str>,
}

impl Queue {
    /// Its consumers: the tag, the channel and the owner of each.
    pub fn subscribers(&self) -> Vec<(Box<[u8]>, u16, Owner)> {
        let state = self.state.lock();
        state.engine.consumers().map(|(_, to)| (to.tag.clone(), to.channel, to.outlet.owner())).collect()
    }
}

/// The queue that delivers.
#[derive(Clone, Debug)]
pub(super) struct Watched {
    vhost: Arc<str>,
    queue: Arc<str>,
}

impl Watched {
    pub(super) fn new(spec: &QueueSpec) -> Self {
        Self { vhost: Arc::clone(&spec.vhost), queue: Arc::clone(&spec.name) }
    }

    pub(super) fn saw(&self, to: &Subscriber, delivery: &Delivery<'_>) -> Delivered {
        let MessageView { route, properties, body, .. } = delivery.message;
        Delivered {
            vhost: Arc::clone(&self.vhost),
            queue: Arc::clone(&self.queue),
            owner: to.outlet.owner(),
            channel: to.channel,
            redelivered: delivery.redelivered,
            route: route.to_vec(),
            properties: properties.to_vec(),
            body: body.to_vec(),
        }
    }
}

/// A delivery that has happened, with a copy of its message.
pub struct Delivered {
    pub vhost: Arc<str>,
    pub queue: Arc<str>,
    pub owner: Owner,
    pub channel: u16,
    pub redelivered: bool,
    route: Vec<u8>,
    properties: Vec<u8>,
    body: Vec<u8>,
}

impl Delivered {
    pub fn message(&self) -> MessageView<'_> {
        MessageView { route: &self.route, properties: &self.properties, body: &self.body, hidden: false }
    }
}
