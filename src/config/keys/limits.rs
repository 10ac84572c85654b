//! Bounds of connections, channels, messages and the catalog.

use super::super::value;
use super::{Key, key, live};

/// Largest `max_message_size`, in bytes.
const MESSAGE_SIZE_LIMIT: u64 = 512 << 20;

pub const LIMITS: &[Key] = &[
    live(key("heartbeat", "60", "Seconds proposed to clients; 0 proposes no heartbeat.", |draft, _, text| {
        value::integer(text, 0..=u16::MAX).map(|n| draft.config.limits.heartbeat = n)
    })),
    live(key("frame_max", "131072", "Largest frame in bytes, from 4096 on.", |draft, _, text| {
        let bytes = value::size(text, 4096..=u64::from(u32::MAX))?;
        draft.config.limits.frame_max = u32::try_from(bytes).unwrap_or(u32::MAX);
        Ok(())
    })),
    live(key("channel_max", "2047", "Most channels of a connection; 0 is no limit.", |draft, _, text| {
        value::integer(text, 0..=u16::MAX).map(|n| draft.config.limits.channel_max = n)
    })),
    live(key("channel_max_per_node", "infinity", "Most channels of the node, or infinity.", |draft, _, text| {
        value::limit(text, 1).map(|n| draft.config.limits.channel_max_per_node = n)
    })),
    live(key("consumer_max_per_channel", "infinity", "Most consumers of a channel, or infinity.", |draft, _, text| {
        value::limit(text, 1).map(|n| draft.config.limits.consumer_max_per_channel = n)
    })),
    live(key("connection_max", "infinity", "Most connections of the node, or infinity.", |draft, _, text| {
        value::limit(text, 0).map(|n| draft.config.limits.connection_max = n)
    })),
    live(key("vhost_max", "infinity", "Most vhosts, or infinity.", |draft, _, text| {
        value::limit(text, 0).map(|n| draft.config.limits.vhost_max = n)
    })),
    live(key("cluster_queue_limit", "infinity", "Most queues, or infinity.", |draft, _, text| {
        value::limit(text, 1).map(|n| draft.config.limits.queue_max = n)
    })),
    live(key("cluster_exchange_limit", "infinity", "Most exchanges, or infinity.", |draft, _, text| {
        value::limit(text, 1).map(|n| draft.config.limits.exchange_max = n)
    })),
    live(key("max_message_size", "16777216", "Largest message body in bytes, at most 512MB.", |draft, _, text| {
        value::size(text, 1..=MESSAGE_SIZE_LIMIT).map(|bytes| draft.config.limits.max_message_size = bytes)
    })),
    live(key(
        "consumer_timeout",
        "1800000",
        "Milliseconds in which a delivery must be acknowledged, or infinity.",
        |draft, _, text| value::milliseconds(text).map(|time| draft.config.limits.consumer_timeout = time),
    )),
    live(key(
        "quorum_queue.property_equivalence.relaxed_checks_on_redeclaration",
        "false",
        "Lets clients declare an existing quorum queue as a classic one, while a system is moved over.",
        |draft, _, text| value::boolean(text).map(|on| draft.config.limits.relaxed_redeclaration = on),
    )),
    live(key(
        "quorum_queue.refuse_unsupported",
        "true",
        "Not RabbitMQ's. false: quorum queues can be deleted with if-unused and if-empty, and consumed with a limit that is \
         shared (basic.qos with global), which RabbitMQ refuses with 540.",
        |draft, _, text| value::boolean(text).map(|on| draft.config.limits.refuse_unsupported = on),
    )),
    key(
        "dead_letter.count_client_x_death",
        "true",
        "Not RabbitMQ's. false: an x-death header that a client publishes is not counted on, as since RabbitMQ 4.0.",
        |draft, _, text| value::boolean(text).map(|on| draft.config.limits.count_client_deaths = on),
    ),
];
