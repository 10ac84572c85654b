//! Who has to do with whom, on pages of single queues, exchanges and channels: lists that are filled in the mode of rates
//! `detailed`, as RabbitMQ's are, and empty in the others.

use std::sync::Arc;

use serde_json::{Map, Value as Json, json};

use super::connections;
use crate::connection::registry::Registered;
use crate::http::{Http, figures};
use crate::queue::Queue;
use crate::stats::ExchangeCounts;
use crate::vhost::Vhost;
use crate::vhost::flows::Flow;

/// What others show of a channel.
pub fn channel_summary(connection: &Registered, number: u16) -> Map<String, Json> {
    let mut details = connections::summary(connection);
    details.insert("connection_name".to_owned(), (*connection.name).into());
    details.insert("name".to_owned(), format!("{} ({number})", connection.name).into());
    details.insert("number".to_owned(), number.into());
    details.insert("user".to_owned(), (*connection.user).into());
    details
}

/// The connections of a virtual host, by name.
fn connections_of(http: &Http, vhost: &Vhost) -> Vec<Registered> {
    let mut all = http.shared.registry.all();
    all.retain(|connection| connection.vhost == vhost.name);
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

/// What others show of an exchange; none when it has been deleted.
fn exchange_summary(vhost: &Vhost, counts: &Arc<ExchangeCounts>) -> Option<Json> {
    let summary = |name: &str| json!({ "name": name, "vhost": &*vhost.name });
    if Arc::ptr_eq(&vhost.default_exchange, counts) {
        return Some(summary(""));
    }
    let topology = vhost.topology.read();
    let found = topology.exchanges.values().find(|exchange| Arc::ptr_eq(&exchange.counts, counts));
    found.map(|exchange| summary(&exchange.record.name))
}

fn queue_summary(queue: &Queue) -> Json {
    json!({ "name": &*queue.spec.name, "vhost": &*queue.spec.vhost })
}

fn flows(vhost: &Vhost, wanted: impl Fn(&Flow) -> bool) -> Vec<Flow> {
    vhost.flows.as_ref().map(|flows| flows.find(wanted)).unwrap_or_default()
}

/// What comes into a queue, by exchange.
pub fn into_queue(vhost: &Vhost, queue: &Arc<Queue>) -> Json {
    let flows = flows(vhost, |flow| Arc::ptr_eq(&flow.queue, queue));
    let rows = flows.iter().filter_map(|flow| {
        let exchange = exchange_summary(vhost, &flow.exchange)?;
        Some(json!({ "exchange": exchange, "stats": figures::of_flow(flow.messages, flow.rate) }))
    });
    rows.collect()
}

/// What goes out of an exchange, by queue.
pub fn out_of_exchange(vhost: &Vhost, exchange: &Arc<ExchangeCounts>) -> Json {
    let flows = flows(vhost, |flow| Arc::ptr_eq(&flow.exchange, exchange));
    let row = |flow: &Flow| json!({ "queue": queue_summary(&flow.queue), "stats": figures::of_flow(flow.messages, flow.rate) });
    flows.iter().map(row).collect()
}

/// What is published to an exchange, by channel.
pub fn into_exchange(http: &Http, vhost: &Vhost, exchange: &Arc<ExchangeCounts>) -> Json {
    let mut rows = Vec::new();
    for connection in connections_of(http, vhost).iter().filter(|_| vhost.flows.is_some()) {
        connection.outbox.each_channel(|number, channel| {
            for (_, row) in channel.publishing.apart.lock().all().filter(|(of, _)| Arc::ptr_eq(of, exchange)) {
                let stats = figures::of_publishes(&row.counted, &row.rates);
                rows.push(json!({ "channel_details": channel_summary(connection, number), "stats": stats }));
            }
        });
    }
    rows.into()
}

/// What is delivered from a queue, by channel.
pub fn out_of_queue(http: &Http, vhost: &Vhost, queue: &Arc<Queue>) -> Json {
    let mut rows = Vec::new();
    for connection in connections_of(http, vhost).iter().filter(|_| vhost.flows.is_some()) {
        connection.outbox.each_channel(|number, channel| {
            let all = channel.apart.iter().flat_map(|apart| apart.all());
            for (_, row) in all.filter(|(of, _)| Arc::ptr_eq(of, queue)) {
                let stats = figures::of_deliveries(&row.counted, &row.rates);
                rows.push(json!({ "channel_details": channel_summary(connection, number), "stats": stats }));
            }
        });
    }
    rows.into()
}

/// What a channel publishes, by exchange, and what is delivered to it, by queue.
pub fn of_channel(vhost: &Vhost, connection: &Registered, wanted: u16) -> (Json, Json) {
    let (mut published, mut deliveries) = (Vec::new(), Vec::new());
    connection.outbox.each_channel(|number, channel| {
        if number != wanted {
            return;
        }
        for (exchange, row) in channel.publishing.apart.lock().all() {
            published.push((exchange, figures::of_publishes(&row.counted, &row.rates)));
        }
        for (queue, row) in channel.apart.iter().flat_map(|apart| apart.all()) {
            let stats = figures::of_deliveries(&row.counted, &row.rates);
            deliveries.push(json!({ "queue": queue_summary(&queue), "stats": stats }));
        }
    });
    // The topology is locked before an outbox, never after.
    let publishes = published.into_iter().filter_map(|(exchange, stats)| {
        Some(json!({ "exchange": exchange_summary(vhost, &exchange)?, "stats": stats }))
    });
    (publishes.collect(), deliveries.into())
}
