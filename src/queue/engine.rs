//! The queue engine: one queue's state machine, without I/O, clock, locks or threads.
//!
//! Fed by [`Engine::publish`], [`Engine::settle`], [`Engine::subscribe`], [`Engine::cancel`], [`Engine::resume`] and
//! [`Engine::get`]; what it decides to deliver it hands to the [`Outlets`] given with the call. The invariant between
//! two calls: there is no ready message, or there is no consumer that could take one. `settle`, `subscribe` and
//! `resume` may break it and are followed by [`Engine::pump`], so that a caller can settle a batch and pump once.
//!
//! Every message has a *position*, given in publish order and kept for life. A requeued message goes back by its
//! position, so it is delivered before everything that was published after it.
//!
//! A backlog need not be in memory: [`Engine::evict`] makes messages that are on disk *cold*, which leaves nothing of them
//! but a count. In order of position, `returned` and `ready` come first, then what is cold, then `tail`. When it is the
//! turn of cold messages, [`Engine::pump`] stalls and says so; the caller reads them and hands them to
//! [`Engine::refill`].
//!
//! A queue that survives its process must know after a crash which messages may have been delivered. What waited is
//! delivered only below the *horizon*, a position that is on disk; where it is reached, `pump` stalls too, and the
//! caller moves it on ([`Engine::next_horizon`], [`Engine::set_horizon`]).

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Range;

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
    tail: VecDeque<Ready>,
    cold: u64,
}

impl Purged {
    /// How many they are.
    pub fn count(&self) -> usize {
        self.ready.len() + self.returned.len() + self.tail.len() + usize::try_from(self.cold).unwrap_or(usize::MAX)
    }
}

/// What has become of a message that was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// It waits.
    Waiting,
    /// A consumer has it and will settle it.
    Delivered,
    /// A consumer has taken it for good.
    Consumed,
}

/// Why [`Engine::pump`] has stopped although there are messages and a consumer that could take one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stall {
    /// The next messages are cold.
    Cold,
    /// The next message stands at the horizon.
    Horizon,
}

/// Ready messages that are not in memory: `count` of them from position `from` on, below `to`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cold {
    pub from: u64,
    pub to: u64,
    pub count: u64,
}

/// A queue as it was found on disk.
#[derive(Debug, Default)]
pub struct Found {
    pub next_position: u64,
    pub cold: Cold,
    /// Messages that are not cold, in order.
    pub messages: Vec<(u64, Message)>,
    /// Messages below may have been delivered before.
    pub delivered_below: u64,
    /// How often messages have been returned.
    pub returns: BTreeMap<u64, u32>,
}

/// Positions by which the horizon moves at least and at most.
const HORIZON_STEPS: (u64, u64) = (64, 65_536);

/// A message that waits.
pub struct Ready {
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
    cold: Cold,
    /// The newest messages, while others before them are cold.
    tail: VecDeque<Ready>,
    /// Everything below has been delivered at least once.
    delivered: u64,
    /// What waited is delivered only below this position.
    horizon: u64,
    horizon_step: u64,
    /// How often messages that still live have been returned, where that is not never.
    returns: BTreeMap<u64, u32>,
    /// Bytes of ready messages in memory.
    held: usize,
    /// Messages that consumers without acks have taken; kept only for queues that survive.
    consumed: Vec<(u64, Message)>,
    is_durable: bool,
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
    /// An empty queue; with `single_active`, one consumer at a time is served and the others wait in line. A durable one has a
    /// horizon and notes what consumers without acks take.
    pub fn new(single_active: bool, is_durable: bool) -> Self {
        Self {
            next_position: 0,
            ready: VecDeque::new(),
            returned: BTreeMap::new(),
            cold: Cold::default(),
            tail: VecDeque::new(),
            delivered: 0,
            horizon: if is_durable { 0 } else { u64::MAX },
            horizon_step: HORIZON_STEPS.0,
            returns: BTreeMap::new(),
            held: 0,
            consumed: Vec::new(),
            is_durable,
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

    /// The queue with what was found on disk.
    pub fn restore(&mut self, found: Found) {
        let Found { next_position, cold, messages, delivered_below, returns } = found;
        // Positions below an old horizon are never given again: a message there counts as delivered.
        self.next_position = next_position.max(delivered_below);
        self.delivered = delivered_below;
        self.horizon = self.horizon.max(delivered_below);
        self.cold = cold;
        self.returns = returns;
        for (position, message) in messages {
            let redelivered = position < delivered_below;
            self.append(Ready { message, position, redelivered });
        }
    }

    pub fn ready_count(&self) -> usize {
        let cold = usize::try_from(self.cold.count).unwrap_or(usize::MAX);
        self.ready.len() + self.returned.len() + self.tail.len() + cold
    }

    /// The position that the next message gets.
    pub fn next_position(&self) -> u64 {
        self.next_position
    }

    /// Bytes that ready messages hold in memory.
    pub fn held_bytes(&self) -> usize {
        self.held
    }

    pub fn cold(&self) -> Cold {
        self.cold
    }

    /// Bytes of messages that are ready to be delivered before those that are cold.
    pub fn ahead_count(&self) -> usize {
        self.ready.len() + self.returned.len()
    }

    /// How often messages that live have been returned, where that is not never.
    pub fn returns(&self) -> &BTreeMap<u64, u32> {
        &self.returns
    }

    pub fn horizon(&self) -> u64 {
        self.horizon
    }

    /// Everything below has been delivered at least once.
    pub fn delivered(&self) -> u64 {
        self.delivered
    }

    /// The horizon that should be written next. It moves in growing steps while messages are consumed.
    pub fn next_horizon(&mut self) -> u64 {
        let next = self.delivered.max(self.horizon).max(self.first_loaded().unwrap_or(0)) + self.horizon_step;
        self.horizon_step = (self.horizon_step * 2).min(HORIZON_STEPS.1);
        next
    }

    /// True when less than half a step is left below the horizon.
    pub fn nears_horizon(&self) -> bool {
        self.is_durable && self.horizon.saturating_sub(self.delivered) < self.horizon_step / 4
    }

    /// Nothing is delivered any more: what waits counts as not delivered. True when the horizon was ahead.
    pub fn rest(&mut self) -> bool {
        let was_ahead = self.horizon > self.delivered;
        self.horizon = self.delivered;
        was_ahead
    }

    /// The horizon is on disk.
    pub fn set_horizon(&mut self, horizon: u64) {
        self.horizon = self.horizon.max(horizon);
    }

    /// What consumers without acks have taken since the last call.
    pub fn take_consumed(&mut self) -> Vec<(u64, Message)> {
        std::mem::take(&mut self.consumed)
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
    pub fn publish(&mut self, incoming: &mut Incoming<'_>, out: &mut impl Outlets<C>) -> Placed {
        let position = self.next_position;
        self.next_position += 1;
        // Something may wait although there is a consumer: what is cold, or stands at the horizon.
        while self.is_empty()
            && let Some(key) = self.next_consumer()
        {
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
                self.delivered = position + 1;
                self.queue_up(key);
                return if no_ack { Placed::Consumed } else { Placed::Delivered };
            }
        }
        self.append(Ready { message: incoming.hold(), position, redelivered: false });
        Placed::Waiting
    }

    #[inline]
    fn append(&mut self, entry: Ready) {
        self.held += entry.message.charged_bytes();
        if self.cold.count > 0 { self.tail.push_back(entry) } else { self.ready.push_back(entry) }
    }

    /// Position of the first message that is in memory and not behind cold ones.
    fn first_loaded(&self) -> Option<u64> {
        let returned = self.returned.first_key_value().map(|(position, _)| *position);
        let ready = self.ready.front().map(|entry| entry.position);
        returned.into_iter().chain(ready).min()
    }

    /// Why the first message cannot be delivered now, if that is so.
    #[inline]
    fn stalled(&self) -> Option<Stall> {
        match self.first_loaded() {
            None => (self.cold.count > 0).then_some(Stall::Cold),
            Some(first) if self.cold.count > 0 && self.cold.from <= first => Some(Stall::Cold),
            Some(first) => (first >= self.horizon).then_some(Stall::Horizon),
        }
    }

    fn has_ready_consumer(&self) -> bool {
        self.rings.iter().any(|(_, ring)| !ring.is_empty())
    }

    /// Delivers ready messages as long as there are consumers that can take them, and nothing stalls.
    pub fn pump(&mut self, out: &mut impl Outlets<C>) -> Option<Stall> {
        while !self.is_empty() && self.has_ready_consumer() {
            if let Some(stall) = self.stalled() {
                return Some(stall);
            }
            let key = self.next_consumer()?;
            let entry = self.take_first()?;
            let consumer = self.consumers.get_mut(key.index as usize).and_then(Option::as_mut)?;
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
                self.note_delivered(entry, no_ack, Some(key));
                self.queue_up(key);
            } else {
                self.put_back_unseen(entry);
            }
        }
        None
    }

    /// Books a message that has been delivered from among those that waited.
    fn note_delivered(&mut self, entry: Ready, no_ack: bool, consumer: Option<ConsumerKey>) {
        self.delivered = self.delivered.max(entry.position + 1);
        if !no_ack {
            let before = self.unacked.insert(entry.position, Unacked { message: entry.message, consumer });
            debug_assert!(before.is_none(), "a message is delivered to one at a time");
            return;
        }
        self.returns.remove(&entry.position);
        if self.is_durable {
            self.consumed.push((entry.position, entry.message));
        }
    }

    fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.returned.is_empty() && self.cold.count == 0
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
        let first =
            if from_returned { self.returned.pop_first().map(|(_, entry)| entry) } else { self.ready.pop_front() };
        if let Some(entry) = &first {
            self.held = self.held.saturating_sub(entry.message.charged_bytes());
        }
        first
    }

    /// A message that no consumer has seen goes back to the front.
    fn put_back_unseen(&mut self, entry: Ready) {
        self.held += entry.message.charged_bytes();
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
            *self.returns.entry(position).or_default() += 1;
            self.held += message.charged_bytes();
            self.returned.insert(position, Ready { message: message.clone(), position, redelivered: true });
        } else if !self.returns.is_empty() {
            self.returns.remove(&position);
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
    ///
    /// # Errors
    /// When it is not in memory, or stands at the horizon: try again after that has been seen to.
    pub fn get(&mut self, no_ack: bool) -> Result<Option<Got>, Stall> {
        if let Some(stall) = self.stalled() {
            return Err(stall);
        }
        let Some(entry) = self.take_first() else { return Ok(None) };
        let (message, position, redelivered) = (entry.message.clone(), entry.position, entry.redelivered);
        self.note_delivered(entry, no_ack, None);
        Ok(Some(Got { message, position, redelivered, left: self.ready_count() }))
    }

    /// Takes out all ready messages. Unacked ones stay.
    pub fn purge(&mut self) -> Purged {
        self.held = 0;
        let cold = std::mem::take(&mut self.cold).count;
        let unacked = &self.unacked;
        self.returns.retain(|position, _| unacked.contains_key(position));
        Purged {
            ready: std::mem::take(&mut self.ready),
            returned: std::mem::take(&mut self.returned),
            tail: std::mem::take(&mut self.tail),
            cold,
        }
    }

    /// All unacked messages, in no particular order.
    pub fn unacked(&self) -> impl Iterator<Item = (u64, &Message)> {
        self.unacked.iter().map(|(position, unacked)| (*position, &unacked.message))
    }

    /// All messages in memory with positions in a range, in order.
    pub fn messages_within(&self, range: Range<u64>) -> Vec<(u64, Message)> {
        let part = |queue: &VecDeque<Ready>| {
            let (start, end) = (
                queue.partition_point(|e| e.position < range.start),
                queue.partition_point(|e| e.position < range.end),
            );
            queue.range(start..end.max(start)).map(|e| (e.position, e.message.clone())).collect::<Vec<_>>()
        };
        let mut all = part(&self.ready);
        all.extend(part(&self.tail));
        let sorted = all.len();
        if range.start < range.end {
            all.extend(self.returned.range(range.clone()).map(|(p, e)| (*p, e.message.clone())));
        }
        all.extend(self.unacked.iter().filter(|(p, _)| range.contains(p)).map(|(p, u)| (*p, u.message.clone())));
        if all.len() > sorted {
            all.sort_unstable_by_key(|(position, _)| *position);
        }
        all
    }

    /// Which of these messages, in rising order, are still here.
    pub fn living(&self, positions: impl Iterator<Item = u64>) -> Vec<bool> {
        let mut waiting = self.ready.iter().chain(&self.tail).map(|e| e.position).peekable();
        let is_here = |position: u64| {
            while waiting.next_if(|p| *p < position).is_some() {}
            waiting.peek() == Some(&position)
                || self.unacked.contains_key(&position)
                || self.returned.contains_key(&position)
        };
        positions.map(is_here).collect()
    }

    /// Lets go of messages that are on disk, those below `stored`; of the next ones to be delivered `keep` bytes stay.
    /// Gives back what has to be freed, where no lock is held.
    pub fn evict(&mut self, stored: u64, keep: usize) -> Vec<Ready> {
        let returned: usize = self.returned.values().map(|e| e.message.charged_bytes()).sum();
        let mut freed = Vec::new();
        if returned > keep {
            self.forget_returned(stored, &mut freed);
        } else {
            self.forget_ready(stored, keep, &mut freed);
        }
        let end = self.tail.partition_point(|e| e.position < stored);
        if end > 0 {
            self.cold.count += end as u64;
            self.cold.to = self.cold.to.max(stored);
            freed.extend(self.tail.drain(..end));
        }
        self.absorb_tail();
        let bytes: usize = freed.iter().map(|e| e.message.charged_bytes()).sum();
        self.held = self.held.saturating_sub(bytes);
        freed
    }

    fn forget_ready(&mut self, stored: u64, keep: usize, freed: &mut Vec<Ready>) {
        let mut kept = 0;
        let from = self.ready.iter().position(|e| {
            kept += e.message.charged_bytes();
            kept > keep
        });
        let to = self.ready.partition_point(|e| e.position < stored);
        let Some(from) = from.filter(|from| *from < to) else { return };
        let unstored: Vec<Ready> = self.ready.drain(to..).collect();
        self.tail.extend(unstored);
        let first = self.ready.get(from).map_or(0, |e| e.position);
        self.make_cold(first, stored, (to - from) as u64);
        freed.extend(self.ready.drain(from..));
    }

    /// Lets everything go that is on disk: many messages were returned, and their order is on disk.
    fn forget_returned(&mut self, stored: u64, freed: &mut Vec<Ready>) {
        let to = self.ready.partition_point(|e| e.position < stored);
        let unstored: Vec<Ready> = self.ready.drain(to..).collect();
        self.tail.extend(unstored);
        let unstored = self.returned.split_off(&stored);
        let returned = std::mem::replace(&mut self.returned, unstored);
        let count = (returned.len() + self.ready.len()) as u64;
        let first = returned.keys().next().copied().into_iter().chain(self.ready.front().map(|e| e.position)).min();
        freed.extend(returned.into_values());
        freed.extend(self.ready.drain(..));
        if let Some(first) = first {
            self.make_cold(first, stored, count);
        }
    }

    fn make_cold(&mut self, first: u64, stored: u64, count: u64) {
        if count == 0 {
            return;
        }
        if self.cold.count == 0 {
            self.cold = Cold { from: first, to: stored, count };
            return;
        }
        self.cold.from = self.cold.from.min(first);
        self.cold.to = self.cold.to.max(stored);
        self.cold.count += count;
    }

    /// Takes cold messages that have been read from disk, in order: all there are from `from` up to `next`. Those that are
    /// unacked, or were and have been returned, are here and not taken. When other messages have become cold before `from` meanwhile,
    /// nothing is taken: it has to be read again, from there.
    pub fn refill(&mut self, from: u64, messages: impl Iterator<Item = (u64, Message)>, next: u64) {
        if self.cold.from != from || self.cold.count == 0 {
            return;
        }
        for (position, message) in messages {
            let is_here = self.unacked.contains_key(&position) || self.returned.contains_key(&position);
            if position < self.cold.from || position >= self.cold.to || is_here {
                continue;
            }
            self.held += message.charged_bytes();
            self.cold.count = self.cold.count.saturating_sub(1);
            self.ready.push_back(Ready { message, position, redelivered: position < self.delivered });
        }
        self.cold.from = self.cold.from.max(next);
        self.absorb_tail();
    }

    /// Cold messages that cannot be found; says how many they were.
    pub fn give_up_cold(&mut self) -> u64 {
        let missing = std::mem::take(&mut self.cold.count);
        self.absorb_tail();
        missing
    }

    fn absorb_tail(&mut self) {
        if self.cold.count == 0 && !self.tail.is_empty() {
            self.ready.append(&mut self.tail);
        }
    }

    /// Takes all consumers away. What they had not settled stays unacked.
    pub fn take_consumers(&mut self) -> Vec<C> {
        self.rings = Vec::new();
        self.line = Vec::new();
        self.exclusive = None;
        self.consumer_count = 0;
        std::mem::take(&mut self.consumers).into_iter().flatten().map(|c| c.outlet).collect()
    }

    /// Empties the queue for good and gives back its consumers and its messages.
    pub fn close(&mut self) -> (Vec<C>, Purged) {
        let purged = self.purge();
        self.unacked = HashMap::default();
        self.returns.clear();
        (self.take_consumers(), purged)
    }
}

#[cfg(test)]
mod cold_tests;
#[cfg(test)]
mod tests;
