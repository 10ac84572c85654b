//! The queue engine: one queue's state machine, without I/O, clock, locks or threads.
//!
//! Fed by [`Engine::publish`], [`Engine::settle`], [`Engine::subscribe`], [`Engine::cancel`], [`Engine::resume`],
//! [`Engine::get`] and [`Engine::tick`]; what it decides to deliver it hands to the [`Outlets`] given with the call. The
//! invariant between two calls: there is no ready message, or there is no consumer that could take one. `settle`,
//! `subscribe` and `resume` may break it and are followed by [`Engine::pump`], so that a caller can settle a batch and pump
//! once. The time is what [`Engine::set_now`] said last.
//!
//! Every message has a *position*, given in publish order and kept for life. A requeued message goes back by its
//! position, so it is delivered before everything that was published after it. Which messages wait, and which of those are
//! in memory, is the [`backlog`]'s business. When it is the turn of cold messages, [`Engine::pump`] stalls and says so; the
//! caller reads them and hands them to [`Engine::refill`].
//!
//! Messages leave by themselves, too: they expire, are returned too often, or have to make room. Those that go somewhere
//! else are *letters* ([`Engine::take_letters`]): they wait in transit, out of sight, until the caller says that they have
//! arrived ([`Engine::arrived`]). The others are *dropped* ([`Engine::take_dropped`]).
//!
//! A queue that survives its process must know after a crash which messages may have been delivered. What waited is
//! delivered only below the *horizon*, a position that is on disk; where it is reached, `pump` stalls too, and the
//! caller moves it on ([`Engine::next_horizon`], [`Engine::set_horizon`]).

pub mod backlog;
mod consumers;
mod departures;
pub mod times;
mod transients;

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Range;

use super::letter::Reason;
use super::rare::Rare;
use crate::message::{Incoming, Keeps, LARGE_BODY, Message, MessageView};
use backlog::{Backlog, First, Ready};
pub use backlog::{Cold, Purged};
use consumers::Consumers;
pub use departures::Departure;
use departures::Departures;
use std::num::NonZeroU64;
use transients::Transients;

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

/// A delivery as it is offered to an outlet.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    pub message: MessageView<'a>,
    /// The held message, where there is one: a large body may be referred to instead of copied.
    pub held: Option<&'a Message>,
    pub position: u64,
    pub redelivered: bool,
    pub no_ack: bool,
    /// How often it has been returned, where consumers are to be told.
    pub returned: Option<u32>,
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
    /// Given back by its consumer: to its place, marked redelivered.
    Requeue,
    /// The same, because its delivery has failed: it was rejected, or its consumer has gone.
    Fail,
}

impl Settlement {
    /// The message comes back.
    pub fn returns(self) -> bool {
        matches!(self, Self::Requeue | Self::Fail)
    }
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
    /// How often it has been returned, where consumers are to be told.
    pub returned: Option<u32>,
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
    /// The queue is full and refuses it.
    Refused,
}

/// Why [`Engine::pump`] has stopped although there are messages and a consumer that could take one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stall {
    /// The next messages are cold.
    Cold,
    /// The next message stands at the horizon.
    Horizon,
}

/// A queue as it was found on disk.
#[derive(Debug, Default)]
pub struct Found {
    pub next_position: u64,
    pub cold: Cold,
    /// Bytes of the bodies of cold messages, about.
    pub cold_bytes: u64,
    /// Cold messages with a time or a priority: position, when due, priority; in order.
    pub marked: Vec<(u64, Option<NonZeroU64>, u8)>,
    /// Messages that are not cold, in order.
    pub messages: Vec<(u64, Message)>,
    /// Messages below may have been delivered before.
    pub delivered_below: u64,
    /// How often messages have been returned.
    pub returns: BTreeMap<u64, u32>,
    /// Messages that are held back until a time.
    pub held_back: BTreeMap<u64, u64>,
}

/// Positions by which the horizon moves at least and at most.
const HORIZON_STEPS: (u32, u32) = (64, 65_536);

/// What has become of a message that was unacked.
pub enum Settled {
    /// It is gone.
    Gone(Message),
    /// It waits again: how often it has been returned, and until when it is held back.
    Returned { message: Message, count: u32, until: Option<u64> },
    /// It leaves for somewhere else, or is dropped: see [`Engine::take_letters`],
    /// [`Engine::take_unread`] and [`Engine::take_dropped`].
    Leaves,
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
    backlog: Backlog,
    departures: Departures,
    /// Everything below has been delivered at least once.
    delivered: u64,
    /// What waited is delivered only below this position.
    horizon: u64,
    horizon_step: u32,
    /// How often messages that still live have been returned, where that is not never.
    returns: BTreeMap<u64, u32>,
    /// Messages that consumers without acks have taken, where they are asked for.
    consumed: Vec<(u64, Message)>,
    tells_consumed: bool,
    /// Which of its messages do not survive, where it does.
    transients: Rare<Transients>,
    keeps: Keeps,
    unacked: HashMap<u64, Unacked, BuildHasherDefault<PositionHasher>>,
    /// Bytes of the bodies of those.
    unacked_bytes: u64,
    consumers: Consumers<C>,
}

impl<C> Engine<C> {
    /// An empty queue; with `single_active`, one consumer at a time is served and the others wait in line. A durable one has a
    /// horizon and notes what consumers without acks take.
    pub fn new(single_active: bool, keeps: Keeps) -> Self {
        Self {
            next_position: 0,
            backlog: Backlog::new(1),
            departures: Departures::default(),
            delivered: 0,
            horizon: if keeps.is_durable() { 0 } else { u64::MAX },
            horizon_step: HORIZON_STEPS.0,
            returns: BTreeMap::new(),
            consumed: Vec::new(),
            transients: Rare::default(),
            keeps,
            tells_consumed: keeps.is_durable(),
            unacked: HashMap::default(),
            unacked_bytes: 0,
            consumers: Consumers::new(single_active),
        }
    }

    /// With priorities up to this one. Only an empty queue can be given them.
    pub fn with_priorities(mut self, highest: u8) -> Self {
        self.backlog = Backlog::new(usize::from(highest) + 1);
        self
    }

    /// The queue with what was found on disk.
    pub fn restore(&mut self, found: Found) {
        let Found { next_position, cold, cold_bytes, marked, messages, delivered_below, returns, held_back } = found;
        // Positions below an old horizon are never given again: a message there counts as delivered.
        self.next_position = next_position.max(delivered_below);
        self.delivered = delivered_below;
        self.horizon = self.horizon.max(delivered_below);
        self.returns = returns;
        self.departures.restore_times(marked.iter().filter_map(|(position, due, _)| Some(((*due)?.get(), *position))));
        if self.backlog.has_lanes() {
            for (position, _, priority) in &marked {
                self.backlog.add_cold(*position, *priority, *position < delivered_below);
            }
            self.backlog.set_cold_bytes(cold_bytes);
        } else {
            self.backlog.set_cold(cold, cold_bytes);
        }
        for (position, message) in messages {
            let redelivered = position < delivered_below;
            self.append(Ready { message, position, redelivered });
        }
        self.hold_back_again(held_back);
    }

    pub fn ready_count(&self) -> usize {
        self.backlog.count()
    }

    /// Bytes of the bodies of ready messages; those of cold ones about.
    pub fn ready_bytes(&self) -> u64 {
        self.backlog.bytes()
    }

    /// Bytes of the bodies of unacked messages.
    pub fn unacked_bytes(&self) -> u64 {
        self.unacked_bytes
    }

    /// The message that is next; none when none waits or it is not in memory.
    pub fn first_message(&self) -> Option<&Message> {
        self.backlog.first()?.message
    }

    /// The position that the next message gets.
    pub fn next_position(&self) -> u64 {
        self.next_position
    }

    /// Bytes that ready messages hold in memory.
    pub fn held_bytes(&self) -> usize {
        self.backlog.held()
    }

    pub fn cold(&self) -> Cold {
        self.backlog.cold()
    }

    /// True when messages wait that are not in memory.
    pub fn has_cold(&self) -> bool {
        self.backlog.has_cold()
    }

    pub fn has_priorities(&self) -> bool {
        self.backlog.has_lanes()
    }

    /// Messages that are ready to be delivered before those that are cold.
    pub fn ahead_count(&self) -> usize {
        self.backlog.ahead()
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
        let first = self.backlog.first_position().unwrap_or(0);
        let next = self.delivered.max(self.horizon).max(first) + u64::from(self.horizon_step);
        self.horizon_step = (self.horizon_step * 2).min(HORIZON_STEPS.1);
        next
    }

    /// True when less than half a step is left below the horizon.
    pub fn nears_horizon(&self) -> bool {
        self.keeps.is_durable() && self.horizon.saturating_sub(self.delivered) < u64::from(self.horizon_step / 4)
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

    /// Has [`Engine::take_consumed`] give what it takes, also in a queue that does not survive.
    pub fn tell_consumed(&mut self) {
        self.tells_consumed = true;
    }

    /// What consumers without acks have taken since the last call.
    pub fn take_consumed(&mut self) -> Vec<(u64, Message)> {
        std::mem::take(&mut self.consumed)
    }

    pub fn unacked_count(&self) -> usize {
        self.unacked.len()
    }

    /// A message is left out. It has a position all the same: those of a batch follow one another.
    pub fn skip(&mut self) {
        self.next_position += 1;
    }

    /// Enqueues a message at the end, or hands it straight to a consumer that waits for one.
    #[inline]
    pub fn publish(&mut self, incoming: &mut Incoming<'_>, out: &mut impl Outlets<C>) -> Placed {
        if self.departures.refuses_when_full() && self.is_full_for(incoming) {
            self.skip();
            return Placed::Refused;
        }
        let position = self.next_position;
        self.next_position += 1;
        // Something may wait although there is a consumer: what is cold, or stands at the horizon.
        while self.backlog.is_empty()
            && let Some(key) = self.consumers.first()
        {
            // The consumer must be there: rings hold no others.
            let Some(consumer) = self.consumers.get_mut(key) else { break };
            let no_ack = consumer.terms.no_ack;
            // A small message that nobody will settle goes out from where it lies.
            let held = match incoming {
                Incoming::Held(message) => Some(message.clone()),
                _ if no_ack && incoming.view().body.len() < LARGE_BODY => None,
                _ => Some(incoming.hold()),
            };
            let (message, held_message) = (incoming.view(), held.as_ref());
            let delivery =
                Delivery { message, held: held_message, position, redelivered: false, no_ack, returned: None };
            let answer = out.deliver(key, &consumer.outlet, delivery);
            let taken = consumer.note_answer(answer);
            self.consumers.turn();
            if taken {
                if let (Some(message), false) = (held, no_ack) {
                    self.comes(&message);
                    self.unacked_bytes += message.view().body.len() as u64;
                    self.unacked.insert(position, Unacked { message, consumer: Some(key) });
                }
                self.delivered = position + 1;
                return if no_ack { Placed::Consumed } else { Placed::Delivered };
            }
        }
        self.append(Ready { message: incoming.hold(), position, redelivered: false });
        Placed::Waiting
    }

    #[inline]
    fn append(&mut self, entry: Ready) {
        let (position, due) = (entry.position, entry.message.traits().due);
        self.comes(&entry.message);
        self.backlog.push(entry);
        if let Some(due) = due {
            self.departures.due_at(due.get(), position);
            // The message is there already: its own time is not one of those that do not count.
            self.prune_dues();
        }
    }

    /// Why the first message cannot be delivered now, if that is so.
    #[inline]
    fn stalled(&self) -> Option<Stall> {
        match self.backlog.first() {
            None => (!self.backlog.is_empty()).then_some(Stall::Cold),
            Some(First { message: None, .. }) => Some(Stall::Cold),
            Some(first) => (first.position >= self.horizon).then_some(Stall::Horizon),
        }
    }

    /// Delivers ready messages as long as there are consumers that can take them, and nothing stalls. What has expired or is
    /// too much leaves before.
    pub fn pump(&mut self, out: &mut impl Outlets<C>) -> Option<Stall> {
        let short = self.enforce_limits();
        while !self.backlog.is_empty() && self.consumers.has_ready() {
            if self.drop_expired_first() {
                continue;
            }
            if let Some(stall) = self.stalled() {
                return Some(stall);
            }
            let key = self.consumers.first()?;
            let entry = self.backlog.take_first()?;
            let returned = self.shown_returns(entry.position);
            let consumer = self.consumers.get_mut(key)?;
            let no_ack = consumer.terms.no_ack;
            let delivery = Delivery {
                message: entry.message.view(),
                held: Some(&entry.message),
                position: entry.position,
                redelivered: entry.redelivered,
                no_ack,
                returned,
            };
            let answer = out.deliver(key, &consumer.outlet, delivery);
            let taken = consumer.note_answer(answer);
            self.consumers.turn();
            if taken {
                self.note_delivered(entry, no_ack, Some(key));
            } else {
                self.backlog.put_back(entry);
            }
        }
        short
    }

    /// How often a message has been returned, where consumers are to be told.
    fn shown_returns(&self, position: u64) -> Option<u32> {
        if !self.departures.shows_returns() {
            return None;
        }
        self.returns.get(&position).copied()
    }

    /// Books a message that has been delivered from among those that waited.
    fn note_delivered(&mut self, entry: Ready, no_ack: bool, consumer: Option<ConsumerKey>) {
        self.delivered = self.delivered.max(entry.position + 1);
        if !no_ack {
            self.unacked_bytes += entry.message.view().body.len() as u64;
            let before = self.unacked.insert(entry.position, Unacked { message: entry.message, consumer });
            debug_assert!(before.is_none(), "a message is delivered to one at a time");
            return;
        }
        self.goes(&entry.message);
        self.returns.remove(&entry.position);
        if self.tells_consumed {
            self.consumed.push((entry.position, entry.message));
        }
    }

    /// Settles one unacked message; `None` when there is none at this position.
    #[inline]
    pub fn settle(&mut self, position: u64, how: Settlement) -> Option<Settled> {
        let Unacked { message, consumer } = self.unacked.remove(&position)?;
        self.unacked_bytes -= message.view().body.len() as u64;
        if self.unacked.is_empty() && self.unacked.capacity() > 1024 {
            self.unacked.shrink_to(0);
        }
        if let Some(key) = consumer {
            self.consumers.give_credit(key);
        }
        Some(match how {
            Settlement::Ack => {
                self.goes(&message);
                self.forget_returns(position);
                Settled::Gone(message)
            }
            Settlement::Discard if self.departures.has_dead_letters() => {
                self.depart(position, Some(message), Reason::Rejected);
                Settled::Leaves
            }
            Settlement::Discard => {
                self.goes(&message);
                self.forget_returns(position);
                Settled::Gone(message)
            }
            Settlement::Requeue | Settlement::Fail => self.give_back(position, message, how),
        })
    }

    #[inline]
    fn forget_returns(&mut self, position: u64) {
        if !self.returns.is_empty() {
            self.returns.remove(&position);
        }
    }

    /// Adds a consumer. It gets its first message with the next [`Engine::pump`].
    ///
    /// # Errors
    /// When the queue is, or would have to be, in exclusive use.
    pub fn subscribe(&mut self, outlet: C, terms: Terms) -> Result<ConsumerKey, SubscribeError> {
        self.consumers.add(outlet, terms)
    }

    /// Removes a consumer; its unacked messages stay unacked. Returns what was kept of it.
    pub fn cancel(&mut self, key: ConsumerKey) -> Option<C> {
        self.consumers.remove(key)
    }

    /// The consumer's outlet has room again.
    pub fn resume(&mut self, key: ConsumerKey) {
        self.consumers.resume(key);
    }

    pub fn consumer_count(&self) -> usize {
        self.consumers.len()
    }

    pub fn is_single_active(&self) -> bool {
        self.consumers.is_single_active()
    }

    /// Whether messages go to a consumer.
    pub fn is_active(&self, key: ConsumerKey) -> bool {
        self.consumers.is_active(key)
    }

    /// All consumers, in no particular order.
    pub fn consumers(&self) -> impl Iterator<Item = (ConsumerKey, &C)> {
        self.consumers.iter()
    }

    /// Takes the first ready message; without `no_ack` it is unacked until settled. No credit is used.
    ///
    /// # Errors
    /// When it is not in memory, or stands at the horizon: try again after that has been seen to.
    pub fn get(&mut self, no_ack: bool) -> Result<Option<Got>, Stall> {
        while self.drop_expired_first() {}
        if let Some(stall) = self.stalled() {
            return Err(stall);
        }
        let Some(entry) = self.backlog.take_first() else { return Ok(None) };
        let (message, position, redelivered) = (entry.message.clone(), entry.position, entry.redelivered);
        let returned = self.shown_returns(position);
        self.note_delivered(entry, no_ack, None);
        Ok(Some(Got { message, position, redelivered, left: self.ready_count(), returned }))
    }

    /// Takes out all ready messages. Unacked ones stay.
    pub fn purge(&mut self) -> Purged {
        self.departures.forget_waiting();
        let (unacked, departures) = (&self.unacked, &self.departures);
        self.returns.retain(|position, _| unacked.contains_key(position) || departures.is_leaving(*position));
        self.recount_transients();
        self.backlog.purge()
    }

    /// All unacked messages and those on their way out, in no particular order; the latter only where they are in memory.
    pub fn unacked(&self) -> impl Iterator<Item = (u64, &Message)> {
        self.unacked.iter().map(|(position, unacked)| (*position, &unacked.message)).chain(self.departures.leaving())
    }

    /// All messages in memory with positions in a range, in order.
    pub fn messages_within(&self, range: Range<u64>) -> Vec<(u64, Message)> {
        let mut all = self.backlog.within(range.clone());
        let others = self.unacked().chain(self.departures.held_back()).filter(|(p, _)| range.contains(p));
        all.extend(others.map(|(position, message)| (position, message.clone())));
        all.sort_unstable_by_key(|(position, _)| *position);
        all
    }

    /// Which of these messages, in rising order, are still here.
    pub fn living(&self, positions: impl Iterator<Item = u64>) -> Vec<bool> {
        self.backlog.living(positions, |position| self.is_elsewhere(position))
    }

    /// True when a message lives and does not wait.
    fn is_elsewhere(&self, position: u64) -> bool {
        self.unacked.contains_key(&position) || self.departures.is_here(position)
    }

    /// Lets go of messages that are on disk, those below `stored`; of the next ones to be delivered `keep` bytes stay.
    /// Gives back what has to be freed, where no lock is held.
    pub fn evict(&mut self, stored: u64, keep: usize) -> Vec<Message> {
        self.backlog.evict(stored, keep)
    }

    /// Takes cold messages that have been read from disk, in order: all there are from `from` up to `next`. Those that are
    /// unacked, or were and have been returned, are here and not taken. When other messages have become cold before `from`
    /// meanwhile, nothing is taken: it has to be read again, from there.
    pub fn refill(&mut self, from: u64, messages: impl Iterator<Item = (u64, Message)>, next: u64) {
        let (unacked, departures) = (&self.unacked, &self.departures);
        let is_elsewhere = |position: u64| unacked.contains_key(&position) || departures.is_here(position);
        self.backlog.refill(from, messages, next, self.delivered, is_elsewhere);
        self.hold_back_loaded(from..next);
    }

    /// In a queue with priorities: the next messages that are wanted and are cold.
    pub fn wanted(&self, most: usize) -> Vec<u64> {
        self.backlog.wanted(most)
    }

    /// One of those has been read.
    pub fn bring_back(&mut self, position: u64, message: Message) {
        self.backlog.bring_back(position, message);
        self.hold_back_loaded(position..position.saturating_add(1));
    }

    /// Cold messages that cannot be found; says how many they were.
    pub fn give_up_cold(&mut self) -> u64 {
        self.backlog.give_up_cold()
    }

    /// Takes all consumers away. What they had not settled stays unacked.
    pub fn take_consumers(&mut self) -> Vec<C> {
        self.consumers.take()
    }

    /// Empties the queue for good and gives back its consumers and its messages.
    pub fn close(&mut self) -> (Vec<C>, Purged) {
        let purged = self.purge();
        self.unacked = HashMap::default();
        self.unacked_bytes = 0;
        self.transients = Rare::default();
        self.departures.close();
        self.returns.clear();
        (self.take_consumers(), purged)
    }
}

#[cfg(test)]
mod cold_tests;
#[cfg(test)]
mod tests;
