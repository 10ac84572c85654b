//! How numbers were over time: fine for the last minutes, coarser the further back.
//!
//! A sample goes into each [`Ring`] whose step has passed, unless nothing has changed since the last one. Memory is bounded by
//! the rings' lengths; what rests costs one sample.

use std::collections::VecDeque;

/// Step and reach of each ring in milliseconds: what RabbitMQ keeps of a node.
const RINGS: [(u64, u64); 4] = [(5_000, 605_000), (60_000, 3_660_000), (600_000, 29_400_000), (1_800_000, 86_400_000)];
/// Rings of a single object.
const SHORT: usize = 2;

/// A sample and its time, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample<T> {
    pub at: u64,
    pub value: T,
}

#[derive(Clone, Debug)]
struct Ring<T> {
    step: u64,
    reach: u64,
    samples: VecDeque<Sample<T>>,
}

/// Samples of the last day.
#[derive(Clone, Debug)]
pub struct History<T> {
    rings: Vec<Ring<T>>,
    /// How it was at first: told until there is a sample.
    first: Option<Sample<T>>,
}

impl<T> Default for History<T> {
    fn default() -> Self {
        let ring = |(step, reach)| Ring { step, reach, samples: VecDeque::new() };
        Self { rings: RINGS.into_iter().map(ring).collect(), first: None }
    }
}

impl<T> History<T> {
    /// Of the last hour only.
    pub fn short() -> Self {
        let mut history = Self::default();
        history.rings.truncate(SHORT);
        history
    }
}

impl<T: Copy + PartialEq> History<T> {
    /// Notes how it is at first, before the first sample.
    pub fn begin(&mut self, at: u64, value: T) {
        self.first = Some(Sample { at, value });
    }

    /// Takes a sample; times must rise.
    pub fn add(&mut self, at: u64, value: T) {
        for ring in &mut self.rings {
            // A timer that rings a little early must not lose every other sample.
            let is_time = |last: &Sample<T>| at.saturating_sub(last.at) + JITTER >= ring.step;
            if ring.samples.back().is_none_or(|last| is_time(last) && last.value != value) {
                ring.samples.push_back(Sample { at, value });
            }
            // The first one counts until the second.
            while ring.samples.get(1).is_some_and(|second| at.saturating_sub(second.at) > ring.reach) {
                ring.samples.pop_front();
            }
        }
    }

    /// The newest sample at or before each of the times `until`, `until - step`, ... that are not older than `age`; newest
    /// first. Times before the first sample give nothing.
    pub fn between(&self, until: u64, age: u64, step: u64) -> Vec<Sample<T>> {
        let Some(step) = Some(step).filter(|step| *step > 0) else { return Vec::new() };
        let ring = self.rings.iter().find(|ring| ring.reach >= age).or(self.rings.last());
        let Some(ring) = ring else { return Vec::new() };
        if ring.samples.is_empty() {
            let first = self.first.filter(|first| first.at <= until && first.at >= until.saturating_sub(age));
            return first.into_iter().collect();
        }
        let times = (0..=age / step).map(|n| until.saturating_sub(n * step)).take(MOST);
        times
            .filter_map(|at| {
                let found = ring.samples.partition_point(|sample| sample.at <= at).checked_sub(1)?;
                Some(Sample { at, value: ring.samples.get(found)?.value })
            })
            .collect()
    }
}

/// How early a sample may come, in milliseconds.
const JITTER: u64 = 1_250;
/// Most samples that are given at a time.
const MOST: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// For the last ten minutes every sample is there: the same as searching a list of all.
        #[test]
        fn recent_samples_are_found_as_in_a_plain_list(
            samples in prop::collection::vec((4_000_u64..12_000, 0..3), 1..200),
            age in 0_u64..600_000,
            step in 1_000_u64..60_000,
        ) {
            let (mut history, mut all, mut now) = (History::default(), Vec::new(), 1_000_000);
            for (gap, value) in samples {
                now += gap;
                history.add(now, value);
                all.push(Sample { at: now, value });
            }
            let expected: Vec<_> = (0..=age / step)
                .map(|n| now - n * step)
                .filter_map(|at| all.iter().rev().find(|s| s.at <= at).map(|s| Sample { at, value: s.value }))
                .collect();
            prop_assert_eq!(history.between(now, age, step), expected);
        }
    }

    #[test]
    fn a_day_is_kept_in_few_samples() {
        let mut history = History::default();
        let seconds = 2 * 86_400;
        for n in 0..seconds / 5 {
            history.add(n * 5_000, n);
        }
        assert!(history.rings.iter().all(|ring| ring.samples.len() <= 130), "{history:?}");
        let until = (seconds - 5) * 1000;
        let day = history.between(until, 86_400_000, 1_800_000);
        assert!((48..=49).contains(&day.len()), "{}", day.len());
        assert!(history.between(until, 60_000, 0).is_empty());
        assert_eq!(history.rings.len(), RINGS.len());
        let mut resting = History::short();
        (0..100_000).for_each(|n| resting.add(n * 5_000, 7));
        assert!(resting.rings.iter().all(|ring| ring.samples.len() == 1), "{resting:?}");
        assert_eq!(resting.between(500_000_000, 600_000, 5_000).len(), 121);
    }

    #[test]
    fn there_is_something_to_tell_before_the_first_sample() {
        let mut history = History::default();
        history.begin(1_000, 7);
        assert_eq!(history.between(2_000, 60_000, 5_000), [Sample { at: 1_000, value: 7 }]);
        history.add(1_500, 8);
        assert_eq!(history.between(2_000, 60_000, 5_000), [Sample { at: 2_000, value: 8 }]);
    }
}
