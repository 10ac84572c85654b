//! The limits that a connection has to keep: how much of what it publishes is carried out now, and how long the rest waits.
//!
//! Those of its user and virtual host are looked up when the broker's have changed; without any, a read costs one
//! comparison. With some, a read asks them once before and tells them once after. Those of queues are found by what is
//! published: a connection that has used up a queue's rate, or publishes to one whose quota is reached, waits with all that
//! it publishes. Where no queue has any, nothing is looked at.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;

use crate::queue::Queue;
use crate::rate::{Allowance, Throttle, now};
use crate::vhost::quotas::Limit;
use crate::vhost::throttles::Throttles;
use crate::vhost::{Broker, Vhost};

/// Shortest wait: tokens gather meanwhile, and nobody is woken for each of them.
const SHORTEST: Duration = Duration::from_millis(5);
/// Most queues whose limits a connection keeps in mind.
const MOST_QUEUES: usize = 1024;

/// A connection's share in the limits that it is under.
#[derive(Debug, Default)]
pub struct Pacing {
    /// Of its user and its virtual host.
    limits: Vec<Arc<Limit>>,
    /// The throttles' epoch when they were looked up; 0 is never.
    epoch: u64,
    /// Of the read that is being carried out.
    allowance: Option<Allowance>,
    messages: u64,
    bytes: u64,
    /// Where it publishes to has to be known.
    watches_queues: bool,
    /// Queues that it has published to, with their limits, as long as nothing has changed.
    queues: HashMap<u64, Option<Arc<Limit>>, RandomState>,
    queues_epoch: u64,
    /// Those whose rate it has used up.
    spent: Vec<Arc<Limit>>,
}

impl Pacing {
    /// A read is about to be carried out.
    #[inline]
    pub fn begin(&mut self, all: &Throttles, user: &str, vhost: &Vhost) {
        self.look_up(all, user, vhost);
        if !self.limits.is_empty() {
            let now = now();
            self.allowance = self.limits.iter().filter_map(|limit| limit.allowance(now)).reduce(Allowance::and);
        }
        if !self.spent.is_empty() {
            let now = now();
            self.spent.retain(|limit| limit.allowance(now).is_some_and(|allowance| allowance.is_used_up()));
        }
    }

    /// Finds the limits, where they have changed.
    #[inline]
    pub fn look_up(&mut self, all: &Throttles, user: &str, vhost: &Vhost) {
        let queues_epoch = vhost.limits_epoch();
        if (self.epoch, self.queues_epoch) != (all.epoch(), queues_epoch) {
            (self.epoch, self.queues_epoch) = (all.epoch(), queues_epoch);
            self.limits = all.of(user, &vhost.name);
            self.watches_queues = queues_epoch > 0 || self.limits.iter().any(|limit| limit.follows_queues());
            self.queues = HashMap::default();
            self.spent.clear();
        }
    }

    /// Nothing more may be published in this read.
    #[inline]
    pub fn is_used_up(&self) -> bool {
        !self.spent.is_empty() || self.allowance.is_some_and(|allowance| allowance.is_used_up())
    }

    /// Whether anything has to be counted.
    #[inline]
    pub fn counts(&self) -> bool {
        self.allowance.is_some()
    }

    /// Whether it has to be told of queues that are published to.
    #[inline]
    pub fn watches_queues(&self) -> bool {
        self.watches_queues
    }

    /// Notes what is published.
    pub fn note(&mut self, messages: u64, bytes: u64) {
        self.messages += messages;
        self.bytes += bytes;
        if let Some(allowance) = &mut self.allowance {
            allowance.use_up(messages, bytes);
        }
    }

    /// Notes a message of so many bytes that goes to these queues.
    pub fn note_queues(&mut self, broker: &Broker, queues: &[Arc<Queue>], bytes: u64) {
        for queue in queues {
            if self.queues.len() >= MOST_QUEUES {
                self.queues.clear();
            }
            let limits = &self.limits;
            let limit = self.queues.entry(queue.id).or_insert_with(|| {
                limits.iter().filter(|limit| limit.follows_queues()).for_each(|limit| limit.follow(queue));
                broker.throttles.of_queue(queue)
            });
            let Some((limit, throttle)) = limit.as_ref().and_then(|limit| Some((limit, limit.throttle()?))) else {
                continue;
            };
            let now = now();
            throttle.take(1, bytes, now);
            if throttle.allowance(now).is_used_up() && !self.spent.iter().any(|spent| Arc::ptr_eq(spent, limit)) {
                self.spent.push(Arc::clone(limit));
            }
        }
    }

    /// The read has been carried out.
    #[inline]
    pub fn end(&mut self) {
        if self.allowance.take().is_some() && (self.messages > 0 || self.bytes > 0) {
            let now = now();
            throttles(&self.limits).for_each(|throttle| throttle.take(self.messages, self.bytes, now));
            (self.messages, self.bytes) = (0, 0);
        }
    }

    /// How long a publish that did not fit in has to wait.
    pub fn wait(&self) -> Duration {
        let now = now();
        let all = throttles(&self.limits).chain(throttles(&self.spent));
        all.map(|throttle| throttle.wait(now)).max().unwrap_or_default().max(SHORTEST)
    }

    /// The limits have been changed since.
    pub fn is_stale(&self, all: &Throttles, vhost: &Vhost) -> bool {
        (self.epoch, self.queues_epoch) != (all.epoch(), vhost.limits_epoch())
    }

    /// Why it has to wait for a quota, if it has to.
    #[inline]
    pub fn full(&self) -> Option<&'static str> {
        let of_queues = self.queues.values().flatten();
        self.limits.iter().chain(of_queues).find_map(|limit| limit.full())
    }
}

fn throttles(limits: &[Arc<Limit>]) -> impl Iterator<Item = &Throttle> {
    limits.iter().filter_map(|limit| limit.throttle())
}
