//! How long deliveries may wait for their acks: as long as their queue says, otherwise as long as the node does.
//!
//! [`Timeouts::of`] asks the queues of a connection's consumers, and of its messages that were got; nobody does so while
//! messages pass. The deliveries of a channel are looked at from the oldest on, up to the first one that is too young for
//! any of the channel's times.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::deliveries::ChannelOut;
use super::ledger::Unacked;
use super::outbox::Outbox;
use super::session::Session;
use crate::queue::Queue;

/// The times in force on one connection.
pub struct Timeouts {
    node: Option<Duration>,
    /// By channel: slots whose queues have a time of their own, in order.
    own: HashMap<u16, Vec<(u32, Duration)>>,
}

impl Timeouts {
    /// What is in force now; `node` is for queues that say nothing.
    pub fn of(outbox: &Outbox, node: Option<Duration>) -> Self {
        // Queues are locked before outboxes: they are asked when the outbox is free again.
        let mut slots: Vec<(u16, u32, Arc<Queue>)> = Vec::new();
        outbox.each_channel(|number, channel| {
            slots.extend(channel.queues().map(|(slot, queue)| (number, slot, Arc::clone(queue))));
        });
        let mut own: HashMap<u16, Vec<(u32, Duration)>> = HashMap::new();
        for (number, slot, queue) in slots {
            if let Some(timeout) = queue.consumer_timeout() {
                own.entry(number).or_default().push((slot, timeout));
            }
        }
        Self { node, own }
    }

    /// The shortest of all.
    pub fn shortest(&self) -> Option<Duration> {
        self.own.values().flatten().map(|(_, timeout)| *timeout).chain(self.node).min()
    }

    /// A channel with a delivery that has waited too long, and for how long it was allowed to. `now` is in seconds of the
    /// node's clock.
    pub fn overdue(&self, outbox: &Outbox, now: u32) -> Option<(u16, Duration)> {
        let mut found = None;
        outbox.each_channel(|number, channel| {
            if found.is_none() {
                let over = self.past(number, channel, now, |timeout| timeout).next();
                found = over.map(|(_, timeout)| (number, timeout));
            }
        });
        found
    }

    /// How many deliveries have used more than three quarters of their time.
    pub fn near(&self, outbox: &Outbox, now: u32) -> u64 {
        let mut near = 0;
        outbox.each_channel(|number, channel| near += self.past(number, channel, now, |t| t / 4 * 3).count() as u64);
        near
    }

    /// The deliveries of a channel that have waited for longer than a `part` of their time, each with that time.
    fn past<'a>(
        &'a self,
        number: u16,
        channel: &'a ChannelOut,
        now: u32,
        part: impl Fn(Duration) -> Duration + Copy + 'a,
    ) -> impl Iterator<Item = (Unacked, Duration)> + 'a {
        let own = self.own.get(&number).map_or(&[][..], Vec::as_slice);
        let shortest = own.iter().map(|(_, timeout)| *timeout).chain(self.node).min();
        let has_waited = move |unacked: &Unacked, timeout: Duration| {
            Duration::from_secs(now.saturating_sub(unacked.at).into()) > part(timeout)
        };
        let old = channel.waiting().take_while(move |unacked| shortest.is_some_and(|least| has_waited(unacked, least)));
        old.filter_map(move |unacked| {
            let found = own.binary_search_by_key(&unacked.slot, |(slot, _)| *slot).ok();
            let timeout = found.and_then(|i| own.get(i)).map(|(_, timeout)| *timeout).or(self.node)?;
            has_waited(&unacked, timeout).then_some((unacked, timeout))
        })
    }
}

impl Session {
    /// Has the timer ring in time for the deliveries of a queue.
    pub(super) fn note_timeout(&mut self, queue: &Queue) {
        self.shortest_timeout = self.shortest_timeout.into_iter().chain(queue.consumer_timeout()).min();
    }
}

#[cfg(test)]
mod tests;
