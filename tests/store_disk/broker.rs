//! A broker on a simulated disk, and a publisher that knows what was confirmed.

use std::path::PathBuf;
use std::sync::Arc;

use amq_protocol::protocol::{AMQPClass, connection};
use leveret::config::Config;
use leveret::node::Node;
use leveret::persist::disk::Disk as _;
use leveret::persist::sim::SimDisk;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::compat::harness::{
    Channel, Client, Incoming, Options, basic_ack, basic_consume, confirm_select, eventually, props, queue_declare,
};

pub struct Broker {
    pub disk: SimDisk,
    pub runtime: Runtime,
    node: Option<Node>,
    config: Vec<(String, String)>,
    /// The same path is on both disks: the directory's lock is the system's.
    data: TempDir,
}

impl Broker {
    /// A broker with small files, and these lines of configuration.
    pub fn start(config: &[(&str, &str)]) -> Self {
        let data = tempfile::tempdir().expect("a directory");
        let path = data.path().display().to_string();
        let usual = [
            ("data_dir", path.as_str()),
            ("listeners.tcp.default", "127.0.0.1:0"),
            ("management.tcp", "none"),
            ("prometheus.tcp", "none"),
            ("store.journal_file_size", "256KiB"),
            ("store.journal_keep", "1"),
            ("store.segment_size", "128KiB"),
        ];
        let config = usual.iter().chain(config).map(|(key, value)| ((*key).into(), (*value).into())).collect();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("a runtime for the broker");
        let disk = SimDisk::new(1);
        let dirs: Vec<_> = data.path().ancestors().collect();
        dirs.into_iter().rev().skip(1).for_each(|dir| disk.create_dir(dir).expect("a disk in order"));
        disk.sync_all(data.path()).expect("a disk in order");
        let mut broker = Self { disk, runtime, node: None, config, data };
        broker.start_again();
        broker
    }

    fn start_again(&mut self) {
        let config = Config::load(None, &self.config).expect("the test's configuration is valid");
        let node = self.runtime.block_on(Node::start_on(Arc::new(self.disk.clone()), config));
        self.node = Some(node.expect("the broker starts"));
    }

    /// A path in the store's directory.
    pub fn store(&self, name: &str) -> PathBuf {
        self.data.path().join("store").join(name)
    }

    /// Leaves room for so many more bytes.
    pub fn leave_room(&self, bytes: u64) {
        let space = self.disk.space(self.data.path()).expect("a disk in order");
        self.disk.set_capacity(space.total - space.free + bytes);
    }

    pub fn node(&self) -> &Node {
        self.node.as_ref().expect("a broker that runs")
    }

    pub fn connect(&self) -> Client {
        let client = Client::new(self.node().amqp_addrs()[0]);
        client.handshake(&Options::default());
        client
    }

    /// Cuts the power and starts the broker again.
    pub fn cut_power(&mut self) {
        self.disk = self.disk.power_cut(7);
        let node = self.node.take();
        self.runtime.block_on(async move { drop(node) });
        self.start_again();
    }

    /// Stops the broker in order and starts it again.
    pub fn restart(&mut self) {
        if let Some(node) = self.node.take() {
            self.runtime.block_on(node.stop());
        }
        self.start_again();
    }
}

/// The count once a spare file is not being filled any more.
pub fn settled(count: impl Fn() -> u64) -> u64 {
    let mut last = count();
    eventually("files are ready", || {
        std::thread::park_timeout(std::time::Duration::from_millis(100));
        let now = count();
        std::mem::replace(&mut last, now) == now
    });
    last
}

/// Publishes persistent messages with numbers to a durable queue, one at a time.
pub struct Publisher {
    client: Client,
    channel: Channel,
    queue: &'static str,
    pub published: usize,
    pub confirmed: usize,
}

impl Publisher {
    pub fn new(broker: &Broker, queue: &'static str) -> Self {
        let client = broker.connect();
        let channel = client.channel();
        channel.declare(queue_declare(queue).durable());
        channel.call(confirm_select());
        Self { client, channel, queue, published: 0, confirmed: 0 }
    }

    pub fn publish(&mut self) {
        let body = format!("{:06} {}", self.published, "x".repeat(10_000));
        self.channel.publish_with("", self.queue, props().persistent(), &body);
        self.published += 1;
    }

    /// Publishes so many messages, which all are confirmed.
    pub fn publish_all(&mut self, count: usize) {
        for _ in 0..count {
            self.publish();
            self.expect_all_confirmed();
        }
    }

    pub fn expect_all_confirmed(&mut self) {
        while self.confirmed < self.published {
            let next = self.channel.next("a confirm");
            self.take(&next);
        }
    }

    fn take(&mut self, incoming: &Incoming) {
        match incoming {
            Incoming::Ack { tag, .. } => self.confirmed = self.confirmed.max(*tag as usize),
            other => panic!("{other:?} instead of a confirm"),
        }
    }

    /// Publishes until the broker says that publishers have to wait; says why.
    pub fn publish_until_blocked(&mut self) -> String {
        loop {
            if self.confirmed == self.published {
                self.publish();
            }
            let mut wire = self.client.wire();
            let confirm = wire.pending(self.channel.number).pop_front();
            let said = wire.pending(0).pop_front();
            if confirm.is_none() && said.is_none() {
                assert!(wire.read_frame("a confirm or connection.blocked"), "the broker has hung up");
            }
            drop(wire);
            if let Some(confirm) = confirm {
                self.take(&confirm);
            }
            if let Some(said) = said {
                let Incoming::Method(method) = said else { panic!("{said:?} instead of connection.blocked") };
                match *method {
                    AMQPClass::Connection(connection::AMQPMethod::Blocked(blocked)) => {
                        return blocked.reason.to_string();
                    }
                    other => panic!("{other:?} instead of connection.blocked"),
                }
            }
        }
    }

    /// Nothing more has been confirmed when the broker hangs up.
    pub fn expect_no_confirm_until_the_end(&self) {
        assert!(self.confirmed < self.published);
        let mut wire = self.client.wire();
        wire.expect_any_end();
        assert!(wire.pending(self.channel.number).is_empty());
    }

    /// Waits until publishers may go on.
    pub fn expect_unblocked(&self) {
        let unblocked = self.client.expect_method("connection.unblocked");
        assert!(matches!(unblocked, AMQPClass::Connection(connection::AMQPMethod::Unblocked(_))), "{unblocked:?}");
    }
}

/// The number of a message that a [`Publisher`] has published.
pub fn number(body: &str) -> usize {
    body.split(' ').next().and_then(|number| number.parse().ok()).expect("a message with a number")
}

/// Consumes so many messages and acks them; they come in order, from number `first` on.
pub fn consume_and_ack(channel: &Channel, queue: &str, first: usize, count: usize) {
    channel.consume(basic_consume(queue, ""));
    for (tag, expected) in (1..).zip(first..first + count) {
        assert_eq!(number(channel.expect_deliver().text()), expected);
        channel.send(basic_ack(tag));
    }
}

/// The numbers of all messages in the queue, which are taken out.
pub fn numbers(broker: &Broker, queue: &str) -> Vec<usize> {
    broker.connect().channel().drain(queue).iter().map(|body| number(body)).collect()
}
