//! What a queue with deduplication remembers of its messages.
//!
//! [`Queue::publish`] leaves out repetitions before the engine sees them. By its arguments a queue remembers either the last
//! identifiers, wherever their messages are now, or those of the messages that are in it: then every way on which a message
//! leaves for good comes by [`State::has_left`]. What is in it is read from the store at start; the last identifiers go to the
//! journal with their messages, and are saved by [`crate::persist::windows`].

use super::arguments::{CACHE_SIZE, CACHE_TTL};
use super::engine::Engine;
use super::local::{Landed, Queue, QueueSpec, State, Subscriber};
use super::settings::Settings;
use crate::dedup::seen::{Seen, headers_of};
use crate::message::{Incoming, Message};
use crate::persist::Store;
use crate::persist::recovery::FoundQueue;
use crate::persist::reindex::each_living;
use crate::persist::windows::Remembering;

/// What a queue begins with, as the settings say.
pub(super) fn begin(settings: &Settings, store: Option<&Store>, saved: Option<&[u8]>, now: u64) -> Option<Box<Seen>> {
    let rule = settings.deduplication.clone()?;
    Some(Box::new(Seen::new(rule, saved, now, store.map(Store::memory))))
}

/// What was saved of a durable queue that remembers identifiers longer than their messages.
pub(super) fn saved(spec: &QueueSpec, store: Option<&Store>) -> Option<Vec<u8>> {
    store.filter(|_| has_cache(spec))?.windows.take(spec.store_id)
}

fn has_cache(spec: &QueueSpec) -> bool {
    [CACHE_SIZE, CACHE_TTL].iter().any(|key| spec.arguments.get(key).is_some())
}

/// Remembers the messages that were found in a queue, where that counts.
pub(super) fn restore(seen: &mut Seen, found: &mut FoundQueue, store: &Store) {
    if !seen.rule().while_kept {
        return;
    }
    let in_segments = each_living(store.disk(), &found.shelf, |record| {
        seen.remember(headers_of(record.parts.properties), 0);
    });
    if let Err(error) = in_segments {
        found.damage.push(format!("its segments cannot be read: {error}"));
    }
    for (_, message) in &found.messages {
        seen.remember(headers_of(message.view().properties), 0);
    }
}

impl State {
    /// Remembers a message; false when it is a repetition.
    #[inline]
    pub(super) fn is_new(&mut self, incoming: &Incoming<'_>) -> bool {
        let Some(seen) = &mut self.seen else { return true };
        seen.remember(headers_of(incoming.view().properties), incoming.traits().at)
    }

    /// A message was refused: the next attempt is no repetition.
    pub(super) fn was_refused(&mut self, incoming: &Incoming<'_>) {
        if let Some(seen) = &mut self.seen {
            seen.decide(headers_of(incoming.view().properties), false);
        }
    }

    /// A consumer without acks has taken a message that was never in the queue.
    #[inline]
    pub(super) fn was_consumed(&mut self, incoming: &Incoming<'_>) {
        if let Some(seen) = &mut self.seen {
            seen.has_left(headers_of(incoming.view().properties));
        }
    }

    /// A message has left the queue for good.
    #[inline]
    pub(super) fn has_left(&mut self, message: &Message) {
        if let Some(seen) = &mut self.seen {
            seen.has_left(headers_of(message.view().properties));
        }
    }

    /// All messages that were ready have left the queue.
    pub(super) fn ready_have_left(&mut self) {
        let Some(seen) = self.seen.as_mut().filter(|seen| seen.rule().while_kept) else { return };
        seen.clear();
        for (_, message) in self.engine.unacked() {
            seen.remember(headers_of(message.view().properties), 0);
        }
    }

    /// Another rule is in force from now on; it knows nothing of what has been published before.
    pub(super) fn change_rule(&mut self, settings: &Settings, store: Option<&Store>) {
        if self.seen.as_ref().map(|seen| seen.rule()) != settings.deduplication.as_ref() {
            self.seen = begin(settings, store, None, 0);
            tell_consumed(&mut self.engine, self.seen.as_deref());
        }
    }
}

/// Has the engine tell what consumers without acks have taken, where that has to be forgotten.
pub(super) fn tell_consumed(engine: &mut Engine<Subscriber>, seen: Option<&Seen>) {
    if seen.is_some_and(|seen| seen.rule().while_kept) {
        engine.tell_consumed();
    }
}

impl Queue {
    /// Has the store ask for what it remembers, where that has to survive.
    pub(super) fn register_window(&self) {
        if let Some(store) = self.shared.store.as_ref().filter(|_| self.is_durable() && has_cache(&self.spec)) {
            let me = self.me.clone();
            store.windows.register(self.spec.store_id, me);
        }
    }

    /// The journal has to know the identifier of a message that has been taken, where it outlives the message.
    #[inline]
    pub(super) fn note_seen(&self, state: &State, incoming: &Incoming<'_>, landed: &mut Landed) {
        let Some(seen) = state.seen.as_ref().filter(|seen| self.is_durable() && !seen.rule().while_kept) else {
            return;
        };
        let Some(store) = &self.shared.store else { return };
        let headers = headers_of(incoming.view().properties);
        let notes = landed.notes.get_or_insert_default();
        let kept = self.keeping().keeps(incoming.is_persistent());
        store.windows.note(self.spec.store_id, seen, headers, kept, notes);
    }
}

impl Remembering for Queue {
    fn window(&self) -> Option<Vec<u8>> {
        let state = self.state.lock();
        let seen = state.seen.as_ref().filter(|seen| !state.deleted && !seen.rule().while_kept)?;
        let mut bytes = Vec::new();
        seen.encode(&mut bytes);
        Some(bytes)
    }
}
