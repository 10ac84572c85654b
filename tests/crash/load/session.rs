//! One client of the load: what it has published, what it holds unacked, and which of its acks are certain.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::time::Duration;

use amq_protocol::protocol::{AMQPClass, queue};
use leveret::persist::sim::Random;

use super::super::broker::PATIENCE;
use super::super::checker::{Checker, Consumer, Id, Queue};
use super::super::client::{Client, End, Incoming, Message, answers};
use super::super::message;
use super::super::method::*;
use super::{BARRIER, FAN, FAN_EXCHANGE, Load, declaration};

/// What is published and declared here.
const MAIN: u16 = 1;
/// Most publishes that wait for their confirm.
const WINDOW: usize = 64;
/// Most messages in a queue, about.
const DEPTH: usize = 300;

pub struct Session<'a> {
    pub load: &'a Load,
    pub random: Random,
    client: Client,
    publisher: u32,
    sequence: u32,
    publish_tag: u64,
    unconfirmed: BTreeMap<u64, Publication>,
    consuming: HashMap<(u16, String), Consuming>,
    /// Unacked deliveries, by channel and delivery tag.
    held: BTreeMap<(u16, u64), (Queue, Id)>,
    /// Acked or emptied since the last barrier.
    settled: Vec<(Queue, Id)>,
    /// What still comes on this channel is not taken. 0 is all channels.
    closing: Option<u16>,
}

struct Publication {
    id: Id,
    queues: &'static [Queue],
    /// Acks that are certain when this is confirmed.
    certain: Vec<(Queue, Id)>,
}

#[derive(Clone, Copy)]
struct Consuming {
    queue: Queue,
    consumer: Consumer,
    no_ack: bool,
}

impl<'a> Session<'a> {
    /// `number` is below 16, and each session of a run has its own.
    pub fn open(load: &'a Load, address: SocketAddr, number: u32, seed: u64) -> Result<Self, End> {
        let client = Client::connect(address)?;
        let publisher = load.ask(Checker::run) * 16 + number;
        let mut session = Self {
            load,
            random: Random::new(seed),
            client,
            publisher,
            sequence: 0,
            publish_tag: 0,
            unconfirmed: BTreeMap::new(),
            consuming: HashMap::new(),
            held: BTreeMap::new(),
            settled: vec![],
            closing: None,
        };
        session.open_channel(MAIN)?;
        session.call(MAIN, &confirm_select())?;
        Ok(session)
    }

    pub fn open_channel(&mut self, channel: u16) -> Result<(), End> {
        self.call(channel, &channel_open()).map(drop)
    }

    /// Sends a method on the main channel and waits for its answer.
    pub fn declare(&mut self, method: &Method) -> Result<(), End> {
        self.call(MAIN, method).map(drop)
    }

    /// Sends a method and waits for its answer; what else comes is taken in.
    fn call(&mut self, channel: u16, method: &Method) -> Result<AMQPClass, End> {
        self.client.send(channel, method)?;
        loop {
            match self.next(&format!("an answer to {method:?}"))? {
                Incoming::Method { channel: on, method: answer } if on == channel && answers(&answer, method) => {
                    return Ok(*answer);
                }
                other => self.take(other),
            }
        }
    }

    fn next(&mut self, waiting_for: &str) -> Result<Incoming, End> {
        Ok(self.client.next(PATIENCE)?.unwrap_or_else(|| panic!("waited {PATIENCE:?} in vain for {waiting_for}")))
    }

    /// Takes in what has come, and waits a little if nothing has.
    pub fn take_in(&mut self, patience: Duration) -> Result<(), End> {
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
            Incoming::Message { channel, message } if !self.closing.is_some_and(|c| c == 0 || c == channel) => {
                let tag = message.consumer_tag.clone().expect("a delivery");
                let consuming = *self.consuming.get(&(channel, tag)).expect("a consumer that exists");
                self.delivered(channel, consuming, &message);
            }
            Incoming::Message { .. } => {}
            Incoming::Method { method, .. } if self.closing.is_some() => drop(method),
            Incoming::Method { method, .. } => panic!("the broker sent {method:?}"),
        }
    }
}

// Publishing.
impl Session<'_> {
    /// Publishes a message of a random size; false when there is no room.
    pub fn publish(&mut self, queue: &'static [Queue]) -> Result<bool, End> {
        let is_full = self.load.ask(|checker| queue.iter().any(|queue| checker.depth(queue) >= DEPTH));
        if is_full || self.unconfirmed.len() >= WINDOW {
            return Ok(false);
        }
        let persistent = !self.random.chance(1, 10);
        let length = message::random_length(&mut self.random);
        self.send(queue, persistent, length, vec![])?;
        Ok(true)
    }

    /// Publishes something whose confirm will show that all acks until now were stored.
    pub fn send_barrier(&mut self) -> Result<(), End> {
        let certain = std::mem::take(&mut self.settled);
        self.send(&BARRIER, true, 10, certain)
    }

    fn send(
        &mut self,
        queues: &'static [Queue],
        persistent: bool,
        length: usize,
        certain: Vec<(Queue, Id)>,
    ) -> Result<(), End> {
        let id = Id { publisher: self.publisher, sequence: self.sequence };
        self.sequence += 1;
        self.publish_tag += 1;
        self.unconfirmed.insert(self.publish_tag, Publication { id, queues, certain });
        self.load.tell(|checker| checker.published(id, queues, persistent));
        let (exchange, key) = if *queues == FAN { (FAN_EXCHANGE, "") } else { ("", queues[0]) };
        self.client.publish(MAIN, exchange, key, &message::make(id, persistent, length))
    }

    fn confirmed(&mut self, tag: u64, multiple: bool, ok: bool) {
        let first = if multiple { 0 } else { tag };
        let tags: Vec<u64> = self.unconfirmed.range(first..=tag).map(|(tag, _)| *tag).collect();
        for tag in tags {
            let Some(Publication { id, queues, certain }) = self.unconfirmed.remove(&tag) else { continue };
            self.load.tell(|checker| {
                if ok {
                    checker.confirmed(id, queues);
                    certain.iter().for_each(|(queue, id)| checker.certain(queue, *id));
                } else {
                    checker.nacked(id);
                }
            });
        }
    }

    /// Waits until everything is confirmed and all acks are certain.
    pub fn settle_down(&mut self) -> Result<(), End> {
        self.send_barrier()?;
        while !self.unconfirmed.is_empty() {
            let incoming = self.next("confirms")?;
            self.take(incoming);
        }
        Ok(())
    }
}

// Consuming.
impl Session<'_> {
    pub fn qos(&mut self, channel: u16, prefetch: u16) -> Result<(), End> {
        self.call(channel, &basic_qos(prefetch)).map(drop)
    }

    pub fn consume(&mut self, channel: u16, queue: Queue, no_ack: bool) -> Result<(), End> {
        let consuming = Consuming { queue, consumer: self.load.new_consumer(), no_ack };
        self.consuming.insert((channel, queue.to_owned()), consuming);
        let consume = basic_consume(queue, queue);
        self.call(channel, &if no_ack { consume.no_ack() } else { consume }).map(drop)
    }

    /// Deliveries that come before the answer are taken.
    pub fn cancel(&mut self, channel: u16, queue: Queue) -> Result<(), End> {
        self.call(channel, &basic_cancel(queue))?;
        self.consuming.remove(&(channel, queue.to_owned()));
        Ok(())
    }

    pub fn is_consuming(&self, channel: u16, queue: Queue) -> bool {
        self.consuming.contains_key(&(channel, queue.to_owned()))
    }

    /// False when there is nothing to get.
    pub fn get(&mut self, channel: u16, queue: Queue, no_ack: bool) -> Result<bool, End> {
        let Some(message) = self.get_message(channel, queue, no_ack)? else { return Ok(false) };
        let consumer = self.load.new_consumer();
        self.delivered(channel, Consuming { queue, consumer, no_ack }, &message);
        Ok(true)
    }

    fn get_message(&mut self, channel: u16, queue: Queue, no_ack: bool) -> Result<Option<Message>, End> {
        let get = basic_get(queue);
        let get = if no_ack { get.no_ack() } else { get };
        self.client.send(channel, &get)?;
        loop {
            match self.next("the answer to basic.get")? {
                Incoming::Message { message, .. } if message.consumer_tag.is_none() => return Ok(Some(message)),
                Incoming::Method { method, .. } if answers(&method, &get) => return Ok(None),
                other => self.take(other),
            }
        }
    }

    fn delivered(&mut self, channel: u16, consuming: Consuming, message: &Message) {
        let Consuming { queue, consumer, no_ack } = consuming;
        let id = match message::identify(message) {
            Ok(id) => id,
            Err(what) => return self.load.tell(|checker| checker.damaged(queue, &what)),
        };
        let is_told = self.load.tell_delivery(|checker| {
            checker.delivered(queue, consumer, id, message.redelivered);
            if no_ack {
                checker.acked(queue, id);
            }
        });
        if !is_told {
            return;
        }
        if no_ack {
            self.settled.push((queue, id));
        } else {
            self.held.insert((channel, message.tag), (queue, id));
        }
    }
}

// Settling.
impl Session<'_> {
    /// Acks or requeues something that is held, one delivery or many.
    pub fn settle_something(&mut self) -> Result<(), End> {
        let at = usize::try_from(self.random.below(self.held.len() as u64)).unwrap_or(0);
        let Some((channel, tag)) = self.held.keys().nth(at).copied() else { return Ok(()) };
        match self.random.below(10) {
            0..5 => self.ack(channel, tag, tag, &basic_ack(tag)),
            5..8 => self.ack(channel, 0, tag, &basic_ack(tag).multiple()),
            8 => self.requeue(channel, tag, tag, &basic_nack(tag).requeue()),
            _ => self.requeue(channel, tag, tag, &basic_reject(tag).requeue()),
        }
    }

    pub fn ack_all(&mut self, channel: u16) -> Result<(), End> {
        match self.held.range((channel, 0)..=(channel, u64::MAX)).next_back() {
            Some((&(_, tag), _)) => self.ack(channel, 0, tag, &basic_ack(tag).multiple()),
            None => Ok(()),
        }
    }

    fn ack(&mut self, channel: u16, first: u64, last: u64, ack: &Method) -> Result<(), End> {
        let settled = self.let_go(channel, first, last);
        self.load.tell(|checker| settled.iter().for_each(|(queue, id)| checker.acked(queue, *id)));
        self.settled.extend(settled);
        self.client.send(channel, ack)
    }

    fn requeue(&mut self, channel: u16, first: u64, last: u64, nack: &Method) -> Result<(), End> {
        self.give_back(channel, first, last);
        self.client.send(channel, nack)
    }

    fn give_back(&mut self, channel: u16, first: u64, last: u64) {
        let requeued = self.let_go(channel, first, last);
        self.load.tell(|checker| requeued.iter().for_each(|(queue, id)| checker.requeued(queue, *id)));
    }

    fn let_go(&mut self, channel: u16, first: u64, last: u64) -> Vec<(Queue, Id)> {
        let keys: Vec<(u16, u64)> = self.held.range((channel, first)..=(channel, last)).map(|(key, _)| *key).collect();
        keys.iter().filter_map(|key| self.held.remove(key)).collect()
    }

    /// Closes a channel with all that is unacked on it. What is on its way there is not taken: it will have been
    /// delivered to somebody else before it gets here.
    pub fn close_channel(&mut self, channel: u16) -> Result<(), End> {
        self.give_back(channel, 0, u64::MAX);
        self.consuming.retain(|(on, _), _| *on != channel);
        self.closing = Some(channel);
        self.call(channel, &channel_close())?;
        self.closing = None;
        Ok(())
    }

    /// Leaves in good order: everything is confirmed, all acks are certain, the rest goes back.
    pub fn leave(mut self) -> Result<(), End> {
        let auto = self.consuming.iter().filter(|(_, consuming)| consuming.no_ack);
        let auto: Vec<(u16, Queue)> = auto.map(|((channel, _), consuming)| (*channel, consuming.queue)).collect();
        for (channel, queue) in auto {
            self.cancel(channel, queue)?;
        }
        self.settle_down()?;
        let channels: Vec<u16> = self.held.keys().map(|(channel, _)| *channel).collect();
        channels.into_iter().for_each(|channel| self.give_back(channel, 0, u64::MAX));
        self.closing = Some(0);
        self.call(0, &connection_close()).map(drop)
    }
}

// Emptying and inspecting.
impl Session<'_> {
    /// Purges a queue, or deletes and declares it again; either counts as an ack of what was in it.
    pub fn empty(&mut self, queue: Queue, delete: bool) -> Result<(), End> {
        let emptied = self.load.tell(|checker| checker.emptied(queue));
        if delete {
            self.call(MAIN, &queue_delete(queue))?;
            // The answer to a delete is a promise of its own.
            self.load.tell(|checker| emptied.iter().for_each(|id| checker.certain(queue, *id)));
            self.declare(&declaration(queue))
        } else {
            self.call(MAIN, &queue_purge(queue))?;
            self.settled.extend(emptied.into_iter().map(|id| (queue, id)));
            Ok(())
        }
    }

    /// Looks at everything in a queue that nobody else uses, and puts it back or acks it.
    pub fn inspect(&mut self, queue: Queue, keep: bool) -> Result<(), End> {
        const CHANNEL: u16 = 9;
        self.open_channel(CHANNEL)?;
        let messages = if self.random.chance(1, 2) {
            self.receive_all(CHANNEL, queue)?
        } else {
            std::iter::from_fn(|| self.get_message(CHANNEL, queue, false).transpose()).collect::<Result<_, _>>()?
        };
        let mut found = vec![];
        for message in &messages {
            match message::identify(message) {
                Ok(id) => {
                    self.held.insert((CHANNEL, message.tag), (queue, id));
                    found.push((id, message.redelivered));
                }
                Err(what) => self.load.tell(|checker| checker.damaged(queue, &what)),
            }
        }
        self.load.tell(|checker| checker.inspected(queue, &found));
        if !keep {
            self.ack_all(CHANNEL)?;
        }
        self.close_channel(CHANNEL)
    }

    /// As many messages as the broker says there are.
    fn receive_all(&mut self, channel: u16, queue: Queue) -> Result<Vec<Message>, End> {
        let count = match self.call(channel, &queue_declare(queue).passive())? {
            AMQPClass::Queue(queue::AMQPMethod::DeclareOk(ok)) => ok.message_count,
            other => panic!("{other:?} instead of declare-ok"),
        };
        self.client.send(channel, &basic_consume(queue, "inspector"))?;
        let mut messages = vec![];
        while messages.len() < count as usize {
            match self.next(&format!("{count} messages of {queue}"))? {
                Incoming::Message { message, .. } => messages.push(message),
                Incoming::Method { .. } => {}
                other => self.take(other),
            }
        }
        Ok(messages)
    }
}
