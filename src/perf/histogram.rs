//! Latencies in buckets whose width grows with the value, so that every one is known to within 1.6 %.
//!
//! A value below 64 has a bucket of its own; above, each power of two is cut into 64 buckets. Recording is an index and
//! an addition, with a count, because all messages of a batch share their times.

const SUB_BITS: u32 = 6;
const SUB: u64 = 1 << SUB_BITS;

#[derive(Clone, Debug, Default)]
pub struct Histogram {
    /// Grows to the highest bucket that was needed; an unused histogram owns no memory.
    buckets: Vec<u64>,
    count: u64,
    max: u64,
}

impl Histogram {
    /// Adds `count` values of `value`.
    #[inline]
    pub fn record(&mut self, value: u64, count: u64) {
        let at = bucket(value);
        if self.buckets.len() <= at {
            self.buckets.resize(at + 1, 0);
        }
        if let Some(slot) = self.buckets.get_mut(at) {
            *slot += count;
        }
        self.count += count;
        self.max = self.max.max(value);
    }

    /// Adds everything that another histogram holds.
    pub fn merge(&mut self, other: &Self) {
        if self.buckets.len() < other.buckets.len() {
            self.buckets.resize(other.buckets.len(), 0);
        }
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
        }
        self.count += other.count;
        self.max = self.max.max(other.max);
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    pub fn max(&self) -> u64 {
        self.max
    }

    /// The value that `per_mille` thousandths of all values do not exceed (rounded up to its bucket's end).
    pub fn quantile(&self, per_mille: u64) -> u64 {
        let rank = (u128::from(self.count) * u128::from(per_mille)).div_ceil(1000).max(1);
        let mut seen = 0u128;
        for (at, n) in (0u32..).zip(&self.buckets) {
            seen += u128::from(*n);
            if seen >= rank {
                return highest_in(at).min(self.max);
            }
        }
        self.max
    }
}

fn bucket(value: u64) -> usize {
    let bits = u64::BITS - value.leading_zeros();
    let shift = bits.saturating_sub(SUB_BITS + 1);
    let index = u64::from(shift) * SUB + (value >> shift);
    usize::try_from(index).unwrap_or(usize::MAX)
}

/// The highest value that falls into a bucket.
fn highest_in(at: u32) -> u64 {
    let at = u64::from(at);
    if at < 2 * SUB {
        return at;
    }
    let shift = at / SUB - 1;
    ((u128::from(SUB + at % SUB + 1) << shift) - 1).try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn small_values_are_exact() {
        let mut h = Histogram::default();
        (1..=100).for_each(|v| h.record(v, 1));
        assert_eq!((h.quantile(500), h.quantile(990), h.quantile(1000), h.max()), (50, 99, 100, 100));
    }

    #[test]
    fn an_empty_one_is_all_zero() {
        assert_eq!((Histogram::default().quantile(500), Histogram::default().max()), (0, 0));
    }

    #[test]
    fn the_largest_value_has_a_bucket() {
        let mut h = Histogram::default();
        h.record(u64::MAX, 2);
        assert_eq!((h.quantile(500), h.count()), (u64::MAX, 2));
    }

    proptest! {
        #[test]
        fn a_bucket_holds_its_value_within_its_precision(value in any::<u64>()) {
            let top = highest_in(u32::try_from(bucket(value)).unwrap());
            prop_assert!(top >= value && top - value <= value / SUB);
        }

        #[test]
        fn quantiles_agree_with_a_sorted_list(mut values in prop::collection::vec(0u64..10_000_000, 1..200), q in 1u64..=1000) {
            let (mut a, mut b) = (Histogram::default(), Histogram::default());
            values.iter().enumerate().for_each(|(i, v)| if i % 2 == 0 { a.record(*v, 1) } else { b.record(*v, 1) });
            a.merge(&b);
            values.sort_unstable();
            let rank = (values.len() as u64 * q).div_ceil(1000).max(1);
            let exact = values[usize::try_from(rank).unwrap() - 1];
            let found = a.quantile(q);
            prop_assert!(found >= exact && found - exact <= exact / SUB, "{found} for {exact}");
        }
    }
}
