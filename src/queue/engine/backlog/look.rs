//! Looking at what waits, in order of positions, without touching it.

use std::collections::VecDeque;

use super::{Backlog, Slot};
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
        let waiting = |slot: &Slot| Waiting {
            position: slot.position,
            message: slot.message.clone(),
            redelivered: slot.redelivered,
        };
        slots.into_iter().map(waiting).collect()
    }
}

fn part(slots: &VecDeque<Slot>, from: u64, most: usize) -> impl Iterator<Item = &Slot> {
    let start = slots.partition_point(|slot| slot.position < from);
    slots.range(start..).filter(|slot| !slot.gone).take(most)
}
