//! What the store finds when it starts: bytes in, the state of every queue out.
//!
//! The manifest says what each queue has in segments; the journal, replayed from the block that the manifest names, adds
//! what has happened since. The order of a queue's items does not matter: messages are put in by position, and what is
//! acked or purged anywhere is taken out. Segments themselves are not read here, so that the time this takes is bounded by
//! the journal's size, not by the backlog.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::num::NonZeroU64;
use std::path::Path;
use std::sync::Arc;

use super::disk::Disk;
use super::index::Indexed;
use super::journal::item::{Entry, Item, Parts, Routes};
use super::journal::replay::Damage;
use super::ranges::Ranges;
use super::reindex::{IndexedMessage, Reindexed, reindex};
use super::shelf::Shelf;
use super::state::QueueState;
use crate::dedup;
use crate::message::memory::MemoryAccount;
use crate::message::{Message, Ticket, Traits};

/// A queue as it was found.
pub struct FoundQueue {
    pub shelf: Shelf,
    /// Messages that are in the journal only, in order.
    pub messages: Vec<(u64, Message)>,
    pub next_position: u64,
    /// Messages below may have been delivered.
    pub horizon: u64,
    /// How often messages that live have been returned.
    pub returns: BTreeMap<u64, u32>,
    /// Until when messages that live are held back, in milliseconds since 1970.
    pub held_back: BTreeMap<u64, u64>,
    /// Messages in segments that live and can be found by their positions, in order. Empty before
    /// [`FoundQueue::read_indexes`].
    pub indexed: Vec<IndexedMessage>,
    /// Indexes that were made anew, and why.
    pub rebuilt: Vec<String>,
    /// What is wrong with it.
    pub damage: Vec<String>,
    /// The names it had, as far as the manifest knows.
    pub names: Option<(String, String)>,
}

impl FoundQueue {
    /// A queue of which nothing was found where something may have been lost.
    pub fn lost(shelf: Shelf, damage: &str) -> Self {
        Building { damage: vec![damage.to_owned()], ..Building::new(shelf) }.finish()
    }

    /// What is wrong with it, for people.
    pub fn damage_text(&self) -> Option<Arc<str>> {
        damage_text(&self.damage)
    }

    /// Reads the indexes of its segments into [`FoundQueue::indexed`] and the shelf. Notes which of them had to be made anew
    /// in [`FoundQueue::rebuilt`]; what could not be is damage.
    ///
    /// # Errors
    /// When a file cannot be read, for other reasons than damage.
    pub fn read_indexes(&mut self, disk: &dyn Disk) -> io::Result<()> {
        let Reindexed { messages, rebuilt, damage } = reindex(disk, &mut self.shelf)?;
        (self.indexed, self.rebuilt) = (messages, rebuilt);
        damage.iter().for_each(|text| note(&mut self.damage, text));
        Ok(())
    }

    /// Has all messages in its segments indexed, where they were written without that.
    ///
    /// # Errors
    /// See [`FoundQueue::read_indexes`].
    pub fn index_all(&mut self, disk: &dyn Disk) -> io::Result<()> {
        if self.shelf.want_indexes(Indexed::All) { self.read_indexes(disk) } else { Ok(()) }
    }

    /// Number of messages.
    pub fn count(&self) -> u64 {
        self.shelf.live() + self.messages.len() as u64
    }
}

/// Notes damage, unless it is known.
fn note(known: &mut Vec<String>, damage: &str) {
    if !known.iter().any(|known| known.contains(damage)) {
        known.push(damage.to_owned());
    }
}

fn damage_text(damage: &[String]) -> Option<Arc<str>> {
    (!damage.is_empty()).then(|| damage.join("; ").into())
}

/// A queue while the journal is read.
struct Building {
    shelf: Shelf,
    messages: BTreeMap<u64, Message>,
    /// Settled positions that are not in segments.
    settled: Ranges,
    next_position: u64,
    /// What the manifest says.
    known_horizon: u64,
    /// What the journal says.
    horizon: u64,
    returns: BTreeMap<u64, u32>,
    held_back: BTreeMap<u64, u64>,
    damage: Vec<String>,
    names: Option<(String, String)>,
}

impl Building {
    fn new(shelf: Shelf) -> Self {
        Self {
            shelf,
            messages: BTreeMap::new(),
            settled: Ranges::new(),
            next_position: 0,
            known_horizon: 0,
            horizon: 0,
            returns: BTreeMap::new(),
            held_back: BTreeMap::new(),
            damage: Vec::new(),
            names: None,
        }
    }

    /// Notes damage, unless it is known from an earlier start.
    fn note(&mut self, damage: &str) {
        note(&mut self.damage, damage);
    }

    fn message(&mut self, position: u64, delivered: bool, message: &Message) {
        self.next_position = self.next_position.max(position.saturating_add(1));
        if delivered {
            self.horizon = self.horizon.max(position.saturating_add(1));
        }
        if position >= self.shelf.flushed() && !self.settled.contains(position) {
            self.messages.insert(position, message.clone());
        }
    }

    /// A message was returned for the `count`th time. What is known may be of a later time.
    fn requeue(&mut self, position: u64, count: u32, until: Option<NonZeroU64>) {
        // Also when the message itself was never written: another one must not inherit this.
        self.next_position = self.next_position.max(position.saturating_add(1));
        let known = self.returns.entry(position).or_default();
        if count < *known {
            return;
        }
        *known = count;
        match until {
            Some(until) => self.held_back.insert(position, until.get()),
            None => self.held_back.remove(&position),
        };
    }

    fn settle(&mut self, positions: &Ranges) {
        for range in positions.iter() {
            self.next_position = self.next_position.max(range.end);
            self.shelf.settle_range(range.clone());
            self.settled.insert_range(range.clone());
            while let Some((position, _)) = self.messages.range(range.clone()).next() {
                let position = *position;
                self.messages.remove(&position);
            }
        }
    }

    fn purge(&mut self, below: u64, kept: &Ranges) {
        self.next_position = self.next_position.max(below);
        self.shelf.purge(below, kept, &Ranges::new());
        self.messages.retain(|position, _| *position >= below || kept.contains(*position));
        let mut start = 0;
        for range in kept.iter() {
            self.settled.insert_range(start..range.start.min(below));
            start = range.end;
        }
        self.settled.insert_range(start..below);
    }

    fn finish(mut self) -> FoundQueue {
        let (shelf, messages) = (&self.shelf, &self.messages);
        let lives = |position: &u64| messages.contains_key(position) || shelf.holds(*position);
        self.returns.retain(|position, _| lives(position));
        self.held_back.retain(|position, _| lives(position));
        let horizon = self.horizon.max(self.known_horizon);
        FoundQueue {
            next_position: self.next_position.max(horizon).max(self.shelf.flushed()),
            shelf: self.shelf,
            messages: self.messages.into_iter().collect(),
            horizon,
            returns: self.returns,
            held_back: self.held_back,
            indexed: Vec::new(),
            rebuilt: Vec::new(),
            damage: self.damage,
            names: self.names,
        }
    }
}

/// The state of all queues while the journal is read.
pub struct Recovery<'a> {
    root: &'a Path,
    store: u64,
    memory: &'static MemoryAccount,
    queues: HashMap<u64, Building>,
    /// Queues of the messages that come next, and their first positions.
    route: Vec<(u64, u64)>,
    /// Damage that may be of any queue.
    of_any: Vec<String>,
    /// Windows of deduplication, by their owners.
    windows: HashMap<u64, Vec<u8>>,
}

/// What was found of all queues.
pub struct Found {
    pub queues: HashMap<u64, FoundQueue>,
    /// What may have been lost of queues that were not found.
    pub of_any: Option<Arc<str>>,
    /// What the journal has of windows of deduplication, by their owners.
    pub windows: HashMap<u64, Vec<u8>>,
}

impl<'a> Recovery<'a> {
    /// Begins with what the manifest says. States that cannot be read are damage of their queue.
    pub fn new(root: &'a Path, store: u64, memory: &'static MemoryAccount, manifest: &HashMap<u64, Arc<[u8]>>) -> Self {
        let (queues, route, of_any, windows) = (HashMap::new(), Vec::new(), Vec::new(), HashMap::new());
        let mut recovery = Self { root, store, memory, queues, route, of_any, windows };
        for (queue, bytes) in manifest {
            let building = match QueueState::decode(bytes, root, store, *queue) {
                Some((state, shelf)) => Building {
                    next_position: state.next_position,
                    known_horizon: state.horizon,
                    returns: state.returns,
                    held_back: state.held_back,
                    damage: state.damage,
                    names: Some((state.vhost.to_owned(), state.name.to_owned())),
                    ..Building::new(shelf)
                },
                None => {
                    let mut building = Building::new(Shelf::new(root, store, *queue));
                    building.damage.push("its entry in the manifest cannot be read".to_owned());
                    building
                }
            };
            recovery.queues.insert(*queue, building);
        }
        recovery
    }

    fn queue(&mut self, queue: u64) -> &mut Building {
        let (root, store) = (self.root, self.store);
        self.queues.entry(queue).or_insert_with(|| Building::new(Shelf::new(root, store, queue)))
    }

    /// Takes an item of the journal.
    pub fn apply(&mut self, item: Item<'_>) {
        match item {
            Item::Void => {}
            Item::Route(routes) => self.set_route(routes),
            Item::Message { offset, delivered, traits, parts } => self.message(offset, delivered, traits, parts),
            Item::Ack { queue, positions } => self.queue(queue).settle(&positions),
            Item::Requeue { queue, count, until, positions } => {
                let count = u32::try_from(count).unwrap_or(u32::MAX);
                let queue = self.queue(queue);
                positions.iter().flatten().for_each(|position| queue.requeue(position, count, until));
            }
            Item::Horizon { queue, position } => {
                let queue = self.queue(queue);
                queue.horizon = queue.horizon.max(position);
            }
            Item::Delivered { queue, below } => self.queue(queue).horizon = below,
            Item::Purge { queue, below, kept } => self.queue(queue).purge(below, &kept),
            Item::Seen { owner, window } => dedup::join(self.windows.entry(owner).or_default(), window),
        }
    }

    fn set_route(&mut self, routes: Routes<'_>) {
        self.route.clear();
        self.route.extend(routes.iter());
    }

    fn message(&mut self, offset: u64, delivered: bool, traits: Traits, parts: Parts<'_>) {
        let message = held(traits, parts, self.memory);
        for (queue, first) in std::mem::take(&mut self.route) {
            self.queue(queue).message(first.saturating_add(offset), delivered, &message);
            self.route.push((queue, first));
        }
    }

    /// Notes damage: on the queues concerned, or on all there are.
    pub fn note_damage(&mut self, damage: &[Damage]) {
        for piece in damage {
            match &piece.queues {
                Some(entries) => entries.iter().for_each(|entry| self.damaged(entry, piece)),
                None => {
                    let text = format!("{piece}; it may have held anything of any queue");
                    self.queues.values_mut().for_each(|queue| queue.note(&text));
                    self.of_any.push(text);
                }
            }
        }
    }

    fn damaged(&mut self, entry: &Entry, piece: &Damage) {
        let text = match entry.messages {
            0 => format!("{piece}, with acknowledgements of this queue"),
            1 => format!("{piece}, with 1 message of this queue"),
            n => format!("{piece}, with {n} messages of this queue"),
        };
        self.queue(entry.queue).note(&text);
    }

    /// The queues as they were found.
    pub fn finish(self) -> Found {
        let queues = self.queues.into_iter().map(|(id, building)| (id, building.finish())).collect();
        Found { queues, of_any: damage_text(&self.of_any), windows: self.windows }
    }
}

/// A message of the journal in memory. Its record is of an earlier run.
fn held(traits: Traits, parts: Parts<'_>, memory: &'static MemoryAccount) -> Message {
    let message = Message::from_parts(parts.route, parts.properties, parts.body.to_vec(), traits, memory);
    message.set_ticket(Ticket { commit: 0, offset: None }, 1);
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::persist::journal::item::{ItemWriter, Items};

    /// What is found of queue 7 after these items, on top of a state.
    fn recover(state: Option<Vec<u8>>, write: impl FnOnce(&mut ItemWriter<'_>)) -> FoundQueue {
        let mut bytes = Vec::new();
        write(&mut ItemWriter(&mut bytes));
        let manifest = state.map(|state| (7, state.into())).into_iter().collect();
        let mut recovery = Recovery::new(Path::new("/queues"), 1, MemoryAccount::new(u64::MAX), &manifest);
        Items::new(&bytes).for_each(|item| recovery.apply(item.unwrap()));
        recovery.finish().queues.remove(&7).unwrap()
    }

    fn publish(writer: &mut ItemWriter<'_>, first: u64, count: u64) {
        let traits = Traits { due: NonZeroU64::new(99), priority: 3, hidden: true, ..Traits::plain(0, true) };
        writer.route(1234, std::iter::once((7, first)));
        (0..count).for_each(|offset| {
            writer.message(offset, false, traits, Parts { route: &[0, 0], properties: &[0, 0], body: b"body" });
        });
    }

    fn one(position: u64) -> impl Iterator<Item = std::ops::Range<u64>> {
        std::iter::once(position..position + 1)
    }

    #[test]
    fn messages_keep_their_traits() {
        let found = recover(None, |writer| publish(writer, 5, 1));
        let traits = Traits { at: 1234, due: NonZeroU64::new(99), priority: 3, persistent: true, hidden: true };
        assert_eq!(found.messages.iter().map(|(p, m)| (*p, m.traits())).collect::<Vec<_>>(), [(5, traits)]);
    }

    #[test]
    fn a_position_that_was_returned_is_not_given_again() {
        let found = recover(None, |writer| writer.requeue(7, 1, one(5)));
        assert_eq!((found.next_position, found.returns), (6, BTreeMap::new()));
    }

    #[test]
    fn messages_are_held_back_until_they_are_returned_otherwise_or_settled() {
        let until = |ms| NonZeroU64::new(ms).unwrap();
        let found = recover(None, |writer| {
            publish(writer, 0, 4);
            (0..4).for_each(|position| writer.requeue_until(7, 1, until(50), one(position)));
            writer.requeue(7, 2, one(1));
            writer.ack(7, one(2));
            writer.requeue_until(7, 2, until(70), one(3));
        });
        assert_eq!(found.held_back, BTreeMap::from([(0, 50), (3, 70)]));
        assert_eq!(found.returns, BTreeMap::from([(0, 1), (1, 2), (3, 2)]));
    }

    #[test]
    fn what_the_journal_says_again_does_not_hold_back_what_was_returned_since() {
        let state = QueueState {
            vhost: "/",
            name: "hare",
            next_position: 2,
            horizon: 0,
            returns: BTreeMap::from([(0, 2), (1, 1)]),
            held_back: BTreeMap::from([(1, 50)]),
            damage: Vec::new(),
        };
        let state = state.encode(&Shelf::new(Path::new("/queues"), 1, 7));
        let found = recover(Some(state), |writer| {
            publish(writer, 0, 2);
            writer.requeue_until(7, 1, NonZeroU64::new(40).unwrap(), one(0));
        });
        assert_eq!((found.returns, found.held_back), (BTreeMap::from([(0, 2), (1, 1)]), BTreeMap::from([(1, 50)])));
    }
}
