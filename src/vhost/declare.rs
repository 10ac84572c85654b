//! Declaring and deleting exchanges and queues, with RabbitMQ's rules and texts.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Weak};

use super::apply::{persist, settled, vhost_of};
use super::bindings::{is_durable, record_of as record_of_binding};
use super::broker::Broker;
use super::command::{Applied, DeleteQueue};
use super::events::told;
use super::names::{check_not_reserved, exchange_text, queue_text};
use super::topology::{Destination, Exchange, Keeps, Topology, Vhost};
use crate::exchange::{BindingRef, ExchangeType, Settings};
use crate::frames::{Refusal, ReplyCode, Table, Value};
use crate::persist::record::{BindingRecord, ExchangeRecord, QueueRecord, new_store_id};
use crate::persist::recovery::FoundQueue;
use crate::persist::{Change, Record};
use crate::queue::arguments::{self, QUEUE_TYPE, QueueType, check_argument_equivalent};
use crate::queue::{Queue, QueueSpec};
use crate::stats::Churn;

/// The type of a declared exchange.
///
/// # Errors
/// 503 for a type that does not exist, as RabbitMQ 3.13.
pub fn exchange_type(name: &str) -> Result<ExchangeType, Refusal> {
    // RabbitMQ knows the empty name, but not as that of an exchange type.
    let wrong = if name.is_empty() { "invalid" } else { "unknown" };
    ExchangeType::parse(name)
        .ok_or_else(|| Refusal::new(ReplyCode::CommandInvalid, format!("{wrong} exchange type '{name}'")))
}

pub(super) fn exchange(broker: &Broker, record: ExchangeRecord) -> Result<Applied, Refusal> {
    let kind = exchange_type(&record.kind)?;
    let vhost = vhost_of(broker, &record.vhost)?;
    if let Some(existing) = vhost.exchange(&record.name) {
        check_exchange_equivalent(&existing.record, &record)?;
        return Ok(Applied { durable_at: settled(broker, record.durable), ..Applied::default() });
    }
    let (settings, record) = check_new_exchange(broker, kind, record, 0)?;
    let changes = if record.durable { vec![Change::Put(Record::Exchange(record.clone()))] } else { Vec::new() };
    let applied = persist(broker, &changes)?;
    let policy = broker.tells_events().then(|| vhost.policies.read().for_exchange(&record).policy).flatten();
    broker.note_event(|| told::exchange_created(&record, policy.as_deref()));
    add_exchange(broker, &vhost, settings, record);
    Ok(applied)
}

/// An exchange that is not there yet, with its number; `others` are on their way too and count for the limit.
pub(super) fn check_new_exchange(
    broker: &Broker,
    kind: ExchangeType,
    record: ExchangeRecord,
    others: usize,
) -> Result<(Settings, ExchangeRecord), Refusal> {
    check_not_reserved("exchange", &record.name)?;
    let settings = Settings::parse(kind, &record.arguments);
    let settings = settings.map_err(|e| Refusal::precondition_failed(e.to_string()))?;
    check_exchange_limit(broker, &record, others)?;
    let record = ExchangeRecord { id: exchange_id(&record, &settings)?, ..record };
    Ok((settings, record))
}

/// The store's name for what a durable exchange keeps: messages that are due later, or identifiers of messages.
fn exchange_id(record: &ExchangeRecord, settings: &Settings) -> Result<u64, Refusal> {
    if !record.durable || !(settings.deduplication.is_some() || settings.delays()) {
        return Ok(0);
    }
    let text = exchange_text(&record.vhost, &record.name);
    new_store_id().map_err(|e| Refusal::new(ReplyCode::InternalError, format!("{text} gets no number: {e}")))
}

fn check_exchange_limit(broker: &Broker, record: &ExchangeRecord, others: usize) -> Result<(), Refusal> {
    let Some(limit) = broker.limits().exchange_max else { return Ok(()) };
    let count: usize = broker.vhosts().iter().map(|v| v.topology.read().exchanges.len()).sum();
    if count + others < usize::try_from(limit).unwrap_or(usize::MAX) {
        return Ok(());
    }
    let text = exchange_text(&record.vhost, &record.name);
    Err(Refusal::precondition_failed(format!("cannot declare {text}: exchange limit of {limit} is reached")))
}

pub(super) fn add_exchange(broker: &Broker, vhost: &Vhost, settings: Settings, record: ExchangeRecord) {
    let name: Arc<str> = record.name.as_str().into();
    let in_force = vhost.policies.read().for_exchange(&record);
    let delays = settings.delays().then(|| delay_queue(broker, vhost, &record));
    let owner = record.id;
    let keeps = Keeps { memory: broker.memory, store: broker.store.clone(), now: broker.clock.now_ms(), delays };
    let is_deduplicating = settings.deduplication.is_some();
    let exchange = Arc::new(Exchange::new(broker.new_id(), settings, record, keeps));
    exchange.set_in_force(in_force);
    if let Some(store) = broker.store.as_ref().filter(|_| owner != 0 && is_deduplicating) {
        let weak: Weak<Exchange> = Arc::downgrade(&exchange);
        store.windows.register(owner, weak);
    }
    vhost.topology.write().exchanges.insert(name, exchange);
    vhost.move_epoch();
}

/// The queue in which the messages of a delayed exchange wait. It has no name, and nobody but the exchange knows it.
fn delay_queue(broker: &Broker, vhost: &Vhost, record: &ExchangeRecord) -> Arc<Queue> {
    let spec = QueueSpec {
        vhost: Arc::clone(&vhost.name),
        name: format!("delayed messages of {}", record.name).into(),
        durable: record.durable,
        store_id: record.id,
        delays_for: Some(record.name.as_str().into()),
        lengths: Arc::clone(&vhost.sums.delayed),
        ..QueueSpec::default()
    };
    let found = if record.durable { broker.take_found(record.id) } else { None };
    Queue::new(broker.new_id(), spec, &Arc::default(), broker.for_queues(), found)
}

pub(super) fn check_exchange_equivalent(current: &ExchangeRecord, received: &ExchangeRecord) -> Result<(), Refusal> {
    let text = exchange_text(&current.vhost, &current.name);
    let differs = |key: &str, current: &dyn std::fmt::Display, received: &dyn std::fmt::Display| {
        Err(Refusal::precondition_failed(format!(
            "inequivalent arg '{key}' for {text}: received '{received}' but current is '{current}'"
        )))
    };
    if current.kind != received.kind {
        return differs("type", &current.kind, &received.kind);
    }
    let flags = [
        ("durable", current.durable, received.durable),
        ("auto_delete", current.auto_delete, received.auto_delete),
        ("internal", current.internal, received.internal),
    ];
    for (key, current, received) in flags {
        if current != received {
            return differs(key, &current, &received);
        }
    }
    let key = "alternate-exchange";
    check_argument_equivalent(&text, key, current.arguments.get(key), received.arguments.get(key))
        .map_err(Refusal::precondition_failed)
}

pub(super) fn delete_exchange(broker: &Broker, vhost: &str, name: &str, if_unused: bool) -> Result<Applied, Refusal> {
    let vhost = vhost_of(broker, vhost)?;
    // Such a name is the system's, whether it has given it or not.
    if name.starts_with("amq.") {
        let text = exchange_text(&vhost.name, name);
        return Err(Refusal::access_refused(format!("deletion of system {text} not allowed")));
    }
    let Some(exchange) = vhost.exchange(name) else {
        return Ok(Applied { durable_at: settled(broker, true), ..Applied::default() });
    };
    if if_unused && !exchange.bindings.read().is_empty() {
        return Err(Refusal::precondition_failed(format!("{} in use", exchange_text(&vhost.name, name))));
    }
    let (going, changes) = going(&vhost.topology.read(), vec![Destination::Exchange(exchange)], loses_all);
    // What cannot be taken out of the catalog stays.
    let applied = persist(broker, &changes)?;
    remove(broker, &vhost, &going);
    Ok(applied)
}

/// Whether an exchange has no binding left when these queues and exchanges are gone.
pub(super) fn loses_all(exchange: &Exchange, gone: &HashSet<u64>) -> bool {
    exchange.bindings.read().iter().all(|binding| gone.contains(&binding.dest.id()))
}

/// All that goes with these, themselves first: auto-delete exchanges that lose their last binding by that, as `loses_all` says.
/// And what the catalog has to forget of them and of their bindings.
pub(super) fn going(
    topology: &Topology,
    first: Vec<Destination>,
    loses_all: impl Fn(&Exchange, &HashSet<u64>) -> bool,
) -> (Vec<Destination>, Vec<Change>) {
    let (mut going, mut changes) = (Vec::new(), Vec::new());
    let (mut gone, mut leaving): (HashSet<_>, _) = (first.iter().map(Destination::id).collect(), VecDeque::from(first));
    let mut forget = |is_stored: bool, record: Record| changes.extend(is_stored.then_some(Change::Delete(record)));
    while let Some(one) = leaving.pop_front() {
        match &one {
            Destination::Exchange(exchange) => {
                bindings_of(exchange).into_iter().for_each(|(b, is_stored)| forget(is_stored, Record::Binding(b)));
                forget(exchange.record.durable, Record::Exchange(exchange.record.clone()));
            }
            Destination::Queue(queue) => forget(queue.spec.durable, Record::Queue(record_of(queue))),
        }
        bindings_to(topology, &one, true).into_iter().for_each(|(b, is_stored)| forget(is_stored, Record::Binding(b)));
        for source in topology.sources_of(one.id()).into_iter().filter(|source| source.record.auto_delete) {
            if loses_all(&source, &gone) && gone.insert(source.id) {
                leaving.push_back(Destination::Exchange(source));
            }
        }
        going.push(one);
    }
    (going, changes)
}

/// Takes what goes out of the broker, each with its bindings, after it has left the catalog. Queues have been closed before.
pub(super) fn remove(broker: &Broker, vhost: &Vhost, going: &[Destination]) {
    {
        let mut topology = vhost.topology.write();
        for one in going {
            match one {
                Destination::Exchange(exchange) => remove_exchange(broker, &mut topology, exchange),
                Destination::Queue(queue) => {
                    topology.queues.remove(&*queue.spec.name);
                    drop_bindings_to(broker, &mut topology, one);
                }
            }
        }
    }
    // Of queues is told last, as RabbitMQ does.
    for one in going {
        if let Destination::Queue(queue) = one {
            forget_queue(broker, vhost, queue);
        }
    }
    vhost.move_epoch();
}

fn remove_exchange(broker: &Broker, topology: &mut Topology, exchange: &Arc<Exchange>) {
    if topology.exchanges.remove(exchange.record.name.as_str()).is_none() {
        return;
    }
    broker.note_event(|| told::exchange_deleted(&exchange.record.vhost, &exchange.record.name));
    if broker.tells_events() {
        note_ended(broker, &bindings_of(exchange));
    }
    topology.unbind_source(exchange);
    drop_bindings_to(broker, topology, &Destination::Exchange(Arc::clone(exchange)));
    if let Some(delays) = &exchange.delays {
        // Nothing objects, so there is nothing to learn from the answer.
        let _ = delays.delete(|_| false);
    }
}

/// A queue is in no table any more.
fn forget_queue(broker: &Broker, vhost: &Vhost, queue: &Queue) {
    broker.churn.note(Churn::QueueDeleted);
    broker.note_event(|| told::queue_deleted(&vhost.name, &queue.spec.name));
    vhost.by_name.forget();
    if let Some(owner) = queue.spec.exclusive_owner {
        broker.disown(owner, queue.id);
    }
}

fn drop_bindings_to(broker: &Broker, topology: &mut Topology, leaving: &Destination) {
    if broker.tells_events() {
        note_ended(broker, &bindings_to(topology, leaving, false));
    }
    topology.unbind_destination(leaving);
}

fn note_ended(broker: &Broker, ended: &[(BindingRecord, bool)]) {
    ended.iter().for_each(|(record, _)| broker.note_event(|| told::binding("binding.deleted", record)));
}

/// The bindings of an exchange, and whether each is stored.
fn bindings_of(exchange: &Exchange) -> Vec<(BindingRecord, bool)> {
    let bindings = exchange.bindings.read();
    let record = |b: BindingRef<'_, Destination>| (record_of_binding(exchange, &b), is_durable(exchange, b.dest));
    bindings.iter().map(record).collect()
}

/// The bindings to something, and whether each is stored; with `only_stored` no others.
fn bindings_to(topology: &Topology, to: &Destination, only_stored: bool) -> Vec<(BindingRecord, bool)> {
    let mut found = Vec::new();
    for source in topology.sources_of(to.id()) {
        let is_stored = is_durable(&source, to);
        if is_stored || !only_stored {
            let bindings = source.bindings.read();
            found.extend(bindings.of_destination(to).map(|b| (record_of_binding(&source, &b), is_stored)));
        }
    }
    found
}

/// An exclusive queue may be used only by the connection that declared it.
///
/// # Errors
/// 405 for everyone else. With `strict`, also when the owner is not declared as such.
pub fn check_exclusive_access(queue: &Queue, connection: Option<u64>, strict: bool) -> Result<(), Refusal> {
    let allowed = match queue.spec.exclusive_owner {
        None => !strict || connection.is_none(),
        owner => owner == connection,
    };
    if allowed {
        return Ok(());
    }
    let text = queue_text(&queue.spec.vhost, &queue.spec.name);
    let text = format!(
        "cannot obtain exclusive access to locked {text}. It could be originally declared on another connection or \
         the exclusive property value does not match that of the original declaration."
    );
    Err(Refusal::new(ReplyCode::ResourceLocked, text))
}

pub(super) fn queue(broker: &Broker, record: QueueRecord, exclusive_owner: Option<u64>) -> Result<Applied, Refusal> {
    let vhost = vhost_of(broker, &record.vhost)?;
    // What is there already is only compared, so that its declaration is told how it differs.
    if let Some(existing) = vhost.queue(&record.name) {
        check_queue_equivalent(&existing, &record, exclusive_owner, broker.limits().relaxed_redeclaration)?;
        existing.touch();
        broker.churn.note(Churn::QueueDeclared);
        let durable_at = settled(broker, existing.spec.durable);
        return Ok(Applied { durable_at, queue: Some(existing), ..Applied::default() });
    }
    let text = queue_text(&record.vhost, &record.name);
    let kind = arguments::check(&text, &record.arguments).map_err(Refusal::precondition_failed)?;
    let durable = record.durable && exclusive_owner.is_none();
    let room = Room { limit: vhost.limits.max_queues(), queues: vhost.topology.read().queues.len(), others: 0 };
    let record = check_new_queue(broker, kind, record, exclusive_owner, room)?;
    let changes = if durable { vec![Change::Put(Record::Queue(record.clone()))] } else { Vec::new() };
    let applied = persist(broker, &changes)?;
    broker.note_event(|| {
        let owner = exclusive_owner.map(|connection| broker.connection_pid(connection));
        told::queue_created(&QueueRecord { durable, ..record.clone() }, owner.as_deref())
    });
    let queue = add_queue(broker, &vhost, record, exclusive_owner, None);
    queue.wake_up();
    broker.churn.note(Churn::QueueDeclared);
    broker.churn.note(Churn::QueueCreated);
    Ok(Applied { queue: Some(queue), ..applied })
}

/// What limits the number of queues.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// Of the virtual host.
    pub limit: Option<u64>,
    /// In the virtual host.
    pub queues: usize,
    /// On their way with this one, in all virtual hosts.
    pub others: usize,
}

/// A queue that is not there yet, with its number.
pub(super) fn check_new_queue(
    broker: &Broker,
    kind: QueueType,
    record: QueueRecord,
    exclusive_owner: Option<u64>,
    room: Room,
) -> Result<QueueRecord, Refusal> {
    let text = queue_text(&record.vhost, &record.name);
    check_type_properties(&text, kind, &record, exclusive_owner)?;
    check_queue_limit(broker, &record, room)?;
    let no_randomness = |e| Refusal::new(ReplyCode::InternalError, format!("{text} gets no number: {e}"));
    let is_stored = record.durable && exclusive_owner.is_none();
    let id = if is_stored { new_store_id().map_err(no_randomness)? } else { 0 };
    Ok(QueueRecord { id, ..record })
}

/// Quorum queues and streams are durable, shared and permanent.
fn check_type_properties(
    text: &str,
    kind: QueueType,
    record: &QueueRecord,
    exclusive_owner: Option<u64>,
) -> Result<(), Refusal> {
    if kind == QueueType::Classic {
        return Ok(());
    }
    let invalid =
        |property: &str| Err(Refusal::precondition_failed(format!("invalid property '{property}' for {text}")));
    if record.name.starts_with("amq.gen-") {
        let text = format!("Cannot declare a server-named queue for type rabbit_{}_queue", kind.name());
        return Err(Refusal::precondition_failed(text));
    }
    if exclusive_owner.is_some() {
        return invalid("exclusive-owner");
    }
    if !record.durable {
        return invalid("non-durable");
    }
    if record.auto_delete {
        return invalid("auto-delete");
    }
    if kind == QueueType::Stream {
        return Err(Refusal::not_implemented("queue type 'stream' is not available"));
    }
    Ok(())
}

fn check_queue_limit(broker: &Broker, record: &QueueRecord, room: Room) -> Result<(), Refusal> {
    let name = &record.name;
    let reached = |what: &str, limit: u64| {
        let text = format!("cannot declare queue '{name}': queue limit in {what} ({limit}) is reached");
        Err(Refusal::precondition_failed(text))
    };
    if let Some(limit) = room.limit
        && room.queues as u64 >= limit
    {
        return reached(&format!("vhost '{}'", record.vhost), limit);
    }
    if let Some(limit) = broker.limits().queue_max {
        let count: usize = broker.vhosts().iter().map(|v| v.topology.read().queues.len()).sum();
        if (count + room.others) as u64 >= limit {
            return reached("cluster", limit);
        }
    }
    Ok(())
}

pub(super) fn add_queue(
    broker: &Broker,
    vhost: &Vhost,
    record: QueueRecord,
    exclusive_owner: Option<u64>,
    found: Option<FoundQueue>,
) -> Arc<Queue> {
    let name: Arc<str> = record.name.as_str().into();
    let (settings, notes) = vhost.policies.read().for_queue(&name, &record.arguments);
    for note in notes {
        tracing::warn!(target: "leveret::queue", "{}: {note}", queue_text(&vhost.name, &name));
    }
    let spec = QueueSpec {
        vhost: Arc::clone(&vhost.name),
        name: Arc::clone(&name),
        durable: record.durable && exclusive_owner.is_none(),
        auto_delete: record.auto_delete,
        exclusive_owner,
        arguments: record.arguments,
        store_id: record.id,
        delays_for: None,
        traced: Arc::clone(&vhost.traced),
        lengths: Arc::clone(&vhost.sums.queues),
    };
    let settings = vhost.shared.one(settings);
    let queue = Queue::new(broker.new_id(), spec, &settings, broker.for_queues(), found);
    if let Some(owner) = exclusive_owner {
        broker.own(owner, queue.id, &name);
    }
    vhost.topology.write().queues.insert(name, Arc::clone(&queue));
    vhost.by_name.forget();
    vhost.move_epoch();
    queue
}

/// `is_relaxed` lets a quorum queue be declared as a classic one, with the properties that only such a one can have.
pub(super) fn check_queue_equivalent(
    existing: &Queue,
    received: &QueueRecord,
    exclusive_owner: Option<u64>,
    is_relaxed: bool,
) -> Result<(), Refusal> {
    check_exclusive_access(existing, exclusive_owner, true)?;
    let spec = &existing.spec;
    let text = queue_text(&spec.vhost, &spec.name);
    let kind = arguments::type_of(&spec.arguments);
    let (current, mut arguments) = (with_type(&spec.arguments), with_type(&received.arguments));
    let classic = Value::text(QueueType::Classic.name());
    let is_tolerated = is_relaxed && kind == QueueType::Quorum && arguments.get(QUEUE_TYPE) == Some(&classic);
    // An exclusive queue goes with its connection: whether it is durable makes no difference.
    let durable = received.durable && exclusive_owner.is_none();
    let flags = [("durable", spec.durable, durable), ("auto_delete", spec.auto_delete, received.auto_delete)];
    for (key, current, received) in flags {
        if current != received && !is_tolerated {
            let text = format!("inequivalent arg '{key}' for {text}: received '{received}' but current is '{current}'");
            return Err(Refusal::precondition_failed(text));
        }
    }
    if is_tolerated {
        arguments = of_type(&arguments, kind);
    }
    arguments::check_equivalent(&text, kind, &current, &arguments).map_err(Refusal::precondition_failed)?;
    // A type that does not exist is not the classic one, for which it has passed so far.
    check_argument_equivalent(&text, QUEUE_TYPE, current.get(QUEUE_TYPE), arguments.get(QUEUE_TYPE))
        .map_err(Refusal::precondition_failed)
}

/// The arguments, with the name of the queue's type also where they leave that to the broker.
fn with_type(arguments: &Table) -> Table {
    match arguments.get(QUEUE_TYPE) {
        None => of_type(arguments, QueueType::default()),
        Some(Value::LongStr(name)) if matches!(name.as_slice(), b"" | b"undefined") => {
            of_type(arguments, QueueType::default())
        }
        Some(_) => arguments.clone(),
    }
}

/// The arguments, with this type instead of their own.
fn of_type(arguments: &Table, kind: QueueType) -> Table {
    let others = arguments.iter().filter(|(key, _)| *key != QUEUE_TYPE);
    let mut arguments: Table = others.map(|(key, value)| (key, value.clone())).collect();
    arguments.insert(QUEUE_TYPE, Value::text(kind.name()));
    arguments
}

/// RabbitMQ's quorum queues cannot be deleted under conditions.
fn check_conditions(broker: &Broker, queue: &Queue, delete: &DeleteQueue) -> Result<(), Refusal> {
    let is_quorum = arguments::type_of(&queue.spec.arguments) == QueueType::Quorum;
    let flag = match (delete.if_unused, delete.if_empty) {
        (true, _) => "if-unused",
        (_, true) => "if-empty",
        _ => return Ok(()),
    };
    if !is_quorum || !broker.limits().refuse_unsupported {
        return Ok(());
    }
    let text = queue_text(&queue.spec.vhost, &queue.spec.name);
    Err(Refusal::not_implemented(format!(
        "cannot delete {text}. queue.delete operations with {flag} flag set are not supported by quorum queues"
    )))
}

pub(super) fn delete_queue(broker: &Broker, delete: &DeleteQueue) -> Result<Applied, Refusal> {
    let vhost = vhost_of(broker, &delete.vhost)?;
    let not_there = || Applied { durable_at: settled(broker, true), ..Applied::default() };
    let Some(queue) = vhost.queue(&delete.name) else { return Ok(not_there()) };
    let is_over = || (delete.if_abandoned && !queue.is_abandoned()) || (delete.if_expired && !queue.is_lease_over());
    if delete.only.is_some_and(|id| id != queue.id) || is_over() {
        return Ok(not_there());
    }
    if !delete.if_abandoned {
        check_exclusive_access(&queue, delete.connection, false)?;
        check_conditions(broker, &queue, delete)?;
    }
    let text = queue_text(&vhost.name, &delete.name);
    let mut objection = None;
    let mut is_used_again = false;
    let consumers = if broker.tells_events() { queue.subscribers() } else { Vec::new() };
    let (going, changes) = going(&vhost.topology.read(), vec![Destination::Queue(Arc::clone(&queue))], loses_all);
    let mut stored = None;
    let deleted = queue.delete(|counts| {
        is_used_again = (delete.if_abandoned || delete.if_expired) && counts.consumers > 0;
        if delete.if_unused && counts.consumers > 0 {
            objection = Some(format!("{text} in use"));
        } else if delete.if_empty && counts.ready + counts.held_back > 0 {
            objection = Some(format!("{text} not empty"));
        }
        if objection.is_some() || is_used_again {
            return true;
        }
        // Messages go only with a queue that the catalog has forgotten.
        stored.insert(persist(broker, &changes)).is_err()
    });
    if is_used_again {
        return Ok(not_there());
    }
    if let Some(objection) = objection {
        return Err(Refusal::precondition_failed(objection));
    }
    // A queue that has been closed already is still to be forgotten.
    let applied = stored.unwrap_or_else(|| persist(broker, &changes))?;
    for (tag, channel, owner) in consumers {
        let channel = format!("{} ({channel})", owner.connection);
        broker.note_event(|| told::consumer_ended(&vhost.name, &queue.spec.name, &tag, &channel));
    }
    remove(broker, &vhost, &going);
    Ok(Applied { messages: deleted.map_or(0, |counts| counts.ready), ..applied })
}

/// The catalog's record of a queue.
pub fn record_of(queue: &Queue) -> QueueRecord {
    let spec = &queue.spec;
    QueueRecord {
        vhost: spec.vhost.to_string(),
        name: spec.name.to_string(),
        durable: spec.durable,
        auto_delete: spec.auto_delete,
        arguments: spec.arguments.clone(),
        id: spec.store_id,
    }
}

pub(super) fn restore_exchange(broker: &Broker, record: ExchangeRecord) -> Result<(), (String, String)> {
    let what = exchange_text(&record.vhost, &record.name);
    let bad = |e: Refusal| (what.clone(), e.text);
    let kind = exchange_type(&record.kind).map_err(bad)?;
    let settings = Settings::parse(kind, &record.arguments).map_err(|e| (what.clone(), e.to_string()))?;
    let vhost = vhost_of(broker, &record.vhost).map_err(bad)?;
    add_exchange(broker, &vhost, settings, record);
    Ok(())
}

pub(super) fn restore_queue(broker: &Broker, record: QueueRecord) -> Result<(), (String, String)> {
    let what = queue_text(&record.vhost, &record.name);
    let vhost = vhost_of(broker, &record.vhost).map_err(|e| (what, e.text))?;
    let found = broker.take_found(record.id);
    add_queue(broker, &vhost, record, None, found).tell_of_damage();
    Ok(())
}
