//! Rates: what a few numbers grew by per second, between the last two samples.

/// The numbers of the last sample, and how fast they grew before it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates<const N: usize> {
    before: [u64; N],
    per_second: [f32; N],
}

impl<const N: usize> Default for Rates<N> {
    fn default() -> Self {
        Self { before: [0; N], per_second: [0.0; N] }
    }
}

impl<const N: usize> Rates<N> {
    /// Takes a sample, `seconds` after the last one. True when anything has grown.
    pub fn sample(&mut self, now: &[u64; N], seconds: f64) -> bool {
        let mut moved = false;
        for ((before, rate), now) in self.before.iter_mut().zip(&mut self.per_second).zip(now) {
            let growth = now.saturating_sub(*before);
            moved |= growth > 0;
            *rate = if seconds > 0.0 { (growth as f64 / seconds) as f32 } else { 0.0 };
            *before = *now;
        }
        moved
    }

    /// The rate of one number.
    pub fn get(&self, index: usize) -> f64 {
        self.per_second.get(index).copied().map_or(0.0, rounded)
    }

    /// The rates of all.
    pub fn all(&self) -> [f64; N] {
        self.per_second.map(rounded)
    }

    /// Adds another's rates.
    pub fn add_all(&mut self, other: &Self) {
        for (mine, theirs) in self.per_second.iter_mut().zip(other.per_second) {
            *mine += theirs;
        }
    }

    /// Nothing has grown.
    pub fn are_zero(&self) -> bool {
        self.per_second.iter().all(|rate| *rate == 0.0)
    }
}

/// How fast a number that may fall changes, per second.
pub fn change(before: u64, now: u64, seconds: f64) -> f32 {
    if seconds > 0.0 { ((now as f64 - before as f64) / seconds) as f32 } else { 0.0 }
}

/// A rate as it is shown, in thousandths: what an `f32` has beyond them are no digits that mean something.
pub fn rounded(rate: f32) -> f64 {
    (f64::from(rate) * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_the_growth_per_second_and_ends_with_it() {
        let mut rates = Rates::<2>::default();
        assert!(rates.sample(&[10, 0], 5.0));
        assert_eq!(rates.all(), [2.0, 0.0]);
        assert!(rates.sample(&[10, 5], 5.0));
        assert_eq!(rates.all(), [0.0, 1.0]);
        assert!(!rates.sample(&[10, 5], 5.0));
        assert_eq!(rates.all(), [0.0, 0.0]);
        assert!(rates.are_zero());
    }

    #[test]
    fn a_rate_is_shown_with_the_digits_that_it_has() {
        let mut rates = Rates::<1>::default();
        rates.sample(&[1], 5.0);
        assert_eq!(rates.get(0).to_string(), "0.2");
        assert_eq!(rounded(change(7, 5, 6.0)).to_string(), "-0.333");
    }
}
