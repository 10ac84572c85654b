//! Acks, nacks and rejects: from delivery tags to settled messages.

use super::deliveries::Settled;
use super::error::Failure;
use super::ledger::UnknownTag;
use super::publish::Work;
use super::session::{Mode, Session};
use crate::frames::{MethodId, Refusal};
use crate::queue::{Settlement, Wakes};

impl Session {
    /// Takes `basic.ack`.
    ///
    /// # Errors
    /// 406 for a tag that is not outstanding.
    pub(super) fn ack(&mut self, number: u16, tag: u64, multiple: bool, work: &mut Work<'_>) -> Result<(), Failure> {
        self.settle(number, tag, multiple, Settlement::Ack, MethodId::ACK, work)
    }

    /// Takes `basic.nack` or `basic.reject`.
    ///
    /// # Errors
    /// 406 for a tag that is not outstanding.
    pub(super) fn nack(
        &mut self,
        number: u16,
        tag: u64,
        multiple: bool,
        requeue: bool,
        method: MethodId,
        work: &mut Work<'_>,
    ) -> Result<(), Failure> {
        let how = match (requeue, method) {
            (false, _) => Settlement::Discard,
            (true, MethodId::REJECT) => Settlement::Fail,
            (true, _) => Settlement::Requeue,
        };
        self.settle(number, tag, multiple, how, method, work)
    }

    fn settle(
        &mut self,
        number: u16,
        tag: u64,
        multiple: bool,
        how: Settlement,
        method: MethodId,
        work: &mut Work<'_>,
    ) -> Result<(), Failure> {
        let unknown =
            |UnknownTag(tag)| Failure::new(Refusal::precondition_failed(format!("unknown delivery tag {tag}")), method);
        if let Some(Mode::Transaction(transaction)) = self.channels.get_mut(&number).map(|s| &mut s.mode) {
            let reserved = self.outbox.reserve(number, tag, multiple).map_err(unknown)?;
            transaction.settle(reserved, how);
            self.count_transaction(number);
            return Ok(());
        }
        if work.how != Some(how) {
            apply(work);
            work.how = Some(how);
        }
        self.outbox.settle(number, tag, multiple, how, &mut work.settled).map_err(unknown)
    }
}

/// Carries out the settlements of a batch.
pub fn apply(work: &mut Work<'_>) {
    if work.settled.is_empty() {
        return;
    }
    let settled = std::mem::take(&mut work.settled);
    settle_now(settled, work.how.unwrap_or(Settlement::Ack), &mut work.wakes);
}

/// Settles messages, and lets consumers go on that a channel's limit had held back.
pub fn settle_now(mut settled: Settled, how: Settlement, wakes: &mut Wakes) {
    if how.returns() {
        settled.merge();
    }
    for group in settled.groups {
        group.queue.settle(group.positions.into_iter(), how, wakes);
    }
    for (queue, consumer) in settled.resumed {
        queue.resume(consumer, wakes);
    }
}

/// Takes messages back whose channel has ended.
pub fn requeue(settled: Settled, wakes: &mut Wakes) {
    settle_now(settled, Settlement::Fail, wakes);
}
