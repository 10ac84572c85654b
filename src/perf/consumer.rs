//! One consumer: checks what it is given and measures how long it took.

use std::sync::{Arc, Mutex, PoisonError};

use super::body::{Id, STAMPED_SIZE};
use super::check::{Ledger, Tracker};
use super::meter::Waits;

pub struct Consumer {
    tracker: Tracker,
    ledger: Arc<Mutex<Ledger>>,
    corrupt: u64,
    /// Received since the last report.
    received: u64,
    /// The time that the last messages carried, and how many of them there were.
    stamp: (u64, u64),
    waits: Vec<(u64, u64)>,
    measured: bool,
}

/// A message on its way in.
#[derive(Clone, Copy, Debug, Default)]
pub struct Incoming {
    pub consumer: usize,
    pub delivery_tag: u64,
    pub redelivered: bool,
    /// From the content header; unknown before it.
    pub size: Option<u64>,
    pub got: u64,
    /// The first bytes of the body.
    pub head: [u8; STAMPED_SIZE],
    pub damaged: bool,
}

impl Incoming {
    /// Takes a slice of the body; true when that was the last.
    #[inline]
    pub fn take(&mut self, payload: &[u8], filler: &[u8]) -> bool {
        let at = usize::try_from(self.got).unwrap_or(usize::MAX);
        self.got += payload.len() as u64;
        let head = STAMPED_SIZE.saturating_sub(at).min(payload.len());
        let (first, rest) = payload.split_at_checked(head).unwrap_or((payload, &[]));
        if let Some(slot) = self.head.get_mut(at.min(STAMPED_SIZE)..at.min(STAMPED_SIZE) + head) {
            slot.copy_from_slice(first);
        }
        if !rest.is_empty() {
            let from = at.saturating_sub(STAMPED_SIZE);
            self.damaged |= filler.get(from..from.saturating_add(rest.len())) != Some(rest);
        }
        self.size.is_some_and(|size| self.got >= size)
    }
}

impl Consumer {
    pub fn new(ledger: Arc<Mutex<Ledger>>, measured: bool) -> Self {
        let tracker = Tracker::default();
        Self { tracker, ledger, corrupt: 0, received: 0, stamp: (0, 0), waits: Vec::new(), measured }
    }

    /// A whole message, which should have `size` bytes.
    #[inline]
    pub fn message(&mut self, incoming: &Incoming, size: u64) {
        self.received += 1;
        if incoming.damaged || incoming.got != size || incoming.size != Some(size) {
            self.corrupt += 1;
            return;
        }
        let [i0, i1, i2, i3, i4, i5, i6, i7, stamp @ ..] = incoming.head;
        self.tracker.saw(Id::decode([i0, i1, i2, i3, i4, i5, i6, i7]), incoming.redelivered);
        let stamp = u64::from_be_bytes(stamp);
        if stamp == self.stamp.0 {
            self.stamp.1 += 1;
        } else {
            self.next_stamp(stamp, 1);
        }
    }

    fn next_stamp(&mut self, stamp: u64, count: u64) {
        if self.stamp.1 > 0 && self.measured {
            self.waits.push(self.stamp);
        }
        self.stamp = (stamp, count);
    }

    /// Reports what one read brought: how many messages, how many of them new to the queue, and their latencies.
    pub fn report(&mut self, now: u64, waits: &mut Waits) -> (u64, u64) {
        if self.received == 0 {
            return (0, 0);
        }
        self.next_stamp(0, 0);
        waits.extend(self.waits.drain(..).map(|(stamp, n)| (now.saturating_sub(stamp), n)));
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        let unique = self.tracker.report(&mut ledger);
        ledger.faults.corrupt += std::mem::take(&mut self.corrupt);
        (std::mem::take(&mut self.received), unique)
    }
}

#[cfg(test)]
mod tests {
    use super::super::body;
    use super::*;

    fn deliver(slices: &[&[u8]], size: usize) -> Ledger {
        let ledger = Arc::new(Mutex::new(Ledger::default()));
        let mut consumer = Consumer::new(ledger.clone(), true);
        let filler = body::filler(size);
        let mut incoming = Incoming { size: Some(slices.iter().map(|s| s.len() as u64).sum()), ..Incoming::default() };
        for (at, slice) in slices.iter().enumerate() {
            assert_eq!(incoming.take(slice, &filler), at + 1 == slices.len());
        }
        consumer.message(&incoming, size as u64);
        let mut waits = Waits::new();
        consumer.report(100, &mut waits);
        drop(consumer);
        Arc::try_unwrap(ledger).unwrap().into_inner().unwrap()
    }

    #[test]
    fn a_body_may_be_cut_anywhere() {
        let mut whole = Id { producer: 0, seq: 0 }.encode().to_vec();
        whole.extend([0; 8]);
        whole.extend(body::filler(40));
        for cut in 1..whole.len() {
            let (a, b) = whole.split_at(cut);
            assert!(!deliver(&[a, b], 40).faults.any());
        }
        whole[30] ^= 1;
        assert_eq!(deliver(&[&whole], 40).faults.corrupt, 1);
    }

    #[test]
    fn a_body_of_another_length_is_corrupt() {
        assert_eq!(deliver(&[&[0; 17]], 16).faults.corrupt, 1);
        assert_eq!(deliver(&[&[0; 15]], 16).faults.corrupt, 1);
    }
}
