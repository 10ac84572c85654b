//! The event loop of one connection, on a thread of its own.
//!
//! A turn waits for the socket, reads once, handles every whole frame of what has come, lets the producers fill the
//! output buffer as far as window and rate allow, and writes once. So the batches are as large as the broker's pace
//! makes them, and a single message goes out at once. Reading never waits for writing: a broker that stops reading
//! cannot lock up with us.

use std::io::{ErrorKind, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use amq_protocol::protocol::{AMQPClass, basic, channel, connection};

use crate::frames::frame::{Frame, FrameKind, split};
use crate::frames::method::{Method, decode};
use crate::frames::{ContentHeader, write};

use super::clock::Clock;
use super::confirms::Answered;
use super::consumer::{Consumer, Incoming};
use super::failure::Failure;
use super::inbox::Inbox;
use super::lane::Lane;
use super::meter::{Meter, Orders, Waits};
use super::producer::Producer;
use super::session::{channel_closed, connection_closed};
use super::socket::Socket;
use super::system::{precise_timers, wait};
use super::{body, methods};

/// Producers stop filling the output buffer here: what a socket takes at once, and small enough to stay in the cache.
const OUT_FULL: usize = 64 * 1024;
/// The longest wait: how soon a stopped run is noticed.
const TICK: Duration = Duration::from_millis(20);
/// Nanoseconds without a delivery after which fewer than --ack-every messages are acknowledged.
const PATIENT_ACK: u64 = 30_000_000;
/// How long a good-bye may take.
const GOOD_BYE: Duration = Duration::from_secs(2);

pub struct Pump {
    stream: Socket,
    inbox: Inbox,
    frame_max: u32,
    /// Nanoseconds; 0 is none.
    heartbeat: u64,
    last_read: u64,
    last_write: u64,
    out_at: usize,
    clock: Clock,
    orders: Arc<Orders>,
    counted_as_producing: bool,
    state: State,
}

/// What frames act on, apart from the buffer that they lie in.
struct State {
    out: Vec<u8>,
    lanes: Vec<Lane>,
    /// By channel number: index of its lane.
    lane_of: Vec<usize>,
    producers: Vec<Producer>,
    consumers: Vec<Consumer>,
    size: u64,
    filler: Vec<u8>,
    blocked: bool,
    now: u64,
    confirm_waits: Waits,
    end_to_end_waits: Waits,
    meter: Arc<Meter>,
}

/// Everything that a pump starts with.
pub struct Parts {
    pub stream: Socket,
    pub inbox: Inbox,
    pub frame_max: u32,
    pub heartbeat: u16,
    pub lanes: Vec<Lane>,
    pub producers: Vec<Producer>,
    pub consumers: Vec<Consumer>,
    pub size: usize,
    pub meter: Arc<Meter>,
    pub orders: Arc<Orders>,
    pub clock: Clock,
}

impl Pump {
    pub fn new(parts: Parts) -> Result<Self, Failure> {
        parts.stream.raw().set_nonblocking(true)?;
        parts.stream.raw().set_read_timeout(None)?;
        let highest = parts.lanes.iter().map(|l| l.channel).max().unwrap_or(0);
        let lane_of =
            (0..=highest).map(|c| parts.lanes.iter().position(|l| l.channel == c).unwrap_or(usize::MAX)).collect();
        let counted_as_producing = !parts.producers.is_empty();
        if counted_as_producing {
            parts.orders.producing.fetch_add(1, Relaxed);
        }
        let now = parts.clock.now();
        Ok(Self {
            stream: parts.stream,
            inbox: parts.inbox,
            frame_max: parts.frame_max,
            heartbeat: u64::from(parts.heartbeat) * 1_000_000_000,
            last_read: now,
            last_write: now,
            out_at: 0,
            clock: parts.clock,
            orders: parts.orders,
            counted_as_producing,
            state: State {
                out: Vec::new(),
                lanes: parts.lanes,
                lane_of,
                producers: parts.producers,
                consumers: parts.consumers,
                size: parts.size as u64,
                filler: body::filler(parts.size),
                blocked: false,
                now,
                confirm_waits: Waits::new(),
                end_to_end_waits: Waits::new(),
                meter: parts.meter,
            },
        })
    }

    /// Runs until the orders say that it is over; gives back what the producers have sent.
    pub fn run(mut self) -> Vec<Producer> {
        precise_timers();
        let result = self.turns();
        self.leave_producing();
        if let Err(failure) = result {
            self.orders.fail(failure);
        }
        self.state.note_unconfirmed();
        self.state.producers
    }

    fn turns(&mut self) -> Result<(), Failure> {
        // What came with the last answer of the set-up.
        self.handle_frames()?;
        while !self.orders.finish.load(Relaxed) {
            self.turn()?;
        }
        self.good_bye()
    }

    fn turn(&mut self) -> Result<(), Failure> {
        let stopped = self.orders.stop.load(Relaxed);
        self.state.now = self.clock.now();
        let may_send = !stopped && self.state.may_send();
        let pending = self.out_at < self.state.out.len();
        let encrypted = self.stream.wants_write();
        let ready = wait(self.stream.raw(), may_send || pending || encrypted, self.timeout(stopped))?;
        self.state.now = self.clock.now();
        if ready.read {
            self.read()?;
        } else {
            self.rest();
        }
        if encrypted && ready.write {
            self.stream.drain()?;
        }
        if pending && ready.write {
            self.write()?;
        }
        if self.out_at == self.state.out.len() {
            self.state.out.clear();
            self.out_at = 0;
        }
        if !stopped {
            self.state.now = self.clock.now();
            self.state.produce();
        }
        // Fresh output is tried at once; older output waits until the socket says that it can.
        if self.out_at == 0 && !self.state.out.is_empty() {
            self.write()?;
        }
        self.state.publish_counters();
        if stopped || self.state.producers.iter().all(Producer::has_finished) {
            self.check_finished();
        }
        self.heartbeats()
    }

    fn timeout(&self, stopped: bool) -> Duration {
        if stopped || self.state.blocked {
            return TICK;
        }
        let due = self.state.producers.iter().filter_map(Producer::due).min();
        due.map_or(TICK, |due| Duration::from_nanos(due.saturating_sub(self.state.now)).min(TICK))
    }

    fn read(&mut self) -> Result<(), Failure> {
        match self.inbox.fill(&mut self.stream) {
            Ok(0) => return Err(Failure::Cut("")),
            Ok(_) => {}
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return Ok(()),
            Err(e) if e.kind() == ErrorKind::ConnectionReset => return Err(Failure::Cut("")),
            Err(e) => return Err(e.into()),
        }
        self.last_read = self.state.now;
        self.handle_frames()
    }

    fn handle_frames(&mut self) -> Result<(), Failure> {
        let mut rest = self.inbox.unread();
        let whole = rest.len();
        while let Some((frame, n)) = split(rest, self.frame_max).map_err(|e| Failure::Protocol(e.to_string()))? {
            self.state.frame(frame)?;
            rest = rest.get(n..).unwrap_or_default();
        }
        let used = whole - rest.len();
        self.inbox.used(used);
        self.state.report();
        Ok(())
    }

    /// Nothing has come for a while: then what is waiting for company is acknowledged alone.
    fn rest(&mut self) {
        if self.state.now.saturating_sub(self.last_read) > PATIENT_ACK {
            self.state.flush_acks();
        }
    }

    fn write(&mut self) -> Result<(), Failure> {
        let pending = self.state.out.get(self.out_at..).unwrap_or_default();
        match self.stream.write(pending) {
            Ok(n) => self.out_at += n,
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return Ok(()),
            // The reason, if the broker gave one, is still to be read.
            Err(e) if matches!(e.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
                return self.read_last_words();
            }
            Err(e) => return Err(e.into()),
        }
        self.last_write = self.state.now;
        if self.out_at == self.state.out.len() {
            self.state.out.clear();
            self.out_at = 0;
        }
        Ok(())
    }

    fn read_last_words(&mut self) -> Result<(), Failure> {
        loop {
            let ready = wait(self.stream.raw(), false, TICK)?;
            if !ready.read {
                return Err(Failure::Cut(""));
            }
            self.read()?;
        }
    }

    fn heartbeats(&mut self) -> Result<(), Failure> {
        if self.heartbeat == 0 {
            return Ok(());
        }
        let now = self.state.now;
        if now.saturating_sub(self.last_write) > self.heartbeat / 2 && self.state.out.is_empty() {
            self.state.out.extend_from_slice(&write::HEARTBEAT);
            self.last_write = now;
        }
        // A broker that does not read us may still be well; one that sends nothing at all is not.
        if now.saturating_sub(self.last_read) > 2 * self.heartbeat { Err(Failure::Silent) } else { Ok(()) }
    }

    fn check_finished(&mut self) {
        let waiting = self.state.producers.iter().any(|p| p.outstanding > 0);
        if !waiting && self.state.out.is_empty() {
            self.leave_producing();
        }
    }

    fn leave_producing(&mut self) {
        if std::mem::take(&mut self.counted_as_producing) {
            self.orders.producing.fetch_sub(1, Relaxed);
        }
    }

    fn good_bye(&mut self) -> Result<(), Failure> {
        self.state.flush_acks();
        write::cold(&mut self.state.out, 0, &methods::close());
        let socket = self.stream.raw();
        socket.set_nonblocking(false)?;
        socket.set_write_timeout(Some(GOOD_BYE))?;
        socket.set_read_timeout(Some(GOOD_BYE))?;
        // Whoever does not take or answer a good-bye need not.
        let pending = self.state.out.get(self.out_at..).unwrap_or_default();
        if self.stream.write_all(pending).is_ok() {
            let end = self.clock.now() + u64::try_from(GOOD_BYE.as_nanos()).unwrap_or(0);
            while self.clock.now() < end && self.inbox.fill(&mut self.stream).is_ok_and(|n| n > 0) {
                if self.inbox.unread().ends_with(&CLOSE_OK) {
                    break;
                }
                self.inbox.used(usize::MAX / 2);
            }
        }
        Ok(())
    }
}

/// The payload and end of `connection.close-ok`.
const CLOSE_OK: [u8; 5] = [0, 10, 0, 51, 0xCE];

impl State {
    #[inline]
    fn frame(&mut self, frame: Frame<'_>) -> Result<(), Failure> {
        match frame.kind {
            FrameKind::Method => self.method(frame),
            FrameKind::Header => self.header(frame),
            FrameKind::Body => self.body(frame),
            FrameKind::Heartbeat => Ok(()),
        }
    }

    #[inline]
    fn lane(&mut self, channel: u16) -> Result<&mut Lane, Failure> {
        let lane = self.lane_of.get(usize::from(channel)).and_then(|at| self.lanes.get_mut(*at));
        lane.ok_or_else(|| Failure::Protocol(format!("a frame on channel {channel}, which is not open")))
    }

    #[inline]
    fn method(&mut self, frame: Frame<'_>) -> Result<(), Failure> {
        match decode(frame.payload).map_err(|e| Failure::Protocol(e.to_string()))? {
            Method::Deliver { consumer_tag, delivery_tag, redelivered, .. } => {
                let consumer = decimal(consumer_tag);
                let incoming = Incoming { consumer, delivery_tag, redelivered, ..Incoming::default() };
                self.lane(frame.channel)?.incoming = Some(incoming);
                Ok(())
            }
            Method::Ack { delivery_tag, multiple } => self.answer(frame.channel, delivery_tag, multiple, true),
            Method::Nack { delivery_tag, multiple, .. } => self.answer(frame.channel, delivery_tag, multiple, false),
            Method::Return { .. } => {
                // Its content follows, and is no delivery to any consumer.
                let incoming = Incoming { consumer: usize::MAX, ..Incoming::default() };
                self.lane(frame.channel)?.incoming = Some(incoming);
                Meter::add(&self.meter.returned, 1);
                Ok(())
            }
            Method::Cold(class) => self.cold(frame.channel, *class),
            other => Err(Failure::Protocol(format!("{other:?}"))),
        }
    }

    #[inline]
    fn header(&mut self, frame: Frame<'_>) -> Result<(), Failure> {
        let header = ContentHeader::parse(frame.payload).map_err(|e| Failure::Protocol(e.to_string()))?;
        let lane = self.lane(frame.channel)?;
        let Some(incoming) = lane.incoming.as_mut() else {
            return Err(Failure::Protocol("a content header without a method".into()));
        };
        incoming.size = Some(header.body_size);
        if header.body_size == 0 { self.message(frame.channel) } else { Ok(()) }
    }

    #[inline]
    fn body(&mut self, frame: Frame<'_>) -> Result<(), Failure> {
        let lane = self.lane_of.get(usize::from(frame.channel)).and_then(|at| self.lanes.get_mut(*at));
        let Some(incoming) = lane.and_then(|l| l.incoming.as_mut()) else {
            return Err(Failure::Protocol("a body without a method".into()));
        };
        if incoming.take(frame.payload, &self.filler) { self.message(frame.channel) } else { Ok(()) }
    }

    /// A message has come whole.
    #[inline]
    fn message(&mut self, channel: u16) -> Result<(), Failure> {
        let Some(lane) = self.lane_of.get(usize::from(channel)).and_then(|at| self.lanes.get_mut(*at)) else {
            return Ok(());
        };
        let Some(incoming) = lane.incoming.take() else { return Ok(()) };
        let Some(consumer) = self.consumers.get_mut(incoming.consumer) else {
            return match incoming.consumer {
                usize::MAX => {
                    self.returned(&incoming);
                    Ok(())
                }
                _ => Err(Failure::Protocol("a delivery for a consumer that does not exist".into())),
            };
        };
        consumer.message(&incoming, self.size);
        if let Some(acks) = &mut lane.acks {
            acks.delivered(&mut self.out, channel, incoming.delivery_tag);
        }
        Ok(())
    }

    /// An unroutable message came back: nobody will receive it.
    fn returned(&mut self, incoming: &Incoming) {
        let [i0, i1, i2, i3, i4, i5, i6, i7, ..] = incoming.head;
        let id = body::Id::decode([i0, i1, i2, i3, i4, i5, i6, i7]);
        let sent = |p: &&mut Producer| p.id == id.producer && id.seq < p.sent.published;
        if let Some(producer) = self.producers.iter_mut().find(sent) {
            producer.not_promised(id.seq..id.seq + 1);
            take_back(&self.meter, producer.reach);
        }
    }

    fn answer(&mut self, channel: u16, tag: u64, multiple: bool, kept: bool) -> Result<(), Failure> {
        let lane = self.lane_of.get(usize::from(channel)).and_then(|at| self.lanes.get_mut(*at));
        let Some(confirms) = lane.and_then(|l| l.confirms.as_mut()) else {
            return Err(Failure::Protocol(format!("a confirm on channel {channel}, which asked for none")));
        };
        let (producers, meter, waits, now) = (&mut self.producers, &self.meter, &mut self.confirm_waits, self.now);
        confirms.answer(tag, multiple, |answered: Answered| {
            let count = answered.seqs.end - answered.seqs.start;
            waits.push((now.saturating_sub(answered.sent_at), count));
            let Some(producer) = producers.get_mut(answered.producer) else { return };
            producer.outstanding = producer.outstanding.saturating_sub(count);
            if kept {
                Meter::add(&meter.confirmed, count);
            } else {
                Meter::add(&meter.refused, count);
                producer.not_promised(answered.seqs);
                take_back(meter, count * producer.reach);
            }
        });
        Ok(())
    }

    fn cold(&mut self, channel: u16, method: AMQPClass) -> Result<(), Failure> {
        match method {
            AMQPClass::Connection(connection::AMQPMethod::Close(close)) => Err(connection_closed(&close)),
            AMQPClass::Channel(channel::AMQPMethod::Close(close)) => Err(channel_closed(channel, &close)),
            AMQPClass::Connection(connection::AMQPMethod::Blocked(_)) => {
                self.blocked = true;
                Ok(())
            }
            AMQPClass::Connection(connection::AMQPMethod::Unblocked(_)) => {
                self.blocked = false;
                Ok(())
            }
            AMQPClass::Channel(channel::AMQPMethod::Flow(flow)) => {
                self.blocked = !flow.active;
                write::cold(&mut self.out, channel, &methods::flow_ok(flow.active));
                Ok(())
            }
            AMQPClass::Basic(basic::AMQPMethod::Cancel(cancel)) => {
                Err(Failure::Cancelled(cancel.consumer_tag.to_string()))
            }
            other => Err(Failure::Protocol(format!("{other:?}"))),
        }
    }

    fn may_send(&self) -> bool {
        !self.blocked && self.producers.iter().any(|p| p.allowance(self.now) > 0)
    }

    /// Lets each producer write its share of one buffer.
    fn produce(&mut self) {
        if self.blocked || self.producers.is_empty() || self.out.len() >= OUT_FULL {
            return;
        }
        let share = OUT_FULL / self.producers.len();
        for (index, producer) in self.producers.iter_mut().enumerate() {
            let room = (share / producer.template.len().max(1)).max(1);
            let count = producer.allowance(self.now).min(room as u64);
            if count == 0 {
                continue;
            }
            let seqs = producer.write(&mut self.out, count, self.now);
            Meter::add(&self.meter.sent, count);
            Meter::add(&self.meter.expected, count * producer.reach);
            if let Some(confirms) = self.lanes.get_mut(producer.lane).and_then(|l| l.confirms.as_mut()) {
                confirms.published(index, seqs, self.now);
            }
        }
    }

    fn flush_acks(&mut self) {
        for lane in &mut self.lanes {
            if let Some(acks) = &mut lane.acks {
                acks.flush(&mut self.out, lane.channel);
            }
        }
    }

    /// After each read: what the consumers got.
    fn report(&mut self) {
        for consumer in &mut self.consumers {
            let (received, unique) = consumer.report(self.now, &mut self.end_to_end_waits);
            Meter::add(&self.meter.received, received);
            Meter::add(&self.meter.unique, unique);
        }
    }

    fn publish_counters(&mut self) {
        self.meter.blocked.store(self.blocked, Relaxed);
        self.meter.record(&mut self.confirm_waits, &mut self.end_to_end_waits);
    }

    /// What has had no answer when all is over was never promised.
    fn note_unconfirmed(&mut self) {
        for lane in &self.lanes {
            for left in lane.confirms.iter().flat_map(super::confirms::Confirms::unanswered) {
                Meter::add(&self.meter.unconfirmed, left.seqs.end - left.seqs.start);
                if let Some(producer) = self.producers.get_mut(left.producer) {
                    producer.not_promised(left.seqs);
                }
            }
        }
    }
}

/// These deliveries will not come.
fn take_back(meter: &Meter, count: u64) {
    meter.expected.store(meter.expected.load(Relaxed).saturating_sub(count), Relaxed);
}

/// A consumer tag of this program: its index in decimal. Any other is no index.
#[inline]
fn decimal(tag: &[u8]) -> usize {
    let digit = |n: usize, b: &u8| b.is_ascii_digit().then(|| n * 10 + usize::from(b - b'0'));
    if tag.is_empty() || tag.len() > 6 {
        return usize::MAX - 1;
    }
    tag.iter().try_fold(0, digit).unwrap_or(usize::MAX - 1)
}
