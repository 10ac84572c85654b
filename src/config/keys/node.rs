//! The node itself.

use std::time::Duration;

use super::super::Strictness;
use super::super::value;
use super::{Key, key, optional, set_option, without_effect};

pub const NODE: &[Key] = &[
    key("data_dir", "data", "Where messages and metadata are kept (not a key of RabbitMQ).", |draft, _, text| {
        value::path(text).map(|path| draft.config.data_dir = path)
    }),
    optional(
        "node_name",
        "",
        "rabbit@host",
        "The node's name, as RABBITMQ_NODENAME: a data directory of another node is refused (not a key of RabbitMQ).",
        |draft, _, text| {
            if text.is_empty() || text.len() > 255 || text.contains(|c: char| c.is_whitespace() || c.is_control()) {
                return Err("a name without blanks, of at most 255 bytes".to_owned());
            }
            set_option(&mut draft.config.identity.node_name, text)
        },
    ),
    key(
        "strict_config",
        "unknown",
        "Keys without a meaning: unknown refuses those that RabbitMQ does not know either, all (or --strict) refuses all, none warns only (not a key of RabbitMQ).",
        |draft, _, text| {
            let choices = [
                ("unknown", Strictness::Unknown),
                ("all", Strictness::All),
                ("none", Strictness::None),
                ("true", Strictness::All),
                ("false", Strictness::None),
            ];
            value::choice(text, &choices).map(|strictness| draft.strictness = strictness)
        },
    ),
    key(
        "collect_statistics_interval",
        "5000",
        "Milliseconds between two samples of what is counted.",
        |draft, _, text| {
            let interval = value::integer(text, 100..=3_600_000)?;
            draft.config.statistics.interval = Duration::from_millis(interval);
            Ok(())
        },
    ),
    optional("cluster_name", "", "orders", "Shown to clients and operators.", |draft, _, text| {
        set_option(&mut draft.config.identity.cluster_name, text)
    }),
    optional("product.name", "", "RabbitMQ", "The product that clients are told.", |draft, _, text| {
        set_option(&mut draft.config.identity.product_name, text)
    }),
    optional("product.version", "", "3.13.7", "The version that clients are told.", |draft, _, text| {
        set_option(&mut draft.config.identity.product_version, text)
    }),
];

pub const EVENTS: &[Key] = &[
    key(
        "event_exchange",
        "false",
        "Not RabbitMQ's. true: what happens is published to amq.rabbitmq.event, as by its plugin of that name.",
        |draft, _, text| value::boolean(text).map(|on| draft.config.events.on = on),
    ),
    key("event_exchange.vhost", "/", "The vhost that has amq.rabbitmq.event.", |draft, _, text| {
        draft.config.events.vhost = text.to_owned();
        Ok(())
    }),
    without_effect(key(
        "event_exchange.protocol",
        "amqp_0_9_1",
        "No effect: events are AMQP 0-9-1 messages.",
        |_, _, text| value::choice(text, &[("amqp_0_9_1", ()), ("amqp_1_0", ())]),
    )),
];
