//! A client of the `connection` target: a machine, and the socket that it does not have.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use amq_protocol::protocol::{AMQPClass, channel, connection};
use leveret::connection::Failure;
use leveret::connection::entrance::Client;
use leveret::connection::machine::{Machine, Shared};
use leveret::connection::outbox::CloseRequest;
use leveret::connection::outbox::Segment;
use leveret::frames::{MethodId, write};
use leveret::queue::Wakes;
use tokio::time::Instant;

use super::observer::{Common, Event, Observer};
use super::script::Login;

pub struct Peer {
    pub machine: Machine,
    pub observer: Observer,
    /// On the way to the broker.
    inbox: VecDeque<u8>,
    /// Read, and not done with.
    tail: Vec<u8>,
    pending: VecDeque<Segment>,
    offset: usize,
    sent: u64,
    pub is_slow: bool,
    /// Bytes that one read brings.
    pub read_size: usize,
    /// The client has closed its side.
    pub is_gone: bool,
    is_released: bool,
}

impl Peer {
    pub fn new(shared: &Arc<Shared>, now: Instant) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], 40_000));
        Self {
            machine: Machine::new(Arc::clone(shared), Client::new(address, address), now),
            observer: Observer::default(),
            inbox: VecDeque::new(),
            tail: Vec::new(),
            pending: VecDeque::new(),
            offset: 0,
            sent: 0,
            is_slow: false,
            read_size: usize::MAX,
            is_gone: false,
            is_released: false,
        }
    }

    /// Sends a whole handshake of a user.
    pub fn log_in(&mut self, user: u8, frame_max: u32, capable: u8) {
        let choice = (0..8).find(|n| super::script::frame_max_of(*n) == frame_max).expect("one of the choices");
        self.observer.frame_max = frame_max;
        self.observer.cancel_notify = capable & 1 == 0;
        self.send_bytes(b"AMQP\0\0\x09\x01");
        self.send(0, &Login::StartOk { user, mechanism: 0, capable }.method());
        self.send(0, &Login::TuneOk { channel_max: 100, frame_max: choice, heartbeat: 60 }.method());
        self.send(0, &Login::Open { vhost: 0 }.method());
    }

    pub fn send(&mut self, channel: u16, method: &AMQPClass) {
        let mut out = Vec::new();
        write::cold(&mut out, channel, method);
        self.send_bytes(&out);
    }

    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.inbox.extend(bytes);
    }

    pub fn open_channel(&mut self, number: u16) {
        self.observer.channels.entry(number).or_default().opens.0 += 1;
        self.send(number, &AMQPClass::Channel(channel::AMQPMethod::Open(channel::Open {})));
    }

    /// Everything was sent, read and understood.
    pub fn is_idle(&self) -> bool {
        self.inbox.is_empty() && self.tail.is_empty() && self.pending.is_empty() && self.machine.outbox.backlog() == 0
    }

    pub fn has_ended(&self) -> bool {
        self.is_released
    }

    /// What the connection's task does until it would sleep; with `read`, it is given what was sent.
    pub fn run(&mut self, read: bool, common: &mut Common) {
        while !self.is_released {
            if self.machine.update_blocked() {
                self.process();
            }
            // What was taken for the socket before an abrupt end may still get through.
            let is_stuck = self.is_slow && !self.machine.abandoned;
            let all_written = self.flush(if is_stuck { 0 } else { usize::MAX }, common);
            if self.machine.has_ended() && (all_written || self.machine.abandoned) {
                return self.release();
            }
            if let Some(reason) = self.machine.outbox.close_requested() {
                match reason {
                    CloseRequest::Close(reason) => self.machine.close(&Failure::new(reason, MethodId::NONE)),
                    CloseRequest::End => self.machine.abandon(),
                }
            } else if self.machine.waiting.is_some() {
                self.machine.durable(Ok(()));
                self.process();
            } else if self.is_gone {
                self.machine.client_is_gone();
            } else if read && self.machine.may_read() && !self.inbox.is_empty() {
                let count = self.inbox.len().min(self.read_size);
                self.tail.extend(self.inbox.drain(..count));
                self.process();
            } else {
                return;
            }
        }
    }

    fn process(&mut self) {
        let done = self.machine.process(&self.tail);
        assert!(done <= self.tail.len());
        self.tail.drain(..done);
    }

    /// Has the machine look at the time.
    pub fn tick(&mut self, now: Instant, common: &mut Common) {
        if !self.is_released {
            self.machine.now = now;
            self.machine.tick(self.sent);
            self.run(false, common);
        }
    }

    /// Writes up to so many bytes; true when nothing is left.
    pub fn flush(&mut self, mut room: usize, common: &mut Common) -> bool {
        loop {
            if self.pending.is_empty() {
                self.machine.outbox.take(&mut self.pending);
            }
            let Some(first) = self.pending.front() else { return true };
            if room == 0 {
                return false;
            }
            let rest = &first.bytes()[self.offset..];
            let count = rest.len().min(room);
            let events = self.observer.see(&rest[..count], common);
            self.offset += count;
            if count == rest.len() {
                self.offset = 0;
                self.pending.pop_front();
            }
            room -= count;
            self.sent += count as u64;
            let mut wakes = Wakes::default();
            for (queue, consumer) in self.machine.outbox.written(count) {
                queue.resume(consumer, &mut wakes);
            }
            wakes.run();
            self.answer(events);
        }
    }

    /// A well-behaved client confirms closes, and opens its channels again.
    fn answer(&mut self, events: Vec<Event>) {
        for event in events {
            match event {
                Event::ChannelClosed(number) => {
                    let close_ok = AMQPClass::Channel(channel::AMQPMethod::CloseOk(channel::CloseOk {}));
                    self.send(number, &close_ok);
                    self.open_channel(number);
                }
                Event::ConnectionClosed => {
                    let close_ok = connection::AMQPMethod::CloseOk(connection::CloseOk {});
                    self.send(0, &AMQPClass::Connection(close_ok));
                }
            }
        }
    }

    /// The end of the connection's task.
    fn release(&mut self) {
        if !self.machine.abandoned {
            self.observer.check_complete();
        }
        self.machine.release();
        self.pending.clear();
        self.is_released = true;
    }

    /// The client goes, and its connection with it.
    pub fn leave(&mut self, common: &mut Common) {
        self.is_gone = true;
        self.run(false, common);
        assert!(self.is_released);
    }
}
