//! The overview: what a node is, has, and does.

use serde_json::{Map, Value as Json, json};

use super::connections;
use crate::auth::Mechanism;
use crate::config::RatesMode;
use crate::connection::census::Standing;
use crate::exchange::ExchangeType;
use crate::http::fields::{Columns, Fields};
use crate::http::figures::{self, rated};
use crate::http::route::Outcome;
use crate::http::{Access, Answer, Call, Http, Route, Work};
use crate::stats::history::Sample;
use crate::stats::{Churn, Kind};

pub const ROUTES: &[Route] =
    &[Route::get("/api/overview", Access::Login, "What the node is, has and does.", Work::Blocking(overview))];

fn overview(call: &Call) -> Outcome {
    let http = &call.http;
    let columns = Columns::parse(call.query.get("columns"));
    let mut fields = Fields::new(&columns);
    fields.put("management_version", || http.version());
    fields.put("rates_mode", || rates_mode(http));
    fields.put(
        "sample_retention_policies",
        || json!({ "global": [600, 3600, 28_800, 86_400], "basic": [600, 3600], "detailed": [600] }),
    );
    fields.put("exchange_types", exchange_types);
    fields.put("product_version", || http.version());
    fields.put("product_name", || http.product_name());
    fields.put("rabbitmq_version", || http.version());
    fields.put("cluster_name", || http.broker().cluster_name());
    fields.put("cluster_tags", || json!({}));
    fields.put("node_tags", || json!({}));
    fields.put("default_queue_type", || "classic");
    fields.put("release_series_support_status", || "supported");
    fields.put("erlang_version", || "");
    fields.put("erlang_full_version", || "");
    fields.put("leveret_version", || env!("CARGO_PKG_VERSION"));
    fields.put("disable_stats", || http.broker().config.management.disable_stats);
    fields.put("enable_queue_totals", || false);
    fields.put("is_op_policy_updating_enabled", || true);
    fields.put("statistics_db_event_queue", || 0);
    fields.put("node", || http.node_name());
    fields.put("churn_rates", || Json::Object(churn(http)));
    fields.put("listeners", || listeners(http));
    fields.put("contexts", || contexts(http));
    let (census, shared) = (&http.shared.census, &http.shared);
    if fields.wants("queue_totals") {
        let (ready, unacked) = census.lengths(shared);
        let [ready_rate, unacked_rate] = census.length_rates();
        let mut totals = Map::new();
        rated(&mut totals, "messages", ready + unacked, ready_rate + unacked_rate);
        rated(&mut totals, "messages_ready", ready, ready_rate);
        rated(&mut totals, "messages_unacknowledged", unacked, unacked_rate);
        let history = history(call, "lengths");
        add_samples(&mut totals, "messages", &history, &|s| s.ready + s.unacked);
        add_samples(&mut totals, "messages_ready", &history, &|s| s.ready);
        add_samples(&mut totals, "messages_unacknowledged", &history, &|s| s.unacked);
        fields.put("queue_totals", || Json::Object(totals));
    }
    if fields.wants("message_stats") || fields.wants("object_totals") {
        let sums = census.sums(shared, None);
        let rates = census.rates();
        let mut stats = figures::of_channel(&sums.counted, &rates);
        rated(&mut stats, "disk_reads", 0, 0.0);
        rated(&mut stats, "disk_writes", 0, 0.0);
        let history = history(call, "msg_rates");
        for (name, kind) in SAMPLED {
            add_samples(&mut stats, name, &history, &|s: &Standing| s.counted.get(*kind));
        }
        fields.put("message_stats", || Json::Object(stats));
        // Who does not watch the node sees their own.
        let own = match call.caller.is_monitor() {
            true => None,
            false => Some(connections::visible(call)?),
        };
        let vhosts = if own.is_none() { http.broker().vhosts() } else { call.vhosts()? };
        let (channels, open, consumers) = own.map_or((sums.channels, sums.connections, sums.consumers), |own| {
            let (mut channels, mut consumers) = (0, 0);
            for connection in &own {
                connection.outbox.each_channel(|_, channel| {
                    channels += 1;
                    consumers += channel.consumer_count() as u64;
                });
            }
            (channels, own.len() as u64, consumers)
        });
        let count = |of: &dyn Fn(&crate::vhost::topology::Topology) -> usize| -> usize {
            vhosts.iter().map(|vhost| of(&vhost.topology.read())).sum()
        };
        // The default exchange counts, too.
        let exchanges = count(&|topology| topology.exchanges.len() + 1);
        fields.put("object_totals", || {
            json!({
                "channels": channels, "connections": open, "consumers": consumers,
                "exchanges": exchanges, "queues": count(&|topology| topology.queues.len()),
            })
        });
    }
    Answer::json(&fields.finish())
}

/// What has samples when they are asked for.
const SAMPLED: &[(&str, Kind)] = &[
    ("publish", Kind::Publish),
    ("confirm", Kind::Confirm),
    ("ack", Kind::Ack),
    ("deliver", Kind::Deliver),
    ("deliver_no_ack", Kind::DeliverNoAck),
    ("get", Kind::Get),
    ("get_no_ack", Kind::GetNoAck),
    ("redeliver", Kind::Redeliver),
    ("return_unroutable", Kind::ReturnUnroutable),
    ("drop_unroutable", Kind::DropUnroutable),
];

/// The samples that the query asks for with `<what>_age` and `<what>_incr`, in seconds; newest first.
fn history(call: &Call, what: &str) -> Vec<Sample<Standing>> {
    let seconds = |end: &str| call.query.get(&format!("{what}_{end}")).and_then(|text| text.parse::<u64>().ok());
    let (Some(age), Some(step)) = (seconds("age"), seconds("incr")) else { return Vec::new() };
    let now = call.broker().clock.now_ms();
    call.http.shared.census.history(now, age.saturating_mul(1000), step.saturating_mul(1000))
}

/// Adds samples to the details of a figure, with what they come to on average.
fn add_samples(
    figures: &mut Map<String, Json>,
    name: &str,
    history: &[Sample<Standing>],
    value: &dyn Fn(&Standing) -> u64,
) {
    let (Some(newest), Some(oldest)) = (history.first(), history.last()) else { return };
    let Some(Json::Object(details)) = figures.get_mut(&format!("{name}_details")) else { return };
    let values: Vec<u64> = history.iter().map(|sample| value(&sample.value)).collect();
    let samples: Vec<Json> =
        history.iter().zip(&values).map(|(s, value)| json!({ "sample": value, "timestamp": s.at })).collect();
    let seconds = newest.at.saturating_sub(oldest.at) as f64 / 1000.0;
    let growth = value(&newest.value) as f64 - value(&oldest.value) as f64;
    details.insert("samples".to_owned(), samples.into());
    details.insert("avg_rate".to_owned(), (if seconds > 0.0 { growth / seconds } else { 0.0 }).into());
    details.insert("avg".to_owned(), (values.iter().sum::<u64>() as f64 / values.len() as f64).into());
}

/// What has come and gone, with rates.
pub fn churn(http: &Http) -> Map<String, Json> {
    let (counts, rates) = (&http.broker().churn, http.shared.census.churn_rates());
    let mut churn = Map::new();
    for (name, what) in [
        ("connection_created", Churn::ConnectionCreated),
        ("connection_closed", Churn::ConnectionClosed),
        ("channel_created", Churn::ChannelCreated),
        ("channel_closed", Churn::ChannelClosed),
        ("queue_declared", Churn::QueueDeclared),
        ("queue_created", Churn::QueueCreated),
        ("queue_deleted", Churn::QueueDeleted),
    ] {
        rated(&mut churn, name, counts.get(what), rates.get(what as usize));
    }
    churn
}

pub fn rates_mode(http: &Http) -> &'static str {
    match http.broker().config.management.rates_mode {
        RatesMode::None => "none",
        RatesMode::Basic => "basic",
        RatesMode::Detailed => "detailed",
    }
}

pub fn exchange_types() -> Json {
    let types = ExchangeType::ALL.iter().map(
        |kind| json!({ "name": kind.name(), "description": format!("exchange type {}", kind.name()), "enabled": true }),
    );
    types.collect()
}

pub fn auth_mechanisms() -> Json {
    let all = Mechanism::ALL.iter().map(|mechanism| {
        let description = format!("SASL {} authentication mechanism", mechanism.name());
        json!({ "name": mechanism.name(), "description": description, "enabled": true })
    });
    all.collect()
}

fn listeners(http: &Http) -> Json {
    let all = http.node.listeners().into_iter().map(|listener| {
        json!({
            "node": http.node_name(), "protocol": listener.protocol, "ip_address": listener.address.ip().to_string(),
            "port": listener.address.port(), "socket_opts": {},
        })
    });
    all.collect()
}

/// The listeners that serve HTTP.
pub fn contexts(http: &Http) -> Json {
    let all = http.node.listeners().into_iter().filter(|listener| listener.protocol.starts_with("http"));
    let all = all.map(|listener| {
        json!({
            "node": http.node_name(), "description": listener.purpose, "path": "/", "cowboy_opts": "[]",
            "ip": listener.address.ip().to_string(), "port": listener.address.port().to_string(),
        })
    });
    all.collect()
}
