//! What a connection waits for outside of this process: whether a user may log in, enter, or do something.
//!
//! The machine does no I/O: [`Machine::errand`] gives the driver a future to await, and [`Machine::told`] takes what came of it
//! and goes on where it stopped. One errand at a time, and nothing is read meanwhile, so that what a client sends stays in
//! its order; deliveries go on. A connection that ends drops its errand.

use std::pin::Pin;
use std::sync::Arc;

use amq_protocol::protocol::{AMQPClass, connection};

use super::{Machine, Phase};
use crate::auth::token::TokenError;
use crate::auth::{Answers, Login, Rights};
use crate::backends::Claim;
use crate::connection::error::Failure;
use crate::connection::login::{self, LoginFailure};
use crate::connection::session::{Step, Until, Waiting, Work};
use crate::frames::{MethodId, Refusal, ReplyCode};

const UPDATE_SECRET: MethodId = MethodId::new(10, 70);

/// What an answer is for.
pub(super) enum Outside {
    LogIn {
        start_ok: Box<connection::StartOk>,
        claim: Claim,
    },
    Open(connection::Open),
    /// A new token.
    Renew(Vec<u8>),
}

/// What came of an errand.
pub enum Outcome {
    LoggedIn(Result<Login, String>),
    /// The open questions have their answers.
    Answered,
    Renewed(Result<Login, TokenError>),
}

/// Something to await for a machine.
pub type Errand = Pin<Box<dyn Future<Output = Outcome> + Send>>;

impl Machine {
    pub(super) fn wait_for(&mut self, outside: Outside) {
        self.outside = Some(Box::new(outside));
        self.waiting = Some(Waiting { until: Until::Outside, channel: 0, reply: None });
    }

    /// Nothing goes on without an answer from outside.
    pub fn waits_outside(&self) -> bool {
        self.waiting.as_ref().is_some_and(|waiting| matches!(waiting.until, Until::Outside))
    }

    /// What is to be awaited; its outcome goes to [`Self::told`].
    pub fn errand(&self) -> Option<Errand> {
        let broker = Arc::clone(&self.shared.broker);
        match (self.outside.as_deref(), &self.phase) {
            (Some(Outside::LogIn { claim, .. }), _) => {
                let (claim, client) = (claim.clone(), self.client.clone());
                Some(Box::pin(async move { Outcome::LoggedIn(login::ask(&broker, &claim, &client).await) }))
            }
            (Some(Outside::Renew(secret)), Phase::Running(session)) => {
                let (user, secret) = (Arc::clone(&session.user), secret.clone());
                Some(Box::pin(
                    async move { Outcome::Renewed(broker.backends.renew(&user, &secret, &broker.clock).await) },
                ))
            }
            (Some(Outside::Open(_)), Phase::LoggingIn(logging_in)) => {
                self.questions(logging_in.login.as_ref().map(|login| &login.rights)?)
            }
            (None, Phase::Running(session)) => self.questions(&session.rights),
            _ => None,
        }
    }

    fn questions(&self, rights: &Rights) -> Option<Errand> {
        let Rights::Asked(answers) = rights else { return None };
        let (broker, answers): (_, Arc<Answers>) = (Arc::clone(&self.shared.broker), Arc::clone(answers));
        answers.hold(broker.clock.now_ms());
        Some(Box::pin(async move {
            broker.backends.answer(&answers, &broker.clock).await;
            Outcome::Answered
        }))
    }

    /// Goes on. What was read meanwhile is to be processed then.
    pub fn told(&mut self, outcome: Outcome) {
        self.waiting = None;
        // Silence during the wait is ours, not the client's.
        self.last_received = self.now;
        match (outcome, self.outside.take().map(|outside| *outside)) {
            (Outcome::LoggedIn(result), Some(Outside::LogIn { start_ok, .. })) => {
                let mechanism = start_ok.mechanism.to_string();
                self.logged_in(&start_ok, result.map_err(|reason| LoginFailure::Refused { reason, mechanism }));
            }
            (Outcome::Answered, Some(Outside::Open(open))) => {
                if let Err(failure) = self.enter_or_ask(open) {
                    self.close(&failure);
                }
            }
            (Outcome::Answered, None) => self.try_again(),
            (Outcome::Renewed(result), Some(Outside::Renew(_))) => self.renewed(result),
            _ => {}
        }
    }

    /// Opens the virtual host, once it is known whether the user may.
    pub(super) fn enter_or_ask(&mut self, open: connection::Open) -> Result<(), Failure> {
        let entered = self.enter(&open);
        if let (Err(_), Phase::LoggingIn(logging_in)) = (&entered, &self.phase)
            && logging_in.login.as_ref().is_some_and(|login| login.rights.open().is_some())
        {
            self.wait_for(Outside::Open(open));
            return Ok(());
        }
        if let Phase::Running(session) = &self.phase
            && let Rights::Asked(answers) = &session.rights
        {
            answers.release(self.shared.broker.clock.now_ms());
        }
        entered
    }

    /// An operation has failed, unless it is not known yet whether it may be done.
    pub(super) fn failed_unless_postponed(&mut self, number: u16, failure: &Failure, work: &mut Work<'_>) {
        let waiting = match &self.phase {
            Phase::Running(session) => session.waits_outside(),
            _ => None,
        };
        match waiting {
            Some(waiting) => self.waiting = Some(waiting),
            None => self.failed(number, failure, work),
        }
    }

    /// Carries out what was postponed.
    fn try_again(&mut self) {
        let Phase::Running(session) = &mut self.phase else { return };
        let mut work = Work::default();
        match session.resume_postponed(&mut work) {
            (_, Ok(Step::Continue)) => {}
            (_, Ok(Step::Wait(waiting))) => self.waiting = Some(waiting),
            (number, Err(failure)) => self.failed_unless_postponed(number, &failure, &mut work),
        }
        if let Phase::Running(session) = &mut self.phase {
            session.finish(&mut work);
        }
    }

    /// The client shows a new secret. Passwords do not expire: any new one is as good; a token has to be checked.
    pub(super) fn update_secret(&mut self, update: connection::UpdateSecret) {
        let Phase::Running(session) = &self.phase else { return };
        match session.rights {
            Rights::Token(_) => self.wait_for(Outside::Renew(update.new_secret.as_bytes().to_vec())),
            Rights::Internal | Rights::Asked(_) => self.secret_is_updated(),
        }
    }

    fn secret_is_updated(&self) {
        let ok = connection::AMQPMethod::UpdateSecretOk(connection::UpdateSecretOk {});
        self.outbox.lock().send(0, &AMQPClass::Connection(ok));
    }

    fn renewed(&mut self, result: Result<Login, TokenError>) {
        let Phase::Running(session) = &mut self.phase else { return };
        let user = session.user.name.clone();
        match result {
            Ok(login) => {
                session.renew(login);
                tracing::info!(target: "leveret::connection", "{}: user '{user}' has shown a new token", self.name);
                self.secret_is_updated();
            }
            Err(error) => {
                tracing::error!(target: "leveret::connection", "{}: the new token of user '{user}' is refused: {error}", self.name);
                let text = "New secret was refused by one of the backends";
                self.close(&Failure::new(Refusal::not_allowed(text), UPDATE_SECRET));
            }
        }
    }

    /// Ends a connection whose token has expired and was not renewed.
    pub(super) fn look_at_expiry(&mut self) {
        let Phase::Running(session) = &self.phase else { return };
        if session.ends_at(self.now).is_some_and(|end| end <= self.now) {
            let text = format!("the token of user '{}' has expired", session.user.name);
            self.close(&Failure::new(Refusal::new(ReplyCode::ConnectionForced, text), MethodId::NONE));
        }
    }
}
