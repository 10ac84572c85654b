//! Bindings, and the names by which the API calls them.
//!
//! A binding's `properties_key` is its routing key, percent-encoded, with a hash of its arguments behind a `~` where it has
//! any; `~` alone stands for neither.

use axum::http::header::LOCATION;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use md5::{Digest as _, Md5};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::auth::Access as Permission;
use crate::frames::Table;
use crate::http::fields::Fields;
use crate::http::listing::{self, Listed};
use crate::http::route::Outcome;
use crate::http::{Access, Answer, ApiError, Call, Route, Work};
use crate::persist::definitions::table_to_json;
use crate::persist::record::BindingRecord;
use crate::vhost::bindings::record_of;
use crate::vhost::names::{exchange_text, queue_text};
use crate::vhost::{Command, Destination, Vhost};

pub const ROUTES: &[Route] = &[
    Route::get("/api/bindings", Access::Login, "All bindings.", Work::Blocking(list)),
    Route::get("/api/bindings/{vhost}", Access::Vhost, "The bindings of a virtual host.", Work::Blocking(list)),
    Route::get(
        "/api/bindings/{vhost}/e/{source}/q/{destination}",
        Access::Vhost,
        "The bindings from an exchange to a queue.",
        Work::Blocking(between),
    ),
    Route::get(
        "/api/bindings/{vhost}/e/{source}/e/{destination}",
        Access::Vhost,
        "The bindings from an exchange to another.",
        Work::Blocking(between),
    ),
    Route::post(
        "/api/bindings/{vhost}/e/{source}/q/{destination}",
        Access::Vhost,
        "Bind a queue; Location says how the binding is called.",
        Work::Blocking(bind),
    ),
    Route::post(
        "/api/bindings/{vhost}/e/{source}/e/{destination}",
        Access::Vhost,
        "Bind an exchange to another; Location says how the binding is called.",
        Work::Blocking(bind),
    ),
    Route::get(
        "/api/bindings/{vhost}/e/{source}/q/{destination}/{props}",
        Access::Vhost,
        "One binding of a queue.",
        Work::Blocking(one),
    ),
    Route::get(
        "/api/bindings/{vhost}/e/{source}/e/{destination}/{props}",
        Access::Vhost,
        "One binding of an exchange.",
        Work::Blocking(one),
    ),
    Route::delete(
        "/api/bindings/{vhost}/e/{source}/q/{destination}/{props}",
        Access::Vhost,
        "Remove a binding of a queue.",
        Work::Blocking(unbind),
    ),
    Route::delete(
        "/api/bindings/{vhost}/e/{source}/e/{destination}/{props}",
        Access::Vhost,
        "Remove a binding of an exchange.",
        Work::Blocking(unbind),
    ),
];

/// Left as they are in a part of an address.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

fn quoted(text: &str) -> String {
    utf8_percent_encode(text, PLAIN).to_string().replace("%20", "+")
}

fn arguments_hash(arguments: &Table) -> String {
    let mut encoded = Vec::new();
    arguments.clone().sorted().encode(&mut encoded);
    URL_SAFE_NO_PAD.encode(Md5::digest(&encoded))
}

/// How the API calls a binding, among those of the same ends.
pub fn properties_key(key: &str, arguments: &Table) -> String {
    match (key.is_empty(), arguments.is_empty()) {
        (true, true) => "~".to_owned(),
        (false, true) => quoted(key),
        (_, false) => format!("{}~{}", quoted(key), arguments_hash(arguments)),
    }
}

struct Bindings;

impl Listed for Bindings {
    type Item = BindingRecord;

    fn name<'a>(&self, item: &'a BindingRecord) -> &'a str {
        &item.destination
    }

    fn fill(&self, binding: &BindingRecord, fields: &mut Fields<'_>) {
        fields.put("source", || binding.source.as_str());
        fields.put("vhost", || binding.vhost.as_str());
        fields.put("destination", || binding.destination.as_str());
        fields.put("destination_type", || if binding.to_exchange { "exchange" } else { "queue" });
        fields.put("routing_key", || binding.key.as_str());
        fields.put("arguments", || table_to_json(&binding.arguments));
        fields.put("properties_key", || properties_key(&binding.key, &binding.arguments));
    }
}

/// The binding that every queue has from the default exchange.
fn by_default(vhost: &str, queue: &str) -> BindingRecord {
    let (vhost, name) = (vhost.to_owned(), queue.to_owned());
    BindingRecord {
        vhost,
        source: String::new(),
        destination: name.clone(),
        to_exchange: false,
        key: name,
        arguments: Table::default(),
    }
}

fn show(call: &Call, mut bindings: Vec<BindingRecord>) -> Outcome {
    let kind = |binding: &BindingRecord| !binding.to_exchange;
    bindings.sort_by(|a, b| {
        let (a_names, b_names) = ((&a.vhost, &a.source, kind(a)), (&b.vhost, &b.source, kind(b)));
        a_names.cmp(&b_names).then_with(|| (&a.destination, &a.key).cmp(&(&b.destination, &b.key)))
    });
    listing::answer(call, Bindings, bindings)
}

fn list(call: &Call) -> Outcome {
    let mut all = Vec::new();
    for vhost in call.vhosts()? {
        all.extend(vhost.queues_by_name().iter().map(|queue| by_default(&vhost.name, &queue.spec.name)));
        for exchange in vhost.exchanges_by_name() {
            all.extend(exchange.bindings.read().iter().map(|binding| record_of(&exchange, &binding)));
        }
    }
    show(call, all)
}

pub fn from_exchange(call: &Call) -> Outcome {
    let bindings = match super::exchanges::exchange(call)? {
        (vhost, None) => vhost.queues_by_name().iter().map(|queue| by_default(&vhost.name, &queue.spec.name)).collect(),
        (_, Some(exchange)) => exchange.bindings.read().iter().map(|binding| record_of(&exchange, &binding)).collect(),
    };
    show(call, bindings)
}

/// All bindings to something.
fn to(vhost: &Vhost, destination: &Destination) -> Vec<BindingRecord> {
    let sources = vhost.topology.read().sources_of(destination.id());
    let mut found = Vec::new();
    for source in sources {
        found.extend(source.bindings.read().of_destination(destination).map(|binding| record_of(&source, &binding)));
    }
    found
}

pub fn to_exchange(call: &Call) -> Outcome {
    let bindings = match super::exchanges::exchange(call)? {
        (_, None) => Vec::new(),
        (vhost, Some(exchange)) => to(&vhost, &Destination::Exchange(exchange)),
    };
    show(call, bindings)
}

pub fn to_queue(call: &Call) -> Outcome {
    let (vhost, queue) = super::queues::queue(call)?;
    let mut bindings = vec![by_default(&vhost.name, &queue.spec.name)];
    bindings.extend(to(&vhost, &Destination::Queue(queue)));
    show(call, bindings)
}

/// Whether the path leads to a queue: its last letter before the destination says so.
fn leads_to_queue(call: &Call) -> bool {
    call.route.contains("/q/{destination}")
}

/// The destination of the path.
fn destination(call: &Call, vhost: &Vhost) -> Result<Destination, ApiError> {
    let found = match leads_to_queue(call) {
        true => vhost.queue(call.path("destination")).map(Destination::Queue),
        false => vhost.exchange(call.exchange_name("destination")).map(Destination::Exchange),
    };
    found.ok_or_else(ApiError::not_found)
}

/// The bindings between the two ends of the path.
fn found_between(call: &Call) -> Result<Vec<BindingRecord>, ApiError> {
    let vhost = call.vhost()?;
    let destination = destination(call, &vhost)?;
    Ok(match (call.exchange_name("source"), &destination) {
        ("", Destination::Queue(queue)) => vec![by_default(&vhost.name, &queue.spec.name)],
        ("", Destination::Exchange(_)) => Vec::new(),
        (source, _) => {
            let source = vhost.exchange(source).ok_or_else(ApiError::not_found)?;
            source.bindings.read().of_destination(&destination).map(|binding| record_of(&source, &binding)).collect()
        }
    })
}

fn between(call: &Call) -> Outcome {
    show(call, found_between(call)?)
}

/// The binding of the path.
fn found(call: &Call) -> Result<BindingRecord, ApiError> {
    let between = found_between(call)?;
    let props = call.path("props");
    // The path is decoded already, and a tool may have encoded what it was given once more, or not.
    let twice = percent_decode_str(props).decode_utf8().map(std::borrow::Cow::into_owned).unwrap_or_default();
    // `a%2Fb` may be a key as it is, or what a tool has made of `a/b`: the binding whose name it is counts first.
    let likeness = |binding: &BindingRecord| {
        let key = properties_key(&binding.key, &binding.arguments);
        let decoded = percent_decode_str(&key).decode_utf8().unwrap_or_default();
        [key == props, decoded == twice, decoded == props].into_iter().position(|is_so| is_so)
    };
    let named = between.into_iter().filter_map(|binding| Some((likeness(&binding)?, binding)));
    named.min_by_key(|(likeness, _)| *likeness).map(|(_, binding)| binding).ok_or_else(ApiError::not_found)
}

fn one(call: &Call) -> Outcome {
    listing::one(call, &Bindings, &found(call)?)
}

/// The caller may bind: write to the destination, read from the source.
fn check(call: &Call, record: &BindingRecord) -> Result<(), ApiError> {
    let vhost = &record.vhost;
    let text = match record.to_exchange {
        true => exchange_text(vhost, &record.destination),
        false => queue_text(vhost, &record.destination),
    };
    call.check_permission(Permission::Write, &record.destination, &text)?;
    call.check_permission(Permission::Read, &record.source, &exchange_text(vhost, &record.source))?;
    let Some(user) = &call.caller.user else { return Ok(()) };
    let is_topic = call.broker().vhost(vhost).and_then(|v| v.exchange(&record.source));
    let (permit, now) = (call.caller.permit(call.broker(), vhost), call.broker().clock.now_ms());
    let is_refused = is_topic.is_some_and(|exchange| super::exchanges::is_topic(&exchange))
        && !permit.is_some_and(|permit| permit.topic_allows(Permission::Read, &record.source, &record.key, now));
    if is_refused {
        let source = exchange_text(vhost, &record.source);
        let text = format!("read access to topic '{}' in {source} refused for user '{}'", record.key, user.name);
        return Err(ApiError::not_authorised(text));
    }
    Ok(())
}

fn bind(call: &Call) -> Outcome {
    let vhost = call.vhost()?;
    let fields = call.fields(&[
        "source",
        "vhost",
        "destination",
        "destination_type",
        "routing_key",
        "arguments",
        "properties_key",
    ])?;
    let key = fields.text("routing_key")?.unwrap_or_default();
    if key.len() > 255 {
        return Err(ApiError::bad_request(format!("field 'routing_key' has {} bytes, 255 are allowed", key.len())));
    }
    let to_exchange = !leads_to_queue(call);
    let destination = if to_exchange { call.exchange_name("destination") } else { call.path("destination") };
    let record = BindingRecord {
        vhost: vhost.name.to_string(),
        source: call.exchange_name("source").to_owned(),
        destination: destination.to_owned(),
        to_exchange,
        key: key.to_owned(),
        arguments: fields.table("arguments")?,
    };
    if record.source.is_empty() || (to_exchange && record.destination.is_empty()) {
        return Err(ApiError::not_authorised("operation not permitted on the default exchange"));
    }
    check(call, &record)?;
    // Relative to the request's own path, as RabbitMQ has it.
    let location = format!("{}/{}", quoted(&record.destination), quoted(&properties_key(key, &record.arguments)));
    let applied = call.apply(Command::Bind { record, connection: None })?;
    if let Some(past) = &applied.history {
        call.broker().submit_past(&vhost, past);
    }
    Ok(Answer::created().after(&applied).with(LOCATION, &location))
}

fn unbind(call: &Call) -> Outcome {
    let record = found(call)?;
    if record.source.is_empty() {
        return Err(ApiError::not_authorised("operation not permitted on the default exchange"));
    }
    check(call, &record)?;
    let applied = call.apply(Command::Unbind { record, connection: None })?;
    Ok(Answer::done().after(&applied))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::Value;

    #[test]
    fn bindings_are_called_as_in_rabbitmq() {
        let none = Table::default();
        assert_eq!(properties_key("", &none), "~");
        assert_eq!(properties_key("a.b/c ~d", &none), "a.b%2Fc+%7Ed");
        let some: Table = [("x", Value::I64(1))].into_iter().collect();
        assert_eq!(properties_key("", &some), format!("~{}", arguments_hash(&some)));
        assert!(properties_key("k", &some).starts_with("k~"));
    }
}
