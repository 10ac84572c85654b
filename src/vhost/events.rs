//! The event exchange: where it is switched on, what happens to connections, queues, users and so on is published to
//! `amq.rabbitmq.event` in one virtual host.
//!
//! Whoever makes something happen tells it ([`Broker::tell_event`]), also under a lock: the event is only added to a list of
//! bounded length. A thread takes them from there and publishes them, under no lock of its own. When it cannot keep up,
//! events are left out, and the log says how many. What commands change is told once the command has been carried out
//! ([`Broker::note_event`]), with the name of the user who gave it. While events are off there is no list and no thread, and
//! no event is made.

pub mod told;

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::broker::Broker;
use super::own::{Own, OwnBatch};
use crate::config;
pub use crate::message::event::{EXCHANGE, Event};

/// Whose doing it was, where it was nobody's.
pub const INTERNAL: &str = "rmq-internal";

/// Most events that wait to be published.
const MOST: usize = 16 * 1024;
/// Events that are published with one entry of the journal.
const TOGETHER: usize = 256;
/// How long publishing waits while the journal cannot keep up.
const CONGESTED: Duration = Duration::from_millis(5);

/// Events on their way to the exchange.
pub struct Events {
    /// The virtual host that has the exchange.
    pub vhost: String,
    waiting: Mutex<Waiting>,
    bell: Condvar,
    /// What the command that is being carried out has changed so far.
    noted: Mutex<Noted>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Waiting {
    /// With the time at which each happened, in milliseconds since 1970.
    events: VecDeque<(u64, Event)>,
    /// Events that were left out since the log said so last.
    left_out: u64,
    closing: bool,
}

#[derive(Default)]
struct Noted {
    user: String,
    events: Vec<Event>,
    left_out: u64,
}

impl Events {
    /// `None` where they are switched off.
    pub(super) fn new(config: &config::Events) -> Option<Arc<Self>> {
        config.on.then(|| {
            Arc::new(Self {
                vhost: config.vhost.clone(),
                waiting: Mutex::default(),
                bell: Condvar::new(),
                noted: Mutex::default(),
                thread: Mutex::default(),
            })
        })
    }

    /// Starts to publish.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub(super) fn start(self: &Arc<Self>, broker: &Arc<Broker>) -> std::io::Result<()> {
        let (events, broker) = (Arc::clone(self), Arc::downgrade(broker));
        let thread = std::thread::Builder::new().name("events".into()).spawn(move || events.run(&broker))?;
        *self.thread.lock() = Some(thread);
        Ok(())
    }

    /// A command is about to be carried out, one at a time.
    pub(super) fn begin(&self, user: &str) {
        *self.noted.lock() = Noted { user: user.to_owned(), ..Noted::default() };
    }

    /// It has been carried out, or refused: then nothing has happened.
    pub(super) fn end(&self, at: u64, done: bool) {
        let Noted { events, left_out, .. } = std::mem::take(&mut *self.noted.lock());
        if done {
            self.add(at, events, left_out);
        }
    }

    fn note(&self, event: Event) {
        let mut noted = self.noted.lock();
        if noted.events.len() >= MOST {
            noted.left_out += 1;
            return;
        }
        let event = event.text("user_who_performed_action", &noted.user);
        noted.events.push(event);
    }

    fn add(&self, at: u64, events: impl IntoIterator<Item = Event>, left_out: u64) {
        let mut waiting = self.waiting.lock();
        waiting.left_out += left_out;
        for event in events {
            if waiting.events.len() < MOST {
                waiting.events.push_back((at, event));
            } else {
                waiting.left_out += 1;
            }
        }
        drop(waiting);
        self.bell.notify_one();
    }

    /// Publishes what waits and ends the thread.
    pub(super) fn close(&self) {
        self.waiting.lock().closing = true;
        self.bell.notify_one();
        let thread = self.thread.lock().take();
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != std::thread::current().id())
            && thread.join().is_err()
        {
            tracing::error!(target: "leveret", "the thread that publishes events has panicked");
        }
    }

    fn run(&self, broker: &Weak<Broker>) {
        while let Some((events, left_out)) = self.next() {
            let Some(broker) = broker.upgrade() else { return };
            if left_out > 0 {
                tracing::warn!(
                    target: "leveret",
                    "{left_out} events were not published to {EXCHANGE}: more than {MOST} were waiting"
                );
            }
            while broker.store.as_ref().is_some_and(|store| store.journal.is_crowded()) && !self.waiting.lock().closing
            {
                std::thread::sleep(CONGESTED);
            }
            self.publish(&broker, events);
        }
    }

    /// The next events, waited for; `None` when there will be no more.
    fn next(&self) -> Option<(Vec<(u64, Event)>, u64)> {
        let mut waiting = self.waiting.lock();
        while waiting.events.is_empty() {
            if waiting.closing {
                return None;
            }
            self.bell.wait(&mut waiting);
        }
        let count = waiting.events.len().min(TOGETHER);
        Some((waiting.events.drain(..count).collect(), std::mem::take(&mut waiting.left_out)))
    }

    fn publish(&self, broker: &Broker, events: Vec<(u64, Event)>) {
        let Some(vhost) = broker.vhost(&self.vhost) else { return };
        let Some(exchange) = vhost.exchange(EXCHANGE) else { return };
        let mut batch = OwnBatch::default();
        for (at, event) in events {
            let properties = event.properties(at);
            let message = Own { key: event.key.as_bytes(), properties: &properties, is_persistent: true };
            batch.publish(broker, &vhost, &exchange, &message, Vec::new);
        }
        batch.finish(broker);
    }
}

impl Broker {
    /// What stands for a connection's process, as RabbitMQ's tools expect one.
    pub fn connection_pid(&self, connection: u64) -> String {
        self.channel_pid(connection, 0)
    }

    /// The same for a channel.
    pub fn channel_pid(&self, connection: u64, channel: u16) -> String {
        format!("<{}.1.{connection}.{channel}>", self.node_name())
    }

    /// True where events are published.
    #[inline]
    pub fn tells_events(&self) -> bool {
        self.events.is_some()
    }

    /// Tells what has happened. Locks may be held.
    #[inline]
    pub fn tell_event(&self, event: impl FnOnce() -> Event) {
        if let Some(events) = &self.events {
            events.add(self.clock.now_ms(), [event()], 0);
        }
    }

    /// Notes what the command that is being carried out changes: it is told if all goes well.
    #[inline]
    pub(super) fn note_event(&self, event: impl FnOnce() -> Event) {
        if let Some(events) = &self.events {
            events.note(event());
        }
    }
}
