//! Metrics for Prometheus, on a port of their own and without a login, as RabbitMQ's plugin has them.
//!
//! `/metrics` is about the node and the sums of everything in it, `/metrics/per-object` has lines for each queue, channel,
//! connection and exchange, `/metrics/detailed?family=..&vhost=..` only what is asked for. [`Site`] answers requests: it notes
//! how things stand on a thread that may block, a short lock for each queue, and the text ([`text`]) is made from these
//! notes as fast as it is read. [`tables`] says what is told of the objects, [`node`] of the node.

mod apart;
mod node;
mod tables;
pub mod text;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use tokio::sync::Semaphore;

use self::node::Node;
use self::tables::{Channel, Connection, Exchange, Queue};
use self::text::{Rows, Scrape, labels};
use super::access::Peer;
use super::call::Query;
use super::router::Turns;
use super::server::Answers;
use super::{ApiError, Http, pid};
use crate::connection::census::Sums;
use crate::queue::counting::Standing;

/// Scrapes that are under way at a time: each keeps its notes of all objects in memory until it has been read.
const SCRAPES: usize = 16;
const PLAIN: &str = "rabbitmq_";
const DETAILED: &str = "rabbitmq_detailed_";

/// Answers scrapes.
pub struct Site {
    http: Arc<Http>,
    turns: Arc<Semaphore>,
}

impl Site {
    pub fn new(http: Arc<Http>) -> Self {
        Self { http, turns: Arc::new(Semaphore::new(SCRAPES)) }
    }

    async fn scrape(&self, uri: &Uri) -> Result<Response, ApiError> {
        let config = &self.http.broker().config.prometheus;
        let Some(rest) = uri.path().strip_prefix(config.path.as_str()) else {
            return Err(ApiError::not_found());
        };
        let query = Query::parse(uri.query().unwrap_or_default())?;
        let what = match rest.trim_end_matches('/') {
            "" if config.return_per_object_metrics => What::PerObject,
            "" => What::Sums,
            "/per-object" => What::PerObject,
            "/detailed" => What::Detailed {
                families: query.all("family").map(str::to_owned).collect(),
                vhosts: query.all("vhost").map(str::to_owned).collect(),
            },
            "/memory-breakdown" => What::Memory,
            _ => return Err(ApiError::not_found()),
        };
        let turn = Arc::clone(&self.turns).acquire_owned().await.ok();
        let http = Arc::clone(&self.http);
        let noted = tokio::task::spawn_blocking(move || note(&http, &what).with_turn(turn));
        let scrape = noted.await.map_err(|e| ApiError::internal(e.to_string()))?;
        Ok(([(header::CONTENT_TYPE, text::MEDIA_TYPE)], Body::new(scrape)).into_response())
    }
}

impl Answers for Site {
    async fn answer(&self, request: Request, _: Peer, _: Arc<Turns>) -> Response {
        if request.method() != axum::http::Method::GET {
            return StatusCode::METHOD_NOT_ALLOWED.into_response();
        }
        let uri = request.uri().clone();
        drop(request);
        self.scrape(&uri).await.unwrap_or_else(axum::response::IntoResponse::into_response)
    }
}

/// Writes a family that is about the node.
type Write = fn(&Node<'_>, &mut Scrape);

/// What is asked for.
enum What {
    Sums,
    PerObject,
    Detailed { families: Vec<String>, vhosts: Vec<String> },
    Memory,
}

/// Notes how things stand.
fn note(http: &Http, what: &What) -> Scrape {
    let mut scrape = Scrape::default();
    match what {
        What::Sums => whole(http, false, &mut scrape),
        What::PerObject => whole(http, true, &mut scrape),
        What::Detailed { families, vhosts } => detailed(http, families, vhosts, &mut scrape),
        What::Memory => {
            node::memory(http, &mut scrape);
            node::identity(http, "memory-breakdown", &mut scrape);
        }
    }
    scrape
}

fn whole(http: &Http, by_object: bool, scrape: &mut Scrape) {
    let sums = http.shared.census.sums(&http.shared, None);
    let node = Node { http, prefix: PLAIN };
    node.churn(scrape);
    node.coarse(scrape);
    node.limits(scrape);
    node.persister(scrape);
    node.raft(scrape);
    node.logins(scrape);
    if by_object {
        node.logins_by_source(scrape);
    }
    let queues = queues(http, &|_| true);
    let (queues, channels, connections) = if by_object {
        (Arc::new(queues), Arc::new(channels(http)), Arc::new(connections(http)))
    } else {
        (one(sum_of(&queues)), one(sum_of_channels(&sums)), one(sum_of_connections(http, &sums)))
    };
    for table in [tables::QUEUE_COARSE, tables::QUEUE_CONSUMERS, tables::QUEUE] {
        scrape.table(PLAIN, table, &queues);
    }
    let [by_exchange, by_queue] = match by_object {
        true => apart::of_channels(http, &channels, &|_| true),
        false => [Arc::clone(&channels), Arc::clone(&channels)],
    };
    scrape.table(PLAIN, tables::CHANNEL, &channels);
    scrape.table(PLAIN, tables::CHANNEL_EXCHANGE, &by_exchange);
    scrape.table(PLAIN, tables::CHANNEL_QUEUE, &by_queue);
    scrape.table(PLAIN, tables::CONNECTION_COARSE, &connections);
    scrape.table(PLAIN, tables::CONNECTION, &connections);
    if by_object {
        scrape.table(PLAIN, tables::QUEUE_DELIVERY, &queues);
        scrape.table(PLAIN, tables::QUEUE_PUBLISHED, &queues);
        scrape.table(PLAIN, tables::EXCHANGE, &Arc::new(exchanges(http, &|_| true)));
    } else {
        node::published(&sums, scrape);
    }
    node::totals(http, &sums, scrape);
    node::global(&sums, scrape);
    node::dead_letters(http, scrape);
    node::alarms(http, scrape);
    scrape.table("leveret_", tables::QUEUE_AGES, &queues);
    node::own(http, scrape);
    node::identity(http, if by_object { "per-object" } else { "aggregated" }, scrape);
}

fn detailed(http: &Http, families: &[String], vhosts: &[String], scrape: &mut Scrape) {
    let wants = |family: &str| families.iter().any(|wanted| wanted == family);
    let any = |names: &[&str]| names.iter().any(|name| wants(name));
    let here = |vhost: &str| vhosts.is_empty() || vhosts.iter().any(|wanted| wanted == vhost);
    let node = Node { http, prefix: DETAILED };
    let of_node: [(&str, Write); 7] = [
        ("connection_churn_metrics", |node, scrape| node.churn(scrape)),
        ("node_coarse_metrics", |node, scrape| node.coarse(scrape)),
        ("node_metrics", |node, scrape| node.limits(scrape)),
        ("node_persister_metrics", |node, scrape| node.persister(scrape)),
        ("ra_metrics", |node, scrape| node.raft(scrape)),
        ("auth_attempt_metrics", |node, scrape| node.logins(scrape)),
        ("auth_attempt_detailed_metrics", |node, scrape| node.logins_by_source(scrape)),
    ];
    of_node.iter().filter(|(family, _)| wants(family)).for_each(|(_, write)| write(&node, scrape));
    let of_queues = [
        ("queue_coarse_metrics", tables::QUEUE_COARSE),
        ("queue_metrics", tables::QUEUE),
        ("queue_delivery_metrics", tables::QUEUE_DELIVERY),
        ("channel_queue_exchange_metrics", tables::QUEUE_PUBLISHED),
        ("queue_exchange_metrics", tables::QUEUE_PUBLISHED),
    ];
    if any(&["queue_consumer_count"]) || any(&of_queues.map(|(family, _)| family)) {
        let queues = Arc::new(queues(http, &here));
        if any(&["queue_consumer_count", "queue_metrics"]) {
            scrape.table(DETAILED, tables::QUEUE_CONSUMERS, &queues);
        }
        let mut done: Vec<&str> = Vec::new();
        for (family, table) in of_queues {
            let first = table.first().map_or("", |metric| metric.name);
            if wants(family) && !done.contains(&first) {
                done.push(first);
                scrape.table(DETAILED, table, &queues);
            }
        }
    }
    if any(&["channel_metrics", "channel_exchange_metrics", "channel_queue_metrics"]) {
        let channels = Arc::new(channels(http));
        let [by_exchange, by_queue] = apart::of_channels(http, &channels, &here);
        for (family, table, rows) in [
            ("channel_metrics", tables::CHANNEL, &channels),
            ("channel_exchange_metrics", tables::CHANNEL_EXCHANGE, &by_exchange),
            ("channel_queue_metrics", tables::CHANNEL_QUEUE, &by_queue),
        ] {
            if wants(family) {
                scrape.table(DETAILED, table, rows);
            }
        }
    }
    let of_connections =
        [("connection_coarse_metrics", tables::CONNECTION_COARSE), ("connection_metrics", tables::CONNECTION)];
    if any(&of_connections.map(|(family, _)| family)) {
        let connections = Arc::new(connections(http));
        let wanted = of_connections.iter().filter(|(family, _)| wants(family));
        wanted.for_each(|(_, table)| scrape.table(DETAILED, table, &connections));
    }
    if any(&["exchange_metrics", "exchange_bindings", "exchange_names"]) {
        let exchanges = Arc::new(exchanges(http, &here));
        for (family, prefix, table) in [
            ("exchange_metrics", DETAILED, tables::EXCHANGE),
            ("exchange_bindings", "rabbitmq_cluster_", tables::EXCHANGE_BINDINGS),
            ("exchange_names", "rabbitmq_cluster_", tables::EXCHANGE_NAMES),
        ] {
            if wants(family) {
                scrape.table(prefix, table, &exchanges);
            }
        }
    }
    if wants("vhost_status") {
        let vhosts = http.broker().vhosts();
        let running = vhosts.iter().filter(|vhost| here(&vhost.name));
        let rows: Vec<_> = running.map(|vhost| (labels(&[("vhost", &vhost.name)]), 1.0)).collect();
        let help = "Whether a given vhost is running";
        scrape.family("rabbitmq_cluster_vhost_status", text::Kind::Gauge, help, &rows);
    }
    node::identity(http, "detailed", scrape);
}

fn one<T>(sum: T) -> Rows<T> {
    Arc::new(vec![(String::new(), sum)])
}

fn queues(http: &Http, here: &dyn Fn(&str) -> bool) -> Vec<(String, Queue)> {
    let now = http.broker().clock.now_ms();
    let unacked = unacked_ages(http);
    let mut rows = Vec::new();
    for vhost in http.broker().vhosts().into_iter().filter(|vhost| here(&vhost.name)) {
        let queues: Vec<_> = vhost.topology.read().queues.values().cloned().collect();
        rows.extend(queues.into_iter().map(|queue| {
            let standing = queue.standing();
            let ready_age = standing.first_came_at.map(|at| now.saturating_sub(at) as f64 / 1000.0);
            let row = Queue { standing, ready_age, unacked_age: unacked.get(&queue.id).copied() };
            (labels(&[("vhost", &vhost.name), ("queue", &queue.spec.name)]), row)
        }));
    }
    rows
}

/// For each queue with unacked messages, how many seconds ago the oldest one was delivered.
fn unacked_ages(http: &Http) -> HashMap<u64, f64> {
    let now = http.shared.clock.load(Ordering::Relaxed);
    let mut ages: HashMap<u64, f64> = HashMap::new();
    for connection in http.shared.registry.all() {
        connection.outbox.each_channel(|_, channel| {
            channel.oldest_by_queue(|queue, at| {
                let age = ages.entry(queue.id).or_default();
                *age = age.max(f64::from(now.saturating_sub(at)));
            });
        });
    }
    ages
}

fn sum_of(queues: &[(String, Queue)]) -> Queue {
    let mut sum = Queue::default();
    queues.iter().for_each(|(_, queue)| sum.add(queue));
    let capacities = queues.iter().filter_map(|(_, queue)| queue.standing.numbers.capacity);
    sum.standing.numbers.capacity = Some(capacities.sum());
    sum.ready_age = sum.ready_age.or(Some(0.0));
    Queue { standing: Standing { first_came_at: None, ..sum.standing }, ..sum }
}

fn sum_of_channels(sums: &Sums) -> Channel {
    Channel {
        counted: sums.counted,
        consumers: sums.consumers,
        unacked: sums.unacked,
        unconfirmed: sums.unconfirmed,
        uncommitted: sums.uncommitted,
        acks_uncommitted: sums.acks_uncommitted,
        prefetch: sums.prefetch,
        global_prefetch: sums.global_prefetch,
    }
}

fn sum_of_connections(http: &Http, sums: &Sums) -> Connection {
    let pending = http.shared.registry.all().iter().map(|connection| connection.outbox.backlog() as u64).sum();
    let Sums { received, reads, sent, writes, channels, .. } = *sums;
    Connection { received, reads, sent, writes, pending, channels }
}

fn channels(http: &Http) -> Vec<(String, Channel)> {
    let mut rows = Vec::new();
    for connection in http.shared.registry.all() {
        let id = connection.outbox.connection;
        connection.outbox.each_channel(|number, channel| {
            let publishing = &channel.publishing;
            let row = Channel {
                counted: channel.counted(),
                consumers: channel.consumer_count() as u64,
                unacked: channel.unacked() as u64,
                unconfirmed: publishing.unconfirmed(),
                uncommitted: publishing.uncommitted.get(),
                acks_uncommitted: publishing.acks_uncommitted.get(),
                prefetch: publishing.prefetch.get(),
                global_prefetch: channel.global_prefetch().into(),
            };
            rows.push((labels(&[("channel", &pid::of_channel(http.node_name(), id, number))]), row));
        });
    }
    rows
}

fn connections(http: &Http) -> Vec<(String, Connection)> {
    let row = |connection: &crate::connection::registry::Registered| {
        let counts = &connection.outbox.counts;
        let mut channels = 0;
        connection.outbox.each_channel(|_, _| channels += 1);
        let row = Connection {
            received: counts.received.get(),
            reads: counts.reads.get(),
            sent: counts.sent.get(),
            writes: counts.writes.get(),
            pending: connection.outbox.backlog() as u64,
            channels,
        };
        (labels(&[("channel", &pid::of_connection(http.node_name(), connection.outbox.connection))]), row)
    };
    http.shared.registry.all().iter().map(row).collect()
}

fn exchanges(http: &Http, here: &dyn Fn(&str) -> bool) -> Vec<(String, Exchange)> {
    let mut rows = Vec::new();
    for vhost in http.broker().vhosts().into_iter().filter(|vhost| here(&vhost.name)) {
        let topology = vhost.topology.read();
        let named = topology.exchanges.iter().map(|(name, exchange)| {
            let bindings = exchange.bindings.read().iter().count() as u64;
            (&**name, &exchange.counts, bindings)
        });
        for (name, counts, bindings) in named.chain([("", &vhost.default_exchange, 0)]) {
            let [published, _] = counts.flow();
            let row = Exchange {
                published,
                confirmed: counts.confirmed(),
                returned: counts.returned(),
                dropped: counts.dropped(),
                bindings,
            };
            rows.push((labels(&[("vhost", &vhost.name), ("exchange", name)]), row));
        }
    }
    rows
}
