//! How a queue leaves memory and comes back: what the store asks of it, and what it asks of the store.
//!
//! The store's keeper empties old journal files: [`Resident::plan_flush`] gives it the messages that are still in them,
//! and [`Resident::finish_flush`] takes up that they are in segments now; most of them then leave memory. When the engine
//! stalls because what comes next is cold, the queue asks one of the store's readers to come by ([`Resident::load`]), at
//! most one at a time; when it stalls at the horizon, it has the journal write a new one and goes on when that is done.

use std::sync::Arc;
use std::time::Instant;

use super::engine::Stall;
use super::local::{Leaving, Queue, State, Wakes};
use crate::frames::Refusal;
use crate::message::{Layout, Message};
use crate::persist::index::Indexed;
use crate::persist::journal::Waiter;
use crate::persist::journal::item::ItemWriter;
use crate::persist::resident::{Extent, Flush, Plan, Resident};
use crate::persist::segment::{OneByOne, Place, ReadError, Record, Span, read_span};
use crate::persist::shelf::{Rewrite, Shelf, Written};
use crate::persist::state::QueueState;
use crate::stats::Kind;

/// Bytes of a backlog that stay in memory when the rest of it leaves.
const KEEP: usize = 512 << 10;
/// Bytes that are read at a time.
const READ: usize = 512 << 10;
/// Messages that are read one by one before others get the queue's lock.
const ONE_BY_ONE: usize = 512;
/// Bytes that are read one by one before others get the queue's lock, about.
const MOST_READ: usize = 8 << 20;
/// Messages left in memory at which the next ones are read.
const LOW: usize = 2048;

/// A message as it is read from a segment, with its place in the queue.
type Loaded = (u64, bool, Message);

impl Queue {
    /// Lets the store find it.
    pub(super) fn register(&self) {
        if let Some(store) = &self.shared.store {
            let me = self.me.clone();
            store.register(self.resident_id(), me);
        }
    }

    /// The store's name for it. Queues that do not survive are named by their number.
    fn resident_id(&self) -> u64 {
        if self.is_durable() { self.spec.store_id } else { self.id }
    }

    /// Sees to it that a stall ends, and that the next one is prevented.
    pub(super) fn see_to(&self, state: &mut State, stall: Option<Stall>) {
        let Some(store) = self.shared.store.as_ref().filter(|_| !state.resting) else { return };
        let runs_low = state.engine.has_cold()
            && state.engine.ahead_count() < LOW
            && (state.engine.consumer_count() > 0 || stall.is_some());
        if stall == Some(Stall::Cold) || runs_low || (state.engine.has_cold() && state.engine.needs_first()) {
            self.load_soon(state);
        }
        let horizon = state.engine.horizon();
        if (stall == Some(Stall::Horizon) || state.engine.nears_horizon()) && state.unusual.horizon_wanted <= horizon {
            let next = state.engine.next_horizon();
            state.unusual.horizon_wanted = next;
            let mut items = Vec::new();
            ItemWriter(&mut items).horizon(self.spec.store_id, next);
            if let Some(me) = self.me.upgrade() {
                let waiter: Arc<dyn Waiter> = me;
                state.unusual.horizon_commit = store.journal.append(&items, Some(&waiter)).commit;
            }
        }
    }

    /// Has a reader bring what is wanted from disk.
    pub(super) fn load_soon(&self, state: &mut State) {
        let cannot = state.loading || state.resting || state.unusual.damage.is_some();
        if let (Some(store), false) = (&self.shared.store, cannot) {
            state.loading = true;
            store.load_soon(self.me.clone());
        }
    }

    /// Has `waiter` woken when a `basic.get` that could not be answered may be tried again.
    pub fn wait(&self, waiter: Arc<dyn Waiter>) {
        let mut state = self.state.lock();
        let busy = state.loading || state.unusual.horizon_wanted > state.engine.horizon();
        if busy && !state.deleted && state.unusual.damage.is_none() {
            if !state.unusual.getters.iter().any(|g| Arc::ptr_eq(g, &waiter)) {
                state.unusual.getters.push(waiter);
            }
            return;
        }
        drop(state);
        waiter.wake();
    }

    /// Delivers after something has been read or written, and lets waiting `basic.get`s be tried again.
    fn go_on(&self, mut state: parking_lot::MutexGuard<'_, State>) {
        let (mut wakes, mut leaving) = (Wakes::default(), Leaving::default());
        self.look_at_clock(&mut state);
        self.pump(&mut state, &mut wakes, &mut leaving);
        let getters = std::mem::take(&mut state.unusual.getters);
        drop(state);
        self.tell_journal(leaving, &mut wakes);
        wakes.run();
        for getter in getters {
            getter.wake();
        }
    }

    /// Has the files of a deleted queue removed.
    pub(super) fn forget_files(&self) {
        let Some(store) = &self.shared.store else { return };
        let dir = self.state.lock().shelf.as_deref().map(Shelf::dir);
        // Also without a directory: the manifest may know the queue.
        store.forget(self.resident_id(), self.is_durable(), dir);
    }

    /// What clients are told who want to use a damaged queue.
    pub fn refuse_damaged(&self, damage: &str) -> Refusal {
        let (name, vhost) = (&self.spec.name, &self.spec.vhost);
        Refusal::not_found(format!("queue '{name}' in vhost '{vhost}' is damaged and not served: {damage}"))
    }

    /// Has the operator and the manifest know of damage that was found at start.
    pub fn tell_of_damage(&self) {
        if let (Some(damage), Some(store)) = (self.damage(), &self.shared.store) {
            self.log_damage(&damage);
            store.note_changed(self.resident_id());
        }
    }

    fn log_damage(&self, what: &str) {
        let (name, vhost) = (&self.spec.name, &self.spec.vhost);
        tracing::error!(
            target: "leveret::store",
            "queue '{name}' in vhost '{vhost}' is not served any more: {what}. `leveret store check` shows all damage, \
             `leveret store accept-loss` gives up what is lost."
        );
    }

    /// The queue is not served any more until the operator has decided.
    fn set_damage(&self, what: &str) {
        self.log_damage(what);
        let mut state = self.state.lock();
        state.unusual.damage = Some(what.into());
        state.loading = false;
        let consumers = state.engine.take_consumers();
        let getters = std::mem::take(&mut state.unusual.getters);
        drop(state);
        for consumer in &consumers {
            consumer.outlet.cancelled(consumer, self.id);
        }
        for getter in getters {
            getter.wake();
        }
        if let Some(store) = &self.shared.store {
            store.note_changed(self.resident_id());
        }
    }

    /// Reads the next piece of a span.
    fn read(&self, span: &Span, from: u64) -> Result<(Vec<Loaded>, u64, u64), ReadError> {
        let Some(store) = &self.shared.store else { return Ok((Vec::new(), span.end, from)) };
        let (mut loaded, mut next) = (Vec::new(), from);
        let mut buffer = Vec::new();
        let begun = Instant::now();
        let offset = read_span(store.disk(), span, READ, &mut buffer, |record| {
            next = next.max(record.position + 1);
            if record.position >= from && !(span.old && record.transient) {
                loaded.push((record.position, record.transient, held(&record, store.memory())));
            }
            true
        })?;
        store.reading.note(offset.saturating_sub(span.offset), begun.elapsed());
        Ok((loaded, offset, next))
    }

    /// Takes up what has been read of a span; the rest follows when it is needed.
    fn take_loaded(&self, span: &Span, from: u64, (loaded, offset, next): (Vec<Loaded>, u64, u64)) {
        let mut state = self.state.lock();
        state.loading = false;
        if state.deleted {
            return;
        }
        state.count(Kind::DiskReads, loaded.len() as u64);
        let State { engine, shelf, .. } = &mut *state;
        let Some(shelf) = shelf else { return };
        if !shelf.has(span) {
            // Rewritten or emptied meanwhile: whatever is still wanted is read anew.
            return self.go_on(state);
        }
        shelf.note_read(span, offset, next);
        let dead = shelf.dead();
        let living = loaded.into_iter().filter(|(position, ..)| !dead.contains(*position));
        engine.refill(from, living.map(|(position, _, message)| (position, message)), next);
        self.go_on(state);
    }

    /// What should be cold cannot be found.
    fn lost_cold(&self, mut state: parking_lot::MutexGuard<'_, State>) {
        let missing = state.engine.give_up_cold();
        state.loading = false;
        if missing == 0 {
            return self.go_on(state);
        }
        drop(state);
        self.set_damage(&format!("{missing} messages that should be in its segments are not there"));
    }
}

/// A message read from a segment, in memory again.
pub(super) fn held(record: &Record<'_>, memory: &'static crate::message::memory::MemoryAccount) -> Message {
    let end = |parts: &[&[u8]]| u32::try_from(parts.iter().map(|p| p.len()).sum::<usize>()).unwrap_or(u32::MAX);
    let parts = record.parts;
    let route = end(&[parts.route]);
    let properties = end(&[parts.route, parts.properties]);
    let body = end(&[record.content]);
    let layout =
        Layout { route: 0..route, properties: route..properties, body: properties..body, traits: record.traits };
    Message::new(record.content, layout, memory)
}

impl Resident for Queue {
    fn is_durable(&self) -> bool {
        Queue::is_durable(self)
    }

    fn held_bytes(&self) -> usize {
        self.state.lock().engine.held_bytes()
    }

    fn plan_flush(&self, extent: Extent) -> Plan {
        let Some(store) = self.shared.store.as_ref() else { return Plan::Nothing };
        let mut state = self.state.lock();
        if state.deleted || state.flushing {
            return Plan::Nothing;
        }
        let next = state.engine.next_position();
        let later = match extent {
            Extent::All => state.marks.len(),
            Extent::UpTo(commit) | Extent::UpToAtOnce(commit) => state.marks.partition_point(|(c, _)| *c <= commit),
        };
        let mut upto = state.marks.get(later).map_or(next, |(_, position)| *position);
        let (keeps, id) = (self.keeping(), self.resident_id());
        let State { engine, shelf, flushing, marks, .. } = &mut *state;
        let shelf = shelf.get_or_insert_with(|| Box::new(store.new_transient_shelf(id)));
        let from = shelf.flushed();
        let mut messages = engine.messages_within(from..upto);
        let committed = store.journal.committed();
        let is_open =
            |message: &Message| self.keeps(message) && message.ticket().is_none_or(|ticket| ticket.commit > committed);
        let open = messages.iter().position(|(_, message)| is_open(message));
        match (open, extent) {
            (None, _) | (_, Extent::UpToAtOnce(_)) => drop(marks.drain(..later)),
            (Some(_), Extent::UpTo(_)) => return Plan::NotYet,
            (Some(open), Extent::All) => {
                upto = messages.get(open).map_or(upto, |(position, _)| *position);
                messages.truncate(open);
            }
        }
        if messages.is_empty() {
            if upto > from {
                // All of it was settled: nothing that is written of it later must bring it back.
                shelf.add(upto, &[], &[]);
            }
            return Plan::Nothing;
        }
        let (segment, offset) = shelf.append_at(store.segment_size());
        let (dir, next_segment) = (shelf.dir(), shelf.number_after(segment));
        shelf.begin_writing(segment);
        *flushing = true;
        let (index_end, indexed) =
            (shelf.index_end(segment), if engine.has_priorities() { Indexed::All } else { Indexed::Due });
        Plan::Write(Flush { queue: id, keeps, dir, upto, messages, segment, offset, index_end, indexed, next_segment })
    }

    fn finish_flush(&self, upto: u64, written: &[Written]) {
        let mut state = self.state.lock();
        state.flushing = false;
        if state.deleted {
            return;
        }
        let State { engine, shelf, .. } = &mut *state;
        let Some(shelf) = shelf else { return };
        let positions = written.iter().flat_map(|w| w.records.iter().map(|record| record.position));
        let lives = engine.living(positions);
        shelf.add(upto, written, &lives);
        let freed = engine.evict(shelf.flushed(), KEEP);
        drop(state);
        drop(freed);
    }

    fn abandon_flush(&self) {
        let mut state = self.state.lock();
        state.flushing = false;
        if let Some(shelf) = &mut state.shelf {
            shelf.abandon_writing();
        }
    }

    fn evict(&self, keep: usize) {
        let mut state = self.state.lock();
        let State { engine, shelf, .. } = &mut *state;
        let freed = shelf.as_ref().map(|shelf| engine.evict(shelf.flushed(), keep));
        drop(state);
        drop(freed);
    }

    fn rest(&self, items: &mut Vec<u8>) {
        let mut state = self.state.lock();
        if !Queue::is_durable(self) || state.deleted {
            return;
        }
        state.resting = true;
        let delivered = state.engine.delivered();
        if state.engine.rest() || state.unusual.horizon_wanted > delivered {
            state.unusual.horizon_wanted = delivered;
            ItemWriter(items).delivered(self.spec.store_id, delivered);
        }
    }

    fn state(&self) -> (Option<Vec<u8>>, Vec<std::path::PathBuf>) {
        let mut state = self.state.lock();
        if state.deleted {
            return (None, Vec::new());
        }
        let State { engine, shelf, unusual, .. } = &mut *state;
        let Some(shelf) = shelf else { return (None, Vec::new()) };
        let flushed = shelf.flushed();
        let encoded = QueueState {
            vhost: &self.spec.vhost,
            name: &self.spec.name,
            next_position: engine.next_position(),
            // A horizon on its way counts: its record may be in a file that is used again now.
            horizon: engine.horizon().max(engine.delivered()).max(unusual.horizon_wanted),
            returns: engine.returns().iter().filter(|(p, _)| **p < flushed).map(|(p, n)| (*p, *n)).collect(),
            held_back: engine.held_back_until().filter(|(p, _)| *p < flushed).collect(),
            damage: unusual.damage.as_deref().map(|text| vec![text.to_owned()]).unwrap_or_default(),
        }
        .encode(shelf);
        (Some(encoded), shelf.take_gone())
    }

    fn is_changed(&self) -> bool {
        let state = self.state.lock();
        state.shelf.as_deref().is_some_and(Shelf::has_gone)
    }

    fn plan_rewrite(&self) -> Option<Rewrite> {
        let store = self.shared.store.as_ref()?;
        let state = self.state.lock();
        if state.deleted || state.unusual.damage.is_some() || state.flushing {
            return None;
        }
        state.shelf.as_ref()?.rewritable(store.segment_size())
    }

    fn finish_rewrite(&self, rewrite: &Rewrite, written: &Written) {
        let mut state = self.state.lock();
        if state.deleted {
            return;
        }
        if let Some(shelf) = &mut state.shelf {
            shelf.replace(rewrite, written);
        }
    }

    fn is_dead(&self, position: u64) -> bool {
        self.state.lock().shelf.as_ref().is_some_and(|shelf| shelf.is_dead(position))
    }

    fn load(&self) {
        let mut state = self.state.lock();
        let cold = state.engine.cold();
        if state.unusual.damage.is_some() {
            // Nothing of it is served.
            state.loading = false;
            let getters = std::mem::take(&mut state.unusual.getters);
            drop(state);
            return getters.iter().for_each(|getter| getter.wake());
        }
        if state.deleted || !state.engine.has_cold() && !state.engine.has_unread() {
            state.loading = false;
            return self.go_on(state);
        }
        // Consumers do not wait until everything has been read that leaves.
        state.unread_first = !state.unread_first;
        if cold.count == 0 || (state.engine.has_unread() && (state.unread_first || state.engine.consumer_count() == 0))
        {
            return self.load_places(state);
        }
        let Some(span) = state.shelf.as_mut().and_then(|shelf| shelf.plan_read(cold.from)) else {
            return self.lost_cold(state);
        };
        drop(state);
        match self.read(&span, cold.from) {
            Ok(read) => self.take_loaded(&span, cold.from, read),
            Err(error) => self.read_failed(&span, &error),
        }
    }

    fn horizon_is_written(&self) {
        let Some(store) = &self.shared.store else { return };
        let mut state = self.state.lock();
        if state.unusual.horizon_commit <= store.journal.committed() && !state.resting {
            let horizon = state.unusual.horizon_wanted;
            state.engine.set_horizon(horizon);
        }
        self.go_on(state);
    }

    fn damaged(&self, what: &str) {
        self.set_damage(what);
    }
}

impl Queue {
    /// Reads messages that are wanted one by one: those that leave, and in a queue with priorities those that are next.
    fn load_places(&self, mut state: parking_lot::MutexGuard<'_, State>) {
        let State { engine, shelf, .. } = &mut *state;
        let mut wanted: Vec<(u64, bool)> = engine.take_unread(ONE_BY_ONE).into_iter().map(|p| (p, true)).collect();
        let room = ONE_BY_ONE - wanted.len();
        wanted.extend(engine.wanted(room).into_iter().map(|position| (position, false)));
        let order: Vec<u64> = wanted.iter().map(|(position, _)| *position).collect();
        let mut places = Vec::with_capacity(wanted.len());
        let mut missing = 0_u64;
        for (position, leaves) in wanted {
            match shelf.as_ref().and_then(|shelf| shelf.place(position)) {
                Some(place) => places.push((place, leaves)),
                // What leaves may have been purged meanwhile.
                None if leaves => drop(engine.arrived(position)),
                None => missing += 1,
            }
        }
        drop(state);
        if missing > 0 {
            return self.set_damage(&format!("{missing} messages that should be in its segments are not there"));
        }
        // In the order of the disk.
        places.sort_unstable_by_key(|(place, _)| (place.id.number, place.offset));
        let (mut read, mut failed) = (Vec::with_capacity(places.len()), Vec::new());
        let Some(store) = &self.shared.store else { return };
        let mut reader = OneByOne::new(store.disk());
        let begun = Instant::now();
        let (mut bytes, mut later) = (0, Vec::new());
        let mut take = |record: &Record<'_>, leaves, bytes: &mut usize| {
            *bytes += record.length;
            read.push((record.position, leaves, held(record, store.memory())));
        };
        // First what the system has in memory; the disk, which does many things at a time, is told of the others.
        places.retain(|(place, leaves)| {
            let found = if bytes > MOST_READ { Ok(None) } else { reader.read_now(place) };
            let Ok(Some(record)) = found else { return true };
            take(&record, *leaves, &mut bytes);
            false
        });
        for (place, leaves) in places {
            if bytes > MOST_READ {
                later.extend(leaves.then_some(place.position));
                continue;
            }
            match reader.read(&place) {
                Ok(record) => take(&record, leaves, &mut bytes),
                Err(error) => failed.push((place, leaves, error)),
            }
        }
        store.reading.note(bytes as u64, begun.elapsed());
        // They leave in the order in which they were asked for.
        later.sort_by_key(|position| std::cmp::Reverse(order.iter().position(|p| p == position)));
        self.take_places(read, later, failed);
    }

    fn take_places(&self, read: Vec<(u64, bool, Message)>, later: Vec<u64>, failed: Vec<(Place, bool, ReadError)>) {
        let mut state = self.state.lock();
        state.loading = false;
        if state.deleted {
            return;
        }
        state.count(Kind::DiskReads, read.len() as u64);
        let State { engine, shelf, .. } = &mut *state;
        for (position, leaves, message) in read {
            if leaves {
                engine.take_unread_up(position, message);
            } else {
                engine.bring_back(position, message);
            }
        }
        later.into_iter().for_each(|position| engine.leave_unread(position));
        let mut trouble = None;
        for (place, leaves, error) in failed {
            if leaves {
                engine.leave_unread(place.position);
            }
            // Rewritten or emptied meanwhile: it is looked for again.
            if shelf.as_ref().is_some_and(|shelf| shelf.has_place(&place)) {
                trouble = Some(error);
            }
        }
        match trouble {
            None => self.go_on(state),
            Some(error @ ReadError::Damaged { .. }) => {
                drop(state);
                self.set_damage(&error.to_string());
            }
            Some(error @ ReadError::Io { .. }) => {
                tracing::error!(target: "leveret::store", "{error}. It is tried again.");
                state.loading = true;
                if let Some(store) = &self.shared.store {
                    store.load_later(self.me.clone());
                }
            }
        }
    }

    fn read_failed(&self, span: &Span, error: &ReadError) {
        let mut state = self.state.lock();
        let still_there = state.shelf.as_ref().is_some_and(|shelf| shelf.has(span));
        if state.deleted || !still_there {
            state.loading = false;
            return self.go_on(state);
        }
        drop(state);
        match error {
            ReadError::Damaged { .. } => self.set_damage(&error.to_string()),
            ReadError::Io { .. } => {
                tracing::error!(target: "leveret::store", "{error}. It is tried again.");
                if let Some(store) = &self.shared.store {
                    store.load_later(self.me.clone());
                }
            }
        }
    }
}

/// A horizon has been written.
impl Waiter for Queue {
    fn wake(&self) {
        // The journal's writer has no time to deliver.
        if let Some(store) = &self.shared.store {
            store.call_soon(self.me.clone());
        }
    }
}
