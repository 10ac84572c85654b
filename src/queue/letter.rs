//! Messages that leave a queue for other queues: dead letters, and delayed messages that are due.
//!
//! A queue does not know exchanges. It hands its [`Letter`]s to whoever brought the work that made them leave, once its
//! lock is released, and a [`Postman`] of the floor above routes them. A letter stays in its queue, as far as the disk is
//! concerned, until the journal has it in its new queues: both are one entry of one commit.

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
}

/// Routes letters, and has the journal note that they have moved.
pub trait Postman: Send + Sync {
    /// A queue has been unused for as long as it may be.
    fn expired(&self, queue: &Arc<Queue>);

    /// No lock may be held. Whatever cannot be delivered is dropped, or comes back to its queue where that keeps its
    /// letters until they are safe.
    fn deliver(&self, letters: Vec<Letter>);

    /// Tells of deliveries on traced virtual hosts. No lock may be held.
    fn tell(&self, delivered: Vec<Delivered>);
}
