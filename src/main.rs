//! The command line: `serve` (the default), `perf` and `store`.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use leveret::config::{Config, Log, LogLevel};
use leveret::node::Node;
use leveret::{perf, store_tool};
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// An AMQP 0-9-1 message broker that RabbitMQ's clients use unchanged.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
}

#[derive(Subcommand)]
enum Command {
    /// Run the broker (the default).
    Serve(Serve),
    /// Put load on a broker, measure it, and check that nothing is lost.
    Perf(Box<perf::Options>),
    /// Look at the data directory of a node that does not run, and give up what is damaged in it.
    Store(store_tool::Options),
}

#[derive(Args, Default)]
struct Serve {
    /// A configuration file in rabbit.conf's format.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the broker keeps its data [default: ./data].
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// A key of rabbit.conf, as listeners.tcp.default=5673; it wins over the file. May be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        Some(Command::Perf(options)) => perf::run(*options),
        Some(Command::Store(options)) => store_tool::run(&options),
        Some(Command::Serve(serve)) => run(&serve),
        None => run(&cli.serve),
    }
}

fn run(serve: &Serve) -> ExitCode {
    let config = match load(serve) {
        Ok(config) => config,
        Err(text) => return fail(&text),
    };
    log_to_console(&config.log);
    for warning in &config.warnings {
        tracing::warn!(target: "leveret::config", "{warning}");
    }
    raise_file_limit();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("no runtime can be started: {error}")),
    };
    match runtime.block_on(serve_until_told(config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => fail(&text),
    }
}

fn fail(text: &str) -> ExitCode {
    eprintln!("leveret: {text}");
    ExitCode::FAILURE
}

fn load(serve: &Serve) -> Result<Config, String> {
    let mut settings = Vec::new();
    // RabbitMQ's own; there is no key of it.
    if let Some(name) = std::env::var("RABBITMQ_NODENAME").ok().filter(|name| !name.is_empty()) {
        settings.push(("node_name".to_owned(), name));
    }
    for setting in &serve.settings {
        let (key, value) = setting
            .split_once('=')
            .ok_or_else(|| format!("--set {setting}: expected KEY=VALUE, as listeners.tcp.default=5673"))?;
        settings.push((key.trim().to_owned(), value.trim().to_owned()));
    }
    let mut config = Config::load(serve.config.as_deref(), &settings).map_err(|e| e.to_string())?;
    if let Some(dir) = &serve.data_dir {
        config.data_dir.clone_from(dir);
    }
    Ok(config)
}

/// Each connection is an open file: takes as many as the system allows.
fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(target: "leveret", "the limit of open files stays as it is: {error}");
    }
}

async fn serve_until_told(config: Config) -> Result<(), String> {
    let data_dir = config.data_dir.display().to_string();
    let has_default_user = (&*config.defaults.user, &*config.defaults.pass) == ("guest", "guest");
    let handler = |kind| signal(kind).map_err(|e| format!("signals cannot be received: {e}"));
    let (mut terminate, mut interrupt) = (handler(SignalKind::terminate())?, handler(SignalKind::interrupt())?);
    let node = Node::start(config).await.map_err(|e| e.to_string())?;
    let addresses: Vec<String> = node.amqp_addrs().iter().map(ToString::to_string).collect();
    tracing::info!(
        target: "leveret",
        "Leveret {} serves AMQP 0-9-1 on {}, data in {data_dir}{}",
        env!("CARGO_PKG_VERSION"),
        addresses.join(", "),
        if has_default_user { ", log in as guest/guest from this machine" } else { "" }
    );
    tokio::select! {
        _ = terminate.recv() => tracing::info!(target: "leveret", "SIGTERM: stopping"),
        _ = interrupt.recv() => tracing::info!(target: "leveret", "interrupted: stopping"),
        why = node.failed() => {
            return Err(format!("{why}: what was confirmed is on disk, start again once the disk is in order"));
        }
    }
    node.stop().await;
    tracing::info!(target: "leveret", "stopped");
    Ok(())
}

/// Writes log lines to the standard output, by category and level as the configuration says.
fn log_to_console(log: &Log) {
    if !log.console {
        return;
    }
    let at_least = |level: LogLevel| log.console_level.map_or(level, |console| console.max(level));
    let mut filter = EnvFilter::new(level_name(at_least(log.default_level)));
    let categories = [
        ("leveret::connection", log.connection_level),
        ("leveret::channel", log.channel_level),
        ("leveret::queue", log.queue_level),
    ];
    for (category, level) in categories {
        let directive = level.map(|level| format!("{category}={}", level_name(at_least(level))));
        if let Some(directive) = directive.and_then(|d| d.parse().ok()) {
            filter = filter.add_directive(directive);
        }
    }
    let colours = std::io::stdout().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stdout).init();
}

/// RabbitMQ has more levels than there are here.
fn level_name(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Debug => "debug",
        LogLevel::Info | LogLevel::Notice => "info",
        LogLevel::Warning => "warn",
        LogLevel::Error | LogLevel::Critical | LogLevel::Alert | LogLevel::Emergency => "error",
        LogLevel::None => "off",
    }
}
