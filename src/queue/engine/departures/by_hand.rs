//! What an operator does with single messages that wait: looks at them, throws them away, moves them.

use super::super::Engine;
use super::super::backlog::{Ready, Removed, Waiting};
use super::Transit;
use crate::message::Message;
use crate::queue::letter::Reason;

impl<C> Engine<C> {
    /// Messages that wait, in order of positions, from one on, at most so many. Cold ones of a queue without priorities
    /// are not among them: they are within [`Engine::cold`].
    pub fn page(&self, from: u64, most: usize) -> Vec<Waiting> {
        self.backlog.page(from, most)
    }

    /// What waits in a queue with priorities, in the order of delivery, behind so many others.
    pub fn ranked(&self, behind: usize, most: usize) -> Vec<Waiting> {
        self.backlog.ranked(behind, most)
    }

    /// Whether a message that was found on disk waits there, or has come back to memory and waits.
    pub fn waits(&self, position: u64, is_dead: impl Fn(u64) -> bool) -> bool {
        let cold = self.backlog.cold();
        let is_cold = || {
            cold.count > 0
                && (cold.from..cold.to).contains(&position)
                && !is_dead(position)
                && !self.is_elsewhere(position)
        };
        self.backlog.has(position) || is_cold()
    }

    /// Throws a waiting message away, as if it had been settled: see [`Engine::take_dropped`]. False when it does not wait.
    pub fn throw_away(&mut self, position: u64, message: Message, is_dead: impl Fn(u64) -> bool) -> bool {
        let Some(entry) = self.take_out(position, message, is_dead) else { return false };
        self.returns.remove(&position);
        self.departures.moving.dropped.push((position, entry.message));
        true
    }

    /// Takes a waiting message out to be moved: it is in transit until [`Engine::arrived`] or [`Engine::stay`]. False when it
    /// does not wait.
    pub fn lift(&mut self, position: u64, message: Message, is_dead: impl Fn(u64) -> bool) -> bool {
        let Some(entry) = self.take_out(position, message, is_dead) else { return false };
        let transit = Transit { message: Some(entry.message), reason: Reason::Due, had: Vec::new() };
        self.departures.moving.transit.insert(position, transit);
        true
    }

    /// A message that was to be moved stays.
    pub fn stay(&mut self, position: u64) {
        let found = self.departures.moving.transit.remove(&position);
        if let Some(message) = found.and_then(|transit| transit.message) {
            let redelivered = position < self.delivered;
            self.comes(&message);
            self.wait_again(Ready { message, position, redelivered });
        }
    }

    /// `message` is what was read at that position.
    fn take_out(&mut self, position: u64, message: Message, is_dead: impl Fn(u64) -> bool) -> Option<Ready> {
        if !self.waits(position, &is_dead) {
            return None;
        }
        let entry = match self.backlog.remove(position, is_dead) {
            Removed::Held(entry) => entry,
            Removed::Cold => Ready { message, position, redelivered: position < self.delivered },
            Removed::NotHere => return None,
        };
        self.goes(&entry.message);
        Some(entry)
    }
}
