//! Policies, and what RabbitMQ keeps as runtime parameters: operator policies and the limits of virtual hosts.

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::DefinitionsError;
use crate::persist::record::{ApplyTo, PolicyRecord, Record, VhostLimitsRecord};

const OPERATOR_POLICY: &str = "operator_policy";
const VHOST_LIMITS: &str = "vhost-limits";

#[derive(Serialize, Deserialize)]
pub struct PolicyDefinition {
    vhost: String,
    name: String,
    #[serde(flatten)]
    rest: Rest,
}

/// What of a policy is the same for one of an operator.
#[derive(Serialize, Deserialize)]
struct Rest {
    pattern: String,
    #[serde(default, rename = "apply-to")]
    apply_to: ApplyTo,
    definition: Json,
    #[serde(default)]
    priority: i64,
}

#[derive(Serialize, Deserialize)]
pub struct ParameterDefinition {
    vhost: String,
    component: String,
    name: String,
    value: Json,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Limits {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_connections: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_queues: Option<i64>,
}

impl Rest {
    fn of(policy: PolicyRecord) -> Result<Self, DefinitionsError> {
        let PolicyRecord { pattern, apply_to, priority, definition, .. } = policy;
        Ok(Self { pattern, apply_to, definition: serde_json::from_str(&definition)?, priority })
    }

    fn record(self, vhost: String, name: String, operator: bool) -> Result<Record, DefinitionsError> {
        let Self { pattern, apply_to, definition, priority } = self;
        let definition = serde_json::to_string(&definition)?;
        Ok(Record::Policy(PolicyRecord { vhost, name, operator, pattern, apply_to, priority, definition }))
    }
}

impl PolicyDefinition {
    pub fn of(policy: PolicyRecord) -> Result<Self, DefinitionsError> {
        Ok(Self { vhost: policy.vhost.clone(), name: policy.name.clone(), rest: Rest::of(policy)? })
    }

    pub fn record(self) -> Result<Record, DefinitionsError> {
        self.rest.record(self.vhost, self.name, false)
    }
}

impl ParameterDefinition {
    pub fn policy(policy: PolicyRecord) -> Result<Self, DefinitionsError> {
        let (vhost, name) = (policy.vhost.clone(), policy.name.clone());
        let value = serde_json::to_value(Rest::of(policy)?)?;
        Ok(Self { vhost, component: OPERATOR_POLICY.to_owned(), name, value })
    }

    pub fn limits(limits: VhostLimitsRecord) -> Self {
        let VhostLimitsRecord { vhost, max_connections, max_queues } = limits;
        let value = json!(Limits { max_connections, max_queues });
        Self { vhost, component: VHOST_LIMITS.to_owned(), name: "limits".to_owned(), value }
    }

    pub fn record(self) -> Result<Record, DefinitionsError> {
        let Self { vhost, component, name, value } = self;
        match component.as_str() {
            OPERATOR_POLICY => serde_json::from_value::<Rest>(value)?.record(vhost, name, true),
            VHOST_LIMITS => {
                let Limits { max_connections, max_queues } = serde_json::from_value(value)?;
                Ok(Record::VhostLimits(VhostLimitsRecord { vhost, max_connections, max_queues }))
            }
            _ => Err(DefinitionsError::Parameter(format!("{component} '{name}'"))),
        }
    }
}
