//! What the node says of itself: who it is, what it uses, what came and went.

use super::tables::{DEAD_LETTERED, GLOBAL, GLOBAL_QUEUES};
use super::text::Kind::{Counter, Gauge, Untyped};
use super::text::{Kind, Scrape, labels};
use crate::auth::{Protocol, Tried};
use crate::connection::census::Sums;
use crate::connection::timeouts::Timeouts;
use crate::http::Http;
use crate::http::process;
use crate::logs;
use crate::logs::losses::Output;
use crate::persist::journal::LATENCY_BOUNDS;
use crate::stats::{Churn, Counted, Kind as Event, SIZE_BOUNDS};

const PROTOCOL: (&str, &str) = ("protocol", "amqp091");
/// Every queue counts as one of these.
const CLASSIC: (&str, &str) = ("queue_type", "rabbit_classic_queue");

/// Writes metrics without labels of their own, each with a prefix.
pub struct Node<'a> {
    pub http: &'a Http,
    pub prefix: &'static str,
}

impl Node<'_> {
    fn put(&self, scrape: &mut Scrape, name: &str, kind: Kind, help: &str, value: f64) {
        scrape.family(&format!("{}{name}", self.prefix), kind, help, &[(String::new(), value)]);
    }

    pub fn churn(&self, scrape: &mut Scrape) {
        let churn = &self.http.broker().churn;
        let all = [
            ("connections_opened_total", Churn::ConnectionCreated, "Total number of connections opened"),
            ("connections_closed_total", Churn::ConnectionClosed, "Total number of connections closed or terminated"),
            ("channels_opened_total", Churn::ChannelCreated, "Total number of channels opened"),
            ("channels_closed_total", Churn::ChannelClosed, "Total number of channels closed"),
            ("queues_declared_total", Churn::QueueDeclared, "Total number of queues declared"),
            ("queues_created_total", Churn::QueueCreated, "Total number of queues created"),
            ("queues_deleted_total", Churn::QueueDeleted, "Total number of queues deleted"),
        ];
        for (name, what, help) in all {
            self.put(scrape, name, Counter, help, churn.get(what) as f64);
        }
    }

    pub fn logins(&self, scrape: &mut Scrape) {
        let logins = &self.http.broker().logins;
        let rows = Protocol::ALL.map(|protocol| (labels(&[("protocol", protocol.name())]), logins.of(protocol)));
        self.tried(scrape, "auth_attempts", "", &rows);
    }

    /// The same by source; there are rows only where they are kept.
    pub fn logins_by_source(&self, scrape: &mut Scrape) {
        let all = self.http.broker().logins.by_source().into_iter().map(|(source, tried)| {
            let protocol = source.protocol.name();
            let who = [("remote_address", &*source.address), ("username", &source.user), ("protocol", protocol)];
            (labels(&who), tried)
        });
        self.tried(scrape, "auth_attempts_detailed", " by source", &all.collect::<Vec<_>>());
    }

    fn tried(&self, scrape: &mut Scrape, name: &str, how: &str, rows: &[(String, Tried)]) {
        for (n, (suffix, what)) in
            [("", "were tried"), ("_succeeded", "succeeded"), ("_failed", "failed")].into_iter().enumerate()
        {
            let count = |tried: &Tried| match n {
                0 => tried.total(),
                1 => tried.succeeded,
                _ => tried.failed,
            };
            let rows: Vec<_> = rows.iter().map(|(labels, tried)| (labels.clone(), count(tried) as f64)).collect();
            let name = format!("{}{name}{suffix}_total", self.prefix);
            scrape.family(&name, Counter, &format!("Total number of logins that {what}{how}"), &rows);
        }
    }

    /// What the node uses.
    pub fn coarse(&self, scrape: &mut Scrape) {
        let broker = self.http.broker();
        let sockets = self.http.shared.registry.count() as f64;
        self.put(scrape, "process_open_fds", Gauge, "Open file descriptors", process::open_files() as f64);
        self.put(scrape, "process_open_tcp_sockets", Gauge, "Open TCP sockets", sockets);
        let resident = process::resident_bytes() as f64;
        self.put(scrape, "process_resident_memory_bytes", Gauge, "Memory used in bytes", resident);
        let free = broker.store.as_ref().and_then(|store| store.space().ok()).map_or(0, |space| space.free);
        self.put(scrape, "disk_space_available_bytes", Gauge, "Disk space available in bytes", free as f64);
        self.put(
            scrape,
            "erlang_processes_used",
            Gauge,
            "Threads, where RabbitMQ has processes",
            process::threads() as f64,
        );
    }

    /// What it may use.
    pub fn limits(&self, scrape: &mut Scrape) {
        let broker = self.http.broker();
        let files = process::most_files() as f64;
        self.put(scrape, "process_max_fds", Gauge, "Open file descriptors limit", files);
        self.put(scrape, "process_max_tcp_sockets", Gauge, "Open TCP sockets limit", files);
        let watermark = broker.memory.limit() as f64;
        self.put(scrape, "resident_memory_limit_bytes", Gauge, "Memory high watermark in bytes", watermark);
        let limit = broker.store.as_ref().map_or(0, |store| store.disk_limit()) as f64;
        self.put(scrape, "disk_space_available_limit_bytes", Gauge, "Free disk space low watermark in bytes", limit);
        self.put(scrape, "erlang_processes_limit", Gauge, "Threads limit", process::most_threads() as f64);
        let uptime = self.http.started.elapsed().unwrap_or_default().as_secs_f64();
        self.put(scrape, "erlang_uptime_seconds", Gauge, "Node uptime", uptime);
    }

    /// What the journal has done.
    pub fn persister(&self, scrape: &mut Scrape) {
        let Some(store) = &self.http.broker().store else { return };
        let latency = &store.journal.latency;
        let (classes, seconds) = latency.classes();
        let writes = classes.iter().sum::<u64>() as f64;
        self.put(scrape, "io_write_ops_total", Counter, "Total number of I/O write operations", writes);
        let bytes = latency.bytes.get() as f64;
        self.put(scrape, "io_write_bytes_total", Counter, "Total number of I/O bytes written", bytes);
        self.put(scrape, "io_sync_ops_total", Counter, "Total number of I/O sync operations", latency.syncs() as f64);
        // A commit is one write, and its time that of its sync.
        self.put(scrape, "io_write_time_seconds_total", Counter, "Total I/O write time", seconds);
        self.put(scrape, "io_sync_time_seconds_total", Counter, "Total I/O sync time", seconds);
        let reading = &store.reading;
        let (reads, bytes) = (reading.reads() as f64, reading.bytes() as f64);
        self.put(scrape, "io_read_ops_total", Counter, "Total number of I/O read operations", reads);
        self.put(scrape, "io_read_bytes_total", Counter, "Total number of I/O bytes read", bytes);
        self.put(scrape, "io_read_time_seconds_total", Counter, "Total I/O read time", reading.micros() as f64 / 1e6);
    }

    /// There is no Raft group as long as there is no cluster.
    pub fn raft(&self, scrape: &mut Scrape) {
        let all = [
            ("raft_term_total", Counter, "Current Raft term number"),
            ("raft_log_snapshot_index", Gauge, "Raft log snapshot index"),
            ("raft_log_last_applied_index", Gauge, "Raft log last applied index"),
            ("raft_log_commit_index", Gauge, "Raft log commit index"),
            ("raft_log_last_written_index", Gauge, "Raft log last written index"),
            ("raft_entry_commit_latency_seconds", Gauge, "Time taken for a log entry to be committed"),
        ];
        all.into_iter().for_each(|(name, kind, help)| self.put(scrape, name, kind, help, 0.0));
    }
}

/// How many of what there are.
pub fn totals(http: &Http, sums: &Sums, scrape: &mut Scrape) {
    let queues: usize = http.broker().vhosts().iter().map(|vhost| vhost.topology.read().queues.len()).sum();
    let all = [
        ("connections", sums.connections, "Connections currently open"),
        ("channels", sums.channels, "Channels currently open"),
        ("consumers", sums.consumers, "Consumers currently connected"),
        ("queues", queues as u64, "Queues available"),
    ];
    let node = Node { http, prefix: "rabbitmq_" };
    all.into_iter().for_each(|(name, value, help)| node.put(scrape, name, Gauge, help, value as f64));
    node.put(scrape, "unreachable_cluster_peers_count", Gauge, "Number of peers that cannot be reached", 0.0);
}

/// Counters of the protocol, which never fall, and the sizes of messages.
pub fn global(sums: &Sums, scrape: &mut Scrape) {
    let mut put = |name: &str, kind, help: &str, labels: String, value: u64| {
        scrape.family(&format!("rabbitmq_global_{name}"), kind, help, &[(labels, value as f64)]);
    };
    let of_protocol = || labels(&[PROTOCOL]);
    let of_queues = || labels(&[PROTOCOL, CLASSIC]);
    for (name, event, help) in GLOBAL {
        put(name, Counter, help, of_protocol(), sums.counted.get(*event));
    }
    put("publishers", Gauge, "Publishers currently connected", of_protocol(), sums.publishers);
    put("consumers", Gauge, "Consumers currently connected", of_protocol(), sums.consumers);
    let delivered = Counted::delivered(&sums.counted);
    put("messages_delivered_total", Counter, "Messages delivered to consumers", of_queues(), delivered);
    for (name, event, help) in GLOBAL_QUEUES {
        put(name, Counter, help, of_queues(), sums.counted.get(*event));
    }
    let (help, bounds) = ("Size of messages received from publishers", SIZE_BOUNDS.map(|bound| bound as f64));
    let (classes, bytes) = (&sums.sizes.classes, sums.sizes.bytes as f64);
    scrape.histogram("rabbitmq_message_size_bytes", help, &of_protocol(), &bounds, classes, bytes);
}

/// Dead letters of the whole node.
pub fn dead_letters(http: &Http, scrape: &mut Scrape) {
    let counts = &http.broker().dead_letters;
    let strategies = [("at_most_once", false), ("at_least_once", true)];
    for (name, reason, help) in DEAD_LETTERED {
        let rows = strategies.map(|(strategy, is_safe)| {
            (labels(&[CLASSIC, ("dead_letter_strategy", strategy)]), counts.get(*reason, is_safe) as f64)
        });
        scrape.family(&format!("rabbitmq_global_messages_dead_lettered_{name}_total"), Counter, help, &rows);
    }
    let row = (labels(&[CLASSIC, ("dead_letter_strategy", "at_least_once")]), counts.confirmed() as f64);
    let help = "Messages that were dead-lettered and are safe in their new queues";
    scrape.family("rabbitmq_global_messages_dead_lettered_confirmed_total", Counter, help, &[row]);
}

pub fn alarms(http: &Http, scrape: &mut Scrape) {
    let broker = http.broker();
    let disk = broker.store.as_ref().is_some_and(|store| store.disk_alarm());
    let files = process::open_files() >= process::most_files();
    let all = [
        ("file_descriptor_limit", files, "is 1 if file descriptor limit alarm is in effect"),
        ("free_disk_space_watermark", disk, "is 1 if free disk space watermark alarm is in effect"),
        ("memory_used_watermark", broker.memory.is_over(), "is 1 if VM memory watermark alarm is in effect"),
    ];
    for (name, is_on, help) in all {
        let rows = [(String::new(), if is_on { 1.0 } else { 0.0 })];
        scrape.family(&format!("rabbitmq_alarms_{name}"), Untyped, help, &rows);
    }
}

/// Who answers. Dashboards join everything else with it.
pub fn identity(http: &Http, endpoint: &str, scrape: &mut Scrape) {
    let cluster = http.broker().cluster_name();
    let who = [
        ("rabbitmq_node", http.node_name()),
        ("rabbitmq_cluster", &*cluster),
        ("rabbitmq_cluster_permanent_id", http.permanent_id()),
        ("rabbitmq_endpoint", endpoint),
    ];
    let what = [
        ("rabbitmq_version", http.version()),
        ("prometheus_plugin_version", http.version()),
        ("prometheus_client_version", env!("CARGO_PKG_VERSION")),
        ("erlang_version", "none"),
        ("product_version", env!("CARGO_PKG_VERSION")),
        ("product_name", http.product_name()),
    ];
    let help = "RabbitMQ & Erlang/OTP version info";
    scrape.family("rabbitmq_build_info", Untyped, help, &[(labels(&what), 1.0)]);
    let help = "RabbitMQ node & cluster identity info";
    scrape.family("rabbitmq_identity_info", Untyped, help, &[(labels(&who), 1.0)]);
}

/// What only this broker tells.
pub fn own(http: &Http, scrape: &mut Scrape) {
    let broker = http.broker();
    if let Some(store) = &broker.store {
        let (classes, seconds) = store.journal.latency.classes();
        let bounds = LATENCY_BOUNDS.map(|micros| micros as f64 / 1e6);
        let help = "Time from taking a commit of the journal until it is on disk";
        scrape.histogram("leveret_journal_commit_latency_seconds", help, "", &bounds, &classes, seconds);
    }
    broker.moved().count_lengths();
    let vhosts = broker.vhosts();
    let waiting = vhosts.iter().map(|vhost| (labels(&[("vhost", &vhost.name)]), vhost.sums.delayed.ready() as f64));
    let help = "Messages that wait in delayed exchanges until they are due";
    scrape.family("leveret_delayed_messages", Gauge, help, &waiting.collect::<Vec<_>>());
    let mut unroutable = Vec::new();
    for vhost in &vhosts {
        let topology = vhost.topology.read();
        let named = topology.exchanges.iter().map(|(name, exchange)| (&**name, &exchange.counts));
        for (name, counts) in named.chain([("amq.default", &vhost.default_exchange)]) {
            for (outcome, n) in [("dropped", counts.dropped()), ("returned", counts.returned())] {
                if n > 0 {
                    let row = [("vhost", &*vhost.name), ("exchange", name), ("outcome", outcome)];
                    unroutable.push((labels(&row), n as f64));
                }
            }
        }
    }
    let help = "Messages that an exchange had no queue for";
    scrape.family("leveret_exchange_messages_unroutable_total", Counter, help, &unroutable);
    let lost = Output::ALL.map(|output| (labels(&[("output", output.name())]), logs::lost(output) as f64));
    let help = "Entries of the log that were lost, by where they would have gone";
    scrape.family("leveret_log_entries_lost_total", Counter, help, &lost);
    let help = "Deliveries that have used more than three quarters of the time for their ack";
    scrape.family("leveret_deliveries_near_timeout", Gauge, help, &[(String::new(), near_timeout(http) as f64)]);
}

fn near_timeout(http: &Http) -> u64 {
    let shared = &http.shared;
    let now = shared.clock.load(std::sync::atomic::Ordering::Relaxed);
    let of_node = shared.broker.limits().consumer_timeout;
    let near = |outbox| Timeouts::of(outbox, of_node).near(outbox, now);
    shared.registry.all().iter().map(|connection| near(&connection.outbox)).sum()
}

/// Where memory is, as far as it is known.
pub fn memory(http: &Http, scrape: &mut Scrape) {
    let parts = process::Memory::now(http.broker().memory);
    let all = [
        ("memory_binary_heap_bytes", parts.messages, "Messages and what is on its way to clients, in bytes"),
        ("memory_other_system_bytes", parts.other, "Everything else that is in memory, in bytes"),
        ("memory_code_module_bytes", parts.code, "The program itself, in bytes"),
    ];
    let node = Node { http, prefix: "rabbitmq_" };
    all.into_iter().for_each(|(name, value, help)| node.put(scrape, name, Gauge, help, value as f64));
}

/// How many queues publishes were put into, which RabbitMQ tells beside the protocol's counters.
pub fn published(sums: &Sums, scrape: &mut Scrape) {
    let rows = [(String::new(), sums.counted.get(Event::Route) as f64)];
    scrape.family("rabbitmq_queue_messages_published_total", Counter, "Messages published to queues", &rows);
}
