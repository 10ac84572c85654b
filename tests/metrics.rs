//! Metrics and statistics routes, of a node in this process: the format, the names that dashboards and alert rules know, and
//! that the values are true after known traffic.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

use std::collections::{BTreeMap, HashSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    ExchangeBindOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind};
use leveret::config::Config;
use leveret::node::Node;
use leveret::stats::Kind;
use leveret::stats::album::Span;
use serde_json::Value as Json;
use tempfile::TempDir;

/// What A-10 of the compatibility reference names.
const NAMES: &[&str] = &[
    "rabbitmq_identity_info",
    "rabbitmq_build_info",
    "rabbitmq_connections",
    "rabbitmq_channels",
    "rabbitmq_queues",
    "rabbitmq_consumers",
    "rabbitmq_connections_opened_total",
    "rabbitmq_connections_closed_total",
    "rabbitmq_channels_opened_total",
    "rabbitmq_channels_closed_total",
    "rabbitmq_queues_declared_total",
    "rabbitmq_queues_created_total",
    "rabbitmq_queues_deleted_total",
    "rabbitmq_queue_messages_ready",
    "rabbitmq_queue_messages_unacked",
    "rabbitmq_queue_messages",
    "rabbitmq_process_open_fds",
    "rabbitmq_process_max_fds",
    "rabbitmq_process_resident_memory_bytes",
    "rabbitmq_resident_memory_limit_bytes",
    "rabbitmq_disk_space_available_bytes",
    "rabbitmq_disk_space_available_limit_bytes",
    "rabbitmq_erlang_uptime_seconds",
    "rabbitmq_global_publishers",
    "rabbitmq_global_consumers",
    "rabbitmq_global_messages_received_total",
    "rabbitmq_global_messages_received_confirm_total",
    "rabbitmq_global_messages_routed_total",
    "rabbitmq_global_messages_confirmed_total",
    "rabbitmq_global_messages_unroutable_dropped_total",
    "rabbitmq_global_messages_unroutable_returned_total",
    "rabbitmq_global_messages_delivered_total",
    "rabbitmq_global_messages_delivered_consume_auto_ack_total",
    "rabbitmq_global_messages_delivered_consume_manual_ack_total",
    "rabbitmq_global_messages_delivered_get_auto_ack_total",
    "rabbitmq_global_messages_delivered_get_manual_ack_total",
    "rabbitmq_global_messages_get_empty_total",
    "rabbitmq_global_messages_redelivered_total",
    "rabbitmq_global_messages_acknowledged_total",
    "rabbitmq_message_size_bytes",
    "rabbitmq_alarms_memory_used_watermark",
    "rabbitmq_alarms_free_disk_space_watermark",
    "rabbitmq_alarms_file_descriptor_limit",
    "rabbitmq_raft_term_total",
    "rabbitmq_raft_log_commit_index",
    "rabbitmq_raft_log_last_written_index",
    "rabbitmq_raft_entry_commit_latency_seconds",
    "rabbitmq_channel_messages_unroutable_dropped_total",
    "rabbitmq_channel_messages_unroutable_returned_total",
    "rabbitmq_unreachable_cluster_peers_count",
    "leveret_queue_oldest_ready_message_age_seconds",
    "leveret_queue_oldest_unacked_message_age_seconds",
    "leveret_exchange_messages_unroutable_total",
    "leveret_journal_commit_latency_seconds",
    "leveret_store_reclaimable_bytes",
    "leveret_delayed_messages",
    "leveret_deliveries_near_timeout",
];

/// A scrape, taken apart: kinds by family, values by series.
#[derive(Default)]
struct Scrape {
    kinds: BTreeMap<String, String>,
    series: BTreeMap<String, f64>,
}

impl Scrape {
    /// Checks what the format demands: each family once, its lines together, no series twice, counters by their names.
    fn parse(text: &str) -> Self {
        let (mut scrape, mut helped, mut current) = (Self::default(), HashSet::new(), String::new());
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect(line);
                assert!(!help.is_empty() && helped.insert(name.to_owned()), "second help: {line}");
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect(line);
                assert!(helped.contains(name), "a type without help: {line}");
                assert!(["counter", "gauge", "untyped", "histogram"].contains(&kind), "{line}");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
                assert!(scrape.kinds.insert(name.to_owned(), kind.to_owned()).is_none(), "second type: {line}");
                current = name.to_owned();
            } else {
                let (series, value) = line.rsplit_once(' ').expect(line);
                let name = series.split('{').next().unwrap();
                let suffix =
                    name.strip_prefix(current.as_str()).unwrap_or_else(|| panic!("{line} stands in {current}"));
                let of_histogram = ["_bucket", "_sum", "_count"].contains(&suffix);
                assert_eq!(scrape.kinds[&current] == "histogram", of_histogram, "{line}");
                assert!(suffix.is_empty() || of_histogram, "{line} stands in {current}");
                let value: f64 = value.parse().expect(line);
                assert!(scrape.series.insert(series.to_owned(), value).is_none(), "twice: {line}");
            }
        }
        scrape
    }

    #[track_caller]
    fn get(&self, series: &str) -> f64 {
        *self.series.get(series).unwrap_or_else(|| panic!("no {series} in {:#?}", self.series.keys()))
    }

    #[track_caller]
    fn expect(&self, expected: &[(&str, f64)]) {
        for (series, value) in expected {
            assert_eq!(self.get(series), *value, "{series}");
        }
    }
}

struct Client {
    connection: Connection,
    channel: Channel,
    _consumer: lapin::Consumer,
}

struct Broker {
    node: Node,
    _data: TempDir,
}

impl Broker {
    async fn start() -> Self {
        Self::start_with(&[]).await
    }

    async fn start_with(more: &[(&str, &str)]) -> Self {
        let data = tempfile::tempdir().unwrap();
        let settings = [
            ("listeners.tcp.default", "127.0.0.1:0"),
            ("management.tcp.port", "0"),
            ("management.tcp.ip", "127.0.0.1"),
            ("prometheus.tcp.port", "0"),
            ("prometheus.tcp.ip", "127.0.0.1"),
            ("data_dir", data.path().to_str().unwrap()),
        ];
        let settings: Vec<_> =
            settings.iter().chain(more).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let node = Node::start(Config::load(None, &settings).unwrap()).await.unwrap();
        Self { node, _data: data }
    }

    /// With a client that has caused [`traffic`] and stays.
    async fn with_traffic(more: &[(&str, &str)]) -> (Self, Client) {
        let broker = Self::start_with(more).await;
        let connection = broker.connect().await;
        let channel = connection.create_channel().await.unwrap();
        let consumer = traffic(&channel).await;
        (broker, Client { connection, channel, _consumer: consumer })
    }

    /// Takes a sample of everything, as after five seconds.
    fn tick(&self) {
        let shared = self.node.shared();
        shared.census.tick(shared, 5.0);
    }

    async fn connect(&self) -> Connection {
        let address = self.node.amqp_addrs()[0];
        Connection::connect(&format!("amqp://{address}"), ConnectionProperties::default()).await.unwrap()
    }

    async fn scrape(&self, path: &str) -> Scrape {
        let (status, text) = get(self.node.metrics_addr().unwrap(), path).await;
        assert_eq!(status, 200, "{path}: {text}");
        Scrape::parse(&text)
    }

    async fn api(&self, path: &str) -> Json {
        let (status, text) = get(self.node.http_addr().unwrap(), path).await;
        assert_eq!(status, 200, "{path}: {text}");
        serde_json::from_str(&text).unwrap()
    }
}

/// Status and body of a request as `guest`.
async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    call(address, "GET", path, "").await
}

async fn call(address: SocketAddr, method: &str, path: &str, headers: &str) -> (u16, String) {
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\nConnection: close\r\n{headers}\r\n"
    );
    let work = move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8(answer).unwrap()
    };
    let answer = tokio::task::spawn_blocking(work).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let is_chunked = head.to_lowercase().contains("transfer-encoding: chunked");
    (status, if is_chunked { unchunked(body) } else { body.to_owned() })
}

fn unchunked(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        whole.push_str(&rest[..size]);
        body = &rest[size + 2..];
        if size == 0 {
            break;
        }
    }
    whole
}

/// Four messages of five bytes for `q`: one got, one delivered and acked, one delivered, one ready. And one that is dropped
/// and one that is returned.
async fn traffic(channel: &Channel) -> lapin::Consumer {
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    channel.queue_declare("q".into(), QueueDeclareOptions::default(), FieldTable::default()).await.unwrap();
    for _ in 0..3 {
        publish(channel, "", "q", false).await;
    }
    publish(channel, "amq.fanout", "", false).await;
    publish(channel, "amq.fanout", "", true).await;
    channel.basic_get("q".into(), BasicGetOptions { no_ack: true }).await.unwrap().unwrap();
    channel.basic_qos(1, BasicQosOptions::default()).await.unwrap();
    let consume = BasicConsumeOptions::default();
    let mut consumer = channel.basic_consume("q".into(), "tag".into(), consume, FieldTable::default()).await.unwrap();
    let first = next_of(&mut consumer).await;
    first.ack(BasicAckOptions::default()).await.unwrap();
    // The next one stays unacked.
    next_of(&mut consumer).await;
    publish(channel, "", "q", false).await;
    consumer
}

async fn next_of(consumer: &mut lapin::Consumer) -> lapin::message::Delivery {
    let next = std::future::poll_fn(|cx| futures_core::Stream::poll_next(std::pin::Pin::new(&mut *consumer), cx));
    next.await.unwrap().unwrap()
}

async fn publish(channel: &Channel, exchange: &str, key: &str, mandatory: bool) {
    let options = BasicPublishOptions { mandatory, ..BasicPublishOptions::default() };
    let properties = BasicProperties::default();
    let sent = channel.basic_publish(exchange.into(), key.into(), options, b"12345", properties).await.unwrap();
    assert!(sent.await.unwrap().is_ack());
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_have_the_names_that_dashboards_know_and_tell_the_truth() {
    let (broker, client) = Broker::with_traffic(&[]).await;
    let scrape = broker.scrape("/metrics").await;
    let missing: Vec<_> = NAMES.iter().filter(|name| !scrape.kinds.contains_key(**name)).collect();
    assert!(missing.is_empty(), "missing: {missing:?}");
    let global = |name: &str| format!("rabbitmq_global_{name}{{protocol=\"amqp091\"}}");
    let of_queues =
        |name: &str| format!("rabbitmq_global_{name}{{protocol=\"amqp091\",queue_type=\"rabbit_classic_queue\"}}");
    for (name, value) in [
        ("messages_received_total", 6.0),
        ("messages_received_confirm_total", 6.0),
        ("messages_routed_total", 4.0),
        ("messages_confirmed_total", 6.0),
        ("messages_unroutable_dropped_total", 1.0),
        ("messages_unroutable_returned_total", 1.0),
        ("publishers", 1.0),
        ("consumers", 1.0),
    ] {
        assert_eq!(scrape.get(&global(name)), value, "{name}");
    }
    for (name, value) in [
        ("messages_delivered_total", 3.0),
        ("messages_delivered_consume_manual_ack_total", 2.0),
        ("messages_delivered_consume_auto_ack_total", 0.0),
        ("messages_delivered_get_auto_ack_total", 1.0),
        ("messages_delivered_get_manual_ack_total", 0.0),
        ("messages_get_empty_total", 0.0),
        ("messages_redelivered_total", 0.0),
        ("messages_acknowledged_total", 1.0),
    ] {
        assert_eq!(scrape.get(&of_queues(name)), value, "{name}");
    }
    scrape.expect(&[
        ("rabbitmq_connections", 1.0),
        ("rabbitmq_channels", 1.0),
        ("rabbitmq_consumers", 1.0),
        ("rabbitmq_queues", 1.0),
        ("rabbitmq_queues_created_total", 1.0),
        ("rabbitmq_queue_messages", 2.0),
        ("rabbitmq_queue_messages_ready", 1.0),
        ("rabbitmq_queue_messages_unacked", 1.0),
        ("rabbitmq_queue_messages_ready_bytes", 5.0),
        ("rabbitmq_queue_messages_unacked_bytes", 5.0),
        ("rabbitmq_channel_messages_unroutable_dropped_total", 1.0),
        ("rabbitmq_channel_messages_unconfirmed", 0.0),
        ("rabbitmq_alarms_memory_used_watermark", 0.0),
        ("rabbitmq_message_size_bytes_count{protocol=\"amqp091\"}", 6.0),
        ("rabbitmq_message_size_bytes_sum{protocol=\"amqp091\"}", 30.0),
        ("rabbitmq_message_size_bytes_bucket{protocol=\"amqp091\",le=\"100\"}", 6.0),
        ("leveret_exchange_messages_unroutable_total{vhost=\"/\",exchange=\"amq.fanout\",outcome=\"dropped\"}", 1.0),
        ("leveret_exchange_messages_unroutable_total{vhost=\"/\",exchange=\"amq.fanout\",outcome=\"returned\"}", 1.0),
    ]);
    let identity = scrape.series.keys().find(|series| series.starts_with("rabbitmq_identity_info")).unwrap();
    for label in ["rabbitmq_node=", "rabbitmq_cluster=", "rabbitmq_cluster_permanent_id=", "rabbitmq_endpoint="] {
        assert!(identity.contains(label), "{identity}");
    }
    // What was counted stays when those who have counted are gone.
    client.connection.close(200, "done".into()).await.unwrap();
    let after = broker.scrape("/metrics").await;
    assert_eq!(after.get(&global("messages_received_total")), 6.0);
    assert_eq!(after.get("rabbitmq_connections_closed_total"), 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_have_lines_of_their_own_and_families_can_be_chosen() {
    let (broker, _client) = Broker::with_traffic(&[]).await;
    let each = broker.scrape("/metrics/per-object").await;
    each.expect(&[
        ("rabbitmq_queue_messages_ready{vhost=\"/\",queue=\"q\"}", 1.0),
        ("rabbitmq_queue_messages_delivered_ack_total{vhost=\"/\",queue=\"q\"}", 2.0),
        ("rabbitmq_exchange_messages_published_total{vhost=\"/\",exchange=\"amq.fanout\"}", 2.0),
    ]);
    assert!(each.series.keys().any(|series| series.starts_with("rabbitmq_channel_consumers{channel=\"<")));
    let path = "/metrics/detailed?family=queue_coarse_metrics&family=queue_consumer_count&vhost=%2F";
    let some = broker.scrape(path).await;
    some.expect(&[
        ("rabbitmq_detailed_queue_messages{vhost=\"/\",queue=\"q\"}", 2.0),
        ("rabbitmq_detailed_queue_consumers{vhost=\"/\",queue=\"q\"}", 1.0),
    ]);
    assert!(!some.series.keys().any(|series| series.contains("channel")), "{:?}", some.series.keys());
    let none = broker.scrape("/metrics/detailed?family=queue_coarse_metrics&vhost=other").await;
    assert!(!none.series.keys().any(|series| series.contains("queue_messages")));
    broker.scrape("/metrics/memory-breakdown").await;
    assert_eq!(get(broker.node.metrics_addr().unwrap(), "/metrics/other").await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_show_connections_channels_and_consumers_and_close_them() {
    let (broker, _client) = Broker::with_traffic(&[]).await;
    broker.tick();
    let overview = broker.api("/api/overview?msg_rates_age=60&msg_rates_incr=5&lengths_age=60&lengths_incr=5").await;
    assert_eq!(overview["queue_totals"]["messages"], 2);
    assert_eq!(overview["object_totals"]["connections"], 1);
    assert_eq!(overview["message_stats"]["publish"], 6);
    assert!(overview["message_stats"]["publish_details"]["rate"].as_f64().unwrap() > 1.0, "{overview}");
    assert_eq!(overview["message_stats"]["publish_details"]["samples"][0]["sample"], 6);
    assert_eq!(overview["queue_totals"]["messages_details"]["samples"][0]["sample"], 2);
    assert!(overview["rabbitmq_version"].as_str().unwrap().starts_with("3.13"));
    let connections = broker.api("/api/connections").await;
    let name = connections[0]["name"].as_str().unwrap().to_owned();
    assert!(name.contains(" -> 127.0.0.1:"), "{name}");
    assert_eq!((&connections[0]["user"], &connections[0]["channels"]), (&"guest".into(), &1.into()));
    let channels = broker.api("/api/channels").await;
    assert_eq!(channels[0]["name"], format!("{name} (1)"));
    assert_eq!(channels[0]["messages_unacknowledged"], 1);
    assert_eq!((&channels[0]["confirm"], &channels[0]["prefetch_count"]), (&true.into(), &1.into()));
    assert_eq!(channels[0]["message_stats"]["confirm"], 6);
    let consumers = broker.api("/api/consumers/%2F").await;
    assert_eq!((&consumers[0]["consumer_tag"], &consumers[0]["queue"]["name"]), (&"tag".into(), &"q".into()));
    assert_eq!((&consumers[0]["ack_required"], &consumers[0]["prefetch_count"]), (&true.into(), &1.into()));
    let nodes = broker.api("/api/nodes").await;
    let node = nodes[0]["name"].as_str().unwrap();
    assert!(nodes[0]["fd_used"].as_u64().unwrap() > 0 && nodes[0]["mem_used"].as_u64().unwrap() > 0);
    assert!(broker.api(&format!("/api/nodes/{node}/memory")).await["memory"]["total"]["rss"].as_u64().unwrap() > 0);
    let pid = connections[0]["pid"].as_str().unwrap().replace('<', "%3C").replace('>', "%3E");
    assert_eq!(broker.api(&format!("/api/connections/{pid}")).await["name"], name);
    let address = broker.node.http_addr().unwrap();
    let (status, _) = call(address, "DELETE", &format!("/api/connections/{pid}"), "X-Reason: enough\r\n").await;
    assert_eq!(status, 204);
    let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while broker.node.connections().count() > 0 {
        assert!(std::time::Instant::now() < end, "the connection stays");
        tokio::task::yield_now().await;
    }
    assert_eq!(get(address, &format!("/api/connections/{pid}")).await.0, 404);
}

/// The samples of a figure, newest first.
fn samples(details: &Json) -> Vec<u64> {
    details["samples"].as_array().unwrap().iter().map(|sample| sample["sample"].as_u64().unwrap()).collect()
}

const AGES: &str = "lengths_age=60&lengths_incr=5&msg_rates_age=60&msg_rates_incr=5&data_rates_age=60&data_rates_incr=5\
                    &node_stats_age=60&node_stats_incr=5";

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_single_objects_have_samples_when_they_are_asked_for() {
    let (broker, _client) = Broker::with_traffic(&[]).await;
    broker.tick();
    let name =
        broker.api("/api/connections").await[0]["name"].as_str().unwrap().replace(' ', "%20").replace('>', "%3E");
    let node = broker.api("/api/overview").await["node"].as_str().unwrap().to_owned();
    let page = async |path: &str| broker.api(&format!("{path}?{AGES}")).await;
    let queue = page("/api/queues/%2F/q").await;
    assert_eq!(samples(&queue["messages_details"]), [2]);
    assert_eq!(samples(&queue["message_stats"]["publish_details"]), [4]);
    assert_eq!(queue["messages_details"]["rate"], 0.4);
    assert_eq!(queue["message_stats"]["publish_details"]["avg"], 4.0);
    let exchange = page("/api/exchanges/%2F/amq.default").await;
    assert_eq!(samples(&exchange["message_stats"]["publish_in_details"]), [4]);
    let shown = page(&format!("/api/channels/{name}%20(1)")).await;
    assert_eq!(samples(&shown["message_stats"]["confirm_details"]), [6]);
    let shown = page(&format!("/api/connections/{name}")).await;
    assert_eq!(samples(&shown["recv_oct_details"]).len(), 1);
    let vhost = page("/api/vhosts/%2F").await;
    assert_eq!(samples(&vhost["messages_ready_details"]), [1]);
    assert_eq!(samples(&vhost["message_stats"]["publish_details"]), [6]);
    assert_eq!(samples(&vhost["send_oct_details"]).len(), 1);
    let shown = page(&format!("/api/nodes/{node}")).await;
    assert_eq!(samples(&shown["sockets_used_details"]), [1]);
    assert!(samples(&shown["fd_used_details"])[0] > 1 && samples(&shown["proc_used_details"])[0] > 1);
    assert!(samples(&shown["mem_used_details"])[0] > 0 && samples(&shown["connection_created_details"])[0] == 1);
    let overview = page("/api/overview").await;
    assert_eq!(samples(&overview["churn_rates"]["queue_created_details"]), [1]);
    assert_eq!(samples(&overview["message_stats"]["deliver_get_details"]).len(), 1);
    let without = broker.api("/api/queues/%2F/q").await;
    assert!(without["messages_details"]["samples"].is_null(), "{without}");
    let cut = page("/api/queues/%2F/q?columns=messages_details.rate").await;
    assert!(cut["messages_details"]["samples"].is_null(), "{cut}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_never_moved_has_samples_from_the_first_look_on() {
    let broker = Broker::start().await;
    let channel = broker.connect().await.create_channel().await.unwrap();
    channel.queue_declare("still".into(), QueueDeclareOptions::default(), FieldTable::default()).await.unwrap();
    broker.tick();
    assert!(broker.node.shared().census.albums.queues.objects().is_empty(), "an idle queue costs nothing");
    let queue = broker.api("/api/queues/%2F/still?lengths_age=60&lengths_incr=5").await;
    assert_eq!(samples(&queue["messages_details"]), [0]);
    assert_eq!(broker.node.shared().census.albums.queues.objects().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_channels_have_counted_stays_when_they_are_gone() {
    let (broker, client) = Broker::with_traffic(&[]).await;
    client.channel.close(200, "done".into()).await.unwrap();
    let overview = broker.api("/api/overview").await;
    assert_eq!(overview["object_totals"]["channels"], 0);
    assert_eq!(overview["message_stats"]["publish"], 6);
    assert_eq!(broker.api("/api/vhosts/%2F").await["message_stats"]["publish"], 6);
    let sizes = broker.scrape("/metrics").await.get("rabbitmq_message_size_bytes_count{protocol=\"amqp091\"}");
    assert!(sizes == 6.0, "{sizes}");
}

#[tokio::test(flavor = "multi_thread")]
async fn in_detail_it_is_told_who_has_to_do_with_whom() {
    let (broker, client) = Broker::with_traffic(&[("management.rates_mode", "detailed")]).await;
    let other = client.connection.create_channel().await.unwrap();
    let plain = BasicPublishOptions::default();
    other.basic_publish("".into(), "q".into(), plain, b"x", BasicProperties::default()).await.unwrap();
    // An answer on the channel means that what was published before has been counted.
    other.queue_declare("other".into(), QueueDeclareOptions::default(), FieldTable::default()).await.unwrap();
    broker.tick();
    let name = broker.api("/api/connections").await[0]["name"].as_str().unwrap().to_owned();
    let queue = broker.api("/api/queues/%2F/q").await;
    let incoming = &queue["incoming"][0];
    assert_eq!(incoming["exchange"], serde_json::json!({ "name": "", "vhost": "/" }));
    assert_eq!(
        (&incoming["stats"]["publish"], &incoming["stats"]["publish_details"]["rate"]),
        (&5.into(), &1.0.into())
    );
    let deliveries = queue["deliveries"].as_array().unwrap();
    assert_eq!((deliveries.len(), &deliveries[0]["channel_details"]["name"]), (1, &format!("{name} (1)").into()));
    let stats = &deliveries[0]["stats"];
    let told = ["deliver", "ack", "get_no_ack", "get", "deliver_get"].map(|kind| stats[kind].as_u64().unwrap());
    assert_eq!(told, [2, 1, 1, 0, 3], "{stats}");
    let default = broker.api("/api/exchanges/%2F/amq.default").await;
    let rows = default["incoming"].as_array().unwrap();
    let mut by_channel: Vec<_> =
        rows.iter().map(|row| (row["channel_details"]["number"].as_u64(), row["stats"]["publish"].as_u64())).collect();
    by_channel.sort_unstable();
    assert_eq!(by_channel, [(Some(1), Some(4)), (Some(2), Some(1))]);
    assert_eq!(rows.iter().map(|row| row["stats"]["confirm"].as_u64().unwrap()).sum::<u64>(), 4);
    assert_eq!(
        (&default["outgoing"][0]["queue"]["name"], &default["outgoing"][0]["stats"]["publish"]),
        (&"q".into(), &5.into())
    );
    let path = format!("/api/channels/{}%20(1)", name.replace(' ', "%20").replace('>', "%3E"));
    let shown = broker.api(&path).await;
    let fanout =
        shown["publishes"].as_array().unwrap().iter().find(|row| row["exchange"]["name"] == "amq.fanout").unwrap();
    let told = ["publish", "confirm", "return_unroutable", "drop_unroutable"]
        .map(|kind| fanout["stats"][kind].as_u64().unwrap());
    assert_eq!(told, [2, 2, 1, 1], "{fanout}");
    assert_eq!(
        (&shown["deliveries"][0]["queue"]["name"], &shown["deliveries"][0]["stats"]["ack"]),
        (&"q".into(), &1.into())
    );
    assert_eq!(shown["consumer_details"][0]["consumer_tag"], "tag");
    let confirmed = broker.scrape("/metrics/per-object").await;
    confirmed.expect(&[
        ("rabbitmq_exchange_messages_confirmed_total{vhost=\"/\",exchange=\"\"}", 4.0),
        ("rabbitmq_exchange_messages_confirmed_total{vhost=\"/\",exchange=\"amq.fanout\"}", 2.0),
    ]);
    let labelled = |scrape: &Scrape, name: &str, labels: &str| -> Vec<f64> {
        let is_it = |series: &str| series.starts_with(&format!("{name}{{channel=\"<")) && series.ends_with(labels);
        scrape.series.iter().filter(|(series, _)| is_it(series)).map(|(_, value)| *value).collect()
    };
    let of_queue = ",vhost=\"/\",queue=\"q\"}";
    assert_eq!(labelled(&confirmed, "rabbitmq_channel_messages_delivered_ack_total", of_queue), [2.0]);
    assert_eq!(labelled(&confirmed, "rabbitmq_channel_messages_delivered_ack_total", "\"}"), [2.0], "nothing twice");
    let of_fanout = ",vhost=\"/\",exchange=\"amq.fanout\"}";
    assert_eq!(labelled(&confirmed, "rabbitmq_channel_messages_published_total", of_fanout), [2.0]);
    let family = "/metrics/detailed?family=channel_queue_metrics&vhost=";
    let here = broker.scrape(&format!("{family}%2F")).await;
    assert_eq!(labelled(&here, "rabbitmq_detailed_channel_messages_acked_total", of_queue), [1.0]);
    let elsewhere = broker.scrape(&format!("{family}other")).await;
    assert!(labelled(&elsewhere, "rabbitmq_detailed_channel_messages_acked_total", "}").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_are_hidden_where_they_are_switched_off() {
    for (key, value, hidden) in [
        ("management.rates_mode", "none", &["message_stats"][..]),
        ("management.disable_stats", "true", &["message_stats", "messages", "messages_details", "consumers"]),
        ("management_agent.disable_metrics_collector", "true", &["message_stats", "messages", "messages_details"]),
    ] {
        let (broker, _client) = Broker::with_traffic(&[(key, value)]).await;
        let queue = broker.api("/api/queues/%2F/q").await;
        let list = broker.api("/api/queues").await;
        for field in hidden {
            assert_eq!((&queue[field], &list[0][field]), (&Json::Null, &Json::Null), "{key}: {field}");
        }
        assert_eq!(queue["name"], "q");
        let overview = broker.api("/api/overview").await;
        assert_eq!(
            (&overview["message_stats"], &overview["object_totals"]["queues"]),
            (&Json::Null, &1.into()),
            "{key}"
        );
        assert_eq!(overview["disable_stats"], value == "true");
        if value == "true" {
            let totals = broker.api("/api/queues/%2F?enable_queue_totals=true").await;
            assert_eq!((&totals[0]["messages"], &totals[0]["message_stats"]), (&2.into(), &Json::Null));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_collector_nothing_is_kept_over_time() {
    for (is_disabled, samples) in [("false", 1), ("true", 0)] {
        let broker = Broker::start_with(&[("management_agent.disable_metrics_collector", is_disabled)]).await;
        let channel = broker.connect().await.create_channel().await.unwrap();
        let _consumer = traffic(&channel).await;
        let shared = broker.node.shared();
        shared.census.tick(shared, 5.0);
        assert!(shared.census.rates().get(Kind::Publish as usize) > 1.0, "rates are known all the same");
        let now = shared.broker.clock.now_ms();
        let span = Span { until: now, age: 0, step: 5_000 };
        assert_eq!(shared.census.history(span).len(), samples, "of the node");
        assert_eq!(shared.census.use_history(span).len(), samples);
        let queue = shared.broker.vhost("/").unwrap().queue("q").unwrap();
        let albums = &shared.census.albums;
        assert_eq!(albums.queues.look(&queue, now, queue.sample_now(), span).len(), samples);
        let kept = [
            albums.queues.objects().len(),
            albums.exchanges.objects().len(),
            albums.connections.objects().len(),
            albums.channels.objects().len(),
            albums.vhosts.objects().len(),
        ];
        assert_eq!(kept.map(|n| n > 0), [samples > 0; 5], "{kept:?}");
    }
}

/// What is not said of a queue without such messages is said of one with them.
#[tokio::test(flavor = "multi_thread")]
async fn it_is_told_what_survives_and_how_old_the_next_message_is() {
    let broker = Broker::start().await;
    let channel = broker.connect().await.create_channel().await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    for queue in ["old", "young", "empty"] {
        channel.queue_declare(queue.into(), durable, FieldTable::default()).await.unwrap();
    }
    let publish = async |queue: &str, body: &[u8], properties: BasicProperties| {
        let options = BasicPublishOptions::default();
        let sent = channel.basic_publish("".into(), queue.into(), options, body, properties).await.unwrap();
        assert!(sent.await.unwrap().is_ack());
    };
    let persistent = || BasicProperties::default().with_delivery_mode(2);
    publish("old", b"123", persistent().with_timestamp(1_000)).await;
    publish("old", b"12", BasicProperties::default()).await;
    publish("old", b"1", persistent()).await;
    publish("young", b"1234", persistent().with_timestamp(2_000)).await;
    let queue = broker.api("/api/queues/%2F/old").await;
    assert_eq!((&queue["messages_persistent"], &queue["message_bytes_persistent"]), (&2.into(), &4.into()));
    assert_eq!(queue["head_message_timestamp"], 1_000);
    let empty = broker.api("/api/queues/%2F/empty?columns=messages_persistent,head_message_timestamp").await;
    assert_eq!(empty, serde_json::json!({ "messages_persistent": 0, "head_message_timestamp": null }));
    let hidden = broker.api("/api/queues/%2F/old?disable_stats=true&enable_queue_totals=true").await;
    assert!(hidden.get("messages_persistent").is_none() && hidden.get("head_message_timestamp").is_none(), "{hidden}");
    for (prefix, path) in [("", "/metrics/per-object"), ("detailed_", "/metrics/detailed?family=queue_metrics")] {
        let each = broker.scrape(path).await;
        let name =
            |metric: &str, queue: &str| format!("rabbitmq_{prefix}queue_{metric}{{vhost=\"/\",queue=\"{queue}\"}}");
        assert_eq!(each.get(&name("messages_persistent", "old")), 2.0);
        assert_eq!(each.get(&name("messages_persistent_bytes", "young")), 4.0);
        assert_eq!(each.get(&name("head_message_timestamp", "young")), 2_000.0);
        assert!(!each.series.contains_key(&name("head_message_timestamp", "empty")));
    }
    broker.scrape("/metrics").await.expect(&[
        ("rabbitmq_queue_messages_persistent", 3.0),
        ("rabbitmq_queue_messages_persistent_bytes", 8.0),
        ("rabbitmq_queue_head_message_timestamp", 1_000.0),
    ]);
    // The next one has none.
    channel.basic_get("old".into(), BasicGetOptions { no_ack: true }).await.unwrap().unwrap();
    assert_eq!(broker.api("/api/queues/%2F/old").await["head_message_timestamp"], Json::Null);
}

/// What goes two ways, at once and later, is published once, confirmed once, and counted where it has gone at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_delayed_in_part_is_counted_once_and_where_it_goes() {
    let broker = Broker::start_with(&[("management.rates_mode", "detailed")]).await;
    let channel = broker.connect().await.create_channel().await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let plain = ExchangeDeclareOptions::default();
    channel.exchange_declare("all".into(), ExchangeKind::Fanout, plain, FieldTable::default()).await.unwrap();
    let mut delayed = FieldTable::default();
    delayed.insert("x-delayed-type".into(), AMQPValue::LongString("fanout".into()));
    let kind = ExchangeKind::Custom("x-delayed-message".into());
    channel.exchange_declare("later".into(), kind, plain, delayed).await.unwrap();
    for (queue, exchange) in [("at-once", "all"), ("in-an-hour", "later")] {
        channel.queue_declare(queue.into(), QueueDeclareOptions::default(), FieldTable::default()).await.unwrap();
        let bind = QueueBindOptions::default();
        channel.queue_bind(queue.into(), exchange.into(), "".into(), bind, FieldTable::default()).await.unwrap();
    }
    let bind = ExchangeBindOptions::default();
    channel.exchange_bind("later".into(), "all".into(), "".into(), bind, FieldTable::default()).await.unwrap();
    let mut headers = FieldTable::default();
    headers.insert("x-delay".into(), AMQPValue::LongInt(3_600_000));
    let properties = BasicProperties::default().with_headers(headers);
    let options = BasicPublishOptions::default();
    for (exchange, expected) in [("all", 1), ("later", 0)] {
        let sent = channel.basic_publish(exchange.into(), "".into(), options, b"x", properties.clone()).await.unwrap();
        assert!(sent.await.unwrap().is_ack());
        let shown = broker.api(&format!("/api/exchanges/%2F/{exchange}")).await;
        let stats = &shown["incoming"][0]["stats"];
        assert_eq!((&stats["publish"], &stats["confirm"]), (&1.into(), &1.into()), "{shown}");
        assert_eq!(shown["outgoing"].as_array().unwrap().len(), expected, "{shown}");
        assert_eq!(shown["message_stats"]["publish_in"], 1);
        let confirmed = format!("rabbitmq_exchange_messages_confirmed_total{{vhost=\"/\",exchange=\"{exchange}\"}}");
        broker.scrape("/metrics/per-object").await.expect(&[(&confirmed, 1.0)]);
    }
    let queue = broker.api("/api/queues/%2F/at-once").await;
    assert_eq!((&queue["messages"], &queue["incoming"][0]["stats"]["publish"]), (&1.into(), &1.into()), "{queue}");
    assert_eq!(queue["incoming"][0]["exchange"]["name"], "all");
    // In a transaction, too.
    let channel = broker.connect().await.create_channel().await.unwrap();
    channel.tx_select().await.unwrap();
    channel.basic_publish("all".into(), "".into(), options, b"x", properties).await.unwrap();
    channel.tx_commit().await.unwrap();
    let queue = broker.api("/api/queues/%2F/at-once").await;
    assert_eq!((&queue["messages"], &queue["incoming"][0]["stats"]["publish"]), (&2.into(), &2.into()), "{queue}");
}
