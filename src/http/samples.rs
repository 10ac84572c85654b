//! Samples over time, for pages of single objects: a request names an age and a step in seconds (`lengths_age`,
//! `lengths_incr`; the same for `msg_rates`, `data_rates` and `node_stats`), and the details of a figure get its samples, newest
//! first, with what they come to on average.

use serde_json::{Value as Json, json};

use super::Call;
use super::fields::Shown;
use crate::stats::album::Span;
use crate::stats::history::Sample;

/// The samples that a request has asked for, by kind of figure; none where it has not.
#[derive(Debug)]
pub struct Over<T> {
    pub lengths: Vec<Sample<T>>,
    pub msg_rates: Vec<Sample<T>>,
    pub data_rates: Vec<Sample<T>>,
    pub node_stats: Vec<Sample<T>>,
}

impl<T> Default for Over<T> {
    fn default() -> Self {
        Self { lengths: Vec::new(), msg_rates: Vec::new(), data_rates: Vec::new(), node_stats: Vec::new() }
    }
}

impl<T> Over<T> {
    /// What the query asks for, from what `look` finds.
    pub fn asked(call: &Call, look: impl Fn(Span) -> Vec<Sample<T>>) -> Self {
        let of = |what| span(call, what).map(&look).unwrap_or_default();
        Self {
            lengths: of("lengths"),
            msg_rates: of("msg_rates"),
            data_rates: of("data_rates"),
            node_stats: of("node_stats"),
        }
    }
}

/// The samples of a part of what there are samples of.
pub fn part<T, U>(history: &[Sample<T>], of: impl Fn(&T) -> U) -> Vec<Sample<U>> {
    history.iter().map(|sample| Sample { at: sample.at, value: of(&sample.value) }).collect()
}

fn span(call: &Call, what: &str) -> Option<Span> {
    if !matches!(call.shown(), Shown::All | Shown::NoRates) {
        return None;
    }
    let millis = |end: &str| Some(call.query.get(&format!("{what}_{end}"))?.parse::<u64>().ok()?.saturating_mul(1000));
    let (age, step) = (millis("age")?, millis("incr").filter(|step| *step > 0)?);
    Some(Span { until: call.broker().clock.now_ms(), age, step })
}

/// The details of a figure: its rate, and its samples where there are some.
pub fn details<T>(rate: f64, history: &[Sample<T>], value: impl Fn(&T) -> u64) -> Json {
    let (Some(newest), Some(oldest)) = (history.first(), history.last()) else { return json!({ "rate": rate }) };
    let (mut sum, mut samples) = (0.0, Vec::with_capacity(history.len()));
    for sample in history {
        let value = value(&sample.value);
        sum += value as f64;
        samples.push(json!({ "sample": value, "timestamp": sample.at }));
    }
    let seconds = newest.at.saturating_sub(oldest.at) as f64 / 1000.0;
    let growth = value(&newest.value) as f64 - value(&oldest.value) as f64;
    json!({
        "rate": rate, "samples": samples,
        "avg_rate": if seconds > 0.0 { growth / seconds } else { 0.0 }, "avg": sum / history.len() as f64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_tell_samples_and_what_they_come_to() {
        let history = [(20_000, 70), (15_000, 40), (10_000, 40)].map(|(at, value)| Sample { at, value });
        let told = details(6.0, &history, |value| *value);
        assert_eq!((&told["rate"], &told["avg"], &told["avg_rate"]), (&json!(6.0), &json!(50.0), &json!(3.0)));
        assert_eq!(told["samples"][0], json!({ "sample": 70, "timestamp": 20_000 }));
        assert_eq!(details(1.0, &[], |value: &u64| *value), json!({ "rate": 1.0 }));
    }
}
