//! Runtime parameters that this broker does not act on, as those of shovels and federation: what RabbitMQ's tools set
//! is kept, shown and exported as it came.
//!
//! Policies of operators and limits of virtual hosts, which RabbitMQ keeps as parameters too, have commands of their own.

use std::collections::BTreeMap;

use parking_lot::RwLock;
use serde_json::Value as Json;

use super::Vhost;
use super::apply::{persist, vhost_of};
use super::broker::Broker;
use super::command::Applied;
use super::events::told;
use super::throttles;
use crate::frames::Refusal;
use crate::persist::record::{GlobalParameterRecord, ParameterRecord};
use crate::persist::{Change, Record};

/// Components that are more than parameters here.
const OWN_COMMANDS: [&str; 3] = ["policy", "operator_policy", "vhost-limits"];

/// The parameters of a virtual host, by component and name.
#[derive(Debug, Default)]
pub struct Parameters(RwLock<BTreeMap<(String, String), ParameterRecord>>);

impl Parameters {
    pub(super) fn put(&self, record: ParameterRecord) {
        self.0.write().insert((record.component.clone(), record.name.clone()), record);
    }

    pub(super) fn remove(&self, component: &str, name: &str) -> Option<ParameterRecord> {
        self.0.write().remove(&(component.to_owned(), name.to_owned()))
    }
}

/// The parameters of the cluster, by name.
#[derive(Debug, Default)]
pub struct GlobalParameters(RwLock<BTreeMap<String, GlobalParameterRecord>>);

impl GlobalParameters {
    pub(super) fn put(&self, record: GlobalParameterRecord) {
        self.0.write().insert(record.name.clone(), record);
    }

    pub(super) fn remove(&self, name: &str) -> Option<GlobalParameterRecord> {
        self.0.write().remove(name)
    }
}

impl Vhost {
    /// Its parameters, by component and name.
    pub fn parameters(&self) -> Vec<ParameterRecord> {
        self.parameters.0.read().values().cloned().collect()
    }

    pub fn parameter(&self, component: &str, name: &str) -> Option<ParameterRecord> {
        self.parameters.0.read().get(&(component.to_owned(), name.to_owned())).cloned()
    }
}

impl Broker {
    /// The cluster's parameters, by name.
    pub fn global_parameters(&self) -> Vec<GlobalParameterRecord> {
        self.global_parameters.0.read().values().cloned().collect()
    }

    pub fn global_parameter(&self, name: &str) -> Option<GlobalParameterRecord> {
        self.global_parameters.0.read().get(name).cloned()
    }
}

fn check_json(what: &str, value: &str) -> Result<(), Refusal> {
    serde_json::from_str::<Json>(value)
        .map(drop)
        .map_err(|e| Refusal::precondition_failed(format!("the value of {what} is not JSON: {e}")))
}

/// What is wrong with a parameter.
pub(super) fn check(record: &ParameterRecord) -> Result<(), Refusal> {
    let ParameterRecord { component, name, value, .. } = record;
    if OWN_COMMANDS.contains(&component.as_str()) {
        return Err(Refusal::precondition_failed(format!("parameters of component '{component}' are set another way")));
    }
    check_json(&format!("parameter '{component}' '{name}'"), value)
}

/// What is wrong with a parameter of the cluster.
pub(super) fn check_global(record: &GlobalParameterRecord) -> Result<(), Refusal> {
    check_json(&format!("global parameter '{}'", record.name), &record.value)?;
    throttles::check(&record.name, &record.value).map_err(Refusal::precondition_failed)
}

pub(super) fn set(broker: &Broker, record: ParameterRecord) -> Result<Applied, Refusal> {
    let vhost = vhost_of(broker, &record.vhost)?;
    check(&record)?;
    let applied = persist(broker, &[Change::Put(Record::Parameter(record.clone()))])?;
    broker.note_event(|| {
        let value = told::from_text(&record.value);
        told::parameter_set(&record.component, &record.vhost, &record.name, &value)
    });
    vhost.parameters.put(record);
    Ok(applied)
}

pub(super) fn clear(broker: &Broker, vhost: &str, component: &str, name: &str) -> Result<Applied, Refusal> {
    let vhost = vhost_of(broker, vhost)?;
    let missing =
        || Refusal::not_found(format!("no parameter '{name}' of component '{component}' in vhost '{}'", vhost.name));
    let record = vhost.parameter(component, name).ok_or_else(missing)?;
    let applied = persist(broker, &[Change::Delete(Record::Parameter(record))])?;
    broker.note_event(|| told::parameter_cleared(component, &vhost.name, name));
    vhost.parameters.remove(component, name);
    Ok(applied)
}

pub(super) fn set_global(broker: &Broker, record: GlobalParameterRecord) -> Result<Applied, Refusal> {
    check_global(&record)?;
    let applied = persist(broker, &[Change::Put(Record::GlobalParameter(record.clone()))])?;
    broker.note_event(|| told::global_parameter_set(&record.name, &told::from_text(&record.value)));
    broker.throttles.note(&record.name, Some(&record.value));
    broker.global_parameters.put(record);
    Ok(applied)
}

pub(super) fn clear_global(broker: &Broker, name: &str) -> Result<Applied, Refusal> {
    let missing = || Refusal::not_found(format!("no global parameter '{name}'"));
    let record = broker.global_parameter(name).ok_or_else(missing)?;
    let applied = persist(broker, &[Change::Delete(Record::GlobalParameter(record))])?;
    broker.note_event(|| told::global_parameter_cleared(name));
    broker.throttles.note(name, None);
    broker.global_parameters.remove(name);
    Ok(applied)
}

/// Takes a stored parameter over.
pub(super) fn restore(broker: &Broker, record: ParameterRecord) -> Result<(), (String, String)> {
    let what = format!("parameter '{}' of '{}' in vhost '{}'", record.name, record.component, record.vhost);
    let vhost = vhost_of(broker, &record.vhost).map_err(|e| (what, e.text))?;
    vhost.parameters.put(record);
    Ok(())
}
