//! A set of sequence numbers that mostly fills from below.
//!
//! Everything under `floor` is in the set; above it a bitmap says which numbers have come early. A stream that arrives
//! in order costs one addition a run, and the bitmap stays empty; one spread over several consumers costs a bit a
//! message, for as long as the slowest of them is behind.

use std::collections::VecDeque;
use std::ops::Range;

const WORD: u64 = 64;

#[derive(Clone, Debug, Default)]
pub struct SeqSet {
    floor: u64,
    /// Bit `i` of word `w` is the number `base + 64 w + i`; `base` is `floor` rounded down to a whole word.
    words: VecDeque<u64>,
}

impl SeqSet {
    /// The lowest number that is not in the set.
    pub fn floor(&self) -> u64 {
        self.floor
    }

    /// Adds a run of numbers; returns how many of them are new.
    #[inline]
    pub fn insert_run(&mut self, run: Range<u64>) -> u64 {
        if run.start == self.floor && self.words.is_empty() {
            self.floor = run.end.max(run.start);
            return self.floor - run.start;
        }
        self.insert_spread(run)
    }

    fn insert_spread(&mut self, run: Range<u64>) -> u64 {
        let mut new = 0;
        let mut at = run.start.max(self.floor);
        while at < run.end {
            let (word, bit) = self.place(at);
            let take = (WORD - bit).min(run.end - at);
            let mask = (u64::MAX >> (WORD - take)) << bit;
            if self.words.len() <= word {
                // The word of the floor itself starts with the bits below it set.
                let below = self.floor % WORD;
                let first = if self.words.is_empty() { (1 << below) - 1 } else { 0 };
                self.words.resize(word + 1, 0);
                if let (Some(slot), true) = (self.words.front_mut(), first != 0) {
                    *slot |= first;
                }
            }
            if let Some(slot) = self.words.get_mut(word) {
                new += u64::from((mask & !*slot).count_ones());
                *slot |= mask;
            }
            at += take;
        }
        self.advance();
        new
    }

    /// Word and bit of a number that is not below the floor.
    fn place(&self, seq: u64) -> (usize, u64) {
        let base = self.floor - self.floor % WORD;
        (usize::try_from((seq - base) / WORD).unwrap_or(usize::MAX), seq % WORD)
    }

    /// Moves the floor over what has become whole.
    fn advance(&mut self) {
        let base = self.floor - self.floor % WORD;
        let mut whole = 0;
        while self.words.front() == Some(&u64::MAX) {
            self.words.pop_front();
            whole += WORD;
        }
        match self.words.front() {
            Some(first) => {
                self.floor = base + whole + u64::from(first.trailing_ones());
                // Only bits below the floor are set: nothing is early.
                let rest = first.checked_shr(first.trailing_ones()).unwrap_or(0);
                if self.words.len() == 1 && rest == 0 {
                    self.words.clear();
                }
            }
            None => self.floor = self.floor.max(base + whole),
        }
    }

    /// The runs of numbers below `end` that are not in the set, from the lowest.
    pub fn missing(&self, end: u64) -> Vec<Range<u64>> {
        let mut gaps: Vec<Range<u64>> = Vec::new();
        let mut gap = |run: Range<u64>| {
            if run.start >= run.end {
                return;
            }
            match gaps.last_mut() {
                Some(last) if last.end == run.start => last.end = run.end,
                _ => gaps.push(run),
            }
        };
        let base = self.floor - self.floor % WORD;
        let mut at = self.floor;
        for (start, word) in (base..).step_by(64).zip(&self.words) {
            let stop = (start + WORD).min(end);
            if *word == 0 {
                gap(at.max(start)..stop);
                continue;
            }
            for seq in at.max(start)..stop {
                if word >> (seq % WORD) & 1 == 0 {
                    gap(seq..seq + 1);
                }
            }
            at = start + WORD;
        }
        let covered = base + WORD * u64::try_from(self.words.len()).unwrap_or(0);
        gap(self.floor.max(covered)..end);
        gaps
    }

    /// One more than the highest number in the set.
    pub fn end(&self) -> u64 {
        let base = self.floor - self.floor % WORD;
        match self.words.iter().rposition(|w| *w != 0).and_then(|i| Some((i, self.words.get(i)?))) {
            Some((i, word)) => base + WORD * u64::try_from(i).unwrap_or(0) + (WORD - u64::from(word.leading_zeros())),
            None => self.floor,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn in_order_needs_no_bitmap() {
        let mut set = SeqSet::default();
        assert_eq!(set.insert_run(0..1000), 1000);
        assert_eq!(set.insert_run(1000..1007), 7);
        assert_eq!((set.floor(), set.words.len(), set.end()), (1007, 0, 1007));
        assert_eq!(set.insert_run(1000..1008), 1);
        assert_eq!((set.floor(), set.words.len()), (1008, 0));
    }

    proptest! {
        #[test]
        fn behaves_as_a_plain_set(runs in prop::collection::vec((0u64..400, 0u64..90), 0..40), end in 0u64..600) {
            let (mut set, mut model) = (SeqSet::default(), BTreeSet::new());
            for (start, len) in runs {
                let before = model.len();
                model.extend(start..start + len);
                prop_assert_eq!(set.insert_run(start..start + len), (model.len() - before) as u64);
                let floor = (0..=1000).find(|n| !model.contains(n)).unwrap();
                prop_assert_eq!(set.floor(), floor);
                prop_assert_eq!(set.end(), model.last().map_or(0, |n| n + 1));
            }
            let missing: Vec<u64> = set.missing(end).into_iter().flatten().collect();
            let expected: Vec<u64> = (0..end).filter(|n| !model.contains(n)).collect();
            prop_assert_eq!(missing, expected);
        }
    }
}
