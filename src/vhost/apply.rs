//! Commands carried out: check, write to the catalog, publish.

use std::iter;
use std::sync::Arc;

use super::broker::{Broker, Removed, StartError, internal};
use super::command::{Applied, Command};
use super::events::told;
use super::throttles::Of;
use super::topology::{Exchange, Keeps, Vhost};
use super::{Policy, bindings, declare, events, limits, log_exchange, parameters, policies};
use crate::auth::{PatternError, Permissions, Rules};
use crate::config::RatesMode;
use crate::exchange::{Matching, Settings};
use crate::frames::{Refusal, Table};
use crate::persist::record::{ExchangeRecord, PermissionRecord, TopicPermissionRecord, VhostRecord};
use crate::persist::{Change, Record};

/// The exchanges that every virtual host has.
const PREDECLARED: [(&str, Matching, bool); 6] = [
    ("amq.direct", Matching::Direct, false),
    ("amq.fanout", Matching::Fanout, false),
    ("amq.topic", Matching::Topic, false),
    ("amq.headers", Matching::Headers, false),
    ("amq.match", Matching::Headers, false),
    ("amq.rabbitmq.trace", Matching::Topic, true),
];

/// The exchanges that a new virtual host begins with.
pub(super) fn predeclared(broker: &Broker, vhost: &str) -> impl Iterator<Item = (Settings, ExchangeRecord)> {
    let has_events = broker.events.as_ref().is_some_and(|events| events.vhost == vhost);
    let for_events = has_events.then_some((events::EXCHANGE, Matching::Topic, true));
    let has_log = broker.config.log.exchange.on && broker.config.defaults.vhost == vhost;
    let for_log = has_log.then_some((log_exchange::EXCHANGE, Matching::Topic, true));
    PREDECLARED.into_iter().chain(for_events).chain(for_log).map(move |(name, matching, internal)| {
        let settings = Settings::from(matching);
        let kind = settings.kind.name().to_owned();
        let record = ExchangeRecord { name: name.to_owned(), kind, internal, ..default_exchange(vhost) };
        (settings, record)
    })
}

/// Carries out one command. The caller holds the lock that makes changes one at a time.
pub(super) fn apply(broker: &Broker, command: Command) -> Result<Applied, Refusal> {
    match command {
        Command::PutVhost(record) => put_vhost(broker, record),
        Command::ProtectVhost { name, on } => protect_vhost(broker, &name, on),
        Command::DeleteVhost { name, even_protected } => delete_vhost(broker, &name, even_protected),
        Command::PutUser(user) => {
            let applied = persist(broker, &[Change::Put(Record::User(user.clone()))])?;
            if broker.tells_events() {
                let before = broker.directory.user(&user.name);
                told::user_put(&user, before.as_deref()).into_iter().for_each(|event| broker.note_event(|| event));
            }
            broker.directory.put_user(user);
            Ok(applied)
        }
        Command::DeleteUser { name } => delete_user(broker, &name),
        Command::SetPermissions(record) => set_permissions(broker, record),
        Command::ClearPermissions { user, vhost } => clear_permissions(broker, &user, &vhost),
        Command::SetTopicPermissions(record) => set_topic_permissions(broker, record),
        Command::ClearTopicPermissions { user, vhost, exchange } => {
            clear_topic_permissions(broker, &user, &vhost, exchange.as_deref())
        }
        Command::SetVhostLimits(record) => limits::set_of_vhost(broker, record),
        Command::ClearVhostLimits { vhost } => limits::clear_of_vhost(broker, vhost),
        Command::SetUserLimits { user, max_connections, max_channels } => {
            limits::set_of_user(broker, &user, max_connections, max_channels)
        }
        Command::ClearUserLimits { user } => limits::set_of_user(broker, &user, None, None),
        Command::SetPolicy(record) => policies::set(broker, record),
        Command::ClearPolicy { vhost, name, operator } => policies::clear(broker, &vhost, &name, operator),
        Command::SetParameter(record) => parameters::set(broker, record),
        Command::ClearParameter { vhost, component, name } => parameters::clear(broker, &vhost, &component, &name),
        Command::SetGlobalParameter(record) => parameters::set_global(broker, record),
        Command::ClearGlobalParameter { name } => parameters::clear_global(broker, &name),
        Command::DeclareExchange(record) => declare::exchange(broker, record),
        Command::DeleteExchange { vhost, name, if_unused } => {
            declare::delete_exchange(broker, &vhost, &name, if_unused)
        }
        Command::DeclareQueue { record, exclusive_owner } => declare::queue(broker, record, exclusive_owner),
        Command::DeleteQueue(delete) => declare::delete_queue(broker, &delete),
        Command::Bind { record, connection } => bindings::bind(broker, record, connection),
        Command::Unbind { record, connection } => bindings::unbind(broker, &record, connection),
    }
}

/// Writes changes; no change, no number.
pub(super) fn persist(broker: &Broker, changes: &[Change]) -> Result<Applied, Refusal> {
    let durable_at = match changes {
        [] => None,
        _ => Some(broker.catalog.write(changes).map_err(|e| internal(&e))?),
    };
    Ok(Applied { durable_at, ..Applied::default() })
}

/// What a command about an existing durable object must wait for: an earlier change may still be on its way to disk.
pub(super) fn settled(broker: &Broker, durable: bool) -> Option<u64> {
    durable.then(|| broker.catalog.last_written()).filter(|n| !broker.catalog.is_flushed(*n))
}

/// The virtual host of a command.
pub(super) fn vhost_of(broker: &Broker, name: &str) -> Result<Arc<Vhost>, Refusal> {
    broker.vhost(name).ok_or_else(|| Refusal::not_allowed(format!("vhost {name} not found")))
}

/// What a new virtual host begins with, by the configuration: operator policies, and what default users may do there.
pub(super) struct NewVhost {
    pub record: VhostRecord,
    policies: Vec<Policy>,
    permissions: Vec<PermissionRecord>,
}

impl NewVhost {
    /// Checks whether there may be one; `others` is how many there are already.
    pub fn check(broker: &Broker, record: VhostRecord, others: usize) -> Result<Self, Refusal> {
        let name = &record.name;
        if let Some(most) = broker.limits().vhost_max
            && others as u64 >= most
        {
            let text = format!("cannot create vhost '{name}': vhost limit of {most} is reached");
            return Err(Refusal::precondition_failed(text));
        }
        let permissions = broker.default_permissions(name);
        let permissions = permissions.map_err(|error| Refusal::precondition_failed(error.to_string()))?;
        for PermissionRecord { user, vhost, permissions } in &permissions {
            Rules::compile(user, vhost, permissions, []).map_err(unusable_default)?;
        }
        let policies = policies::defaults_of(&broker.config, name).map_err(Refusal::precondition_failed)?;
        Ok(Self { record, policies, permissions })
    }

    /// What the catalog has to hear of it.
    pub fn changes(&self) -> impl Iterator<Item = Change> {
        let policies = self.policies.iter().map(|policy| Record::Policy(policy.record.clone()));
        let permissions = self.permissions.iter().cloned().map(Record::Permission);
        iter::once(Record::Vhost(self.record.clone())).chain(policies).chain(permissions).map(Change::Put)
    }

    /// Makes it visible.
    pub fn put(self, broker: &Broker) {
        let Self { record, policies, permissions } = self;
        let event = broker.tells_events().then(|| told::vhost_created(&record));
        let vhost = add_vhost(broker, record);
        if let Some(event) = event {
            broker.note_event(|| told::exchange_created(&default_exchange(&vhost.name), None));
            for exchange in vhost.topology.read().exchanges.values() {
                broker.note_event(|| told::exchange_created(&exchange.record, None));
            }
            broker.note_event(|| event);
        }
        for policy in policies {
            vhost.policies.write().put(Arc::new(policy));
        }
        for permission in permissions {
            broker.note_event(|| told::permission_created(&permission));
            let PermissionRecord { user, vhost, permissions } = permission;
            // Its patterns have been compiled once.
            let _ = broker.directory.set_permissions(&user, &vhost, permissions);
        }
    }
}

fn put_vhost(broker: &Broker, record: VhostRecord) -> Result<Applied, Refusal> {
    let Some(vhost) = broker.vhost(&record.name) else {
        let new = NewVhost::check(broker, record, broker.vhosts().len())?;
        let applied = persist(broker, &new.changes().collect::<Vec<_>>())?;
        new.put(broker);
        return Ok(applied);
    };
    let applied = persist(broker, &[Change::Put(Record::Vhost(record.clone()))])?;
    vhost.set_record(record);
    Ok(applied)
}

/// Changes nothing else of it, whatever is changed at the same time; one that is gone does not come back.
fn protect_vhost(broker: &Broker, name: &str, on: bool) -> Result<Applied, Refusal> {
    let vhost = vhost_of(broker, name)?;
    put_vhost(broker, VhostRecord { protected: Some(on), ..(*vhost.record()).clone() })
}

fn unusable_default(error: PatternError) -> Refusal {
    Refusal::precondition_failed(format!("default_users: {error}"))
}

fn add_vhost(broker: &Broker, record: VhostRecord) -> Arc<Vhost> {
    let name = record.name.clone();
    let vhost = Vhost::new(record, limits::configured(&broker.config, &name));
    let is_detailed = broker.config.management.rates_mode == RatesMode::Detailed;
    let vhost = Arc::new(if is_detailed { vhost.with_flows() } else { vhost });
    for (settings, record) in predeclared(broker, &name) {
        predeclare(broker, &vhost, settings, record);
    }
    broker.vhosts.write().insert(name, Arc::clone(&vhost));
    vhost
}

fn predeclare(broker: &Broker, vhost: &Vhost, settings: Settings, record: ExchangeRecord) {
    let keeps = Keeps { memory: broker.memory, store: None, now: 0, delays: None };
    let name = record.name.as_str().into();
    let exchange = Arc::new(Exchange::new(broker.new_id(), settings, record, keeps));
    vhost.topology.write().exchanges.insert(name, exchange);
}

/// An exchange of the broker's own: for events or the log. It stays as long as bindings of it are stored, also while what is
/// published to it is switched off.
pub(super) fn add_own_exchange(broker: &Broker, vhost: &Vhost, name: &str) {
    let settings = Settings::from(Matching::Topic);
    let (name, kind) = (name.to_owned(), settings.kind.name().to_owned());
    predeclare(broker, vhost, settings, ExchangeRecord { name, kind, internal: true, ..default_exchange(&vhost.name) });
}

/// The exchange without a name, which is in no table.
fn default_exchange(vhost: &str) -> ExchangeRecord {
    ExchangeRecord {
        vhost: vhost.to_owned(),
        name: String::new(),
        kind: Settings::from(Matching::Direct).kind.name().to_owned(),
        durable: true,
        auto_delete: false,
        internal: false,
        arguments: Table::default(),
        id: 0,
    }
}

/// Whether a virtual host may be deleted.
pub(super) fn check_deletion(vhost: &Vhost, even_protected: bool) -> Result<(), Refusal> {
    if vhost.record().is_protected() && !even_protected {
        let name = &vhost.name;
        return Err(Refusal::precondition_failed(format!(
            "Refusing to delete virtual host '{name}' because it is protected from deletion"
        )));
    }
    Ok(())
}

fn delete_vhost(broker: &Broker, name: &str, even_protected: bool) -> Result<Applied, Refusal> {
    let Some(vhost) = broker.vhost(name) else { return Ok(Applied::default()) };
    check_deletion(&vhost, even_protected)?;
    let applied =
        delete_where(broker, |record| record.vhost() == Some(name) || Of::owner(record) == Some(Of::Vhost(name)))?;
    remove_vhost(broker, &vhost);
    Ok(applied)
}

/// Takes a virtual host and all that is in it out of the broker, after it has left the catalog.
pub(super) fn remove_vhost(broker: &Broker, vhost: &Vhost) {
    let name = &*vhost.name;
    broker.vhosts.write().remove(name);
    if broker.tells_events() {
        note_end(broker, vhost);
    }
    broker.directory.remove_vhost(name);
    let queues = vhost.topology.write().clear();
    vhost.by_name.forget();
    for queue in queues {
        // Nothing objects, so there is nothing to learn from the answer.
        let _ = queue.delete(|_| false);
    }
    vhost.move_epoch();
    broker.forget_rates(Of::Vhost(name));
    broker.removed(Removed::Vhost(name));
}

/// Notes what goes with a virtual host.
fn note_end(broker: &Broker, vhost: &Vhost) {
    let name = &vhost.name;
    for (user, ..) in broker.directory.permissions().iter().filter(|(_, of, _)| **of == **name) {
        broker.note_event(|| told::permission("permission.deleted", user, name));
    }
    let topology = vhost.topology.read();
    topology.queues.keys().for_each(|queue| broker.note_event(|| told::queue_deleted(name, queue)));
    topology.exchanges.keys().for_each(|exchange| broker.note_event(|| told::exchange_deleted(name, exchange)));
    broker.note_event(|| told::exchange_deleted(name, ""));
    broker.note_event(|| told::vhost_deleted(name));
}

/// Deletes every stored record that a rare command takes along.
fn delete_where(broker: &Broker, matches: impl Fn(&Record) -> bool) -> Result<Applied, Refusal> {
    let stored = broker.catalog.load().map_err(|e| internal(&e))?;
    let changes: Vec<_> = stored.into_iter().filter(matches).map(Change::Delete).collect();
    persist(broker, &changes)
}

fn delete_user(broker: &Broker, name: &str) -> Result<Applied, Refusal> {
    let applied =
        delete_where(broker, |record| record.user() == Some(name) || Of::owner(record) == Some(Of::User(name)))?;
    remove_user(broker, name);
    Ok(applied)
}

/// Takes a user out of the broker, after it has left the catalog.
pub(super) fn remove_user(broker: &Broker, name: &str) {
    if broker.directory.delete_user(name) {
        broker.note_event(|| told::user_deleted(name));
    }
    broker.forget_rates(Of::User(name));
    broker.removed(Removed::User(name));
}

fn set_permissions(broker: &Broker, record: PermissionRecord) -> Result<Applied, Refusal> {
    vhost_of(broker, &record.vhost)?;
    let PermissionRecord { user, vhost, permissions } = record.clone();
    let unusable = |e: PatternError| Refusal::precondition_failed(e.to_string());
    // What cannot be used is found before it is stored, and what cannot be stored does not count.
    Rules::compile(&user, &vhost, &permissions, []).map_err(unusable)?;
    let applied = persist(broker, &[Change::Put(Record::Permission(record.clone()))])?;
    broker.directory.set_permissions(&user, &vhost, permissions).map_err(unusable)?;
    broker.note_event(|| told::permission_created(&record));
    Ok(applied)
}

fn clear_permissions(broker: &Broker, user: &str, vhost: &str) -> Result<Applied, Refusal> {
    let applied = delete_where(broker, |r| matches!(r, Record::Permission(p) if p.user == user && p.vhost == vhost))?;
    broker.directory.clear_permissions(user, vhost);
    broker.note_event(|| told::permission("permission.deleted", user, vhost));
    Ok(applied)
}

fn set_topic_permissions(broker: &Broker, record: TopicPermissionRecord) -> Result<Applied, Refusal> {
    vhost_of(broker, &record.vhost)?;
    let TopicPermissionRecord { user, vhost, permission } = record.clone();
    let unusable = |e: PatternError| Refusal::precondition_failed(e.to_string());
    Rules::compile(&user, &vhost, &Permissions::all(), [&permission]).map_err(unusable)?;
    let applied = persist(broker, &[Change::Put(Record::TopicPermission(record.clone()))])?;
    broker.directory.set_topic_permission(&user, &vhost, permission).map_err(unusable)?;
    broker.note_event(|| told::topic_permission_created(&record));
    Ok(applied)
}

fn clear_topic_permissions(
    broker: &Broker,
    user: &str,
    vhost: &str,
    exchange: Option<&str>,
) -> Result<Applied, Refusal> {
    let is_meant = |p: &TopicPermissionRecord| {
        p.user == user && p.vhost == vhost && exchange.is_none_or(|name| name == p.permission.exchange)
    };
    let applied = delete_where(broker, |r| matches!(r, Record::TopicPermission(p) if is_meant(p)))?;
    broker.directory.clear_topic_permissions(user, vhost, exchange);
    broker.note_event(|| told::permission("topic.permission.deleted", user, vhost));
    Ok(applied)
}

/// Takes a stored record over at start-up.
pub(super) fn restore(broker: &Broker, record: Record) -> Result<(), StartError> {
    let bad = |what: String| move |reason: String| StartError::Record { what, reason };
    match record {
        Record::Vhost(v) => drop(add_vhost(broker, v)),
        Record::User(u) => broker.directory.put_user(u),
        Record::Permission(PermissionRecord { user, vhost, permissions }) => broker
            .directory
            .set_permissions(&user, &vhost, permissions)
            .map_err(|e| bad(format!("permissions of user '{user}' in vhost '{vhost}'"))(e.to_string()))?,
        Record::TopicPermission(TopicPermissionRecord { user, vhost, permission }) => broker
            .directory
            .set_topic_permission(&user, &vhost, permission)
            .map_err(|e| bad(format!("topic permission of user '{user}' in vhost '{vhost}'"))(e.to_string()))?,
        Record::VhostLimits(l) => limits::restore(broker, l).map_err(|(what, why)| bad(what)(why))?,
        Record::Parameter(p) => parameters::restore(broker, p).map_err(|(what, why)| bad(what)(why))?,
        Record::GlobalParameter(p) => {
            broker.throttles.note(&p.name, Some(&p.value));
            broker.global_parameters.put(p);
        }
        Record::Policy(p) => policies::restore(broker, p).map_err(|(what, why)| bad(what)(why))?,
        Record::Exchange(e) => declare::restore_exchange(broker, e).map_err(|(what, why)| bad(what)(why))?,
        Record::Queue(q) => declare::restore_queue(broker, q).map_err(|(what, why)| bad(what)(why))?,
        Record::Binding(b) => bindings::restore(broker, &b).map_err(|(what, why)| bad(what)(why))?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::TopicPermission;
    use crate::persist::record::QueueRecord;
    use crate::vhost::command::DeleteQueue;
    use crate::vhost::test_catalog::{TestCatalog, binding};

    #[test]
    fn what_cannot_be_taken_out_of_the_catalog_stays() {
        let (broker, catalog) = TestCatalog::with_broker();
        let vhost = "/".to_owned();
        let exchange = |name: &str| ExchangeRecord {
            name: name.to_owned(),
            kind: "fanout".to_owned(),
            auto_delete: true,
            ..default_exchange("/")
        };
        let (name, arguments) = ("q".to_owned(), Table::default());
        let queue = QueueRecord { vhost: vhost.clone(), name, durable: true, auto_delete: false, arguments, id: 0 };
        broker.apply(Command::DeclareQueue { record: queue, exclusive_owner: None }).unwrap();
        for name in ["far", "near"] {
            broker.apply(Command::DeclareExchange(exchange(name))).unwrap();
        }
        let (far, near) = (binding("far", "near", true), binding("near", "q", false));
        for record in [&far, &near] {
            broker.apply(Command::Bind { record: record.clone(), connection: None }).unwrap();
        }

        catalog.set_full(true);
        let delete = DeleteQueue { vhost: vhost.clone(), name: "q".to_owned(), ..DeleteQueue::default() };
        let commands = [
            Command::DeleteQueue(delete.clone()),
            Command::DeleteExchange { vhost, name: "near".to_owned(), if_unused: false },
            Command::Unbind { record: near.clone(), connection: None },
        ];
        for command in commands {
            broker.apply(command.clone()).unwrap_err();
            broker.apply_all(&[command], "tester").unwrap_err();
            let vhost = broker.vhost("/").unwrap();
            let queue = vhost.queue("q").expect("the queue");
            assert!(queue.delete(|_| true).is_err(), "the queue is open");
            for (name, count) in [("far", 1), ("near", 1)] {
                assert_eq!(vhost.exchange(name).expect(name).bindings.read().iter().count(), count, "{name}");
            }
        }

        // The queue takes along what depends on it, in the catalog as in the broker.
        catalog.set_full(false);
        let before = catalog.writes().len();
        broker.apply(Command::DeleteQueue(delete)).unwrap();
        let vhost = broker.vhost("/").unwrap();
        assert!(vhost.queue("q").is_none() && vhost.exchange("near").is_none() && vhost.exchange("far").is_none());
        let writes = catalog.writes();
        assert_eq!(writes.len(), before + 1);
        let forgotten: Vec<_> = writes[before].iter().map(|change| format!("{change:?}")).collect();
        let has = |what: &str| forgotten.iter().any(|change| change.starts_with(what));
        assert!(forgotten.iter().all(|change| change.starts_with("Delete")), "{forgotten:?}");
        assert!(has("Delete(Queue") && has("Delete(Exchange") && has("Delete(Binding"), "{forgotten:?}");
        let exchanges = forgotten.iter().filter(|change| change.starts_with("Delete(Exchange")).count();
        assert_eq!(exchanges, 2, "{forgotten:?}");
    }

    #[test]
    fn a_permission_that_cannot_be_stored_does_not_count() {
        let (broker, catalog) = TestCatalog::with_broker();
        catalog.set_full(true);
        let (user, vhost) = ("guest".to_owned(), "/".to_owned());
        let none = Permissions { configure: String::new(), write: String::new(), read: String::new() };
        let record = PermissionRecord { user: user.clone(), vhost: vhost.clone(), permissions: none };
        broker.apply(Command::SetPermissions(record)).unwrap_err();
        assert_eq!(broker.directory.permissions()[0].2, Permissions::all());
        let permission = TopicPermission { exchange: "x".to_owned(), write: String::new(), read: String::new() };
        broker.apply(Command::SetTopicPermissions(TopicPermissionRecord { user, vhost, permission })).unwrap_err();
        assert!(broker.directory.topic_permissions().is_empty());
    }

    #[test]
    fn protection_changes_nothing_else_and_brings_nothing_back() {
        let (broker, _) = TestCatalog::with_broker();
        let name = "v".to_owned();
        let record = VhostRecord { description: "d".to_owned(), ..crate::vhost::broker::default_vhost(&name) };
        broker.apply(Command::PutVhost(record.clone())).unwrap();
        broker.apply(Command::ProtectVhost { name: name.clone(), on: true }).unwrap();
        assert_eq!(*broker.vhost(&name).unwrap().record(), VhostRecord { protected: Some(true), ..record });
        let delete = |even_protected| broker.apply(Command::DeleteVhost { name: name.clone(), even_protected });
        delete(false).unwrap_err();
        delete(true).unwrap();
        broker.apply(Command::ProtectVhost { name: name.clone(), on: false }).unwrap_err();
        assert!(broker.vhost(&name).is_none());
    }
}
