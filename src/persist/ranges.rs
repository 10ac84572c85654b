//! A set of positions, kept as ranges: what is dead in a queue, what an ack covers.

use std::collections::BTreeMap;
use std::ops::Range;

/// Positions as ranges that neither overlap nor touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges {
    /// End (exclusive) by start.
    ends: BTreeMap<u64, u64>,
}

impl Ranges {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Number of ranges.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Ranges in rising order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Range<u64>> + '_ {
        self.ends.iter().map(|(start, end)| *start..*end)
    }

    /// Ranges in rising order, from the one that holds a position or follows it.
    pub fn iter_from(&self, position: u64) -> impl Iterator<Item = Range<u64>> + '_ {
        let first = self.ends.range(..=position).next_back().map_or(position, |(start, _)| *start);
        self.ends.range(first..).map(|(start, end)| *start..*end).skip_while(move |range| range.end <= position)
    }

    /// Number of positions.
    pub fn count(&self) -> u64 {
        self.iter().map(|r| r.end - r.start).sum()
    }

    /// The position after the last one.
    pub fn end(&self) -> u64 {
        self.ends.last_key_value().map_or(0, |(_, end)| *end)
    }

    pub fn contains(&self, position: u64) -> bool {
        self.ends.range(..=position).next_back().is_some_and(|(_, end)| position < *end)
    }

    /// Number of positions of `range` that are in the set.
    pub fn count_within(&self, range: Range<u64>) -> u64 {
        let before = self.ends.range(..=range.start).next_back().map(|(s, e)| (*s, *e));
        let within = self.ends.range(range.start.saturating_add(1)..range.end.max(range.start.saturating_add(1)));
        let overlap = |(start, end): (u64, u64)| end.min(range.end).saturating_sub(start.max(range.start));
        before.into_iter().chain(within.map(|(s, e)| (*s, *e))).map(overlap).sum()
    }

    /// Adds a position; false when it was there.
    pub fn insert(&mut self, position: u64) -> bool {
        let Some(after) = position.checked_add(1) else { return false };
        let before = self.ends.range(..=position).next_back().map(|(start, end)| (*start, *end));
        if before.is_some_and(|(_, end)| position < end) {
            return false;
        }
        // Mostly it touches no other: then nothing is looked for but its place.
        let end = self.ends.remove(&after).unwrap_or(after);
        let start = before.filter(|(_, end)| *end == position).map_or(position, |(start, _)| start);
        self.ends.insert(start, end);
        true
    }

    /// Adds a range.
    pub fn insert_range(&mut self, range: Range<u64>) {
        if range.start >= range.end {
            return;
        }
        let (mut start, mut end) = (range.start, range.end);
        if let Some((before, until)) = self.ends.range(..start).next_back().map(|(s, e)| (*s, *e))
            && until >= start
        {
            start = before;
            end = end.max(until);
        }
        while let Some((next, until)) = self.ends.range(start..).next().map(|(s, e)| (*s, *e)) {
            if next > end {
                break;
            }
            self.ends.remove(&next);
            end = end.max(until);
        }
        self.ends.insert(start, end);
    }

    /// Forgets everything below a position.
    pub fn remove_below(&mut self, position: u64) {
        let kept = self.ends.split_off(&position);
        if let Some((_, end)) = self.ends.last_key_value()
            && *end > position
        {
            let end = *end;
            self.ends = kept;
            self.ends.insert(position, end);
            return;
        }
        self.ends = kept;
    }
}

impl FromIterator<u64> for Ranges {
    fn from_iter<T: IntoIterator<Item = u64>>(positions: T) -> Self {
        let mut ranges = Self::new();
        for position in positions {
            ranges.insert(position);
        }
        ranges
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_set_of_ranges_is_a_set(steps in proptest::collection::vec((0_u64..60, 0_u64..8, 0..8_u8), 0..60)) {
            let (mut ranges, mut model) = (Ranges::new(), BTreeSet::new());
            for (start, length, kind) in steps {
                match kind {
                    0 => {
                        ranges.remove_below(start);
                        model.retain(|p| *p >= start);
                    }
                    1..4 => prop_assert_eq!(ranges.insert(start), model.insert(start)),
                    _ => {
                        ranges.insert_range(start..start + length);
                        model.extend(start..start + length);
                    }
                }
                prop_assert_eq!(ranges.count(), model.len() as u64);
                prop_assert_eq!(ranges.count_within(start..start + 9), model.range(start..start + 9).count() as u64);
                prop_assert!((0..70).all(|p| ranges.contains(p) == model.contains(&p)));
                let pairs: Vec<_> = ranges.iter().collect();
                let behind = pairs.iter().filter(|range| range.end > start).cloned();
                prop_assert!(ranges.iter_from(start).eq(behind));
                prop_assert!(pairs.windows(2).all(|w| w[0].end < w[1].start));
            }
        }
    }
}
