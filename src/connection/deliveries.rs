//! What deliveries need of a channel: its consumers and their slots, the ledger of unacked tags, the shared prefetch.
//!
//! Every consumer of a channel, and every queue that it has got messages from, has a slot; a ledger entry names its slot,
//! so that an ack finds the queue. A slot outlives its consumer until the last of its deliveries is settled. The outbox
//! keeps one [`ChannelOut`] for each channel, under its lock.

use std::collections::HashMap;
use std::sync::Arc;

use super::apart::ByQueue;
use super::counting::{Delivering, Publishing, Sampled};
use super::ledger::{Ledger, Unacked};
use crate::frames::Table;
use crate::queue::engine::Terms;
use crate::queue::{ConsumerKey, Queue};

/// A channel's number for a consumer, or for a queue that it has got messages from.
pub struct Slot {
    pub queue: Arc<Queue>,
    pub consumer: Option<ConsumerKey>,
    /// Deliveries in the ledger that point here.
    pub(super) outstanding: usize,
    /// The consumer is gone; the slot stays until its deliveries are settled.
    pub(super) ended: bool,
    /// What its consumer wants; none after a get.
    pub wanted: Option<Box<Wanted>>,
}

/// How a consumer wants its messages, and what else it came with.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    pub terms: Terms,
    pub arguments: Table,
}

/// What deliveries need of a channel.
#[derive(Default)]
pub struct ChannelOut {
    pub(super) ledger: Ledger,
    pub(super) slots: Vec<Option<Slot>>,
    /// Consumer tags, and the slots of the consumers.
    pub(super) consumers: HashMap<Box<[u8]>, u32>,
    /// Shared limit of unacked messages of all consumers (`basic.qos` with global); 0 is none.
    pub(super) global_prefetch: u32,
    /// Deliveries to consumers in the ledger (those of `basic.get` do not count towards the shared limit).
    pub(super) consumed: usize,
    /// Consumers that the shared limit has stalled.
    pub(super) stalled: Vec<u32>,
    pub publishing: Arc<Publishing>,
    pub delivering: Delivering,
    /// None before it has been used.
    pub(super) sampled: Option<Box<Sampled>>,
    /// What it has counted by queue, where that is wanted.
    pub apart: Option<Box<ByQueue>>,
}

/// Deliveries of one queue that are settled together.
pub struct SettledGroup {
    pub queue: Arc<Queue>,
    pub positions: Vec<u64>,
}

/// Settled deliveries grouped by queue, in tag order within a run, and consumers that may go on.
#[derive(Default)]
pub struct Settled {
    pub groups: Vec<SettledGroup>,
    pub resumed: Vec<(Arc<Queue>, ConsumerKey)>,
}

impl Settled {
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty() && self.resumed.is_empty()
    }

    /// Brings the groups of each queue together, so that a queue takes back all it is given before it delivers again.
    pub fn merge(&mut self) {
        self.groups.sort_by_key(|group| group.queue.id);
        self.groups.dedup_by(|later, group| {
            let same = Arc::ptr_eq(&later.queue, &group.queue);
            if same {
                group.positions.append(&mut later.positions);
            }
            same
        });
    }

    pub(super) fn add(&mut self, queue: &Arc<Queue>, position: u64) {
        match self.groups.last_mut() {
            Some(group) if Arc::ptr_eq(&group.queue, queue) => group.positions.push(position),
            _ => self.groups.push(SettledGroup { queue: Arc::clone(queue), positions: vec![position] }),
        }
    }
}

impl ChannelOut {
    /// Its slots and their queues, in order of slots.
    pub(super) fn queues(&self) -> impl Iterator<Item = (u32, &Arc<Queue>)> {
        (0_u32..).zip(&self.slots).filter_map(|(number, slot)| Some((number, &slot.as_ref()?.queue)))
    }

    /// Deliveries that wait for an ack, oldest first.
    pub(super) fn waiting(&self) -> impl Iterator<Item = Unacked> {
        self.ledger.waiting()
    }

    pub(super) fn slot_mut(&mut self, slot: u32) -> Option<&mut Slot> {
        self.slots.get_mut(slot as usize)?.as_mut()
    }

    pub(super) fn add_slot(&mut self, queue: &Arc<Queue>) -> u32 {
        let slot = Slot { queue: Arc::clone(queue), consumer: None, outstanding: 0, ended: false, wanted: None };
        let free = self.slots.iter().position(Option::is_none).unwrap_or(self.slots.len());
        match self.slots.get_mut(free) {
            Some(place) => *place = Some(slot),
            None => self.slots.push(Some(slot)),
        }
        u32::try_from(free).unwrap_or(u32::MAX)
    }

    /// The slot for messages got from a queue.
    pub(super) fn get_slot(&mut self, queue: &Arc<Queue>) -> u32 {
        // Not one that a consumer has left: its deliveries count towards the shared limit, these do not.
        let is_same = |s: &Slot| s.ended && s.consumer.is_none() && Arc::ptr_eq(&s.queue, queue);
        let same = |s: &Option<Slot>| s.as_ref().is_some_and(is_same);
        let found = self.slots.iter().position(same).and_then(|i| u32::try_from(i).ok());
        found.unwrap_or_else(|| {
            let slot = self.add_slot(queue);
            if let Some(s) = self.slot_mut(slot) {
                s.ended = true;
            }
            slot
        })
    }

    pub(super) fn note(&mut self, position: u64, slot: u32, at: u32, consumed: bool) {
        self.ledger.note(position, slot, at);
        self.consumed += usize::from(consumed);
        if let Some(s) = self.slot_mut(slot) {
            s.outstanding += 1;
        }
    }

    /// Books one settled delivery.
    pub(super) fn release(&mut self, unacked: Unacked, settled: &mut Settled) {
        let Some(slot) = self.slot_mut(unacked.slot) else { return };
        settled.add(&slot.queue, unacked.position);
        slot.outstanding -= 1;
        let counted = slot.consumer.is_some();
        if slot.ended && slot.outstanding == 0 {
            self.free_slot(unacked.slot);
        }
        self.consumed -= usize::from(counted);
    }

    pub(super) fn free_slot(&mut self, slot: u32) {
        if let Some(place) = self.slots.get_mut(slot as usize) {
            *place = None;
        }
    }

    pub(super) fn is_at_limit(&self) -> bool {
        self.global_prefetch != 0 && self.consumed >= self.global_prefetch as usize
    }

    /// Consumers that the shared limit no longer holds back.
    pub(super) fn take_resumable(&mut self, resumed: &mut Vec<(Arc<Queue>, ConsumerKey)>) {
        if self.stalled.is_empty() || self.is_at_limit() {
            return;
        }
        for slot in std::mem::take(&mut self.stalled) {
            if let Some(s) = self.slot_mut(slot)
                && let Some(key) = s.consumer
            {
                resumed.push((Arc::clone(&s.queue), key));
            }
        }
    }

    /// A consumer goes; its slot stays until its deliveries are settled.
    pub(super) fn end_consumer(&mut self, tag: &[u8]) {
        let Some(slot) = self.consumers.remove(tag) else { return };
        self.stalled.retain(|s| *s != slot);
        if let Some(s) = self.slot_mut(slot) {
            s.ended = true;
            if s.outstanding == 0 {
                self.free_slot(slot);
            }
        }
    }
}
