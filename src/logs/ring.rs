//! The last lines of the log, in memory.

use std::collections::VecDeque;
use std::sync::Arc;

/// Most lines.
const LINES: usize = 4000;
/// Most bytes.
const BYTES: usize = 4 << 20;

/// The last lines, numbered from 0 since the start.
#[derive(Debug, Default)]
pub struct Ring {
    lines: VecDeque<Arc<str>>,
    bytes: usize,
    /// The number of the oldest line.
    first: u64,
}

impl Ring {
    pub fn push(&mut self, line: &str) {
        self.bytes += line.len();
        self.lines.push_back(line.into());
        while self.lines.len() > LINES || self.bytes > BYTES {
            let Some(oldest) = self.lines.pop_front() else { return };
            self.bytes -= oldest.len();
            self.first += 1;
        }
    }

    pub fn tail(&self, most: usize) -> Vec<Arc<str>> {
        self.lines.iter().skip(self.lines.len().saturating_sub(most)).cloned().collect()
    }

    /// The number of the line that comes next.
    pub fn next(&self) -> u64 {
        self.first + self.lines.len() as u64
    }

    /// The lines from a number on, and the number that comes next.
    pub fn since(&self, number: u64) -> (u64, Vec<Arc<str>>) {
        let skip = usize::try_from(number.saturating_sub(self.first)).unwrap_or(usize::MAX);
        (self.next(), self.lines.iter().skip(skip).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_forgets_the_oldest() {
        let mut ring = Ring::default();
        (0..LINES + 10).for_each(|n| ring.push(&n.to_string()));
        assert_eq!(ring.tail(2).iter().map(|line| &**line).collect::<Vec<_>>(), ["4008", "4009"]);
        assert_eq!(ring.tail(usize::MAX).len(), LINES);
        let (next, lines) = ring.since(4008);
        assert_eq!((next, lines.len()), (4010, 2));
        assert_eq!((ring.since(next).1.len(), ring.since(0).1.len()), (0, LINES));
        ring.push(&"x".repeat(BYTES));
        assert_eq!(ring.tail(10).len(), 1);
    }
}
