//! Many changes as one: a definitions file, for example.
//!
//! Every command is checked first, against what is there and what the commands before it will have made ([`view`]). When
//! none is refused, all of it, with what goes along ([`going`]), is written to the catalog at once, and then comes into the
//! broker; so a crash, a full disk or a wrong item leaves all or nothing.

mod going;
mod told;
mod view;

use std::sync::Arc;

use super::apply::{self, NewVhost, persist};
use super::broker::Broker;
use super::changes::Report;
use super::command::{Applied, Command};
use super::declare;
use super::policies::{Policy, Spread};
use super::topology::{Destination, Exchange, Vhost};
use crate::auth::User;
use crate::exchange::Settings;
use crate::frames::Refusal;
use crate::persist::record::{
    BindingRecord, ExchangeRecord, GlobalParameterRecord, ParameterRecord, PermissionRecord, PolicyRecord, QueueRecord,
    TopicPermissionRecord, VhostLimitsRecord, VhostRecord,
};
use crate::persist::{Change, Record};
use crate::queue::Queue;
use crate::stats::Churn;
use going::Going;
use view::View;

/// What a command of a batch does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Create,
    Change,
    /// It is so already.
    Same,
    Delete,
}

/// Why a command of a batch cannot be carried out.
#[derive(Clone, Debug, PartialEq)]
pub struct Objection {
    /// Its place in the batch.
    pub index: usize,
    pub refusal: Refusal,
    /// There is one of that name already, and it cannot be changed into this.
    pub is_conflict: bool,
}

/// A command that has been checked.
enum Step {
    Nothing,
    NewVhost(Box<NewVhost>),
    Vhost(Arc<Vhost>, VhostRecord),
    DropVhost(Arc<Vhost>),
    User(User),
    DropUser(String),
    Permission(PermissionRecord),
    DropPermission(PermissionRecord),
    TopicPermission(TopicPermissionRecord),
    DropTopicPermission(TopicPermissionRecord),
    Limits(VhostLimitsRecord),
    DropLimits(VhostLimitsRecord),
    Policy(Arc<Policy>),
    DropPolicy(PolicyRecord),
    Parameter(ParameterRecord),
    DropParameter(ParameterRecord),
    GlobalParameter(GlobalParameterRecord),
    DropGlobalParameter(GlobalParameterRecord),
    Exchange(Box<Settings>, ExchangeRecord),
    DropExchange(Arc<Vhost>, Arc<Exchange>),
    Queue(QueueRecord),
    DropQueue(Arc<Vhost>, Arc<Queue>),
    Bind { record: BindingRecord, is_durable: bool },
    Unbind { record: BindingRecord, is_durable: bool },
}

impl Broker {
    /// What each command would do, one after another; nothing is changed.
    pub fn examine(&self, commands: &[Command]) -> Vec<Result<Effect, Objection>> {
        let mut view = View::new(self);
        let examined = commands.iter().enumerate();
        examined.map(|(index, command)| view.step(index, command).map(|(effect, _)| effect)).collect()
    }

    /// Carries out all commands or none, for a user of that name.
    ///
    /// # Errors
    /// Everything that is refused.
    pub fn apply_all(&self, commands: &[Command], user: &str) -> Result<Applied, Vec<Objection>> {
        let (applied, spreads) = {
            let _one_at_a_time = self.turn_to_change();
            let steps = check(self, commands)?;
            let failed = |refusal| vec![Objection { index: 0, refusal, is_conflict: false }];
            if let Some(events) = &self.events {
                events.begin(user);
            }
            let reports: Vec<_> = commands.iter().filter_map(|command| Report::of(self, command)).collect();
            let performed = perform(self, steps);
            reports.iter().for_each(|report| report.tell(self, user, performed.as_ref().err()));
            if let Some(events) = &self.events {
                events.end(self.clock.now_ms(), performed.is_ok());
            }
            performed.map_err(failed)?
        };
        for spread in spreads {
            spread.run();
        }
        Ok(applied)
    }
}

fn check(broker: &Broker, commands: &[Command]) -> Result<Vec<Step>, Vec<Objection>> {
    let mut view = View::new(broker);
    let (mut steps, mut objections) = (Vec::with_capacity(commands.len()), Vec::new());
    for (index, command) in commands.iter().enumerate() {
        match view.step(index, command) {
            Ok((_, step)) => steps.push(step),
            Err(objection) => objections.push(objection),
        }
    }
    if objections.is_empty() { Ok(steps) } else { Err(objections) }
}

fn perform(broker: &Broker, mut steps: Vec<Step>) -> Result<(Applied, Vec<Spread>), Refusal> {
    let going = Going::of(broker, &steps);
    let mut changes = Vec::new();
    for step in &steps {
        note(step, &mut changes);
    }
    changes.retain(|change| !matches!(change, Change::Put(record) if going.takes(broker, record)));
    if going.has_vhosts_or_users() {
        let stored = broker.catalog.load().map_err(|e| super::broker::internal(&e))?;
        changes.extend(stored.into_iter().filter(|record| going.takes(broker, record)).map(Change::Delete));
    }
    let Going { followers, forgotten, .. } = going;
    changes.extend(forgotten);
    let applied = persist(broker, &changes)?;
    steps.extend(followers.into_iter().map(|(vhost, exchange)| Step::DropExchange(vhost, exchange)));
    let mut spreads = Vec::new();
    for step in steps {
        carry_out(broker, step, &mut spreads);
    }
    Ok((applied, spreads))
}

/// What the catalog has to hear of a step.
fn note(step: &Step, changes: &mut Vec<Change>) {
    let change = match step {
        Step::NewVhost(new) => return changes.extend(new.changes()),
        Step::Vhost(_, record) => Change::Put(Record::Vhost(record.clone())),
        Step::User(user) => Change::Put(Record::User(user.clone())),
        Step::Permission(p) => Change::Put(Record::Permission(p.clone())),
        Step::DropPermission(p) => Change::Delete(Record::Permission(p.clone())),
        Step::TopicPermission(p) => Change::Put(Record::TopicPermission(p.clone())),
        Step::DropTopicPermission(p) => Change::Delete(Record::TopicPermission(p.clone())),
        Step::Limits(limits) => Change::Put(Record::VhostLimits(limits.clone())),
        Step::DropLimits(limits) => Change::Delete(Record::VhostLimits(limits.clone())),
        Step::Policy(policy) => Change::Put(Record::Policy(policy.record.clone())),
        Step::DropPolicy(policy) => Change::Delete(Record::Policy(policy.clone())),
        Step::Parameter(p) => Change::Put(Record::Parameter(p.clone())),
        Step::DropParameter(p) => Change::Delete(Record::Parameter(p.clone())),
        Step::GlobalParameter(p) => Change::Put(Record::GlobalParameter(p.clone())),
        Step::DropGlobalParameter(p) => Change::Delete(Record::GlobalParameter(p.clone())),
        Step::Exchange(_, record) if record.durable => Change::Put(Record::Exchange(record.clone())),
        Step::Queue(record) if record.durable => Change::Put(Record::Queue(record.clone())),
        Step::Bind { record, is_durable: true } => Change::Put(Record::Binding(record.clone())),
        Step::Unbind { record, is_durable: true } => Change::Delete(Record::Binding(record.clone())),
        Step::Nothing | Step::Exchange(..) | Step::Queue(_) | Step::Bind { .. } | Step::Unbind { .. } => return,
        // These take others along: see [`Going`].
        Step::DropVhost(_) | Step::DropUser(_) | Step::DropExchange(..) | Step::DropQueue(..) => return,
    };
    changes.push(change);
}

/// Makes a step visible. It is written already and has been checked, so nothing is refused here.
fn carry_out(broker: &Broker, step: Step, spreads: &mut Vec<Spread>) {
    told::note(broker, &step);
    let directory = &broker.directory;
    match step {
        Step::Nothing => {}
        Step::NewVhost(new) => new.put(broker),
        Step::Vhost(vhost, record) => vhost.set_record(record),
        Step::DropVhost(vhost) => apply::remove_vhost(broker, &vhost),
        Step::User(user) => directory.put_user(user),
        Step::DropUser(name) => apply::remove_user(broker, &name),
        Step::Permission(PermissionRecord { user, vhost, permissions }) => {
            // Its patterns have been compiled once.
            let _ = directory.set_permissions(&user, &vhost, permissions);
        }
        Step::DropPermission(p) => directory.clear_permissions(&p.user, &p.vhost),
        Step::TopicPermission(TopicPermissionRecord { user, vhost, permission }) => {
            // As above.
            let _ = directory.set_topic_permission(&user, &vhost, permission);
        }
        Step::DropTopicPermission(p) => {
            directory.clear_topic_permissions(&p.user, &p.vhost, Some(&p.permission.exchange));
        }
        Step::GlobalParameter(p) => {
            broker.throttles.note(&p.name, Some(&p.value));
            broker.global_parameters.put(p);
        }
        Step::DropGlobalParameter(p) => {
            broker.throttles.note(&p.name, None);
            broker.global_parameters.remove(&p.name);
        }
        Step::Limits(limits) => {
            if let Some(vhost) = broker.vhost(&limits.vhost) {
                vhost.limits.put(limits);
            }
        }
        Step::DropLimits(VhostLimitsRecord { vhost: name, .. }) => {
            if let Some(vhost) = broker.vhost(&name) {
                vhost.limits.put(VhostLimitsRecord { vhost: name, ..VhostLimitsRecord::default() });
            }
        }
        Step::Policy(policy) => {
            if let Some(vhost) = broker.vhost(&policy.record.vhost) {
                let replaced = vhost.policies.write().put(Arc::clone(&policy));
                spreads.push(Spread::new(vhost, policy, replaced));
            }
        }
        Step::DropPolicy(record) => {
            if let Some(vhost) = broker.vhost(&record.vhost)
                && let Some(policy) = vhost.policies.write().take(record.operator, &record.name)
            {
                spreads.push(Spread::new(Arc::clone(&vhost), policy, None));
            }
        }
        Step::Parameter(p) => {
            if let Some(vhost) = broker.vhost(&p.vhost) {
                vhost.parameters.put(p);
            }
        }
        Step::DropParameter(p) => {
            if let Some(vhost) = broker.vhost(&p.vhost) {
                vhost.parameters.remove(&p.component, &p.name);
            }
        }
        Step::Exchange(settings, record) => {
            if let Some(vhost) = broker.vhost(&record.vhost) {
                declare::add_exchange(broker, &vhost, *settings, record);
            }
        }
        Step::DropExchange(vhost, exchange) => {
            declare::remove(broker, &vhost, &[Destination::Exchange(exchange)]);
        }
        Step::Queue(record) => {
            if let Some(vhost) = broker.vhost(&record.vhost) {
                declare::add_queue(broker, &vhost, record, None, None).wake_up();
                broker.churn.note(Churn::QueueDeclared);
                broker.churn.note(Churn::QueueCreated);
            }
        }
        Step::DropQueue(vhost, queue) => {
            // Nothing objects, so there is nothing to learn from the answer.
            let _ = queue.delete(|_| false);
            declare::remove(broker, &vhost, &[Destination::Queue(queue)]);
        }
        Step::Bind { record, .. } => {
            if let Some((vhost, source, destination)) = view::ends(broker, &record) {
                vhost.topology.write().bind(&source, &destination, &record);
                vhost.move_epoch();
            }
        }
        Step::Unbind { record, .. } => {
            if let Some((vhost, source, destination)) = view::ends(broker, &record) {
                vhost.topology.write().unbind(&source, &destination, &record);
                vhost.move_epoch();
            }
        }
    }
}

#[cfg(test)]
mod tests;
