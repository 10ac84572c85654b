//! The sections of a definitions file: what every kind of it has in common.

use serde::{Deserialize, Serialize};

use super::DefinitionsError;
use super::items::{
    BindingDefinition, Detail, ExchangeDefinition, PermissionDefinition, QueueDefinition, TopicPermissionDefinition,
    UserDefinition, VhostDefinition,
};
use super::parameters::{GlobalParameterDefinition, ParameterDefinition, PolicyDefinition};
use crate::persist::record::Record;

/// Everything that the catalog holds, in RabbitMQ's order.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Sections {
    users: Vec<UserDefinition>,
    vhosts: Vec<VhostDefinition>,
    permissions: Vec<PermissionDefinition>,
    topic_permissions: Vec<TopicPermissionDefinition>,
    parameters: Vec<ParameterDefinition>,
    global_parameters: Vec<GlobalParameterDefinition>,
    policies: Vec<PolicyDefinition>,
    queues: Vec<QueueDefinition>,
    exchanges: Vec<ExchangeDefinition>,
    bindings: Vec<BindingDefinition>,
}

/// What RabbitMQ writes of one virtual host.
#[derive(Serialize)]
pub struct SectionsOfVhost {
    parameters: Vec<ParameterDefinition>,
    policies: Vec<PolicyDefinition>,
    queues: Vec<QueueDefinition>,
    exchanges: Vec<ExchangeDefinition>,
    bindings: Vec<BindingDefinition>,
}

impl Sections {
    /// Adds an object to the section where it belongs.
    ///
    /// # Errors
    /// When it cannot be said in JSON.
    pub fn add(&mut self, record: Record, detail: Detail) -> Result<(), DefinitionsError> {
        match record {
            Record::Vhost(vhost) => self.vhosts.push(VhostDefinition::of(vhost)),
            Record::User(user) => self.users.push(UserDefinition::of(user)),
            Record::Permission(permission) => self.permissions.push(PermissionDefinition::of(permission)),
            Record::TopicPermission(p) => self.topic_permissions.push(TopicPermissionDefinition::of(p)),
            Record::Exchange(exchange) => self.exchanges.push(ExchangeDefinition::of(exchange, detail)),
            Record::Queue(queue) => self.queues.push(QueueDefinition::of(queue, detail)),
            Record::Binding(binding) => self.bindings.push(BindingDefinition::of(binding, detail)),
            Record::Policy(policy) if policy.operator => self.parameters.push(ParameterDefinition::policy(policy)?),
            Record::Policy(policy) => self.policies.push(PolicyDefinition::of(policy)?),
            Record::VhostLimits(limits) => self.parameters.push(ParameterDefinition::limits(limits)),
            Record::Parameter(parameter) => self.parameters.push(ParameterDefinition::of(parameter)?),
            Record::GlobalParameter(p) => self.global_parameters.push(GlobalParameterDefinition::of(p)?),
        }
        Ok(())
    }

    /// All objects, in the order in which they are loaded.
    ///
    /// # Errors
    /// When one of them is none.
    pub fn records(self) -> Result<Vec<Record>, DefinitionsError> {
        let mut records = Vec::new();
        records.extend(self.vhosts.into_iter().map(VhostDefinition::record));
        records.extend(self.users.into_iter().map(UserDefinition::record));
        records.extend(self.permissions.into_iter().map(PermissionDefinition::record));
        records.extend(self.topic_permissions.into_iter().map(TopicPermissionDefinition::record));
        for exchange in self.exchanges {
            records.push(exchange.record()?);
        }
        for queue in self.queues {
            records.push(queue.record()?);
        }
        for binding in self.bindings {
            records.push(binding.record()?);
        }
        for policy in self.policies {
            records.push(policy.record()?);
        }
        for parameter in self.parameters {
            records.push(parameter.record()?);
        }
        for parameter in self.global_parameters {
            records.push(parameter.record()?);
        }
        records.sort_by_key(Record::rank);
        Ok(records)
    }

    /// Those of one virtual host, in which items do not name it.
    pub fn of_vhost(self) -> SectionsOfVhost {
        let Self { parameters, policies, queues, exchanges, bindings, .. } = self;
        SectionsOfVhost {
            parameters: parameters.into_iter().map(ParameterDefinition::without_vhost).collect(),
            policies: policies.into_iter().map(PolicyDefinition::without_vhost).collect(),
            queues: queues.into_iter().map(QueueDefinition::without_vhost).collect(),
            exchanges: exchanges.into_iter().map(ExchangeDefinition::without_vhost).collect(),
            bindings: bindings.into_iter().map(BindingDefinition::without_vhost).collect(),
        }
    }
}
