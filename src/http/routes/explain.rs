//! Why something is so: which bindings a message matches, which policy counts. Nothing is published, and nothing remembers
//! having been asked.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value as Json, json};

use crate::exchange::{BindingRef, Bindings, Matching, RouteInput};
use crate::frames::Properties;
use crate::http::route::Outcome;
use crate::http::{Access, Answer, ApiError, Call, Route, Work};
use crate::persist::definitions::{table_from_json, table_to_json};
use crate::queue::arguments::type_of;
use crate::vhost::policies::Thing;
use crate::vhost::{Destination, EffectivePolicy, Exchange, Vhost};

/// Most bindings that are looked at one by one.
const MOST_BINDINGS: usize = 10_000;
/// Most exchanges that a message is followed through.
const MOST_EXCHANGES: usize = 10_000;

pub const ROUTES: &[Route] = &[
    Route::get(
        "/api/leveret/explain/route/{vhost}/{exchange}",
        Access::VisibleVhost,
        "Which bindings a routing key matches, and why.",
        Work::Blocking(route),
    ),
    Route::post(
        "/api/leveret/explain/route/{vhost}/{exchange}",
        Access::VisibleVhost,
        "The same for a message with headers.",
        Work::Blocking(route),
    ),
    Route::get(
        "/api/leveret/explain/policy/{vhost}/{kind}/{name}",
        Access::VisibleVhost,
        "Which policies match a queue or an exchange, and which one counts.",
        Work::Blocking(policy),
    ),
];

fn route(call: &Call) -> Outcome {
    let vhost = call.vhost()?;
    let object = call.object()?;
    let key = object.get("routing_key").and_then(Json::as_str).or_else(|| call.query.get("routing_key"));
    let key = key.unwrap_or_default();
    let headers = match object.get("headers") {
        Some(Json::Object(headers)) => inside(headers),
        None => Vec::new(),
        Some(_) => return Err(ApiError::bad_request("headers must be an object")),
    };
    let keys = [key.as_bytes()];
    let properties =
        Properties { headers: (!headers.is_empty()).then_some(headers.as_slice()), ..Properties::default() };
    let input = RouteInput { keys: &keys, properties: &properties, now: call.broker().clock.now_ms() };
    let name = call.exchange_name("exchange");
    if name.is_empty() {
        let queues: Vec<&str> = if vhost.queue(key).is_some() { vec![key] } else { Vec::new() };
        return Answer::json(&json!({ "routed": queues, "bindings": [], "alternate": null, "kind": "direct" }));
    }
    let exchange = vhost.exchange(name).ok_or_else(ApiError::not_found)?;
    let bindings = bindings(&exchange, &input, key);
    let routed = follow(&vhost, &exchange, &input);
    Answer::json(&json!({
        "routed": routed,
        "bindings": bindings,
        "alternate": exchange.in_force().alternate.as_deref(),
        "kind": exchange.settings.matching.kind().name(),
    }))
}

/// Headers as a client would send them, without the length that stands before a table.
fn inside(headers: &Map<String, Json>) -> Vec<u8> {
    let mut encoded = Vec::new();
    table_from_json(headers).encode(&mut encoded);
    encoded.split_off(4.min(encoded.len()))
}

/// Each binding of an exchange, and whether a message matches it.
fn bindings(exchange: &Exchange, input: &RouteInput<'_>, key: &str) -> Vec<Json> {
    let matching = &exchange.settings.matching;
    let all = exchange.bindings.read();
    let mut chosen = Vec::new();
    if spreads(matching) {
        all.route(input, &mut chosen);
    }
    let listed = all.iter().take(MOST_BINDINGS).map(|binding| {
        let matches = if spreads(matching) { chosen.contains(binding.dest) } else { alone(matching, &binding, input) };
        let (name, kind) = match binding.dest {
            Destination::Queue(queue) => (queue.spec.name.to_string(), "queue"),
            Destination::Exchange(exchange) => (exchange.record.name.clone(), "exchange"),
        };
        json!({
            "source": exchange.record.name,
            "destination": name,
            "destination_type": kind,
            "routing_key": binding.key,
            "arguments": table_to_json(binding.arguments),
            "matches": matches,
            "why": why(matching, &binding, key, matches),
        })
    });
    let mut listed: Vec<Json> = listed.collect();
    // Those that match come first.
    listed.sort_by_key(|binding| binding.get("matches").and_then(Json::as_bool) != Some(true));
    listed
}

/// Whether the exchange chooses among its bindings.
fn spreads(matching: &Matching) -> bool {
    matches!(matching, Matching::ConsistentHash(_) | Matching::ModulusHash | Matching::Random | Matching::LocalRandom)
}

/// Whether a binding would match if it were the only one.
fn alone(matching: &Matching, binding: &BindingRef<'_, Destination>, input: &RouteInput<'_>) -> bool {
    let (mut bindings, mut found) = (Bindings::new(matching), Vec::new());
    bindings.bind(binding.key, binding.arguments, binding.dest.clone());
    bindings.route(input, &mut found);
    !found.is_empty()
}

fn why(matching: &Matching, binding: &BindingRef<'_, Destination>, key: &str, matches: bool) -> String {
    let bound = binding.key;
    match (matching, matches) {
        (Matching::Direct, true) => format!("the routing key is '{bound}'"),
        (Matching::Direct, false) => format!("the routing key is '{key}', not '{bound}'"),
        (Matching::Fanout, _) => "a fanout exchange sends to all".to_owned(),
        (Matching::Topic, true) => format!("the pattern '{bound}' matches '{key}'"),
        (Matching::Topic, false) => format!("the pattern '{bound}' does not match '{key}'"),
        (Matching::Headers, true) => "the headers are those of the arguments".to_owned(),
        (Matching::Headers, false) => "the headers differ from the arguments".to_owned(),
        (Matching::ConsistentHash(_) | Matching::ModulusHash, true) => "the hash falls to this one".to_owned(),
        (Matching::ConsistentHash(_) | Matching::ModulusHash, false) => "the hash falls to another one".to_owned(),
        (Matching::Random | Matching::LocalRandom, true) => "chosen by chance, this time".to_owned(),
        (Matching::Random | Matching::LocalRandom, false) => "not chosen by chance, this time".to_owned(),
    }
}

/// The queues that a message would reach, through other exchanges and alternate ones.
fn follow(vhost: &Vhost, first: &Arc<Exchange>, input: &RouteInput<'_>) -> BTreeSet<String> {
    let (mut queues, mut found) = (BTreeSet::new(), Vec::new());
    let (mut to_do, mut seen) = (vec![Arc::clone(first)], vec![first.id]);
    while let Some(exchange) = to_do.pop() {
        exchange.bindings.read().route(input, &mut found);
        let alternate = exchange.in_force().alternate.clone().filter(|_| found.is_empty());
        if let Some(name) = alternate {
            if name.is_empty() {
                let key = input.keys.first().and_then(|key| std::str::from_utf8(key).ok()).unwrap_or_default();
                found.extend(vhost.queue(key).map(Destination::Queue));
            } else {
                found.extend(vhost.exchange(&name).map(Destination::Exchange));
            }
        }
        for destination in found.drain(..) {
            match destination {
                Destination::Queue(queue) => {
                    queues.insert(queue.spec.name.to_string());
                }
                Destination::Exchange(next) if seen.len() < MOST_EXCHANGES && !seen.contains(&next.id) => {
                    seen.push(next.id);
                    to_do.push(next);
                }
                Destination::Exchange(_) => {}
            }
        }
    }
    queues
}

fn policy(call: &Call) -> Outcome {
    let (vhost, name) = (call.vhost()?, call.path("name"));
    let (thing, effective) = match call.path("kind") {
        "queues" => {
            let queue = vhost.queue(name).ok_or_else(ApiError::not_found)?;
            (Thing::Queue(type_of(&queue.spec.arguments)), vhost.effective_policy(&queue))
        }
        "exchanges" => {
            let exchange = vhost.exchange(name).ok_or_else(ApiError::not_found)?;
            (Thing::Exchange, vhost.effective_policy_of_exchange(&exchange))
        }
        other => return Err(ApiError::missing(format!("there are policies of queues and exchanges, not of {other}"))),
    };
    let mut candidates = candidates(&vhost, thing, name, &effective, false);
    candidates.extend(candidates_of_operator(&vhost, thing, name, &effective));
    Answer::json(&json!({
        "policy": effective.policy.as_deref(),
        "operator_policy": effective.operator_policy.as_deref(),
        "effective": effective.definition,
        "candidates": candidates,
    }))
}

fn candidates_of_operator(vhost: &Vhost, thing: Thing, name: &str, effective: &EffectivePolicy) -> Vec<Json> {
    candidates(vhost, thing, name, effective, true)
}

/// All policies of a kind, in the order in which they count.
fn candidates(vhost: &Vhost, thing: Thing, name: &str, effective: &EffectivePolicy, operator: bool) -> Vec<Json> {
    let winner = if operator { &effective.operator_policy } else { &effective.policy };
    let policies = vhost.policies(operator);
    let shown = policies.iter().map(|policy| {
        let (named, suits) = (policy.matches(name), policy.applies_to(thing, name));
        let applies = winner.as_deref() == Some(&*policy.name);
        let why = match (named, suits, applies) {
            (_, _, true) => "it matches, and none that matches has a higher priority".to_owned(),
            (false, ..) => format!("the pattern '{}' does not match the name", policy.record.pattern),
            (true, false, _) => format!("it applies to {} only", policy.record.apply_to.name()),
            (true, true, false) => format!("'{}' counts before it", winner.as_deref().unwrap_or_default()),
        };
        json!({
            "name": policy.record.name,
            "operator": operator,
            "pattern": policy.record.pattern,
            "apply-to": policy.record.apply_to.name(),
            "priority": policy.record.priority,
            "matches": named && suits,
            "applies": applies,
            "why": why,
        })
    });
    shown.collect()
}
