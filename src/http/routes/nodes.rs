//! The node: what it uses and may use, and its alarms.

use serde_json::{Map, Value as Json, json};

use super::overview;
use crate::connection::uses::{Use, Uses};
use crate::http::fields::{Columns, Fields};
use crate::http::figures::sampled;
use crate::http::process::{self, Memory};
use crate::http::route::Outcome;
use crate::http::samples::Over;
use crate::http::{Access, Answer, ApiError, Call, Phase, Route, Work};
use crate::plugins::BUILT_IN;
use crate::stats::history::Sample;
use crate::stats::rates::rounded;

pub const ROUTES: &[Route] = &[
    Route::get("/api/nodes", Access::Monitoring, "All nodes.", Work::Blocking(list)),
    Route::get("/api/nodes/{node}", Access::Monitoring, "One node.", Work::Blocking(one)),
    Route::get("/api/nodes/{node}/memory", Access::Monitoring, "Where its memory is.", Work::Blocking(memory)),
    Route::get(
        "/api/nodes/{node}/memory/relative",
        Access::Monitoring,
        "The same in percent.",
        Work::Blocking(relative),
    ),
];

fn list(call: &Call) -> Outcome {
    Answer::json(&json!([shown(call)]))
}

fn one(call: &Call) -> Outcome {
    check(call)?;
    Answer::json(&shown(call))
}

/// There is one node.
fn check(call: &Call) -> Result<(), ApiError> {
    if call.path("node") == call.http.node_name() { Ok(()) } else { Err(ApiError::not_found()) }
}

fn shown(call: &Call) -> Json {
    let columns = Columns::of(call);
    let mut fields = Fields::new(&columns);
    for (name, value) in whole(call) {
        fields.put(&name, || value);
    }
    fields.finish()
}

fn whole(call: &Call) -> Map<String, Json> {
    let http = &call.http;
    let broker = http.broker();
    let store = broker.store.as_ref();
    let mut node = Map::new();
    let mut put = |name: &str, value: Json| node.insert(name.to_owned(), value);
    put("name", http.node_name().into());
    put("type", "disc".into());
    put("running", (http.node.phase() != Phase::Stopped).into());
    put("being_drained", (http.node.phase() == Phase::Drained).into());
    put("os_pid", std::process::id().to_string().into());
    put("uptime", u64::try_from(http.started.elapsed().unwrap_or_default().as_millis()).unwrap_or(u64::MAX).into());
    put("mem_limit", broker.memory.limit().into());
    put("mem_alarm", broker.memory.is_over().into());
    put("mem_calculation_strategy", "rss".into());
    put("disk_free_limit", store.map_or(0, |store| store.disk_limit()).into());
    put("disk_free_alarm", store.is_some_and(|store| store.disk_alarm()).into());
    put("fd_total", process::most_files().into());
    put("sockets_total", process::most_files().into());
    put("proc_total", process::most_threads().into());
    put("processors", std::thread::available_parallelism().map_or(1, usize::from).into());
    put("run_queue", 0.into());
    put("net_ticktime", 60.into());
    put("rates_mode", overview::rates_mode(http).into());
    put("exchange_types", overview::exchange_types());
    put("auth_mechanisms", overview::auth_mechanisms());
    put("contexts", overview::contexts(http));
    let (name, version) = (http.product_name(), http.version());
    put("applications", json!([{ "name": "rabbit", "description": name, "version": version }]));
    put("partitions", json!([]));
    put("cluster_links", json!([]));
    put("enabled_plugins", json!(BUILT_IN));
    put("db_dir", broker.config.data_dir.display().to_string().into());
    put("config_files", json!([]));
    put("log_files", json!([]));
    put("metrics_gc_queue_length", json!({}));
    let census = &http.shared.census;
    let over = Over::asked(call, |span| census.use_history(span));
    put_uses(Uses::now(&http.shared), census.use_rates(), &over.node_stats, &mut node);
    let over = Over::asked(call, |span| census.history(span));
    node.extend(overview::churn(http, &over.node_stats));
    node
}

/// What it uses, with how fast that changes.
const USED: &[(&str, Use)] = &[
    ("mem_used", Use::Memory),
    ("disk_free", Use::DiskFree),
    ("fd_used", Use::Files),
    ("sockets_used", Use::Sockets),
    ("proc_used", Use::Threads),
    ("io_write_count", Use::Writes),
    ("io_write_bytes", Use::WrittenBytes),
    ("io_sync_count", Use::Syncs),
    ("io_read_count", Use::Reads),
    ("io_read_bytes", Use::ReadBytes),
];

/// What takes how long in milliseconds on average. A commit of the journal is one write, and its time that of its sync.
const TIMES: &[(&str, Use, Use)] = &[
    ("io_write_avg_time", Use::WriteMicros, Use::Writes),
    ("io_sync_avg_time", Use::WriteMicros, Use::Writes),
    ("io_read_avg_time", Use::ReadMicros, Use::Reads),
];

fn put_uses(uses: Uses, rates: Uses<f32>, history: &[Sample<Uses>], node: &mut Map<String, Json>) {
    for (name, what) in USED {
        sampled(node, name, uses.get(*what), rounded(rates.get(*what)), history, |sample| sample.get(*what));
    }
    let average = |micros: f64, count: f64| if count > 0.0 { micros / count / 1000.0 } else { 0.0 };
    for (name, time, count) in TIMES {
        let whole = average(uses.get(*time) as f64, uses.get(*count) as f64);
        let lately = average(rates.get(*time).into(), rates.get(*count).into());
        let of = |sample: &Uses| average(sample.get(*time) as f64, sample.get(*count) as f64).round() as u64;
        sampled(node, name, whole, lately, history, of);
    }
}

fn memory(call: &Call) -> Outcome {
    check(call)?;
    let Memory { messages, code, other, resident } = Memory::now(call.broker().memory);
    let total = json!({ "rss": resident, "allocated": resident, "erlang": resident });
    Answer::json(&json!({ "memory": {
        "binary": messages, "code": code, "other_system": other, "total": total, "strategy": "rss",
    } }))
}

fn relative(call: &Call) -> Outcome {
    check(call)?;
    let Memory { messages, code, other, resident } = Memory::now(call.broker().memory);
    let share = |bytes: u64| bytes.saturating_mul(100).div_ceil(resident.max(1));
    Answer::json(&json!({ "memory": {
        "binary": share(messages), "code": share(code), "other_system": share(other), "total": 100,
    } }))
}
