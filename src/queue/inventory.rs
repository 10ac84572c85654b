//! Looking into a queue, page by page and without any effect on it; and taking single messages out.
//!
//! [`Queue::peek`] lists what waits in order of positions: what is in memory is copied from there, what is cold is read from
//! the segments, with the queue's lock free. A page is bounded by messages and bytes; whoever wants more asks from
//! [`Peeked::next`] on. What has been settled by the time that a page is read is not in it. [`Queue::discard`] and
//! [`Queue::cancel_delayed`] read first, and then take out what still waits; the journal has it when they return. All of them
//! block on the disk.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::engine::backlog::Waiting;
use super::local::{Leaving, Queue, State, Wakes};
use super::stored::held;
use crate::frames::Properties;
use crate::message::{Message, headers};
use crate::persist::journal::Waiter;
use crate::persist::segment::{OneByOne, Place, ReadError, Span, read_span};

/// Most messages of a page.
pub const MOST: usize = 1000;

/// Bytes that are read at a time.
const READ: usize = 512 << 10;
/// Bytes of segments that are read for a page, about: twice the largest segment that is usual.
const MOST_READ: u64 = 32 << 20;
/// How often a page is read anew because segments were rewritten meanwhile.
const ATTEMPTS: usize = 3;
/// Bytes of a page in which a message is looked for.
const SEARCHED: usize = 4 << 20;
/// Longest wait for the journal; afterwards the change is as safe as any other that nobody waits for.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Which messages are wanted.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// The first position; 0 for the first message.
    pub from: u64,
    /// Most messages; at most [`MOST`].
    pub most: usize,
    /// Bytes of messages, about; the first one is given whatever its size.
    pub bytes: usize,
}

/// A message that waits.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its name in this queue: given in order of publishing and never used again.
    pub position: u64,
    pub message: Message,
    pub redelivered: bool,
}

impl Listed {
    /// The properties as clients see them.
    pub fn properties(&self) -> Cow<'_, [u8]> {
        let view = self.message.view();
        if view.hidden { headers::visible(view.properties).into() } else { view.properties.into() }
    }

    fn has_id(&self, id: &[u8]) -> bool {
        Properties::parse(self.message.view().properties).is_ok_and(|properties| properties.message_id == Some(id))
    }
}

/// A page of a queue.
#[derive(Debug, Default)]
pub struct Peeked {
    pub messages: Vec<Listed>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<u64>,
}

/// Why a queue cannot be looked into.
#[derive(Debug, thiserror::Error)]
pub enum PeekError {
    #[error("the queue is damaged and not served: {0}")]
    Damaged(Arc<str>),
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// What is found under the lock.
struct Plan {
    waiting: Vec<Waiting>,
    /// Where those of `waiting` are that are cold, and whether they have been delivered before.
    places: Vec<(Place, bool)>,
    /// Positions between which cold messages are found in segments.
    cold: Option<(u64, u64)>,
    /// Where the rest begins of what is in memory, when the page does not reach its end.
    rest: Option<u64>,
    /// Everything below has been delivered before.
    delivered: u64,
}

impl Queue {
    /// A page of what waits.
    ///
    /// # Errors
    /// When what is on disk is damaged or cannot be read.
    pub fn peek(&self, page: Page) -> Result<Peeked, PeekError> {
        let page = Page { most: page.most.clamp(1, MOST), ..page };
        let mut attempt = 1;
        loop {
            match self.peek_once(page) {
                Err(PeekError::Read(error)) if attempt < ATTEMPTS => {
                    tracing::debug!(target: "leveret::queue", "a page is read again: {error}");
                    attempt += 1;
                }
                result => return result,
            }
        }
    }

    /// Whether messages leave in another order than that of their positions.
    pub fn has_priorities(&self) -> bool {
        self.state.lock().engine.has_priorities()
    }

    /// A page of what waits in a queue with priorities, in the order of delivery: `from` and [`Peeked::next`] are how many
    /// messages stand before it.
    ///
    /// # Errors
    /// As [`Queue::peek`].
    pub fn peek_in_order(&self, page: Page) -> Result<Peeked, PeekError> {
        let page = Page { most: page.most.clamp(1, MOST), ..page };
        let behind = usize::try_from(page.from).unwrap_or(usize::MAX);
        let (mut waiting, places) = {
            let state = self.state.lock();
            if state.deleted {
                return Ok(Peeked::default());
            }
            if let Some(damage) = &state.unusual.damage {
                return Err(PeekError::Damaged(Arc::clone(damage)));
            }
            let waiting = state.engine.ranked(behind, page.most + 1);
            let cold = waiting.iter().take(page.most).filter(|one| one.message.is_none());
            let place = |one: &Waiting| Some((state.shelf.as_ref()?.place(one.position)?, one.redelivered));
            let places: Vec<_> = cold.filter_map(place).collect();
            (waiting, places)
        };
        let has_more = waiting.len() > page.most;
        waiting.truncate(page.most);
        let (mut read, mut found, mut bytes) = (Vec::new(), Vec::with_capacity(waiting.len()), 0);
        self.read_places(places, page, &mut read)?;
        for Waiting { position, message, redelivered } in waiting {
            let held = message.map(|message| Listed { position, message, redelivered });
            let listed = held.or_else(|| read.iter().find(|listed| listed.position == position).cloned());
            bytes += listed.as_ref().map_or(0, |listed| listed.message.charged_bytes());
            if listed.is_none() || (bytes > page.bytes && !found.is_empty()) {
                // The next page begins here. What is not in memory and could not be read was taken meanwhile.
                let next = page.from.saturating_add((found.len() as u64).max(1));
                return Ok(Peeked { messages: found, next: Some(next) });
            }
            found.extend(listed);
        }
        let next = has_more.then(|| page.from.saturating_add(found.len() as u64));
        Ok(Peeked { messages: found, next })
    }

    /// The message at a position, if it waits.
    ///
    /// # Errors
    /// As [`Queue::peek`].
    pub fn look_at(&self, position: u64) -> Result<Option<Listed>, PeekError> {
        let page = self.peek(Page { from: position, most: 1, bytes: 0 })?;
        Ok(page.messages.into_iter().find(|listed| listed.position == position))
    }

    /// Throws away the messages at these positions that still wait; says how many.
    ///
    /// # Errors
    /// As [`Queue::peek`]; what came before is thrown away.
    pub fn discard(&self, positions: &[u64]) -> Result<usize, PeekError> {
        let mut count = 0;
        for position in positions {
            count += self.throw_away(self.look_at(*position)?.into_iter());
        }
        self.settle_in_journal();
        Ok(count)
    }

    /// Throws away all waiting messages with this `message-id`; says how many. For the queue of a delayed exchange.
    ///
    /// # Errors
    /// As [`Queue::peek`]; what came before is thrown away.
    pub fn cancel_delayed(&self, message_id: &[u8]) -> Result<usize, PeekError> {
        let (mut count, mut next) = (0, Some(0));
        while let Some(from) = next {
            let page = self.peek(Page { from, most: MOST, bytes: SEARCHED })?;
            count += self.throw_away(page.messages.into_iter().filter(|listed| listed.has_id(message_id)));
            next = page.next;
        }
        self.settle_in_journal();
        Ok(count)
    }

    /// Takes messages out to be moved. Each is in transit until [`Queue::note_arrival`] or [`Queue::keep_lifted`].
    pub(crate) fn lift(&self, listed: Vec<Listed>) -> Vec<Listed> {
        let mut state = self.state.lock();
        if state.deleted {
            return Vec::new();
        }
        let State { engine, shelf, .. } = &mut *state;
        let is_dead = |position| shelf.as_ref().is_some_and(|shelf| shelf.is_dead(position));
        listed.into_iter().filter(|one| engine.lift(one.position, one.message.clone(), is_dead)).collect()
    }

    /// A message that was to be moved stays.
    pub(crate) fn keep_lifted(&self, position: u64) {
        let (mut wakes, mut leaving) = (Wakes::default(), Leaving::default());
        let mut state = self.state.lock();
        if !state.deleted {
            state.engine.stay(position);
            self.look_at_clock(&mut state);
            self.pump(&mut state, &mut wakes, &mut leaving);
        }
        drop(state);
        self.tell_journal(leaving, &mut wakes);
        wakes.run();
    }

    fn throw_away(&self, listed: impl Iterator<Item = Listed>) -> usize {
        let (mut wakes, mut leaving) = (Wakes::default(), Leaving::default());
        let mut state = self.state.lock();
        if state.deleted {
            return 0;
        }
        let State { engine, shelf, .. } = &mut *state;
        let is_dead = |position| shelf.as_ref().is_some_and(|shelf| shelf.is_dead(position));
        let count = listed.filter(|one| engine.throw_away(one.position, one.message.clone(), is_dead)).count();
        self.see_off(&mut state, &mut wakes, &mut leaving);
        drop(state);
        self.tell_journal(leaving, &mut wakes);
        wakes.run();
        count
    }

    /// Waits until the journal has on disk what it has been told.
    fn settle_in_journal(&self) {
        let Some(store) = self.shared.store.as_ref().filter(|_| self.is_durable()) else { return };
        let done = Arc::new(Done::default());
        let waiter: Arc<dyn Waiter> = Arc::clone(&done) as Arc<dyn Waiter>;
        // An ack of nothing: something has to be in the commit that is waited for.
        let mut items = Vec::new();
        crate::persist::journal::item::ItemWriter(&mut items).ack(self.spec.store_id, std::iter::empty());
        let commit = store.journal.append(&items, Some(&waiter)).commit;
        done.wait(|| store.journal.committed() >= commit);
    }

    fn peek_once(&self, page: Page) -> Result<Peeked, PeekError> {
        let Some(Plan { waiting, places, cold, rest, delivered }) = self.plan(page)? else {
            return Ok(Peeked::default());
        };
        let mut found: Vec<Listed> = Vec::with_capacity(waiting.len());
        for Waiting { position, message, redelivered } in waiting {
            found.extend(message.map(|message| Listed { position, message, redelivered }));
        }
        let mut ends: Vec<u64> = rest.into_iter().collect();
        if let Some((from, to)) = cold {
            let mut read = Vec::new();
            ends.extend(self.read_cold(from, to, page, &mut read)?);
            let state = self.state.lock();
            let is_dead = |position| state.shelf.as_ref().is_some_and(|shelf| shelf.is_dead(position));
            let living = read.into_iter().filter(|(position, _)| state.engine.waits(*position, is_dead));
            let listed = |(position, message)| Listed { position, message, redelivered: position < delivered };
            found.extend(living.map(listed));
        }
        ends.extend(self.read_places(places, page, &mut found)?);
        found.sort_by_key(|listed| listed.position);
        // What has come back to memory meanwhile may have been found twice.
        found.dedup_by_key(|listed| listed.position);
        let end = ends.into_iter().min();
        found.retain(|listed| end.is_none_or(|end| listed.position < end));
        Ok(cut(found, page, end))
    }

    fn plan(&self, page: Page) -> Result<Option<Plan>, PeekError> {
        let state = self.state.lock();
        if state.deleted {
            return Ok(None);
        }
        if let Some(damage) = &state.unusual.damage {
            return Err(PeekError::Damaged(Arc::clone(damage)));
        }
        let engine = &state.engine;
        // One more tells whether there are more.
        let mut waiting = engine.page(page.from, page.most + 1);
        let rest = waiting.get(page.most).map(|first| first.position);
        waiting.truncate(page.most);
        let shelf = state.shelf.as_ref();
        let cold_ones = waiting.iter().filter(|one| one.message.is_none());
        let places = cold_ones.filter_map(|one| Some((shelf?.place(one.position)?, one.redelivered))).collect();
        let range = engine.cold();
        let (from, to) = (range.from.max(page.from), range.to.min(rest.unwrap_or(u64::MAX)));
        let cold = (range.count > 0 && from < to).then_some((from, to));
        Ok(Some(Plan { waiting, places, cold, rest, delivered: engine.delivered() }))
    }

    /// Reads what the segments have between two positions, as much of it as goes into a page. Says where it has stopped, if
    /// that is before the end.
    fn read_cold(
        &self,
        from: u64,
        to: u64,
        page: Page,
        read: &mut Vec<(u64, Message)>,
    ) -> Result<Option<u64>, ReadError> {
        let Some(store) = &self.shared.store else { return Ok(None) };
        let (mut at, mut bytes, mut looked_at, mut buffer) = (from, 0, 0, Vec::new());
        let mut span: Option<Span> = None;
        while at < to {
            let Some(mut part) = span.take().or_else(|| self.span_from(at)) else { return Ok(None) };
            let before = part.offset;
            let (mut is_full, mut is_over) = (false, false);
            // Records that are dead, or stand before the page, cost reading, too.
            let offset = read_span(store.disk(), &part, READ, &mut buffer, |record| {
                is_over = record.position >= to;
                if !is_over && record.position >= at && !(part.old && record.transient) {
                    bytes += record.length;
                    read.push((record.position, held(&record, store.memory())));
                    at = record.position + 1;
                    is_full = read.len() > page.most || bytes > page.bytes;
                }
                !is_full && !is_over
            })?;
            part.offset = offset;
            looked_at += offset.saturating_sub(before);
            if is_over {
                return Ok(None);
            }
            if is_full || looked_at > MOST_READ {
                return Ok(Some(at).filter(|at| *at < to));
            }
            if part.offset < part.end {
                span = Some(part);
            } else {
                at = self.after(&part, at);
            }
        }
        Ok(None)
    }

    /// The part of a segment with the messages from a position on.
    fn span_from(&self, at: u64) -> Option<Span> {
        let state = self.state.lock();
        let shelf = state.shelf.as_ref()?;
        let mut span = shelf.plan_read(at)?;
        if let Some(place) = shelf.place(at).filter(|place| place.id.number == span.id.number) {
            span.offset = span.offset.max(place.offset);
        }
        Some(span)
    }

    /// Where the next segment begins after one that has been read; the same position when that one has gone.
    fn after(&self, span: &Span, at: u64) -> u64 {
        let state = self.state.lock();
        let mut segments = state.shelf.iter().flat_map(|shelf| shelf.segments());
        segments.find(|segment| segment.number == span.id.number).map_or(at, |segment| at.max(segment.last + 1))
    }

    /// Reads cold messages one by one. Says where it has stopped, if that is before the end.
    fn read_places(
        &self,
        places: Vec<(Place, bool)>,
        page: Page,
        found: &mut Vec<Listed>,
    ) -> Result<Option<u64>, ReadError> {
        let Some(store) = &self.shared.store else { return Ok(None) };
        let (mut bytes, mut reader) = (0, OneByOne::new(store.disk()));
        for (place, redelivered) in places {
            if bytes > page.bytes {
                return Ok(Some(place.position));
            }
            let record = reader.read(&place)?;
            bytes += record.length;
            found.push(Listed { position: place.position, message: held(&record, store.memory()), redelivered });
        }
        Ok(None)
    }
}

/// As much of what was found as goes into a page; `end` is where the next one begins at the latest.
fn cut(mut found: Vec<Listed>, page: Page, end: Option<u64>) -> Peeked {
    let (mut count, mut bytes) = (0, 0);
    for listed in found.iter().take(page.most) {
        bytes += listed.message.charged_bytes();
        if count > 0 && bytes > page.bytes {
            break;
        }
        count += 1;
    }
    let next = found.get(count).map(|first| first.position).or(end);
    found.truncate(count);
    Peeked { messages: found, next }
}

/// Woken when the journal has done a commit.
#[derive(Default)]
struct Done {
    woken: Mutex<bool>,
    bell: Condvar,
}

impl Done {
    fn wait(&self, is_done: impl Fn() -> bool) {
        let until = Instant::now() + LONGEST_WAIT;
        let mut woken = self.woken.lock();
        while !is_done() && !self.bell.wait_until(&mut woken, until).timed_out() {}
    }
}

impl Waiter for Done {
    fn wake(&self) {
        *self.woken.lock() = true;
        self.bell.notify_all();
    }
}

#[cfg(test)]
mod tests;
