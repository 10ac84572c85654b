//! What a node has: virtual hosts, users, the catalog, the account of memory.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use dashmap::DashMap;
use parking_lot::{Mutex, MutexGuard, RwLock};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::block_in_place;

use super::changes::Report;
use super::channels::ChannelCounts;
use super::command::{Applied, Command};
use super::events::{self, Events};
use super::log_exchange::LogExchange;
use super::parameters::GlobalParameters;
use super::post::{LetterCounts, Post};
use super::reload::Live;
use super::throttles::Throttles;
use super::topology::Vhost;
use super::{apply, policies};
use crate::auth::{Attempts, Directory, Hashing, LoginCounts, Pattern, Permissions, User, password};
use crate::backends::{Backends, BackendsError};
use crate::clock::Clock;
use crate::config::{Config, DefaultUser, Secret};
use crate::frames::{Refusal, Table};
use crate::message::memory::MemoryAccount;
use crate::persist::record::{PermissionRecord, QueueRecord, VhostRecord};
use crate::persist::recovery::FoundQueue;
use crate::persist::store::{Opened, StoreError};
use crate::persist::{Catalog, CatalogError, CatalogWriter, Change, Record, Store};
use crate::queue::Outlet;
use crate::queue::counting::Moved;
use crate::queue::letter::Postman;
use crate::queue::local::Shared;
use crate::queue::timekeeper::Timekeeper;
use crate::stats::{ChurnCounts, Totals};

/// How long a change usually waits at most for those before it.
const SHORT_TURN: Duration = Duration::from_millis(1);

/// The parameter of the cluster that is its name.
pub const CLUSTER_NAME: &str = "cluster_name";

/// A channel that waits for direct replies (`amq.rabbitmq.reply-to`).
#[derive(Clone)]
pub struct ReplyAddress {
    pub outlet: Weak<dyn Outlet>,
    pub channel: u16,
    pub consumer_tag: Arc<str>,
}

/// Why a node cannot start with what it has stored.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    #[error(transparent)]
    Backends(#[from] BackendsError),
    #[error("the stored {what} cannot be used: {reason}")]
    Record { what: String, reason: String },
    #[error("the default user cannot be made: {0}")]
    DefaultUser(String),
    #[error("an operator policy of the configuration cannot be made: {0}")]
    DefaultPolicy(String),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("no thread can be started: {0}")]
    Thread(#[from] std::io::Error),
}

/// Something that connections depend on has been removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removed<'a> {
    Vhost(&'a str),
    User(&'a str),
}

/// Told of removals, so that connections can be ended: this floor does not know them.
type OnRemoved = Box<dyn Fn(Removed<'_>) + Send + Sync>;

/// The state of a node that all connections share.
pub struct Broker {
    /// As it was at the start.
    pub config: Config,
    pub(super) live: Live,
    pub memory: &'static MemoryAccount,
    pub clock: Arc<Clock>,
    timekeeper: Arc<Timekeeper>,
    post: Arc<Post>,
    for_queues: Arc<Shared>,
    pub directory: Directory,
    /// Who is asked besides.
    pub backends: Backends,
    /// Most channels of a connection that logs in now; 0 is no limit.
    pub channel_max: AtomicU16,
    /// Logins that have failed.
    pub attempts: Mutex<Attempts>,
    /// All logins.
    pub logins: LoginCounts,
    pub replies: DashMap<String, ReplyAddress>,
    pub(super) channels: ChannelCounts,
    pub(super) vhosts: RwLock<HashMap<String, Arc<Vhost>>>,
    pub(super) global_parameters: GlobalParameters,
    /// Rates of publishing.
    pub throttles: Throttles,
    pub(super) catalog: CatalogWriter,
    /// Where messages survive; none in a broker that keeps everything in memory.
    pub store: Option<Arc<Store>>,
    /// Queues that were found in the store and not yet in the catalog.
    found: Mutex<HashMap<u64, FoundQueue>>,
    /// What may have been lost of queues of which the store has nothing.
    lost_of_any: Option<Arc<str>>,
    /// Exclusive queues, number and name, by the connection that owns them.
    exclusive: DashMap<u64, HashMap<u64, Arc<str>>>,
    on_removed: OnceLock<OnRemoved>,
    /// Where events are published.
    pub(super) events: Option<Arc<Events>>,
    /// Where the log is published.
    pub(super) log_exchange: LogExchange,
    /// One change of metadata at a time.
    pub(super) changing: Mutex<()>,
    next_id: AtomicU64,
    /// What channels and connections that have ended have counted.
    pub totals: Totals,
    pub churn: ChurnCounts,
    pub dead_letters: LetterCounts,
}

impl Broker {
    /// Loads the catalog; an empty one gets the default virtual host, user and permissions.
    ///
    /// # Errors
    /// When the catalog cannot be read whole, or holds what this version cannot use.
    pub fn start(
        config: Config,
        catalog: Box<dyn Catalog>,
        memory: &'static MemoryAccount,
        opened: Option<Opened>,
    ) -> Result<Arc<Self>, StartError> {
        let clock = Arc::new(Clock::system());
        let timekeeper = Timekeeper::start(Arc::clone(&clock))?;
        let (store, found, lost_of_any) = opened.map_or_else(Default::default, |o| (Some(o.store), o.queues, o.of_any));
        let catalog = CatalogWriter::new(catalog)?;
        let mut records = catalog.load()?;
        let directory = Directory::new(config.auth.loopback_users.clone());
        let backends = Backends::new(&config.auth)?;
        let events = Events::new(&config.events);
        let post = Arc::<Post>::default();
        let for_queues = Arc::new(Shared {
            store: store.clone(),
            clock: Arc::clone(&clock),
            timekeeper: Arc::clone(&timekeeper),
            postman: Arc::downgrade(&(Arc::clone(&post) as Arc<dyn Postman>)),
            moved: Moved::default(),
        });
        let broker = Arc::new(Self {
            channel_max: AtomicU16::new(config.limits.channel_max),
            live: Live::new(&config),
            memory,
            clock,
            timekeeper,
            post,
            for_queues,
            directory,
            backends,
            attempts: Mutex::default(),
            logins: LoginCounts::new(config.auth.track_source),
            config,
            replies: DashMap::new(),
            channels: ChannelCounts::default(),
            vhosts: RwLock::default(),
            global_parameters: GlobalParameters::default(),
            throttles: Throttles::default(),
            catalog,
            store,
            found: Mutex::new(found),
            lost_of_any,
            exclusive: DashMap::new(),
            on_removed: OnceLock::new(),
            events,
            log_exchange: LogExchange::default(),
            changing: Mutex::new(()),
            next_id: AtomicU64::new(1),
            totals: Totals::default(),
            churn: ChurnCounts::default(),
            dead_letters: LetterCounts::default(),
        });
        // Whoever brings definitions brings users too: there is no password that everybody knows.
        if records.is_empty() && broker.config.definitions.load.is_empty() {
            broker.make_defaults()?;
        }
        records.sort_by_key(Record::rank);
        for record in records {
            apply::restore(&broker, record)?;
        }
        if broker.catalog.is_rebuilt() {
            broker.adopt_unknown()?;
            broker.catalog.settle()?;
        }
        broker.drop_unknown();
        if let Some(store) = &broker.store {
            store.start_keeper()?;
        }
        // Letters need exchanges and bindings: nothing leaves before all of them are there.
        broker.post.open(&broker);
        if let Some(events) = &broker.events {
            if broker.vhost(&events.vhost).is_none() {
                tracing::warn!(target: "leveret", "there is no vhost '{}' to publish events in", events.vhost);
            }
            events.start(&broker)?;
        }
        for vhost in broker.vhosts() {
            vhost.wake_queues();
        }
        Ok(broker)
    }

    /// Queues that have changed since they were counted last.
    pub fn moved(&self) -> &Moved {
        &self.for_queues.moved
    }

    /// What queues share.
    pub(super) fn for_queues(&self) -> Arc<Shared> {
        Arc::clone(&self.for_queues)
    }

    /// What the store has of a queue.
    pub(super) fn take_found(&self, store_id: u64) -> Option<FoundQueue> {
        let found = self.found.lock().remove(&store_id);
        found.or_else(|| {
            let (store, lost) = self.store.as_ref().zip(self.lost_of_any.as_ref())?;
            Some(FoundQueue::lost(store.new_shelf(store_id), lost))
        })
    }

    /// A catalog that was rebuilt from an older copy, or put back as one, may lack queues that have messages: they come back,
    /// with what the store knows of their names and without their arguments.
    fn adopt_unknown(&self) -> Result<(), StartError> {
        let found: Vec<_> = self.found.lock().iter().map(|(id, f)| (*id, f.count(), f.names.clone())).collect();
        for (id, count, names) in found {
            let Some(record) = self.record_for_unknown(id, names).filter(|_| count > 0) else { continue };
            tracing::error!(
                target: "leveret::store",
                "{count} messages are of a queue that the rebuilt catalog lacks. They are in queue '{}' of vhost '{}' now, \
                 which has no arguments and no bindings.",
                record.name,
                record.vhost
            );
            let record = Record::Queue(record);
            self.catalog.write(&[Change::Put(record.clone())])?;
            apply::restore(self, record)?;
        }
        Ok(())
    }

    /// A queue under its old name, where that is known and free; `None` when there is no virtual host to have it.
    fn record_for_unknown(&self, id: u64, names: Option<(String, String)>) -> Option<QueueRecord> {
        let (vhost, name) = names.unwrap_or_default();
        let vhost = self.vhost(&vhost).or_else(|| self.vhost(&self.config.defaults.vhost));
        let vhost = vhost.or_else(|| self.vhosts().into_iter().next())?;
        let is_free = !name.is_empty() && vhost.queue(&name).is_none();
        let name = if is_free { name } else { format!("recovered-{id:016x}") };
        let (vhost, arguments) = (vhost.name.to_string(), Table::default());
        Some(QueueRecord { vhost, name, durable: true, auto_delete: false, arguments, id })
    }

    /// Queues that the store has and the catalog has not were deleted just before the node ended: the catalog forgets a queue
    /// a moment before the store does.
    fn drop_unknown(&self) {
        for (id, found) in std::mem::take(&mut *self.found.lock()) {
            let count = found.count();
            if count > 0 {
                let of = found.names.map_or_else(
                    || format!("the queue of the number {id:016x}"),
                    |(vhost, name)| format!("queue '{name}' in vhost '{vhost}'"),
                );
                tracing::warn!(
                    target: "leveret::store",
                    "{of} is not in the catalog: it was deleted, and {count} messages of it are removed"
                );
            }
        }
    }

    /// What an empty catalog begins with. All of it is written as one: a crash leaves all or none.
    ///
    /// # Errors
    /// When what the configuration says of them cannot be.
    pub fn make_defaults(&self) -> Result<(), StartError> {
        let d = &self.config.defaults;
        let permissions = Permissions { configure: d.configure.clone(), write: d.write.clone(), read: d.read.clone() };
        let mut records = vec![
            Record::Vhost(VhostRecord { description: "Default virtual host".to_owned(), ..default_vhost(&d.vhost) }),
            Record::User(self.new_user(&d.user, d.pass.reveal(), &d.user_tags)?),
            Record::Permission(PermissionRecord { user: d.user.clone(), vhost: d.vhost.clone(), permissions }),
        ];
        for user in &d.users {
            self.add_default_user(user, &mut records)?;
        }
        let policies = policies::defaults_of(&self.config, &d.vhost).map_err(StartError::DefaultPolicy)?;
        records.extend(policies.into_iter().map(|policy| Record::Policy(policy.record)));
        // What cannot be used is found before it is stored.
        for record in &records {
            apply::restore(self, record.clone())?;
        }
        let changes: Vec<_> = records.into_iter().map(Change::Put).collect();
        self.catalog.write(&changes)?;
        Ok(())
    }

    /// A user of `default_users`: with what is set, and the default permissions where nothing is.
    fn add_default_user(&self, user: &DefaultUser, records: &mut Vec<Record>) -> Result<(), StartError> {
        let failed = || StartError::DefaultUser(format!("{}: a password is missing", user.name));
        let password = user.password.as_ref().map(Secret::reveal).ok_or_else(failed)?;
        records.push(Record::User(self.new_user(&user.name, password, &user.tags)?));
        let permission = self.default_permission(user, &self.config.defaults.vhost)?;
        records.extend(permission.map(Record::Permission));
        Ok(())
    }

    /// What those of `default_users` who are still there may do in a new virtual host.
    pub(super) fn default_permissions(&self, vhost: &str) -> Result<Vec<PermissionRecord>, StartError> {
        let users = self.config.defaults.users.iter().filter(|user| self.directory.user(&user.name).is_some());
        users.filter_map(|user| self.default_permission(user, vhost).transpose()).collect()
    }

    /// What a user of `default_users` may do in a virtual host, if its pattern is for that.
    fn default_permission(&self, user: &DefaultUser, vhost: &str) -> Result<Option<PermissionRecord>, StartError> {
        let d = &self.config.defaults;
        let pattern = Pattern::new(user.vhost_pattern.as_deref().unwrap_or(".*"));
        let pattern = pattern.map_err(|e| StartError::DefaultUser(format!("{}: {e}", user.name)))?;
        if !pattern.matches(vhost) {
            return Ok(None);
        }
        let or_default = |set: &Option<String>, default: &str| set.clone().unwrap_or_else(|| default.to_owned());
        let permissions = Permissions {
            configure: or_default(&user.configure, &d.configure),
            write: or_default(&user.write, &d.write),
            read: or_default(&user.read, &d.read),
        };
        Ok(Some(PermissionRecord { user: user.name.clone(), vhost: vhost.to_owned(), permissions }))
    }

    fn new_user(&self, name: &str, password: &str, tags: &[String]) -> Result<User, StartError> {
        let hashing = Hashing::parse(&self.config.auth.password_hashing).unwrap_or_default();
        let hash = password::hash(password.as_bytes(), hashing).map_err(|e| StartError::DefaultUser(e.to_string()))?;
        Ok(User { password_hash: Some(hash), hashing, tags: tags.to_vec(), ..User::new(name) })
    }

    /// Checks a change, writes it to the catalog, makes it visible. The one place for all changes of metadata.
    ///
    /// A durable change is visible at once but may be answered only when it is on disk:
    /// see [`Applied::durable_at`] and [`Broker::durable`].
    ///
    /// # Errors
    /// The refusal that the client gets.
    pub fn apply(&self, command: Command) -> Result<Applied, Refusal> {
        self.apply_as(command, events::INTERNAL)
    }

    /// The same, by a user of that name.
    ///
    /// # Errors
    /// The refusal that the client gets.
    pub fn apply_as(&self, command: Command, user: &str) -> Result<Applied, Refusal> {
        let mut applied = {
            let _one_at_a_time = self.turn_to_change();
            let report = Report::of(self, &command);
            if let Some(events) = &self.events {
                events.begin(user);
            }
            let applied = apply::apply(self, command);
            if let Some(events) = &self.events {
                events.end(self.clock.now_ms(), applied.is_ok());
            }
            if let Some(report) = &report {
                report.tell(self, user, applied.as_ref().err());
            }
            applied?
        };
        if let Some(spread) = applied.spread.take() {
            spread.run();
        }
        Ok(applied)
    }

    /// Waits for the turn to change something. A long import before must not take a runtime's threads out of service, one for
    /// each connection that waits: after a moment, the runtime is told that this thread blocks, and goes on with another.
    pub(super) fn turn_to_change(&self) -> MutexGuard<'_, ()> {
        if let Some(turn) = self.changing.try_lock_for(SHORT_TURN) {
            return turn;
        }
        let can_say_so = Handle::try_current().is_ok_and(|r| r.runtime_flavor() == RuntimeFlavor::MultiThread);
        if can_say_so { block_in_place(|| self.changing.lock()) } else { self.changing.lock() }
    }

    /// Waits until a change is on disk.
    ///
    /// # Errors
    /// 541 when it cannot be said that it is.
    pub async fn durable(&self, number: u64) -> Result<(), Refusal> {
        self.catalog.flushed(number).await.map_err(|e| internal(&e))
    }

    /// True when that change is on disk already.
    pub fn is_durable(&self, number: u64) -> bool {
        self.catalog.is_flushed(number)
    }

    /// Closes the store and the catalog, whoever else still holds this broker. Blocks on the disk.
    pub fn close(&self) {
        self.timekeeper.close();
        if let Some(events) = &self.events {
            events.close();
        }
        self.log_exchange.close();
        if let Some(store) = &self.store {
            store.close();
        }
        self.catalog.close();
    }

    pub fn vhost(&self, name: &str) -> Option<Arc<Vhost>> {
        self.vhosts.read().get(name).cloned()
    }

    /// All virtual hosts, by name.
    pub fn vhosts(&self) -> Vec<Arc<Vhost>> {
        let mut all: Vec<_> = self.vhosts.read().values().cloned().collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// Has `on_removed` called after each removal. The first caller counts: the node.
    pub fn watch_removals(&self, on_removed: impl Fn(Removed<'_>) + Send + Sync + 'static) {
        // A second watcher would be a mistake of the program, and is not served.
        let _ = self.on_removed.set(Box::new(on_removed));
    }

    pub(super) fn removed(&self, what: Removed<'_>) {
        if let Some(on_removed) = self.on_removed.get() {
            on_removed(what);
        }
    }

    /// Notes an exclusive queue.
    pub(super) fn own(&self, connection: u64, queue: u64, name: &Arc<str>) {
        self.exclusive.entry(connection).or_default().insert(queue, Arc::clone(name));
    }

    /// Forgets an exclusive queue that has been deleted.
    pub(super) fn disown(&self, connection: u64, queue: u64) {
        if let Some(mut queues) = self.exclusive.get_mut(&connection) {
            queues.remove(&queue);
        }
    }

    /// The exclusive queues of a connection that ends.
    pub fn take_exclusive(&self, connection: u64) -> Vec<(u64, Arc<str>)> {
        self.exclusive.remove(&connection).map(|(_, queues)| queues.into_iter().collect()).unwrap_or_default()
    }

    /// The node's name, as clients and operators are told.
    pub fn node_name(&self) -> &str {
        self.config.identity.node_name.as_deref().unwrap_or("leveret@localhost")
    }

    /// The cluster's name: as it was set at run time, or by the configuration; else the node's, as in RabbitMQ.
    pub fn cluster_name(&self) -> String {
        let set = self.global_parameter(CLUSTER_NAME).and_then(|p| serde_json::from_str(&p.value).ok());
        let configured = || self.config.identity.cluster_name.clone();
        set.or_else(configured).unwrap_or_else(|| self.node_name().to_owned())
    }

    /// A number that nothing else in this process has.
    pub fn new_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }
}

/// A virtual host without anything special.
pub fn default_vhost(name: &str) -> VhostRecord {
    VhostRecord {
        name: name.to_owned(),
        description: String::new(),
        tags: Vec::new(),
        default_queue_type: None,
        protected: None,
    }
}

/// What a client hears when the disk fails it.
pub(super) fn internal(error: &CatalogError) -> Refusal {
    Refusal::new(crate::frames::ReplyCode::InternalError, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::persist::catalog::NoCatalog;

    /// A large import holds the lock while declarations wait for it on the only thread of a runtime.
    #[test]
    fn who_waits_for_a_long_change_does_not_hold_up_the_runtime() {
        let broker = Broker::start(Config::default(), Box::new(NoCatalog), MemoryAccount::new(1 << 30), None).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let import = broker.changing.lock();
        let waiting = runtime.spawn({
            let broker = Arc::clone(&broker);
            async move { broker.apply(Command::PutVhost(default_vhost("v"))).map(|_| ()) }
        });
        // It would wait for ever if the one thread did nothing but wait.
        let (tell, told) = std::sync::mpsc::channel();
        for _ in 0..100 {
            let tell = tell.clone();
            runtime.spawn(async move { tell.send(()) });
        }
        (0..100).for_each(|_| told.recv().unwrap());
        drop(import);
        runtime.block_on(waiting).unwrap().unwrap();
        assert!(broker.vhost("v").is_some());
    }
}
