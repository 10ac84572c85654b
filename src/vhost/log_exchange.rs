//! The log exchange: where it is switched on, every line of the log is published to `amq.rabbitmq.log` in the default virtual
//! host, with its level as the routing key.
//!
//! Whoever logs does not wait for it: lines come from the log's writer by way of a [`Feed`], which has a bound, and a thread
//! publishes them. What is lost, because more came than could be published or because the exchange is not there, is
//! counted, and the log says so. Lines that publishing itself causes are not published.

use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;

use super::broker::Broker;
use super::own::{Own, OwnBatch};
use crate::config::LogFormat;
use crate::frames::{Value, table, write};
use crate::logs::feed::{Feed, Line, apart};

/// The exchange that lines are published to.
pub const EXCHANGE: &str = "amq.rabbitmq.log";

/// How long publishing waits while the journal cannot keep up.
const CONGESTED: Duration = Duration::from_millis(5);

/// The thread that publishes lines.
#[derive(Default)]
pub(super) struct LogExchange {
    running: Mutex<Option<(Arc<Feed>, JoinHandle<()>)>>,
}

impl LogExchange {
    fn start(&self, feed: Arc<Feed>, broker: &Arc<Broker>) -> std::io::Result<()> {
        let (of_thread, broker) = (Arc::clone(&feed), Arc::downgrade(broker));
        let thread = std::thread::Builder::new().name("log-exchange".into());
        let thread = thread.spawn(move || run(&of_thread, &broker))?;
        *self.running.lock() = Some((feed, thread));
        Ok(())
    }

    /// Publishes what waits and ends the thread. Lines that come later go everywhere else.
    pub(super) fn close(&self) {
        let Some((feed, thread)) = self.running.lock().take() else { return };
        feed.close();
        if thread.thread().id() != std::thread::current().id() && thread.join().is_err() {
            tracing::error!(target: "leveret", "the thread that publishes the log has panicked");
        }
    }
}

impl Broker {
    /// Begins to publish lines of the log, once the exchange may be expected to be there.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn publish_log(self: &Arc<Self>, feed: &Arc<Feed>) -> std::io::Result<()> {
        if !feed.take() {
            return Ok(());
        }
        self.log_exchange.start(Arc::clone(feed), self)
    }
}

fn run(feed: &Feed, broker: &Weak<Broker>) {
    let mut is_missing = false;
    while let Some((lines, lost)) = feed.next() {
        let Some(broker) = broker.upgrade() else { return };
        if lost > 0 {
            // Published as well: it stands where the lines are missing.
            tracing::warn!(target: "leveret", "{lost} log entries were not published to {EXCHANGE}: too many were waiting");
        }
        while broker.store.as_ref().is_some_and(|store| store.journal.is_crowded()) && !feed.is_closed() {
            std::thread::sleep(CONGESTED);
        }
        let (count, was_missing) = (lines.len() as u64, is_missing);
        is_missing = !apart(|| publish(&broker, feed.format, lines));
        if !is_missing {
            continue;
        }
        feed.lose(count);
        if !was_missing {
            let vhost = &broker.config.defaults.vhost;
            apart(|| {
                tracing::warn!(target: "leveret", "log entries are not published: there is no exchange {EXCHANGE} in vhost '{vhost}'");
            });
        }
    }
}

/// False when there is nowhere to publish.
fn publish(broker: &Broker, format: LogFormat, lines: Vec<Line>) -> bool {
    let Some(vhost) = broker.vhost(&broker.config.defaults.vhost) else { return false };
    let Some(exchange) = vhost.exchange(EXCHANGE) else { return false };
    let mut batch = OwnBatch::default();
    for line in lines {
        let properties = properties(&line, format, broker.node_name());
        let message = Own { key: line.level.name().as_bytes(), properties: &properties, is_persistent: false };
        // With its end, as RabbitMQ's formatters write a line.
        batch.publish(broker, &vhost, &exchange, &message, || [line.text.as_bytes(), b"\n"].concat());
    }
    batch.finish(broker);
    true
}

/// Content type, the node's name as a header, and the time in seconds.
fn properties(line: &Line, format: LogFormat, node: &str) -> Vec<u8> {
    const TYPE_HEADERS_TIMESTAMP: [u8; 2] = 0xa040_u16.to_be_bytes();
    let mut out = TYPE_HEADERS_TIMESTAMP.to_vec();
    let content_type: &[u8] = match format {
        LogFormat::Plain => b"text/plain",
        LogFormat::Json => b"application/json",
    };
    write::short(&mut out, content_type);
    let mut headers = Vec::new();
    table::put_entry(&mut headers, "node", &Value::text(node));
    out.extend(u32::try_from(headers.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend(headers);
    out.extend((line.at / 1_000_000).to_be_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LogLevel;
    use crate::frames::{Properties, Table};

    #[test]
    fn a_line_says_when_and_where_it_was_written() {
        let line = Line { at: 1_700_000_000_123_456, level: LogLevel::Warning, text: "text".to_owned() };
        for (format, expected) in [(LogFormat::Plain, "text/plain"), (LogFormat::Json, "application/json")] {
            let bytes = properties(&line, format, "rabbit@host");
            let properties = Properties::parse(&bytes).unwrap();
            let headers = Table::parse(properties.headers.unwrap()).unwrap();
            assert_eq!(headers.get("node"), Some(&Value::text("rabbit@host")));
            assert!(bytes[3..].starts_with(expected.as_bytes()) && !properties.is_persistent());
            assert!(bytes.ends_with(&1_700_000_000_u64.to_be_bytes()));
        }
    }
}
