//! Exchanges.

use std::sync::Arc;

use serde_json::json;

use super::{apart, bindings};
use crate::auth::Access as Permission;
use crate::exchange::{ExchangeType, Matching};
use crate::http::fields::{Columns, Fields};
use crate::http::figures;
use crate::http::listing::{self, Listed};
use crate::http::route::Outcome;
use crate::http::samples::Over;
use crate::http::{Access, Answer, ApiError, Call, Route, Work};
use crate::persist::definitions::table_to_json;
use crate::persist::record::ExchangeRecord;
use crate::vhost::names::exchange_text;
use crate::vhost::{Command, Exchange, Vhost};

pub const ROUTES: &[Route] = &[
    Route::get("/api/exchanges", Access::Login, "All exchanges.", Work::Blocking(list)),
    Route::get("/api/exchanges/{vhost}", Access::Vhost, "The exchanges of a virtual host.", Work::Blocking(list)),
    Route::get("/api/exchanges/{vhost}/{exchange}", Access::Vhost, "One exchange.", Work::Blocking(one)),
    Route::put("/api/exchanges/{vhost}/{exchange}", Access::Vhost, "Declare an exchange.", Work::Blocking(put)),
    Route::delete("/api/exchanges/{vhost}/{exchange}", Access::Vhost, "Delete an exchange.", Work::Blocking(delete)),
    Route::get(
        "/api/exchanges/{vhost}/{exchange}/bindings/source",
        Access::Vhost,
        "The bindings from an exchange.",
        Work::Blocking(bindings::from_exchange),
    ),
    Route::get(
        "/api/exchanges/{vhost}/{exchange}/bindings/destination",
        Access::Vhost,
        "The bindings to an exchange.",
        Work::Blocking(bindings::to_exchange),
    ),
];

/// An exchange of a list: the default one is no object of the broker.
pub enum Shown {
    Default(Arc<Vhost>),
    Named(Arc<Vhost>, Arc<Exchange>),
}

#[derive(Default)]
struct Exchanges {
    over: Over<[u64; 2]>,
}

impl Listed for Exchanges {
    type Item = Shown;

    fn name<'a>(&self, item: &'a Shown) -> &'a str {
        match item {
            Shown::Default(_) => "",
            Shown::Named(_, exchange) => &exchange.record.name,
        }
    }

    fn fill(&self, item: &Shown, fields: &mut Fields<'_>) {
        fields.put("name", || self.name(item));
        let (vhost, exchange) = match item {
            Shown::Named(vhost, exchange) => (vhost, exchange),
            Shown::Default(vhost) => {
                fields.put("vhost", || &*vhost.name);
                fields.put("type", || ExchangeType::Direct.name());
                fields.put("durable", || true);
                fields.put("auto_delete", || false);
                fields.put("internal", || false);
                fields.put("arguments", || json!({}));
                figures::put_exchange(&vhost.default_exchange, &self.over, fields);
                fields.put("user_who_performed_action", || "rmq-internal");
                return;
            }
        };
        let record = &exchange.record;
        fields.put("vhost", || &*vhost.name);
        fields.put("type", || record.kind.as_str());
        fields.put("durable", || record.durable);
        fields.put("auto_delete", || record.auto_delete);
        fields.put("internal", || record.internal);
        fields.put("arguments", || table_to_json(&record.arguments));
        figures::put_exchange(&exchange.counts, &self.over, fields);
        fields.put("user_who_performed_action", || "rmq-internal");
        let in_force = exchange.in_force();
        if let Some(policy) = &in_force.policy {
            fields.put("policy", || &**policy);
        }
        if let Some(policy) = &in_force.operator_policy {
            fields.put("operator_policy", || &**policy);
        }
        if let Some(delays) = &exchange.delays {
            fields.put("messages_delayed", || delays.counts().ready);
        }
    }
}

fn list(call: &Call) -> Outcome {
    let mut shown = Vec::new();
    for vhost in call.vhosts()? {
        shown.push(Shown::Default(Arc::clone(&vhost)));
        shown.extend(vhost.exchanges_by_name().into_iter().map(|exchange| Shown::Named(Arc::clone(&vhost), exchange)));
    }
    listing::answer(call, Exchanges::default(), shown)
}

/// The exchange of the path; `None` for the default one.
///
/// # Errors
/// 404 when there is none.
pub fn exchange(call: &Call) -> Result<(Arc<Vhost>, Option<Arc<Exchange>>), ApiError> {
    let vhost = call.vhost()?;
    let exchange = match call.exchange_name("exchange") {
        "" => None,
        name => Some(vhost.exchange(name).ok_or_else(ApiError::not_found)?),
    };
    Ok((vhost, exchange))
}

fn one(call: &Call) -> Outcome {
    let shown = match exchange(call)? {
        (vhost, None) => Shown::Default(vhost),
        (vhost, Some(exchange)) => Shown::Named(vhost, exchange),
    };
    let columns = Columns::of(call);
    let mut fields = Fields::new(&columns);
    let (vhost, counts) = match &shown {
        Shown::Default(vhost) => (vhost, &vhost.default_exchange),
        Shown::Named(vhost, exchange) => (vhost, &exchange.counts),
    };
    let (now, album) = (call.broker().clock.now_ms(), &call.http.shared.census.albums.exchanges);
    let over = Over::asked(call, |span| album.look(counts, now, counts.flow(), span));
    Exchanges { over }.fill(&shown, &mut fields);
    fields.put("incoming", || apart::into_exchange(&call.http, vhost, counts));
    fields.put("outgoing", || apart::out_of_exchange(vhost, counts));
    Answer::json(&fields.finish())
}

fn put(call: &Call) -> Outcome {
    let (vhost, name) = (call.vhost()?, call.exchange_name("exchange"));
    let fields = call.fields(&["name", "vhost", "node", "type", "durable", "auto_delete", "internal", "arguments"])?;
    let record = ExchangeRecord {
        vhost: vhost.name.to_string(),
        name: name.to_owned(),
        kind: fields.text("type")?.unwrap_or("direct").to_owned(),
        durable: fields.flag("durable")?.unwrap_or(false),
        auto_delete: fields.flag("auto_delete")?.unwrap_or(false),
        internal: fields.flag("internal")?.unwrap_or(false),
        arguments: fields.table("arguments")?,
        id: 0,
    };
    check_name(call, name)?;
    let is_new = vhost.exchange(name).is_none();
    if is_new {
        check_alternate(call, &record)?;
    }
    let applied = call.apply(Command::DeclareExchange(record))?;
    Ok(Answer::put(is_new).after(&applied))
}

/// Who makes an exchange with an alternate one must be able to read it and write to the other, as by AMQP.
fn check_alternate(call: &Call, record: &ExchangeRecord) -> Result<(), ApiError> {
    let Some(to) = record.arguments.get("alternate-exchange").and_then(crate::frames::Value::as_text) else {
        return Ok(());
    };
    call.check_permission(Permission::Read, &record.name, &exchange_text(&record.vhost, &record.name))?;
    call.check_permission(Permission::Write, &to, &exchange_text(&record.vhost, &to))
}

/// A name that the caller may declare or delete.
fn check_name(call: &Call, name: &str) -> Result<(), ApiError> {
    if name.is_empty() {
        return Err(ApiError::bad_request("operation not permitted on the default exchange"));
    }
    if name.len() > 255 {
        return Err(ApiError::bad_request(format!("the exchange's name has {} bytes, 255 are allowed", name.len())));
    }
    call.check_permission(Permission::Configure, name, &exchange_text(call.path("vhost"), name))
}

fn delete(call: &Call) -> Outcome {
    let name = call.exchange_name("exchange").to_owned();
    check_name(call, &name)?;
    let (vhost, _) = exchange(call)?;
    let if_unused = call.query.is_true("if-unused");
    let applied = call.apply(Command::DeleteExchange { vhost: vhost.name.to_string(), name, if_unused })?;
    Ok(Answer::done().after(&applied))
}

/// Whether routing keys of an exchange are words.
pub fn is_topic(exchange: &Exchange) -> bool {
    exchange.settings.matching == Matching::Topic
}
