//! The unconfirmed messages of one channel.
//!
//! Delivery tags count the channel's publishes from 1. What a producer wrote at one time is one [`Batch`], so that an
//! ack of a thousand messages costs as much as one of a single message. Brokers may confirm in any order.

use std::collections::VecDeque;
use std::ops::Range;

use super::seqset::SeqSet;

/// Messages that were written at once. Tags count from 0 here.
#[derive(Clone, Debug)]
struct Batch {
    tags: Range<u64>,
    producer: usize,
    /// The producer's number of the first of them.
    seq: u64,
    sent_at: u64,
}

/// Messages of one batch that have just been answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    pub producer: usize,
    pub seqs: Range<u64>,
    pub sent_at: u64,
}

#[derive(Debug, Default)]
pub struct Confirms {
    next_tag: u64,
    done: SeqSet,
    batches: VecDeque<Batch>,
}

impl Confirms {
    pub fn published(&mut self, producer: usize, seqs: Range<u64>, now: u64) {
        let tags = self.next_tag..self.next_tag + (seqs.end - seqs.start);
        self.next_tag = tags.end;
        self.batches.push_back(Batch { tags, producer, seq: seqs.start, sent_at: now });
    }

    /// An ack or nack came; `each` gets what it answers that had no answer before.
    pub fn answer(&mut self, delivery_tag: u64, multiple: bool, mut each: impl FnMut(Answered)) {
        let end = if multiple && delivery_tag == 0 { self.next_tag } else { delivery_tag.min(self.next_tag) };
        let start = if multiple { self.done.floor() } else { end.saturating_sub(1) };
        // An in-order answer covers a prefix; else the first batch is found by halving.
        let first = if multiple { 0 } else { self.batches.partition_point(|b| b.tags.end <= start) };
        for batch in self.batches.range(first.min(self.batches.len())..) {
            let part = batch.tags.start.max(start)..batch.tags.end.min(end);
            if part.start >= part.end {
                break;
            }
            answer_part(&mut self.done, batch, part, &mut each);
        }
        while self.batches.front().is_some_and(|b| b.tags.end <= self.done.floor()) {
            self.batches.pop_front();
        }
    }

    /// What has had no answer at all.
    pub fn unanswered(&self) -> Vec<Answered> {
        let mut left = Vec::new();
        for batch in &self.batches {
            let gaps = self.done.missing(batch.tags.end);
            left.extend(gaps.into_iter().filter_map(|gap| batch.part(gap)));
        }
        left
    }
}

/// Marks a part of a batch, around what of it has been answered before.
fn answer_part(done: &mut SeqSet, batch: &Batch, part: Range<u64>, each: &mut impl FnMut(Answered)) {
    if done.floor() == part.start && done.end() == part.start {
        done.insert_run(part.clone());
        each(batch.answered(part));
        return;
    }
    let gaps = done.missing(part.end);
    done.insert_run(part.clone());
    for gap in gaps {
        if let Some(answered) = batch.part(gap.start.max(part.start)..gap.end) {
            each(answered);
        }
    }
}

impl Batch {
    /// The messages with these tags, as far as they are in this batch.
    fn part(&self, tags: Range<u64>) -> Option<Answered> {
        let tags = tags.start.max(self.tags.start)..tags.end.min(self.tags.end);
        (tags.start < tags.end).then(|| self.answered(tags))
    }

    fn answered(&self, tags: Range<u64>) -> Answered {
        let shift = |tag: u64| self.seq + (tag - self.tags.start);
        Answered { producer: self.producer, seqs: shift(tags.start)..shift(tags.end), sent_at: self.sent_at }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn answers(confirms: &mut Confirms, tag: u64, multiple: bool) -> Vec<(usize, Range<u64>, u64)> {
        let mut found = Vec::new();
        confirms.answer(tag, multiple, |a| found.push((a.producer, a.seqs, a.sent_at)));
        found
    }

    #[test]
    fn one_ack_covers_several_batches_and_producers() {
        let mut confirms = Confirms::default();
        confirms.published(0, 0..10, 100);
        confirms.published(1, 5..7, 200);
        assert_eq!(answers(&mut confirms, 11, true), [(0, 0..10, 100), (1, 5..6, 200)]);
        assert_eq!(confirms.unanswered(), [Answered { producer: 1, seqs: 6..7, sent_at: 200 }]);
        assert_eq!(answers(&mut confirms, 0, true), [(1, 6..7, 200)]);
        assert!(confirms.batches.is_empty());
    }

    #[test]
    fn single_answers_out_of_order_count_once() {
        let mut confirms = Confirms::default();
        confirms.published(0, 0..4, 1);
        assert_eq!(answers(&mut confirms, 3, false), [(0, 2..3, 1)]);
        assert_eq!(answers(&mut confirms, 3, false), []);
        assert_eq!(answers(&mut confirms, 4, true), [(0, 0..2, 1), (0, 3..4, 1)]);
    }

    #[test]
    fn a_tag_that_was_never_sent_is_harmless() {
        let mut confirms = Confirms::default();
        confirms.published(0, 0..2, 1);
        assert_eq!(answers(&mut confirms, 0, false), []);
        assert_eq!(answers(&mut confirms, u64::MAX, true), [(0, 0..2, 1)]);
    }

    proptest! {
        #[test]
        fn every_message_is_answered_once(
            sizes in prop::collection::vec(1u64..100, 1..12),
            acks in prop::collection::vec((0u64..500, any::<bool>()), 0..60),
        ) {
            let mut confirms = Confirms::default();
            let mut seq = 0;
            for size in sizes {
                confirms.published(0, seq..seq + size, 0);
                seq += size;
            }
            let mut model = BTreeSet::new();
            for (tag, multiple) in acks {
                let mut found = BTreeSet::new();
                confirms.answer(tag, multiple, |a| found.extend(a.seqs));
                let covered = match (tag, multiple) {
                    (0, true) => 0..seq,
                    (tag, true) => 0..tag.min(seq),
                    (0, false) => 0..0,
                    // A single tag beyond the last is taken as the last.
                    (tag, false) => tag.min(seq) - 1..tag.min(seq),
                };
                let new: BTreeSet<u64> = covered.filter(|n| !model.contains(n)).collect();
                prop_assert_eq!(&found, &new);
                model.extend(new);
            }
            let left: BTreeSet<u64> = confirms.unanswered().into_iter().flat_map(|a| a.seqs).collect();
            prop_assert_eq!(left, (0..seq).filter(|n| !model.contains(n)).collect::<BTreeSet<_>>());
        }
    }
}
