//! A whole connection without its socket: bytes in, bytes into the outbox.
//!
//! Three phases: logging in, running, closing. [`Machine::process`] takes whatever has been read apart and carries it out
//! in one go; [`Machine::tick`] looks at the time. The driver feeds it, tells it the time ([`Machine::now`]) and writes
//! what the outbox holds; so do tests and fuzzers, without a network.

mod outside;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use amq_protocol::protocol::{AMQPClass, channel, connection};
use tokio::time::Instant;

use super::census::Census;
use super::channel::whole_publish;
use super::entrance::Client;
use super::error::Failure;
use super::events::{self, Opened};
use super::handshake::{Handshake, Next, Preface, Tuning, preface};
use super::login::{self, Check, ClientProperties, LoginFailure};
use super::outbox::{Outbox, READ_LIMIT};
use super::registry::{About, Registered, Registry};
use super::session::{Session, Step, Until, Waiting, Work};
use super::timeouts::Timeouts;
use crate::auth::{Login, Protocol, sasl};
use crate::frames::{Frame, FrameKind, Method, MethodId, Refusal, frame, method, write};
use crate::logs::audit;
use crate::persist::journal::Waiter;
use crate::stats::Churn;
use crate::vhost::Broker;
use outside::Outside;
pub use outside::{Errand, Outcome};

/// How long a client that gets no answer is kept waiting, so that guessing passwords is slow.
const SILENT_CLOSE: Duration = Duration::from_secs(3);
/// Longest wait for `close-ok`.
const CLOSE_WAIT: Duration = Duration::from_secs(30);
/// How often the time is looked at when nothing asks for it sooner.
const LONGEST_TICK: Duration = Duration::from_secs(60);
/// How often a blocked connection looks whether there is memory again.
const BLOCKED_TICK: Duration = Duration::from_millis(20);
/// A client that publishes faster than it may is told when it has to wait as long as this.
const LONG_WAIT: Duration = Duration::from_secs(1);
/// What stands for an unlimited handshake.
const NO_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 3600);

/// What all connections of a node share.
pub struct Shared {
    pub broker: Arc<Broker>,
    pub registry: Registry,
    /// Seconds since the node started; moved on by the node.
    pub clock: Arc<AtomicU32>,
    pub census: Census,
}

enum Phase {
    /// Waiting for the eight bytes that begin a connection.
    Preface,
    LoggingIn(Box<LoggingIn>),
    Running(Box<Session>),
    /// A login that will be refused.
    Refused(Box<Failure>),
    /// `connection.close` sent, `close-ok` expected.
    Closing,
    /// Nothing more is understood; bytes are dropped until the client goes or time is up.
    Draining,
    /// Only what is in the outbox is still written.
    Ended,
}

struct LoggingIn {
    handshake: Handshake,
    /// What a client has begun with that has been sent a challenge.
    challenged: Option<Box<connection::StartOk>>,
    login: Option<Login>,
}

/// One connection.
pub struct Machine {
    shared: Arc<Shared>,
    pub outbox: Arc<Outbox>,
    /// The time, as of the last call from outside.
    pub now: Instant,
    pub client: Client,
    name: Arc<str>,
    phase: Phase,
    properties: ClientProperties,
    tuning: Tuning,
    /// Frames up to this size are taken; before tuning, the smallest.
    frame_max: u32,
    pub waiting: Option<Waiting>,
    /// What the answer from outside is for, unless it is for an operation of a channel.
    outside: Option<Box<Outside>>,
    /// When a phase that must not last is over.
    deadline: Option<Instant>,
    last_received: Instant,
    /// Bytes sent when it was last looked at, and when that was.
    last_sent: (u64, Instant),
    registered: bool,
    /// For its events, where there are any.
    opened: Option<Box<Opened>>,
    /// Publishes wait for memory or disk: why.
    blocked: Option<&'static str>,
    /// Publishes wait for the journal.
    congested: bool,
    /// Publishes wait for a rate: until when.
    paced: Option<Instant>,
    /// The read that is being carried out holds a publish that has to wait for a rate.
    late: bool,
    /// The client has been told that its publishes wait for a rate.
    told_of_pace: bool,
    /// A publish has arrived while publishes wait: it is kept, and nothing more is read.
    held: bool,
    /// There is no point in writing what is left.
    pub abandoned: bool,
    /// Why the connection has ended, when that was not in order.
    pub trouble: Option<String>,
}

impl Machine {
    /// A connection that has just been accepted.
    pub fn new(shared: Arc<Shared>, client: Client, now: Instant) -> Self {
        let number = shared.broker.new_id();
        let outbox = Outbox::new(number, Arc::clone(&shared.clock), shared.broker.memory);
        let handshake_end = now + shared.broker.config.tcp.handshake_timeout.unwrap_or(NO_TIMEOUT);
        Self {
            outbox,
            now,
            name: client.name().into(),
            client,
            phase: Phase::Preface,
            properties: ClientProperties::default(),
            tuning: Tuning { channel_max: 0, frame_max: 0, heartbeat: 0 },
            frame_max: login::first_frame_max(&shared.broker),
            waiting: None,
            outside: None,
            deadline: Some(handshake_end),
            last_received: now,
            last_sent: (0, now),
            registered: false,
            opened: None,
            blocked: None,
            congested: false,
            paced: None,
            late: false,
            told_of_pace: false,
            held: false,
            abandoned: false,
            trouble: None,
            shared,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn tuning(&self) -> Tuning {
        self.tuning
    }

    pub(super) fn opened(&self) -> Option<&Opened> {
        self.opened.as_deref()
    }

    /// Nothing more happens but that the outbox is emptied.
    pub fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended)
    }

    /// Whether more may be read from the client now.
    pub fn may_read(&self) -> bool {
        let ended = matches!(self.phase, Phase::Ended);
        !ended && !self.held && !self.is_stuffed() && self.waiting.is_none() && self.outbox.backlog() < READ_LIMIT
    }

    /// The disk is stuck, and so much waits for it that not even acks can be taken.
    fn is_stuffed(&self) -> bool {
        self.shared.broker.store.as_ref().is_some_and(|store| store.journal.is_stuffed())
    }

    /// What a connection publishes waits while messages take more memory than they may, the disk is full, or the journal
    /// cannot keep up; its acks and other methods are carried out up to the first publish. The client is told of the
    /// first two, the third is over in a moment. True when a publish that was kept can go on now: it is to be processed.
    #[must_use]
    pub fn update_blocked(&mut self) -> bool {
        let Phase::Running(session) = &mut self.phase else { return false };
        if !session.has_published {
            return false;
        }
        let broker = &self.shared.broker;
        let reason = blocked_reason(broker.memory.is_over(), broker.store.as_ref().is_some_and(|s| s.disk_alarm()));
        session.pacing.look_up(&broker.throttles, &session.user.name, &session.vhost);
        let reason = reason.or_else(|| session.pacing.full());
        if reason != self.blocked {
            self.blocked = reason;
            self.outbox.counts.blocked.set(u64::from(reason.is_some()));
            // Silence during the wait is ours, not the client's.
            self.last_received = self.now;
            if self.properties.blocked {
                self.outbox.blocked(reason);
            }
        }
        self.congested = broker.store.as_ref().is_some_and(|store| {
            let outbox = Arc::clone(&self.outbox);
            store.journal.is_congested() && store.journal.hold(&(outbox as Arc<dyn Waiter>))
        });
        self.look_at_pace();
        !self.must_hold() && std::mem::take(&mut self.held)
    }

    /// Publishes are not carried out at the moment.
    fn must_hold(&self) -> bool {
        self.blocked.is_some() || self.congested || self.paced.is_some()
    }

    /// What is published waits for a rate; of a long wait the client is told.
    fn slow_down(&mut self, wait: Duration) {
        self.paced = Some(self.now + wait);
        if wait >= LONG_WAIT && self.properties.blocked && self.blocked.is_none() && !self.told_of_pace {
            self.told_of_pace = true;
            self.outbox.blocked(Some("publish rate limit is reached"));
        }
    }

    /// Ends such a wait when its time is over, or the rate another.
    fn look_at_pace(&mut self) {
        let Phase::Running(session) = &self.phase else { return };
        let is_over =
            |until: Instant| until <= self.now || session.pacing.is_stale(&session.broker.throttles, &session.vhost);
        if self.paced.is_some_and(is_over) {
            self.paced = None;
            // Silence during the wait is ours, not the client's.
            self.last_received = self.now;
            if std::mem::take(&mut self.told_of_pace) && self.blocked.is_none() {
                self.outbox.blocked(None);
            }
        }
    }

    /// Has the confirm that is all that the client waits for go out without this machine, which is about to rest.
    pub fn leave_answer(&mut self) {
        if let (Phase::Running(session), None) = (&mut self.phase, &self.waiting) {
            session.leave_answer();
        }
    }

    /// Takes up what has become of that confirm; nothing goes out without this machine until the next rest.
    pub fn take_back_answer(&mut self) {
        if let Phase::Running(session) = &mut self.phase {
            session.take_back_answer();
        }
    }

    /// Confirms what has become safe, and ends a wait whose reason is gone. True when what was read meanwhile is to be
    /// processed.
    #[must_use]
    pub fn look_at_store(&mut self) -> bool {
        let Phase::Running(session) = &mut self.phase else { return false };
        session.confirm_committed();
        match self.waiting.as_ref().map(|waiting| (&waiting.until, waiting.channel)) {
            Some((Until::Committed(commit), _)) => {
                let done = session.broker.store.as_ref().is_none_or(|s| s.journal.committed() >= *commit);
                if done {
                    self.durable(Ok(()));
                }
                done
            }
            Some((Until::Got { queue, no_ack }, channel)) => {
                let (queue, no_ack) = (Arc::clone(queue), *no_ack);
                match session.get_from(channel, &queue, no_ack) {
                    Ok(Step::Wait(waiting)) => self.waiting = Some(waiting),
                    Ok(Step::Continue) => self.waiting = None,
                    Err(refusal) => {
                        self.waiting = None;
                        self.failed(channel, &Failure::new(refusal, MethodId::GET), &mut Work::default());
                    }
                }
                self.waiting.is_none()
            }
            _ => false,
        }
    }

    /// Takes what has arrived; says how much is done with. The rest has to be handed over again, with what follows it.
    pub fn process(&mut self, bytes: &[u8]) -> usize {
        self.last_received = self.now;
        let mut done = 0;
        while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
            let used = match &mut self.phase {
                Phase::Preface => self.preface(rest),
                Phase::LoggingIn(_) | Phase::Closing => self.control_frame(rest),
                Phase::Running(_) => self.run_frames(rest),
                Phase::Refused(_) | Phase::Draining | Phase::Ended => Some(rest.len()),
            };
            match used {
                Some(used) => done += used,
                None => break,
            }
            if self.waiting.is_some() {
                break;
            }
        }
        done
    }

    fn preface(&mut self, bytes: &[u8]) -> Option<usize> {
        let first = bytes.first_chunk::<8>()?;
        match preface(*first) {
            Preface::Amqp091 => {
                self.outbox.lock().send(0, &login::greeting(&self.shared.broker));
                let handshake = Handshake::new(login::offer(&self.shared.broker));
                self.phase = Phase::LoggingIn(Box::new(LoggingIn { handshake, challenged: None, login: None }));
                return Some(8);
            }
            Preface::OtherVersion(answer) => {
                self.outbox.lock().buffer().extend_from_slice(&answer);
                self.trouble = Some(format!("unsupported protocol header {first:?}"));
            }
            Preface::Http => self.trouble = Some("an HTTP request was sent to the AMQP port".to_owned()),
            Preface::Tls => self.trouble = Some("a TLS client hello was sent to the plain AMQP port".to_owned()),
        }
        self.finish();
        Some(bytes.len())
    }

    /// Takes one frame outside of the running phase: only channel 0 counts.
    fn control_frame(&mut self, bytes: &[u8]) -> Option<usize> {
        let (frame, used) = match frame::split(bytes, self.frame_max) {
            Ok(found) => found?,
            Err(error) => {
                self.broken(&Failure::broken_stream(&error));
                return Some(bytes.len());
            }
        };
        if frame.kind == FrameKind::Heartbeat {
            return Some(used);
        }
        if matches!(self.phase, Phase::Closing) {
            self.while_closing(frame);
        } else if let Err(failure) = self.log_in(frame) {
            self.close(&failure);
        }
        Some(used)
    }

    fn while_closing(&mut self, frame: Frame<'_>) {
        if frame.channel != 0 || frame.kind != FrameKind::Method {
            return;
        }
        match method::id(frame.payload) {
            Ok(MethodId { class: 10, method: 51 }) => self.finish(),
            Ok(MethodId { class: 10, method: 50 }) => self.outbox.lock().send(0, &close_ok()),
            _ => {}
        }
    }

    fn log_in(&mut self, frame: Frame<'_>) -> Result<(), Failure> {
        let method = control_method(frame)?;
        let Phase::LoggingIn(logging_in) = &mut self.phase else { return Ok(()) };
        match logging_in.handshake.receive(method)? {
            Next::Authenticate(start_ok) => match login::challenge(&self.shared.broker, &start_ok) {
                Some(challenge) => {
                    logging_in.handshake.challenged();
                    logging_in.challenged = Some(start_ok);
                    self.outbox.lock().send(0, &challenge);
                }
                None => self.authenticate(start_ok),
            },
            Next::Answered(answer) => {
                let Some(mut start_ok) = logging_in.challenged.take() else { return Ok(()) };
                // An answer that makes no sense is a wrong password.
                let response = sasl::answered(start_ok.response.as_bytes(), &answer);
                if let Ok(response) = response {
                    start_ok.response = response.into();
                }
                self.authenticate(start_ok);
            }
            Next::Tuned(tuning) => {
                self.tuning = tuning;
                self.frame_max = tuning.frame_max;
                self.outbox.set_negotiated(tuning.frame_max, self.properties.cancel_notify);
            }
            Next::Open(open) => self.enter_or_ask(open)?,
            Next::Close => {
                self.outbox.lock().send(0, &close_ok());
                self.finish();
            }
            Next::CloseOk => self.finish(),
        }
        Ok(())
    }

    fn authenticate(&mut self, start_ok: Box<connection::StartOk>) {
        self.properties = ClientProperties::read(&start_ok);
        self.opened = Opened::note(&self.shared.broker, &start_ok);
        match login::authenticate(&self.shared.broker, &start_ok, &self.client) {
            Ok(Check::Done(login)) => self.logged_in(&start_ok, Ok(login)),
            Ok(Check::Ask(claim)) => self.wait_for(Outside::LogIn { start_ok, claim }),
            Err(failure) => self.logged_in(&start_ok, Err(failure)),
        }
    }

    fn logged_in(&mut self, start_ok: &connection::StartOk, result: Result<Login, LoginFailure>) {
        events::login(&self.shared.broker, start_ok, &self.name, &self.client, result.as_ref().err());
        match result {
            Ok(login) => {
                self.shared.broker.logins.note(Protocol::Amqp, self.client.peer.ip(), &login.user.name, true);
                self.outbox.lock().send(0, &login::tune(login::offer(&self.shared.broker)));
                audit::login(&login.user.name, &self.name, "login", "AMQP 0-9-1");
                if let Phase::LoggingIn(logging_in) = &mut self.phase {
                    logging_in.login = Some(login);
                    logging_in.handshake.authenticated();
                }
            }
            Err(LoginFailure::Refused { reason, mechanism }) => {
                tracing::warn!(target: "leveret::connection", "{}: login refused: {reason}", self.name);
                audit::login_refused("", &self.name, &reason);
                let wait = login::failed(&self.shared.broker, start_ok, &self.client);
                if self.properties.authentication_failure_close {
                    self.refuse_after(wait, Failure::new(LoginFailure::refusal(&mechanism), MethodId::NONE));
                } else {
                    self.end_after(SILENT_CLOSE + wait);
                }
            }
            Err(LoginFailure::Unusable(reason)) => {
                login::count_failed(&self.shared.broker, &login::claimed_user(start_ok), &self.client);
                tracing::warn!(target: "leveret::connection", "{}: login refused: {reason}", self.name);
                audit::login_refused("", &self.name, &reason);
                self.end_after(SILENT_CLOSE);
            }
        }
    }

    fn enter(&mut self, open: &connection::Open) -> Result<(), Failure> {
        let Phase::LoggingIn(logging_in) = &mut self.phase else { return Ok(()) };
        let Some(login) = logging_in.login.clone() else { return Ok(()) };
        let user = Arc::clone(&login.user);
        let (broker, outbox) = (Arc::clone(&self.shared.broker), Arc::clone(&self.outbox));
        let registered = Registered {
            outbox: Arc::clone(&outbox),
            name: Arc::clone(&self.name),
            user: user.name.as_str().into(),
            vhost: open.virtual_host.as_str().into(),
            about: Arc::new(self.opened_with()),
        };
        let limits = login::limits(&broker, &registered, &user);
        let failure = |refusal| Failure::new(refusal, MethodId::new(10, 40));
        self.shared.registry.check(&registered, limits).map_err(failure)?;
        let vhost = login::enter(&broker, &login, open).map_err(failure)?;
        self.shared.registry.add(registered, limits).map_err(failure)?;
        self.registered = true;
        broker.churn.note(Churn::ConnectionCreated);
        // Whoever deletes a virtual host or user from now on finds the connection; whoever has just done so did not.
        let vhost = login::enter(&broker, &login, open).map_err(failure).and(Ok(vhost))?;
        self.outbox.lock().send(0, &AMQPClass::Connection(connection::AMQPMethod::OpenOk(connection::OpenOk {})));
        let (user_name, vhost_name) = (&user.name, &vhost.name);
        tracing::info!(
            target: "leveret::connection",
            "{}{}: user '{user_name}' entered vhost '{vhost_name}'",
            self.name,
            self.properties.connection_name.as_ref().map(|n| format!(" ({n})")).unwrap_or_default()
        );
        self.deadline = None;
        let channel_wide_qos = self.properties.means_channel_wide_qos(&broker);
        self.outbox.set_owner(&self.name, &user.name);
        let mut session = Session::new(broker, vhost, login, outbox, self.tuning.channel_max);
        session.channel_wide_qos = channel_wide_qos;
        self.tell_opened(&session);
        self.phase = Phase::Running(Box::new(session));
        Ok(())
    }

    fn opened_with(&self) -> About {
        let Tuning { channel_max, frame_max, heartbeat } = self.tuning;
        About {
            client_properties: self.properties.properties.clone(),
            mechanism: self.properties.mechanism.clone(),
            connected_at: self.shared.broker.clock.now_ms(),
            channel_max,
            frame_max,
            heartbeat,
            secured: self.client.secured.clone(),
        }
    }

    /// Takes all whole frames of a running connection. `None` when there is none.
    fn run_frames(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut work = Work::default();
        let mut done = 0;
        if let Phase::Running(session) = &mut self.phase {
            session.now_ms = session.broker.clock.now_ms();
            session.look_at_rights();
            session.traced = session.vhost.is_traced();
            session.pacing.begin(&session.broker.throttles, &session.user.name, &session.vhost);
        }
        while let Phase::Running(session) = &mut self.phase
            && self.waiting.is_none()
        {
            let rest = bytes.get(done..).unwrap_or_default();
            if (self.blocked.is_some() || self.congested) && must_wait(session, rest) {
                self.held = true;
                break;
            }
            if session.pacing.is_used_up() && starts_publish(rest) {
                session.has_published = true;
                self.held = true;
                self.late = true;
                break;
            }
            let before = work.pushed();
            let most = session.broker.max_message_size();
            if let Some((number, publication, used)) = whole_publish(rest, self.frame_max, most)
                && session.can_publish(number)
            {
                done += used;
                if session.pacing.counts() {
                    session.pacing.note(1, publication.body_size);
                }
                match session.publish(number, publication, &mut work) {
                    Ok(()) if session.pacing.watches_queues() => session.watch(&work, before),
                    Ok(()) => {}
                    Err(failure) => self.failed_unless_postponed(number, &failure, &mut work),
                }
                continue;
            }
            match frame::split(rest, self.frame_max) {
                Ok(None) => break,
                Ok(Some((frame, used))) => {
                    done += used;
                    if session.pacing.counts() {
                        match frame.kind {
                            FrameKind::Method => session.pacing.note(u64::from(starts_publish(rest)), 0),
                            FrameKind::Body => session.pacing.note(0, frame.payload.len() as u64),
                            FrameKind::Header | FrameKind::Heartbeat => {}
                        }
                    }
                    self.run_frame(frame, &mut work);
                    if let Phase::Running(session) = &mut self.phase
                        && session.pacing.watches_queues()
                    {
                        session.watch(&work, before);
                    }
                }
                Err(error) => {
                    session.finish(&mut work);
                    self.broken(&Failure::broken_stream(&error));
                    return Some(bytes.len());
                }
            }
        }
        if let Phase::Running(session) = &mut self.phase {
            session.finish(&mut work);
            session.pacing.end();
            if std::mem::take(&mut self.late) {
                let wait = session.pacing.wait();
                self.slow_down(wait);
            }
        }
        (done > 0).then_some(done)
    }

    fn run_frame<'b>(&mut self, frame: Frame<'b>, work: &mut Work<'b>) {
        let Phase::Running(session) = &mut self.phase else { return };
        // A body that is on its way takes memory like one that has arrived.
        session.has_published |= matches!(frame.kind, FrameKind::Header | FrameKind::Body);
        let result = match (frame.kind, frame.channel) {
            (FrameKind::Heartbeat, 0) => return,
            (FrameKind::Heartbeat, _) => Err(Failure::unexpected_frame("heartbeat on a channel", MethodId::NONE)),
            (_, 0) => {
                session.finish(work);
                return self.control(frame);
            }
            _ => session.frame(frame, work),
        };
        match result {
            Ok(Step::Continue) => {}
            Ok(Step::Wait(waiting)) => {
                self.waiting = Some(waiting);
            }
            Err(failure) => self.failed_unless_postponed(frame.channel, &failure, work),
        }
    }

    /// Takes a frame of channel 0 of a running connection.
    fn control(&mut self, frame: Frame<'_>) {
        let method = match control_method(frame) {
            Ok(method) => method,
            Err(failure) => return self.close(&failure),
        };
        let id = MethodId::of(&method);
        match method {
            AMQPClass::Connection(connection::AMQPMethod::Close(_)) => {
                if let Phase::Running(session) = &mut self.phase {
                    session.end();
                }
                self.outbox.lock().send(0, &close_ok());
                self.finish();
            }
            AMQPClass::Connection(connection::AMQPMethod::CloseOk(_)) => {}
            AMQPClass::Connection(connection::AMQPMethod::UpdateSecret(update)) => self.update_secret(update),
            AMQPClass::Connection(_) => {
                self.close(&Failure::channel_error("unexpected method in connection state running", id));
            }
            _ => self.close(&Failure::channel_error("unexpected method in connection state running", id)),
        }
    }

    /// Closes the channel or the connection for a failure, after everything that came before it.
    fn failed(&mut self, number: u16, failure: &Failure, work: &mut Work<'_>) {
        let Phase::Running(session) = &mut self.phase else { return };
        session.finish(work);
        if failure.refusal.code.is_hard() {
            return self.close(failure);
        }
        tracing::warn!(
            target: "leveret::channel",
            "{} channel {number}: {} (method {}.{})",
            self.name, failure.refusal, failure.method.class, failure.method.method
        );
        session.fail_channel(number);
        if let Some(waiting) = self.waiting.as_mut().filter(|waiting| waiting.channel == number) {
            // Nothing is answered on a channel after its close.
            waiting.reply = None;
        }
        if self.waiting.as_ref().is_some_and(|w| w.channel == number && matches!(w.until, Until::Got { .. })) {
            self.waiting = None;
        }
        let close = channel::AMQPMethod::Close(channel::Close {
            reply_code: failure.refusal.code.code(),
            reply_text: failure.refusal.reply_text().into(),
            class_id: failure.method.class,
            method_id: failure.method.method,
        });
        self.outbox.lock().send(number, &AMQPClass::Channel(close));
    }

    /// Sends `connection.close` and waits for its answer, unless the connection is closing already.
    pub fn close(&mut self, failure: &Failure) {
        if self.send_close(failure) {
            let heartbeat = Duration::from_secs(self.tuning.heartbeat.into());
            let wait = if heartbeat.is_zero() { CLOSE_WAIT } else { CLOSE_WAIT.min(heartbeat) };
            self.deadline = Some(self.now + wait);
            self.phase = Phase::Closing;
        }
    }

    /// Sends `connection.close`; what the client sends from then on makes no sense any more.
    fn broken(&mut self, failure: &Failure) {
        self.send_close(failure);
        self.end_after(SILENT_CLOSE);
    }

    fn send_close(&mut self, failure: &Failure) -> bool {
        match &mut self.phase {
            Phase::Running(session) => session.end(),
            Phase::Preface | Phase::LoggingIn(_) | Phase::Refused(_) => {}
            Phase::Closing | Phase::Draining | Phase::Ended => return false,
        }
        let MethodId { class, method } = failure.method;
        self.trouble = Some(format!("closed with {} (method {class}.{method})", failure.refusal));
        let close = connection::AMQPMethod::Close(connection::Close {
            reply_code: failure.refusal.code.code(),
            reply_text: failure.refusal.reply_text().into(),
            class_id: class,
            method_id: method,
        });
        self.waiting = None;
        self.outside = None;
        self.blocked = None;
        self.paced = None;
        self.held = false;
        self.outbox.lock().send(0, &AMQPClass::Connection(close));
        true
    }

    /// Refuses a login, which is answered only after a time when many have failed before.
    fn refuse_after(&mut self, wait: Duration, failure: Failure) {
        if wait.is_zero() {
            return self.close(&failure);
        }
        self.phase = Phase::Refused(Box::new(failure));
        self.deadline = Some(self.now + wait);
    }

    fn end_after(&mut self, wait: Duration) {
        self.phase = Phase::Draining;
        self.deadline = Some(self.now + wait);
    }

    /// The change that a client waits for is on disk, or will never be.
    pub fn durable(&mut self, result: Result<(), Refusal>) {
        let Some(waiting) = self.waiting.take() else { return };
        match (result, waiting.reply) {
            (Ok(()), Some(reply)) => self.outbox.lock().send(waiting.channel, &reply),
            (Ok(()), None) => {}
            (Err(refusal), _) => self.close(&Failure::new(refusal, MethodId::NONE)),
        }
    }

    /// The client has closed its socket.
    pub fn client_is_gone(&mut self) {
        match self.phase {
            // Health checks connect and leave.
            Phase::Preface | Phase::Refused(_) | Phase::Closing | Phase::Draining | Phase::Ended => {}
            Phase::LoggingIn(_) | Phase::Running(_) => {
                self.trouble
                    .get_or_insert_with(|| "client closed its socket without closing the connection".to_owned());
            }
        }
        self.abandon();
    }

    /// Ends at once; nobody reads what is left to write.
    pub fn abandon(&mut self) {
        self.outbox.close();
        self.end_session();
        self.phase = Phase::Ended;
        self.abandoned = true;
    }

    /// Ends once everything is written, within a time.
    fn finish(&mut self) {
        self.phase = Phase::Ended;
        self.deadline = Some(self.now + CLOSE_WAIT);
    }

    fn end_session(&mut self) {
        if let Phase::Running(session) = &mut self.phase {
            session.end();
        }
    }

    /// When the task has to look at the time again.
    pub fn next_tick(&self) -> Instant {
        let now = self.now;
        let mut next = now + LONGEST_TICK;
        if let Some(deadline) = self.deadline {
            next = next.min(deadline);
        }
        if self.must_hold() || self.is_stuffed() {
            next = next.min(now + BLOCKED_TICK);
        }
        if let Some(until) = self.paced {
            next = next.min(until);
        }
        if self.tuning.heartbeat > 0 {
            next = next.min(now + self.half_heartbeat());
        }
        if let Phase::Running(session) = &self.phase {
            if let Some(timeout) = session.shortest_timeout {
                next = next.min(now + (timeout / 4).clamp(Duration::from_secs(1), LONGEST_TICK));
            }
            if let Some(end) = session.ends_at(now) {
                next = next.min(end);
            }
        }
        next
    }

    fn half_heartbeat(&self) -> Duration {
        Duration::from_millis(u64::from(self.tuning.heartbeat) * 500)
    }

    /// Looks at the time; `sent` is the number of bytes written so far.
    pub fn tick(&mut self, sent: u64) {
        let now = self.now;
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            if let Phase::Refused(failure) = &self.phase {
                let failure = Failure::clone(failure);
                return self.close(&failure);
            }
            if matches!(self.phase, Phase::LoggingIn(_)) {
                let why = if self.waits_outside() { ": nobody has said whether the user may log in" } else { "" };
                self.trouble = Some(format!("the handshake took too long{why}"));
            }
            self.abandon();
            return;
        }
        self.keep_alive(now, sent);
        self.check_consumers();
        self.look_at_expiry();
    }

    fn keep_alive(&mut self, now: Instant, sent: u64) {
        if self.tuning.heartbeat == 0 || !matches!(self.phase, Phase::Running(_)) {
            return;
        }
        let (before, since) = self.last_sent;
        if self.waiting.is_some() || (before != sent && !self.may_read()) {
            // It is us who do not listen, and the client takes what it is sent.
            self.last_received = now;
        }
        if before != sent {
            self.last_sent = (sent, now);
        } else if now - since >= self.half_heartbeat() {
            self.outbox.lock().buffer().extend_from_slice(&write::HEARTBEAT);
            self.last_sent = (sent + write::HEARTBEAT.len() as u64, now);
        }
        let silence = now - self.last_received;
        if !self.must_hold() && silence > self.half_heartbeat() * 4 {
            let heartbeat = self.tuning.heartbeat;
            self.trouble = Some(format!("missed heartbeats from client, timeout: {heartbeat}s"));
            self.abandon();
        }
    }

    /// Closes channels with a delivery that has waited too long for its ack.
    fn check_consumers(&mut self) {
        let Phase::Running(session) = &mut self.phase else { return };
        let timeouts = Timeouts::of(&self.outbox, self.shared.broker.limits().consumer_timeout);
        session.shortest_timeout = timeouts.shortest();
        let now = self.shared.clock.load(Ordering::Relaxed);
        while let Some((number, timeout)) = timeouts.overdue(&self.outbox, now) {
            let ms = timeout.as_millis();
            let text = format!(
                "delivery acknowledgement on channel {number} timed out. Timeout value used: {ms} ms. This timeout \
                 value can be configured, see consumers doc guide to learn more"
            );
            let failure = Failure::new(Refusal::precondition_failed(text), MethodId::NONE);
            self.failed(number, &failure, &mut Work::default());
        }
    }

    /// The connection is no longer one of the node's; what it has counted stays.
    fn leave(&self) {
        let Some(registered) = self.shared.registry.remove(self.outbox.connection) else { return };
        let (counted, sizes) = (self.outbox.counts.counted(), self.outbox.counts.sizes());
        self.shared.broker.churn.note(Churn::ConnectionClosed);
        self.shared.broker.totals.leave(&counted, &sizes);
        if let Some(vhost) = self.shared.broker.vhost(&registered.vhost) {
            vhost.totals.leave(&counted, &sizes);
        }
    }

    /// Gives back everything that belonged to the connection.
    pub fn release(&mut self) {
        self.outbox.close();
        self.end_session();
        if self.registered {
            self.leave();
            self.tell_closed(&self.shared.broker);
        }
        match (&self.trouble, self.registered) {
            (Some(trouble), _) => tracing::warn!(target: "leveret::connection", "{}: {trouble}", self.name),
            (None, true) => tracing::info!(target: "leveret::connection", "{}: closed", self.name),
            (None, false) => tracing::debug!(target: "leveret::connection", "{}: left before logging in", self.name),
        }
    }
}

/// What clients are told while nobody may publish, in RabbitMQ's words.
fn blocked_reason(memory: bool, disk: bool) -> Option<&'static str> {
    match (memory, disk) {
        (true, true) => Some("low on memory & disk"),
        (true, false) => Some("low on memory"),
        (false, true) => Some("low on disk"),
        (false, false) => None,
    }
}

/// Whether the next frame has to wait until there is memory: a publish does. Bodies that were begun are let in, so that
/// what they take is not stuck for ever, but of one connection no more than a single message may be long.
fn must_wait(session: &Session, bytes: &[u8]) -> bool {
    match bytes {
        _ if starts_publish(bytes) => true,
        [kind, ..] if *kind == FrameKind::Body.octet() => session.assembling() >= session.broker.max_message_size(),
        _ => false,
    }
}

/// Whether a frame of `basic.publish` is next.
#[inline]
fn starts_publish(bytes: &[u8]) -> bool {
    matches!(bytes, [1, _, _, _, _, _, _, 0, 60, 0, 40, ..])
}

fn close_ok() -> AMQPClass {
    AMQPClass::Connection(connection::AMQPMethod::CloseOk(connection::CloseOk {}))
}

/// The method in a frame of channel 0.
fn control_method(frame: Frame<'_>) -> Result<AMQPClass, Failure> {
    if frame.channel != 0 {
        return Err(Failure::channel_error("unexpected frame before the connection is open", MethodId::NONE));
    }
    if frame.kind != FrameKind::Method {
        let text = "expected method frame, got non method frame instead";
        return Err(Failure::unexpected_frame(text, MethodId::NONE));
    }
    let id = method::id(frame.payload).map_err(|e| Failure::undecodable(e, MethodId::NONE))?;
    match method::decode(frame.payload).map_err(|e| Failure::undecodable(e, id))? {
        Method::Cold(class) => Ok(*class),
        _ => Err(Failure::channel_error("unexpected method on channel 0", id)),
    }
}
