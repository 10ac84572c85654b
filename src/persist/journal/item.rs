//! What a journal block holds: items, each one thing that has happened to a queue.
//!
//! ```text
//! item      kind u8, length u32, payload
//! 0 void    anything: a message that was settled before it was written
//! 1 route   count u32, then for each queue: its id u64, the position of the first message u64 (read, and not written any
//!           more: kind 8 is)
//! 2 message offset (varint; added to each queue's first position), flags u8 (1 delivered before it was written, 2 due,
//!           4 priority, 8 hidden: it has a header BCC), when it is due (u64, only with its flag), priority (u8, only with
//!           its flag), length of the route (varint), length of the properties (varint), then route, properties and body
//!           to the end of the item
//! 3 ack     queue u64, ranges
//! 4 requeue queue u64, count u64, ranges: messages that have been returned so many times
//! 5 horizon queue u64, position u64: messages below it may have been delivered
//! 6 purge   queue u64, position u64, ranges: everything below the position is gone but what the ranges hold (also when
//!           the queue is deleted: nothing is kept then)
//! 7 delivered queue u64, position u64: written when the node stops in order: only messages below it have been delivered,
//!           whatever horizons say before
//! 8 route   at u64: when the messages that follow were published; then as kind 1
//! 9 held back queue u64, count u64, until u64, ranges: messages that have been returned so many times, and wait until
//!           then
//! 10 seen   owner u64 (an exchange's or a queue's number in the catalog), form u8, key (16 bytes), entries: identifiers of
//!           messages that the owner has taken, as in `store/seen`
//! ranges    count (varint), then for each: start minus the end of the one before (varint), length (varint)
//! ```
//!
//! Times are milliseconds since 1970.
//!
//! A message belongs to the queues of the route item before it. The order of items of one queue does not matter: what is
//! acked anywhere in the journal is gone, also when its message is written after the ack.

use std::num::NonZeroU64;
use std::ops::Range;

use super::super::encoding::{Cursor, put_varint};
use super::super::ranges::Ranges;
use crate::message::Traits;

pub const VOID: u8 = 0;
const PLAIN_ROUTE: u8 = 1;
const MESSAGE: u8 = 2;
const ACK: u8 = 3;
const REQUEUE: u8 = 4;
const HORIZON: u8 = 5;
const PURGE: u8 = 6;
const ALL_DELIVERED: u8 = 7;
const ROUTE: u8 = 8;
const REQUEUE_UNTIL: u8 = 9;
const SEEN: u8 = 10;

/// Bytes before the payload of an item.
pub const ITEM_HEADER: usize = 5;
/// Flags of a message: it has been delivered before it was written; what of its traits is there.
const DELIVERED: u8 = 1;
const DUE: u8 = 2;
const PRIORITY: u8 = 4;
const HIDDEN: u8 = 8;

/// The parts of a stored message, in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts<'a> {
    pub route: &'a [u8],
    pub properties: &'a [u8],
    pub body: &'a [u8],
}

/// One item, in place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    Void,
    Route(Routes<'a>),
    Message {
        offset: u64,
        delivered: bool,
        traits: Traits,
        parts: Parts<'a>,
    },
    Ack {
        queue: u64,
        positions: Ranges,
    },
    /// Messages that were returned, and until when they are held back.
    Requeue {
        queue: u64,
        count: u64,
        until: Option<NonZeroU64>,
        positions: Ranges,
    },
    Horizon {
        queue: u64,
        position: u64,
    },
    Purge {
        queue: u64,
        below: u64,
        kept: Ranges,
    },
    Delivered {
        queue: u64,
        below: u64,
    },
    /// A piece of the owner's window of deduplication, in the form of [`crate::dedup::Window::encode`].
    Seen {
        owner: u64,
        window: &'a [u8],
    },
}

/// The queues of a route item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Routes<'a>(&'a [u8]);

/// Bytes of a route's payload before its queues: the time, and how many there are.
const ROUTE_FIXED: usize = 12;

impl Routes<'_> {
    /// Queue and first position of each.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        let mut cursor = Cursor(self.0);
        std::iter::from_fn(move || Some((cursor.u64()?, cursor.u64()?)))
    }
}

/// Writes items to the end of a buffer.
pub struct ItemWriter<'a>(pub &'a mut Vec<u8>);

impl ItemWriter<'_> {
    /// Starts an item; [`ItemWriter::end`] sets its length.
    fn begin(&mut self, kind: u8) -> usize {
        self.0.push(kind);
        self.0.extend_from_slice(&[0; 4]);
        self.0.len()
    }

    fn end(&mut self, payload: usize) {
        let length = u32::try_from(self.0.len() - payload).unwrap_or(u32::MAX);
        if let Some(place) = self.0.get_mut(payload - 4..payload) {
            place.copy_from_slice(&length.to_le_bytes());
        }
    }

    /// The queues of the messages that follow, the position of the first one in each, and when they were published.
    pub fn route(&mut self, at: u64, queues: impl Iterator<Item = (u64, u64)>) {
        let start = self.begin(ROUTE);
        self.0.extend_from_slice(&at.to_le_bytes());
        self.0.extend_from_slice(&[0; 4]);
        let mut count = 0_u32;
        for (queue, position) in queues {
            self.0.extend_from_slice(&queue.to_le_bytes());
            self.0.extend_from_slice(&position.to_le_bytes());
            count += 1;
        }
        if let Some(place) = self.0.get_mut(start + 8..start + ROUTE_FIXED) {
            place.copy_from_slice(&count.to_le_bytes());
        }
        self.end(start);
    }

    /// Writes a message; returns where its item begins. Its time is that of the route before it, and it counts as
    /// persistent: others are not written, unless their queues keep all.
    #[inline]
    pub fn message(&mut self, offset: u64, delivered: bool, traits: Traits, parts: Parts<'_>) -> usize {
        self.0.reserve(ITEM_HEADER + 36 + parts.route.len() + parts.properties.len() + parts.body.len());
        let start = self.begin(MESSAGE);
        put_varint(self.0, offset);
        let flag = |flag, is_set| if is_set { flag } else { 0 };
        let has_priority = traits.priority > 0;
        let of_traits = flag(DUE, traits.due.is_some()) | flag(PRIORITY, has_priority) | flag(HIDDEN, traits.hidden);
        self.0.push(flag(DELIVERED, delivered) | of_traits);
        if let Some(due) = traits.due {
            self.0.extend_from_slice(&due.get().to_le_bytes());
        }
        if has_priority {
            self.0.push(traits.priority);
        }
        put_varint(self.0, parts.route.len() as u64);
        put_varint(self.0, parts.properties.len() as u64);
        self.0.extend_from_slice(parts.route);
        self.0.extend_from_slice(parts.properties);
        self.0.extend_from_slice(parts.body);
        self.end(start);
        start - ITEM_HEADER
    }

    pub fn ack(&mut self, queue: u64, positions: impl Iterator<Item = Range<u64>>) {
        self.ranges(ACK, queue, &[], positions);
    }

    pub fn requeue(&mut self, queue: u64, count: u64, positions: impl Iterator<Item = Range<u64>>) {
        self.ranges(REQUEUE, queue, &[count], positions);
    }

    /// Messages that have been returned `count` times, and are held back until `until`.
    pub fn requeue_until(
        &mut self,
        queue: u64,
        count: u64,
        until: NonZeroU64,
        positions: impl Iterator<Item = Range<u64>>,
    ) {
        self.ranges(REQUEUE_UNTIL, queue, &[count, until.get()], positions);
    }

    pub fn horizon(&mut self, queue: u64, position: u64) {
        self.position(HORIZON, queue, position);
    }

    pub fn delivered(&mut self, queue: u64, below: u64) {
        self.position(ALL_DELIVERED, queue, below);
    }

    /// A piece of a window: the bytes that `write` appends.
    pub fn seen(&mut self, owner: u64, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.begin(SEEN);
        self.0.extend_from_slice(&owner.to_le_bytes());
        write(self.0);
        self.end(start);
    }

    /// Nothing; but the commit that it is in can be waited for.
    pub fn void(&mut self) {
        let start = self.begin(VOID);
        self.end(start);
    }

    fn position(&mut self, kind: u8, queue: u64, position: u64) {
        let start = self.begin(kind);
        self.0.extend_from_slice(&queue.to_le_bytes());
        self.0.extend_from_slice(&position.to_le_bytes());
        self.end(start);
    }

    pub fn purge(&mut self, queue: u64, below: u64, kept: &Ranges) {
        self.ranges(PURGE, queue, &[below], kept.iter());
    }

    fn ranges(&mut self, kind: u8, queue: u64, numbers: &[u64], ranges: impl Iterator<Item = Range<u64>>) {
        let start = self.begin(kind);
        self.0.extend_from_slice(&queue.to_le_bytes());
        for number in numbers {
            self.0.extend_from_slice(&number.to_le_bytes());
        }
        put_ranges(self.0, ranges);
        self.end(start);
    }
}

/// Appends ranges that rise.
pub fn put_ranges(out: &mut Vec<u8>, ranges: impl Iterator<Item = Range<u64>>) {
    let ranges: Vec<_> = ranges.collect();
    put_varint(out, ranges.len() as u64);
    let mut last = 0;
    for range in ranges {
        put_varint(out, range.start.wrapping_sub(last));
        put_varint(out, range.end - range.start);
        last = range.end;
    }
}

/// Reads ranges. Memory grows only with what has been read.
pub fn ranges(cursor: &mut Cursor<'_>) -> Option<Ranges> {
    let count = cursor.varint()?;
    let mut all = Ranges::new();
    let mut last = 0_u64;
    for _ in 0..count {
        let start = last.checked_add(cursor.varint()?)?;
        last = start.checked_add(cursor.varint()?)?;
        all.insert_range(start..last);
    }
    Some(all)
}

/// Reads items one after the other.
pub struct Items<'a> {
    rest: Cursor<'a>,
    /// The time of the route before.
    at: u64,
}

/// The bytes of a block cannot be taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadItem;

impl<'a> Items<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: Cursor(bytes), at: 0 }
    }

    fn read(&mut self) -> Option<Item<'a>> {
        let kind = self.rest.u8()?;
        let length = usize::try_from(self.rest.u32()?).ok()?;
        let mut payload = Cursor(self.rest.bytes(length)?);
        match kind {
            ROUTE => self.at = payload.u64()?,
            PLAIN_ROUTE => self.at = 0,
            _ => {}
        }
        parse(kind, &mut payload, self.at)
    }
}

fn parse<'a>(kind: u8, payload: &mut Cursor<'a>, at: u64) -> Option<Item<'a>> {
    Some(match kind {
        VOID => Item::Void,
        ROUTE | PLAIN_ROUTE => {
            let count = usize::try_from(payload.u32()?).ok()?;
            Item::Route(Routes(payload.bytes(count.checked_mul(16)?)?))
        }
        MESSAGE => {
            let offset = payload.varint()?;
            let flags = payload.u8()?;
            (flags & !(DELIVERED | DUE | PRIORITY | HIDDEN) == 0).then_some(())?;
            let due = if flags & DUE != 0 { Some(NonZeroU64::new(payload.u64()?)?) } else { None };
            let priority = if flags & PRIORITY != 0 { payload.u8()? } else { 0 };
            let route = usize::try_from(payload.varint()?).ok()?;
            let properties = usize::try_from(payload.varint()?).ok()?;
            let parts = Parts { route: payload.bytes(route)?, properties: payload.bytes(properties)?, body: payload.0 };
            let traits = Traits { at, due, priority, persistent: true, hidden: flags & HIDDEN != 0 };
            Item::Message { offset, delivered: flags & DELIVERED != 0, traits, parts }
        }
        ACK => Item::Ack { queue: payload.u64()?, positions: ranges(payload)? },
        REQUEUE | REQUEUE_UNTIL => {
            let (queue, count) = (payload.u64()?, payload.u64()?);
            let until = if kind == REQUEUE_UNTIL { Some(NonZeroU64::new(payload.u64()?)?) } else { None };
            Item::Requeue { queue, count, until, positions: ranges(payload)? }
        }
        HORIZON => Item::Horizon { queue: payload.u64()?, position: payload.u64()? },
        PURGE => Item::Purge { queue: payload.u64()?, below: payload.u64()?, kept: ranges(payload)? },
        ALL_DELIVERED => Item::Delivered { queue: payload.u64()?, below: payload.u64()? },
        SEEN => Item::Seen { owner: payload.u64()?, window: payload.0 },
        _ => return None,
    })
}

impl<'a> Iterator for Items<'a> {
    type Item = Result<Item<'a>, BadItem>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let item = self.read().ok_or(BadItem);
        if item.is_err() {
            self.rest = Cursor(&[]);
        }
        Some(item)
    }
}

/// What a block is about: the queues in it, and how many messages each has there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub queue: u64,
    pub messages: u32,
}

/// Takes voids out of a commit's items, and routes that no message follows; says which queues are left. When nothing is
/// left, nothing needs to be written. `from` is where the items begin.
pub fn tidy(bytes: &mut Vec<u8>, from: usize) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut route = OpenRoute::default();
    let (mut read, mut write) = (from, from);
    while let Some((kind, next)) = item_at(bytes, read) {
        match kind {
            VOID => {}
            ROUTE => {
                route.close(&mut entries);
                route.open(bytes.get(read..next).unwrap_or_default());
            }
            MESSAGE => {
                if route.messages == 0 {
                    // There is room: the route has been read and not been written.
                    write = route.put(bytes, write);
                }
                route.messages += 1;
                write = move_down(bytes, read..next, write);
            }
            _ => {
                let queue = bytes.get(read + ITEM_HEADER..).and_then(|payload| Cursor(payload).u64());
                entries.extend(queue.map(|queue| Entry { queue, messages: 0 }));
                write = move_down(bytes, read..next, write);
            }
        }
        read = next;
    }
    route.close(&mut entries);
    bytes.truncate(write);
    merge(&mut entries);
    entries
}

/// One entry for each queue.
fn merge(entries: &mut Vec<Entry>) {
    entries.sort_unstable_by_key(|e| e.queue);
    entries.dedup_by(|later, first| {
        let same = later.queue == first.queue;
        if same {
            first.messages = first.messages.saturating_add(later.messages);
        }
        same
    });
}

/// A route item whose messages come next. It is kept only when one of them is, and as a copy: what follows it may be moved
/// to its place before.
#[derive(Default)]
struct OpenRoute {
    item: Vec<u8>,
    queues: Vec<u64>,
    messages: u32,
}

impl OpenRoute {
    fn open(&mut self, item: &[u8]) {
        self.item.clear();
        self.item.extend_from_slice(item);
        self.queues.clear();
        self.queues
            .extend(Routes(item.get(ITEM_HEADER + ROUTE_FIXED..).unwrap_or_default()).iter().map(|(queue, _)| queue));
    }

    fn put(&self, bytes: &mut [u8], at: usize) -> usize {
        let end = at + self.item.len();
        if let Some(place) = bytes.get_mut(at..end) {
            place.copy_from_slice(&self.item);
        }
        end
    }

    fn close(&mut self, entries: &mut Vec<Entry>) {
        let messages = std::mem::take(&mut self.messages);
        if messages > 0 {
            entries.extend(self.queues.iter().map(|queue| Entry { queue: *queue, messages }));
        }
    }
}

/// Kind and end of the item at `at`.
fn item_at(bytes: &[u8], at: usize) -> Option<(u8, usize)> {
    let mut cursor = Cursor(bytes.get(at..)?);
    let kind = cursor.u8()?;
    let end = at + ITEM_HEADER + usize::try_from(cursor.u32()?).ok()?;
    (end <= bytes.len()).then_some((kind, end))
}

fn move_down(bytes: &mut [u8], range: Range<usize>, to: usize) -> usize {
    let length = range.len();
    if range.start != to {
        bytes.copy_within(range, to);
    }
    to + length
}

#[cfg(test)]
mod tests;
