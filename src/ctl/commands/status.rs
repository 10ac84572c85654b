//! What a node says of itself.

use serde_json::{Value as Json, json};

use super::cluster::{or_none, section};
use super::{CTL_AND_DIAGNOSTICS, DIAGNOSTICS};
use crate::ctl::command::{Command, Needs, Opt};
use crate::ctl::exit::Failure;
use crate::ctl::session::{Session, path};

const UNIT: &[Opt] = &[Opt::text("unit", "<unit>", "bytes, kb, mb, gb, kib, mib or gib [gb]")];

pub const COMMANDS: &[Command] = &[
    Command::new("status", "The node: versions, files, alarms, memory, listeners", status)
        .options(UNIT)
        .of(CTL_AND_DIAGNOSTICS)
        .needs(Needs::Node),
    Command::new("server_version", "The version whose behaviour the node has", server_version)
        .of(DIAGNOSTICS)
        .needs(Needs::Node),
    Command::new("listeners", "What the node listens on", show_listeners).of(DIAGNOSTICS),
    Command::new("memory_breakdown", "What the node's memory is used for", memory_breakdown)
        .options(UNIT)
        .of(DIAGNOSTICS),
    Command::new("alarms", "The alarms that are on", alarms).of(DIAGNOSTICS),
    Command::new("report", "Everything about the node, for support", report).of(CTL_AND_DIAGNOSTICS),
    Command::new("enable_auth_attempt_source_tracking", "Counts logins by address and user, too", track_logins)
        .of(CTL_AND_DIAGNOSTICS),
    Command::new("disable_auth_attempt_source_tracking", "Counts logins by protocol only", do_not_track_logins)
        .of(CTL_AND_DIAGNOSTICS),
    Command::new("reset_node_auth_attempt_metrics", "Counts logins anew", forget_logins).of(CTL_AND_DIAGNOSTICS),
    Command::new("list_node_auth_attempt_stats", "Logins that were tried", auth_attempts)
        .options(&[Opt::switch("by-source", "by address and user")])
        .of(CTL_AND_DIAGNOSTICS),
];

/// The node's statistics.
pub fn node_stats(session: &mut Session) -> Result<Json, Failure> {
    let node = session.node().to_owned();
    session.get(&path(&["nodes", &node]))
}

fn status(session: &mut Session) -> Result<(), Failure> {
    let node = session.node().to_owned();
    session.banner(format!("Status of node {node} ..."))?;
    let unit = Unit::of(session)?;
    let runs = session.runs();
    let stats = node_stats(session)?;
    let overview = session.get("/api/overview")?;
    let own = session.find("/api/leveret/node/status")?.unwrap_or_default();
    let listeners = listeners(session)?;
    let alarms = alarm_lines(session)?;
    let number = |from: &Json, field: &str| from.get(field).and_then(Json::as_f64).unwrap_or(0.0);
    let word = |from: &Json, field: &str| plain(from.get(field).unwrap_or(&Json::Null));
    let seconds = (number(&stats, "uptime") / 1000.0) as u64;
    let drained = own.get("under_maintenance").and_then(Json::as_bool).unwrap_or(false);
    let totals = overview.get("object_totals").cloned().unwrap_or_default();
    let vhosts = session.get("/api/vhosts?columns=name")?.as_array().map_or(0, Vec::len);
    let done = session.out.as_json(|| {
        json!({
            "os": std::env::consts::OS, "pid": own.get("pid"), "uptime": seconds, "is_under_maintenance": drained,
            "is_running": runs,
            "product_name": overview.get("product_name"), "product_version": overview.get("leveret_version"),
            "rabbitmq_version": overview.get("rabbitmq_version"), "erlang_version": overview.get("erlang_version"),
            "data_directory": own.get("data_dir"), "config_files": own.get("config_files"), "log_files": own.get("log_files"),
            "log_entries_lost": own.get("log_entries_lost"),
            "active_plugins": stats.get("enabled_plugins"), "alarms": alarms, "listeners": listeners,
            "disk_free": stats.get("disk_free"), "disk_free_limit": stats.get("disk_free_limit"),
            "file_descriptors": { "total_used": stats.get("fd_used"), "total_limit": stats.get("fd_total"),
                "sockets_used": stats.get("sockets_used"), "sockets_limit": stats.get("sockets_total") },
            "memory": { "total": { "rss": stats.get("mem_used") } }, "vm_memory_high_watermark_limit": stats.get("mem_limit"),
            "totals": { "connection_count": totals.get("connections"), "queue_count": totals.get("queues"),
                "virtual_host_count": vhosts },
        })
    })?;
    if done {
        return Ok(());
    }
    let lines = [
        format!("OS PID: {}", word(&own, "pid")),
        format!("OS: {}", std::env::consts::OS),
        format!("Uptime (seconds): {seconds}"),
        format!("Is running?: {}", if runs { "true" } else { "false: the app is stopped, start_app starts it" }),
        format!("Is under maintenance?: {drained}"),
        format!("RabbitMQ version: {} (what it answers as)", word(&overview, "rabbitmq_version")),
        format!("Product: {} {}", word(&overview, "product_name"), word(&overview, "leveret_version")),
        format!("Node name: {node}"),
    ];
    section(session, "Runtime", &lines)?;
    let plugins = starred(stats.get("enabled_plugins"));
    section(session, "Plugins", &[vec!["Enabled plugins:".to_owned(), String::new()], plugins].concat())?;
    section(session, "Data directory", &[format!("Node data directory: {}", word(&own, "data_dir"))])?;
    section(session, "Config files", &or_none(starred(own.get("config_files"))))?;
    section(session, "Log file(s)", &or_none(starred(own.get("log_files"))))?;
    let lost = lost_entries(&own);
    if !lost.is_empty() {
        section(session, "Log entries lost", &lost)?;
    }
    section(session, "Alarms", &or_none(alarms))?;
    let lines = [
        format!("Total memory used: {}", unit.write(number(&stats, "mem_used"))),
        format!("Memory high watermark: {}", unit.write(number(&stats, "mem_limit"))),
    ];
    section(session, "Memory", &lines)?;
    section(
        session,
        "File Descriptors",
        &[format!("Total: {}, limit: {}", word(&stats, "fd_used"), word(&stats, "fd_total"))],
    )?;
    let lines = [
        format!("Low free disk space watermark: {}", unit.write(number(&stats, "disk_free_limit"))),
        format!("Free disk space: {}", unit.write(number(&stats, "disk_free"))),
    ];
    section(session, "Free Disk Space", &lines)?;
    let lines = [
        format!("Connection count: {}", word(&totals, "connections")),
        format!("Queue count: {}", word(&totals, "queues")),
        format!("Virtual host count: {vhosts}"),
    ];
    section(session, "Totals", &lines)?;
    let lines: Vec<String> = listeners.iter().map(listener_line).collect();
    section(session, "Listeners", &lines)
}

/// Where entries of the log were lost, and how many.
fn lost_entries(own: &Json) -> Vec<String> {
    let lost = own.get("log_entries_lost").and_then(Json::as_object).into_iter().flatten();
    let lost = lost.filter(|(_, count)| count.as_u64() != Some(0));
    lost.map(|(output, count)| format!(" * {output}: {count}")).collect()
}

fn server_version(session: &mut Session) -> Result<(), Failure> {
    let node = session.node().to_owned();
    session.banner(format!("Asking node {node} for its RabbitMQ version..."))?;
    let overview = session.get("/api/overview?columns=rabbitmq_version")?;
    session.out.line(plain(overview.get("rabbitmq_version").unwrap_or(&Json::Null)))
}

fn show_listeners(session: &mut Session) -> Result<(), Failure> {
    let node = session.node().to_owned();
    session.banner(format!("Asking node {node} to report its protocol listeners ..."))?;
    let listeners = listeners(session)?;
    if session.out.as_json(|| json!({ "result": "ok", "node": node, "listeners": listeners }))? {
        return Ok(());
    }
    for listener in &listeners {
        let line = listener_line(listener);
        let (first, rest) = line.split_at_checked(1).unwrap_or(("", &line));
        session.out.line(format!("{}{rest}", first.to_uppercase()))?;
    }
    Ok(())
}

fn memory_breakdown(session: &mut Session) -> Result<(), Failure> {
    let node = session.node().to_owned();
    session.banner(format!("Reporting memory breakdown on node {node}..."))?;
    let unit = Unit::of(session)?;
    let breakdown = session.get(&path(&["nodes", &node, "memory"]))?;
    let memory = breakdown.get("memory").and_then(Json::as_object).cloned().unwrap_or_default();
    let mut parts: Vec<(&String, f64)> =
        memory.iter().filter(|(name, _)| *name != "total").filter_map(|(n, v)| Some((n, v.as_f64()?))).collect();
    let total: f64 = parts.iter().map(|(_, bytes)| bytes).sum();
    if session.out.as_json(|| Json::Object(memory.clone()))? {
        return Ok(());
    }
    parts.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    for (name, bytes) in parts {
        let share = if total > 0.0 { bytes * 100.0 / total } else { 0.0 };
        session.out.line(format!("{name}: {} ({share:.2}%)", unit.write(bytes)))?;
    }
    Ok(())
}

fn alarms(session: &mut Session) -> Result<(), Failure> {
    let node = session.node().to_owned();
    session.banner(format!("Asking node {node} to report any known resource alarms ..."))?;
    let lines = alarm_lines(session)?;
    if lines.is_empty() {
        return session.say(format!("Node {node} reported no alarms, local or clusterwide"));
    }
    lines.iter().try_for_each(|line| session.out.line(line))
}

fn report(session: &mut Session) -> Result<(), Failure> {
    let node = session.node().to_owned();
    session.banner(format!("Reporting server status of node {node} ..."))?;
    for route in [
        "/api/leveret/node/status",
        "/api/overview",
        "/api/nodes",
        "/api/vhosts",
        "/api/users?columns=name,tags",
        "/api/permissions",
        "/api/policies",
        "/api/parameters",
        "/api/feature-flags",
        "/api/connections",
        "/api/queues",
        "/api/exchanges",
    ] {
        session.out.line(format!("\n== {}", route.split('?').next().unwrap_or(route)))?;
        match session.find(route)? {
            Some(Json::Array(items)) => items.iter().try_for_each(|item| session.out.line(item.to_string()))?,
            Some(other) => session.out.line(other.to_string())?,
            None => session.out.line("(not known to this node)")?,
        }
    }
    Ok(())
}

fn track_logins(session: &mut Session) -> Result<(), Failure> {
    session.banner("Enabling authentication attempt source tracking ...")?;
    set_tracking(session, "true")
}

fn do_not_track_logins(session: &mut Session) -> Result<(), Failure> {
    session.banner("Disabling authentication attempt source tracking ...")?;
    set_tracking(session, "false")
}

fn set_tracking(session: &mut Session, value: &str) -> Result<(), Failure> {
    session.put("/api/leveret/node/env/track_auth_attempt_source", &json!({ "value": value }))
}

fn forget_logins(session: &mut Session) -> Result<(), Failure> {
    let node = session.node().to_owned();
    session.banner(format!("Resetting authentication metrics on node {node} ..."))?;
    session.delete(&path(&["auth", "attempts", &node])).map(|_| ())
}

fn auth_attempts(session: &mut Session) -> Result<(), Failure> {
    let node = session.node().to_owned();
    session.banner(format!("Listing authentication attempts for node \"{node}\" ..."))?;
    let by_source = session.given.has("by-source");
    let attempts =
        if by_source { path(&["auth", "attempts", &node, "source"]) } else { path(&["auth", "attempts", &node]) };
    use crate::ctl::listing::Column;
    const PLAIN: &[&Column] = &[
        &Column::plain("protocol"),
        &Column::plain("auth_attempts"),
        &Column::plain("auth_attempts_failed"),
        &Column::plain("auth_attempts_succeeded"),
    ];
    const SOURCES: &[&Column] = &[
        &Column::plain("remote_address"),
        &Column::plain("username"),
        &Column::plain("protocol"),
        &Column::plain("auth_attempts"),
        &Column::plain("auth_attempts_failed"),
        &Column::plain("auth_attempts_succeeded"),
    ];
    session.write_list(&attempts, if by_source { SOURCES } else { PLAIN }, Some)
}

/// What the node listens on, as RabbitMQ's tools show it: with interface, port, protocol and purpose.
pub fn listeners(session: &mut Session) -> Result<Vec<Json>, Failure> {
    let overview = session.get("/api/overview?columns=listeners")?;
    let listeners = overview.get("listeners").and_then(Json::as_array).cloned().unwrap_or_default();
    let shown = listeners.iter().map(|listener| {
        let protocol = plain(listener.get("protocol").unwrap_or(&Json::Null));
        let address = plain(listener.get("ip_address").unwrap_or(&Json::Null));
        let interface = if address.contains(':') { format!("[{address}]") } else { address };
        json!({
            "node": listener.get("node"), "interface": interface, "port": listener.get("port"),
            "purpose": purpose(&protocol), "protocol": protocol,
        })
    });
    Ok(shown.collect())
}

fn purpose(protocol: &str) -> &'static str {
    match protocol {
        "amqp" => "AMQP 0-9-1",
        "amqp/ssl" => "AMQP 0-9-1 over TLS",
        "http" => "HTTP API",
        "https" => "HTTP API over TLS (HTTPS)",
        "http/prometheus" => "Prometheus exporter API over HTTP",
        "https/prometheus" => "Prometheus exporter API over TLS (HTTPS)",
        _ => "other",
    }
}

pub fn listener_line(listener: &Json) -> String {
    let word = |field: &str| plain(listener.get(field).unwrap_or(&Json::Null));
    format!(
        "interface: {}, port: {}, protocol: {}, purpose: {}",
        word("interface"),
        word("port"),
        word("protocol"),
        word("purpose")
    )
}

/// The alarms that are on, a line for each.
pub fn alarm_lines(session: &mut Session) -> Result<Vec<String>, Failure> {
    let node = session.node().to_owned();
    let stats = node_stats(session)?;
    let is_on = |field: &str| stats.get(field).and_then(Json::as_bool) == Some(true);
    let mut lines = Vec::new();
    if is_on("mem_alarm") {
        lines.push(format!("Memory alarm on node {node}"));
    }
    if is_on("disk_free_alarm") {
        lines.push(format!("Free disk space alarm on node {node}"));
    }
    Ok(lines)
}

fn starred(paths: Option<&Json>) -> Vec<String> {
    paths.and_then(Json::as_array).into_iter().flatten().map(|path| format!(" * {}", plain(path))).collect()
}

/// A value without quotes.
pub fn plain(value: &Json) -> String {
    match value {
        Json::Null => String::new(),
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A unit of memory.
struct Unit {
    name: String,
    bytes: f64,
}

impl Unit {
    fn of(session: &Session) -> Result<Self, Failure> {
        let name = session.given.option("unit").unwrap_or("gb").to_lowercase();
        let bytes = match name.as_str() {
            "bytes" => 1.0,
            "kb" => 1e3,
            "mb" => 1e6,
            "gb" => 1e9,
            "tb" => 1e12,
            "kib" => 1024.0,
            "mib" => 1_048_576.0,
            "gib" => 1_073_741_824.0,
            _ => {
                return Err(Failure::bad_argument(format!(
                    "unit '{name}' is not supported. Please use one of: bytes, kb, mb, gb, kib, mib, gib"
                )));
            }
        };
        Ok(Self { name, bytes })
    }

    fn write(&self, bytes: f64) -> String {
        format!("{} {}", (bytes / self.bytes * 1e4).round() / 1e4, self.name)
    }
}
