//! What a connection's user may do: checks, and what becomes of an operation that has to wait for an answer from outside.
//!
//! A check that nobody has answered yet fails like one that was refused. Whoever carries the operation out then finds the open
//! question ([`Rights::open`]), and keeps the operation as a [`Postponed`]: the connection, and nobody else, waits; the
//! answer comes in, and the operation is carried out from its beginning. Checks stand before everything that changes
//! something, so the first try has left nothing behind.

use std::time::Duration;

use amq_protocol::protocol::{AMQPClass, basic};
use tokio::time::Instant;

use super::channel::{Content, Publication};
use super::error::Failure;
use super::publish::Work;
use super::session::{Session, Step, Until, Waiting};
use crate::auth::{Access, Kind, Login, Rights};
use crate::frames::{MethodId, Refusal};
use crate::message::memory::MemoryAccount;

/// How long a connection with an expired token may go on receiving, to get a new one.
const GRACE: Duration = Duration::from_secs(60);

/// Something that a client wants, and for which it is not known whether it may.
pub enum Postponed {
    Publish { number: u16, publication: Publication<'static>, _charge: Charge },
    Get { number: u16, queue: String, no_ack: bool },
    Method { number: u16, method: Box<AMQPClass> },
}

/// The bytes of a postponed publish count as memory of the node.
pub struct Charge {
    memory: &'static MemoryAccount,
    bytes: usize,
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.memory.sub(self.bytes);
    }
}

impl Session {
    /// The user's permit as it is now.
    fn refresh_permit(&mut self) {
        let epoch = self.broker.directory.epoch();
        if epoch != self.permit_epoch {
            self.permit_epoch = epoch;
            self.renew_permit();
        }
    }

    fn renew_permit(&mut self) {
        // What a service lets in stays in: it is asked for each thing anew.
        if !matches!(self.rights, Rights::Asked(_)) {
            let (user, vhost) = (&self.user.name, &self.vhost.name);
            self.permit = self.rights.permit(&self.broker.directory, user, vhost, self.now_ms);
        }
    }

    /// Changes whenever rights may have changed: what was allowed before has to be checked again.
    #[inline]
    pub(super) fn rights_epoch(&self) -> u64 {
        self.broker.directory.epoch().wrapping_add(self.renewals)
    }

    /// Looks whether what is known still holds, at the beginning of a read.
    #[inline]
    pub fn look_at_rights(&mut self) {
        if self.now_ms >= self.rights_until {
            self.rights_have_changed();
        }
    }

    fn rights_have_changed(&mut self) {
        self.renewals += 1;
        if let Rights::Asked(answers) = &self.rights {
            answers.release(self.now_ms);
        }
        self.rights_until = self.rights.until();
        if self.now_ms >= self.rights_until {
            // The token has expired: that happens once.
            self.rights_until = u64::MAX;
        }
        self.renew_permit();
    }

    /// When the connection has to end because its token has expired. `now` is now.
    pub fn ends_at(&self, now: Instant) -> Option<Instant> {
        let Rights::Token(token) = &self.rights else { return None };
        let end = Duration::from_secs(token.expires_at).saturating_add(GRACE);
        now.checked_add(end.saturating_sub(Duration::from_millis(self.broker.clock.now_ms())))
    }

    /// Checks a permission; `what` is `queue` or `exchange`, and the default exchange has an empty name.
    ///
    /// # Errors
    /// 403, in RabbitMQ's words.
    pub(super) fn check_access(&mut self, access: Access, what: &str, name: &str) -> Result<(), Refusal> {
        self.refresh_permit();
        let name = if what == "exchange" && name.is_empty() { "amq.default" } else { name };
        let is_allowed = |permit: &crate::auth::Permit| permit.allows(access, Kind::of(what), name, self.now_ms);
        if self.permit.as_ref().is_some_and(is_allowed) {
            return Ok(());
        }
        let (vhost, user) = (&self.vhost.name, &self.user.name);
        let text = format!("{access} access to {what} '{name}' in vhost '{vhost}' refused for user '{user}'");
        Err(Refusal::access_refused(text + &self.expiry()))
    }

    /// Checks a topic permission.
    ///
    /// # Errors
    /// 403, in RabbitMQ's words.
    pub(super) fn check_topic(&mut self, access: Access, exchange: &str, key: &str) -> Result<(), Refusal> {
        self.refresh_permit();
        let is_allowed = |permit: &crate::auth::Permit| permit.topic_allows(access, exchange, key, self.now_ms);
        if self.permit.as_ref().is_some_and(is_allowed) {
            return Ok(());
        }
        let (vhost, user) = (&self.vhost.name, &self.user.name);
        let text = format!(
            "{access} access to topic '{key}' in exchange '{exchange}' in vhost '{vhost}' refused for user '{user}'"
        );
        Err(Refusal::access_refused(text + &self.expiry()))
    }

    /// What a refusal says of an expired token.
    fn expiry(&self) -> String {
        match &self.rights {
            Rights::Token(token) if token.expires_at.saturating_mul(1000) <= self.now_ms => {
                let (at, now) = (token.expires_at, self.now_ms / 1000);
                format!(
                    ", backend rabbit_auth_backend_oauth2 returned an error: Provided JWT token has expired at timestamp \
                     {at} (validated at {now})"
                )
            }
            _ => String::new(),
        }
    }

    /// Keeps a publish whose check has left a question open; it is refused otherwise.
    #[cold]
    pub(super) fn postpone_publish(&mut self, number: u16, publication: Publication<'_>) {
        if self.rights.open().is_none() {
            return;
        }
        let view = publication.content.view();
        let (route, properties, body) = (view.route.to_vec(), view.properties.to_vec(), view.body.to_vec());
        let (memory, bytes) = (self.broker.memory, route.len() + properties.len() + body.len());
        memory.add(bytes);
        let content = Content::Assembled { route, properties, body };
        let Publication { mandatory, immediate, body_size, .. } = publication;
        let publication = Publication { mandatory, immediate, body_size, content };
        self.postponed = Some(Box::new(Postponed::Publish { number, publication, _charge: Charge { memory, bytes } }));
    }

    /// Keeps a `basic.get` that has left a question open.
    pub(super) fn postpone_get(
        &mut self,
        number: u16,
        queue: &str,
        no_ack: bool,
        result: Result<Step, Refusal>,
    ) -> Result<Step, Refusal> {
        if result.is_ok() || self.rights.open().is_none() {
            return result;
        }
        self.postponed = Some(Box::new(Postponed::Get { number, queue: queue.to_owned(), no_ack }));
        Ok(wait(number))
    }

    /// Carries out a cold method, or keeps it when it has left a question open.
    pub(super) fn cold_or_later(&mut self, number: u16, class: Box<AMQPClass>) -> Result<Step, Refusal> {
        if !matches!(self.rights, Rights::Asked(_)) {
            return self.cold(number, *class);
        }
        let method = class.clone();
        let result = self.cold(number, *class);
        if result.is_ok() || self.rights.open().is_none() {
            return result;
        }
        self.postponed = Some(Box::new(Postponed::Method { number, method }));
        Ok(wait(number))
    }

    /// The channel that waits for an answer from outside, when something has just been postponed.
    pub fn waits_outside(&self) -> Option<Waiting> {
        let number = match self.postponed.as_deref()? {
            Postponed::Publish { number, .. } | Postponed::Get { number, .. } | Postponed::Method { number, .. } => {
                *number
            }
        };
        Some(Waiting { until: Until::Outside, channel: number, reply: None })
    }

    /// Tries again what was postponed. Says which channel it was.
    pub fn resume_postponed(&mut self, work: &mut Work<'_>) -> (u16, Result<Step, Failure>) {
        self.now_ms = self.broker.clock.now_ms();
        let Some(postponed) = self.postponed.take() else { return (0, Ok(Step::Continue)) };
        let is_gone = |session: &Self, number| session.channels.get(number).is_none_or(|c| c.protocol.is_closing());
        let (number, result) = match *postponed {
            Postponed::Publish { number, .. } | Postponed::Get { number, .. } | Postponed::Method { number, .. }
                if is_gone(self, &number) =>
            {
                (number, Ok(Step::Continue))
            }
            Postponed::Publish { number, publication, _charge } => {
                (number, self.publish(number, publication, work).map(|()| Step::Continue))
            }
            Postponed::Get { number, queue, no_ack } => {
                let result = self.get(number, &queue, no_ack);
                let result = self.postpone_get(number, &queue, no_ack, result);
                (number, result.map_err(|refusal| Failure::new(refusal, MethodId::GET)))
            }
            Postponed::Method { number, method } => {
                let id = MethodId::of(&method);
                (number, self.cold_or_later(number, method).map_err(|refusal| Failure::new(refusal, id)))
            }
        };
        if self.postponed.is_none()
            && let Rights::Asked(answers) = &self.rights
        {
            answers.release(self.now_ms);
            self.rights_until = self.rights.until();
        }
        (number, result)
    }

    /// The user has shown a new token: consumers of queues that it does not let read any more end.
    pub fn renew(&mut self, login: Login) {
        self.now_ms = self.broker.clock.now_ms();
        (self.user, self.rights) = (login.user, login.rights);
        self.rights_until = self.rights.until();
        self.renewals += 1;
        self.renew_permit();
        let numbers: Vec<u16> = self.channels.keys().copied().collect();
        for number in numbers {
            for (tag, queue) in self.outbox.consumers_of(number) {
                if self.check_access(Access::Read, "queue", &queue.spec.name).is_err() {
                    self.cancel_refused(number, &String::from_utf8_lossy(&tag));
                }
            }
        }
    }

    fn cancel_refused(&mut self, number: u16, tag: &str) {
        let cancel = basic::Cancel { consumer_tag: tag.into(), nowait: true };
        if self.cancel(number, cancel.clone()).is_ok() && self.outbox.tells_of_cancels() {
            self.answer(number, AMQPClass::Basic(basic::AMQPMethod::Cancel(cancel)));
        }
    }
}

fn wait(number: u16) -> Step {
    Step::Wait(Waiting { until: Until::Outside, channel: number, reply: None })
}
