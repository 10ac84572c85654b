//! The command line: `serve` (the default), `config`, `ctl`, `perf`, `store`, and what tells shells and people of them; called
//! as `rabbitmqctl` or the like, it is that tool.

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{CommandFactory as _, Parser, Subcommand};
use leveret::config::Config;
use leveret::config_tool::{self, Given};
use leveret::node::Node;
use leveret::notify::Manager;
use leveret::usage::completion::{self, Shell};
use leveret::usage::{Word, manual};
use leveret::vhost::Broker;
use leveret::{ctl, logs, perf, store_tool};
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// An AMQP 0-9-1 message broker that RabbitMQ's clients use unchanged.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Given,
}

#[derive(Subcommand)]
enum Command {
    /// Run the broker (the default).
    Serve(Given),
    /// Check a configuration, or see what it comes to.
    Config(config_tool::Options),
    /// Look after a running broker, with the commands of rabbitmqctl.
    #[command(disable_help_flag = true)]
    Ctl {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
        words: Vec<OsString>,
    },
    /// Put load on a broker, measure it, and check that nothing is lost.
    Perf(Box<perf::Options>),
    /// Look at the data directory of a node that does not run, and give up what is damaged in it.
    Store(store_tool::Options),
    /// Write the completion script of a shell to the standard output.
    Completion {
        /// The shell
        shell: Shell,
    },
    /// Write the manual page to the standard output.
    Man,
    /// Say which version this is, as --version does.
    Version,
}

fn main() -> ExitCode {
    let mut words = std::env::args_os();
    if let Some(tool) = words.next().as_ref().and_then(ctl::called_as) {
        return ctl::run(tool, words);
    }
    let cli = Cli::parse();
    match cli.command {
        Some(Command::Config(options)) => config_tool::run(&options),
        Some(Command::Ctl { words }) => ctl::run(ctl::Tool::Leveret, words),
        Some(Command::Perf(options)) => perf::run(*options),
        Some(Command::Store(options)) => store_tool::run(&options),
        Some(Command::Completion { shell }) => show(&completion::script(shell, &Word::of_program(&Cli::command()))),
        Some(Command::Man) => show(&manual::page(&Word::of_program(&Cli::command()))),
        Some(Command::Version) => show(&Cli::command().render_version()),
        Some(Command::Serve(serve)) => run(&serve),
        None => run(&cli.serve),
    }
}

fn run(given: &Given) -> ExitCode {
    let config = match given.load() {
        Ok(config) => config,
        Err(text) => return fail(&text),
    };
    let logs = match logs::start(&config) {
        Ok(logs) => logs,
        Err(error) => return fail(&error.to_string()),
    };
    for warning in &config.warnings {
        tracing::warn!(target: "leveret::config", "{warning}");
    }
    raise_file_limit();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("no runtime can be started: {error}")),
    };
    let ended = runtime.block_on(serve_until_told(config));
    logs.flush();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => fail(&text),
    }
}

/// A reader that has seen enough is no failure.
fn show(text: &str) -> ExitCode {
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

fn fail(text: &str) -> ExitCode {
    eprintln!("leveret: {text}");
    ExitCode::FAILURE
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
    let handler = |kind| signal(kind).map_err(|e| format!("signals cannot be received: {e}"));
    let (mut terminate, mut interrupt) = (handler(SignalKind::terminate())?, handler(SignalKind::interrupt())?);
    let manager = Manager::of_environment(|name| std::env::var(name).ok());
    let manager =
        manager.map_err(|e| format!("the service manager's NOTIFY_SOCKET cannot be used: {e}"))?.map(Arc::new);
    let tell = |say: &dyn Fn(&Manager)| manager.as_deref().into_iter().for_each(say);
    tell(&|manager| manager.status(&format!("Opening {data_dir}")));
    let mut node = Node::start(config).await.map_err(|error| {
        tell(&|manager| manager.status(&error.to_string()));
        error.to_string()
    })?;
    let mut addresses: Vec<String> = node.amqp_addrs().iter().map(ToString::to_string).collect();
    addresses.extend(node.amqps_addrs().iter().map(|address| format!("{address} (TLS)")));
    let mut others = String::new();
    for (what, address) in [("HTTP API", node.http_addr()), ("metrics", node.metrics_addr())] {
        others += &address.map(|address| format!(", {what} on {address}")).unwrap_or_default();
    }
    tracing::info!(
        target: "leveret",
        "Leveret {} serves AMQP 0-9-1 on {}, data in {data_dir}{others}{}",
        env!("CARGO_PKG_VERSION"),
        addresses.join(", "),
        node.login_hint()
    );
    node.broker().on_reload(|config, _| {
        let Some(logs) = logs::handle() else { return Ok(()) };
        logs.reload(&config.log);
        logs.reopen().map_err(|error| error.to_string())
    });
    tokio::spawn(reload_when_told(Arc::clone(node.broker()), manager.clone(), handler(SignalKind::hangup())?));
    manager.clone().into_iter().for_each(|manager| node.keep_told(manager));
    tokio::select! {
        _ = terminate.recv() => tracing::info!(target: "leveret", "SIGTERM: stopping"),
        _ = interrupt.recv() => tracing::info!(target: "leveret", "interrupted: stopping"),
        () = node.asked_to_stop() => tracing::info!(target: "leveret", "an operator has asked for it: stopping"),
        why = node.failed() => {
            tell(&|manager| manager.status(&why));
            return Err(format!("{why}: what was confirmed is on disk, start again once the disk is in order"));
        }
    }
    tell(&Manager::stopping);
    node.stop().await;
    tracing::info!(target: "leveret", "stopped");
    Ok(())
}

/// SIGHUP: the configuration is read again, and log files are opened again.
async fn reload_when_told(broker: Arc<Broker>, manager: Option<Arc<Manager>>, mut hangup: Signal) {
    while hangup.recv().await.is_some() {
        manager.iter().for_each(|manager| manager.reloading());
        let broker = Arc::clone(&broker);
        match tokio::task::spawn_blocking(move || broker.reload()).await {
            Ok(Ok(_)) => {}
            Ok(Err(errors)) => {
                tracing::error!(target: "leveret::config", "the configuration is as it was, there are errors in it now");
                errors.0.iter().for_each(|error| tracing::error!(target: "leveret::config", "{error}"));
            }
            Err(_) => {
                tracing::error!(target: "leveret::config", "the configuration cannot be read again; see standard error");
            }
        }
        manager.iter().for_each(|manager| manager.ready("Serving; the configuration was read again"));
    }
}
