//! The text format of metrics, made bit by bit: a scrape of very many queues is never in memory as a whole.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Bytes, HttpBody};
use hyper::body::Frame;
use tokio::sync::OwnedSemaphorePermit;

/// The media type of what is written here.
pub const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// Bytes that are made at a time.
const BIT: usize = 64 << 10;

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Untyped,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Untyped => "untyped",
        }
    }
}

/// One metric of something.
pub struct Metric<T: 'static> {
    pub name: &'static str,
    pub kind: Kind,
    pub help: &'static str,
    /// None where there is nothing to say.
    pub value: fn(&T) -> Option<f64>,
}

/// Things with their labels, as they stand between the braces.
pub type Rows<T> = Arc<Vec<(String, T)>>;

/// Writes a part of the text, some of it at a time; true when that was the end.
type Part = Box<dyn FnMut(&mut String) -> bool + Send>;

/// What is answered to a scrape.
#[derive(Default)]
pub struct Scrape {
    parts: VecDeque<Part>,
    /// Other scrapes wait for it until all is read, or nobody reads any more.
    turn: Option<OwnedSemaphorePermit>,
}

impl Scrape {
    pub fn with_turn(self, turn: Option<OwnedSemaphorePermit>) -> Self {
        Self { turn, ..self }
    }

    /// Adds the same metrics of many things, metric by metric.
    pub fn table<T: Send + Sync>(&mut self, prefix: &'static str, metrics: &'static [Metric<T>], rows: &Rows<T>) {
        let rows = Arc::clone(rows);
        let (mut metrics, mut next) = (metrics.iter(), 0);
        let mut current = metrics.next();
        self.parts.push_back(Box::new(move |text| {
            while let Some(metric) = current.filter(|_| !rows.is_empty()) {
                if next == 0 {
                    head(text, prefix, metric.name, metric.kind.name(), metric.help);
                }
                while let Some((labels, thing)) = rows.get(next) {
                    next += 1;
                    if let Some(value) = (metric.value)(thing) {
                        line(text, prefix, metric.name, labels, value);
                    }
                    if text.len() >= BIT {
                        return false;
                    }
                }
                next = 0;
                current = metrics.next();
            }
            true
        }));
    }

    /// Adds one metric of one or more things.
    pub fn family(&mut self, name: &str, kind: Kind, help: &str, rows: &[(String, f64)]) {
        let mut whole = String::new();
        if !rows.is_empty() {
            head(&mut whole, "", name, kind.name(), help);
        }
        rows.iter().for_each(|(labels, value)| line(&mut whole, "", name, labels, *value));
        self.text(whole);
    }

    /// Adds a histogram; `bounds` and the numbers of their classes, of which the last has no bound.
    pub fn histogram(&mut self, name: &str, help: &str, labels: &str, bounds: &[f64], classes: &[u64], sum: f64) {
        let mut whole = String::new();
        head(&mut whole, "", name, "histogram", help);
        let mut count = 0;
        for (index, class) in classes.iter().enumerate() {
            count += class;
            let bound = bounds.get(index).map_or_else(|| "+Inf".to_owned(), |bound| number(*bound));
            let comma = if labels.is_empty() { "" } else { "," };
            let labels = format!("{labels}{comma}le=\"{bound}\"");
            line(&mut whole, name, "_bucket", &labels, count as f64);
        }
        line(&mut whole, name, "_sum", labels, sum);
        line(&mut whole, name, "_count", labels, count as f64);
        self.text(whole);
    }

    fn text(&mut self, whole: String) {
        self.parts.push_back(Box::new(move |text| {
            text.push_str(&whole);
            true
        }));
    }
}

impl HttpBody for Scrape {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let mut text = String::new();
        while text.len() < BIT {
            let Some(part) = self.parts.front_mut() else { break };
            if part(&mut text) {
                self.parts.pop_front();
            }
        }
        if text.is_empty() {
            self.turn = None;
        }
        Poll::Ready((!text.is_empty()).then(|| Ok(Frame::data(text.into()))))
    }
}

fn head(text: &mut String, prefix: &str, name: &str, kind: &str, help: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "# HELP {prefix}{name} {help}\n# TYPE {prefix}{name} {kind}");
}

fn line(text: &mut String, prefix: &str, name: &str, labels: &str, value: f64) {
    let value = number(value);
    let _ = match labels {
        "" => writeln!(text, "{prefix}{name} {value}"),
        labels => writeln!(text, "{prefix}{name}{{{labels}}} {value}"),
    };
}

fn number(value: f64) -> String {
    value.to_string()
}

/// Labels as they stand between the braces.
pub fn labels(pairs: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (name, value) in pairs {
        let comma = if text.is_empty() { "" } else { "," };
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let _ = write!(text, "{comma}{name}=\"{value}\"");
    }
    text
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    const METRICS: &[Metric<u64>] = &[
        Metric { name: "n", kind: Kind::Gauge, help: "A number.", value: |n| Some(*n as f64) },
        Metric { name: "odd_total", kind: Kind::Counter, help: "It.", value: |n| (n % 2 == 1).then_some(*n as f64) },
    ];

    async fn bits(scrape: Scrape) -> Vec<String> {
        let mut body = axum::body::Body::new(scrape);
        let mut bits = Vec::new();
        while let Some(frame) = body.frame().await {
            bits.push(String::from_utf8(frame.unwrap().into_data().unwrap().to_vec()).unwrap());
        }
        bits
    }

    #[tokio::test]
    async fn metrics_stand_together_and_say_once_what_they_are() {
        let mut scrape = Scrape::default();
        let rows = (1..=2).map(|n| (labels(&[("name", &format!("a\"{n}\\"))]), n)).collect();
        scrape.table("x_", METRICS, &Arc::new(rows));
        scrape.histogram("h", "Sizes.", "", &[0.5, 1.0], &[2, 0, 1], 7.5);
        let expected = "# HELP x_n A number.\n# TYPE x_n gauge\nx_n{name=\"a\\\"1\\\\\"} 1\nx_n{name=\"a\\\"2\\\\\"} 2\n\
            # HELP x_odd_total It.\n# TYPE x_odd_total counter\nx_odd_total{name=\"a\\\"1\\\\\"} 1\n\
            # HELP h Sizes.\n# TYPE h histogram\nh_bucket{le=\"0.5\"} 2\nh_bucket{le=\"1\"} 2\nh_bucket{le=\"+Inf\"} 3\n\
            h_sum 7.5\nh_count 3\n";
        assert_eq!(bits(scrape).await.concat(), expected);
    }

    #[tokio::test]
    async fn a_scrape_has_its_turn_until_it_is_read_or_given_up() {
        let turns = Arc::new(tokio::sync::Semaphore::new(2));
        let scrape = || async {
            let mut scrape = Scrape::default().with_turn(Arc::clone(&turns).acquire_owned().await.ok());
            scrape.table("x_", METRICS, &Arc::new((0..20_000).map(|n| (String::new(), n)).collect()));
            scrape
        };
        let (read, given_up) = (scrape().await, scrape().await);
        assert_eq!(turns.available_permits(), 0);
        drop(given_up);
        assert_eq!(turns.available_permits(), 1);
        bits(read).await;
        assert_eq!(turns.available_permits(), 2);
    }

    #[tokio::test]
    async fn a_long_table_comes_in_bits() {
        let mut scrape = Scrape::default();
        scrape.table("x_", METRICS, &Arc::new((0..20_000).map(|n| (labels(&[("n", &n.to_string())]), n)).collect()));
        let bits = bits(scrape).await;
        assert!(bits.len() > 5 && bits.iter().all(|bit| bit.len() < BIT + 1000), "{}", bits.len());
        let text = bits.concat();
        assert_eq!(text.matches("# TYPE").count(), 2);
        assert_eq!(text.lines().count(), 4 + 20_000 + 10_000);
    }
}
