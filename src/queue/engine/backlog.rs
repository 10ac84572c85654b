//! The messages of a queue that wait: who is next, and which of them are in memory.
//!
//! A backlog has one *lane* for each priority, the highest first to be served; most queues have one. Within a lane the order is
//! that of positions: `ready` holds messages as they came, `returned` those that came back. A message that leaves from the
//! middle ([`Backlog::remove`]) leaves a mark in `ready` that is swept away later, so that this costs no search or move.
//!
//! A queue with one lane forgets what is on disk and not wanted soon ([`Backlog::evict`]): of such *cold* messages nothing
//! is left but their number. In order of position, `returned` and `ready` come first, then what is cold, then `tail`. With
//! several lanes, whose order is not that of the disk, a cold message keeps its place in its lane and only its bytes go.

mod look;

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use crate::message::Message;
pub use look::Waiting;

/// Ready messages that are not in memory: `count` of them from position `from` on, below `to`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cold {
    pub from: u64,
    pub to: u64,
    pub count: u64,
}

/// A message that waits, in memory.
pub struct Ready {
    pub message: Message,
    pub position: u64,
    pub redelivered: bool,
}

/// The place of a message in a lane.
struct Slot {
    position: u64,
    /// `None` when it is cold, or gone.
    message: Option<Message>,
    redelivered: bool,
    gone: bool,
}

impl From<Ready> for Slot {
    fn from(Ready { message, position, redelivered }: Ready) -> Self {
        Self { position, message: Some(message), redelivered, gone: false }
    }
}

/// What was found at a position.
pub enum Removed {
    Held(Ready),
    /// It was cold: its bytes are on disk.
    Cold,
    NotHere,
}

/// The first message in the order of delivery.
#[derive(Clone, Copy, Debug)]
pub struct First<'a> {
    pub position: u64,
    /// `None` when it is cold.
    pub message: Option<&'a Message>,
}

/// Messages that have left the queue. Freeing millions takes a while: drop it where no lock is held.
pub struct Purged {
    lanes: Vec<Lane>,
    tail: VecDeque<Slot>,
    count: usize,
}

impl Purged {
    /// How many they are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Lets go of them, here.
    pub fn forget(self) {
        drop((self.lanes, self.tail));
    }
}

#[derive(Default)]
struct Lane {
    ready: VecDeque<Slot>,
    /// Marks of messages that have left from the middle of `ready`. The first slot is never one.
    gone: usize,
    /// All of them stand before `ready` or among it, by position.
    returned: BTreeMap<u64, Slot>,
}

impl Lane {
    fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.returned.is_empty()
    }

    fn len(&self) -> usize {
        self.ready.len() - self.gone + self.returned.len()
    }

    fn first_is_returned(&self) -> bool {
        match (self.returned.first_key_value(), self.ready.front()) {
            (Some((position, _)), Some(front)) => *position < front.position,
            (Some(_), None) => true,
            (None, _) => false,
        }
    }

    fn first(&self) -> Option<&Slot> {
        if self.first_is_returned() { self.returned.first_key_value().map(|(_, s)| s) } else { self.ready.front() }
    }

    fn pop_first(&mut self) -> Option<Slot> {
        if self.first_is_returned() {
            return self.returned.pop_first().map(|(_, slot)| slot);
        }
        let slot = self.ready.pop_front();
        self.trim();
        slot
    }

    /// Takes marks off the front.
    #[inline]
    fn trim(&mut self) {
        while self.gone > 0 && self.ready.front().is_some_and(|slot| slot.gone) {
            self.ready.pop_front();
            self.gone -= 1;
        }
    }

    fn sweep(&mut self) {
        if self.gone > 0 {
            self.ready.retain(|slot| !slot.gone);
            self.gone = 0;
        }
    }

    fn remove(&mut self, position: u64) -> Option<Slot> {
        if let Some(slot) = self.returned.remove(&position) {
            return Some(slot);
        }
        let taken = take_from(&mut self.ready, position)?;
        self.gone += 1;
        if self.gone > 32 && self.gone * 2 > self.ready.len() {
            self.sweep();
        }
        self.trim();
        Some(taken)
    }
}

/// Where a position stands among slots in rising order. Mostly none is missing before it, so that it need not be searched.
fn index_of(slots: &VecDeque<Slot>, position: u64) -> Option<usize> {
    let guess = usize::try_from(position.checked_sub(slots.front()?.position)?).ok()?;
    if slots.get(guess).is_some_and(|slot| slot.position == position) {
        return Some(guess);
    }
    if slots.back()?.position < position {
        return None;
    }
    slots.binary_search_by_key(&position, |slot| slot.position).ok()
}

/// Takes a message out and leaves a mark.
fn take_from(slots: &mut VecDeque<Slot>, position: u64) -> Option<Slot> {
    let index = index_of(slots, position)?;
    let slot = slots.get_mut(index).filter(|slot| !slot.gone)?;
    slot.gone = true;
    let (message, redelivered) = (slot.message.take(), slot.redelivered);
    Some(Slot { position, message, redelivered, gone: false })
}

fn size(message: &Message) -> u64 {
    message.view().body.len() as u64
}

/// The waiting messages of a queue.
pub struct Backlog {
    /// By priority, from 0 up.
    lanes: Vec<Lane>,
    cold: Cold,
    /// The newest messages, while others before them are cold.
    tail: VecDeque<Slot>,
    tail_gone: usize,
    /// Slots in lanes whose message is cold.
    absent: u64,
    /// Bytes of the bodies of cold messages, about.
    cold_bytes: u64,
    /// Bytes of the bodies of the others.
    bytes: u64,
    /// Bytes that those are charged with.
    held: usize,
}

impl Backlog {
    /// An empty backlog with so many priorities, at least one.
    pub fn new(levels: usize) -> Self {
        Self {
            lanes: std::iter::repeat_with(Lane::default).take(levels.max(1)).collect(),
            cold: Cold::default(),
            tail: VecDeque::new(),
            tail_gone: 0,
            absent: 0,
            cold_bytes: 0,
            bytes: 0,
            held: 0,
        }
    }

    /// Cold messages that were found on disk; for a backlog with one lane.
    pub fn set_cold(&mut self, cold: Cold, bytes: u64) {
        (self.cold, self.cold_bytes) = (cold, bytes);
    }

    /// A cold message that was found on disk; for a backlog with several lanes. In order of positions.
    pub fn add_cold(&mut self, position: u64, priority: u8, redelivered: bool) {
        self.absent += 1;
        let slot = Slot { position, message: None, redelivered, gone: false };
        if let Some(lane) = self.lane_mut(priority) {
            lane.ready.push_back(slot);
        }
    }

    /// The bytes that all cold messages have.
    pub fn set_cold_bytes(&mut self, bytes: u64) {
        self.cold_bytes = bytes;
    }

    pub fn has_lanes(&self) -> bool {
        self.lanes.len() > 1
    }

    fn lane_mut(&mut self, priority: u8) -> Option<&mut Lane> {
        let last = self.lanes.len().saturating_sub(1);
        self.lanes.get_mut(usize::from(priority).min(last))
    }

    pub fn count(&self) -> usize {
        let cold = usize::try_from(self.cold.count).unwrap_or(usize::MAX);
        let lanes: usize = self.lanes.iter().map(Lane::len).sum();
        lanes + self.tail.len() - self.tail_gone + cold
    }

    /// Bytes of all bodies; those of cold ones about.
    pub fn bytes(&self) -> u64 {
        self.bytes + self.cold_bytes
    }

    /// Bytes of memory.
    pub fn held(&self) -> usize {
        self.held
    }

    pub fn cold(&self) -> Cold {
        self.cold
    }

    /// Messages that are next and in memory.
    pub fn ahead(&self) -> usize {
        let lanes: usize = self.lanes.iter().map(Lane::len).sum();
        lanes - usize::try_from(self.absent).unwrap_or(0).min(lanes)
    }

    /// True when some message is not in memory.
    pub fn has_cold(&self) -> bool {
        self.cold.count > 0 || self.absent > 0
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.lanes.iter().all(Lane::is_empty) && self.cold.count == 0
    }

    /// The message that is next to be delivered. Of a single lane, what is cold may come before it: then there is none.
    pub fn first(&self) -> Option<First<'_>> {
        let slot = self.lanes.iter().rev().find_map(Lane::first)?;
        let is_first = self.cold.count == 0 || slot.position < self.cold.from;
        is_first.then_some(First { position: slot.position, message: slot.message.as_ref() })
    }

    /// The first message of each priority, as far as it is in memory. Where one is not, `false` comes with the rest.
    pub fn heads(&self) -> (Vec<(u64, &Message)>, bool) {
        let mut complete = true;
        let mut heads = Vec::new();
        for lane in &self.lanes {
            match lane.first() {
                Some(slot) if self.cold.count > 0 && slot.position >= self.cold.from => complete = false,
                Some(Slot { position, message: Some(message), .. }) => heads.push((*position, message)),
                Some(_) => complete = false,
                None => complete &= self.cold.count == 0,
            }
        }
        (heads, complete)
    }

    /// The position of the first message in memory that is not behind cold ones.
    pub fn first_position(&self) -> Option<u64> {
        self.lanes.iter().rev().find_map(Lane::first).map(|slot| slot.position)
    }

    fn book(&mut self, message: &Message) {
        self.held += message.charged_bytes();
        self.bytes += size(message);
    }

    fn unbook(&mut self, message: &Message) {
        self.held = self.held.saturating_sub(message.charged_bytes());
        self.bytes = self.bytes.saturating_sub(size(message));
    }

    /// A cold message goes, whose size nobody knows.
    fn unbook_cold(&mut self, cold: u64) {
        self.cold_bytes -= self.cold_bytes.checked_div(cold).unwrap_or(self.cold_bytes).min(self.cold_bytes);
    }

    /// Adds the newest message.
    #[inline]
    pub fn push(&mut self, entry: Ready) {
        self.book(&entry.message);
        let priority = entry.message.traits().priority;
        if self.cold.count > 0 {
            self.tail.push_back(entry.into());
        } else if let Some(lane) = self.lane_mut(priority) {
            lane.ready.push_back(entry.into());
        }
    }

    /// Takes the first message, which must be in memory ([`Backlog::first`]).
    pub fn take_first(&mut self) -> Option<Ready> {
        let lane = self.lanes.iter_mut().rev().find(|lane| !lane.is_empty())?;
        lane.first().filter(|slot| slot.message.is_some())?;
        let Slot { position, message, redelivered, .. } = lane.pop_first()?;
        let message = message?;
        self.unbook(&message);
        Some(Ready { message, position, redelivered })
    }

    /// A message comes back to its place.
    pub fn put_back(&mut self, entry: Ready) {
        self.book(&entry.message);
        let (position, priority) = (entry.position, entry.message.traits().priority);
        // Among cold messages it would be read a second time.
        let is_before_cold = self.cold.count == 0 || position < self.cold.from;
        let Some(lane) = self.lane_mut(priority) else { return };
        let is_first = lane.ready.front().is_none_or(|front| position < front.position);
        if !entry.redelivered && is_before_cold && is_first {
            lane.ready.push_front(entry.into());
        } else {
            lane.returned.insert(position, entry.into());
        }
    }

    /// Takes a message out, wherever it stands. `is_dead` says of a position on disk that it was settled before. Messages
    /// that are not waiting must not be asked for.
    pub fn remove(&mut self, position: u64, is_dead: impl Fn(u64) -> bool) -> Removed {
        let mut found = self.lanes.iter_mut().rev().find_map(|lane| lane.remove(position));
        if found.is_none() {
            found = take_from(&mut self.tail, position);
            self.tail_gone += usize::from(found.is_some());
        }
        match found {
            Some(Slot { message: Some(message), redelivered, .. }) => {
                self.unbook(&message);
                Removed::Held(Ready { message, position, redelivered })
            }
            Some(_) => {
                self.unbook_cold(self.absent);
                self.absent = self.absent.saturating_sub(1);
                self.absorb_tail();
                Removed::Cold
            }
            None => {
                let is_cold = self.cold.count > 0 && (self.cold.from..self.cold.to).contains(&position);
                if !is_cold || is_dead(position) {
                    return Removed::NotHere;
                }
                self.unbook_cold(self.cold.count);
                self.cold.count -= 1;
                self.absorb_tail();
                Removed::Cold
            }
        }
    }

    /// The same for a message that is in memory; a cold one stays.
    pub fn remove_loaded(&mut self, position: u64) -> Removed {
        let is_loaded = |slot: &Slot| slot.message.is_some() && !slot.gone;
        let among =
            |slots: &VecDeque<Slot>| index_of(slots, position).is_some_and(|i| slots.get(i).is_some_and(is_loaded));
        let in_lane = |lane: &Lane| lane.returned.get(&position).is_some_and(is_loaded) || among(&lane.ready);
        if among(&self.tail) || self.lanes.iter().any(in_lane) {
            return self.remove(position, |_| true);
        }
        Removed::NotHere
    }

    /// True when a message waits here; of cold ones of a single lane it is not known.
    pub fn has(&self, position: u64) -> bool {
        let among = |slots: &VecDeque<Slot>| {
            index_of(slots, position).is_some_and(|i| slots.get(i).is_some_and(|slot| !slot.gone))
        };
        among(&self.tail) || self.lanes.iter().any(|lane| lane.returned.contains_key(&position) || among(&lane.ready))
    }

    /// True when a message came back and waits, or is among those that could be cold.
    pub fn was_returned(&self, position: u64) -> bool {
        self.lanes.iter().any(|lane| lane.returned.contains_key(&position))
    }

    /// Takes everything.
    pub fn purge(&mut self) -> Purged {
        let count = self.count();
        let mut old = std::mem::replace(self, Self::new(self.lanes.len()));
        Purged { lanes: std::mem::take(&mut old.lanes), tail: std::mem::take(&mut old.tail), count }
    }

    /// All messages in memory with positions in a range, not in order.
    pub fn within(&self, range: Range<u64>) -> Vec<(u64, Message)> {
        let part = |queue: &VecDeque<Slot>, all: &mut Vec<(u64, Message)>| {
            let start = queue.partition_point(|s| s.position < range.start);
            let end = queue.partition_point(|s| s.position < range.end).max(start);
            all.extend(queue.range(start..end).filter_map(|s| Some((s.position, s.message.clone()?))));
        };
        let mut all = Vec::new();
        for lane in &self.lanes {
            part(&lane.ready, &mut all);
            if range.start < range.end {
                all.extend(lane.returned.range(range.clone()).filter_map(|(p, s)| Some((*p, s.message.clone()?))));
            }
        }
        part(&self.tail, &mut all);
        all
    }

    /// Which of these messages, in rising order, are still here, or are where `elsewhere` knows.
    pub fn living(&self, positions: impl Iterator<Item = u64>, elsewhere: impl Fn(u64) -> bool) -> Vec<bool> {
        if self.has_lanes() {
            return positions.map(|position| self.has(position) || elsewhere(position)).collect();
        }
        let ready = self.lanes.first().into_iter().flat_map(|lane| &lane.ready);
        let mut waiting = ready.chain(&self.tail).filter(|slot| !slot.gone).map(|slot| slot.position).peekable();
        let is_here = |position: u64| {
            while waiting.next_if(|p| *p < position).is_some() {}
            waiting.peek() == Some(&position) || self.was_returned(position) || elsewhere(position)
        };
        positions.map(is_here).collect()
    }

    /// Lets go of messages that are on disk, those below `stored`; of the next ones to be delivered `keep` bytes stay.
    /// Gives back what has to be freed, where no lock is held.
    pub fn evict(&mut self, stored: u64, keep: usize) -> Vec<Message> {
        let mut freed = Vec::new();
        if self.has_lanes() {
            self.thin_out(stored, keep, &mut freed);
        } else {
            self.forget(stored, keep, &mut freed);
        }
        self.held = self.held.saturating_sub(freed.iter().map(Message::charged_bytes).sum());
        let bytes: u64 = freed.iter().map(size).sum();
        self.bytes = self.bytes.saturating_sub(bytes);
        self.cold_bytes += bytes;
        freed
    }

    /// Messages stay in their lanes and lose their bytes.
    fn thin_out(&mut self, stored: u64, mut keep: usize, freed: &mut Vec<Message>) {
        let before = freed.len();
        for lane in self.lanes.iter_mut().rev() {
            let mut stays = |slot: &Slot| {
                let bytes = slot.message.as_ref().map_or(0, Message::charged_bytes);
                let stays = bytes <= keep;
                keep = if stays { keep - bytes } else { 0 };
                stays
            };
            let kept_returned = lane.returned.values().take_while(|slot| stays(slot)).count();
            let kept = lane.ready.iter().take_while(|slot| stays(slot)).count();
            let returned = lane.returned.values_mut().skip(kept_returned);
            freed.extend(returned.filter(|slot| slot.position < stored).filter_map(|slot| slot.message.take()));
            // What is older than the newest cold message has been let go before.
            let newest = lane.ready.iter_mut().skip(kept).rev().take_while(|slot| slot.gone || slot.message.is_some());
            freed.extend(newest.filter(|slot| slot.position < stored).filter_map(|slot| slot.message.take()));
        }
        self.absent += (freed.len() - before) as u64;
    }

    fn forget(&mut self, stored: u64, keep: usize, freed: &mut Vec<Message>) {
        let Some(lane) = self.lanes.first_mut() else { return };
        lane.sweep();
        if self.tail_gone > 0 {
            self.tail.retain(|slot| !slot.gone);
            self.tail_gone = 0;
        }
        let charged = |slot: &Slot| slot.message.as_ref().map_or(0, Message::charged_bytes);
        let returned: usize = lane.returned.values().map(charged).sum();
        if returned > keep {
            self.forget_returned(stored, freed);
        } else {
            self.forget_ready(stored, keep, freed);
        }
        let end = self.tail.partition_point(|slot| slot.position < stored);
        if end > 0 {
            self.cold.count += end as u64;
            self.cold.to = self.cold.to.max(stored);
            freed.extend(self.tail.drain(..end).filter_map(|slot| slot.message));
        }
        self.absorb_tail();
    }

    fn forget_ready(&mut self, stored: u64, keep: usize, freed: &mut Vec<Message>) {
        let Some(lane) = self.lanes.first_mut() else { return };
        let mut kept = 0;
        let from = lane.ready.iter().position(|slot| {
            kept += slot.message.as_ref().map_or(0, Message::charged_bytes);
            kept > keep
        });
        let to = lane.ready.partition_point(|slot| slot.position < stored);
        let Some(from) = from.filter(|from| *from < to) else { return };
        let unstored: Vec<Slot> = lane.ready.drain(to..).collect();
        let first = lane.ready.get(from).map_or(0, |slot| slot.position);
        freed.extend(lane.ready.drain(from..).filter_map(|slot| slot.message));
        self.tail.extend(unstored);
        self.make_cold(first, stored, (to - from) as u64);
    }

    /// Lets everything go that is on disk: many messages were returned, and their order is on disk.
    fn forget_returned(&mut self, stored: u64, freed: &mut Vec<Message>) {
        let Some(lane) = self.lanes.first_mut() else { return };
        let to = lane.ready.partition_point(|slot| slot.position < stored);
        let unstored: Vec<Slot> = lane.ready.drain(to..).collect();
        let kept = lane.returned.split_off(&stored);
        let returned = std::mem::replace(&mut lane.returned, kept);
        let count = (returned.len() + lane.ready.len()) as u64;
        let fronts = lane.ready.front().map(|slot| slot.position);
        let first = returned.keys().next().copied().into_iter().chain(fronts).min();
        freed.extend(returned.into_values().filter_map(|slot| slot.message));
        freed.extend(lane.ready.drain(..).filter_map(|slot| slot.message));
        self.tail.extend(unstored);
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

    /// Takes cold messages that have been read from disk, in order: all there are from `from` up to `next`. Those that
    /// `is_elsewhere` knows are not taken. When other messages have become cold before `from` meanwhile, nothing is taken: it
    /// has to be read again, from there. `delivered` is the position below which all have been delivered before.
    pub fn refill(
        &mut self,
        from: u64,
        messages: impl Iterator<Item = (u64, Message)>,
        next: u64,
        delivered: u64,
        is_elsewhere: impl Fn(u64) -> bool,
    ) {
        if self.cold.from != from || self.cold.count == 0 {
            return;
        }
        for (position, message) in messages {
            let is_cold = (self.cold.from..self.cold.to).contains(&position);
            if !is_cold || self.was_returned(position) || is_elsewhere(position) {
                continue;
            }
            self.held += message.charged_bytes();
            let bytes = size(&message);
            self.bytes += bytes;
            self.cold_bytes = self.cold_bytes.saturating_sub(bytes);
            self.cold.count = self.cold.count.saturating_sub(1);
            let entry = Ready { message, position, redelivered: position < delivered };
            if let Some(lane) = self.lanes.first_mut() {
                lane.ready.push_back(entry.into());
            }
        }
        self.cold.from = self.cold.from.max(next);
        self.absorb_tail();
    }

    /// Positions of cold messages that are next, in a backlog with several lanes: at most so many, but the first of each lane.
    pub fn wanted(&self, most: usize) -> Vec<u64> {
        let is_cold = |slot: &&Slot| slot.message.is_none() && !slot.gone;
        let mut wanted: Vec<u64> = Vec::new();
        for lane in self.lanes.iter().rev() {
            let room = most.saturating_sub(wanted.len());
            let ready = lane.ready.iter().filter(is_cold).take(room);
            let mut of_lane: Vec<u64> =
                ready.chain(lane.returned.values().filter(is_cold).take(room)).map(|slot| slot.position).collect();
            of_lane.sort_unstable();
            of_lane.truncate(room);
            let first = lane.first().filter(is_cold).map(|slot| slot.position);
            if room == 0 {
                wanted.extend(first);
            }
            wanted.append(&mut of_lane);
        }
        wanted
    }

    /// A message of a backlog with several lanes has been read back.
    pub fn bring_back(&mut self, position: u64, message: Message) {
        for lane in &mut self.lanes {
            let slot = match lane.returned.get_mut(&position) {
                Some(slot) => Some(slot),
                None => index_of(&lane.ready, position).and_then(|index| lane.ready.get_mut(index)),
            };
            if let Some(slot) = slot.filter(|slot| !slot.gone && slot.message.is_none()) {
                let bytes = size(&message);
                self.held += message.charged_bytes();
                self.bytes += bytes;
                self.cold_bytes = self.cold_bytes.saturating_sub(bytes);
                self.absent = self.absent.saturating_sub(1);
                slot.message = Some(message);
                break;
            }
        }
        self.absorb_tail();
    }

    /// Cold messages that cannot be found; says how many they were.
    pub fn give_up_cold(&mut self) -> u64 {
        let missing = std::mem::take(&mut self.cold.count);
        self.absorb_tail();
        missing
    }

    fn absorb_tail(&mut self) {
        if self.cold.count > 0 {
            return;
        }
        if self.absent == 0 {
            self.cold_bytes = 0;
        }
        if let (false, Some(lane)) = (self.tail.is_empty(), self.lanes.first_mut()) {
            lane.ready.append(&mut self.tail);
            lane.gone += std::mem::take(&mut self.tail_gone);
            lane.trim();
        }
    }
}
