//! What a run prints: a line a second, and a summary as text or as one JSON object.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use super::check::Faults;
use super::histogram::Histogram;
use super::options::Options;
use super::procfs::Memory;
use super::sampler::{Sample, Totals};

/// Everything that a run has found out.
#[derive(Clone, Debug)]
pub struct Summary {
    pub seconds: f64,
    /// From the end of publishing until everything had arrived.
    pub drain_seconds: f64,
    pub totals: Totals,
    pub sent_rate: f64,
    pub received_rate: f64,
    pub confirmed_rate: f64,
    pub confirm: Histogram,
    pub end_to_end: Histogram,
    /// Seconds, from the begin of the measurement until everything had arrived.
    pub broker_cpu: Option<f64>,
    pub own_cpu: Option<f64>,
    /// Messages sent and delivered in that time.
    pub published: u64,
    pub deliveries: u64,
    pub memory: Option<Memory>,
    pub faults: Faults,
    /// Whether there were consumers, so that the check says something.
    pub consumed: bool,
}

/// The live line. With --json it goes to the standard error, so that the output stays one object.
pub fn line(options: &Options, elapsed: Duration, sample: &Sample) {
    let rate = |n: u64| grouped(per_second(n, sample.seconds));
    let mut text = format!("{:>4} s", elapsed.as_secs());
    if options.active_producers() > 0 {
        let _ = write!(text, "  sent {}/s", rate(sample.sent));
    }
    if options.active_consumers() > 0 {
        let _ = write!(text, "  received {}/s", rate(sample.received));
    }
    if options.confirms > 0 {
        let _ = write!(text, "  confirmed {}/s", rate(sample.confirmed));
    }
    for (name, histogram) in [("confirm", &sample.latencies.confirm), ("end to end", &sample.latencies.end_to_end)] {
        if options.latency && histogram.count() > 0 {
            let _ = write!(text, "  {name} {}, p99 {}", time(histogram.quantile(500)), time(histogram.quantile(990)));
        }
    }
    if sample.blocked > 0 {
        let _ = write!(text, "  blocked ({})", sample.blocked);
    }
    if options.json { eprintln!("{text}") } else { println!("{text}") }
}

impl Summary {
    /// 1 when a promise was broken.
    pub fn is_sound(&self) -> bool {
        !self.faults.any() && self.totals.unconfirmed == 0
    }

    pub fn text(&self) -> String {
        let mut out = String::from("\n");
        let t = &self.totals;
        let rates = [
            ("sent", t.sent, self.sent_rate),
            ("received", t.received, self.received_rate),
            ("confirmed", t.confirmed, self.confirmed_rate),
        ];
        for (name, count, rate) in rates.into_iter().filter(|r| r.1 > 0) {
            row(&mut out, name, &format!("{}/s  ({count} in all)", grouped(rate)));
        }
        row(&mut out, "time", &format!("{:.2} s, then {:.2} s to drain", self.seconds, self.drain_seconds));
        for (name, histogram) in [("confirm", &self.confirm), ("end to end", &self.end_to_end)] {
            if histogram.count() > 0 {
                row(&mut out, name, &latencies(histogram));
            }
        }
        for (name, seconds) in [("broker CPU", self.broker_cpu), ("own CPU", self.own_cpu)] {
            if let Some(seconds) = seconds {
                row(&mut out, name, &self.cpu_text(seconds));
            }
        }
        if let Some(memory) = self.memory {
            let mib = |bytes| f64::from(u32::try_from(bytes >> 10).unwrap_or(u32::MAX)) / 1024.0;
            row(&mut out, "memory", &format!("{:.1} MiB, peak {:.1} MiB", mib(memory.now), mib(memory.peak)));
        }
        row(&mut out, "check", &self.check_text());
        out
    }

    fn cpu_text(&self, seconds: f64) -> String {
        let mut text = format!("{:.3} µs per message, {seconds:.2} s", micros(seconds, self.deliveries));
        if self.published > 0 && self.published.abs_diff(self.deliveries) > self.deliveries / 10 {
            let _ = write!(text, " ({:.3} µs per publish)", micros(seconds, self.published));
        }
        text
    }

    fn check_text(&self) -> String {
        let f = &self.faults;
        let found = [
            ("lost", f.lost),
            ("duplicated", f.duplicated),
            ("out of order", f.out_of_order),
            ("misrouted", f.misrouted),
            ("corrupt", f.corrupt),
            ("never confirmed", self.totals.unconfirmed),
            ("refused", self.totals.refused),
            ("returned", self.totals.returned),
            ("redelivered", f.redelivered),
        ];
        let told: Vec<String> = found.iter().filter(|f| f.1 > 0).map(|(name, n)| format!("{n} {name}")).collect();
        match (told.is_empty(), self.is_sound()) {
            (true, _) if !self.consumed => "nothing was consumed".into(),
            (true, _) => "every message once and in order".into(),
            (_, true) => format!("sound; {}", told.join(", ")),
            _ => format!("FAILED: {}", told.join(", ")),
        }
    }

    pub fn json(&self) -> Value {
        let (t, f) = (&self.totals, &self.faults);
        let per = |seconds: Option<f64>, n: u64| seconds.filter(|_| n > 0).map(|s| micros(s, n));
        json!({
            "seconds": self.seconds,
            "drain_seconds": self.drain_seconds,
            "sent": t.sent,
            "received": t.received,
            "confirmed": t.confirmed,
            "refused": t.refused,
            "returned": t.returned,
            "unconfirmed": t.unconfirmed,
            "sent_per_second": self.sent_rate,
            "received_per_second": self.received_rate,
            "confirmed_per_second": self.confirmed_rate,
            "confirm_us": quantiles(&self.confirm),
            "end_to_end_us": quantiles(&self.end_to_end),
            "broker_cpu_seconds": self.broker_cpu,
            "broker_cpu_us_per_message": per(self.broker_cpu, self.deliveries),
            "broker_cpu_us_per_publish": per(self.broker_cpu, self.published),
            "own_cpu_seconds": self.own_cpu,
            "own_cpu_us_per_message": per(self.own_cpu, self.deliveries),
            "broker_memory_bytes": self.memory.map(|m| m.now),
            "broker_memory_peak_bytes": self.memory.map(|m| m.peak),
            "lost": f.lost,
            "duplicated": f.duplicated,
            "out_of_order": f.out_of_order,
            "redelivered": f.redelivered,
            "misrouted": f.misrouted,
            "corrupt": f.corrupt,
            "sound": self.is_sound(),
        })
    }
}

pub fn per_second(count: u64, seconds: f64) -> f64 {
    count as f64 / seconds
}

/// A share of memory.
pub fn per_item(bytes: u64, items: usize) -> f64 {
    bytes as f64 / items.max(1) as f64
}

fn micros(seconds: f64, count: u64) -> f64 {
    seconds * 1e6 / count.max(1) as f64
}

fn row(out: &mut String, name: &str, value: &str) {
    let _ = writeln!(out, "{name:<12}{value}");
}

/// The percentiles that are told.
const QUANTILES: [(&str, u64); 4] = [("p50", 500), ("p95", 950), ("p99", 990), ("p99.9", 999)];

fn latencies(histogram: &Histogram) -> String {
    let parts = QUANTILES.iter().map(|(name, q)| format!("{name} {}", time(histogram.quantile(*q))));
    format!("{}, max {}", parts.collect::<Vec<_>>().join(", "), time(histogram.max()))
}

/// In microseconds; null where nothing was measured.
fn quantiles(histogram: &Histogram) -> Value {
    if histogram.count() == 0 {
        return Value::Null;
    }
    let micros = |nanos: u64| Value::from(per_second(nanos, 1000.0));
    let found = QUANTILES.iter().map(|(name, q)| ((*name).to_owned(), micros(histogram.quantile(*q))));
    found.chain([("max".to_owned(), micros(histogram.max()))]).collect::<serde_json::Map<_, _>>().into()
}

/// Nanoseconds in a unit that suits.
fn time(nanos: u64) -> String {
    let n = per_second(nanos, 1.0);
    match nanos {
        0..1_000_000 => format!("{:.0} µs", n / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} ms", n / 1e6),
        _ => format!("{:.2} s", n / 1e9),
    }
}

/// A rate with its thousands apart.
pub fn grouped(rate: f64) -> String {
    let digits = (rate.round() as u64).to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!([grouped(0.4), grouped(999.6), grouped(1_234_567.0)], ["0", "1,000", "1,234,567"]);
        assert_eq!([time(1_500), time(2_500_000), time(3_000_000_000)], ["2 µs", "2.5 ms", "3.00 s"]);
        assert!((micros(2.0, 1_000_000) - 2.0).abs() < 1e-9);
    }
}
