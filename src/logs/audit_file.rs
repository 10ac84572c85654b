//! The audit log's way to its file: lines wait, within a bound, for a thread of their own.
//!
//! Nobody who logs in or changes something waits for the file. While it stalls, lines gather; when [`MOST_BYTES`] of them
//! wait, those that come then are lost, but never silently: the log says at once that they are, and when the file takes
//! lines again both the audit log, in their place, and the log say how many are missing.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::{Condvar, Mutex};

use super::LogError;
use super::entry::Entry;
use super::file::LogFile;
use super::losses::{Losses, Output};
use super::writer::Order;
use crate::config::LogLevel;

/// Bytes of lines that wait: more than an import of 50,000 things makes at once.
pub const MOST_BYTES: usize = 16 << 20;
/// What a line costs beside its text.
const PER_LINE: usize = 64;

/// Something for the thread to do.
enum Item {
    Line(String),
    Rotate(SyncSender<Result<(), LogError>>),
    Reopen(SyncSender<Result<(), LogError>>),
    Flush(SyncSender<Result<(), LogError>>),
}

/// What waits for the thread.
#[derive(Default)]
struct Queue {
    items: VecDeque<Item>,
    bytes: usize,
    /// Lines that came after all of these and found no room.
    lost: u64,
    closed: bool,
}

/// The lines that wait, shared by whoever logs and the thread that writes.
pub struct Waiting {
    queue: Mutex<Queue>,
    changed: Condvar,
    /// Where it is told that lines are lost.
    log: SyncSender<Order>,
    losses: Arc<Losses>,
}

impl Waiting {
    pub fn new(log: SyncSender<Order>, losses: Arc<Losses>) -> Self {
        Self { queue: Mutex::default(), changed: Condvar::new(), log, losses }
    }

    /// Leaves a line for the file.
    pub fn push(&self, line: String) {
        let mut queue = self.queue.lock();
        let cost = line.len() + PER_LINE;
        let is_full = queue.bytes + cost > MOST_BYTES;
        if is_full || queue.lost > 0 {
            queue.lost += 1;
            self.losses.add(Output::Audit, 1);
            if queue.lost == 1 {
                self.tell("the audit log's file takes no lines, and no more can wait: audit entries are being lost");
            }
            return;
        }
        queue.bytes += cost;
        queue.items.push_back(Item::Line(line));
        drop(queue);
        self.changed.notify_one();
    }

    /// Has the thread do something after what waits now.
    ///
    /// # Errors
    /// When too much waits.
    pub fn order(&self, order: Order) -> Result<(), LogError> {
        let item = match order {
            Order::Rotate(answer) => Item::Rotate(answer),
            Order::Reopen(answer) => Item::Reopen(answer),
            Order::Flush(answer) => Item::Flush(answer),
            Order::Write(entry) => {
                self.push(entry.json());
                return Ok(());
            }
        };
        let mut queue = self.queue.lock();
        if queue.lost > 0 || queue.bytes + PER_LINE > MOST_BYTES {
            return Err(LogError::Busy);
        }
        queue.bytes += PER_LINE;
        queue.items.push_back(item);
        drop(queue);
        self.changed.notify_one();
        Ok(())
    }

    /// The thread ends when everything that waits is written.
    pub fn close(&self) {
        self.queue.lock().closed = true;
        self.changed.notify_one();
    }

    /// Works until it is closed.
    pub fn run(&self, mut file: LogFile) {
        // Lines that are missing in it since it was last told of.
        let mut missing = 0;
        while let Some((items, lost)) = self.next() {
            for item in items {
                carry_out(item, &mut file);
            }
            file.flush();
            let before = missing;
            let unwritten = file.take_lost();
            self.losses.add(Output::Audit, unwritten);
            missing += lost + unwritten;
            if missing == 0 {
                continue;
            }
            file.write(&gap(missing), seconds());
            file.flush();
            if file.take_lost() == 0 {
                self.tell(&format!("{missing} audit entries are lost: their file did not take them"));
                missing = 0;
            } else if before == 0 {
                self.tell("the audit log's file cannot be written: audit entries are being lost");
            }
        }
    }

    /// Waits for something to do. None at the end.
    fn next(&self) -> Option<(VecDeque<Item>, u64)> {
        let mut queue = self.queue.lock();
        while queue.items.is_empty() && queue.lost == 0 {
            if queue.closed {
                return None;
            }
            self.changed.wait(&mut queue);
        }
        queue.bytes = 0;
        Some((std::mem::take(&mut queue.items), std::mem::take(&mut queue.lost)))
    }

    /// Says something in the log; where that is full too, the count of its dropped lines is told.
    fn tell(&self, text: &str) {
        let entry = Entry { category: "audit".to_owned(), ..Entry::now(LogLevel::Error, text.to_owned()) };
        let _ = self.log.try_send(Order::Write(entry));
    }
}

/// Closes the queue when the log is gone.
pub struct Closing(pub Arc<Waiting>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
    }
}

fn carry_out(item: Item, file: &mut LogFile) {
    // Whoever has asked may have stopped to wait.
    match item {
        Item::Line(line) => file.write(&line, seconds()),
        Item::Rotate(answer) => drop(answer.try_send(file.rotate())),
        Item::Reopen(answer) => drop(answer.try_send(file.reopen())),
        Item::Flush(answer) => {
            file.flush();
            let _ = answer.try_send(Ok(()));
        }
    }
}

/// The line that stands in the place of others.
fn gap(missing: u64) -> String {
    let text = format!("{missing} entries are missing here: they came while the file took no lines");
    let mut entry = Entry { is_audit: true, ..Entry::now(LogLevel::Error, text) };
    entry.fields = vec![("action", "audit.lost".into()), ("result", "lost".into()), ("count", missing.into())];
    entry.json()
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
