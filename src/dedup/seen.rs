//! What an exchange or a queue has seen: a [`Window`] with its rule, charged to the account of memory.
//!
//! An exchange remembers an identifier when it routes the message and hears later what has become of it; until then the
//! identifier is undecided: it counts, but is not saved, since the message may come to nothing. A queue decides at once.
//! What has been decided can be asked for one by one ([`Seen::encode_one`]), so that it becomes durable with its message.

use std::collections::HashSet;

use super::{Deduplication, Window};
use crate::frames::Properties;
use crate::message::memory::MemoryAccount;

/// The identifiers that an exchange or a queue has seen.
pub struct Seen {
    rule: Deduplication,
    window: Window,
    account: Option<&'static MemoryAccount>,
    undecided: HashSet<[u64; 2]>,
}

/// The headers in a message's properties: the inside of their table.
pub fn headers_of(properties: &[u8]) -> &[u8] {
    Properties::parse(properties).unwrap_or_default().headers.unwrap_or_default()
}

impl Seen {
    /// Nothing has been seen, or what was saved by [`Self::encode`].
    pub fn new(rule: Deduplication, saved: Option<&[u8]>, now: u64, account: Option<&'static MemoryAccount>) -> Self {
        let saved = saved.and_then(|bytes| Window::decode(bytes, rule.size, now).ok());
        let window = saved.unwrap_or_else(|| Window::new(rule.size, random_key()));
        if let Some(account) = account {
            account.add(window.memory());
        }
        Self { rule, window, account, undecided: HashSet::new() }
    }

    pub fn rule(&self) -> &Deduplication {
        &self.rule
    }

    /// Remembers a message; false when it is a repetition.
    pub fn remember(&mut self, headers: &[u8], now: u64) -> bool {
        let Some(id) = self.rule.id(headers) else { return true };
        let before = self.window.memory();
        let ttl = if self.rule.while_kept { None } else { self.rule.ttl_of(headers) };
        let is_new = self.window.insert(id, ttl, now);
        let after = self.window.memory();
        if let Some(account) = self.account {
            account.add(after.saturating_sub(before));
            account.sub(before.saturating_sub(after));
        }
        is_new
    }

    /// The same of a message about which [`Self::decide`] will be told.
    pub fn remember_for_now(&mut self, headers: &[u8], now: u64) -> bool {
        let is_new = self.remember(headers, now);
        if let (true, Some(id)) = (is_new, self.rule.id(headers)) {
            self.undecided.insert(self.window.hash(id));
        }
        is_new
    }

    /// A message is in its queues, or nothing has come of it: then the next attempt is no repetition.
    pub fn decide(&mut self, headers: &[u8], taken: bool) {
        let Some(id) = self.rule.id(headers) else { return };
        self.undecided.remove(&self.window.hash(id));
        if !taken {
            self.window.forget(id);
        }
    }

    /// A message has left the queue.
    pub fn has_left(&mut self, headers: &[u8]) {
        if self.rule.while_kept {
            self.decide(headers, false);
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::new(self.rule.clone(), None, 0, self.account);
    }

    /// Appends a window with nothing but the identifier of this message; false when it has none, or one that is not known.
    pub fn encode_one(&self, headers: &[u8], out: &mut Vec<u8>) -> bool {
        self.rule.id(headers).is_some_and(|id| self.window.encode_one(self.window.hash(id), out))
    }

    /// Appends what has to be saved.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.window.encode(|hash| !self.undecided.contains(&hash), out);
    }
}

impl Drop for Seen {
    fn drop(&mut self) {
        if let Some(account) = self.account {
            account.sub(self.window.memory());
        }
    }
}

/// Sixteen bytes that nobody can guess. Without the system's generator they can be: then somebody who tries hard may have
/// his messages taken for repetitions.
fn random_key() -> [u8; 16] {
    let mut key = [0; 16];
    if getrandom::fill(&mut key).is_err() {
        key.fill(0x5e);
    }
    key
}
