//! Before the load: queues, exchange and bindings; then the connections with their channels, producers and consumers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use amq_protocol::protocol::{AMQPClass, queue};

use super::body::{SEQ_END, STAMPED_SIZE};
use super::check::{Ledger, Sent};
use super::clock::Clock;
use super::confirms::Confirms;
use super::consumer::Consumer;
use super::failure::Failure;
use super::lane::{Acks, Lane};
use super::meter::{Meter, Orders};
use super::methods::{self, QueueShape};
use super::options::{AckMode, ExchangeType, Options};
use super::pace::Pace;
use super::producer::Producer;
use super::pump::{Parts, Pump};
use super::session::{Heartbeats, Session};
use super::template::{Shape, Template};
use super::topology::Topology;

/// What a connection works for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Member {
    Producer(u16),
    Consumer(u16),
}

/// Declares everything anew, so that nothing of an earlier run is counted.
pub fn declare(control: &mut Session, options: &Options, topology: &Topology) -> Result<(), Failure> {
    let shape = QueueShape { durable: options.durable, arguments: options.queue_args.clone() };
    let names: Vec<String> = (0..topology.queues).map(|q| topology.queue_name(q)).collect();
    control.pipeline(1, names.iter().map(|name| methods::delete_queue(name)))?;
    control.pipeline(1, names.iter().map(|name| shape.declare(name)))?;
    let exchange = topology.exchange_name();
    let kind = match topology.kind {
        ExchangeType::Default => return Ok(()),
        ExchangeType::Direct => "direct",
        ExchangeType::Fanout => "fanout",
        ExchangeType::Topic => "topic",
        ExchangeType::Headers => "headers",
    };
    let fresh = [methods::delete_exchange(&exchange), methods::declare_exchange(&exchange, kind)];
    control.pipeline(1, fresh)?;
    let bindings = topology.bindings();
    let bind = bindings.iter().map(|b| methods::bind(&topology.queue_name(b.queue), &exchange, &b.key, &b.arguments));
    control.pipeline(1, bind)
}

pub fn clean_up(control: &mut Session, topology: &Topology) -> Result<(), Failure> {
    let names = (0..topology.queues).map(|q| topology.queue_name(q));
    control.pipeline(1, names.map(|name| methods::delete_queue(&name)))?;
    if topology.kind != ExchangeType::Default {
        control.pipeline(1, [methods::delete_exchange(&topology.exchange_name())])?;
    }
    Ok(())
}

/// Messages that are ready in all queues.
pub fn backlog(control: &mut Session, topology: &Topology) -> Result<u64, Failure> {
    let mut ready = 0;
    for name in (0..topology.queues).map(|q| topology.queue_name(q)) {
        if let AMQPClass::Queue(queue::AMQPMethod::DeclareOk(ok)) = control.call(1, &methods::inspect_queue(&name))? {
            ready += u64::from(ok.message_count);
        }
    }
    Ok(ready)
}

/// Builds the pumps of a run.
pub struct Builder<'a> {
    pub options: &'a Options,
    pub topology: &'a Topology,
    /// By queue.
    pub ledgers: &'a [Arc<Mutex<Ledger>>],
    pub orders: &'a Arc<Orders>,
    pub clock: Clock,
}

impl Builder<'_> {
    pub fn pumps(&self) -> Result<Vec<(Arc<Meter>, Pump)>, Failure> {
        let members: Vec<Member> = (0..self.options.active_producers())
            .map(Member::Producer)
            .chain((0..self.options.active_consumers()).map(Member::Consumer))
            .collect();
        let connections = self.options.connections.map_or(members.len(), usize::from).min(members.len());
        (0..connections)
            .map(|c| {
                let mine: Vec<Member> = members.iter().copied().skip(c).step_by(connections).collect();
                let meter = Arc::new(Meter::default());
                Ok((meter.clone(), self.pump(&mine, meter)?))
            })
            .collect()
    }

    fn pump(&self, members: &[Member], meter: Arc<Meter>) -> Result<Pump, Failure> {
        let mut session = Session::open(self.options, Heartbeats::On)?;
        let channels = self.options.channels.map_or(members.len(), usize::from).min(members.len());
        if channels > usize::from(session.channel_max) {
            let text = format!("the broker allows {} channels on a connection", session.channel_max);
            return Err(Failure::Options(text));
        }
        // Which of its members are on each lane.
        let mut on_lane: BTreeMap<usize, Vec<Member>> = BTreeMap::new();
        for (at, member) in members.iter().enumerate() {
            on_lane.entry(at % channels).or_default().push(*member);
        }
        let lanes = on_lane.values().zip(1..).map(|(members, channel)| self.lane(&mut session, channel, members));
        let lanes = lanes.collect::<Result<Vec<Lane>, Failure>>()?;
        let (mut producers, mut consumers) = (Vec::new(), Vec::new());
        for (at, member) in members.iter().enumerate() {
            let lane = at % channels;
            let channel = lanes.get(lane).map_or(1, |l| l.channel);
            match *member {
                Member::Producer(id) => producers.push(self.producer(id, lane, channel, session.frame_max)),
                Member::Consumer(id) => {
                    let queue = u32::from(id) % self.topology.queues;
                    let tag = consumers.len().to_string();
                    let no_ack = self.options.ack == AckMode::Auto;
                    session.send(channel, &methods::consume(&self.topology.queue_name(queue), &tag, no_ack));
                    consumers.extend(self.consumer(queue));
                }
            }
        }
        // Only now, when no more answers are waited for, may deliveries begin.
        session.flush()?;
        Pump::new(Parts {
            stream: session.stream,
            inbox: session.inbox,
            frame_max: session.frame_max,
            heartbeat: session.heartbeat,
            lanes,
            producers,
            consumers,
            size: self.options.size,
            meter,
            orders: self.orders.clone(),
            clock: self.clock,
        })
    }

    fn lane(&self, session: &mut Session, channel: u16, members: &[Member]) -> Result<Lane, Failure> {
        session.call(channel, &methods::channel_open())?;
        let publishes = members.iter().any(|m| matches!(m, Member::Producer(_)));
        let consumers = members.iter().filter(|m| matches!(m, Member::Consumer(_))).count();
        let confirms = publishes && self.options.confirms > 0;
        if confirms {
            session.call(channel, &methods::confirm_select())?;
        }
        if consumers > 0 && self.options.prefetch > 0 {
            session.call(channel, &methods::qos(self.options.prefetch))?;
        }
        let manual = consumers > 0 && self.options.ack == AckMode::Manual;
        Ok(Lane {
            channel,
            confirms: confirms.then(Confirms::default),
            acks: manual.then(|| Acks::new(self.ack_every())),
            incoming: None,
        })
    }

    /// Waiting for more messages than the prefetch allows would be waiting for ever.
    fn ack_every(&self) -> u16 {
        match self.options.prefetch {
            0 => self.options.ack_every,
            prefetch => self.options.ack_every.min(prefetch),
        }
    }

    fn producer(&self, id: u16, lane: usize, channel: u16, frame_max: u32) -> Producer {
        let options = self.options;
        let exchange = self.topology.exchange_name();
        let shape = Shape {
            channel,
            exchange: &exchange,
            size: options.size,
            persistent: options.persistent,
            mandatory: options.mandatory,
            frame_max,
        };
        Producer {
            id,
            lane,
            template: Template::new(&shape, &self.topology.routes(id)),
            reach: self.topology.targets(id).len() as u64,
            limit: options.count.unwrap_or(SEQ_END).min(SEQ_END),
            window: options.confirms,
            pace: options.rate.map(|rate| Pace::new(rate, self.clock.now())),
            outstanding: 0,
            sent: Sent::default(),
        }
    }

    fn consumer(&self, queue: u32) -> Option<Consumer> {
        let ledger = usize::try_from(queue).ok().and_then(|q| self.ledgers.get(q))?.clone();
        // The times in an old backlog are another run's.
        let measured = self.options.latency && self.options.size >= STAMPED_SIZE && !self.options.drain_only;
        Some(Consumer::new(ledger, measured))
    }
}
