//! Messages that leave by themselves: expired, delayed and due, too many, returned too often; and those that are held back
//! before they are delivered again.
//!
//! Two clocks run. A message with a time of its own stands in `dues`, and leaves from wherever it is when that time comes.
//! The queue's own TTL needs no list: positions are in the order of time, so only the first message of each priority can
//! be the next to expire. What leaves either goes somewhere else, a letter, and stays *in transit* until it has arrived; or
//! it is dropped. What is cold when it leaves is read first ([`Engine::take_unread`]).

mod by_hand;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::BuildHasherDefault;
use std::ops::Range;
use std::sync::Arc;

use super::backlog::{First, Ready, Removed};
use super::times::Times;
use super::{Engine, PositionHasher, Settled, Settlement, Stall};
use crate::message::{Incoming, Message, Traits};
use crate::queue::letter::Reason;
use crate::queue::rare::{Absent, Rare};
use crate::queue::settings::{Overflow, RetryOf, Settings};

/// Messages that leave at once, and cold ones that may wait to be read before they can.
const AT_ONCE: usize = 1024;
/// Entries of `dues` from which on those that do not count are looked for; few in tests, so that they meet it.
const MANY_DUES: usize = if cfg!(test) { 2 } else { 64 * 1024 };

/// A message that leaves for somewhere else.
pub struct Departure {
    pub position: u64,
    pub message: Message,
    pub reason: Reason,
    /// Queues that have it already.
    pub had: Vec<u64>,
}

struct Transit {
    /// `None` while it is cold.
    message: Option<Message>,
    reason: Reason,
    had: Vec<u64>,
}

/// What is in force, and what is on its way.
#[derive(Default)]
pub struct Departures {
    settings: Arc<Settings>,
    /// Something special is in force.
    is_special: bool,
    /// Messages leave when they are due, and are never delivered: the queue of a delayed exchange.
    delays: bool,
    now: u64,
    moving: Rare<Moving>,
}

/// Messages with times, and those on their way. Most queues never have any.
struct Moving {
    /// Messages with a time of their own. Some may have left already.
    dues: Times,
    held_back: BTreeMap<u64, (Ready, u64)>,
    /// When those come back.
    backs: Times,
    transit: HashMap<u64, Transit, BuildHasherDefault<PositionHasher>>,
    /// When letters that could not be delivered are to be tried again.
    retries: Times,
    /// Letters in the order in which they left; each is in transit. One that is cold keeps those after it waiting.
    letters: VecDeque<u64>,
    /// Those that have to be read first.
    unread: VecDeque<u64>,
    /// Cold messages in transit, asked for or being read.
    cold: usize,
    dropped: Vec<(u64, Message)>,
    /// Entries of `dues` at which it is pruned next.
    prune_at: usize,
    /// Until when messages are held back that were cold when the process ended.
    held_back_cold: BTreeMap<u64, u64>,
}

impl Moving {
    const NONE: Self = Self {
        dues: Times::NONE,
        held_back: BTreeMap::new(),
        backs: Times::NONE,
        transit: HashMap::with_hasher(BuildHasherDefault::new()),
        retries: Times::NONE,
        letters: VecDeque::new(),
        unread: VecDeque::new(),
        cold: 0,
        dropped: Vec::new(),
        prune_at: MANY_DUES,
        held_back_cold: BTreeMap::new(),
    };
}

impl Absent for Moving {
    const ABSENT: Self = Self::NONE;

    fn absent() -> &'static Self {
        static NONE: Moving = Moving::NONE;
        &NONE
    }
}

impl Departures {
    pub(super) fn restore_times(&mut self, times: impl Iterator<Item = (u64, u64)>) {
        self.moving.dues = Times::of(times);
    }

    pub(super) fn due_at(&mut self, due: u64, position: u64) {
        self.moving.dues.push(due, position);
    }

    #[inline]
    pub(super) fn refuses_when_full(&self) -> bool {
        self.settings.overflow != Overflow::DropHead
    }

    pub(super) fn shows_returns(&self) -> bool {
        self.settings.shows_delivery_count
    }

    pub(super) fn has_dead_letters(&self) -> bool {
        self.settings.dead_letters.is_some()
    }

    /// A queue that refuses what is too much lets nothing go: what came back from consumers, or was there before the limit,
    /// was confirmed.
    fn drops_when_full(&self) -> bool {
        let has_limits = self.settings.max_length.is_some() || self.settings.max_bytes.is_some();
        has_limits && !self.refuses_when_full()
    }

    fn is_over(&self, count: u64, bytes: u64) -> bool {
        self.settings.max_length.is_some_and(|most| count > most)
            || self.settings.max_bytes.is_some_and(|most| bytes > most)
    }

    /// When a message leaves because of its age.
    fn end_of(&self, traits: Traits) -> Option<u64> {
        let own = traits.due.filter(|_| !self.delays).map(std::num::NonZeroU64::get);
        // Of a message from before times were kept it is not known how old it is.
        let of_queue = self.settings.message_ttl.filter(|_| traits.at > 0).map(|ttl| traits.at.saturating_add(ttl));
        own.into_iter().chain(of_queue).min()
    }

    fn has_expired(&self, traits: Traits) -> bool {
        self.end_of(traits).is_some_and(|end| end <= self.now)
    }

    pub(super) fn is_leaving(&self, position: u64) -> bool {
        self.moving.transit.contains_key(&position)
    }

    /// It leaves, and has to be read first.
    fn is_unread(&self, position: u64) -> bool {
        self.moving.transit.get(&position).is_some_and(|transit| transit.message.is_none())
    }

    pub(super) fn is_here(&self, position: u64) -> bool {
        self.moving.transit.contains_key(&position) || self.moving.held_back.contains_key(&position)
    }

    pub(super) fn leaving(&self) -> impl Iterator<Item = (u64, &Message)> {
        self.moving.transit.iter().filter_map(|(position, transit)| Some((*position, transit.message.as_ref()?)))
    }

    pub(super) fn held_back(&self) -> impl Iterator<Item = (u64, &Message)> {
        self.moving.held_back.iter().map(|(position, (entry, _))| (*position, &entry.message))
    }

    /// The waiting messages are purged.
    pub(super) fn forget_waiting(&mut self) {
        let Some(moving) = self.moving.as_mut() else { return };
        moving.held_back.clear();
        moving.held_back_cold.clear();
        moving.backs.clear();
        moving.unread.clear();
        moving.cold = 0;
        moving.transit.retain(|_, transit| transit.message.is_some());
        moving.dues.clear();
    }

    pub(super) fn close(&mut self) {
        self.moving = Rare::default();
    }
}

impl<C> Engine<C> {
    /// Messages leave this queue when they are due, and not before.
    pub fn delaying(mut self) -> Self {
        self.departures.delays = true;
        self
    }

    /// What is in force from now on.
    pub fn set_settings(&mut self, settings: Arc<Settings>) {
        self.departures.is_special = *settings != Settings::default();
        self.departures.settings = settings;
    }

    /// False while time and limits mean nothing to this queue.
    #[inline]
    pub fn is_special(&self) -> bool {
        let Departures { is_special, moving, .. } = &self.departures;
        let has_times =
            |Moving { dues, backs, retries, .. }: &Moving| !dues.is_empty() || !backs.is_empty() || !retries.is_empty();
        *is_special || moving.as_ref().is_some_and(has_times)
    }

    pub fn settings(&self) -> &Arc<Settings> {
        &self.departures.settings
    }

    /// The time, in milliseconds since 1970.
    #[inline]
    pub fn set_now(&mut self, now: u64) {
        self.departures.now = now;
    }

    /// Messages that are held back.
    pub fn held_back_count(&self) -> usize {
        self.departures.moving.held_back.len()
    }

    /// Until when messages are held back, by position.
    pub fn held_back_until(&self) -> impl Iterator<Item = (u64, u64)> {
        let cold = self.departures.moving.held_back_cold.iter().map(|(position, until)| (*position, *until));
        self.departures.moving.held_back.iter().map(|(position, (_, until))| (*position, *until)).chain(cold)
    }

    /// Messages on their way out.
    pub fn leaving_count(&self) -> usize {
        self.departures.moving.transit.len()
    }

    /// Those that are due next, at most so many: time and position. Some may have left already.
    pub fn earliest_due(&self, most: usize) -> Vec<(u64, u64)> {
        self.departures.moving.dues.earliest(most)
    }

    /// Messages that leave for somewhere else, in order, about so many bytes. Each is in transit until [`Engine::arrived`] or
    /// [`Engine::try_again`].
    pub fn take_letters(&mut self, bytes: usize) -> Vec<Departure> {
        let Moving { letters, transit, .. } = &mut *self.departures.moving;
        let (mut taken, mut size) = (Vec::new(), 0);
        while size < bytes
            && let Some(position) = letters.front().copied()
        {
            match transit.get(&position) {
                // It has been dropped, or purged.
                None => {}
                Some(Transit { message: None, .. }) => break,
                Some(Transit { message: Some(message), reason, had }) => {
                    size += message.charged_bytes();
                    taken.push(Departure { position, message: message.clone(), reason: *reason, had: had.clone() });
                }
            }
            letters.pop_front();
        }
        taken
    }

    /// True when [`Engine::take_letters`] has something to give.
    pub fn has_letters(&self) -> bool {
        let Moving { letters, transit, .. } = &*self.departures.moving;
        letters.front().is_some_and(|first| transit.get(first).is_none_or(|t| t.message.is_some()))
    }

    /// Positions of cold messages that leave: to be read, and given to [`Engine::take_unread_up`].
    pub fn take_unread(&mut self, most: usize) -> Vec<u64> {
        let unread = &mut self.departures.moving.unread;
        unread.drain(..most.min(unread.len())).collect()
    }

    /// One of those could not be read: it is wanted again.
    pub fn leave_unread(&mut self, position: u64) {
        self.departures.moving.unread.push_front(position);
    }

    pub fn has_unread(&self) -> bool {
        !self.departures.moving.unread.is_empty()
    }

    /// Messages that are gone.
    pub fn take_dropped(&mut self) -> Vec<(u64, Message)> {
        std::mem::take(&mut self.departures.moving.dropped)
    }

    /// True when somebody has to take letters or drops.
    #[inline]
    pub fn has_departures(&self) -> bool {
        let waits = |Moving { letters, dropped, unread, .. }: &Moving| {
            !letters.is_empty() || !dropped.is_empty() || !unread.is_empty()
        };
        self.departures.moving.as_ref().is_some_and(waits)
    }

    /// A letter is where it should be; gives back the message.
    pub fn arrived(&mut self, position: u64) -> Option<Message> {
        self.returns.remove(&position);
        let transit = self.departures.moving.transit.remove(&position)?;
        self.departures.moving.cold -= usize::from(transit.message.is_none()).min(self.departures.moving.cold);
        transit.message
    }

    /// A letter could not be delivered: it is tried again at that time.
    pub fn try_again(&mut self, position: u64, at: u64, had: Vec<u64>) {
        if let Some(transit) = self.departures.moving.transit.get_mut(&position) {
            transit.had = had;
            self.departures.moving.retries.push(at, position);
        }
    }

    /// A cold message that leaves has been read.
    pub fn take_unread_up(&mut self, position: u64, message: Message) {
        let has_dead_letters = self.departures.has_dead_letters();
        if !self.departures.is_unread(position) {
            return;
        }
        self.goes(&message);
        let moving = &mut *self.departures.moving;
        let Some(transit) = moving.transit.get_mut(&position) else { return };
        moving.cold = moving.cold.saturating_sub(1);
        if transit.reason == Reason::Due || has_dead_letters {
            // Its place among the letters it has.
            transit.message = Some(message);
        } else {
            moving.transit.remove(&position);
            moving.dropped.push((position, message));
            self.returns.remove(&position);
        }
    }

    /// A message leaves.
    pub(super) fn depart(&mut self, position: u64, message: Option<Message>, reason: Reason) {
        if let Some(message) = &message {
            self.goes(message);
        }
        let departures = &mut self.departures;
        let goes_on = reason == Reason::Due || departures.has_dead_letters();
        match message {
            None => {
                departures.moving.transit.insert(position, Transit { message: None, reason, had: Vec::new() });
                departures.moving.unread.push_back(position);
                departures.moving.letters.push_back(position);
                departures.moving.cold += 1;
            }
            Some(message) if goes_on => {
                departures.moving.transit.insert(position, Transit { message: Some(message), reason, had: Vec::new() });
                departures.moving.letters.push_back(position);
            }
            Some(message) => {
                departures.moving.dropped.push((position, message));
                self.returns.remove(&position);
            }
        }
    }

    /// A message comes back from its consumer.
    pub(super) fn give_back(&mut self, position: u64, message: Message, how: Settlement) -> Settled {
        let count = self.returns.entry(position).or_default();
        *count = count.saturating_add(1);
        let count = *count;
        let departures = &self.departures;
        if departures.settings.delivery_limit.is_some_and(|most| count > most) {
            self.depart(position, Some(message), Reason::DeliveryLimit);
            return Settled::Leaves;
        }
        if departures.has_expired(message.traits()) {
            self.depart(position, Some(message), Reason::Expired);
            return Settled::Leaves;
        }
        let until = self.held_back_time(count, how);
        let entry = Ready { message: message.clone(), position, redelivered: true };
        match until {
            Some(until) => self.hold_back(entry, until),
            None => self.wait_again(entry),
        }
        Settled::Returned { message, count, until }
    }

    fn held_back_time(&self, count: u32, how: Settlement) -> Option<u64> {
        let retry = self.departures.settings.retry.as_ref()?;
        let applies = match retry.of {
            RetryOf::All => true,
            RetryOf::Failed => how == Settlement::Fail,
            RetryOf::Returned => how == Settlement::Requeue,
        };
        let delay = retry.delay(count);
        (applies && delay > 0).then(|| self.departures.now.saturating_add(delay))
    }

    fn hold_back(&mut self, entry: Ready, until: u64) {
        self.goes(&entry.message);
        self.departures.moving.backs.push(until, entry.position);
        self.departures.moving.held_back.insert(entry.position, (entry, until));
    }

    /// A message that was out of sight waits again.
    fn wait_again(&mut self, entry: Ready) {
        if let Some(due) = entry.message.traits().due {
            // Its entry may have come and gone meanwhile.
            self.departures.moving.dues.push(due.get(), entry.position);
        }
        self.backlog.put_back(entry);
    }

    /// Messages that were held back when the process ended: those in memory are again, others when they are read.
    pub(super) fn hold_back_again(&mut self, held_back: BTreeMap<u64, u64>) {
        self.departures.moving.held_back_cold = held_back;
        self.hold_back_loaded(0..u64::MAX);
    }

    /// Holds messages back that have been read and whose time has not come.
    pub(super) fn hold_back_loaded(&mut self, range: Range<u64>) {
        let positions: Vec<u64> =
            self.departures.moving.held_back_cold.range(range).map(|(position, _)| *position).collect();
        for position in positions {
            // A cold one stays as it is.
            if let Removed::Held(entry) = self.backlog.remove_loaded(position) {
                let until = self.departures.moving.held_back_cold.remove(&position).unwrap_or(0);
                self.hold_back(Ready { redelivered: true, ..entry }, until);
            }
        }
    }

    /// True when one more message would be too many.
    pub(super) fn is_full_for(&self, incoming: &Incoming<'_>) -> bool {
        let bytes = self.backlog.bytes().saturating_add(incoming.view().body.len() as u64);
        // What waits to be delivered elsewhere is here still.
        let count = self.backlog.count() + self.departures.moving.transit.len();
        self.departures.is_over(count as u64 + 1, bytes)
    }

    /// Lets the first messages go while there are too many. What has to be known of them may have to be read first.
    #[inline]
    pub(super) fn enforce_limits(&mut self) -> Option<Stall> {
        if !self.departures.drops_when_full() {
            return None;
        }
        // What is left is seen to by the next tick.
        let mut left = AT_ONCE;
        while left > 0 && self.departures.is_over(self.backlog.count() as u64, self.backlog.bytes()) {
            if self.backlog.is_empty() {
                return None;
            }
            // What has expired goes first, and may have to be read.
            if self.departures.settings.message_ttl.is_some() && !self.backlog.heads().1 {
                return Some(Stall::Cold);
            }
            match self.backlog.first() {
                Some(First { message: Some(_), .. }) => {
                    let Ready { position, message, .. } = self.backlog.take_first()?;
                    self.depart(position, Some(message), Reason::MaxLen);
                    left -= 1;
                }
                _ => return Some(Stall::Cold),
            }
        }
        None
    }

    /// Lets the first message go if it has expired. Nothing of a delayed exchange is delivered at all.
    #[inline]
    pub(super) fn drop_expired_first(&mut self) -> bool {
        if self.departures.settings.message_ttl.is_none() && self.departures.moving.dues.is_empty() {
            return false;
        }
        let Some(First { message: Some(message), .. }) = self.backlog.first() else { return false };
        if !self.departures.has_expired(message.traits()) {
            return false;
        }
        let Some(Ready { position, message, .. }) = self.backlog.take_first() else { return false };
        self.depart(position, Some(message), Reason::Expired);
        true
    }

    /// Does what the time brings, for at most so many messages. `is_dead` says of a position on disk that it was settled.
    /// True when there is more to do at once.
    pub fn tick(&mut self, most: usize, is_dead: impl Fn(u64) -> bool) -> bool {
        let now = self.departures.now;
        let mut left = most;
        while left > 0
            && let Some(position) = self.departures.moving.backs.pop_due(now)
        {
            if let Some((entry, _)) = self.departures.moving.held_back.remove(&position) {
                self.comes(&entry.message);
                self.wait_again(entry);
                left -= 1;
            }
        }
        let reason = if self.departures.delays { Reason::Due } else { Reason::Expired };
        while left > 0
            && self.departures.moving.cold < AT_ONCE
            && let Some(position) = self.departures.moving.dues.pop_due(now)
        {
            if self.is_elsewhere(position) {
                continue;
            }
            match self.backlog.remove(position, &is_dead) {
                Removed::Held(entry) => self.depart(position, Some(entry.message), reason),
                Removed::Cold => self.depart(position, None, reason),
                Removed::NotHere => continue,
            }
            left -= 1;
        }
        while left > 0 && self.expire_heads(&is_dead) {
            left -= 1;
        }
        while left > 0
            && let Some(position) = self.departures.moving.retries.pop_due(now)
        {
            if self.departures.moving.transit.contains_key(&position) {
                self.departures.moving.letters.push_back(position);
                left -= 1;
            }
        }
        left == 0
    }

    /// Throws out times of messages that have left otherwise, once they may be many. What could be cold stays.
    pub(super) fn prune_dues(&mut self) {
        if self.departures.moving.dues.len() < self.departures.moving.prune_at {
            return;
        }
        let (unacked, departures, backlog) = (&self.unacked, &mut self.departures, &self.backlog);
        let Moving { dues, held_back, .. } = &mut *departures.moving;
        let cold = backlog.cold();
        let may_be_cold = |position: &u64| cold.count > 0 && (cold.from..cold.to).contains(position);
        dues.keep(|position| {
            unacked.contains_key(&position)
                || held_back.contains_key(&position)
                || may_be_cold(&position)
                || backlog.has(position)
        });
        departures.moving.prune_at = (2 * departures.moving.dues.len()).max(MANY_DUES);
    }

    /// Lets go of messages that are first of their priority and older than the queue's TTL.
    fn expire_heads(&mut self, is_dead: impl Fn(u64) -> bool) -> bool {
        if self.departures.settings.message_ttl.is_none() {
            return false;
        }
        let expired =
            |(position, message): &(u64, &Message)| self.departures.has_expired(message.traits()).then_some(*position);
        let Some(position) = self.backlog.heads().0.iter().find_map(expired) else { return false };
        if let Removed::Held(entry) = self.backlog.remove(position, is_dead) {
            self.depart(position, Some(entry.message), Reason::Expired);
        }
        true
    }

    /// True when [`Engine::tick`] has something to do now.
    pub fn is_due(&self) -> bool {
        self.next_tick().is_some_and(|next| next <= self.departures.now)
    }

    /// When [`Engine::tick`] has something to do next, in milliseconds since 1970.
    pub fn next_tick(&self) -> Option<u64> {
        let departures = &self.departures;
        // When enough has left that must be read, the rest waits for it.
        let dues = departures.moving.dues.next().filter(|_| departures.moving.cold < AT_ONCE);
        let is_over = departures.drops_when_full()
            && departures.is_over(self.backlog.count() as u64, self.backlog.bytes())
            && self.backlog.first().is_some_and(|first| first.message.is_some());
        let own =
            [dues, departures.moving.backs.next(), departures.moving.retries.next(), is_over.then_some(departures.now)];
        let of_queue = departures.settings.message_ttl.and_then(|ttl| {
            let (heads, _) = self.backlog.heads();
            let ages = heads.iter().map(|(_, message)| message.traits().at).filter(|at| *at > 0);
            ages.map(|at| at.saturating_add(ttl)).min()
        });
        own.into_iter().chain([of_queue]).flatten().min()
    }

    /// True when the first messages have to be looked at, because of their age or their number, and are cold.
    pub fn needs_first(&self) -> bool {
        let departures = &self.departures;
        let has_ttl = departures.settings.message_ttl.is_some() && !self.backlog.heads().1;
        let is_over = || departures.is_over(self.backlog.count() as u64, self.backlog.bytes());
        has_ttl || (departures.drops_when_full() && is_over() && !self.backlog.is_empty())
    }
}

#[cfg(test)]
mod tests;
