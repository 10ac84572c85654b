//! One channel of a connection, as far as messages go: what is arriving on it, what is unconfirmed, what is to be acked.

use crate::frames::write;

use super::confirms::Confirms;
use super::consumer::Incoming;

pub struct Lane {
    pub channel: u16,
    pub confirms: Option<Confirms>,
    pub acks: Option<Acks>,
    pub incoming: Option<Incoming>,
}

/// Manual acknowledgements: one for so many deliveries.
#[derive(Clone, Copy, Debug)]
pub struct Acks {
    every: u16,
    waiting: u16,
    last: u64,
}

impl Acks {
    pub fn new(every: u16) -> Self {
        Self { every, waiting: 0, last: 0 }
    }

    #[inline]
    pub fn delivered(&mut self, out: &mut Vec<u8>, channel: u16, tag: u64) {
        self.last = tag;
        self.waiting += 1;
        if self.waiting >= self.every {
            self.flush(out, channel);
        }
    }

    /// Acknowledges what is waiting, as when nothing more may come.
    pub fn flush(&mut self, out: &mut Vec<u8>, channel: u16) {
        if self.waiting > 0 {
            write::ack(out, channel, self.last, self.every > 1);
            self.waiting = 0;
        }
    }
}
