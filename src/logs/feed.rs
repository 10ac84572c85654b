//! Lines on their way to the exchange `amq.rabbitmq.log`: the log's writer leaves them here, within a bound, and the broker,
//! which is built on top of the log, takes them away and publishes them.
//!
//! What publishing itself has to say goes everywhere else but not here ([`apart`]), or each line would bring the next.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use parking_lot::{Condvar, Mutex};

use super::losses::{Losses, Output};
use crate::config::{LogFormat, LogLevel};

/// Bytes of lines that wait.
pub const MOST_BYTES: usize = 8 << 20;
/// What a line costs beside its text.
const PER_LINE: usize = 64;
/// Lines that are taken at a time.
const TOGETHER: usize = 256;

thread_local! {
    static IS_APART: Cell<bool> = const { Cell::new(false) };
}

/// Does something of which the log exchange hears nothing.
pub fn apart<T>(work: impl FnOnce() -> T) -> T {
    let before = IS_APART.replace(true);
    let done = work();
    IS_APART.set(before);
    done
}

/// Whether what this thread logs just now is not for the exchange.
pub(super) fn is_apart() -> bool {
    IS_APART.get()
}

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Microseconds since 1970.
    pub at: u64,
    pub level: LogLevel,
    pub text: String,
}

/// The lines that wait.
#[derive(Debug)]
pub struct Feed {
    pub format: LogFormat,
    waiting: Mutex<Waiting>,
    bell: Condvar,
    losses: Arc<Losses>,
    has_taker: AtomicBool,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: VecDeque<Line>,
    bytes: usize,
    /// Lines that found no room since that was told last.
    lost: u64,
    is_closed: bool,
}

impl Feed {
    pub(super) fn new(format: LogFormat, losses: Arc<Losses>) -> Self {
        Self { format, waiting: Mutex::default(), bell: Condvar::new(), losses, has_taker: AtomicBool::new(false) }
    }

    /// True for the first who asks: lines are published once, by one broker.
    pub fn take(&self) -> bool {
        !self.has_taker.swap(true, Relaxed)
    }

    /// Leaves a line.
    pub(super) fn push(&self, line: Line) {
        let mut waiting = self.waiting.lock();
        if waiting.is_closed {
            return;
        }
        let cost = line.text.len() + PER_LINE;
        if waiting.bytes + cost > MOST_BYTES {
            waiting.lost += 1;
            self.losses.add(Output::Exchange, 1);
            return;
        }
        waiting.bytes += cost;
        waiting.lines.push_back(line);
        drop(waiting);
        self.bell.notify_one();
    }

    /// Waits for lines: the next few, and how many are missing that came while there was no room. `None` at the end.
    pub fn next(&self) -> Option<(Vec<Line>, u64)> {
        let mut waiting = self.waiting.lock();
        while waiting.lines.is_empty() {
            if waiting.is_closed {
                return None;
            }
            self.bell.wait(&mut waiting);
        }
        let count = waiting.lines.len().min(TOGETHER);
        let lines: Vec<_> = waiting.lines.drain(..count).collect();
        waiting.bytes -= lines.iter().map(|line| line.text.len() + PER_LINE).sum::<usize>();
        Some((lines, std::mem::take(&mut waiting.lost)))
    }

    /// Lines could not be published.
    pub fn lose(&self, lines: u64) {
        self.losses.add(Output::Exchange, lines);
    }

    /// No lines are taken any more; those that wait are given out.
    pub fn close(&self) {
        self.waiting.lock().is_closed = true;
        self.bell.notify_one();
    }

    pub fn is_closed(&self) -> bool {
        self.waiting.lock().is_closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Line {
        Line { at: 0, level: LogLevel::Info, text: text.to_owned() }
    }

    #[test]
    fn lines_wait_within_a_bound_and_those_that_find_no_room_are_counted() {
        let losses = Arc::<Losses>::default();
        let feed = Feed::new(LogFormat::Plain, Arc::clone(&losses));
        let text = "x".repeat(8 << 10);
        let room = MOST_BYTES / (text.len() + PER_LINE);
        (0..room + 7).for_each(|_| feed.push(line(&text)));
        let (lines, lost) = feed.next().unwrap();
        assert_eq!((lines.len(), lost, losses.get(Output::Exchange)), (TOGETHER, 7, 7));
        feed.push(line("there is room again"));
        feed.close();
        feed.push(line("nobody wants it"));
        let rest: Vec<_> = std::iter::from_fn(|| feed.next()).collect();
        assert_eq!(rest.iter().map(|(lines, _)| lines.len()).sum::<usize>(), room - TOGETHER + 1);
        assert!(rest.iter().all(|(_, lost)| *lost == 0));
        assert_eq!(rest.last().unwrap().0.last().unwrap().text, "there is room again");
        assert_eq!(feed.waiting.lock().bytes, 0);
    }
}
