//! Starting the broker: in this process, or none at all where one already runs elsewhere.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Once, OnceLock};

use leveret::config::Config;
use leveret::node::Node;
use tokio::runtime::Runtime;

use super::admin::VHOST_LIMITS;
use super::{Client, Options};

/// A running broker.
pub struct Broker {
    pub address: SocketAddr,
    /// `None` where the broker is somebody else's.
    inside: Option<Inside>,
}

/// The broker in this process, on threads of its own.
pub struct Inside {
    pub runtime: Runtime,
    pub node: Option<Node>,
    config: Vec<(String, String)>,
    data: PathBuf,
}

impl Broker {
    /// The broker that most tests share, with the default configuration.
    pub fn start() -> &'static Self {
        static SHARED: OnceLock<Broker> = OnceLock::new();
        SHARED.get_or_init(|| match outside_address() {
            Some(address) => Self { address, inside: None },
            None => Self::start_inside(&VHOST_LIMITS),
        })
    }

    /// A broker for one test, with lines of its configuration file. `None` where the tests run against a broker whose
    /// configuration cannot be changed; the test is then skipped.
    pub fn start_with(config: &[(&str, &str)]) -> Option<Self> {
        if outside_address().is_some() {
            eprintln!("skipped: needs a broker with its own configuration");
            return None;
        }
        Some(Self::start_inside(config))
    }

    /// The shared broker, unless it is RabbitMQ 3.10, which does not do `what` as 3.13 does.
    pub fn newer_than_3_10(what: &str) -> Option<&'static Self> {
        let broker = Self::start();
        if broker.is_3_10() {
            eprintln!("skipped: {what}");
            return None;
        }
        Some(broker)
    }

    pub fn is_3_10(&self) -> bool {
        self.inside.is_none() && self.connect().server_text("version").starts_with("3.10")
    }

    fn start_inside(config: &[(&str, &str)]) -> Self {
        count_panics();
        let data = data_dir();
        let mut lines = vec![("listeners.tcp.default".into(), "127.0.0.1:0".into())];
        // Many brokers run at a time.
        lines.extend(["management.tcp", "prometheus.tcp"].map(|key| (key.into(), "none".into())));
        lines.push(("data_dir".into(), data.display().to_string()));
        lines.extend(config.iter().map(|(key, value)| ((*key).into(), (*value).into())));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("broker")
            .enable_all()
            .build()
            .expect("a runtime for the broker");
        let mut inside = Inside { runtime, node: None, config: lines, data };
        let address = inside.start();
        Self { address, inside: Some(inside) }
    }

    /// Stops the broker and starts it again with the same data and configuration.
    pub fn restart(&mut self) {
        let inside = self.inside.as_mut().expect("only a broker of this process can be restarted");
        inside.stop();
        self.address = inside.start();
    }

    pub fn inside(&self) -> Option<&Inside> {
        self.inside.as_ref()
    }

    /// The node itself, of a broker of this process.
    #[allow(dead_code, reason = "not every test looks inside")]
    pub fn node(&self) -> &Node {
        self.inside.as_ref().and_then(|inside| inside.node.as_ref()).expect("a broker of this process")
    }

    /// A connection as `guest` that has been opened.
    pub fn connect(&self) -> Client {
        self.connect_with(|_| ())
    }

    /// A connection with other options than the usual ones.
    pub fn connect_with(&self, change: impl FnOnce(&mut Options)) -> Client {
        let mut options = Options::default();
        change(&mut options);
        let client = self.socket();
        client.handshake(&options);
        client
    }

    /// A connection on which nothing has been said yet.
    pub fn socket(&self) -> Client {
        Client::new(self.address)
    }

    /// Another client is still served, and nothing inside the broker has panicked.
    #[track_caller]
    pub fn expect_healthy(&self) {
        let channel = self.connect().channel();
        let queue = channel.temporary_queue();
        channel.publish("", &queue, "still here");
        assert_eq!(channel.expect_get(&queue).text(), "still here");
        assert_eq!(PANICS.load(Ordering::Relaxed), 0, "a thread of the broker has panicked");
    }
}

impl Inside {
    fn start(&mut self) -> SocketAddr {
        let config = Config::load(None, &self.config).expect("the test's configuration is valid");
        let node = self.runtime.block_on(Node::start(config)).expect("the broker starts");
        let address = *node.amqp_addrs().first().expect("the broker listens");
        self.node = Some(node);
        address
    }

    fn stop(&mut self) {
        if let Some(node) = self.node.take() {
            self.runtime.block_on(node.stop());
        }
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.stop();
        let _ = std::fs::remove_dir_all(&self.data);
    }
}

/// Runs `work` on `n` threads at once and hands back what each returned.
pub fn parallel<T: Send>(n: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    std::thread::scope(|scope| {
        let work = &work;
        let spawn = |i| std::thread::Builder::new().name(format!("test::{i}")).spawn_scoped(scope, move || work(i));
        let threads: Vec<_> = (0..n).map(|i| spawn(i).expect("a thread")).collect();
        threads.into_iter().map(|t| t.join().expect("a thread of the test")).collect()
    })
}

fn outside_address() -> Option<SocketAddr> {
    let text = std::env::var("LEVERET_TEST_ADDR").ok()?;
    Some(text.to_socket_addrs().expect("LEVERET_TEST_ADDR is host:port").next().expect("an address"))
}

/// A new directory, named after this process. The shared broker is never stopped, so what earlier processes left
/// behind is removed here.
fn data_dir() -> PathBuf {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    static CLEAN: Once = Once::new();
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("brokers");
    CLEAN.call_once(|| remove_left_behind(&root));
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let data = root.join(format!("{}.{count}", std::process::id()));
    std::fs::create_dir_all(&data).expect("a data directory");
    data
}

fn remove_left_behind(root: &Path) {
    for entry in std::fs::read_dir(root).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_string_lossy().split('.').next().unwrap_or_default().to_owned();
        if !Path::new("/proc").join(pid).exists() {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

static PANICS: AtomicUsize = AtomicUsize::new(0);

/// Counts panics on the broker's threads. A test's own threads carry a path (`module::test`) as their name.
fn count_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let thread = std::thread::current();
            let of_a_test = thread.name().is_some_and(|name| name == "main" || name.contains("::"));
            PANICS.fetch_add(usize::from(!of_a_test), Ordering::Relaxed);
            usual(info);
        }));
    });
}
