//! Publisher confirms of one channel: which publishes have been answered, and how to say it in few frames.
//!
//! Publishes are numbered from 1. Their fates arrive in any order; [`Confirms::answers`] turns what has gathered into
//! acks and nacks. A cumulative answer goes only as far as everything before it has the same fate, so `multiple` never
//! covers a publish that is still open or was nacked.

use std::collections::BTreeMap;

/// What the client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    pub tag: u64,
    pub multiple: bool,
    pub positive: bool,
}

/// Publishes in a row that share a fate.
#[derive(Clone, Copy, Debug)]
struct Run {
    last: u64,
    positive: bool,
}

/// The state of a channel in confirm mode.
#[derive(Debug)]
pub struct Confirms {
    next: u64,
    /// The first publish that has not been answered.
    low: u64,
    /// Fates that have not been told, by first number. Runs do not overlap.
    settled: BTreeMap<u64, Run>,
    /// Numbers at or above `low` that were answered singly, by first number.
    told: BTreeMap<u64, u64>,
}

impl Default for Confirms {
    fn default() -> Self {
        Self { next: 1, low: 1, settled: BTreeMap::new(), told: BTreeMap::new() }
    }
}

impl Confirms {
    /// Numbers the next publish.
    #[inline]
    pub fn publish(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        number
    }

    /// The number that the next publish will have.
    #[inline]
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Notes the fate of the publishes `first..=last`; each is settled once.
    pub fn settle(&mut self, first: u64, last: u64, positive: bool) {
        if let Some((_, run)) = self.settled.range_mut(..first).next_back()
            && run.last + 1 == first
            && run.positive == positive
        {
            run.last = last;
            return;
        }
        self.settled.insert(first, Run { last, positive });
    }

    /// Takes what can be told, in rising order.
    pub fn answers(&mut self, mut tell: impl FnMut(Answer)) {
        for (first, Run { last, positive }) in std::mem::take(&mut self.settled) {
            if first == self.low {
                tell(Answer { tag: last, multiple: last > first, positive });
                self.low = last + 1;
                self.skip_told();
            } else {
                for tag in first..=last {
                    tell(Answer { tag, multiple: false, positive });
                }
                self.told.insert(first, last);
            }
        }
    }

    fn skip_told(&mut self) {
        while let Some(entry) = self.told.first_entry() {
            if *entry.key() != self.low {
                return;
            }
            self.low = entry.remove() + 1;
        }
    }

    /// Number of publishes that have not been answered.
    pub fn open(&self) -> u64 {
        let told: u64 = self.told.iter().map(|(first, last)| last - first + 1).sum();
        self.next - self.low - told
    }
}

#[cfg(test)]
mod tests;
