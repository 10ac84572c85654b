//! Answers that go out without their owner: a confirm that a single client waits for costs no turn of its connection's task.
//!
//! Before the task sleeps it leaves the answer to its oldest publishes here, if that is all that it waits for. The journal's
//! writer sends it in place when their commit is done and nobody else waits for the same commit; the task finds that out the
//! next time that it runs ([`Outbox::take_left`]), and until then need not run. Whenever anything else is on its way to the client, the
//! task is awake, the socket is not plain, or it does not take the bytes, the task is woken as usual.

use std::sync::{Arc, Weak};

use tokio::net::TcpStream;

use super::Outbox;
use crate::connection::counting::Publishing;
use crate::frames::write;

/// The answer to publishes of one channel that share a commit.
pub struct Left {
    pub commit: u64,
    pub channel: u16,
    pub first: u64,
    pub last: u64,
    pub publishing: Arc<Publishing>,
}

/// What [`Outbox::answer_in_place`] needs.
#[derive(Default)]
pub struct InPlace {
    socket: Weak<TcpStream>,
    /// In a box, as the outbox is at home in few cache lines, which two threads share.
    left: Option<Box<Left>>,
}

impl Outbox {
    /// Allows that bytes are written to the socket in place.
    pub fn set_socket(&self, socket: &Arc<TcpStream>) {
        self.inner.lock().in_place.socket = Arc::downgrade(socket);
    }

    /// Leaves the answer that is to go out once its commit is done. False when there is no socket for it.
    pub fn leave(&self, left: Left) -> bool {
        let mut inner = self.inner.lock();
        let possible = inner.in_place.socket.strong_count() > 0;
        if possible {
            inner.in_place.left = Some(Box::new(left));
        }
        possible
    }

    /// Takes back what was left; true when it has been sent meanwhile. Only for the task, which is awake.
    pub fn take_left(&self) -> bool {
        self.inner.lock().in_place.left.take().is_none()
    }

    /// Sends what was left if it is due, and nothing stands in the way; false when the task has to see to it.
    pub(super) fn answer_in_place(&self, committed: u64) -> bool {
        // Whoever holds the lock has something for the client, or is the task.
        let Some(mut inner) = self.inner.try_lock() else { return false };
        if inner.awake || inner.called || inner.closed || inner.queued > 0 || inner.in_flight > 0 {
            return false;
        }
        let InPlace { socket, left } = &mut inner.in_place;
        let Some(socket) = socket.upgrade() else { return false };
        let Some(left) = left.take_if(|left| left.commit <= committed) else { return false };
        let mut frame = Vec::new();
        write::ack(&mut frame, left.channel, left.last, left.last > left.first);
        // The lock is held: nothing else may come between these bytes.
        match socket.try_write(&frame) {
            Ok(count) => {
                left.publishing.confirm.add(left.last - left.first + 1);
                self.counts.sent.add(count as u64);
                self.counts.writes.add(1);
                let rest = frame.get(count..).unwrap_or_default();
                inner.buffer.extend_from_slice(rest);
                inner.queued += rest.len();
                self.memory.add(rest.len());
                rest.is_empty()
            }
            Err(_) => {
                // It is the task's to find out what is wrong with the socket.
                inner.in_place.left = Some(left);
                false
            }
        }
    }
}

#[cfg(test)]
mod tests;
