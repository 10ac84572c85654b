//! What holds publishers back: a rate, and a quota of what is stored.
//!
//! A [`Limit`] is that of a user, a virtual host or a queue, shared by all connections that are under it. Its rate is kept by
//! a [`Throttle`]. Its quota is compared with what is stored a few times a second by [`Broker::measure_quotas`], so that no
//! message has to be counted for it: what is published between two looks comes on top.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::broker::Broker;
use crate::queue::Queue;
use crate::rate::{Allowance, Rates, Throttle};

/// Most queues that are remembered of those that a user publishes to. Beyond them, the quota does not count.
const MOST_QUEUES: usize = 100_000;

/// What a quota is compared with.
#[derive(Debug)]
pub enum Measured {
    /// What all queues of the virtual host hold.
    Vhost(Arc<str>),
    /// What the queues hold that a user's connections have published to.
    PublishedTo(Box<Mutex<HashMap<u64, Weak<Queue>>>>),
    Queue(Weak<Queue>),
}

/// What a user, or the publishers of a virtual host or a queue, have to keep.
#[derive(Debug)]
pub struct Limit {
    throttle: Option<Throttle>,
    /// Bytes of bodies.
    most_stored: Option<u64>,
    measured: Measured,
    /// So much was stored when it was looked at last.
    is_full: AtomicBool,
}

impl Limit {
    pub fn new(rates: Rates, most_stored: Option<u64>, measured: Measured, now: u64) -> Self {
        let throttle = (!rates.is_none()).then(|| Throttle::new(rates, now));
        Self { throttle, most_stored, measured, is_full: AtomicBool::new(false) }
    }

    pub fn rates(&self) -> Rates {
        self.throttle.as_ref().map(Throttle::rates).unwrap_or_default()
    }

    pub fn is(&self, rates: Rates, most_stored: Option<u64>) -> bool {
        self.rates() == rates && self.most_stored == most_stored
    }

    /// How fast one may publish, where that is limited.
    pub fn throttle(&self) -> Option<&Throttle> {
        self.throttle.as_ref()
    }

    /// What may be published now without waiting for the rate.
    pub fn allowance(&self, now: u64) -> Option<Allowance> {
        self.throttle.as_ref().map(|throttle| throttle.allowance(now))
    }

    /// Whether it has to know where its user publishes to.
    pub fn follows_queues(&self) -> bool {
        self.most_stored.is_some() && matches!(self.measured, Measured::PublishedTo(_))
    }

    /// Its user publishes to a queue.
    pub fn follow(&self, queue: &Arc<Queue>) {
        if let Measured::PublishedTo(queues) = &self.measured {
            let mut queues = queues.lock();
            if queues.len() >= MOST_QUEUES {
                queues.retain(|_, queue| queue.strong_count() > 0);
            }
            if queues.len() < MOST_QUEUES {
                queues.entry(queue.id).or_insert_with(|| Arc::downgrade(queue));
            }
        }
    }

    /// Why publishers wait for its quota, if they do.
    pub fn full(&self) -> Option<&'static str> {
        self.is_full.load(Relaxed).then_some(match self.measured {
            Measured::Vhost(_) => "disk quota of the virtual host is reached",
            Measured::PublishedTo(_) => "disk quota of the user is reached",
            Measured::Queue(_) => "disk quota of a queue is reached",
        })
    }

    /// Compares the quota with what is stored.
    fn measure(&self, broker: &Broker) {
        let Some(most) = self.most_stored else { return };
        let stored = |queue: &Weak<Queue>| queue.upgrade().map_or(0, |queue| queue.stored_bytes());
        let stored: u64 = match &self.measured {
            Measured::Queue(queue) => stored(queue),
            Measured::PublishedTo(queues) => {
                let mut queues = queues.lock();
                queues.retain(|_, queue| queue.strong_count() > 0);
                queues.values().map(stored).sum()
            }
            Measured::Vhost(name) => {
                let queues: Vec<_> = match broker.vhost(name) {
                    Some(vhost) => vhost.topology.read().queues.values().cloned().collect(),
                    None => Vec::new(),
                };
                queues.iter().map(|queue| queue.stored_bytes()).sum()
            }
        };
        let is_full = stored >= most;
        if self.is_full.swap(is_full, Relaxed) != is_full {
            self.tell(stored, most, is_full);
        }
    }

    fn tell(&self, stored: u64, most: u64, is_full: bool) {
        let whose = match &self.measured {
            Measured::Vhost(name) => format!("of virtual host '{name}'"),
            Measured::PublishedTo(_) => "of a user".to_owned(),
            Measured::Queue(queue) => match queue.upgrade() {
                Some(queue) => format!("of queue '{}' in vhost '{}'", queue.spec.name, queue.spec.vhost),
                None => "of a queue".to_owned(),
            },
        };
        match is_full {
            true => tracing::warn!(
                target: "leveret::queue",
                "disk quota {whose} is reached: {stored} bytes of {most} are stored, its publishers wait"
            ),
            false => tracing::info!(
                target: "leveret::queue",
                "disk quota {whose}: {stored} bytes of {most} are stored, its publishers go on"
            ),
        }
    }
}

impl Broker {
    /// Whether there is a quota to be looked at.
    pub fn has_quotas(&self) -> bool {
        let is_one = |limit: &Arc<Limit>| limit.most_stored.is_some();
        self.throttles.all.read().values().any(is_one) || !self.throttles.queues.read().is_empty()
    }

    /// Compares all quotas with what is stored. Takes its time where there are many queues.
    pub fn measure_quotas(&self) {
        let mut limits: Vec<_> = self.throttles.all.read().values().cloned().collect();
        limits.extend({
            let mut queues = self.throttles.queues.write();
            queues.retain(|_, limit| limit.strong_count() > 0);
            queues.values().filter_map(Weak::upgrade).collect::<Vec<_>>()
        });
        limits.iter().for_each(|limit| limit.measure(self));
    }
}
