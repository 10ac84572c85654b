use std::time::Duration;

use proptest::prelude::*;

use super::*;

const MS: u64 = 1_000_000;

/// The same with all that was ever taken, for a rate per millisecond of which nothing is lost.
struct Model {
    per_ms: i64,
    level: i64,
    at_ms: u64,
}

impl Model {
    fn new(per_ms: i64) -> Self {
        Self { per_ms, level: per_ms * 1000, at_ms: 0 }
    }

    /// Millisecond by millisecond.
    fn go_on_to(&mut self, ms: u64) {
        for _ in self.at_ms..ms {
            self.level = (self.level + self.per_ms).min(self.per_ms * 1000);
        }
        self.at_ms = ms;
    }
}

proptest! {
    #[test]
    fn a_bucket_holds_what_a_model_holds(
        per_ms in 1_i64..50,
        steps in prop::collection::vec((0_u64..2_000, 0_u64..20_000), 1..40),
    ) {
        let mut bucket = Bucket::new(per_ms.unsigned_abs() * 1000, 0);
        let mut model = Model::new(per_ms);
        let mut ms = 0;
        for (later, taken) in steps {
            ms += later;
            model.go_on_to(ms);
            prop_assert_eq!(bucket.available(ms * MS), u64::try_from(model.level).unwrap_or(0));
            bucket.take(taken, ms * MS);
            model.level -= i64::try_from(taken).unwrap();
            // The wait is over when a token is there, and not before.
            let wait = u64::try_from(bucket.wait(ms * MS).as_nanos()).unwrap();
            if wait > 0 {
                prop_assert_eq!(bucket.clone().available(ms * MS + wait - 1), 0);
            }
            prop_assert!(bucket.clone().available(ms * MS + wait) > 0);
        }
    }

    #[test]
    fn never_more_goes_through_than_the_rate_and_a_second_in_advance(
        rate in 1_u64..5_000,
        tries in prop::collection::vec((0_u64..300, 1_u64..400), 1..200),
    ) {
        let throttle = Throttle::new(Rates { messages: Some(rate), bytes: None }, 0);
        let (mut ms, mut through) = (0, 0);
        for (later, wanted) in tries {
            ms += later;
            let allowed = throttle.allowance(ms * MS).messages.min(wanted);
            throttle.take(allowed, 0, ms * MS);
            through += allowed;
            prop_assert!(through <= rate + rate * ms / 1000 + 1);
        }
    }
}

#[test]
fn a_debt_is_paid_before_anything_else_goes_through() {
    let throttle = Throttle::new(Rates { messages: Some(100), bytes: Some(1000) }, 0);
    assert_eq!(throttle.allowance(0), Allowance { messages: 100, bytes: 1000 });
    throttle.take(1, 3000, 0);
    assert_eq!(throttle.allowance(0), Allowance { messages: 99, bytes: 0 });
    assert_eq!(throttle.wait(0), Duration::from_millis(2001));
    assert!(throttle.allowance(2001 * MS).bytes > 0);
}

#[test]
fn rates_of_any_size_neither_overflow_nor_stand_still() {
    let mut least = Bucket::new(0, 0);
    least.take(u64::MAX, 0);
    assert!(least.wait(u64::MAX / 2) > Duration::from_secs(3600));
    let mut most = Bucket::new(u64::MAX, 0);
    most.take(u64::MAX, 0);
    most.take(u64::MAX, 1);
    assert_eq!(most.available(u64::MAX), u64::MAX);
    assert_eq!(most.wait(u64::MAX), Duration::ZERO);
}

#[test]
fn of_several_limits_the_narrower_one_counts() {
    let (few, small) = (Allowance { messages: 1, bytes: 900 }, Allowance { messages: 50, bytes: 10 });
    assert_eq!(few.and(small), Allowance { messages: 1, bytes: 10 });
    assert_eq!(small.and(few), few.and(small));
}
