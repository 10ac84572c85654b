//! What a connection does in its virtual host: the broker calls behind its channels' methods.
//!
//! [`Session::frame`] takes one frame, [`Session::publish`] a publish that came in one piece. Both put publishes
//! and acks into the [`Work`] of the current read, which [`Session::finish`] carries out queue by queue; everything else
//! happens at once, after what came before it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use amq_protocol::protocol::{AMQPClass, access, basic, channel, confirm, exchange, queue, tx};

use foldhash::fast::RandomState;

use super::channel::{Channel, Input};
use super::confirms::Confirms;
use super::counting::{Publishing, Tally};
use super::error::Failure;
use super::outbox::{Left, Outbox};
use super::pacing::Pacing;
use super::routes::RouteCache;
use super::tx::Transaction;
use crate::auth::{Login, Permit, Rights, User};
use crate::frames::{Frame, Method, MethodId, Refusal};
use crate::persist::journal::Waiter;
use crate::queue::{ConsumerKey, Queue};
use crate::stats::Sizes;
use crate::vhost::command::DeleteQueue;
use crate::vhost::{Applied, Broker, Command, Vhost};

use super::rights::Postponed;

pub use super::publish::Work;

/// The broker's side of one channel.
pub struct ChannelState {
    pub protocol: Channel,
    pub mode: Mode,
    /// The queue that `""` stands for.
    pub last_queue: Option<String>,
    /// Prefetch of consumers that are still to come.
    pub prefetch: u16,
    /// The consumer of direct replies.
    pub reply: Option<ReplyConsumer>,
    pub publishing: Arc<Publishing>,
}

/// How publishes and acks are treated.
pub enum Mode {
    Plain,
    Confirm(Confirms),
    Transaction(Transaction),
}

/// A consumer of `amq.rabbitmq.reply-to`.
pub struct ReplyConsumer {
    pub tag: String,
    /// What requests carry as `reply-to`, and the key in the broker's table.
    pub address: String,
}

/// How to go on after a frame.
#[derive(Debug)]
pub enum Step {
    Continue,
    /// Nothing more from this client for now.
    Wait(Waiting),
}

/// What a client waits for, and the answer that it gets then. Nothing of it is processed meanwhile.
#[derive(Debug)]
pub struct Waiting {
    pub until: Until,
    pub channel: u16,
    pub reply: Option<Box<AMQPClass>>,
}

/// What is waited for.
#[derive(Debug)]
pub enum Until {
    /// The catalog has this change on disk.
    Durable(u64),
    /// The journal has done this commit.
    Committed(u64),
    /// Somebody outside has said whether the client may.
    Outside,
    /// A queue can answer `basic.get`.
    Got { queue: Arc<Queue>, no_ack: bool },
}

/// Publishes of a channel that are confirmed when the journal has done a commit.
#[derive(Clone, Copy)]
struct Unconfirmed {
    commit: u64,
    channel: u16,
    first: u64,
    last: u64,
}

/// A client's state in its virtual host.
pub struct Session {
    pub broker: Arc<Broker>,
    pub vhost: Arc<Vhost>,
    pub user: Arc<User>,
    pub outbox: Arc<Outbox>,
    pub channels: HashMap<u16, ChannelState, RandomState>,
    /// Most open channels; 0 is no limit.
    pub channel_max: u16,
    /// The connection has published: it is blocked when memory runs short.
    pub has_published: bool,
    /// The client takes `basic.qos` without `global` for a limit of the whole channel.
    pub channel_wide_qos: bool,
    /// The shortest time that a delivery may wait for its ack, as far as it was known when it was last looked at.
    pub shortest_timeout: Option<Duration>,
    pub(super) routes: RouteCache,
    /// In order of their commits.
    unconfirmed: VecDeque<Unconfirmed>,
    /// The answer to the only one of them is left with the outbox.
    has_left: bool,
    pub rights: Rights,
    pub(super) permit: Option<Permit>,
    pub(super) permit_epoch: u64,
    /// When what is known of the rights stops to hold, in milliseconds since 1970.
    pub(super) rights_until: u64,
    /// How often that has happened.
    pub(super) renewals: u64,
    /// Waits until somebody outside has said whether it may be done.
    pub(super) postponed: Option<Box<Postponed>>,
    /// A name for a queue whose declaration has been postponed.
    pub(super) drawn: Option<String>,
    /// The time of the current read, in milliseconds since 1970.
    pub now_ms: u64,
    pub pacing: Pacing,
    /// Channels count by exchange and queue.
    pub(super) is_detailed: bool,
    /// Its virtual host was traced when the current read began.
    pub traced: bool,
    pub(super) tally: Tally,
}

impl Session {
    /// Who is woken when a commit is done.
    pub(super) fn waiter(&self) -> Arc<dyn Waiter> {
        Arc::clone(&self.outbox) as Arc<dyn Waiter>
    }

    pub fn new(broker: Arc<Broker>, vhost: Arc<Vhost>, login: Login, outbox: Arc<Outbox>, channel_max: u16) -> Self {
        let Login { user, rights } = login;
        let permit_epoch = broker.directory.epoch();
        let now_ms = broker.clock.now_ms();
        let permit = rights.permit(&broker.directory, &user.name, &vhost.name, now_ms);
        let rights_until = rights.until();
        let shortest_timeout = broker.limits().consumer_timeout;
        let is_detailed = vhost.flows.is_some();
        Self {
            broker,
            vhost,
            user,
            outbox,
            channels: HashMap::default(),
            channel_max,
            has_published: false,
            channel_wide_qos: false,
            shortest_timeout,
            routes: RouteCache::default(),
            unconfirmed: VecDeque::new(),
            has_left: false,
            rights,
            permit,
            permit_epoch,
            rights_until,
            renewals: 0,
            postponed: None,
            drawn: None,
            now_ms,
            pacing: Pacing::default(),
            is_detailed,
            traced: false,
            tally: Tally::default(),
        }
    }

    /// A number that names this connection to queues and commands.
    pub fn id(&self) -> u64 {
        self.outbox.connection
    }

    /// Takes one frame of a channel other than 0.
    ///
    /// # Errors
    /// The failure that closes the channel or the connection.
    pub fn frame<'b>(&mut self, frame: Frame<'b>, work: &mut Work<'b>) -> Result<Step, Failure> {
        let number = frame.channel;
        if !self.channels.contains_key(&number) {
            self.count_channel()?;
            let protocol = Channel::new(self.broker.max_message_size(), self.broker.memory);
            let publishing = Arc::default();
            let (mode, last_queue) = (Mode::Plain, None);
            let state = ChannelState { protocol, mode, last_queue, prefetch: 0, reply: None, publishing };
            self.channels.insert(number, state);
        }
        let Some(state) = self.channels.get_mut(&number) else { return Ok(Step::Continue) };
        match state.protocol.receive(frame)? {
            Input::Nothing => Ok(Step::Continue),
            Input::Publish(publication) => self.publish(number, publication, work).map(|()| Step::Continue),
            Input::Method(_, Method::Ack { delivery_tag, multiple }) => {
                self.ack(number, delivery_tag, multiple, work).map(|()| Step::Continue)
            }
            Input::Method(_, Method::Nack { delivery_tag, multiple, requeue }) => {
                self.nack(number, delivery_tag, multiple, requeue, MethodId::NACK, work).map(|()| Step::Continue)
            }
            Input::Method(_, Method::Reject { delivery_tag, requeue }) => {
                self.nack(number, delivery_tag, false, requeue, MethodId::REJECT, work).map(|()| Step::Continue)
            }
            input => {
                // Anything else sees the effects of what came before it.
                self.finish(work);
                self.other(number, input)
            }
        }
    }

    /// Whether a publish that was found whole in the read buffer may go to [`Session::publish`] without its frames being
    /// looked at one by one.
    #[inline]
    pub fn can_publish(&self, number: u16) -> bool {
        self.channels.get(&number).is_some_and(|state| state.protocol.is_between_contents())
    }

    /// Bytes of bodies that have begun to arrive.
    pub fn assembling(&self) -> u64 {
        self.channels.values().map(|state| state.protocol.assembling()).sum()
    }

    fn count_channel(&self) -> Result<(), Failure> {
        let open = self.channels.len();
        let too_many = |text: String| Err(Failure::new(Refusal::not_allowed(text), MethodId::NONE));
        if self.channel_max != 0 && open >= usize::from(self.channel_max) {
            let most = self.channel_max;
            return too_many(format!(
                "number of channels opened ({open}) has reached the negotiated channel_max ({most})"
            ));
        }
        self.broker.channel_opened(&self.user).or_else(|refusal| too_many(refusal.text))
    }

    /// Publishes of a channel wait for a commit.
    pub(super) fn confirm_with(&mut self, commit: u64, channel: u16, first: u64, last: u64) {
        self.unconfirmed.push_back(Unconfirmed { commit, channel, first, last });
    }

    /// Confirms what the journal has done meanwhile.
    pub fn confirm_committed(&mut self) {
        let Some(store) = self.broker.store.as_ref().filter(|_| !self.unconfirmed.is_empty()) else { return };
        let committed = store.journal.committed();
        let done = self.unconfirmed.partition_point(|u| u.commit <= committed);
        if done > 0 {
            let due = self.unconfirmed.drain(..done).map(|u| (u.channel, u.first, u.last)).collect::<Vec<_>>();
            self.send_confirms(due.into_iter().map(|(channel, first, last)| (channel, first, last, true)));
        }
    }

    /// Leaves the next confirm with the outbox, if nothing else is unanswered.
    pub fn leave_answer(&mut self) {
        let Some(Unconfirmed { commit, channel, first, last }) = self.unconfirmed.front().copied() else { return };
        let Some(state) = self.channels.get(&channel).filter(|_| self.unconfirmed.len() == 1) else { return };
        if let Mode::Confirm(confirms) = &state.mode
            && confirms.open() == last - first + 1
        {
            let publishing = Arc::clone(&state.publishing);
            self.has_left = self.outbox.leave(Left { commit, channel, first, last, publishing });
        }
    }

    /// Takes the confirm back, or notes that it has gone out.
    pub fn take_back_answer(&mut self) {
        if !std::mem::take(&mut self.has_left) || !self.outbox.take_left() {
            return;
        }
        if let Some(Unconfirmed { channel, first, last, .. }) = self.unconfirmed.pop_front()
            && let Some(Mode::Confirm(confirms)) = self.channels.get_mut(&channel).map(|state| &mut state.mode)
        {
            confirms.settle(first, last, true);
            confirms.answers(|_| {});
        }
    }

    fn forget_channel(&mut self, number: u16) {
        if self.channels.remove(&number).is_some() {
            self.broker.channel_closed(&self.user);
            self.tell_channel_closed(number);
        }
    }

    fn other(&mut self, number: u16, input: Input<'_>) -> Result<Step, Failure> {
        match input {
            Input::Open => {
                let publishing = self.channels.get(&number).map(|state| Arc::clone(&state.publishing));
                self.outbox.open_channel(number, publishing.unwrap_or_default(), self.is_detailed);
                self.tell_channel_opened(number);
                self.reply(number, AMQPClass::Channel(channel::AMQPMethod::OpenOk(channel::OpenOk {})))
            }
            Input::Close => {
                self.end_channel(number);
                self.forget_channel(number);
                self.reply(number, AMQPClass::Channel(channel::AMQPMethod::CloseOk(channel::CloseOk {})))
            }
            Input::CloseCrossed => {
                self.reply(number, AMQPClass::Channel(channel::AMQPMethod::CloseOk(channel::CloseOk {})))
            }
            Input::CloseOk => {
                self.forget_channel(number);
                Ok(Step::Continue)
            }
            Input::Method(id, Method::Get { queue, no_ack }) => {
                let result = self.get(number, queue, no_ack);
                self.postpone_get(number, queue, no_ack, result).map_err(|r| Failure::new(r, id))
            }
            Input::Method(id, Method::Cold(class)) => {
                self.cold_or_later(number, class).map_err(|r| Failure::new(r, id))
            }
            Input::Method(id, _) => Err(not_for_servers(id)),
            Input::Nothing | Input::Publish(_) => Ok(Step::Continue),
        }
    }

    /// Carries out a cold method.
    pub(super) fn cold(&mut self, number: u16, class: AMQPClass) -> Result<Step, Refusal> {
        let id = MethodId::of(&class);
        match class {
            AMQPClass::Basic(method) => match method {
                basic::AMQPMethod::Qos(m) => self.qos(number, &m),
                basic::AMQPMethod::Consume(m) => self.consume(number, &m),
                basic::AMQPMethod::Cancel(m) => self.cancel(number, m),
                basic::AMQPMethod::Recover(m) => self.recover(number, m.requeue, true),
                basic::AMQPMethod::RecoverAsync(m) => self.recover(number, m.requeue, false),
                // The client confirms a cancel of ours.
                basic::AMQPMethod::CancelOk(_) => Ok(Step::Continue),
                _ => Err(not_for_servers(id).refusal),
            },
            AMQPClass::Queue(method) => match method {
                queue::AMQPMethod::Declare(m) => self.declare_queue(number, &m),
                queue::AMQPMethod::Bind(m) => self.bind_queue(number, &m),
                queue::AMQPMethod::Unbind(m) => self.unbind_queue(number, &m),
                queue::AMQPMethod::Purge(m) => self.purge_queue(number, &m),
                queue::AMQPMethod::Delete(m) => self.delete_queue(number, &m),
                _ => Err(not_for_servers(id).refusal),
            },
            AMQPClass::Exchange(method) => match method {
                exchange::AMQPMethod::Declare(m) => self.declare_exchange(number, &m),
                exchange::AMQPMethod::Delete(m) => self.delete_exchange(number, &m),
                exchange::AMQPMethod::Bind(m) => self.bind_exchange(number, &m),
                exchange::AMQPMethod::Unbind(m) => self.unbind_exchange(number, &m),
                _ => Err(not_for_servers(id).refusal),
            },
            AMQPClass::Confirm(confirm::AMQPMethod::Select(m)) => self.select_confirms(number, m.nowait),
            AMQPClass::Tx(method) => match method {
                tx::AMQPMethod::Select(_) => self.select_tx(number),
                tx::AMQPMethod::Commit(_) => self.commit(number),
                tx::AMQPMethod::Rollback(_) => self.roll_back(number),
                _ => Err(not_for_servers(id).refusal),
            },
            AMQPClass::Channel(channel::AMQPMethod::Flow(m)) if m.active => {
                let ok = channel::AMQPMethod::FlowOk(channel::FlowOk { active: true });
                Ok(self.answer(number, AMQPClass::Channel(ok)))
            }
            AMQPClass::Channel(channel::AMQPMethod::Flow(_)) => Err(Refusal::not_implemented("active=false")),
            AMQPClass::Channel(channel::AMQPMethod::FlowOk(_)) => Ok(Step::Continue),
            AMQPClass::Access(access::AMQPMethod::Request(_)) => {
                // Deprecated; every client gets the same ticket, and nobody looks at it.
                let ok = access::AMQPMethod::RequestOk(access::RequestOk {});
                Ok(self.answer(number, AMQPClass::Access(ok)))
            }
            _ => Err(not_for_servers(id).refusal),
        }
    }

    /// Writes an answer.
    pub(super) fn answer(&self, number: u16, method: AMQPClass) -> Step {
        self.outbox.lock().send(number, &method);
        Step::Continue
    }

    fn reply(&self, number: u16, method: AMQPClass) -> Result<Step, Failure> {
        Ok(self.answer(number, method))
    }

    /// Answers once a change is durable; `None` when the client wants no answer.
    pub(super) fn answer_when_durable(&self, number: u16, applied: &Applied, method: Option<AMQPClass>) -> Step {
        match (applied.durable_at, method) {
            (Some(durable_at), method) if !self.broker.is_durable(durable_at) => {
                let until = Until::Durable(durable_at);
                Step::Wait(Waiting { until, channel: number, reply: method.map(Box::new) })
            }
            (_, Some(method)) => self.answer(number, method),
            (_, None) => Step::Continue,
        }
    }

    pub(super) fn state(&mut self, number: u16) -> Result<&mut ChannelState, Refusal> {
        let missing = || Refusal::new(crate::frames::ReplyCode::ChannelError, "expected 'channel.open'");
        self.channels.get_mut(&number).ok_or_else(missing)
    }

    /// Consumers that may go on: their queues deliver.
    pub fn resume(&self, consumers: Vec<(Arc<Queue>, ConsumerKey)>) {
        let mut wakes = crate::queue::Wakes::default();
        for (queue, consumer) in consumers {
            queue.resume(consumer, &mut wakes);
        }
        wakes.run();
    }

    /// Takes a channel's consumers away and its unacked messages back to their queues.
    pub fn end_channel(&mut self, number: u16) {
        if let Some(ReplyConsumer { address, .. }) = self.channels.get_mut(&number).and_then(|s| s.reply.take()) {
            self.broker.replies.remove(&address);
        }
        self.abandon_transaction(number);
        self.unconfirmed.retain(|u| u.channel != number);
        self.tell_consumers_end(number);
        let (settled, consumers, counted) = self.outbox.close_channel(number);
        self.vhost.totals.leave(&counted, &Sizes::default());
        self.broker.totals.leave(&counted, &Sizes::default());
        let mut wakes = crate::queue::Wakes::default();
        // First the messages, then the consumers, whose deliveries are refused already: whoever takes over from a single
        // active consumer finds everything in its place.
        super::acks::requeue(settled, &mut wakes);
        for (queue, consumer) in &consumers {
            queue.cancel(*consumer, || {}, &mut wakes);
        }
        wakes.run();
        for (queue, _) in consumers {
            self.delete_if_abandoned(&queue);
        }
    }

    /// The broker closes a channel because of an error.
    pub fn fail_channel(&mut self, number: u16) {
        self.end_channel(number);
        if let Some(state) = self.channels.get_mut(&number) {
            state.protocol.closing();
            state.mode = Mode::Plain;
        }
    }

    pub(super) fn delete_if_abandoned(&self, queue: &Arc<Queue>) {
        if !queue.is_abandoned() {
            return;
        }
        let delete = DeleteQueue {
            vhost: queue.spec.vhost.to_string(),
            name: queue.spec.name.to_string(),
            only: Some(queue.id),
            if_abandoned: true,
            ..DeleteQueue::default()
        };
        if let Err(error) = self.broker.apply(Command::DeleteQueue(delete)) {
            tracing::error!(target: "leveret::queue", "auto-delete queue '{}' stays: {error}", queue.spec.name);
        }
    }

    /// Ends everything that belongs to the connection: channels, then its exclusive queues.
    pub fn end(&mut self) {
        // What one channel gives back must not go to another one of the same connection.
        self.outbox.refuse_deliveries();
        let numbers: Vec<u16> = self.channels.keys().copied().collect();
        for number in numbers {
            self.end_channel(number);
            self.forget_channel(number);
        }
        for (queue, name) in self.broker.take_exclusive(self.id()) {
            let delete = DeleteQueue {
                vhost: self.vhost.name.to_string(),
                name: name.to_string(),
                connection: Some(self.id()),
                only: Some(queue),
                ..DeleteQueue::default()
            };
            if let Err(error) = self.broker.apply(Command::DeleteQueue(delete)) {
                tracing::error!(target: "leveret::queue", "an exclusive queue stays: {error}");
            }
        }
    }
}

/// A method that only a server sends.
fn not_for_servers(id: MethodId) -> Failure {
    Failure::new(Refusal::new(crate::frames::ReplyCode::CommandInvalid, "unimplemented method"), id)
}
