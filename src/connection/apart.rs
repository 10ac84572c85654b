//! What channels count apart, by exchange and by queue, in the mode of rates `detailed`. In the other modes nothing of this is
//! kept, and costs one look at a flag.

use std::sync::Arc;

use super::deliveries::ChannelOut;
use super::routes::Route;
use super::session::{Mode, Session};
use crate::queue::Queue;
use crate::stats::apart::Rows;
use crate::stats::{Kind, QUEUE_KINDS};

/// Messages of a channel that have gone the same way.
pub struct Passed {
    pub channel: u16,
    pub route: Route,
    pub messages: u64,
    /// Those of them that are confirmed, now or once they are safe.
    pub confirmed: u64,
}

impl Session {
    /// The channel's number where it matters which one publishes, else 0.
    #[inline]
    pub(super) fn apart(&self, number: u16) -> u16 {
        if self.is_detailed { number } else { 0 }
    }

    /// Counts messages that have gone into queues.
    pub(super) fn count_passed(&self, passed: Vec<Passed>) {
        for Passed { channel, route, messages, confirmed } in passed {
            let Some(exchange) = &route.exchange else { continue };
            if let Some(state) = self.channels.get(&channel)
                && let Some(counts) = state.publishing.apart.lock().of(exchange)
            {
                counts.add(Kind::Publish, messages);
                counts.add(Kind::Confirm, confirmed);
            }
            if let Some(flows) = self.vhost.flows.as_ref().filter(|_| !route.waits) {
                flows.add(exchange, &route.queues, messages);
            }
        }
    }

    /// Counts a message that has no queue to go to.
    pub(super) fn count_lost_apart(&self, channel: u16, route: &Route, is_returned: bool) {
        let Some(exchange) = route.exchange.as_ref().filter(|_| self.is_detailed) else { return };
        let Some(state) = self.channels.get(&channel) else { return };
        if let Some(counts) = state.publishing.apart.lock().of(exchange) {
            counts.add(Kind::Publish, 1);
            counts.add(Kind::Confirm, u64::from(matches!(state.mode, Mode::Confirm(_))));
            counts.add(if is_returned { Kind::ReturnUnroutable } else { Kind::DropUnroutable }, 1);
        }
    }
}

impl ChannelOut {
    /// Counts what a message of a slot's queue has come to.
    pub(super) fn count_apart(&mut self, slot: u32, kind: Kind) {
        let Some(apart) = &mut self.apart else { return };
        let Some(Some(slot)) = self.slots.get(slot as usize) else { return };
        if let Some(counts) = apart.of(&slot.queue) {
            counts.add(kind, 1);
        }
    }

    /// The same of a message that was got, or not, by `basic.get`.
    pub(super) fn count_got(&mut self, queue: &Arc<Queue>, kind: Kind) {
        if let Some(counts) = self.apart.as_mut().and_then(|apart| apart.of(queue)) {
            counts.add(kind, 1);
        }
    }

    /// Whether anything is counted apart.
    #[inline]
    pub(super) fn counts_apart(&self) -> bool {
        self.apart.is_some()
    }
}

/// Of each queue that a channel has to do with.
pub type ByQueue = Rows<Queue, QUEUE_KINDS>;
