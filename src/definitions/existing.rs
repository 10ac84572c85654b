//! What a broker has, as records: everything but what comes and goes with connections and what every vhost has.

use crate::persist::Record;
use crate::persist::record::{PermissionRecord, TopicPermissionRecord};
use crate::vhost::{Broker, Vhost, bindings, declare};

/// All that is declared, or all of one virtual host, by name within each kind.
pub fn existing(broker: &Broker, vhost: Option<&str>) -> Vec<Record> {
    let mut records = Vec::new();
    let is_meant = |name: &str| vhost.is_none_or(|vhost| vhost == name);
    if vhost.is_none() {
        let users = broker.directory.users();
        records.extend(users.into_iter().map(|user| Record::User((*user).clone())));
        let parameters = broker.global_parameters().into_iter().filter(|p| p.name != super::LOADED);
        records.extend(parameters.map(Record::GlobalParameter));
    }
    for (user, vhost, permissions) in broker.directory.permissions() {
        if is_meant(&vhost) {
            records.push(Record::Permission(PermissionRecord { user, vhost, permissions }));
        }
    }
    for (user, vhost, permission) in broker.directory.topic_permissions() {
        if is_meant(&vhost) {
            records.push(Record::TopicPermission(TopicPermissionRecord { user, vhost, permission }));
        }
    }
    for vhost in broker.vhosts().iter().filter(|vhost| is_meant(&vhost.name)) {
        of_vhost(vhost, &mut records);
    }
    // Stable: within a kind things stay as they came.
    records.sort_by_key(Record::rank);
    records
}

fn of_vhost(vhost: &Vhost, records: &mut Vec<Record>) {
    records.push(Record::Vhost((*vhost.record()).clone()));
    let limits = vhost.limits.set();
    if limits.max_connections.is_some() || limits.max_queues.is_some() {
        records.push(Record::VhostLimits(limits));
    }
    records.extend(vhost.parameters().into_iter().map(Record::Parameter));
    for operator in [false, true] {
        let mut policies = vhost.policies(operator);
        policies.sort_by(|a, b| a.name.cmp(&b.name));
        records.extend(policies.iter().map(|policy| Record::Policy(policy.record.clone())));
    }
    let (mut queues, mut exchanges): (Vec<_>, Vec<_>) = {
        let topology = vhost.topology.read();
        (topology.queues.values().cloned().collect(), topology.exchanges.values().cloned().collect())
    };
    queues.retain(|queue| queue.spec.exclusive_owner.is_none());
    queues.sort_by(|a, b| a.spec.name.cmp(&b.spec.name));
    records.extend(queues.iter().map(|queue| Record::Queue(declare::record_of(queue))));
    exchanges.sort_by(|a, b| a.record.name.cmp(&b.record.name));
    let own = exchanges.iter().filter(|e| !e.record.name.is_empty() && !e.record.name.starts_with("amq."));
    records.extend(own.map(|exchange| Record::Exchange(exchange.record.clone())));
    for exchange in exchanges.iter().filter(|e| !e.record.name.is_empty()) {
        let bindings = exchange.bindings.read();
        let shared = bindings.iter().filter(|binding| !leads_to_exclusive(binding.dest));
        let mut found: Vec<_> = shared.map(|binding| bindings::record_of(exchange, &binding)).collect();
        drop(bindings);
        found.sort_by(|a, b| (&a.destination, &a.key).cmp(&(&b.destination, &b.key)));
        records.extend(found.into_iter().map(Record::Binding));
    }
}

fn leads_to_exclusive(destination: &crate::vhost::Destination) -> bool {
    match destination {
        crate::vhost::Destination::Queue(queue) => queue.spec.exclusive_owner.is_some(),
        crate::vhost::Destination::Exchange(_) => false,
    }
}
