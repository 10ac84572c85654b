//! Letters: messages that move from one queue to others, by way of an exchange.
//!
//! Queues hand over what leaves them ([`Letter`]); here each gets its new headers and is routed as a publish would be, and
//! the journal gets one entry for all: the messages in their new queues, and their acks in the old ones. Either both are on
//! disk after a crash or neither. What has no route is dropped, unless its queue keeps its letters until they are safe.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock, Weak};

use super::broker::Broker;
use super::command::{Command, DeleteQueue};
use super::recall::Follower;
use super::topology::Vhost;
use crate::exchange::RouteInput;
use crate::frames::Properties;
use crate::frames::method::split_route;
use crate::message::death::{self, Death};
use crate::message::trace::Event;
use crate::message::{Incoming, Message, Traits, delay, headers};
use crate::persist::journal::Waiter;
use crate::persist::journal::item::ItemWriter;
use crate::queue::entries::Entries;
use crate::queue::letter::{Letter, Postman, Reason};
use crate::queue::local::runs;
use crate::queue::watched::Delivered;
use crate::queue::{Queue, Wakes};

/// How long a letter waits that must not be lost and could not be delivered, in milliseconds.
const TRY_AGAIN: u64 = 1000;

/// Routes letters for the queues of a node.
#[derive(Default)]
pub struct Post {
    /// Set once everything that letters may need is there. Before, and after its end, they stay where they are.
    broker: OnceLock<Weak<Broker>>,
}

/// How many dead letters there have been: by reason, and by whether they are kept until they are safe.
#[derive(Debug, Default)]
pub struct LetterCounts {
    by_reason: [[AtomicU64; 2]; 5],
    confirmed: AtomicU64,
}

impl LetterCounts {
    fn of(&self, reason: Reason, is_safe: bool) -> Option<&AtomicU64> {
        self.by_reason.get(reason as usize)?.get(usize::from(is_safe))
    }

    fn note(&self, reason: Reason, is_safe: bool, fate: Fate) {
        if let Some(count) = self.of(reason, is_safe) {
            count.fetch_add(1, Relaxed);
        }
        if is_safe && fate == Fate::Arrived {
            self.confirmed.fetch_add(1, Relaxed);
        }
    }

    pub fn get(&self, reason: Reason, is_safe: bool) -> u64 {
        self.of(reason, is_safe).map_or(0, |count| count.load(Relaxed))
    }

    /// Of those that are kept until they are safe, how many are.
    pub fn confirmed(&self) -> u64 {
        self.confirmed.load(Relaxed)
    }
}

/// A message with its new headers, and where it goes.
pub(super) struct Forwarded {
    pub message: Message,
    pub targets: Vec<Arc<Queue>>,
    /// The message as it waits in delayed exchanges, and their queues.
    pub waiting: Option<(Message, Vec<Arc<Queue>>)>,
    /// Exchanges on the way that remember messages.
    pub followers: Vec<Follower>,
}

impl Post {
    /// Opens for letters.
    pub fn open(&self, broker: &Arc<Broker>) {
        // A second call would say the same.
        let _ = self.broker.set(Arc::downgrade(broker));
    }

    fn broker(&self) -> Option<Arc<Broker>> {
        self.broker.get()?.upgrade()
    }
}

impl Postman for Post {
    fn collect(&self, from: Vec<Arc<Queue>>) {
        let Some(broker) = self.broker() else { return };
        let Some(round) = Round::begin(from) else { return };
        while let Some(sender) = round.next() {
            loop {
                let mut wakes = Wakes::default();
                let alone = sender.letterbox();
                let letters = sender.next_letters();
                if letters.is_empty() {
                    break;
                }
                deliver(&broker, letters, &mut wakes);
                drop(alone);
                // A letter may make others: its new queue is full, or it expires there at once.
                Round::add(wakes.take_senders());
                wakes.run();
            }
        }
    }

    fn tell(&self, delivered: Vec<Delivered>) {
        let Some(broker) = self.broker() else { return };
        for one in delivered {
            let Some(vhost) = broker.vhost(&one.vhost) else { continue };
            let event = Event::Deliver { queue: &one.queue, redelivered: one.redelivered };
            vhost.tell(&broker, one.message(), event, &one.owner, one.channel);
        }
    }

    fn expired(&self, queue: &Arc<Queue>) {
        let Some(broker) = self.broker() else { return };
        let delete = DeleteQueue {
            vhost: queue.spec.vhost.to_string(),
            name: queue.spec.name.to_string(),
            connection: queue.spec.exclusive_owner,
            only: Some(queue.id),
            if_expired: true,
            ..DeleteQueue::default()
        };
        match broker.apply(Command::DeleteQueue(delete)) {
            Ok(_) => {
                let (name, vhost) = (&queue.spec.name, &queue.spec.vhost);
                tracing::info!(target: "leveret::queue", "queue '{name}' in vhost '{vhost}' was not used for its x-expires: deleted");
            }
            Err(error) => {
                tracing::error!(target: "leveret::queue", "an expired queue cannot be deleted: {}", error.text);
            }
        }
    }
}

thread_local! {
    /// The queues that the postman of this thread still goes to, while there is one.
    static ROUND: RefCell<Option<Vec<Arc<Queue>>>> = const { RefCell::new(None) };
}

/// A postman's way from queue to queue. What comes up on the way is done on the same way, not within it: a delivery is
/// told to a traced queue, which is full and has letters itself.
struct Round;

impl Round {
    /// Begins, or adds to the one that this thread is on.
    fn begin(senders: Vec<Arc<Queue>>) -> Option<Self> {
        if Self::add(senders.clone()) {
            return None;
        }
        ROUND.set(Some(senders));
        Some(Self)
    }

    /// False when this thread is on none.
    fn add(senders: Vec<Arc<Queue>>) -> bool {
        ROUND.with_borrow_mut(|round| {
            let Some(all) = round else { return false };
            senders.into_iter().for_each(|one| {
                if !all.contains(&one) {
                    all.push(one);
                }
            });
            true
        })
    }

    fn next(&self) -> Option<Arc<Queue>> {
        ROUND.with_borrow_mut(|round| round.as_mut()?.pop())
    }
}

impl Drop for Round {
    fn drop(&mut self) {
        ROUND.set(None);
    }
}

/// Delivers letters of one queue with one entry of the journal.
fn deliver(broker: &Broker, letters: Vec<Letter>, wakes: &mut Wakes) {
    let Some(from) = letters.first().map(|letter| Arc::clone(&letter.from)) else { return };
    let now = broker.clock.now_ms();
    let vhost = broker.vhost(&from.spec.vhost);
    let (mut entries, mut arrived, mut acked) = (Entries::default(), Vec::new(), Vec::new());
    for letter in letters {
        let forwarded = vhost.as_ref().and_then(|vhost| forward(broker, vhost, &letter, now));
        let mut had = letter.had;
        let fate = forwarded.map_or(Fate::Nowhere, |forwarded| put(forwarded, &mut had, &mut entries, wakes));
        let is_safe = letter.settings.dead_letters.as_ref().is_some_and(|to| to.at_least_once);
        let must_arrive = is_safe && letter.reason != Reason::Due;
        let comes_again = fate == Fate::Damaged || (must_arrive && fate != Fate::Arrived);
        let Some(position) = letter.position else {
            broker.dead_letters.note(letter.reason, is_safe, fate);
            continue;
        };
        if comes_again {
            from.keep_letter(position, now + TRY_AGAIN, had);
            continue;
        }
        broker.dead_letters.note(letter.reason, is_safe, fate);
        arrived.push(position);
        if from.keeps(&letter.message) {
            acked.push(position);
        }
    }
    if !acked.is_empty() {
        // Never taken back from the commit that is being gathered: what replaces it may be in the next one.
        ItemWriter(entries.items()).ack(from.spec.store_id, runs(acked).into_iter());
    }
    let arrival: Arc<dyn Waiter> = Arc::new(Arrival { from, positions: arrived });
    let commit = broker.store.as_ref().and_then(|store| entries.append(&store.journal, Some(&arrival), wakes));
    if commit.is_none() {
        arrival.wake();
    }
}

/// Letters that are in their new queues once the journal has said so on disk. Before, their old queue must not forget them.
pub(super) struct Arrival {
    pub from: Arc<Queue>,
    pub positions: Vec<u64>,
}

impl Waiter for Arrival {
    fn wake(&self) {
        self.from.note_arrival(self.positions.iter().copied());
    }
}

/// What has become of a letter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fate {
    /// It has no queue.
    Nowhere,
    /// All its queues have it.
    Arrived,
    /// Some queue was full.
    Refused,
    /// Some queue is damaged, and may be repaired.
    Damaged,
}

/// Puts a message into its queues, but for those that have had it; these are noted.
pub(super) fn put(forwarded: Forwarded, had: &mut Vec<u64>, entries: &mut Entries, wakes: &mut Wakes) -> Fate {
    let Forwarded { message, targets, waiting, followers } = forwarded;
    let mut run = [Incoming::Held(message)];
    let (mut fate, mut kept) = put_into(targets, &mut run, had, entries, wakes);
    if let Some((message, queues)) = waiting {
        let (other, other_kept) = put_into(queues, &mut [Incoming::Held(message)], had, entries, wakes);
        (fate, kept) = (fate.max(other), kept || other_kept);
    }
    for follower in followers {
        run.iter_mut().for_each(|message| follower.settle(message, fate == Fate::Arrived, kept, entries.notes()));
    }
    fate
}

/// The same for some queues; says whether one of them keeps it, too.
fn put_into(
    targets: Vec<Arc<Queue>>,
    run: &mut [Incoming<'_>; 1],
    had: &mut Vec<u64>,
    entries: &mut Entries,
    wakes: &mut Wakes,
) -> (Fate, bool) {
    let mut fate = if targets.is_empty() { Fate::Nowhere } else { Fate::Arrived };
    entries.begin();
    for queue in targets {
        if had.contains(&queue.id) {
            continue;
        }
        match queue.publish(run.iter_mut(), wakes) {
            Ok(landed) => {
                if landed.refused.is_empty() {
                    had.push(queue.id);
                } else {
                    fate = fate.max(Fate::Refused);
                }
                entries.landed(queue.spec.store_id, landed);
            }
            Err(_damaged) => fate = Fate::Damaged,
        }
    }
    (fate, entries.end(run))
}

fn forward(broker: &Broker, vhost: &Vhost, letter: &Letter, now: u64) -> Option<Forwarded> {
    match letter.reason {
        Reason::Due => due(broker, vhost, letter, now),
        _ => dead(broker, vhost, letter, now),
    }
}

/// A delayed message whose time has come: as it would have been routed without a delay.
fn due(broker: &Broker, vhost: &Vhost, letter: &Letter, now: u64) -> Option<Forwarded> {
    let exchange = vhost.exchange(letter.from.spec.delays_for.as_deref()?)?;
    let view = letter.message.view();
    let found = Properties::parse(view.properties).ok()?;
    let found_headers = found.headers.unwrap_or_default();
    let (_, key) = split_route(view.route);
    let mut keys = vec![key];
    for name in [&b"CC"[..], b"BCC"] {
        keys.extend(headers::routing_keys(found_headers, name).unwrap_or_default().into_iter().map(str::as_bytes));
    }
    let properties = delay::delivered(view.properties);
    // As it is now: no other delayed exchange on its way holds it back again.
    let shown = Properties::parse(&properties).ok()?;
    let routed = vhost.route_due(&exchange, &RouteInput { keys: &keys, properties: &shown, now });
    let due = found.expires_after().and_then(|ms| std::num::NonZeroU64::new(now.saturating_add(ms)));
    let traits = Traits { at: now, due, ..letter.message.traits() };
    let message = Message::from_parts(view.route, &properties, view.body.to_vec(), traits, broker.memory);
    Some(Forwarded { message, targets: routed.queues, waiting: None, followers: routed.followers })
}

fn dead(broker: &Broker, vhost: &Vhost, letter: &Letter, now: u64) -> Option<Forwarded> {
    let to = letter.settings.dead_letters.as_ref()?;
    let view = letter.message.view();
    let death = Death { queue: &letter.from.spec.name, reason: letter.reason.name(), at: now };
    let dead = death::letter(view, &death, &to.exchange, to.key.as_deref());
    let exchange = if to.exchange.is_empty() { None } else { Some(vhost.exchange(&to.exchange)?) };
    let properties = Properties::parse(&dead.properties).ok()?;
    let routed = vhost.route(exchange.as_ref(), &RouteInput { keys: &dead.keys, properties: &properties, now });
    let mut targets = routed.queues;
    targets.retain(|queue| !death::is_cycle(&dead.properties, &queue.spec.name));
    let persistent = letter.from.was_persistent(&letter.message);
    let traits = Traits { at: now, due: None, hidden: false, persistent, ..letter.message.traits() };
    let message = Message::from_parts(&dead.route, &dead.properties, view.body.to_vec(), traits, broker.memory);
    // A delayed exchange delays dead letters, too.
    let waiting = routed.delayed.map(|delayed| (message.with_due(Some(delayed.due), broker.memory), delayed.queues));
    Some(Forwarded { message, targets, waiting, followers: routed.followers })
}
