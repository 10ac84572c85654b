//! The queue engine: one queue's state machine, without I/O, clock, locks or threads.
//!
//! Fed by [`Engine::publish`], [`Engine::settle`], [`Engine::subscribe`], [`Engine::cancel`], [`Engine::resume`] and
//! [`Engine::get`]; what it decides to deliver it hands to the [`Outlets`] given with the call. The invariant between
//! two calls: there is no ready message, or there is no consumer that could take one. `settle`, `subscribe` and
//! `resume` may break it and are followed by [`Engine::pump`], so that a caller can settle a batch and pump once.
//!
//! Every message has a *position*, given in publish order and kept for life. A requeued message goes back by its
//! position, so it is delivered before everything that was published after it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use crate::message::{Incoming, LARGE_BODY, Message, MessageView};

/// Names a consumer of one queue. Never reused for another consumer, so a late settlement does no harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConsumerKey {
    index: u32,
    generation: u32,
}

/// How a consumer wants its messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// Messages count as settled when they are delivered.
    pub no_ack: bool,
    /// Most unacked messages at a time; 0 is no limit. Ignored with `no_ack`.
    pub prefetch: u32,
    /// Consumers of higher priority are served first.
    pub priority: i64,
    /// No other consumer is allowed beside this one.
    pub exclusive: bool,
}

struct Consumer<C> {
    outlet: C,
    terms: Terms,
    unacked: u32,
    /// The outlet refused or is full; [`Engine::resume`] ends it.
    paused: bool,
    /// Stands in the ring of its priority.
    queued: bool,
    generation: u32,
}

impl<C> Consumer<C> {
    fn has_credit(&self) -> bool {
        self.terms.no_ack || self.terms.prefetch == 0 || self.unacked < self.terms.prefetch
    }
}

/// A delivery as it is offered to an outlet.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    pub message: MessageView<'a>,
    /// The held message, where there is one: a large body may be referred to instead of copied.
    pub held: Option<&'a Message>,
    pub position: u64,
    pub redelivered: bool,
    pub no_ack: bool,
}

/// An outlet's answer to a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accept {
    Taken,
    /// Taken, but nothing more until [`Engine::resume`].
    TakenAndFull,
    /// Not taken; offer it to another consumer, and nothing to this one until [`Engine::resume`].
    Refused,
}

/// Takes deliveries on behalf of the consumers.
pub trait Outlets<C> {
    fn deliver(&mut self, consumer: ConsumerKey, outlet: &C, delivery: Delivery<'_>) -> Accept;
}

/// What becomes of an unacked message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    Ack,
    /// Rejected without requeue.
    Discard,
    /// Back to its place, marked redelivered.
    Requeue,
}

/// Why a consumer is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscribeError {
    /// There is an exclusive consumer, or an exclusive one was asked for and there are others.
    InExclusiveUse,
}

/// A message taken by `basic.get`.
#[derive(Debug)]
pub struct Got {
    pub message: Message,
    pub position: u64,
    pub redelivered: bool,
    /// Ready messages left after this one.
    pub left: usize,
}

/// Messages that have left the queue. Freeing millions takes a while: drop it where no lock is held.
pub struct Purged {
    ready: VecDeque<Ready>,
    returned: BTreeMap<u64, Ready>,
}

impl Purged {
    /// How many they are.
    pub fn count(&self) -> usize {
        self.ready.len() + self.returned.len()
    }
}

struct Ready {
    message: Message,
    position: u64,
    redelivered: bool,
}

struct Unacked {
    message: Message,
    /// The consumer whose credit it uses; none after `basic.get`.
    consumer: Option<ConsumerKey>,
}

/// Positions are consecutive numbers: multiplying spreads them well enough.
#[derive(Default)]
struct PositionHasher(u64);

impl Hasher for PositionHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for b in bytes {
            self.write_u64(u64::from(*b));
        }
    }

    fn write_u64(&mut self, n: u64) {
        self.0 = (self.0 ^ n).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(26);
    }
}

/// One queue. `C` is whatever the caller keeps of a consumer.
pub struct Engine<C> {
    next_position: u64,
    ready: VecDeque<Ready>,
    /// Requeued messages. All of them stand before `ready` or among it, by position.
    returned: BTreeMap<u64, Ready>,
    unacked: HashMap<u64, Unacked, BuildHasherDefault<PositionHasher>>,
    consumers: Vec<Option<Consumer<C>>>,
    /// Every generation is used once, whatever slot it stands in.
    next_generation: u32,
    consumer_count: usize,
    /// Consumers that could take a message now, by falling priority, round robin among equals.
    rings: Vec<(i64, VecDeque<ConsumerKey>)>,
    exclusive: Option<ConsumerKey>,
    single_active: bool,
    /// Consumers in order of arrival, when only the first is served.
    line: Vec<ConsumerKey>,
}

impl<C> Engine<C> {
    /// An empty queue; with `single_active`, one consumer at a time is served and the others wait in line.
    pub fn new(single_active: bool) -> Self {
        Self {
            next_position: 0,
            ready: VecDeque::new(),
            returned: BTreeMap::new(),
            unacked: HashMap::default(),
            consumers: Vec::new(),
            next_generation: 0,
            consumer_count: 0,
            rings: Vec::new(),
            exclusive: None,
            single_active,
            line: Vec::new(),
        }
    }

    pub fn ready_count(&self) -> usize {
        self.ready.len() + self.returned.len()
    }

    pub fn unacked_count(&self) -> usize {
        self.unacked.len()
    }

    pub fn consumer_count(&self) -> usize {
        self.consumer_count
    }

    pub fn is_single_active(&self) -> bool {
        self.single_active
    }

    /// All consumers, in no particular order.
    pub fn consumers(&self) -> impl Iterator<Item = (ConsumerKey, &C)> {
        self.consumers.iter().enumerate().filter_map(|(i, slot)| {
            let consumer = slot.as_ref()?;
            let index = u32::try_from(i).ok()?;
            Some((ConsumerKey { index, generation: consumer.generation }, &consumer.outlet))
        })
    }

    /// Enqueues a message at the end, or hands it straight to a consumer that waits for one.
    #[inline]
    pub fn publish(&mut self, incoming: &mut Incoming<'_>, out: &mut impl Outlets<C>) {
        let position = self.next_position;
        self.next_position += 1;
        // By the invariant a ready consumer means that nothing else is waiting.
        while let Some(key) = self.next_consumer() {
            // The consumer must be there: `next_consumer` has just looked.
            let Some(consumer) = self.consumers.get_mut(key.index as usize).and_then(Option::as_mut) else { break };
            let no_ack = consumer.terms.no_ack;
            // A small message that nobody will settle goes out from where it lies.
            let held = match incoming {
                Incoming::Held(message) => Some(message.clone()),
                _ if no_ack && incoming.view().body.len() < LARGE_BODY => None,
                _ => Some(incoming.hold()),
            };
            let delivery =
                Delivery { message: incoming.view(), held: held.as_ref(), position, redelivered: false, no_ack };
            let answer = out.deliver(key, &consumer.outlet, delivery);
            if Self::note_answer(consumer, answer) {
                if let (Some(message), false) = (held, no_ack) {
                    self.unacked.insert(position, Unacked { message, consumer: Some(key) });
                }
                self.queue_up(key);
                return;
            }
        }
        self.ready.push_back(Ready { message: incoming.hold(), position, redelivered: false });
    }

    /// Delivers ready messages as long as there are consumers that can take them.
    pub fn pump(&mut self, out: &mut impl Outlets<C>) {
        while !self.is_empty() {
            let Some(key) = self.next_consumer() else { return };
            let Some(entry) = self.take_first() else { return };
            let Some(consumer) = self.consumers.get_mut(key.index as usize).and_then(Option::as_mut) else { return };
            let no_ack = consumer.terms.no_ack;
            let delivery = Delivery {
                message: entry.message.view(),
                held: Some(&entry.message),
                position: entry.position,
                redelivered: entry.redelivered,
                no_ack,
            };
            let answer = out.deliver(key, &consumer.outlet, delivery);
            if Self::note_answer(consumer, answer) {
                if !no_ack {
                    self.unacked.insert(entry.position, Unacked { message: entry.message, consumer: Some(key) });
                }
                self.queue_up(key);
            } else {
                self.put_back_unseen(entry);
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.returned.is_empty()
    }

    /// Books what the outlet said; true when it took the message.
    fn note_answer(consumer: &mut Consumer<C>, answer: Accept) -> bool {
        consumer.paused = answer != Accept::Taken;
        let taken = answer != Accept::Refused;
        if taken && !consumer.terms.no_ack {
            consumer.unacked += 1;
        }
        taken
    }

    /// Takes the next consumer off the ring of the highest priority that has one.
    #[inline]
    fn next_consumer(&mut self) -> Option<ConsumerKey> {
        for (_, ring) in &mut self.rings {
            if let Some(key) = ring.pop_front() {
                if let Some(Some(consumer)) = self.consumers.get_mut(key.index as usize) {
                    consumer.queued = false;
                }
                return Some(key);
            }
        }
        None
    }

    /// Puts a consumer at the end of its ring if it could take a message.
    #[inline]
    fn queue_up(&mut self, key: ConsumerKey) {
        if self.single_active && self.line.first() != Some(&key) {
            return;
        }
        let Some(consumer) = self.consumers.get_mut(key.index as usize).and_then(Option::as_mut) else { return };
        if consumer.generation != key.generation || consumer.queued || consumer.paused || !consumer.has_credit() {
            return;
        }
        consumer.queued = true;
        let priority = consumer.terms.priority;
        match self.rings.binary_search_by(|(p, _)| priority.cmp(p)) {
            Ok(i) => {
                if let Some((_, ring)) = self.rings.get_mut(i) {
                    ring.push_back(key);
                }
            }
            Err(i) => self.rings.insert(i, (priority, VecDeque::from([key]))),
        }
    }

    /// The first ready message by position.
    fn take_first(&mut self) -> Option<Ready> {
        let from_returned = match (self.returned.first_key_value(), self.ready.front()) {
            (Some((position, _)), Some(front)) => *position < front.position,
            (Some(_), None) => true,
            (None, _) => false,
        };
        if from_returned { self.returned.pop_first().map(|(_, entry)| entry) } else { self.ready.pop_front() }
    }

    /// A message that no consumer has seen goes back to the front.
    fn put_back_unseen(&mut self, entry: Ready) {
        if self.ready.front().is_none_or(|front| entry.position < front.position) && !entry.redelivered {
            self.ready.push_front(entry);
        } else {
            self.returned.insert(entry.position, entry);
        }
    }

    /// Settles one unacked message. Returns it when it was there: a discarded one may have somewhere to go.
    #[inline]
    pub fn settle(&mut self, position: u64, how: Settlement) -> Option<Message> {
        let Unacked { message, consumer } = self.unacked.remove(&position)?;
        if self.unacked.is_empty() && self.unacked.capacity() > 1024 {
            self.unacked.shrink_to(0);
        }
        if how == Settlement::Requeue {
            self.returned.insert(position, Ready { message: message.clone(), position, redelivered: true });
        }
        if let Some(key) = consumer {
            self.give_credit(key);
        }
        Some(message)
    }

    fn give_credit(&mut self, key: ConsumerKey) {
        if let Some(Some(consumer)) = self.consumers.get_mut(key.index as usize)
            && consumer.generation == key.generation
        {
            consumer.unacked = consumer.unacked.saturating_sub(1);
            self.queue_up(key);
        }
    }

    /// Adds a consumer. It gets its first message with the next [`Engine::pump`].
    ///
    /// # Errors
    /// When the queue is, or would have to be, in exclusive use.
    pub fn subscribe(&mut self, outlet: C, terms: Terms) -> Result<ConsumerKey, SubscribeError> {
        if self.exclusive.is_some() || (terms.exclusive && self.consumer_count > 0) {
            return Err(SubscribeError::InExclusiveUse);
        }
        let generation = self.next_generation;
        self.next_generation = self.next_generation.wrapping_add(1);
        let consumer = Consumer { outlet, terms, unacked: 0, paused: false, queued: false, generation };
        let free = self.consumers.iter().position(Option::is_none).unwrap_or(self.consumers.len());
        match self.consumers.get_mut(free) {
            Some(slot) => *slot = Some(consumer),
            None => self.consumers.push(Some(consumer)),
        }
        let key = ConsumerKey { index: u32::try_from(free).unwrap_or(u32::MAX), generation };
        self.consumer_count += 1;
        if terms.exclusive {
            self.exclusive = Some(key);
        }
        if self.single_active {
            self.line.push(key);
        }
        self.queue_up(key);
        Ok(key)
    }

    /// Removes a consumer; its unacked messages stay unacked. Returns what was kept of it.
    pub fn cancel(&mut self, key: ConsumerKey) -> Option<C> {
        let slot = self.consumers.get_mut(key.index as usize)?;
        if slot.as_ref()?.generation != key.generation {
            return None;
        }
        let consumer = slot.take()?;
        self.consumer_count -= 1;
        while matches!(self.consumers.last(), Some(None)) {
            self.consumers.pop();
        }
        for (_, ring) in &mut self.rings {
            ring.retain(|k| *k != key);
        }
        self.rings.retain(|(_, ring)| !ring.is_empty());
        if self.exclusive == Some(key) {
            self.exclusive = None;
        }
        self.line.retain(|k| *k != key);
        if let (true, Some(first)) = (self.single_active, self.line.first().copied()) {
            self.queue_up(first);
        }
        Some(consumer.outlet)
    }

    /// The consumer's outlet has room again.
    pub fn resume(&mut self, key: ConsumerKey) {
        if let Some(Some(consumer)) = self.consumers.get_mut(key.index as usize)
            && consumer.generation == key.generation
        {
            consumer.paused = false;
            self.queue_up(key);
        }
    }

    /// Takes the first ready message; without `no_ack` it is unacked until settled. No credit is used.
    pub fn get(&mut self, no_ack: bool) -> Option<Got> {
        let entry = self.take_first()?;
        if !no_ack {
            self.unacked.insert(entry.position, Unacked { message: entry.message.clone(), consumer: None });
        }
        let Ready { message, position, redelivered } = entry;
        Some(Got { message, position, redelivered, left: self.ready_count() })
    }

    /// Takes out all ready messages. Unacked ones stay.
    pub fn purge(&mut self) -> Purged {
        Purged { ready: std::mem::take(&mut self.ready), returned: std::mem::take(&mut self.returned) }
    }

    /// Empties the queue for good and gives back its consumers and its messages.
    pub fn close(&mut self) -> (Vec<C>, Purged) {
        let purged = self.purge();
        self.unacked = HashMap::default();
        self.rings = Vec::new();
        self.line = Vec::new();
        self.consumer_count = 0;
        (std::mem::take(&mut self.consumers).into_iter().flatten().map(|c| c.outlet).collect(), purged)
    }
}

#[cfg(test)]
mod tests;
