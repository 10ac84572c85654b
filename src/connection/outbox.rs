//! The write side of a connection, and the delivery state of its channels.
//!
//! Everyone who has something for the client appends to one buffer under one short lock: the connection's own task its
//! answers, a publisher's task the deliveries to consumers here. The connection's task takes the buffer and writes it
//! to the socket. The buffer is bounded: past [`HIGH_WATER`] deliveries are refused, their consumers are noted as
//! stalled, and the task resumes them when the client has read enough. A consumer is therefore idle only when the
//! outbox has room *and* its queue has nothing for it.
//!
//! The lock also guards what a delivery needs of its channel: the next tag, the unacked ledger, the channel's own
//! prefetch. Queue locks are taken before it, never after.

mod in_place;
mod outlet;

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use amq_protocol::protocol::basic::{self, AMQPMethod};
use amq_protocol::protocol::{AMQPClass, connection};
use atomic_waker::AtomicWaker;
use foldhash::fast::RandomState;
use parking_lot::{Mutex, MutexGuard};

use super::counting::{ConnectionCounts, Publishing};
use super::deliveries::{ChannelOut, Settled, Wanted};
use super::ledger::{Unacked, UnknownTag};
use crate::frames::{Refusal, write};
use crate::message::memory::MemoryAccount;
use crate::message::{LARGE_BODY, Message, MessageView, headers};
use crate::persist::journal::Waiter;
use crate::queue::engine::Got;
use crate::queue::watched::Owner;
use crate::queue::{ConsumerKey, Queue, Settlement};
use crate::stats::{Counted, Kind, Rates};
use in_place::InPlace;
pub use in_place::Left;

/// Bytes on their way to the client at which deliveries are refused.
pub const HIGH_WATER: usize = 512 * 1024;
/// Bytes at which stalled consumers are resumed.
const LOW_WATER: usize = HIGH_WATER / 2;
/// Bytes at which the client's own requests are not read any more: it does not read the answers.
pub const READ_LIMIT: usize = 4 * HIGH_WATER;

/// Bytes ready for the socket.
pub enum Segment {
    Bytes(Vec<u8>),
    /// A slice of a message's body.
    Body(Message, std::ops::Range<usize>),
}

impl Segment {
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Body(message, range) => message.view().body.get(range.clone()).unwrap_or_default(),
        }
    }
}

/// What the lock guards.
#[derive(Default)]
pub struct Inner {
    buffer: Vec<u8>,
    /// Length of the buffer that was taken last: the next one will be about as long.
    usual_length: usize,
    /// What comes before `buffer`: only used when bodies are sent by reference.
    before: VecDeque<Segment>,
    /// Bytes in `before` and `buffer`.
    queued: usize,
    /// Bytes that the task has taken and not yet written.
    in_flight: usize,
    channels: HashMap<u16, Box<ChannelOut>, RandomState>,
    /// Consumers that were refused because the outbox was full.
    stalled: Vec<(u16, u32)>,
    /// The task is running and will look at the buffer before it sleeps.
    awake: bool,
    /// Somebody has called for the task: what it waits for may have happened.
    called: bool,
    /// Nothing more is sent to consumers.
    closed: bool,
    frame_max: u32,
    /// The client understands `basic.cancel` from the server.
    pub cancel_notify: bool,
    /// Bytes received and sent, as of the last sample.
    rates: Rates<2>,
    in_place: InPlace,
}

impl Inner {
    /// The buffer, for answers. What is written to it counts from the next [`Outbox::lock`] guard's end.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    pub fn channel(&mut self, channel: u16) -> Option<&mut ChannelOut> {
        self.channels.get_mut(&channel).map(|c| &mut **c)
    }

    /// Appends a method that `amq-protocol` writes.
    pub fn send(&mut self, channel: u16, method: &AMQPClass) {
        write::cold(&mut self.buffer, channel, method);
    }

    fn content(&mut self, channel: u16, view: MessageView<'_>, held: Option<&Message>) {
        write::header(&mut self.buffer, channel, view.body.len() as u64, view.properties);
        match held {
            Some(message) if view.body.len() >= LARGE_BODY => self.body_by_reference(channel, message),
            _ => write::body(&mut self.buffer, channel, view.body, self.frame_max),
        }
    }

    fn body_by_reference(&mut self, channel: u16, message: &Message) {
        let (length, most) = (message.view().body.len(), write::max_payload(self.frame_max));
        let mut start = 0;
        while start < length {
            let end = length.min(start.saturating_add(most));
            write::body_frame_start(&mut self.buffer, channel, end - start);
            self.before.push_back(Segment::Bytes(std::mem::take(&mut self.buffer)));
            self.before.push_back(Segment::Body(message.clone(), start..end));
            self.buffer.extend_from_slice(&write::FRAME_END);
            start = end;
        }
    }

    fn recount(&mut self) {
        self.queued = self.buffer.len() + self.before.iter().map(|s| s.bytes().len()).sum::<usize>();
    }
}

/// How a connection is asked to go.
pub enum CloseRequest {
    /// Its client is told, and has time to answer.
    Close(Refusal),
    /// It had that time.
    End,
}

/// The write side of one connection.
pub struct Outbox {
    pub connection: u64,
    inner: Mutex<Inner>,
    waker: AtomicWaker,
    /// A request from outside to end the connection, with the reason.
    close_request: Mutex<Option<CloseRequest>>,
    has_close_request: AtomicBool,
    clock: Arc<AtomicU32>,
    memory: &'static MemoryAccount,
    owner: OnceLock<Owner>,
    pub counts: ConnectionCounts,
}

impl Outbox {
    /// `clock` is the node's coarse clock in seconds.
    pub fn new(connection: u64, clock: Arc<AtomicU32>, memory: &'static MemoryAccount) -> Arc<Self> {
        Arc::new(Self {
            connection,
            inner: Mutex::new(Inner { awake: true, ..Inner::default() }),
            waker: AtomicWaker::new(),
            close_request: Mutex::new(None),
            has_close_request: AtomicBool::new(false),
            clock,
            memory,
            owner: OnceLock::new(),
            counts: ConnectionCounts::default(),
        })
    }

    /// Says whose it is, once that is known.
    pub fn set_owner(&self, connection: &Arc<str>, user: &str) {
        // It is set once.
        let _ = self.owner.set(Owner { connection: Arc::clone(connection), user: user.into() });
    }

    /// Locks the outbox to write answers. Only the connection's own task uses this, and it flushes before it sleeps.
    pub fn lock(&self) -> Writing<'_> {
        Writing { memory: self.memory, inner: self.inner.lock() }
    }

    pub fn set_negotiated(&self, frame_max: u32, cancel_notify: bool) {
        let mut inner = self.inner.lock();
        inner.frame_max = frame_max;
        inner.cancel_notify = cancel_notify;
    }

    /// Takes everything that waits to be written.
    pub fn take(&self, into: &mut VecDeque<Segment>) {
        let mut inner = self.inner.lock();
        if inner.queued == 0 {
            return;
        }
        into.append(&mut inner.before);
        if !inner.buffer.is_empty() {
            inner.usual_length = inner.buffer.len();
            into.push_back(Segment::Bytes(std::mem::take(&mut inner.buffer)));
        }
        inner.in_flight += inner.queued;
        inner.queued = 0;
    }

    /// The socket has taken that many bytes. Gives back consumers that may go on.
    pub fn written(&self, bytes: usize) -> Vec<(Arc<Queue>, ConsumerKey)> {
        let mut inner = self.inner.lock();
        // What was taken before the outbox was closed may still be written, but is not charged any more.
        let charged = bytes.min(inner.in_flight);
        inner.in_flight -= charged;
        self.memory.sub(charged);
        if inner.stalled.is_empty() || inner.in_flight + inner.queued > LOW_WATER {
            return Vec::new();
        }
        let stalled = std::mem::take(&mut inner.stalled);
        let resumable = stalled.into_iter().filter_map(|(channel, slot)| {
            let slot = inner.channel(channel)?.slot_mut(slot)?;
            Some((Arc::clone(&slot.queue), slot.consumer?))
        });
        resumable.collect()
    }

    /// Bytes on their way to the client.
    pub fn backlog(&self) -> usize {
        let inner = self.inner.lock();
        inner.queued + inner.in_flight
    }

    /// Registers the task to be woken; false when there is something to write already.
    pub fn sleep(&self, waker: &std::task::Waker) -> bool {
        self.waker.register(waker);
        let mut inner = self.inner.lock();
        let called = std::mem::take(&mut inner.called);
        inner.awake = called || inner.queued > 0 || self.has_close_request.load(Ordering::Relaxed);
        !inner.awake
    }

    /// The task runs: nobody needs to wake it for what it will see anyway.
    pub fn awake(&self) {
        self.inner.lock().awake = true;
    }

    /// Asks the connection to end, from outside.
    pub fn request_close(&self, reason: Refusal) {
        self.request(CloseRequest::Close(reason));
    }

    /// Asks the connection to end at once, whatever its client says.
    pub fn request_end(&self) {
        self.request(CloseRequest::End);
    }

    fn request(&self, request: CloseRequest) {
        let mut asked = self.close_request.lock();
        // Who is to end at once is not given time again.
        if !matches!(*asked, Some(CloseRequest::End)) {
            *asked = Some(request);
        }
        drop(asked);
        self.has_close_request.store(true, Ordering::Relaxed);
        self.inner.lock().awake = true;
        self.waker.wake();
    }

    /// Gets the task to look at what it waits for.
    fn call(&self) {
        let mut inner = self.inner.lock();
        inner.called = true;
        let wake = !std::mem::replace(&mut inner.awake, true);
        drop(inner);
        if wake {
            self.waker.wake();
        }
    }

    /// True while a request to end has not been taken.
    pub fn has_close_request(&self) -> bool {
        self.has_close_request.load(Ordering::Relaxed)
    }

    /// The reason, once somebody has asked.
    pub fn close_requested(&self) -> Option<CloseRequest> {
        if !self.has_close_request.load(Ordering::Relaxed) {
            return None;
        }
        self.has_close_request.store(false, Ordering::Relaxed);
        self.close_request.lock().take()
    }

    /// No delivery is accepted any more.
    pub fn close(&self) {
        let mut inner = self.inner.lock();
        inner.closed = true;
        let bytes = inner.queued + inner.in_flight;
        inner.before.clear();
        inner.buffer = Vec::new();
        inner.queued = 0;
        inner.in_flight = 0;
        drop(inner);
        self.memory.sub(bytes);
    }

    /// Settles tags of a channel.
    ///
    /// # Errors
    /// When the tag is not outstanding.
    pub fn settle(
        &self,
        channel: u16,
        tag: u64,
        multiple: bool,
        how: Settlement,
        settled: &mut Settled,
    ) -> Result<(), UnknownTag> {
        let mut inner = self.inner.lock();
        let Some(out) = inner.channel(channel) else { return Ok(()) };
        let mut ledger = std::mem::take(&mut out.ledger);
        let outstanding = ledger.outstanding();
        let counts_apart = how == Settlement::Ack && out.counts_apart();
        let result = ledger.settle(tag, multiple, |unacked| {
            if counts_apart {
                out.count_apart(unacked.slot, Kind::Ack);
            }
            out.release(unacked, settled);
        });
        if how == Settlement::Ack {
            out.delivering.acked += (outstanding - ledger.outstanding()) as u64;
        }
        out.ledger = ledger;
        out.take_resumable(&mut settled.resumed);
        result
    }

    /// Takes tags out of the ledger for a transaction; they keep their slots.
    ///
    /// # Errors
    /// When the tag is not outstanding.
    pub fn reserve(&self, channel: u16, tag: u64, multiple: bool) -> Result<Vec<Unacked>, UnknownTag> {
        let mut inner = self.inner.lock();
        let mut reserved = Vec::new();
        if let Some(out) = inner.channel(channel) {
            out.ledger.settle(tag, multiple, |unacked| reserved.push(unacked))?;
        }
        Ok(reserved)
    }

    /// Settles tags that were reserved.
    pub fn settle_reserved(&self, channel: u16, reserved: Vec<Unacked>, how: Settlement, settled: &mut Settled) {
        let mut inner = self.inner.lock();
        if let Some(out) = inner.channel(channel) {
            if how == Settlement::Ack {
                out.delivering.acked += reserved.len() as u64;
            }
            for unacked in reserved {
                if how == Settlement::Ack {
                    out.count_apart(unacked.slot, Kind::Ack);
                }
                out.release(unacked, settled);
            }
            out.take_resumable(&mut settled.resumed);
        }
    }

    /// Puts reserved tags back.
    pub fn restore(&self, channel: u16, reserved: Vec<Unacked>) {
        let mut inner = self.inner.lock();
        if let Some(out) = inner.channel(channel) {
            out.ledger.restore(reserved);
        }
    }

    /// Takes all unacked deliveries of a channel, to requeue them.
    pub fn settle_all(&self, channel: u16) -> Settled {
        let mut settled = Settled::default();
        let mut inner = self.inner.lock();
        if let Some(out) = inner.channel(channel) {
            let mut ledger = std::mem::take(&mut out.ledger);
            ledger.drain(|unacked| out.release(unacked, &mut settled));
            out.ledger = ledger;
            out.take_resumable(&mut settled.resumed);
        }
        settled
    }

    /// A channel is open; `publishing` is where it counts its publishes. A detailed one counts by queue, too.
    pub fn open_channel(&self, channel: u16, publishing: Arc<Publishing>, is_detailed: bool) {
        let out = ChannelOut { publishing, apart: is_detailed.then(Box::default), ..ChannelOut::default() };
        self.inner.lock().channels.insert(channel, Box::new(out));
    }

    /// Forgets a channel, in one step, so that no delivery can slip in between: gives back its unacked deliveries, its
    /// consumers, and what it has counted.
    pub fn close_channel(&self, channel: u16) -> (Settled, Vec<(Arc<Queue>, ConsumerKey)>, Counted) {
        let mut inner = self.inner.lock();
        inner.stalled.retain(|(c, _)| *c != channel);
        let removed = inner.channels.remove(&channel);
        drop(inner);
        let mut settled = Settled::default();
        let Some(mut out) = removed else { return (settled, Vec::new(), Counted::default()) };
        let counted = out.counted();
        let living = out.slots.iter().flatten().filter(|slot| !slot.ended);
        let consumers = living.filter_map(|slot| Some((Arc::clone(&slot.queue), slot.consumer?))).collect();
        let mut ledger = std::mem::take(&mut out.ledger);
        ledger.drain(|unacked| out.release(unacked, &mut settled));
        (settled, consumers, counted)
    }

    /// Nothing is delivered any more; what has been written still goes out.
    pub fn refuse_deliveries(&self) {
        self.inner.lock().closed = true;
    }

    /// Sets the limit that all consumers of a channel share; gives back those that may go on.
    pub fn set_global_prefetch(&self, channel: u16, limit: u32) -> Vec<(Arc<Queue>, ConsumerKey)> {
        let mut resumed = Vec::new();
        if let Some(out) = self.inner.lock().channel(channel) {
            out.global_prefetch = limit;
            out.take_resumable(&mut resumed);
        }
        resumed
    }

    /// The limit that all consumers of a channel share; 0 is none.
    pub fn global_prefetch(&self, channel: u16) -> u32 {
        self.inner.lock().channel(channel).map_or(0, |out| out.global_prefetch)
    }

    /// The consumers on a channel: tags and queues.
    pub fn consumers_of(&self, channel: u16) -> Vec<(Box<[u8]>, Arc<Queue>)> {
        let mut inner = self.inner.lock();
        let Some(out) = inner.channel(channel) else { return Vec::new() };
        let queue = |slot: u32| out.slots.get(slot as usize)?.as_ref().map(|slot| Arc::clone(&slot.queue));
        out.consumers.iter().filter_map(|(tag, slot)| Some((tag.clone(), queue(*slot)?))).collect()
    }

    /// The client takes `basic.cancel`.
    pub fn tells_of_cancels(&self) -> bool {
        self.inner.lock().cancel_notify
    }

    /// The connection's name.
    pub fn name(&self) -> Arc<str> {
        self.owner.get().map(|owner| Arc::clone(&owner.connection)).unwrap_or_default()
    }

    /// Number of consumers on a channel.
    pub fn consumer_count(&self, channel: u16) -> usize {
        self.inner.lock().channel(channel).map_or(0, |out| out.consumers.len())
    }

    /// Makes room for a consumer; `None` when the tag is in use on this channel.
    pub fn add_consumer(&self, channel: u16, tag: &[u8], queue: &Arc<Queue>) -> Option<u32> {
        let mut inner = self.inner.lock();
        let out = inner.channel(channel)?;
        if out.consumers.contains_key(tag) {
            return None;
        }
        let slot = out.add_slot(queue);
        out.consumers.insert(tag.into(), slot);
        Some(slot)
    }

    /// The consumer has its key; answers `consume-ok` unless the client does not want it.
    pub fn consumer_started(&self, channel: u16, slot: u32, key: ConsumerKey, consume_ok: Option<&AMQPClass>) {
        let mut writing = self.lock();
        if let Some(s) = writing.channel(channel).and_then(|out| out.slot_mut(slot)) {
            s.consumer = Some(key);
        }
        if let Some(method) = consume_ok {
            writing.send(channel, method);
        }
    }

    /// Says what a consumer wants, for those who look at it.
    pub fn describe_consumer(&self, channel: u16, slot: u32, wanted: Wanted) {
        if let Some(slot) = self.inner.lock().channel(channel).and_then(|out| out.slot_mut(slot)) {
            slot.wanted = Some(Box::new(wanted));
        }
    }

    /// A consumer that its queue did not take.
    pub fn consumer_failed(&self, channel: u16, tag: &[u8], slot: u32) {
        if let Some(out) = self.inner.lock().channel(channel) {
            out.consumers.remove(tag);
            out.free_slot(slot);
        }
    }

    /// The queue and key of a consumer.
    pub fn find_consumer(&self, channel: u16, tag: &[u8]) -> Option<(Arc<Queue>, ConsumerKey)> {
        let mut inner = self.inner.lock();
        let out = inner.channel(channel)?;
        let slot = *out.consumers.get(tag)?;
        let slot = out.slot_mut(slot)?;
        Some((Arc::clone(&slot.queue), slot.consumer?))
    }

    /// Forgets a consumer; its deliveries stay in the ledger.
    pub fn remove_consumer(&self, channel: u16, tag: &[u8]) {
        let mut inner = self.inner.lock();
        let slot = inner.channel(channel).and_then(|out| {
            let slot = out.consumers.get(tag).copied();
            out.end_consumer(tag);
            slot
        });
        if let Some(slot) = slot {
            inner.stalled.retain(|stalled| *stalled != (channel, slot));
        }
    }

    /// Writes a message that was got.
    pub fn got(&self, channel: u16, queue: &Arc<Queue>, got: &Got, no_ack: bool) {
        let mut writing = self.lock();
        let at = self.clock.load(Ordering::Relaxed);
        let Some(out) = writing.channel(channel) else { return };
        let tag = out.ledger.next_tag();
        out.delivering.redelivered += u64::from(got.redelivered);
        out.count_got(queue, if no_ack { Kind::GetNoAck } else { Kind::Get });
        if got.redelivered {
            out.count_got(queue, Kind::Redeliver);
        }
        if no_ack {
            out.delivering.got_no_ack += 1;
        } else {
            out.delivering.got += 1;
            let slot = out.get_slot(queue);
            out.note(got.position, slot, at, false);
        }
        let view = got.message.view();
        let shown = shown(view, got.returned);
        let view = with_properties(view, shown.as_deref());
        let left = u32::try_from(got.left).unwrap_or(u32::MAX);
        write::get_ok(writing.buffer(), channel, tag, got.redelivered, view.route, left);
        writing.content(channel, view, Some(&got.message));
    }

    /// Answers that there was nothing to get.
    pub fn got_nothing(&self, channel: u16, queue: &Arc<Queue>) {
        let mut writing = self.lock();
        if let Some(out) = writing.channel(channel) {
            out.delivering.get_empty += 1;
            out.count_got(queue, Kind::GetEmpty);
        }
        writing.send(channel, &AMQPClass::Basic(AMQPMethod::GetEmpty(basic::GetEmpty {})));
    }

    /// Writes an unroutable message back to its publisher.
    pub fn returned(&self, channel: u16, refusal_code: u16, text: &str, view: MessageView<'_>) {
        let shown = shown(view, None);
        let view = with_properties(view, shown.as_deref());
        let mut writing = self.lock();
        write::returned(writing.buffer(), channel, refusal_code, text, view.route);
        writing.content(channel, view, None);
    }

    /// Shows all channels, by number, under the lock.
    pub fn each_channel(&self, mut each: impl FnMut(u16, &mut ChannelOut)) {
        let mut inner = self.inner.lock();
        inner.channels.iter_mut().for_each(|(number, channel)| each(*number, channel));
    }

    /// Takes a sample of what has been counted, `seconds` after the last one. `each` gets what its channels have counted, and
    /// whether that has changed; true when it has for any.
    pub fn sample(&self, seconds: f64, now_ms: u64, mut each: impl FnMut(&Arc<Publishing>, Counted, bool)) -> bool {
        let mut inner = self.inner.lock();
        inner.rates.sample(&self.counts.bytes(), seconds);
        let mut any = false;
        for channel in inner.channels.values_mut() {
            let (counted, moved) = channel.sample(seconds, now_ms);
            each(&channel.publishing, counted, moved);
            any |= moved;
        }
        any
    }

    /// Bytes received and sent per second.
    pub fn rates(&self) -> Rates<2> {
        self.inner.lock().rates
    }

    /// Tells the client that its publishes wait, or no longer.
    pub fn blocked(&self, reason: Option<&str>) {
        let method = match reason {
            Some(reason) => connection::AMQPMethod::Blocked(connection::Blocked { reason: reason.into() }),
            None => connection::AMQPMethod::Unblocked(connection::Unblocked {}),
        };
        self.lock().send(0, &AMQPClass::Connection(method));
    }
}

/// The properties as a client gets them, where those are not the message's own: without BCC and the like, and with the number of
/// times that the message has been returned, if the consumer is to be told.
#[inline]
fn shown(view: MessageView<'_>, returned: Option<u32>) -> Option<Vec<u8>> {
    if !view.hidden && returned.is_none() {
        return None;
    }
    rewritten(view, returned)
}

#[cold]
fn rewritten(view: MessageView<'_>, returned: Option<u32>) -> Option<Vec<u8>> {
    let visible = view.hidden.then(|| headers::visible(view.properties));
    let Some(n) = returned else { return visible };
    Some(headers::with_delivery_count(visible.as_deref().unwrap_or(view.properties), n))
}

#[inline]
fn with_properties<'a>(view: MessageView<'a>, properties: Option<&'a [u8]>) -> MessageView<'a> {
    MessageView { properties: properties.unwrap_or(view.properties), ..view }
}

/// The locked outbox. What was appended is counted when it goes out of scope.
pub struct Writing<'a> {
    memory: &'static MemoryAccount,
    inner: MutexGuard<'a, Inner>,
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        let before = self.inner.queued;
        self.inner.recount();
        self.memory.add(self.inner.queued.saturating_sub(before));
    }
}

impl std::ops::Deref for Writing<'_> {
    type Target = Inner;
    fn deref(&self) -> &Inner {
        &self.inner
    }
}

impl std::ops::DerefMut for Writing<'_> {
    fn deref_mut(&mut self) -> &mut Inner {
        &mut self.inner
    }
}

/// A commit that the connection waits for is done, or there is room again.
impl Waiter for Outbox {
    fn wake(&self) {
        self.call();
    }

    fn wake_alone(&self, committed: u64) {
        if !self.answer_in_place(committed) {
            self.call();
        }
    }
}

#[cfg(test)]
mod tests;
