//! Runtime parameters, of virtual hosts and of the cluster.

use serde_json::{Value as Json, json};

use super::policies::as_parameter;
use crate::definitions::LOADED;
use crate::http::body::missing;
use crate::http::route::Outcome;
use crate::http::{Access, Answer, ApiError, Call, Route, Work};
use crate::persist::record::{GlobalParameterRecord, ParameterRecord};
use crate::plugins::absent_component;
use crate::vhost::{Command, Vhost, throttles};

pub const ROUTES: &[Route] = &[
    Route::get("/api/parameters", Access::Policymaker, "All parameters.", Work::Blocking(list)),
    Route::get("/api/parameters/{component}", Access::Policymaker, "Those of a component.", Work::Blocking(list)),
    Route::get(
        "/api/parameters/{component}/{vhost}",
        Access::Policies,
        "Those of a component in a virtual host.",
        Work::Blocking(list),
    ),
    Route::get("/api/parameters/{component}/{vhost}/{name}", Access::Policies, "One.", Work::Blocking(one)),
    Route::put("/api/parameters/{component}/{vhost}/{name}", Access::Policies, "Set a parameter.", Work::Blocking(put)),
    Route::delete(
        "/api/parameters/{component}/{vhost}/{name}",
        Access::Policies,
        "Remove a parameter.",
        Work::Blocking(delete),
    ),
    Route::get("/api/global-parameters", Access::Policymaker, "The cluster's parameters.", Work::Blocking(list_global)),
    Route::get("/api/global-parameters/{name}", Access::Policymaker, "One of them.", Work::Blocking(one_global)),
    Route::put("/api/global-parameters/{name}", Access::Policymaker, "Set one of them.", Work::Blocking(put_global)),
    Route::delete(
        "/api/global-parameters/{name}",
        Access::Policymaker,
        "Remove one of them.",
        Work::Blocking(delete_global),
    ),
];

/// A value is stored as the text that came.
fn value(text: &str) -> Json {
    serde_json::from_str(text).unwrap_or(Json::Null)
}

fn shown(component: &str, vhost: &str, name: &str, value: &Json) -> Json {
    json!({ "component": component, "vhost": vhost, "name": name, "value": value })
}

/// All parameters of a virtual host, those among them that are more here.
fn of_vhost(vhost: &Vhost) -> Vec<Json> {
    let own = vhost.parameters();
    let mut all: Vec<_> = own.iter().map(|p| shown(&p.component, &p.vhost, &p.name, &value(&p.value))).collect();
    let operator = vhost.policies(true);
    all.extend(operator.iter().map(|p| shown("operator_policy", &vhost.name, &p.name, &as_parameter(p))));
    let limits = vhost.limits.set();
    let set = [("max-connections", limits.max_connections), ("max-queues", limits.max_queues)];
    let set: serde_json::Map<_, _> = set.into_iter().filter_map(|(n, v)| Some((n.to_owned(), v?.into()))).collect();
    if !set.is_empty() {
        all.push(shown("vhost-limits", &vhost.name, "limits", &Json::Object(set)));
    }
    all
}

fn list(call: &Call) -> Outcome {
    let mut all: Vec<_> = call.vhosts()?.iter().flat_map(|vhost| of_vhost(vhost)).collect();
    if call.route.contains("{component}") {
        all.retain(|parameter| parameter["component"] == call.path("component"));
    }
    Answer::json(&all)
}

fn found(call: &Call) -> Result<Json, ApiError> {
    let (component, name) = (call.path("component"), call.path("name"));
    let mut all = of_vhost(&*call.vhost()?).into_iter();
    all.find(|p| p["component"] == component && p["name"] == name).ok_or_else(ApiError::not_found)
}

fn one(call: &Call) -> Outcome {
    Answer::json(&found(call)?)
}

/// The value of the body, as text.
fn text(call: &Call) -> Result<String, ApiError> {
    let mut fields = call.fields(&["value", "vhost", "component", "name"])?;
    Ok(fields.take("value").ok_or_else(|| missing("value"))?.to_string())
}

fn put(call: &Call) -> Outcome {
    let vhost = call.vhost()?.name.to_string();
    let (component, name) = (call.path("component").to_owned(), call.path("name").to_owned());
    let value = text(call)?;
    check_component(&component)?;
    let is_new = found(call).is_err();
    let applied = call.apply(Command::SetParameter(ParameterRecord { vhost, component, name, value }))?;
    Ok(Answer::put(is_new).after(&applied))
}

/// As in RabbitMQ without its plugins, there is nobody who would act on a parameter. What came with definitions is kept, shown
/// and exported.
fn check_component(component: &str) -> Result<(), ApiError> {
    // Its command says how it is set.
    if component == "operator_policy" {
        return Ok(());
    }
    let what = absent_component(component).map(|what| format!(": this broker has no {what}"));
    let text = format!("Validation failed\n\ncomponent {component} not found{}\n", what.unwrap_or_default());
    Err(ApiError::bad_request(text))
}

fn delete(call: &Call) -> Outcome {
    found(call)?;
    let vhost = call.path("vhost").to_owned();
    let (component, name) = (call.path("component").to_owned(), call.path("name").to_owned());
    let applied = call.apply(Command::ClearParameter { vhost, component, name })?;
    Ok(Answer::done().after(&applied))
}

fn shown_global(parameter: &GlobalParameterRecord) -> Json {
    json!({ "name": parameter.name, "value": value(&parameter.value) })
}

fn list_global(call: &Call) -> Outcome {
    let all = call.broker().global_parameters();
    Answer::json(&all.iter().filter(|parameter| parameter.name != LOADED).map(shown_global).collect::<Vec<_>>())
}

fn found_global(call: &Call) -> Result<GlobalParameterRecord, ApiError> {
    let named = call.path("name");
    call.broker().global_parameter(named).filter(|_| named != LOADED).ok_or_else(ApiError::not_found)
}

fn one_global(call: &Call) -> Outcome {
    Answer::json(&shown_global(&found_global(call)?))
}

/// Rates that a policymaker has to keep are not the policymaker's to set.
fn check_rates(call: &Call) -> Result<(), ApiError> {
    if throttles::is_rate(call.path("name")) && !call.caller.is_administrator() {
        return Err(ApiError::not_authorised("Not administrator user"));
    }
    Ok(())
}

fn put_global(call: &Call) -> Outcome {
    check_rates(call)?;
    let (name, value) = (call.path("name").to_owned(), text(call)?);
    let is_new = found_global(call).is_err();
    let applied = call.apply(Command::SetGlobalParameter(GlobalParameterRecord { name, value }))?;
    Ok(Answer::put(is_new).after(&applied))
}

fn delete_global(call: &Call) -> Outcome {
    check_rates(call)?;
    let name = found_global(call)?.name;
    let applied = call.apply(Command::ClearGlobalParameter { name })?;
    Ok(Answer::done().after(&applied))
}
