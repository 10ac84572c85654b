//! What channels have counted by queue and by exchange, with RabbitMQ's labels: in the mode of rates `detailed`. In the others
//! channels do not count apart, and have a line each.

use std::collections::HashMap;
use std::sync::Arc;

use super::tables::Channel;
use super::text::{Rows, labels};
use crate::config::RatesMode;
use crate::http::{Http, pid};
use crate::stats::Counted;

/// The rows of channels for what they have to do with exchanges, and for what they have to do with queues of virtual hosts
/// that are wanted.
pub fn of_channels(http: &Http, all: &Rows<Channel>, here: &dyn Fn(&str) -> bool) -> [Rows<Channel>; 2] {
    match http.broker().config.management.rates_mode {
        RatesMode::Detailed => [by_exchange(http, here), by_queue(http, here)].map(Arc::new),
        RatesMode::Basic | RatesMode::None => [Arc::clone(all), Arc::clone(all)],
    }
}

fn by_exchange(http: &Http, here: &dyn Fn(&str) -> bool) -> Vec<(String, Channel)> {
    let mut names: HashMap<usize, (Arc<str>, Arc<str>)> = HashMap::new();
    // The topology is locked before an outbox, never after.
    for vhost in http.broker().vhosts().into_iter().filter(|vhost| here(&vhost.name)) {
        let topology = vhost.topology.read();
        let named = topology.exchanges.iter().map(|(name, exchange)| (&exchange.counts, Arc::from(&**name)));
        for (counts, name) in named.chain([(&vhost.default_exchange, Arc::from(""))]) {
            names.insert(Arc::as_ptr(counts).addr(), (Arc::clone(&vhost.name), name));
        }
    }
    let mut rows = Vec::new();
    for connection in http.shared.registry.all() {
        connection.outbox.each_channel(|number, channel| {
            let channel_id = pid::of_channel(http.node_name(), connection.outbox.connection, number);
            for (exchange, row) in channel.publishing.apart.lock().all() {
                if let Some((vhost, name)) = names.get(&Arc::as_ptr(&exchange).addr()) {
                    let labels = labels(&[("channel", &channel_id), ("vhost", vhost), ("exchange", name)]);
                    rows.push((labels, Channel { counted: row.counted, ..Channel::default() }));
                }
            }
        });
    }
    rows
}

fn by_queue(http: &Http, here: &dyn Fn(&str) -> bool) -> Vec<(String, Channel)> {
    let mut rows = Vec::new();
    for connection in http.shared.registry.all().into_iter().filter(|connection| here(&connection.vhost)) {
        connection.outbox.each_channel(|number, channel| {
            let channel_id = pid::of_channel(http.node_name(), connection.outbox.connection, number);
            for (queue, row) in channel.apart.iter().flat_map(|apart| apart.all()) {
                let (vhost, name) = (&queue.spec.vhost, &queue.spec.name);
                let labels = labels(&[("channel", &channel_id), ("vhost", vhost), ("queue", name)]);
                let mut counted = Counted::default();
                counted.add_all(&row.counted);
                rows.push((labels, Channel { counted, ..Channel::default() }));
            }
        });
    }
    rows
}
