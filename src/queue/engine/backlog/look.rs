//! Looking at what waits, in order of positions or of delivery, without touching it.

use std::collections::VecDeque;

use super::{Backlog, Lane, Slot};
use crate::message::Message;

/// A message that waits.
#[derive(Clone, Debug)]
pub struct Waiting {
    pub position: u64,
    /// `None` when it is cold.
    pub message: Option<Message>,
    pub redelivered: bool,
}

impl Backlog {
    /// Messages from a position on, at most so many. Cold ones of a single lane are not among them.
    pub fn page(&self, from: u64, most: usize) -> Vec<Waiting> {
        let mut slots: Vec<&Slot> = Vec::new();
        for lane in &self.lanes {
            slots.extend(part(&lane.ready, from, most));
            slots.extend(lane.returned.range(from..).map(|(_, slot)| slot).take(most));
        }
        slots.extend(part(&self.tail, from, most));
        slots.sort_unstable_by_key(|slot| slot.position);
        slots.truncate(most);
        slots.into_iter().map(Waiting::of).collect()
    }
}

impl Backlog {
    /// The same of a backlog with priorities, in the order of delivery, behind so many others.
    pub fn ranked(&self, behind: usize, most: usize) -> Vec<Waiting> {
        let in_order = self.lanes.iter().rev().flat_map(Lane::in_order);
        in_order.skip(behind).take(most).map(Waiting::of).collect()
    }
}

impl Lane {
    /// What waits, by position: what was returned stands where it stood.
    fn in_order(&self) -> impl Iterator<Item = &Slot> {
        let (mut returned, mut ready) = (self.returned.values().peekable(), self.ready.iter().peekable());
        let both = std::iter::from_fn(move || match (returned.peek(), ready.peek()) {
            (Some(one), Some(other)) if one.position < other.position => returned.next(),
            (Some(_), None) => returned.next(),
            _ => ready.next(),
        });
        both.filter(|slot| !slot.gone)
    }
}

impl Waiting {
    fn of(slot: &Slot) -> Self {
        Self { position: slot.position, message: slot.message.clone(), redelivered: slot.redelivered }
    }
}

fn part(slots: &VecDeque<Slot>, from: u64, most: usize) -> impl Iterator<Item = &Slot> {
    let start = slots.partition_point(|slot| slot.position < from);
    slots.range(start..).filter(|slot| !slot.gone).take(most)
}
