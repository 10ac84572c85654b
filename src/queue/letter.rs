//! Messages that leave a queue for other queues: dead letters, and delayed messages that are due.
//!
//! A queue does not know exchanges. Whoever brought the work that made messages leave has a [`Postman`] of the floor above
//! collect its [`Letter`]s once its lock is released, one postman at a time, so that they keep their order. A letter stays
//! in its queue until the journal has it in its new queues: both are one entry of one commit.

use std::sync::Arc;

use super::local::Queue;
use super::settings::Settings;
use super::watched::Delivered;
use crate::message::Message;

/// Why a message leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// A consumer did not want it.
    Rejected,
    Expired,
    /// The queue was full.
    MaxLen,
    DeliveryLimit,
    /// It was delayed, and its time has come.
    Due,
}

impl Reason {
    /// As it stands in `x-death`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::MaxLen => "maxlen",
            Self::DeliveryLimit => "delivery_limit",
            Self::Due => "due",
        }
    }
}

/// A message on its way out of a queue.
pub struct Letter {
    pub from: Arc<Queue>,
    /// Where it stood; `None` when the queue never took it in (an overflow of `reject-publish-dlx`).
    pub position: Option<u64>,
    pub message: Message,
    pub reason: Reason,
    /// What was in force for the queue.
    pub settings: Arc<Settings>,
    /// Queues, by their numbers, that have it from an earlier try.
    pub had: Vec<u64>,
}

/// Routes letters, and has the journal note that they have moved.
pub trait Postman: Send + Sync {
    /// A queue has been unused for as long as it may be.
    fn expired(&self, queue: &Arc<Queue>);

    /// Fetches what these queues send ([`Queue::letterbox`]), and delivers it: when this returns, the journal has it, but
    /// where this is called by somebody whom the same postman has told of something. No lock may be held. Whatever cannot be
    /// delivered is dropped, or stays in its queue where that keeps its letters until they are safe.
    fn collect(&self, from: Vec<Arc<Queue>>);

    /// Tells of deliveries on traced virtual hosts. No lock may be held.
    fn tell(&self, delivered: Vec<Delivered>);
}
