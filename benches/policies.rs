//! What changes of policies cost a broker with many queues, and what its publishers notice of them.
//!
//! ```text
//! cargo bench --bench policies -- [QUEUES [CHANGES]]
//! ```
//!
//! A broker in this process has so many durable queues (100,000). One policy is given to all of them and taken away again;
//! then policies come and go that match ten queues each, or none (10,000 changes). A client publishes over TCP all the
//! while, one message after each confirm: its longest wait is printed beside every figure, and how long it waits when
//! nothing is changed. Nothing is asserted about times.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Connection, ConnectionProperties};
use leveret::config::Config;
use leveret::frames::Table;
use leveret::node::Node;
use leveret::persist::record::QueueRecord;
use leveret::vhost::Broker;
use leveret::vhost::command::{Applied, Command};
use leveret::vhost::policies::from_json;
use serde_json::{Value as Json, json};
use tokio::runtime::{self, Runtime};

/// What the publisher has seen.
#[derive(Default)]
struct Publisher {
    confirms: AtomicU64,
    /// The longest wait between two of them since somebody asked, in nanoseconds.
    longest: AtomicU64,
    stop: AtomicBool,
}

impl Publisher {
    async fn run(&self, uri: &str) -> lapin::Result<()> {
        let connection = Connection::connect(uri, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let mut arguments = FieldTable::default();
        arguments.insert("x-max-length".into(), 1000.into());
        channel.queue_declare("traffic".into(), QueueDeclareOptions::default(), arguments).await?;
        let mut last = Instant::now();
        while !self.stop.load(Ordering::Relaxed) {
            let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
            channel.basic_publish("".into(), "traffic".into(), options, b"m", properties).await?.await?;
            let now = Instant::now();
            self.longest.fetch_max((now - last).as_nanos() as u64, Ordering::Relaxed);
            self.confirms.fetch_add(1, Ordering::Relaxed);
            last = now;
        }
        Ok(())
    }

    /// Runs something, and prints how long it took and how long the publisher waited meanwhile.
    fn watch(&self, what: &str, run: impl FnOnce()) {
        self.longest.store(0, Ordering::Relaxed);
        let (confirms, start) = (self.confirms.load(Ordering::Relaxed), Instant::now());
        run();
        let took = start.elapsed();
        // A wait that has begun counts, too.
        thread::sleep(Duration::from_millis(20));
        let confirms = self.confirms.load(Ordering::Relaxed) - confirms;
        let longest = Duration::from_nanos(self.longest.load(Ordering::Relaxed));
        println!("{what:<44}{took:>12.2?}, {confirms:>8} confirms, longest wait {longest:.2?}");
    }
}

/// Makes a change and waits until it is durable, as whoever asked for it would.
fn change(runtime: &Runtime, broker: &Broker, command: Command) {
    if let Applied { durable_at: Some(number), .. } = broker.apply(command).unwrap() {
        runtime.block_on(broker.durable(number)).unwrap();
    }
}

fn set(name: &str, pattern: &str, definition: &Json) -> Command {
    let policy = json!({"pattern": pattern, "definition": definition, "apply-to": "queues"});
    Command::SetPolicy(from_json("/", name, &policy, false).unwrap())
}

fn clear(name: &str) -> Command {
    Command::ClearPolicy { vhost: "/".into(), name: name.into(), operator: false }
}

fn declare(runtime: &Runtime, broker: &Broker, queues: usize) {
    let mut last = None;
    for n in 0..queues {
        let (vhost, name) = ("/".to_owned(), format!("queue-{n:06}"));
        let (durable, auto_delete, arguments, id) = (true, false, Table::default(), 0);
        let record = QueueRecord { vhost, name, durable, auto_delete, arguments, id };
        let applied = broker.apply(Command::DeclareQueue { record, exclusive_owner: None }).unwrap();
        last = applied.durable_at.or(last);
    }
    if let Some(last) = last {
        runtime.block_on(broker.durable(last)).unwrap();
    }
}

fn measure(runtime: &Runtime, broker: &Broker, publisher: &Publisher, queues: usize, changes: usize) {
    let waits = "longest wait of the publisher alone";
    publisher.watch(waits, || thread::sleep(Duration::from_secs(2)));
    publisher.watch(&format!("{queues} queues are declared"), || declare(runtime, broker, queues));
    publisher.watch(waits, || thread::sleep(Duration::from_secs(2)));
    let limits = json!({"max-length": 500, "message-ttl": 60_000});
    for _ in 0..3 {
        publisher.watch("a policy for all is set", || change(runtime, broker, set("all", "", &limits)));
        publisher.watch("it is changed", || change(runtime, broker, set("all", "^", &json!({"max-length": 500}))));
        publisher.watch("it is cleared", || change(runtime, broker, clear("all")));
    }
    publisher.watch(&format!("{changes} changes, each for ten queues or none"), || {
        for n in 0..changes / 2 {
            let few = n * 7919 % queues.max(10) / 10;
            let pattern = if n % 4 == 3 { format!("^nothing-{n}$") } else { format!("^queue-{few:05}") };
            let name = format!("few-{}", n % 100);
            change(runtime, broker, set(&name, &pattern, &limits));
            change(runtime, broker, clear(&name));
        }
    });
    publisher.watch("1000 policies that match nothing, once more", || {
        for n in 0..1000.min(changes) {
            change(runtime, broker, set(&format!("stays-{n}"), &format!("nothing-{n}$"), &limits));
        }
    });
    publisher.watch("a policy for all is set, beside 1000 others", || {
        change(runtime, broker, set("all", "", &limits));
    });
}

fn main() {
    // `cargo bench` adds `--bench`.
    let mut numbers = std::env::args().skip(1).filter_map(|argument| argument.parse().ok());
    let (queues, changes) = (numbers.next().unwrap_or(100_000), numbers.next().unwrap_or(10_000));
    let data = tempfile::tempdir().unwrap();
    let lines = [
        ("listeners.tcp.default", "127.0.0.1:0"),
        ("management.tcp", "none"),
        ("prometheus.tcp", "none"),
        ("data_dir", data.path().to_str().unwrap()),
    ];
    let config = Config::load(None, &lines.map(|(key, value)| (key.to_owned(), value.to_owned()))).unwrap();
    let of_broker = runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let node = of_broker.block_on(Node::start(config)).unwrap();
    let uri = format!("amqp://guest:guest@{}/%2f", node.amqp_addrs()[0]);
    let publisher = Arc::new(Publisher::default());
    let publishing = {
        let publisher = Arc::clone(&publisher);
        thread::spawn(move || Runtime::new().unwrap().block_on(publisher.run(&uri)).unwrap())
    };
    measure(&of_broker, node.broker(), &publisher, queues, changes);
    publisher.stop.store(true, Ordering::Relaxed);
    publishing.join().unwrap();
    of_broker.block_on(node.stop());
}
