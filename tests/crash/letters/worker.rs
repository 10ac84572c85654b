//! One client of this load.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use amq_protocol::protocol::AMQPClass;
use leveret::frames::Value;
use leveret::persist::sim::Random;
use parking_lot::Mutex;

use super::super::broker::PATIENCE;
use super::super::checker::Id;
use super::super::client::{Client, End, Incoming, Message, answers};
use super::super::message;
use super::super::method::*;
use super::ledger::{How, Ledger, Place, Route};

const MAIN: u16 = 1;
const CONSUME: u16 = 2;
const EXCHANGE: &str = "delayed";
const DEAD: &str = "dead";
const DUE: &str = "due";
const BARRIER: &str = "barrier";
/// How long to wait for what may not come, before doing something else.
const MOMENT: Duration = Duration::from_millis(1);
/// Most publishes that wait for their confirm.
const WINDOW: usize = 64;
const ROUTES: [Route; 3] = [Route::Timed, Route::Rejected, Route::Full];

/// What the workers have in common.
pub struct Shared {
    pub ledger: Mutex<Ledger>,
    in_quorum_queues: bool,
}

impl Shared {
    pub fn new(ledger: Ledger, in_quorum_queues: bool) -> Self {
        Self { ledger: Mutex::new(ledger), in_quorum_queues }
    }

    /// How a queue is declared.
    fn declaration(&self, queue: &str) -> Method {
        let declare = queue_declare(queue).durable();
        if self.in_quorum_queues { declare.arg("x-queue-type", "quorum").arg("x-delivery-limit", -1) } else { declare }
    }
}

type Settled = (Place, Id);

pub struct Worker<'a> {
    shared: &'a Shared,
    random: Random,
    client: Client,
    publisher: u32,
    sequence: u32,
    publish_tag: u64,
    /// What is confirmed, unless it is a barrier, and what is certain then.
    unconfirmed: BTreeMap<u64, (Option<Id>, Vec<Settled>)>,
    held: BTreeMap<u64, Settled>,
    /// Settled since the last barrier.
    settled: Vec<Settled>,
}

impl<'a> Worker<'a> {
    /// `number` is below 16, and each worker of a run has its own.
    pub fn connect(shared: &'a Shared, address: SocketAddr, number: u32, seed: u64) -> Result<Self, End> {
        let client = Client::connect(address)?;
        let publisher = shared.ledger.lock().run() * 16 + number;
        let mut worker = Self {
            shared,
            random: Random::new(seed),
            client,
            publisher,
            sequence: 0,
            publish_tag: 0,
            unconfirmed: BTreeMap::new(),
            held: BTreeMap::new(),
            settled: vec![],
        };
        worker.call(MAIN, &channel_open())?;
        worker.call(MAIN, &confirm_select())?;
        worker.call(CONSUME, &channel_open())?;
        worker.declare_all()?;
        Ok(worker)
    }

    fn declare_all(&mut self) -> Result<(), End> {
        let delayed = exchange_declare(EXCHANGE, "x-delayed-message").durable().arg("x-delayed-type", "direct");
        self.call(MAIN, &delayed)?;
        for queue in [DEAD, DUE, BARRIER] {
            self.call(MAIN, &self.shared.declaration(queue))?;
        }
        self.call(MAIN, &queue_bind(DUE, EXCHANGE, DUE))?;
        for route in ROUTES {
            let (queue, _) = route.source().expect("a queue");
            let declare = self.shared.declaration(queue).arg("x-dead-letter-exchange", "");
            let declare = declare.arg("x-dead-letter-routing-key", DEAD);
            self.call(
                MAIN,
                &match route {
                    Route::Timed => declare.arg("x-message-ttl", 30),
                    Route::Full => declare.arg("x-max-length", 20),
                    Route::Rejected | Route::Delayed { .. } => declare,
                },
            )?;
        }
        Ok(())
    }

    /// Goes on until the connection ends.
    pub fn work(mut self) -> Result<(), End> {
        self.call(CONSUME, &basic_qos(20))?;
        for queue in ["rejected", DEAD, DUE] {
            self.call(CONSUME, &basic_consume(queue, queue))?;
        }
        loop {
            self.take_in(MOMENT)?;
            match self.random.below(10) {
                0..5 => self.publish_some()?,
                5..9 => self.settle_something()?,
                _ => self.send_barrier()?,
            }
        }
    }

    /// Looks into all queues until everything was found that must be somewhere, takes what is at a target, and leaves
    /// when that is certain.
    pub fn inspect(mut self) -> Result<(), End> {
        self.call(MAIN, &queue_purge(BARRIER))?;
        let end = Instant::now() + PATIENCE;
        let mut found = BTreeSet::new();
        loop {
            let mut is_empty = true;
            for queue in ["timed", "rejected", "full", DEAD, DUE] {
                while let Some(message) = self.get(queue)? {
                    is_empty = false;
                    found.extend(self.received(queue, &message));
                }
            }
            let is_all = self.shared.ledger.lock().expected().is_subset(&found);
            if is_empty && is_all || Instant::now() > end {
                break;
            }
        }
        self.shared.ledger.lock().inspected(&found);
        for (tag, settled) in std::mem::take(&mut self.held) {
            match settled.0 {
                Place::Target => self.settle(tag, settled, How::Ack)?,
                Place::Source => self.settle(tag, settled, How::Requeue)?,
            }
        }
        self.send_barrier()?;
        while !self.unconfirmed.is_empty() {
            self.take_in(MOMENT)?;
        }
        self.call(0, &connection_close()).map(drop)
    }

    fn get(&mut self, queue: &str) -> Result<Option<Message>, End> {
        let get = basic_get(queue);
        self.client.send(CONSUME, &get)?;
        loop {
            match self.next()? {
                Incoming::Message { message, .. } => return Ok(Some(message)),
                Incoming::Method { method, .. } if answers(&method, &get) => return Ok(None),
                other => self.take(other),
            }
        }
    }

    fn publish_some(&mut self) -> Result<(), End> {
        for _ in 0..=self.random.below(10) {
            if self.unconfirmed.len() >= WINDOW {
                break;
            }
            let route = match self.random.below(8) {
                at @ 0..6 => ROUTES[usize::try_from(at / 2).expect("below 3")],
                _ => Route::Delayed { ms: 1 + self.random.below(400) },
            };
            self.publish(route)?;
        }
        Ok(())
    }

    fn publish(&mut self, route: Route) -> Result<(), End> {
        let id = self.next_id();
        self.unconfirmed.insert(self.publish_tag, (Some(id), vec![]));
        self.shared.ledger.lock().published(id, route, Instant::now());
        let length = message::random_length(&mut self.random);
        // A delayed exchange loses what is transient.
        let persistent = !self.shared.in_quorum_queues || route.source().is_none();
        let mut message = message::make(id, persistent, length);
        match (route, route.source()) {
            (_, Some((queue, _))) => self.client.publish(MAIN, "", queue, &message),
            (Route::Delayed { ms }, None) => {
                let delay = Value::I64(i64::try_from(ms).expect("a short delay"));
                message.properties =
                    message::with_headers(&message.properties, &[("x-delay", delay)].into_iter().collect());
                self.client.publish(MAIN, EXCHANGE, DUE, &message)
            }
            (_, None) => Ok(()),
        }
    }

    /// Publishes something whose confirm will show that what was settled until now is stored.
    fn send_barrier(&mut self) -> Result<(), End> {
        let certain = std::mem::take(&mut self.settled);
        let id = self.next_id();
        self.unconfirmed.insert(self.publish_tag, (None, certain));
        self.client.publish(MAIN, "", BARRIER, &message::make(id, true, 10))
    }

    fn next_id(&mut self) -> Id {
        let id = Id { publisher: self.publisher, sequence: self.sequence };
        self.sequence += 1;
        self.publish_tag += 1;
        id
    }

    fn settle_something(&mut self) -> Result<(), End> {
        for _ in 0..=self.random.below(5) {
            let Some((tag, settled)) = self.held.pop_first() else { break };
            let how = match (settled.0, self.random.below(10)) {
                (_, 0) => How::Requeue,
                (Place::Source, 1..7) => How::Reject,
                _ => How::Ack,
            };
            self.settle(tag, settled, how)?;
        }
        Ok(())
    }

    fn settle(&mut self, tag: u64, (place, id): Settled, how: How) -> Result<(), End> {
        self.shared.ledger.lock().settled(place, id, how);
        let method = match how {
            How::Ack => basic_ack(tag),
            How::Reject => basic_reject(tag),
            How::Requeue => basic_nack(tag).requeue(),
        };
        if how != How::Requeue {
            self.settled.push((place, id));
        }
        self.client.send(CONSUME, &method)
    }

    fn received(&mut self, queue: &str, message: &Message) -> Option<Id> {
        let now = Instant::now();
        let (headers, properties) = message::without_headers(&message.properties);
        let plain = Message { properties, body: message.body.clone(), ..Message::default() };
        let mut ledger = self.shared.ledger.lock();
        let id = match message::identify(&plain) {
            Ok(id) => id,
            Err(what) => {
                ledger.fault(format!("{queue}: {what}"));
                return None;
            }
        };
        let place = if queue == DEAD || queue == DUE { Place::Target } else { Place::Source };
        ledger.received(place, id, message.redelivered, &headers, now);
        self.held.insert(message.tag, (place, id));
        Some(id)
    }

    fn call(&mut self, channel: u16, method: &Method) -> Result<AMQPClass, End> {
        self.client.send(channel, method)?;
        loop {
            match self.next()? {
                Incoming::Method { channel: on, method: answer } if on == channel && answers(&answer, method) => {
                    return Ok(*answer);
                }
                other => self.take(other),
            }
        }
    }

    fn next(&mut self) -> Result<Incoming, End> {
        Ok(self.client.next(PATIENCE)?.unwrap_or_else(|| panic!("waited {PATIENCE:?} in vain for an answer")))
    }

    /// Takes in what has come, and waits a little if nothing has.
    fn take_in(&mut self, patience: Duration) -> Result<(), End> {
        let mut next = self.client.next(patience)?;
        while let Some(incoming) = next {
            self.take(incoming);
            next = self.client.next(Duration::ZERO)?;
        }
        Ok(())
    }

    fn take(&mut self, incoming: Incoming) {
        match incoming {
            Incoming::Confirm { tag, multiple, ok } => self.confirmed(tag, multiple, ok),
            Incoming::Message { message, .. } => {
                let queue = message.consumer_tag.clone().expect("a delivery");
                self.received(&queue, &message);
            }
            Incoming::Method { method, .. } => panic!("the broker sent {method:?}"),
        }
    }

    fn confirmed(&mut self, tag: u64, multiple: bool, ok: bool) {
        let first = if multiple { 0 } else { tag };
        let tags: Vec<u64> = self.unconfirmed.range(first..=tag).map(|(tag, _)| *tag).collect();
        let mut ledger = self.shared.ledger.lock();
        for (id, certain) in tags.into_iter().filter_map(|tag| self.unconfirmed.remove(&tag)) {
            if !ok {
                ledger.fault(format!("{id:?} was refused"));
                continue;
            }
            id.into_iter().for_each(|id| ledger.confirmed(id));
            certain.into_iter().for_each(|(place, id)| ledger.certain(place, id));
        }
    }
}
