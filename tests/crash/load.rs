//! The load: several clients that publish, consume, ack, requeue and purge at random, and tell a checker.
//!
//! [`Load`] is what they share, and outlives the broker. A [`session::Session`] is one client with its publisher, its unacked
//! deliveries and its certainty about acks; [`roles`] are the ways to use one.

pub mod roles;
pub mod session;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::Scope;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::checker::{Checker, Consumer, Queue};
use super::client::End;
use super::method::{Method, queue_declare};

/// Queues whose consumers ack. The fan's get a copy each of what is published to it.
pub static WORK: [Queue; 4] = ["work-0", "work-1", "work-2", "work-quorum"];
pub static FAN: [Queue; 3] = ["fan-0", "fan-1", "fan-quorum"];
/// Of these the quorum queues, which keep transient messages, too.
const QUORUM: [Queue; 2] = ["work-quorum", "fan-quorum"];
/// Has one consumer, without acks.
pub static AUTO: [Queue; 1] = ["auto"];
/// Are purged, and deleted and declared again, by their only user.
pub static EMPTIED: [Queue; 2] = ["purged", "deleted"];
/// Nobody consumes from it: what is confirmed here was stored, and so was all that the broker read before.
pub static BARRIER: [Queue; 1] = ["barrier"];

pub const FAN_EXCHANGE: &str = "fan";

pub fn all_queues() -> impl Iterator<Item = Queue> {
    [&WORK[..], &FAN, &AUTO, &EMPTIED, &BARRIER].concat().into_iter()
}

/// How a queue is declared.
pub fn declaration(queue: Queue) -> Method {
    let declare = queue_declare(queue).durable();
    if QUORUM.contains(&queue) {
        // Whatever the number of its returns, a message stays.
        declare.arg("x-queue-type", "quorum").arg("x-delivery-limit", -1)
    } else {
        declare
    }
}

pub struct Load {
    state: Mutex<State>,
    /// Something happened, or a worker ended.
    moved: Condvar,
    /// The workers are to come to an end.
    stopping: AtomicBool,
    consumers: AtomicU64,
}

struct State {
    checker: Checker,
    events: u64,
    working: usize,
    /// Connections that ended otherwise than they should.
    trouble: Vec<String>,
    /// The broker is being ended, so that connections may end.
    is_ending: bool,
    /// The broker is being stopped while the clients go on: it closes one connection and gives what was on its way there
    /// to another, so nobody can tell any more what was delivered first.
    is_deaf: bool,
}

impl Load {
    pub fn new() -> Self {
        let mut checker = Checker::new();
        AUTO.iter().for_each(|queue| checker.expect_auto_acks(queue));
        QUORUM.iter().for_each(|queue| checker.expect_all_kept(queue));
        let state = State { checker, events: 0, working: 0, trouble: vec![], is_ending: false, is_deaf: false };
        Self {
            state: Mutex::new(state),
            moved: Condvar::new(),
            stopping: AtomicBool::new(false),
            consumers: AtomicU64::new(0),
        }
    }

    pub fn ask<T>(&self, ask: impl FnOnce(&Checker) -> T) -> T {
        ask(&self.state.lock().checker)
    }

    /// Tells the checker that something happened.
    pub fn tell<T>(&self, tell: impl FnOnce(&mut Checker) -> T) -> T {
        let mut state = self.state.lock();
        state.events += 1;
        self.moved.notify_all();
        tell(&mut state.checker)
    }

    /// Tells the checker of a delivery; false when it is not to be told.
    pub fn tell_delivery(&self, tell: impl FnOnce(&mut Checker)) -> bool {
        let mut state = self.state.lock();
        if state.is_deaf {
            return false;
        }
        state.events += 1;
        self.moved.notify_all();
        tell(&mut state.checker);
        true
    }

    pub fn new_consumer(&self) -> Consumer {
        self.consumers.fetch_add(1, Ordering::Relaxed)
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Lets the workers leave in good order.
    pub fn stop_and_wait(&self) {
        self.stop();
        let mut state = self.state.lock();
        while state.working > 0 {
            self.moved.wait(&mut state);
        }
    }

    /// A broker begins. If it is told to die somewhere, its end is no surprise.
    pub fn begin(&self, may_die: bool) {
        self.stopping.store(false, Ordering::Relaxed);
        let mut state = self.state.lock();
        (state.is_ending, state.is_deaf) = (may_die, false);
    }

    pub fn expect_kill(&self) {
        self.state.lock().is_ending = true;
    }

    pub fn expect_stop(&self) {
        let mut state = self.state.lock();
        (state.is_ending, state.is_deaf) = (true, true);
    }

    /// Does a worker's work on a thread of its own.
    pub fn spawn<'s>(
        &'s self,
        scope: &'s Scope<'s, '_>,
        name: String,
        work: impl FnOnce() -> Result<(), End> + Send + 's,
    ) {
        self.state.lock().working += 1;
        let work = move || {
            let result = catch_unwind(AssertUnwindSafe(work));
            match result {
                Ok(result) => self.judge(&name, result),
                Err(_) => self.state.lock().trouble.push(format!("{name} has panicked")),
            }
            self.state.lock().working -= 1;
            self.moved.notify_all();
        };
        std::thread::Builder::new().spawn_scoped(scope, work).expect("a thread");
    }

    /// Whether a connection ended as it should.
    pub fn judge(&self, name: &str, result: Result<(), End>) {
        let mut state = self.state.lock();
        match result {
            Ok(()) => {}
            Err(End::Cut | End::Closed { code: 320, .. }) if state.is_ending => {}
            Err(end) => state.trouble.push(format!("{name}: {end:?}")),
        }
    }

    pub fn trouble(&self) -> Vec<String> {
        self.state.lock().trouble.clone()
    }

    /// Waits until so many things more have happened, or until the workers are gone, or for so long.
    pub fn wait(&self, events: u64, patience: Duration) {
        let end = Instant::now() + patience;
        let mut state = self.state.lock();
        let events = state.events.saturating_add(events);
        while state.events < events && state.working > 0 {
            if self.moved.wait_until(&mut state, end).timed_out() {
                return;
            }
        }
    }
}
