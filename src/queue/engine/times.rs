//! When something is due at which position, the earliest first. Sixteen bytes for each entry, and no search.
//!
//! Entries are not taken out when their message leaves in another way: whoever pops one looks whether it still counts. So
//! that they do not pile up, [`Times::keep`] throws out those that do not, from time to time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Times, in milliseconds since 1970, of positions.
#[derive(Debug, Default)]
pub struct Times {
    heap: BinaryHeap<Reverse<(u64, u64)>>,
}

impl Times {
    pub const NONE: Self = Self { heap: BinaryHeap::new() };

    /// All at once, which is quicker than one by one.
    pub fn of(entries: impl Iterator<Item = (u64, u64)>) -> Self {
        let entries: Vec<_> = entries.map(Reverse).collect();
        Self { heap: entries.into() }
    }

    pub fn push(&mut self, at: u64, position: u64) {
        self.heap.push(Reverse((at, position)));
    }

    /// The earliest time.
    #[inline]
    pub fn next(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// The position of the earliest entry, if its time has come. An entry that is there several times comes once: whoever
    /// has let its message go would look for it a second time, and among cold messages find another in its place.
    pub fn pop_due(&mut self, now: u64) -> Option<u64> {
        let first = self.heap.peek().filter(|Reverse((at, _))| *at <= now).copied()?;
        while self.heap.peek() == Some(&first) {
            self.heap.pop();
        }
        Some(first.0.1)
    }

    /// The earliest entries, at most so many: time and position, in order.
    pub fn earliest(&self, most: usize) -> Vec<(u64, u64)> {
        let mut all: Vec<_> = self.heap.iter().map(|Reverse(entry)| *entry).collect();
        if all.len() > most && most > 0 {
            all.select_nth_unstable(most - 1);
        }
        all.truncate(most);
        all.sort_unstable();
        all
    }

    pub fn len(&self) -> usize {
        self.heap.len()
    }

    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// Throws out what does not count any more, and what is there twice.
    pub fn keep(&mut self, counts: impl Fn(u64) -> bool) {
        let mut entries = std::mem::take(&mut self.heap).into_vec();
        entries.retain(|Reverse((_, position))| counts(*position));
        entries.sort_unstable();
        entries.dedup();
        self.heap = entries.into();
    }

    pub fn clear(&mut self) {
        self.heap = BinaryHeap::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_comes_first_and_only_when_it_is_due() {
        let mut times = Times::of([(5, 1), (3, 2), (9, 3)].into_iter());
        times.push(4, 4);
        assert_eq!(times.next(), Some(3));
        assert_eq!(times.earliest(2), [(3, 2), (4, 4)]);
        assert_eq!((times.pop_due(4), times.pop_due(4), times.pop_due(4)), (Some(2), Some(4), None));
        assert_eq!(times.len(), 2);
    }

    #[test]
    fn what_is_there_twice_is_due_once() {
        let mut times = Times::of([(5, 1), (5, 1), (5, 2), (6, 1)].into_iter());
        times.push(5, 1);
        let due: Vec<_> = std::iter::from_fn(|| times.pop_due(9)).collect();
        assert_eq!(due, [1, 2, 1]);
    }

    #[test]
    fn what_does_not_count_is_thrown_out() {
        let mut times = Times::of((0..10_000).map(|n| (n, n / 2)).chain([(0, 0)]));
        times.keep(|position| position < 100);
        assert_eq!((times.len(), times.next()), (200, Some(0)));
    }
}
