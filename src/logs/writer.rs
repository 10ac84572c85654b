//! The thread that writes the log.

use std::io::Write;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};

use parking_lot::Mutex;
use tokio::sync::watch;

use super::LogError;
use super::entry::Entry;
use super::feed::{Feed, Line};
use super::file::LogFile;
use super::levels::{Levels, Sink};
use super::losses::Output;
use super::ring::Ring;
use super::syslog::SyslogSink;
use crate::config::{Log, LogFormat, LogLevel};

/// Entries after which is flushed and told what has come, also if there are more: whoever follows the log while much is logged
/// is not kept waiting for the end of it.
const TOGETHER: usize = 512;

/// What the thread is asked to do.
pub enum Order {
    Write(Entry),
    Rotate(SyncSender<Result<(), LogError>>),
    Reopen(SyncSender<Result<(), LogError>>),
    Flush(SyncSender<Result<(), LogError>>),
}

/// The last lines, and who waits for the next.
pub struct Lines {
    pub ring: Arc<Mutex<Ring>>,
    pub news: watch::Sender<u64>,
}

impl Lines {
    /// Wakes those who wait, once for all lines of a batch.
    fn tell(&self) {
        let next = self.ring.lock().next();
        self.news.send_if_modified(|told| std::mem::replace(told, next) != next);
    }
}

/// All sinks.
pub struct Writer {
    console: Option<Box<dyn Write + Send>>,
    console_format: LogFormat,
    file: Option<LogFile>,
    file_format: LogFormat,
    syslog: Option<SyslogSink>,
    /// Lines for the log exchange.
    feed: Option<Arc<Feed>>,
    levels: Arc<Levels>,
    lines: Lines,
    /// Lines that the syslog server did not take.
    unsent: u64,
}

impl Writer {
    pub fn new(log: &Log, file: Option<LogFile>, feed: Option<Arc<Feed>>, levels: Arc<Levels>, lines: Lines) -> Self {
        let console: Box<dyn Write + Send> =
            if log.console_stderr { Box::new(std::io::stderr()) } else { Box::new(std::io::stdout()) };
        Self {
            console: log.console.then_some(console),
            console_format: log.console_format,
            file,
            file_format: log.file_format,
            syslog: log.syslog.on.then(|| SyslogSink::new(log.syslog.clone())),
            feed,
            levels,
            lines,
            unsent: 0,
        }
    }

    /// Works until nobody can log any more.
    pub fn run(mut self, orders: &Receiver<Order>) {
        while let Ok(order) = orders.recv() {
            self.carry_out(order);
            for order in orders.try_iter().take(TOGETHER) {
                self.carry_out(order);
            }
            self.tell_of_drops();
            self.flush();
            self.lines.tell();
        }
    }

    fn carry_out(&mut self, order: Order) {
        // Whoever has asked may have stopped to wait.
        match order {
            Order::Write(entry) => self.write(&entry),
            Order::Rotate(answer) => drop(answer.try_send(self.file.as_mut().map_or(Ok(()), LogFile::rotate))),
            Order::Reopen(answer) => drop(answer.try_send(self.file.as_mut().map_or(Ok(()), LogFile::reopen))),
            Order::Flush(answer) => {
                self.tell_of_drops();
                self.flush();
                let _ = answer.try_send(Ok(()));
            }
        }
    }

    fn write(&mut self, entry: &Entry) {
        let now = entry.at / 1_000_000;
        let plain = entry.plain();
        let form = |format: LogFormat| if format == LogFormat::Json { entry.json() } else { plain.clone() };
        if let Some(console) = self.console.as_mut().filter(|_| self.levels.reaches(Sink::Console, entry.level)) {
            // Whoever closes our output does not want it.
            let _ = writeln!(console, "{}", form(self.console_format));
        }
        if let Some(file) = self.file.as_mut().filter(|_| self.levels.reaches(Sink::File, entry.level)) {
            file.write(&form(self.file_format), now);
        }
        if let Some(syslog) = self.syslog.as_mut().filter(|_| self.levels.reaches(Sink::Syslog, entry.level)) {
            self.unsent += u64::from(!syslog.send(entry, now));
        }
        let reaches = || !entry.is_apart && self.levels.reaches(Sink::Exchange, entry.level);
        if let Some(feed) = self.feed.as_ref().filter(|_| reaches()) {
            feed.push(Line { at: entry.at, level: entry.level, text: form(feed.format) });
        }
        self.lines.ring.lock().push(&plain);
    }

    /// Says how many lines are missing, once there is room for lines again.
    fn tell_of_drops(&mut self) {
        let dropped = self.levels.take_dropped();
        if dropped > 0 {
            self.tell(format!("{dropped} log entries were dropped: they came faster than they could be written"));
        }
        let unwritten = self.file.as_mut().map_or(0, LogFile::take_lost);
        let unsent = std::mem::take(&mut self.unsent);
        let losses = Arc::clone(&self.levels.losses);
        losses.add(Output::File, unwritten);
        losses.add(Output::Syslog, unsent);
        let lost = unwritten + unsent;
        if lost > 0 {
            // Where it cannot be written, it is lost as well: the count begins anew.
            self.tell(format!("{lost} log entries could not be written to a file or sent to the syslog server"));
            losses.add(Output::Syslog, std::mem::take(&mut self.unsent));
            losses.add(Output::File, self.file.as_mut().map_or(0, LogFile::take_lost));
        }
    }

    fn tell(&mut self, text: String) {
        self.write(&Entry::now(LogLevel::Warning, text));
    }

    fn flush(&mut self) {
        if let Some(console) = &mut self.console {
            let _ = console.flush();
        }
        self.file.iter_mut().for_each(LogFile::flush);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use std::sync::mpsc::sync_channel;

    use super::*;

    /// Counts how often it is flushed.
    struct Console(Arc<AtomicUsize>);

    impl Write for Console {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            self.0.fetch_add(1, Relaxed);
            Ok(())
        }
    }

    #[test]
    fn entries_without_end_are_flushed_all_the_same() {
        let (log, flushes) = (Log::default(), Arc::<AtomicUsize>::default());
        let (tell, _) = watch::channel(0);
        let lines = Lines { ring: Arc::default(), news: tell };
        let mut writer = Writer::new(&log, None, None, Arc::new(Levels::new(&log)), lines);
        writer.console = Some(Box::new(Console(Arc::clone(&flushes))));
        let (orders, inbox) = sync_channel(4 * TOGETHER);
        for _ in 0..4 * TOGETHER {
            orders.send(Order::Write(Entry::now(LogLevel::Info, "one of many".to_owned()))).unwrap();
        }
        drop(orders);
        writer.run(&inbox);
        assert_eq!(flushes.load(Relaxed), 4);
    }
}
