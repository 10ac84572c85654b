//! Rates: what a few numbers grew by per second, between the last two samples.

/// The numbers of the last sample, and how fast they grew before it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates<const N: usize> {
    before: [u64; N],
    pub per_second: [f32; N],
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
        self.per_second.get(index).copied().map_or(0.0, f64::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_the_growth_per_second_and_ends_with_it() {
        let mut rates = Rates::<2>::default();
        assert!(rates.sample(&[10, 0], 5.0));
        assert_eq!(rates.per_second, [2.0, 0.0]);
        assert!(rates.sample(&[10, 5], 5.0));
        assert_eq!(rates.per_second, [0.0, 1.0]);
        assert!(!rates.sample(&[10, 5], 5.0));
        assert_eq!(rates.per_second, [0.0, 0.0]);
    }
}
