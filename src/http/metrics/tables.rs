//! The metrics of queues, channels, connections and exchanges: names, kinds and what they say. Names are RabbitMQ's.

use super::text::Kind::{Counter, Gauge};
use super::text::Metric;
use crate::queue::counting::Standing;
use crate::queue::letter::Reason;
use crate::stats::{Counted, Kind as Event};

/// A queue, or all together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Queue {
    pub standing: Standing,
    /// Seconds that the message that is next has waited.
    pub ready_age: Option<f64>,
    /// Seconds since the delivery that has waited longest for its ack.
    pub unacked_age: Option<f64>,
}

impl Queue {
    /// Adds another one, for what all queues come to.
    pub fn add(&mut self, other: &Self) {
        let (sum, one) = (&mut self.standing, &other.standing);
        sum.ready += one.ready;
        sum.unacked += one.unacked;
        sum.consumers += one.consumers;
        sum.ready_bytes += one.ready_bytes;
        sum.unacked_bytes += one.unacked_bytes;
        sum.persistent += one.persistent;
        sum.persistent_bytes += one.persistent_bytes;
        sum.head_timestamp = sum.head_timestamp.into_iter().chain(one.head_timestamp).min();
        sum.cold += one.cold;
        sum.held_bytes += one.held_bytes;
        sum.reclaimable += one.reclaimable;
        sum.numbers.counted.add_all(&one.numbers.counted);
        self.ready_age = longer(self.ready_age, other.ready_age);
        self.unacked_age = longer(self.unacked_age, other.unacked_age);
    }

    fn counted(&self, event: Event) -> Option<f64> {
        Some(self.standing.numbers.counted.get(event) as f64)
    }
}

fn longer(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    a.into_iter().chain(b).reduce(f64::max)
}

/// A channel, or all together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Channel {
    pub counted: Counted,
    pub consumers: u64,
    pub unacked: u64,
    pub unconfirmed: u64,
    pub uncommitted: u64,
    pub acks_uncommitted: u64,
    pub prefetch: u64,
    pub global_prefetch: u64,
}

impl Channel {
    fn counted(&self, event: Event) -> Option<f64> {
        Some(self.counted.get(event) as f64)
    }
}

/// A connection, or all together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Connection {
    pub received: u64,
    pub reads: u64,
    pub sent: u64,
    pub writes: u64,
    pub pending: u64,
    pub channels: u64,
}

/// An exchange.
#[derive(Clone, Copy, Debug, Default)]
pub struct Exchange {
    pub published: u64,
    pub confirmed: u64,
    pub returned: u64,
    pub dropped: u64,
    pub bindings: u64,
}

const fn gauge<T>(name: &'static str, help: &'static str, value: fn(&T) -> Option<f64>) -> Metric<T> {
    Metric { name, kind: Gauge, help, value }
}

const fn counter<T>(name: &'static str, help: &'static str, value: fn(&T) -> Option<f64>) -> Metric<T> {
    Metric { name, kind: Counter, help, value }
}

pub const QUEUE_COARSE: &[Metric<Queue>] = &[
    gauge("queue_messages_ready", "Messages ready to be delivered to consumers", |q| Some(q.standing.ready as f64)),
    gauge("queue_messages_unacked", "Messages delivered to consumers but not yet acknowledged", |q| {
        Some(q.standing.unacked as f64)
    }),
    gauge("queue_messages", "Sum of ready and unacknowledged messages - total queue depth", |q| {
        Some((q.standing.ready + q.standing.unacked) as f64)
    }),
];

pub const QUEUE_CONSUMERS: &[Metric<Queue>] =
    &[gauge("queue_consumers", "Consumers on a queue", |q| Some(q.standing.consumers as f64))];

pub const QUEUE: &[Metric<Queue>] = &[
    gauge("queue_consumer_capacity", "Consumer capacity", |q| q.standing.numbers.capacity),
    gauge("queue_consumer_utilisation", "Same as consumer capacity", |q| q.standing.numbers.capacity),
    gauge("queue_messages_ram", "Ready and unacknowledged messages stored in memory", |q| {
        Some((q.standing.ready.saturating_sub(q.standing.cold) + q.standing.unacked) as f64)
    }),
    gauge("queue_messages_ram_bytes", "Size of ready and unacknowledged messages stored in memory", |q| {
        Some((q.standing.held_bytes + q.standing.unacked_bytes) as f64)
    }),
    gauge("queue_messages_ready_ram", "Ready messages stored in memory", |q| {
        Some(q.standing.ready.saturating_sub(q.standing.cold) as f64)
    }),
    gauge("queue_messages_unacked_ram", "Unacknowledged messages stored in memory", |q| {
        Some(q.standing.unacked as f64)
    }),
    gauge("queue_messages_persistent", "Messages that survive a restart", |q| Some(q.standing.persistent as f64)),
    gauge("queue_messages_persistent_bytes", "Size in bytes of messages that survive a restart", |q| {
        Some(q.standing.persistent_bytes as f64)
    }),
    gauge("queue_messages_bytes", "Size in bytes of ready and unacknowledged messages", |q| {
        Some((q.standing.ready_bytes + q.standing.unacked_bytes) as f64)
    }),
    gauge("queue_messages_ready_bytes", "Size in bytes of ready messages", |q| Some(q.standing.ready_bytes as f64)),
    gauge("queue_messages_unacked_bytes", "Size in bytes of all unacknowledged messages", |q| {
        Some(q.standing.unacked_bytes as f64)
    }),
    gauge("queue_messages_paged_out", "Messages paged out to disk", |q| Some(q.standing.cold as f64)),
    gauge("queue_messages_paged_out_bytes", "Size in bytes of messages paged out to disk, about", |q| {
        Some(q.standing.ready_bytes.saturating_sub(q.standing.held_bytes) as f64)
    }),
    gauge(
        "queue_head_message_timestamp",
        "Timestamp that the publisher of the message that is next has given it",
        |q| q.standing.head_timestamp.map(|timestamp| timestamp as f64),
    ),
    counter("queue_disk_reads_total", "Total number of times queue read messages from disk", |q| {
        q.counted(Event::DiskReads)
    }),
    counter("queue_disk_writes_total", "Total number of times queue wrote messages to disk", |q| {
        q.counted(Event::DiskWrites)
    }),
];

pub const QUEUE_DELIVERY: &[Metric<Queue>] = &[
    counter(
        "queue_get_ack_total",
        "Messages fetched from a queue with basic.get in manual acknowledgement mode",
        |q| q.counted(Event::Get),
    ),
    counter("queue_get_total", "Messages fetched from a queue with basic.get in automatic acknowledgement mode", |q| {
        q.counted(Event::GetNoAck)
    }),
    counter(
        "queue_messages_delivered_ack_total",
        "Messages delivered from a queue in manual acknowledgement mode",
        |q| q.counted(Event::Deliver),
    ),
    counter(
        "queue_messages_delivered_total",
        "Messages delivered from a queue in automatic acknowledgement mode",
        |q| q.counted(Event::DeliverNoAck),
    ),
    counter("queue_messages_redelivered_total", "Messages redelivered from a queue to consumers", |q| {
        q.counted(Event::Redeliver)
    }),
    counter("queue_messages_acked_total", "Messages acknowledged by consumers on a queue", |q| q.counted(Event::Ack)),
    counter("queue_get_empty_total", "Times basic.get operations fetched no message on a queue", |q| {
        q.counted(Event::GetEmpty)
    }),
];

pub const QUEUE_PUBLISHED: &[Metric<Queue>] =
    &[counter("queue_messages_published_total", "Messages published into a queue", |q| q.counted(Event::Publish))];

/// This broker's own.
pub const QUEUE_AGES: &[Metric<Queue>] = &[
    gauge("queue_oldest_ready_message_age_seconds", "Time that the message that is next has waited", |q| {
        Some(q.ready_age.unwrap_or(0.0)).filter(|_| q.ready_age.is_some() || q.standing.ready == 0)
    }),
    gauge("queue_oldest_unacked_message_age_seconds", "Time since the oldest delivery that waits for its ack", |q| {
        Some(q.unacked_age.unwrap_or(0.0))
    }),
    gauge("store_reclaimable_bytes", "Bytes of message files that nothing needs any more, about", |q| {
        Some(q.standing.reclaimable as f64)
    }),
];

pub const CHANNEL: &[Metric<Channel>] = &[
    gauge("channel_consumers", "Consumers on a channel", |c| Some(c.consumers as f64)),
    gauge("channel_messages_unacked", "Delivered but not yet acknowledged messages", |c| Some(c.unacked as f64)),
    gauge("channel_messages_unconfirmed", "Published but not yet confirmed messages", |c| Some(c.unconfirmed as f64)),
    gauge("channel_messages_uncommitted", "Messages received in a transaction but not yet committed", |c| {
        Some(c.uncommitted as f64)
    }),
    gauge("channel_acks_uncommitted", "Message acknowledgements in a transaction not yet committed", |c| {
        Some(c.acks_uncommitted as f64)
    }),
    gauge("consumer_prefetch", "Limit of unacknowledged messages for each consumer", |c| Some(c.prefetch as f64)),
    gauge("channel_prefetch", "Total limit of unacknowledged messages for all consumers on a channel", |c| {
        Some(c.global_prefetch as f64)
    }),
];

pub const CHANNEL_EXCHANGE: &[Metric<Channel>] = &[
    counter("channel_messages_published_total", "Messages published into an exchange on a channel", |c| {
        c.counted(Event::Publish)
    }),
    counter("channel_messages_confirmed_total", "Messages published and confirmed on a channel", |c| {
        c.counted(Event::Confirm)
    }),
    counter("channel_messages_unroutable_returned_total", "Mandatory messages returned as unroutable", |c| {
        c.counted(Event::ReturnUnroutable)
    }),
    counter("channel_messages_unroutable_dropped_total", "Messages dropped as unroutable", |c| {
        c.counted(Event::DropUnroutable)
    }),
];

pub const CHANNEL_QUEUE: &[Metric<Channel>] = &[
    counter("channel_get_ack_total", "Messages fetched with basic.get in manual acknowledgement mode", |c| {
        c.counted(Event::Get)
    }),
    counter("channel_get_total", "Messages fetched with basic.get in automatic acknowledgement mode", |c| {
        c.counted(Event::GetNoAck)
    }),
    counter("channel_messages_delivered_ack_total", "Messages delivered in manual acknowledgement mode", |c| {
        c.counted(Event::Deliver)
    }),
    counter("channel_messages_delivered_total", "Messages delivered in automatic acknowledgement mode", |c| {
        c.counted(Event::DeliverNoAck)
    }),
    counter("channel_messages_redelivered_total", "Messages redelivered to consumers", |c| c.counted(Event::Redeliver)),
    counter("channel_messages_acked_total", "Messages acknowledged by consumers", |c| c.counted(Event::Ack)),
    counter("channel_get_empty_total", "Times basic.get operations fetched no message", |c| c.counted(Event::GetEmpty)),
];

pub const CONNECTION_COARSE: &[Metric<Connection>] = &[
    counter("connection_incoming_bytes_total", "Bytes received on a connection", |c| Some(c.received as f64)),
    counter("connection_outgoing_bytes_total", "Bytes sent on a connection", |c| Some(c.sent as f64)),
];

pub const CONNECTION: &[Metric<Connection>] = &[
    counter("connection_incoming_packets_total", "Packets received on a connection", |c| Some(c.reads as f64)),
    counter("connection_outgoing_packets_total", "Packets sent on a connection", |c| Some(c.writes as f64)),
    gauge("connection_pending_packets", "Bytes waiting to be sent on a connection", |c| Some(c.pending as f64)),
    gauge("connection_channels", "Channels on a connection", |c| Some(c.channels as f64)),
];

pub const EXCHANGE: &[Metric<Exchange>] = &[
    counter("exchange_messages_published_total", "Messages published into an exchange", |e| Some(e.published as f64)),
    counter("exchange_messages_confirmed_total", "Messages published into an exchange and confirmed", |e| {
        Some(e.confirmed as f64)
    }),
    counter("exchange_messages_unroutable_returned_total", "Mandatory messages returned as unroutable", |e| {
        Some(e.returned as f64)
    }),
    counter("exchange_messages_unroutable_dropped_total", "Messages dropped as unroutable", |e| Some(e.dropped as f64)),
];

pub const EXCHANGE_BINDINGS: &[Metric<Exchange>] =
    &[gauge("exchange_bindings", "Number of bindings for an exchange", |e| Some(e.bindings as f64))];

pub const EXCHANGE_NAMES: &[Metric<Exchange>] = &[gauge("exchange_name", "Enumerates exchanges", |_| Some(1.0))];

/// Protocol counters of the whole node, which never fall.
pub const GLOBAL: &[(&str, Event, &str)] = &[
    ("messages_received_total", Event::Publish, "Messages received from publishers"),
    (
        "messages_received_confirm_total",
        Event::PublishConfirm,
        "Messages received from publishers expecting confirmations",
    ),
    ("messages_routed_total", Event::Route, "Messages routed to queues"),
    ("messages_unroutable_dropped_total", Event::DropUnroutable, "Messages dropped as unroutable"),
    ("messages_unroutable_returned_total", Event::ReturnUnroutable, "Mandatory messages returned as unroutable"),
    ("messages_confirmed_total", Event::Confirm, "Messages confirmed to publishers"),
];

/// The same, by the type of the queue.
pub const GLOBAL_QUEUES: &[(&str, Event, &str)] = &[
    ("messages_delivered_consume_manual_ack_total", Event::Deliver, "Messages delivered with manual acknowledgment"),
    (
        "messages_delivered_consume_auto_ack_total",
        Event::DeliverNoAck,
        "Messages delivered with automatic acknowledgment",
    ),
    ("messages_delivered_get_manual_ack_total", Event::Get, "Messages fetched with manual acknowledgment"),
    ("messages_delivered_get_auto_ack_total", Event::GetNoAck, "Messages fetched with automatic acknowledgment"),
    ("messages_get_empty_total", Event::GetEmpty, "Times basic.get operations fetched no message"),
    ("messages_redelivered_total", Event::Redeliver, "Messages redelivered to consumers"),
    ("messages_acknowledged_total", Event::Ack, "Messages acknowledged by consumers"),
];

/// Dead letters, by reason.
pub const DEAD_LETTERED: &[(&str, Reason, &str)] = &[
    ("maxlen", Reason::MaxLen, "Messages dead-lettered because their queue was full"),
    ("expired", Reason::Expired, "Messages dead-lettered because their time was over"),
    ("rejected", Reason::Rejected, "Messages dead-lettered because a consumer did not want them"),
    ("delivery_limit", Reason::DeliveryLimit, "Messages dead-lettered because they were delivered too often"),
];
