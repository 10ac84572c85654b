//! What leaves a queue by itself, and when it is looked for: the thin shell around the engine's departures.
//!
//! Whatever ran the engine calls [`Queue::see_off`] before it releases the lock: what was dropped is noted for the journal,
//! letters are collected by way of the [`Wakes`] of the caller, cold ones are read first, and the timekeeper is told when to come back.
//! [`Queue::tick`] is where it comes back.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::MutexGuard;

use super::letter::Letter;
use super::local::{Leaving, Queue, State, Wakes};
use super::settings::Settings;

/// Most messages that leave before others get the queue's lock.
pub(super) const AT_A_TIME: usize = 512;
/// Bytes of letters that are delivered with one entry of the journal, about.
const A_BAG: usize = 1 << 20;
/// Least time between two visits of the timekeeper, in milliseconds.
const TOGETHER: u64 = 5;
/// The same after a visit on which many have left: each visit costs a commit, whatever their number.
const MANY_TOGETHER: u64 = 15;
/// So many are many.
const MANY: usize = 64;
/// How long the timekeeper leaves a queue alone while the journal cannot keep up, in milliseconds.
const CONGESTED: u64 = 5;

impl Queue {
    /// What is in force.
    pub fn settings(&self) -> Arc<Settings> {
        Arc::clone(self.state.lock().engine.settings())
    }

    /// How long its deliveries may wait for their acks, where it says so itself.
    pub fn consumer_timeout(&self) -> Option<Duration> {
        self.state.lock().engine.settings().consumer_timeout.map(Duration::from_millis)
    }

    /// Something else is in force from now on, for what waits, too.
    pub fn set_settings(&self, settings: Arc<Settings>) {
        let (mut wakes, mut leaving) = (Wakes::default(), Leaving::default());
        let mut state = self.state.lock();
        if state.deleted || *state.engine.settings() == settings {
            return;
        }
        if settings.expires.is_some() != state.expires {
            state.expires = settings.expires.is_some();
            state.unused_since = self.shared.clock.now_ms();
        }
        state.change_rule(&settings, self.shared.store.as_deref());
        state.engine.set_settings(settings);
        self.look_at_clock(&mut state);
        if state.engine.is_due() {
            state.tick();
        }
        self.pump(&mut state, &mut wakes, &mut leaving);
        drop(state);
        self.tell_journal(leaving, &mut wakes);
        wakes.run();
    }

    /// Tells the engine the time, where that makes a difference.
    #[inline]
    pub(super) fn look_at_clock(&self, state: &mut State) {
        if state.engine.is_special() {
            state.engine.set_now(self.shared.clock.now_ms());
        }
    }

    /// Takes up what the engine has let go, and has the timekeeper come for the rest.
    #[inline]
    pub(super) fn see_off(&self, state: &mut State, wakes: &mut Wakes, leaving: &mut Leaving) {
        if state.engine.is_special() || state.engine.has_departures() || state.expires {
            self.see_off_some(state, wakes, leaving);
        }
    }

    fn see_off_some(&self, state: &mut State, wakes: &mut Wakes, leaving: &mut Leaving) {
        if state.engine.has_departures() {
            for (position, message) in state.engine.take_dropped() {
                let kept = self.keeps(&message);
                state.has_left(&message);
                leaving.settled(state.shelf.as_deref_mut(), position, message, kept);
            }
            if let (Some(from), true) = (self.me.upgrade(), state.engine.has_letters()) {
                wakes.post(&self.shared.postman, from);
            }
            if state.engine.has_unread() {
                self.load_soon(state);
            }
        }
        self.set_alarm(state);
    }

    /// Has the timekeeper come when something is due.
    fn set_alarm(&self, state: &mut State) {
        if state.deleted || state.resting {
            return;
        }
        let next = state.engine.next_tick().into_iter().chain(self.end_of_lease(state)).min();
        let Some(next) = next.filter(|next| *next < state.unusual.alarm) else { return };
        let now = self.shared.clock.now_ms();
        // Where many are due one after the other, they leave together; a single one is not kept waiting, nor is any when
        // the clock was set back.
        let earliest = state.unusual.next_visit.min(now.saturating_add(MANY_TOGETHER));
        // What is long overdue does not come before what is due in other queues.
        let next = next.max(earliest).max(now);
        if next < state.unusual.alarm {
            state.unusual.alarm = next;
            self.shared.timekeeper.wake(next, self.me.clone());
        }
    }

    /// When the queue has been unused for too long.
    fn end_of_lease(&self, state: &State) -> Option<u64> {
        let expires = state.engine.settings().expires?;
        (state.engine.consumer_count() == 0).then(|| state.unused_since.saturating_add(expires))
    }

    /// Somebody uses it: its lease begins anew.
    pub fn touch(&self) {
        let mut state = self.state.lock();
        if state.engine.settings().expires.is_some() {
            state.unused_since = self.shared.clock.now_ms();
            self.set_alarm(&mut state);
        }
    }

    /// The time has come that was asked for: messages leave, or the queue does. Nothing happens when another time has been
    /// asked for since.
    pub fn tick(&self, at: u64) {
        let (mut wakes, mut leaving) = (Wakes::default(), Leaving::default());
        let now = self.shared.clock.now_ms();
        let mut state = self.state.lock();
        if state.unusual.alarm != at {
            return;
        }
        state.unusual.alarm = u64::MAX;
        state.unusual.next_visit = now.saturating_add(TOGETHER);
        if state.deleted || state.resting || state.unusual.damage.is_some() {
            return;
        }
        if self.end_of_lease(&state).is_some_and(|end| end <= now) {
            drop(state);
            if let (Some(postman), Some(me)) = (self.shared.postman.upgrade(), self.me.upgrade()) {
                postman.expired(&me);
            }
            return;
        }
        if self.shared.store.as_ref().is_some_and(|store| store.journal.is_crowded()) {
            state.unusual.alarm = now + CONGESTED;
            self.shared.timekeeper.wake(state.unusual.alarm, self.me.clone());
            return;
        }
        state.engine.set_now(now);
        let before = state.engine.ready_count();
        let has_more = state.tick();
        if !has_more && before.saturating_sub(state.engine.ready_count()) >= MANY {
            state.unusual.next_visit = now.saturating_add(MANY_TOGETHER);
        }
        self.pump(&mut state, &mut wakes, &mut leaving);
        drop(state);
        self.tell_journal(leaving, &mut wakes);
        wakes.run();
    }

    /// True when a queue is unused for as long as it may be.
    pub fn is_lease_over(&self) -> bool {
        let state = self.state.lock();
        self.end_of_lease(&state).is_some_and(|end| end <= self.shared.clock.now_ms())
    }

    /// A postman has come, once no other one is here: letters are delivered in the order in which they left, and those that
    /// left before this returns are delivered, or are among [`Queue::next_letters`].
    pub fn letterbox(&self) -> MutexGuard<'_, ()> {
        self.letterbox.lock()
    }

    /// The next letters, in order, for the postman who is at the [`Queue::letterbox`].
    pub fn next_letters(&self) -> Vec<Letter> {
        let mut state = self.state.lock();
        if state.deleted {
            return Vec::new();
        }
        let settings = Arc::clone(state.engine.settings());
        let departures = state.engine.take_letters(A_BAG);
        let mut letters: Vec<Letter> = state.unusual.unopened.drain(..).collect();
        if let Some(from) = self.me.upgrade() {
            letters.extend(departures.into_iter().map(|departure| Letter {
                from: Arc::clone(&from),
                position: Some(departure.position),
                message: departure.message,
                reason: departure.reason,
                settings: Arc::clone(&settings),
                had: departure.had,
            }));
        }
        letters
    }

    /// Letters from these positions are in their new queues, on disk where they have to be, and so is that they have left.
    pub fn note_arrival(&self, positions: impl Iterator<Item = u64>) {
        let mut gone = Vec::new();
        let mut state = self.state.lock();
        if state.deleted {
            return;
        }
        for position in positions {
            let Some(message) = state.engine.arrived(position) else { continue };
            state.has_left(&message);
            let kept = self.keeps(&message);
            if let Some(shelf) = &mut state.shelf {
                shelf.settle(position, kept, Some(message.view().body.len() as u64));
            }
            gone.push(message);
        }
        drop(state);
    }

    /// A letter could not be delivered to all its queues and must not be lost: it is tried again at that time.
    pub fn keep_letter(&self, position: u64, at: u64, had: Vec<u64>) {
        let mut state = self.state.lock();
        if !state.deleted {
            state.engine.try_again(position, at, had);
            self.set_alarm(&mut state);
        }
    }
}
