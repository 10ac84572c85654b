//! The overview: what a node is, has, and does.

use std::sync::Arc;

use serde_json::{Map, Value as Json, json};

use super::connections;
use crate::auth::Mechanism;
use crate::config::RatesMode;
use crate::connection::census::{Standing, Sums};
use crate::exchange::ExchangeType;
use crate::http::fields::{Columns, Fields, Shown};
use crate::http::figures::{self, sampled};
use crate::http::route::Outcome;
use crate::http::samples::{Over, part};
use crate::http::{Access, Answer, ApiError, Call, Http, Route, Work};
use crate::stats::album::Span;
use crate::stats::history::Sample;
use crate::stats::{Churn, KINDS, Rates};
use crate::vhost::Vhost;
use crate::vhost::topology::Topology;

pub const ROUTES: &[Route] =
    &[Route::get("/api/overview", Access::Login, "What the node is, has and does.", Work::Blocking(overview))];

fn overview(call: &Call) -> Outcome {
    let http = &call.http;
    let columns = Columns::of(call);
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
    let shown = call.shown();
    fields.put("disable_stats", || matches!(shown, Shown::Totals | Shown::NoStats));
    fields.put("enable_queue_totals", || shown == Shown::Totals);
    fields.put("is_op_policy_updating_enabled", || true);
    fields.put("statistics_db_event_queue", || 0);
    fields.put("node", || http.node_name());
    // Who does not watch the node sees what is in their virtual hosts, and not what it listens on.
    let is_monitor = call.caller.is_monitor();
    if is_monitor {
        fields.put("listeners", || listeners(http));
        fields.put("contexts", || contexts(http));
    }
    let seen = Seen::of(call)?;
    let over = Over::asked(call, |span| seen.history(http, span));
    fields.put("churn_rates", || {
        let churned = Over::asked(call, |span| http.shared.census.history(span));
        let history = if churned.msg_rates.is_empty() { churned.node_stats } else { churned.msg_rates };
        Json::Object(churn(http, &history))
    });
    fields.put("queue_totals", || Json::Object(queue_totals(&seen, http, &over)));
    if fields.wants("message_stats") || fields.wants("object_totals") {
        let (sums, rates) = seen.sums(http);
        fields.put("message_stats", || {
            let history = part(&over.msg_rates, |standing: &Standing| standing.counted);
            Json::Object(figures::of_all(&sums.counted, &rates, &history))
        });
        let objects = seen.objects(call, &sums)?;
        fields.put("object_totals", || objects);
    }
    Answer::json(&fields.finish())
}

/// What the caller sees: the whole node, or some virtual hosts.
enum Seen {
    All(Vec<Arc<Vhost>>),
    Some(Vec<Arc<Vhost>>),
}

impl Seen {
    fn of(call: &Call) -> Result<Self, ApiError> {
        Ok(match call.caller.is_monitor() {
            true => Self::All(call.broker().vhosts()),
            false => Self::Some(call.vhosts()?),
        })
    }

    fn history(&self, http: &Http, span: Span) -> Vec<Sample<Standing>> {
        let (census, now) = (&http.shared.census, http.broker().clock.now_ms());
        let vhosts = match self {
            Self::All(_) => return census.history(span),
            Self::Some(vhosts) => vhosts,
        };
        let mut sum: Vec<Sample<Standing>> = Vec::new();
        for vhost in vhosts {
            let of_one = census.albums.vhosts.look(vhost, now, census.standing_of(&http.shared, vhost), span);
            for (n, sample) in of_one.into_iter().enumerate() {
                match sum.get_mut(n) {
                    Some(all) => all.value.add(&sample.value),
                    None => sum.push(sample),
                }
            }
        }
        sum
    }

    /// Ready and unacked messages, and how fast they change.
    fn lengths(&self, http: &Http) -> ([u64; 2], [f64; 2]) {
        let census = &http.shared.census;
        let (ready, unacked) = census.lengths(&http.shared);
        match self {
            Self::All(_) => ([ready, unacked], census.length_rates()),
            Self::Some(vhosts) => vhosts.iter().fold(([0; 2], [0.0; 2]), |([ready, unacked], [r, u]), vhost| {
                let (queues, [ready_rate, unacked_rate]) =
                    (&vhost.sums.queues, census.rates_of(&vhost.name).length_rates);
                ([ready + queues.ready(), unacked + queues.unacked()], [r + ready_rate, u + unacked_rate])
            }),
        }
    }

    fn sums(&self, http: &Http) -> (Sums, Rates<KINDS>) {
        let (census, shared) = (&http.shared.census, &http.shared);
        match self {
            Self::All(_) => (census.sums(shared, None), census.rates()),
            Self::Some(vhosts) => {
                let (mut sums, mut rates) = (Sums::default(), Rates::default());
                for vhost in vhosts {
                    sums.counted.add_all(&census.sums(shared, Some(&vhost.name)).counted);
                    rates.add_all(&census.rates_of(&vhost.name).rates);
                }
                (sums, rates)
            }
        }
    }

    fn objects(&self, call: &Call, sums: &Sums) -> Result<Json, ApiError> {
        let (vhosts, channels, connections, consumers) = match self {
            Self::All(vhosts) => (vhosts, sums.channels, sums.connections, sums.consumers),
            Self::Some(vhosts) => {
                let own = connections::visible(call)?;
                let (mut channels, mut consumers) = (0, 0);
                for connection in &own {
                    connection.outbox.each_channel(|_, channel| {
                        channels += 1;
                        consumers += channel.consumer_count() as u64;
                    });
                }
                (vhosts, channels, own.len() as u64, consumers)
            }
        };
        let count =
            |of: &dyn Fn(&Topology) -> usize| -> usize { vhosts.iter().map(|vhost| of(&vhost.topology.read())).sum() };
        // The default exchange counts, too.
        let exchanges = count(&|topology| topology.exchanges.len() + 1);
        Ok(json!({
            "channels": channels, "connections": connections, "consumers": consumers,
            "exchanges": exchanges, "queues": count(&|topology| topology.queues.len()),
        }))
    }
}

fn queue_totals(seen: &Seen, http: &Http, over: &Over<Standing>) -> Map<String, Json> {
    let ([ready, unacked], [ready_rate, unacked_rate]) = seen.lengths(http);
    let (mut totals, history) = (Map::new(), &over.lengths);
    sampled(&mut totals, "messages", ready + unacked, ready_rate + unacked_rate, history, |s| s.ready + s.unacked);
    sampled(&mut totals, "messages_ready", ready, ready_rate, history, |s| s.ready);
    sampled(&mut totals, "messages_unacknowledged", unacked, unacked_rate, history, |s| s.unacked);
    totals
}

/// What has come and gone, with rates.
pub fn churn(http: &Http, history: &[Sample<Standing>]) -> Map<String, Json> {
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
        let of = |standing: &Standing| standing.churn.get(what as usize).copied().unwrap_or_default();
        sampled(&mut churn, name, counts.get(what), rates.get(what as usize), history, of);
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
