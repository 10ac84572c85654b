//! What an exchange remembers of the messages that it has routed: whether it has seen one before, and the last ones, for
//! whoever is bound next.

use std::sync::Arc;

use parking_lot::Mutex;

use super::route::Routed;
use super::topology::{Destination, Exchange, Vhost};
use crate::dedup::seen::{Seen, headers_of};
use crate::exchange::{History, RouteInput, Settings};
use crate::frames::Properties;
use crate::frames::method::split_route;
use crate::frames::table::{self, ValueRef};
use crate::message::memory::MemoryAccount;
use crate::message::{Incoming, Message, Traits};
use crate::persist::Store;
use crate::persist::journal::item::ItemWriter;
use crate::persist::windows::Notes;

/// The memory of an exchange; most have none.
pub struct Recall {
    seen: Option<Box<Mutex<Seen>>>,
    history: Option<Box<Mutex<History>>>,
    /// Where the identifiers outlive the process, and by which number.
    kept_in: Option<(u64, Arc<Store>)>,
}

/// An exchange that has to hear what becomes of a message.
#[derive(Clone, Debug)]
pub struct Follower {
    pub(super) exchange: Arc<Exchange>,
    /// It has seen the message before, so that nothing becomes of this one.
    pub(super) is_repetition: bool,
}

impl Follower {
    /// A message is in its queues, or has been refused. The journal gets `notes` together with the message, if it is `kept`.
    pub fn settle(&self, message: &mut Incoming<'_>, taken: bool, kept: bool, notes: &mut Notes) {
        let recall = self.exchange.recall();
        if !self.is_repetition {
            recall.settle(message, taken, kept, notes);
        } else if recall.kept_in.is_some() {
            // The first one may still be on its way to the disk: the commit that comes next is waited for.
            ItemWriter(&mut notes.items).void();
        }
    }
}

impl Recall {
    /// `kept_in` is the store of a durable exchange, and its number there.
    pub(super) fn new(
        settings: &Settings,
        kept_in: Option<(u64, Arc<Store>)>,
        now: u64,
        memory: &'static MemoryAccount,
    ) -> Self {
        let saved = kept_in.as_ref().and_then(|(owner, store)| store.windows.take(*owner));
        let history = settings.history.map(|length| Box::new(Mutex::new(History::new(length))));
        let seen = settings.deduplication.clone();
        let seen = seen.map(|rule| Box::new(Mutex::new(Seen::new(rule, saved.as_deref(), now, Some(memory)))));
        Self { seen, history, kept_in }
    }

    /// False when a message is a repetition; otherwise it is remembered, until [`Self::settle`] says that nothing came of it.
    #[inline]
    pub(super) fn is_new(&self, input: &RouteInput<'_>) -> bool {
        let headers = input.properties.headers.unwrap_or_default();
        self.seen.as_ref().is_none_or(|seen| seen.lock().remember_for_now(headers, input.now))
    }

    /// Whether this exchange has to hear what becomes of the messages that it routes.
    #[inline]
    pub(super) fn follows(&self) -> bool {
        self.history.is_some() || self.seen.is_some()
    }

    /// A message is in its queues, or has been refused: then the next attempt is no repetition.
    fn settle(&self, message: &mut Incoming<'_>, taken: bool, kept: bool, notes: &mut Notes) {
        let headers = headers_of(message.view().properties);
        if let Some(seen) = &self.seen {
            let mut seen = seen.lock();
            seen.decide(headers, taken);
            if let Some((owner, store)) = self.kept_in.as_ref().filter(|_| taken) {
                store.windows.note(*owner, &seen, headers, kept || message.is_persistent(), notes);
            }
        }
        let is_wanted = table::find(headers, b"x-recent-history-no-store") != Some(ValueRef::Bool(true));
        if let Some(history) = self.history.as_ref().filter(|_| taken && is_wanted) {
            history.lock().keep(message.hold());
        }
    }

    /// What has to be saved of the identifiers.
    pub(super) fn window(&self) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        self.seen.as_ref()?.lock().encode(&mut bytes);
        Some(bytes)
    }

    /// What somebody gets who has just been bound.
    pub(super) fn past(&self, to: Destination) -> Option<Past> {
        let messages = self.history.as_ref()?.lock().messages();
        (!messages.is_empty()).then_some(Past { to, messages })
    }
}

/// Messages from before a binding was made, oldest first, and where they go now.
#[derive(Clone, Debug)]
pub struct Past {
    to: Destination,
    messages: Vec<Message>,
}

impl Past {
    /// The messages as they are published now: copies, since the first ones may be in other queues and their journal.
    pub fn messages(&self, now: u64, memory: &'static MemoryAccount) -> impl Iterator<Item = Message> {
        self.messages.iter().map(move |message| {
            let (view, traits) = (message.view(), message.traits());
            // What was left of its time when it came is left again.
            let due = traits.due.and_then(|due| due.checked_add(now.saturating_sub(traits.at)));
            let traits = Traits { at: now, due, ..traits };
            Message::from_parts(view.route, view.properties, view.body.to_vec(), traits, memory)
        })
    }

    /// Where one of them goes.
    pub fn route(&self, vhost: &Vhost, message: &Message, now: u64) -> Routed {
        let exchange = match &self.to {
            Destination::Queue(queue) => return Routed { queues: vec![Arc::clone(queue)], ..Routed::default() },
            Destination::Exchange(exchange) => exchange,
        };
        let view = message.view();
        let (_, key) = split_route(view.route);
        let properties = Properties::parse(view.properties).unwrap_or_default();
        vhost.route(Some(exchange), &RouteInput { keys: &[key], properties: &properties, now })
    }
}
