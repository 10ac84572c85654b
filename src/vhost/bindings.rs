//! Binding and unbinding.

use std::sync::Arc;

use super::apply::{add_own_exchange, persist, settled, vhost_of};
use super::broker::Broker;
use super::command::Applied;
use super::declare::{check_exclusive_access, delete_exchange};
use super::events::{self, told};
use super::log_exchange;
use super::names::{exchange_text, queue_text};
use super::topology::{Destination, Exchange, Vhost};
use crate::exchange::{BindingRef, Bindings, Matching};
use crate::frames::{Refusal, Table, Value};
use crate::persist::record::BindingRecord;
use crate::persist::{Change, Record};
use crate::queue::arguments::{QUEUE_TYPE, QueueType};

/// A binding survives a restart when both of its ends do.
pub fn is_durable(source: &Exchange, destination: &Destination) -> bool {
    source.record.durable
        && match destination {
            Destination::Queue(queue) => queue.spec.durable,
            Destination::Exchange(exchange) => exchange.record.durable,
        }
}

/// The catalog's record of a binding.
pub fn record_of(source: &Exchange, binding: &BindingRef<'_, Destination>) -> BindingRecord {
    let (to_exchange, destination) = match binding.dest {
        Destination::Queue(queue) => (false, queue.spec.name.to_string()),
        Destination::Exchange(exchange) => (true, exchange.record.name.clone()),
    };
    BindingRecord {
        vhost: source.record.vhost.clone(),
        source: source.record.name.clone(),
        destination,
        to_exchange,
        key: binding.key.to_owned(),
        arguments: binding.arguments.clone(),
    }
}

/// Both ends of a binding, or the text of the one that is missing. RabbitMQ names the source first.
fn ends(vhost: &Vhost, record: &BindingRecord) -> Result<(Arc<Exchange>, Destination), Refusal> {
    let no_exchange = |name: &str| Refusal::not_found(format!("no {}", exchange_text(&vhost.name, name)));
    let source = vhost.exchange(&record.source).ok_or_else(|| no_exchange(&record.source))?;
    let destination = if record.to_exchange {
        let exchange = vhost.exchange(&record.destination).ok_or_else(|| no_exchange(&record.destination))?;
        Destination::Exchange(exchange)
    } else {
        let missing = || Refusal::not_found(format!("no {}", queue_text(&vhost.name, &record.destination)));
        Destination::Queue(vhost.queue(&record.destination).ok_or_else(missing)?)
    };
    Ok((source, destination))
}

fn check_owner(destination: &Destination, connection: Option<u64>) -> Result<(), Refusal> {
    match destination {
        Destination::Queue(queue) => check_exclusive_access(queue, connection, false),
        Destination::Exchange(_) => Ok(()),
    }
}

/// A local random exchange leads to classic queues only, which are where their publishers are.
fn check_destination(source: &Exchange, destination: &Destination) -> Result<(), Refusal> {
    if source.settings.matching != Matching::LocalRandom {
        return Ok(());
    }
    let Destination::Queue(queue) = destination else {
        return Err(Refusal::precondition_failed("Destination not found"));
    };
    check_local(&queue.spec.arguments)
}

/// Whether a local random exchange may lead to a queue with these arguments.
pub(super) fn check_local(arguments: &Table) -> Result<(), Refusal> {
    let kind = arguments.get(QUEUE_TYPE).and_then(Value::as_text);
    match kind.and_then(|name| QueueType::parse(name.as_bytes())) {
        None | Some(QueueType::Classic) => Ok(()),
        Some(other) => {
            let text = format!("Queue type rabbit_{}_queue not valid for this exchange type", other.name());
            Err(Refusal::precondition_failed(text))
        }
    }
}

pub(super) fn bind(broker: &Broker, record: BindingRecord, connection: Option<u64>) -> Result<Applied, Refusal> {
    let vhost = vhost_of(broker, &record.vhost)?;
    let (source, destination) = ends(&vhost, &record)?;
    check_owner(&destination, connection)?;
    Bindings::<Destination>::check(&source.settings.matching, &record.key, &record.arguments)
        .map_err(|e| Refusal::precondition_failed(e.to_string()))?;
    check_destination(&source, &destination)?;
    let durable = is_durable(&source, &destination);
    if source.bindings.read().contains(&record.key, &record.arguments, &destination) {
        return Ok(Applied { durable_at: settled(broker, durable), ..Applied::default() });
    }
    let changes = if durable { vec![Change::Put(Record::Binding(record.clone()))] } else { Vec::new() };
    let applied = persist(broker, &changes)?;
    vhost.topology.write().bind(&source, &destination, &record);
    vhost.move_epoch();
    broker.note_event(|| told::binding("binding.created", &record));
    Ok(Applied { history: source.recall().past(destination), ..applied })
}

/// Removing what is not there is no error, whatever is missing of it.
pub(super) fn unbind(broker: &Broker, record: &BindingRecord, connection: Option<u64>) -> Result<Applied, Refusal> {
    let vhost = vhost_of(broker, &record.vhost)?;
    let not_there = || Applied { durable_at: settled(broker, true), ..Applied::default() };
    let Ok((source, destination)) = ends(&vhost, record) else { return Ok(not_there()) };
    check_owner(&destination, connection)?;
    if !source.bindings.read().contains(&record.key, &record.arguments, &destination) {
        return Ok(not_there());
    }
    if source.record.auto_delete && source.bindings.read().iter().nth(1).is_none() {
        // It goes with its last binding.
        return delete_exchange(broker, &record.vhost, &record.source, false);
    }
    let is_stored = is_durable(&source, &destination);
    let change = is_stored.then(|| Change::Delete(Record::Binding(record.clone())));
    // What cannot be taken out of the catalog stays.
    let applied = persist(broker, change.as_slice())?;
    vhost.topology.write().unbind(&source, &destination, record);
    vhost.move_epoch();
    broker.note_event(|| told::binding("binding.deleted", record));
    Ok(applied)
}

pub(super) fn restore(broker: &Broker, record: &BindingRecord) -> Result<(), (String, String)> {
    let what = format!(
        "binding of '{}' to '{}' with key '{}' in vhost '{}'",
        record.destination, record.source, record.key, record.vhost
    );
    let vhost = vhost_of(broker, &record.vhost).map_err(|e| (what.clone(), e.text))?;
    let is_own = [events::EXCHANGE, log_exchange::EXCHANGE].contains(&record.source.as_str());
    if is_own && vhost.exchange(&record.source).is_none() {
        add_own_exchange(broker, &vhost, &record.source);
    }
    let (source, destination) = ends(&vhost, record).map_err(|e| (what, e.text))?;
    vhost.topology.write().bind(&source, &destination, record);
    Ok(())
}
