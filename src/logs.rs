//! The log: what happens, as lines for people or as JSON, to the console, a file, a syslog server; and the audit log.
//!
//! Events of `tracing` come to a [`layer`] that asks the [`levels`] whether they are wanted, and makes an [`entry`] of them.
//! Entries go through a bounded queue to one thread, the [`writer`], which alone touches files and sockets: whoever logs never
//! waits, and when the thread cannot keep up, entries are dropped, counted, and the log says how many. The last lines stay in
//! memory, in a [`ring`]; for the log exchange they wait in a [`feed`]. What is lost anywhere is counted in [`losses`]. [`audit`] is what goes to the audit log, whose lines go to a thread of their own: [`audit_file`].
//!
//! Targets are categories: `leveret::connection` is RabbitMQ's category `connection`, `leveret` the default one.

pub mod audit;
mod audit_file;
mod entry;
pub mod feed;
mod file;
mod layer;
pub mod levels;
mod lookup;
pub mod losses;
mod ring;
mod syslog;
pub mod time;
mod writer;

use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Config, Log, LogLevel};
use audit_file::{Closing, Waiting};
use feed::Feed;
use file::LogFile;
use layer::Collector;
use levels::{Category, Levels};
use losses::{Losses, Output};
use ring::Ring;
use writer::{Lines, Order, Writer};

/// Entries that wait for the writer; with the longest text they take 16 MiB.
const WAITING: usize = 2048;
/// How long the writer may take to carry out what an operator asks for.
const PATIENCE: Duration = Duration::from_secs(5);

static HANDLE: OnceLock<Logs> = OnceLock::new();

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("the log file {path} cannot be opened: {error}")]
    File { path: String, error: io::Error },
    #[error("the log's thread cannot be started: {0}")]
    Thread(io::Error),
    #[error("logging has been set up before")]
    Twice,
    #[error("the log's writer is busy or gone; try again")]
    Busy,
}

/// The running log of the process.
pub struct Logs {
    levels: Arc<Levels>,
    ring: Arc<Mutex<Ring>>,
    /// The number of the next line, for those who wait for it.
    news: watch::Receiver<u64>,
    orders: SyncSender<Order>,
    audit: Option<Closing>,
    feed: Option<Arc<Feed>>,
    files: Vec<PathBuf>,
}

/// The log, where the process has one.
pub fn handle() -> Option<&'static Logs> {
    HANDLE.get()
}

/// How many entries were lost; none are where there is no log.
pub fn lost(output: Output) -> u64 {
    HANDLE.get().map_or(0, |logs| logs.levels.losses.get(output))
}

/// Starts to log as the configuration says.
///
/// # Errors
/// When a file cannot be opened.
pub fn start(config: &Config) -> Result<&'static Logs, LogError> {
    let (logs, collector) = set_up(&config.log)?;
    tracing_subscriber::registry().with(collector).try_init().map_err(|_| LogError::Twice)?;
    HANDLE.set(logs).map_err(|_| LogError::Twice)?;
    HANDLE.get().ok_or(LogError::Twice)
}

/// Why the log's files could not be opened, by what can be seen without making them.
pub fn rehearse(log: &Log) -> Vec<LogError> {
    let names = [&log.file, &log.audit].into_iter().flatten();
    names.filter_map(|name| LogFile::rehearse(&log.dir.join(name)).err()).collect()
}

/// The log and what collects its events.
fn set_up(log: &Log) -> Result<(Logs, Collector), LogError> {
    let dir = &log.dir;
    let open =
        |name: &Option<PathBuf>| name.as_ref().map(|name| LogFile::open(dir.join(name), &log.rotation)).transpose();
    let (file, audit) = (open(&log.file)?, open(&log.audit)?);
    let files = file.iter().chain(&audit).map(|file| file.path().to_owned()).collect();
    let levels = Arc::new(Levels::new(log));
    let ring = Arc::<Mutex<Ring>>::default();
    let (orders, inbox): (_, Receiver<Order>) = sync_channel(WAITING);
    let losses = Arc::clone(&levels.losses);
    let feed = log.exchange.on.then(|| Arc::new(Feed::new(log.exchange.format, Arc::clone(&losses))));
    let (tell, news) = watch::channel(0);
    let writer =
        Writer::new(log, file, feed.clone(), Arc::clone(&levels), Lines { ring: Arc::clone(&ring), news: tell });
    spawn("log", move || writer.run(&inbox))?;
    let audit = audit.map(|file| write_audit(file, orders.clone(), losses)).transpose()?;
    let collector = Collector::new(Arc::clone(&levels), orders.clone(), audit.clone());
    Ok((Logs { levels, ring, news, orders, audit: audit.map(Closing), feed, files }, collector))
}

/// Starts the thread that writes the audit log.
fn write_audit(file: LogFile, log: SyncSender<Order>, losses: Arc<Losses>) -> Result<Arc<Waiting>, LogError> {
    let waiting = Arc::new(Waiting::new(log, losses));
    let of_thread = Arc::clone(&waiting);
    spawn("audit", move || of_thread.run(file))?;
    Ok(waiting)
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), LogError> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work).map(drop).map_err(LogError::Thread)
}

impl Logs {
    /// The files that are written.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// The lines for the log exchange, where that is on.
    pub fn feed(&self) -> Option<&Arc<Feed>> {
        self.feed.as_ref()
    }

    /// Changes the level of a category, or of all when there is none.
    pub fn set_level(&self, category: Option<Category>, level: LogLevel) {
        self.levels.set(category, level);
        tracing::callsite::rebuild_interest_cache();
    }

    /// The level of a category.
    pub fn level(&self, category: Category) -> LogLevel {
        self.levels.of(category)
    }

    /// Takes over the levels of a configuration that has been read again.
    pub fn reload(&self, log: &Log) {
        self.levels.load(log);
        tracing::callsite::rebuild_interest_cache();
    }

    /// The last lines, the oldest first.
    pub fn tail(&self, most: usize) -> Vec<Arc<str>> {
        self.ring.lock().tail(most)
    }

    /// The lines from a number on, and the number to ask for next: for following the log. 0 is the oldest line there is.
    pub fn since(&self, number: u64) -> (u64, Vec<Arc<str>>) {
        self.ring.lock().since(number)
    }

    /// Returns when there are lines from that number on.
    pub async fn wait_for(&self, number: u64) {
        // The writer tells as long as there is a log.
        let _ = self.news.clone().wait_for(|next| *next > number).await;
    }

    /// Begins new log files. Blocks until that is done.
    ///
    /// # Errors
    /// When a file cannot be renamed or opened.
    pub fn rotate(&self) -> Result<(), LogError> {
        self.ask(Order::Rotate)
    }

    /// Opens the log files again, after another program has moved them away. Blocks until that is done.
    ///
    /// # Errors
    /// When a file cannot be opened.
    pub fn reopen(&self) -> Result<(), LogError> {
        self.ask(Order::Reopen)
    }

    /// Waits until everything that has been logged is written.
    pub fn flush(&self) {
        // A writer that does not answer has been waited for long enough.
        let _ = self.ask(Order::Flush);
    }

    /// Asks both writers, and waits for both.
    fn ask(&self, order: impl Fn(SyncSender<Result<(), LogError>>) -> Order) -> Result<(), LogError> {
        let (answer, of_audit) = sync_channel(1);
        if let Some(audit) = &self.audit {
            audit.0.order(order(answer))?;
        }
        let (answer, of_log) = sync_channel(1);
        self.orders.try_send(order(answer)).map_err(|_| LogError::Busy)?;
        let done = of_log.recv_timeout(PATIENCE).map_err(|_| LogError::Busy)?;
        match &self.audit {
            Some(_) => done.and(of_audit.recv_timeout(PATIENCE).map_err(|_| LogError::Busy)?),
            None => done,
        }
    }
}

#[cfg(test)]
mod tests;
