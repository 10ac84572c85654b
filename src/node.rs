//! A running broker: it opens the catalog, listens, accepts, keeps the coarse clock, and stops in order.

mod rehearsal;
mod service;
mod watchdog;
mod welcome;

use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use rehearsal::{Rehearsal, rehearse};
use service::{Door, Service};

use crate::config::{Changes, Config, DiskFreeLimit, ListenAddress, Listener, Sync, Tcp, TlsOptions, Watermark};
use crate::connection::census::{self, Census};
use crate::connection::driver;
use crate::connection::entrance::{self, Client, Entrance};
use crate::connection::machine::Shared;
use crate::connection::registry::{Registry, SHUTDOWN};
use crate::definitions::{self, LoadError};
use crate::http::metrics::Site;
use crate::http::router::Api;
use crate::http::socket::LocalSocket;
use crate::http::{Control as _, Http, ListenerInfo, Phase, server};
use crate::logs::{self, Logs};
use crate::message::memory::MemoryAccount;
use crate::notify::Manager;
use crate::persist::disk::{Disk, RealDisk};
use crate::persist::journal::SyncMode;
use crate::persist::record::Record;
use crate::persist::store::{self, LOOK_AT_SEGMENTS, Opened, Settings, Store, StoreError};
use crate::persist::{Catalog, CatalogError, DataDir, DataDirError, open_catalog};
use crate::tls::{Acceptor, Purpose, TlsError};
use crate::vhost::Broker;
use crate::vhost::broker::{Removed, StartError};
use crate::vhost::events::Event;

/// How long connections get to answer the broker's close when it stops.
const STOP_WAIT: Duration = Duration::from_secs(5);
/// How often disk quotas are compared with what is stored.
const LOOK_AT_QUOTAS_EVERY: Duration = Duration::from_millis(250);
/// Share of the machine's memory that is assumed when the system does not say how much there is: 4 GiB.
const UNKNOWN_MEMORY: u64 = 4 << 30;

/// Where a data directory has its messages.
const STORE: &str = "store";

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("TLS cannot be served: {0}")]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Definitions(#[from] LoadError),
    #[error("cannot listen on {address}: {error}")]
    Listen { address: String, error: io::Error },
}

/// A broker that is running.
pub struct Node {
    shared: Arc<Shared>,
    service: Arc<Service>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
    /// Locked until everything in it is closed.
    data_dir: DataDir,
}

impl Drop for Node {
    /// Tasks that go on for a moment hold the broker: what is in the data directory is closed all the same.
    fn drop(&mut self) {
        self.shared.broker.close();
    }
}

impl Node {
    /// Opens the data directory and starts to serve.
    ///
    /// # Errors
    /// When the data cannot be used or an address not be listened on.
    pub async fn start(config: Config) -> Result<Self, NodeError> {
        Self::start_on(Arc::new(RealDisk), config).await
    }

    /// The same on another disk: a simulated one, in tests.
    ///
    /// # Errors
    /// When the data cannot be used or an address not be listened on.
    pub async fn start_on(disk: Arc<dyn Disk>, config: Config) -> Result<Self, NodeError> {
        let data_dir = DataDir::open(disk.as_ref(), &config.data_dir, config.identity.node_name.as_deref())?;
        // Before the catalog is opened, which writes: what is refused is to be left as it was.
        let store_dir = data_dir.path().join(STORE);
        store::look(&*disk, &store_dir, data_dir.identity().number())?;
        store::give_up_ballast(&*disk, &store_dir);
        let catalog = open_catalog(&disk, data_dir.path())?;
        miss_nothing(&*disk, &store_dir, &*catalog)?;
        let memory = MemoryAccount::new(memory_limit(&config));
        let (tcp, tls) = (config.tcp.clone(), config.tls.clone());
        let opened = open_store(&config, &data_dir, &disk, memory)?;
        let broker = Broker::start(config, catalog, memory, Some(opened))?;
        let broker = load_definitions(broker).await?;
        if let Some(feed) = logs::handle().and_then(Logs::feed) {
            broker.publish_log(feed).map_err(StartError::Thread)?;
        }
        let clock = Arc::new(AtomicU32::new(0));
        let forgets = broker.config.management.disable_collector;
        let census = if forgets { Census::without_history() } else { Census::default() };
        let shared = Arc::new(Shared { broker, registry: Registry::default(), clock: Arc::clone(&clock), census });
        let connections = Arc::downgrade(&shared);
        shared.broker.watch_removals(move |removed| {
            if let Some(shared) = connections.upgrade() {
                close_connections_of(&shared.registry, removed);
            }
        });
        let of_reloads = Arc::downgrade(&shared.broker);
        shared.broker.on_reload(move |config, changes| {
            if let Some(broker) = of_reloads.upgrade() {
                take_watermarks(&broker, config, changes);
            }
            Ok(())
        });
        let (stop, stopping) = watch::channel(false);
        let service = Arc::new(Service::new(Arc::clone(&shared), tcp.clone()));
        let mut node = Self { shared, service, stop, tasks: JoinSet::new(), data_dir };
        for listener in &tcp.listeners {
            let entrance = Entrance { proxied: tcp.proxy_protocol, tls: None };
            node.listen(listener, &tcp, entrance, &stopping)?;
        }
        if !tls.listeners.is_empty() {
            let acceptor = node.acceptor(Purpose::AMQP, |config| &config.tls.options)?;
            for listener in &tls.listeners {
                let entrance = Entrance { proxied: tcp.proxy_protocol, tls: Some(Arc::clone(&acceptor)) };
                node.listen(listener, &tcp, entrance, &stopping)?;
            }
        }
        node.serve_http(&tcp, &stopping)?;
        let interval = node.shared.broker.config.statistics.interval;
        node.tasks.spawn(census::keep(Arc::clone(&node.shared), interval, stopping.clone()));
        if node.shared.broker.tells_events() {
            node.tasks.spawn(tell_alarms(Arc::clone(&node.shared.broker), stopping.clone()));
        }
        node.tasks.spawn(keep_quotas(Arc::clone(&node.shared.broker), stopping.clone()));
        node.tasks.spawn(keep_clock(clock, memory, stopping));
        Ok(node)
    }

    fn listen(
        &mut self,
        listener: &Listener,
        tcp: &Tcp,
        entrance: Entrance,
        stopping: &watch::Receiver<bool>,
    ) -> Result<(), NodeError> {
        let (socket, address) = open(listener.address, tcp)?;
        let (protocol, purpose) = match entrance.tls {
            None => ("amqp", "AMQP 0-9-1"),
            Some(_) => ("amqp/ssl", "AMQP 0-9-1 over TLS"),
        };
        let door = self.service.add_door(ListenerInfo { protocol, address, purpose }, socket);
        let (shared, phases) = (Arc::clone(&self.shared), self.service.phases());
        self.tasks.spawn(accept(door, phases, shared, tcp.clone(), entrance, stopping.clone()));
        Ok(())
    }

    /// What does TLS handshakes with those options, also with new ones.
    fn acceptor(&self, purpose: Purpose, options: fn(&Config) -> &TlsOptions) -> Result<Arc<Acceptor>, NodeError> {
        let config = &self.shared.broker.config;
        let acceptor = Acceptor::new(options(config).clone(), purpose, config.tls.handshake_timeout)?;
        let acceptor = Arc::new(acceptor);
        let of_reloads = Arc::clone(&acceptor);
        self.shared.broker.on_reload(move |config, _| reload_tls(&of_reloads, options(config)));
        Ok(acceptor)
    }

    /// Serves the HTTP API, on its ports and on the socket in the data directory.
    fn serve_http(&mut self, tcp: &Tcp, stopping: &watch::Receiver<bool>) -> Result<(), NodeError> {
        let (shared, control) = (Arc::clone(&self.shared), Arc::clone(&self.service));
        let permanent_id = self.data_dir.identity().id.clone();
        let http = Arc::new(Http {
            shared,
            node: control,
            started: SystemTime::now(),
            permanent_id,
            stopping: stopping.clone(),
        });
        self.serve_metrics(&http, tcp, stopping)?;
        let api = Arc::new(Api::new(http));
        let local = LocalSocket::bind(self.data_dir.path());
        let local = local.map_err(|error| NodeError::Listen { address: "leveret.sock".to_owned(), error })?;
        self.tasks.spawn(server::serve(local, Arc::clone(&api), stopping.clone()));
        if let Some(address) = self.shared.broker.config.management.listener {
            let socket = self.open_http("http", "HTTP API", address, tcp)?;
            self.tasks.spawn(server::serve(socket, Arc::clone(&api), stopping.clone()));
        }
        if let Some(address) = self.shared.broker.config.management.ssl.listener {
            let acceptor = self.acceptor(Purpose::MANAGEMENT, |config| &config.management.ssl.tls)?;
            let socket = self.open_http("https", "HTTP API over TLS", address, tcp)?;
            self.tasks.spawn(server::serve_tls(socket, acceptor, api, stopping.clone()));
        }
        Ok(())
    }

    fn open_http(
        &self,
        protocol: &'static str,
        purpose: &'static str,
        address: ListenAddress,
        tcp: &Tcp,
    ) -> Result<TcpListener, NodeError> {
        let (socket, address) = open(address, tcp)?;
        self.service.add(ListenerInfo { protocol, address, purpose });
        Ok(socket)
    }

    /// Serves metrics, on ports of their own.
    fn serve_metrics(
        &mut self,
        http: &Arc<Http>,
        tcp: &Tcp,
        stopping: &watch::Receiver<bool>,
    ) -> Result<(), NodeError> {
        let site = Arc::new(Site::new(Arc::clone(http)));
        if let Some(address) = self.shared.broker.config.prometheus.listener {
            let socket = self.open_http("http/prometheus", "Prometheus metrics", address, tcp)?;
            self.tasks.spawn(server::serve(socket, Arc::clone(&site), stopping.clone()));
        }
        if let Some(address) = self.shared.broker.config.prometheus.ssl.listener {
            let acceptor = self.acceptor(Purpose::PROMETHEUS, |config| &config.prometheus.ssl.tls)?;
            let socket = self.open_http("https/prometheus", "Prometheus metrics over TLS", address, tcp)?;
            self.tasks.spawn(server::serve_tls(socket, acceptor, site, stopping.clone()));
        }
        Ok(())
    }

    /// Where metrics are served.
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.addr_of("http/prometheus")
    }

    /// The first address where a protocol is served, by the name that listeners are listed with.
    pub fn addr_of(&self, protocol: &str) -> Option<SocketAddr> {
        let all = self.service.listeners();
        all.iter().find(|listener| listener.protocol == protocol).map(|listener| listener.address)
    }

    /// Where AMQP is served without TLS.
    pub fn amqp_addrs(&self) -> Vec<SocketAddr> {
        self.service.addresses("amqp")
    }

    /// Where AMQP is served with TLS.
    pub fn amqps_addrs(&self) -> Vec<SocketAddr> {
        self.service.addresses("amqp/ssl")
    }

    /// Returns when an operator wants the node to stop.
    pub async fn asked_to_stop(&self) {
        self.service.asked_to_stop().await;
    }

    /// Says how long clients may take to answer when the application stops, before they are cut off.
    pub fn set_patience(&self, patience: Duration) {
        self.service.set_patience(patience);
    }

    /// Where the HTTP API is served.
    pub fn http_addr(&self) -> Option<SocketAddr> {
        self.addr_of("http")
    }

    /// Keeps the service manager told, of which [`watchdog`] says how, and says for the first time that the node serves.
    pub fn keep_told(&mut self, manager: Arc<Manager>) {
        let (broker, service) = (Arc::clone(&self.shared.broker), Arc::clone(&self.service));
        manager.ready(&watchdog::status(&broker, &service));
        self.tasks.spawn(watchdog::keep_told(manager, broker, service, self.stop.subscribe()));
    }

    /// How to log in, for the first line of the log.
    pub fn login_hint(&self) -> String {
        welcome::login_hint(&self.shared.broker)
    }

    /// The broker behind the listeners.
    pub fn broker(&self) -> &Arc<Broker> {
        &self.shared.broker
    }

    /// What its connections share.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The connections that are open.
    pub fn connections(&self) -> &Registry {
        &self.shared.registry
    }

    /// Returns when the disk has failed in a way after which nothing can be promised: the node has to be stopped.
    pub async fn failed(&self) -> String {
        let Some(store) = &self.shared.broker.store else { return std::future::pending().await };
        let mut failure = store.failure();
        match failure.wait_for(Option::is_some).await {
            Ok(why) => why.clone().unwrap_or_default(),
            Err(_) => std::future::pending().await,
        }
    }

    /// Stops listening, tells every client, and waits until they are gone or have had time enough.
    pub async fn stop(mut self) {
        // Without receivers there is nobody left to tell.
        let _ = self.stop.send(true);
        self.shared.registry.close_where(SHUTDOWN, |_| true);
        let all_gone = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_WAIT, all_gone).await.is_err() {
            tracing::warn!(target: "leveret", "some clients did not confirm the close in time");
            self.tasks.shutdown().await;
        }
        // On a thread that may block.
        let broker = Arc::clone(&self.shared.broker);
        if tokio::task::spawn_blocking(move || broker.close()).await.is_err() {
            tracing::error!(target: "leveret", "the catalog could not be closed in order");
        }
    }
}

/// Takes over certificates and keys for connections that come from now on, or says why the old ones stay in force.
fn reload_tls(acceptor: &Acceptor, options: &TlsOptions) -> Result<(), String> {
    acceptor
        .reload(options.clone())
        .map_err(|error| format!("TLS goes on with {} as it was read before: {error}", acceptor.certfile()))
}

fn close_connections_of(registry: &Registry, removed: Removed<'_>) {
    match removed {
        Removed::Vhost(name) => registry.close_where(&format!("vhost '{name}' is deleted"), |c| *c.vhost == *name),
        Removed::User(name) => registry.close_where(&format!("User '{name}' was deleted"), |c| *c.user == *name),
    }
}

/// Loads what the configuration names, and waits until it is on disk.
async fn load_definitions(broker: Arc<Broker>) -> Result<Arc<Broker>, NodeError> {
    if broker.config.definitions.load.is_empty() {
        return Ok(broker);
    }
    let for_thread = Arc::clone(&broker);
    let loaded = tokio::task::spawn_blocking(move || definitions::load(&for_thread)).await;
    let applied = loaded.map_err(|error| LoadError::Interrupted(error.to_string()))??;
    if let Some(number) = applied.durable_at {
        broker.durable(number).await.map_err(|refusal| LoadError::Interrupted(refusal.text))?;
    }
    warn_without_users(&broker);
    Ok(broker)
}

fn warn_without_users(broker: &Broker) {
    if broker.directory.users().is_empty() {
        tracing::warn!(target: "leveret::definitions", "the definitions have no user: nobody can log in");
    }
}

/// A store that is gone is not begun anew where queues count on it: its disk may not be mounted.
fn miss_nothing(disk: &dyn Disk, dir: &Path, catalog: &dyn Catalog) -> Result<(), NodeError> {
    let Some(path) = store::missing(disk, dir)? else { return Ok(()) };
    let is_kept = |record: &Record| matches!(record, Record::Queue(queue) if queue.durable && queue.id != 0);
    match catalog.load()?.iter().filter(|record| is_kept(record)).count() {
        0 => Ok(()),
        queues => Err(StoreError::Missing { path, queues }.into()),
    }
}

fn open_store(
    config: &Config,
    data_dir: &DataDir,
    disk: &Arc<dyn Disk>,
    memory: &'static MemoryAccount,
) -> Result<Opened, NodeError> {
    let storage = &config.storage;
    let mode = sync_mode(config);
    let settings = Settings {
        dir: data_dir.path().join(STORE),
        mode,
        journal_file: storage.journal_file_size,
        journal_keep: storage.journal_keep,
        segment: storage.segment_size,
        disk_limit: disk_limit(config),
        paging_ratio: config.memory.paging_ratio,
        look_at_segments: LOOK_AT_SEGMENTS,
    };
    Ok(Store::open(Arc::clone(disk), settings, data_dir.identity().number(), memory)?)
}

/// When confirms go out. Says so when they mean less than they might.
fn sync_mode(config: &Config) -> SyncMode {
    let mode = match config.storage.sync {
        Sync::Fsync => SyncMode::Fsync,
        Sync::Interval => SyncMode::Interval(config.storage.sync_interval),
        Sync::Os => SyncMode::Os,
    };
    tell_of_mode(mode);
    mode
}

/// Says what a confirm means when it means less than it might.
fn tell_of_mode(mode: SyncMode) {
    match mode {
        SyncMode::Fsync => {}
        SyncMode::Interval(interval) => tracing::warn!(
            target: "leveret::store",
            "store.sync = interval: confirms do not wait for the disk, a power cut may take the last {} ms",
            interval.as_millis()
        ),
        SyncMode::Os => tracing::warn!(
            target: "leveret::store",
            "store.sync = os: confirms do not wait for the disk, confirmed messages survive the process but not a power cut"
        ),
    }
}

/// Bytes of messages and buffers at which publishers wait.
fn memory_limit(config: &Config) -> u64 {
    match config.memory.watermark {
        Watermark::Absolute(bytes) => bytes,
        Watermark::Relative(share) => (total_memory(config) as f64 * share) as u64,
    }
}

/// Bytes of free disk below which publishers wait.
fn disk_limit(config: &Config) -> u64 {
    match config.storage.disk_free_limit {
        DiskFreeLimit::Absolute(bytes) => bytes,
        DiskFreeLimit::Relative(share) => (total_memory(config) as f64 * share) as u64,
    }
}

/// Takes over new watermarks. Those that an operator has set meanwhile stay, unless the file says something new.
fn take_watermarks(broker: &Broker, config: &Config, changes: &Changes) {
    let has = |beginning: &str| changes.applied.iter().any(|key| key.starts_with(beginning));
    let has_memory = has("total_memory_available_override_value");
    if has_memory || has("vm_memory_high_watermark.") {
        broker.memory.set_limit(memory_limit(config));
    }
    if let Some(store) = broker.store.as_ref().filter(|_| has_memory || has("disk_free_limit.")) {
        store.set_disk_limit(disk_limit(config));
    }
}

/// What counts as the machine's memory, in bytes.
fn total_memory(config: &Config) -> u64 {
    config.memory.total_override.unwrap_or_else(machine_memory)
}

/// Memory of the machine or, where it is smaller, of the container, in bytes.
fn machine_memory() -> u64 {
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:")).and_then(|rest| {
        let kib: u64 = rest.trim().trim_end_matches("kB").trim().parse().ok()?;
        Some(kib * 1024)
    });
    let of_container = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|s| s.trim().parse().ok());
    let total = total.unwrap_or(UNKNOWN_MEMORY);
    of_container.map_or(total, |limit: u64| limit.min(total))
}

/// Listens, and says where.
fn open(address: ListenAddress, tcp: &Tcp) -> Result<(TcpListener, SocketAddr), NodeError> {
    let failed = |error| {
        let address = match address {
            ListenAddress::AnyInterface(port) => format!("port {port}"),
            ListenAddress::Socket(address) => address.to_string(),
        };
        NodeError::Listen { address, error }
    };
    let socket = bind(address, tcp).map_err(failed)?;
    let address = socket.local_addr().map_err(failed)?;
    Ok((socket, address))
}

fn bind(address: ListenAddress, tcp: &Tcp) -> io::Result<TcpListener> {
    let (address, domain) = match address {
        ListenAddress::AnyInterface(port) => (SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)), Domain::IPV6),
        ListenAddress::Socket(address) => (address, Domain::for_address(address)),
    };
    let socket = match Socket::new(domain, Type::STREAM, Some(Protocol::TCP)) {
        Ok(socket) => socket,
        // A machine without IPv6 still has interfaces.
        Err(_) if address.ip().is_unspecified() => {
            let address = SocketAddr::from((std::net::Ipv4Addr::UNSPECIFIED, address.port()));
            return bind(ListenAddress::Socket(address), tcp);
        }
        Err(error) => return Err(error),
    };
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(tcp.backlog).unwrap_or(i32::MAX))?;
    TcpListener::from_std(socket.into())
}

async fn accept(
    door: Arc<Door>,
    mut phases: watch::Receiver<Phase>,
    shared: Arc<Shared>,
    tcp: Tcp,
    entrance: Entrance,
    mut stopping: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    let mut listener = door.open();
    loop {
        tokio::select! {
            _ = stopping.changed() => break,
            Ok(()) = phases.changed() => {
                let is_open = *phases.borrow_and_update() == Phase::Running;
                listener = if is_open { door.open().or(listener) } else { None };
                if !is_open {
                    door.shut();
                }
            }
            accepted = next(listener.as_ref()) => match accepted {
                Ok((stream, peer)) => serve(&mut connections, stream, peer, &shared, &tcp, &entrance),
                Err(error) => {
                    // Out of file descriptors, most likely: clients wait in the backlog meanwhile.
                    tracing::error!(target: "leveret::connection", "cannot accept a connection: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// The next connection; none comes by a listener that is shut.
async fn next(listener: Option<&TcpListener>) -> io::Result<(TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => std::future::pending().await,
    }
}

fn serve(
    connections: &mut JoinSet<()>,
    stream: TcpStream,
    peer: SocketAddr,
    shared: &Arc<Shared>,
    tcp: &Tcp,
    entrance: &Entrance,
) {
    let options = set_options(&stream, tcp);
    match options.and_then(|()| stream.local_addr()) {
        Ok(local) => {
            let client = Client::new(peer, local);
            match entrance.is_open() {
                true => connections.spawn(driver::serve(stream.into(), client, Arc::clone(shared))),
                false => connections.spawn(entrance::serve(stream, client, entrance.clone(), Arc::clone(shared))),
            };
        }
        Err(error) => tracing::debug!(target: "leveret::connection", "{peer} left at once: {error}"),
    }
}

fn set_options(stream: &TcpStream, tcp: &Tcp) -> io::Result<()> {
    stream.set_nodelay(tcp.nodelay)?;
    let socket = SockRef::from(stream);
    if tcp.keepalive {
        socket.set_tcp_keepalive(&TcpKeepalive::new())?;
    }
    if let Some(bytes) = tcp.sndbuf {
        socket.set_send_buffer_size(bytes)?;
    }
    if let Some(bytes) = tcp.recbuf {
        socket.set_recv_buffer_size(bytes)?;
    }
    if tcp.linger.is_some() {
        socket.set_linger(tcp.linger)?;
    }
    Ok(())
}

/// Moves the coarse clock on (seconds, as ages of deliveries are measured), and tells the operator of the watermark.
async fn keep_clock(clock: Arc<AtomicU32>, memory: &'static MemoryAccount, mut stopping: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    ticks.tick().await;
    let mut over = false;
    loop {
        tokio::select! {
            _ = stopping.changed() => return,
            _ = ticks.tick() => {}
        }
        clock.fetch_add(1, Ordering::Relaxed);
        if memory.is_over() != over {
            over = !over;
            log_watermark(memory, over);
        }
    }
}

/// Tells of alarms as events.
async fn tell_alarms(broker: Arc<Broker>, mut stopping: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    let mut were = [false; 2];
    loop {
        tokio::select! {
            _ = stopping.changed() => return,
            _ = ticks.tick() => {}
        }
        let are = [broker.memory.is_over(), broker.store.as_ref().is_some_and(|store| store.disk_alarm())];
        for (source, (was, is)) in ["memory", "disk"].into_iter().zip(were.into_iter().zip(are)) {
            let key = if is { "alarm.set" } else { "alarm.cleared" };
            if was != is {
                broker.tell_event(|| Event::new(key).text("source", source).text("node", broker.node_name()));
            }
        }
        were = are;
    }
}

/// Has the broker compare disk quotas with what is stored.
async fn keep_quotas(broker: Arc<Broker>, mut stopping: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(LOOK_AT_QUOTAS_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = stopping.changed() => return,
            _ = ticks.tick() => {}
        }
        if broker.has_quotas() {
            let broker = Arc::clone(&broker);
            if tokio::task::spawn_blocking(move || broker.measure_quotas()).await.is_err() {
                tracing::error!(target: "leveret", "disk quotas are not looked at any more");
                return;
            }
        }
    }
}

fn log_watermark(memory: &MemoryAccount, over: bool) {
    let (used, limit) = (memory.used() >> 20, memory.limit() >> 20);
    if over {
        tracing::warn!(
            target: "leveret",
            "messages and buffers use {used} MiB, the watermark is {limit} MiB: publishers wait until consumers make room"
        );
    } else {
        tracing::info!(target: "leveret", "{used} MiB in use, below the watermark of {limit} MiB: publishers go on");
    }
}
