//! One producer: how many messages it may send now, and writing them.

use std::ops::Range;

use super::body::Id;
use super::check::Sent;
use super::pace::Pace;
use super::template::Template;

/// A paced message that is later than this counts as sent when it was due, so that a stall is not left out of the
/// latencies. Within it, the delay is this program's own timer.
const LATE: u64 = 1_000_000;

pub struct Producer {
    pub id: u16,
    /// Index of its channel on the connection.
    pub lane: usize,
    pub template: Template,
    /// Queues that each message reaches.
    pub reach: u64,
    pub limit: u64,
    /// Most unconfirmed messages; 0 is no confirms.
    pub window: u64,
    pub pace: Option<Pace>,
    pub outstanding: u64,
    pub sent: Sent,
}

impl Producer {
    /// How many messages may be sent now.
    pub fn allowance(&self, now: u64) -> u64 {
        let next = self.sent.published;
        let mut allowed = self.limit - next;
        if self.window > 0 {
            allowed = allowed.min(self.window.saturating_sub(self.outstanding));
        }
        match self.pace {
            Some(pace) if allowed > 0 => allowed.min(pace.allowed(now).saturating_sub(next)),
            _ => allowed,
        }
    }

    /// When the next message falls due, where only the rate holds it back.
    pub fn due(&self) -> Option<u64> {
        let next = self.sent.published;
        let held = next >= self.limit || (self.window > 0 && self.outstanding >= self.window);
        self.pace.filter(|_| !held).map(|pace| pace.due(next))
    }

    pub fn has_finished(&self) -> bool {
        self.sent.published >= self.limit
    }

    /// Appends so many messages; returns their numbers.
    pub fn write(&mut self, out: &mut Vec<u8>, count: u64, now: u64) -> Range<u64> {
        let seqs = self.sent.published..self.sent.published + count;
        self.template.stamp(now);
        for seq in seqs.clone() {
            if let Some(pace) = self.pace {
                let due = pace.due(seq);
                self.template.stamp(if now.saturating_sub(due) > LATE { due } else { now });
            }
            self.template.write(out, Id { producer: self.id, seq });
        }
        self.sent.published = seqs.end;
        if self.window > 0 {
            self.outstanding += count;
        }
        seqs
    }

    /// The broker will not keep these messages, or has not said so.
    pub fn not_promised(&mut self, seqs: Range<u64>) {
        self.sent.not_promised.insert_run(seqs);
    }
}
