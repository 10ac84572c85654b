//! Policies, and what RabbitMQ keeps as runtime parameters: operator policies and the limits of virtual hosts among them.

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::DefinitionsError;
use crate::persist::record::{
    ApplyTo, GlobalParameterRecord, ParameterRecord, PolicyRecord, Record, VhostLimitsRecord,
};

const OPERATOR_POLICY: &str = "operator_policy";
const VHOST_LIMITS: &str = "vhost-limits";

#[derive(Serialize, Deserialize)]
pub struct PolicyDefinition {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    vhost: Option<String>,
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
    value: Json,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    vhost: Option<String>,
    component: String,
    name: String,
}

#[derive(Serialize, Deserialize)]
pub struct GlobalParameterDefinition {
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
        Ok(Self { vhost: Some(policy.vhost.clone()), name: policy.name.clone(), rest: Rest::of(policy)? })
    }

    pub fn record(self) -> Result<Record, DefinitionsError> {
        let Some(vhost) = self.vhost else { return Err(DefinitionsError::NoVhost(self.name)) };
        self.rest.record(vhost, self.name, false)
    }

    pub fn without_vhost(self) -> Self {
        Self { vhost: None, ..self }
    }
}

impl ParameterDefinition {
    pub fn policy(policy: PolicyRecord) -> Result<Self, DefinitionsError> {
        let (vhost, name) = (Some(policy.vhost.clone()), policy.name.clone());
        let value = serde_json::to_value(Rest::of(policy)?)?;
        Ok(Self { vhost, component: OPERATOR_POLICY.to_owned(), name, value })
    }

    pub fn limits(limits: VhostLimitsRecord) -> Self {
        let VhostLimitsRecord { vhost, max_connections, max_queues } = limits;
        let value = json!(Limits { max_connections, max_queues });
        Self { vhost: Some(vhost), component: VHOST_LIMITS.to_owned(), name: "limits".to_owned(), value }
    }

    pub fn of(parameter: ParameterRecord) -> Result<Self, DefinitionsError> {
        let ParameterRecord { vhost, component, name, value } = parameter;
        Ok(Self { vhost: Some(vhost), component, name, value: serde_json::from_str(&value)? })
    }

    pub fn without_vhost(self) -> Self {
        Self { vhost: None, ..self }
    }

    pub fn record(self) -> Result<Record, DefinitionsError> {
        let Self { vhost, component, name, value } = self;
        let Some(vhost) = vhost else { return Err(DefinitionsError::NoVhost(name)) };
        match component.as_str() {
            OPERATOR_POLICY => serde_json::from_value::<Rest>(value)?.record(vhost, name, true),
            VHOST_LIMITS => {
                let Limits { max_connections, max_queues } = serde_json::from_value(value)?;
                Ok(Record::VhostLimits(VhostLimitsRecord { vhost, max_connections, max_queues }))
            }
            _ => Ok(Record::Parameter(ParameterRecord { vhost, component, name, value: value.to_string() })),
        }
    }
}

impl GlobalParameterDefinition {
    pub fn of(parameter: GlobalParameterRecord) -> Result<Self, DefinitionsError> {
        let GlobalParameterRecord { name, value } = parameter;
        Ok(Self { name, value: serde_json::from_str(&value)? })
    }

    pub fn record(self) -> Result<Record, DefinitionsError> {
        let Self { name, value } = self;
        Ok(Record::GlobalParameter(GlobalParameterRecord { name, value: value.to_string() }))
    }
}
