//! The last messages of an `x-recent-history` exchange, for whoever is bound to it next.
//!
//! They are held in memory, and counted there as every message is; a restart of the node forgets them.

use std::collections::VecDeque;

use crate::message::Message;

/// The last messages, oldest first.
#[derive(Debug)]
pub struct History {
    length: usize,
    messages: VecDeque<Message>,
}

impl History {
    /// Without messages yet; it will have at most `length`.
    pub fn new(length: usize) -> Self {
        Self { length, messages: VecDeque::new() }
    }

    /// Keeps a message; the oldest one goes when there are enough.
    pub fn keep(&mut self, message: Message) {
        if self.messages.len() >= self.length {
            self.messages.pop_front();
        }
        self.messages.push_back(message);
    }

    pub fn messages(&self) -> Vec<Message> {
        self.messages.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Traits;
    use crate::message::memory::MemoryAccount;

    #[test]
    fn the_last_ones_are_kept_in_order_and_the_others_cost_nothing() {
        let account = MemoryAccount::new(u64::MAX);
        let mut history = History::new(3);
        for n in 0..10 {
            history.keep(Message::from_parts(b"\0\0", &[0, 0], vec![n], Traits::default(), account));
        }
        let kept = history.messages();
        assert_eq!(kept.iter().map(|m| m.view().body[0]).collect::<Vec<_>>(), [7, 8, 9]);
        assert_eq!(account.used(), kept.iter().map(|m| m.charged_bytes() as u64).sum::<u64>());
    }
}
