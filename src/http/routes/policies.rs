//! Policies and operator policies.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use crate::http::fields::Fields;
use crate::http::listing::{self, Listed};
use crate::http::route::Outcome;
use crate::http::{Access, Answer, ApiError, Call, Route, Work};
use crate::vhost::{Command, Policy};

pub const ROUTES: &[Route] = &[
    Route::get("/api/policies", Access::Login, "All policies.", Work::Blocking(list)),
    Route::get("/api/policies/{vhost}", Access::Vhost, "The policies of a virtual host.", Work::Blocking(list)),
    Route::get("/api/policies/{vhost}/{name}", Access::Policies, "One policy.", Work::Blocking(one)),
    Route::put("/api/policies/{vhost}/{name}", Access::Policies, "Set a policy.", Work::Blocking(put)),
    Route::delete("/api/policies/{vhost}/{name}", Access::Policies, "Remove a policy.", Work::Blocking(delete)),
    Route::get(
        "/api/operator-policies",
        Access::Administrator,
        "All operator policies.",
        Work::Blocking(list_operator),
    ),
    Route::get(
        "/api/operator-policies/{vhost}",
        Access::Administrator,
        "The operator policies of a virtual host.",
        Work::Blocking(list_operator),
    ),
    Route::get(
        "/api/operator-policies/{vhost}/{name}",
        Access::Administrator,
        "One operator policy.",
        Work::Blocking(one_operator),
    ),
    Route::put(
        "/api/operator-policies/{vhost}/{name}",
        Access::Administrator,
        "Set an operator policy.",
        Work::Blocking(put_operator),
    ),
    Route::delete(
        "/api/operator-policies/{vhost}/{name}",
        Access::Administrator,
        "Remove an operator policy.",
        Work::Blocking(delete_operator),
    ),
];

struct Policies;

impl Listed for Policies {
    type Item = Arc<Policy>;

    fn name<'a>(&self, policy: &'a Arc<Policy>) -> &'a str {
        &policy.name
    }

    fn fill(&self, policy: &Arc<Policy>, fields: &mut Fields<'_>) {
        let record = &policy.record;
        fields.put("vhost", || record.vhost.as_str());
        fields.put("name", || record.name.as_str());
        fields.put("pattern", || record.pattern.as_str());
        fields.put("apply-to", || record.apply_to.name());
        fields.put("definition", || definition(policy));
        fields.put("priority", || record.priority);
    }
}

/// What a policy sets.
pub fn definition(policy: &Policy) -> Json {
    Json::Object(policy.definition.settings().clone())
}

/// A policy as the value of a parameter, which RabbitMQ keeps operator policies as.
pub fn as_parameter(policy: &Policy) -> Json {
    let record = &policy.record;
    json!({
        "pattern": record.pattern,
        "apply-to": record.apply_to.name(),
        "definition": definition(policy),
        "priority": record.priority,
    })
}

fn show(call: &Call, operator: bool) -> Outcome {
    let mut all = Vec::new();
    for vhost in call.vhosts()? {
        let mut policies = vhost.policies(operator);
        policies.sort_by(|a, b| a.name.cmp(&b.name));
        all.extend(policies);
    }
    listing::answer(call, Policies, all)
}

fn list(call: &Call) -> Outcome {
    show(call, false)
}

fn list_operator(call: &Call) -> Outcome {
    show(call, true)
}

fn found(call: &Call, operator: bool) -> Result<Arc<Policy>, ApiError> {
    let mut policies = call.vhost()?.policies(operator).into_iter();
    policies.find(|policy| *policy.name == *call.path("name")).ok_or_else(ApiError::not_found)
}

fn one(call: &Call) -> Outcome {
    listing::one(call, &Policies, &found(call, false)?)
}

fn one_operator(call: &Call) -> Outcome {
    listing::one(call, &Policies, &found(call, true)?)
}

fn set(call: &Call, operator: bool) -> Outcome {
    let (vhost, name) = (call.vhost()?, call.path("name"));
    let body = Json::Object(call.object()?);
    let record =
        crate::vhost::policies::from_json(&vhost.name, name, &body, operator).map_err(ApiError::bad_request)?;
    let is_new = found(call, operator).is_err();
    let applied = call.apply(Command::SetPolicy(record))?;
    Ok(Answer::put(is_new).after(&applied))
}

fn put(call: &Call) -> Outcome {
    set(call, false)
}

fn put_operator(call: &Call) -> Outcome {
    set(call, true)
}

fn clear(call: &Call, operator: bool) -> Outcome {
    let policy = found(call, operator)?;
    let (vhost, name) = (policy.record.vhost.clone(), policy.record.name.clone());
    let applied = call.apply(Command::ClearPolicy { vhost, name, operator })?;
    Ok(Answer::done().after(&applied))
}

fn delete(call: &Call) -> Outcome {
    clear(call, false)
}

fn delete_operator(call: &Call) -> Outcome {
    clear(call, true)
}
