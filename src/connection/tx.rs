//! Transactions, and the choice between them and confirms.
//!
//! A transaction keeps publishes and acks until they are committed: publishes first, then acks, as RabbitMQ does. The
//! client hears of the commit when what has to survive is on disk.

use amq_protocol::protocol::{AMQPClass, confirm, tx};

use super::acks::settle_now;
use super::confirms::Confirms;
use super::deliveries::Settled;
use super::ledger::Unacked;
use super::publish::Publishes;
use super::routes::Route;
use super::session::{Mode, Session, Step, Until, Waiting};
use crate::frames::Refusal;
use crate::message::Message;
use crate::queue::{Settlement, Wakes};

/// What a channel has gathered since the last commit.
#[derive(Default)]
pub struct Transaction {
    pub(super) publishes: Publishes<'static>,
    /// Mandatory messages without a route.
    pub(super) returns: Vec<Message>,
    settlements: Vec<(Vec<Unacked>, Settlement)>,
}

impl Transaction {
    pub fn settle(&mut self, reserved: Vec<Unacked>, how: Settlement) {
        self.settlements.push((reserved, how));
    }
}

impl Session {
    pub(super) fn select_confirms(&mut self, number: u16, nowait: bool) -> Result<Step, Refusal> {
        let mode = &mut self.state(number)?.mode;
        match mode {
            Mode::Transaction(_) => return Err(Refusal::precondition_failed("cannot switch from tx to confirm mode")),
            Mode::Confirm(_) => {}
            Mode::Plain => *mode = Mode::Confirm(Confirms::default()),
        }
        self.state(number)?.publishing.is_confirming.set(1);
        if nowait {
            return Ok(Step::Continue);
        }
        Ok(self.answer(number, AMQPClass::Confirm(confirm::AMQPMethod::SelectOk(confirm::SelectOk {}))))
    }

    pub(super) fn select_tx(&mut self, number: u16) -> Result<Step, Refusal> {
        let mode = &mut self.state(number)?.mode;
        match mode {
            Mode::Confirm(_) => return Err(Refusal::precondition_failed("cannot switch from confirm to tx mode")),
            Mode::Transaction(_) => {}
            Mode::Plain => *mode = Mode::Transaction(Transaction::default()),
        }
        self.state(number)?.publishing.is_transactional.set(1);
        Ok(self.answer(number, AMQPClass::Tx(tx::AMQPMethod::SelectOk(tx::SelectOk {}))))
    }

    fn take_transaction(&mut self, number: u16) -> Result<Transaction, Refusal> {
        let state = self.state(number)?;
        match &mut state.mode {
            Mode::Transaction(transaction) => {
                state.publishing.uncommitted.set(0);
                state.publishing.acks_uncommitted.set(0);
                Ok(std::mem::take(transaction))
            }
            _ => Err(Refusal::precondition_failed("channel is not transactional")),
        }
    }

    /// Shows how much waits for the commit.
    pub(super) fn count_transaction(&self, number: u16) {
        let Some(state) = self.channels.get(&number) else { return };
        if let Mode::Transaction(transaction) = &state.mode {
            let acks = transaction.settlements.iter().map(|(reserved, _)| reserved.len() as u64).sum();
            state.publishing.uncommitted.set(transaction.publishes.count() as u64);
            state.publishing.acks_uncommitted.set(acks);
        }
    }

    pub(super) fn commit(&mut self, number: u16) -> Result<Step, Refusal> {
        let mut transaction = self.take_transaction(number)?;
        let mut wakes = Wakes::default();
        if self.traced {
            let none = Route::default();
            transaction.returns.iter().for_each(|message| self.tell_publish(number, message.view(), &none));
            transaction.publishes.iter().for_each(|(message, route)| self.tell_publish(number, message, route));
        }
        for message in transaction.returns {
            self.outbox.returned(number, 312, "NO_ROUTE", message.view());
        }
        transaction.publishes.begin_now(self.now_ms, self.broker.memory);
        let entries = transaction.publishes.enqueue(&mut wakes, &mut Vec::new());
        self.outbox.counts.routed.add(transaction.publishes.take_routed());
        self.count_passed(transaction.publishes.take_passed());
        for (reserved, how) in transaction.settlements {
            let mut settled = Settled::default();
            self.outbox.settle_reserved(number, reserved, how, &mut settled);
            settle_now(settled, how, &mut wakes);
        }
        let refused = entries.refused;
        wakes.send_letters();
        let store = self.broker.store.as_ref();
        let commit = store.and_then(|store| entries.append(&store.journal, Some(&self.waiter()), &mut wakes));
        wakes.run();
        if refused {
            return Err(Refusal::precondition_failed("partial tx completion"));
        }
        let ok = AMQPClass::Tx(tx::AMQPMethod::CommitOk(tx::CommitOk {}));
        Ok(match commit {
            None => self.answer(number, ok),
            Some(commit) => {
                let until = Until::Committed(commit);
                Step::Wait(Waiting { until, channel: number, reply: Some(Box::new(ok)) })
            }
        })
    }

    pub(super) fn roll_back(&mut self, number: u16) -> Result<Step, Refusal> {
        let mut transaction = self.take_transaction(number)?;
        transaction.publishes.take_back();
        for (reserved, _) in transaction.settlements {
            self.outbox.restore(number, reserved);
        }
        Ok(self.answer(number, AMQPClass::Tx(tx::AMQPMethod::RollbackOk(tx::RollbackOk {}))))
    }

    /// Acks of an open transaction count for nothing when its channel goes.
    pub(super) fn abandon_transaction(&mut self, number: u16) {
        if let Ok(mut transaction) = self.take_transaction(number) {
            transaction.publishes.take_back();
            for (reserved, _) in transaction.settlements {
                self.outbox.restore(number, reserved);
            }
        }
    }
}
