//! The exchange `amq.rabbitmq.log`: what the process logs, published by the broker that runs in it.
//!
//! A process has one log, and one broker publishes it: there is one test.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

#[path = "compat"]
#[allow(dead_code, unused_imports, reason = "other tests use more of it")]
mod compat {
    pub mod harness;
}

use compat::harness::*;
use leveret::config::{Config, LogLevel};
use leveret::frames::Value;
use leveret::frames::content::Property;
use leveret::logs;
use leveret::logs::losses::Output;
use leveret::vhost::Command;

const SETTINGS: [(&str, &str); 3] =
    [("log.console", "false"), ("log.exchange", "true"), ("log.exchange.level", "warning")];

/// The next message of a queue: its routing key, and what follows the category in its text.
#[track_caller]
fn next(channel: &Channel, queue: &str) -> (String, String) {
    let message = channel.expect_get_eventually(queue);
    let text = message.text().split_once("> ").map_or(message.text(), |(_, said)| said).to_owned();
    (message.routing_key.to_string(), text)
}

#[test]
fn lines_are_published_by_level_and_what_cannot_be_published_is_counted() {
    let settings = SETTINGS.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let config = Config::load(None, &settings).expect("a configuration");
    let log = logs::start(&config).expect("a log");
    // Kept until there is a broker, and a queue.
    tracing::warn!(target: "leveret", "before the start");
    let Some(broker) = Broker::start_with(&SETTINGS) else { return };
    let channel = broker.connect().channel();
    let (all, errors) = (channel.temporary_queue(), channel.temporary_queue());
    channel.call(queue_bind(&all, "amq.rabbitmq.log", "#"));
    channel.call(queue_bind(&errors, "amq.rabbitmq.log", "error"));

    tracing::warn!(target: "leveret::queue", code = 7_u64, "to be published\nin one line");
    tracing::info!(target: "leveret::queue", "below the level");
    tracing::error!(target: "leveret::queue", "to be published too");
    let warning = loop {
        let message = channel.expect_get_eventually(&all);
        if message.text().contains("to be published") {
            break message;
        }
    };
    assert_eq!((&*warning.exchange, &*warning.routing_key), ("amq.rabbitmq.log", "warning"));
    assert!(warning.text().ends_with("[warning] <queue> to be published\\nin one line code=7\n"), "{}", warning.text());
    assert_eq!(warning.props.get(Property::ContentType), "text/plain");
    let node = broker.node().broker().node_name().to_owned();
    assert_eq!(warning.props.headers().get("node"), Some(&Value::text(node)));
    assert_eq!(next(&channel, &all), ("error".to_owned(), "to be published too\n".to_owned()));
    assert_eq!(next(&channel, &errors), ("error".to_owned(), "to be published too\n".to_owned()));

    let mut changed = config.log.clone();
    changed.exchange.level = Some(LogLevel::Info);
    log.reload(&changed);
    tracing::info!(target: "leveret::queue", "no longer below the level");
    assert_eq!(next(&channel, &all), ("info".to_owned(), "no longer below the level\n".to_owned()));

    assert_eq!(logs::lost(Output::Exchange), 0);
    let inside = broker.node().broker();
    inside.apply(Command::DeleteVhost { name: "/".to_owned(), even_protected: false }).expect("it can be deleted");
    for _ in 0..3 {
        let before = logs::lost(Output::Exchange);
        tracing::error!(target: "leveret::queue", "nobody will get this");
        eventually("the line is counted", || logs::lost(Output::Exchange) > before);
    }
    log.flush();
    let said = log.tail(1000).iter().filter(|line| line.contains("log entries are not published")).count();
    assert_eq!(said, 1, "not for each line, and not because of itself");
}
