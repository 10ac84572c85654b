//! Shows the messages of a queue, in their order.

use std::path::Path;

use super::ToolError;
use super::inspect::Inspection;
use super::print;
use super::walk::{Seen, walk};
use crate::persist::DataDir;
use crate::persist::disk::Disk;
use crate::persist::encoding::Cursor;
use crate::persist::recovery::FoundQueue;

/// Bytes of a body that are shown.
const SHOWN: usize = 48;

/// Prints the queues, or at most `limit` messages of one.
pub fn dump(disk: &dyn Disk, dir: &Path, queue: Option<(&str, &str)>, limit: u64) -> Result<bool, ToolError> {
    let (data_dir, wrong) = DataDir::look(disk, dir)?;
    let inspection = Inspection::read(disk, &data_dir, &wrong)?;
    let Some((vhost, name)) = queue else {
        print::queues(&inspection);
        return Ok(true);
    };
    let missing = || ToolError::Refused(format!("there is no durable queue '{name}' in vhost '{vhost}'"));
    let id = inspection.queue(vhost, name).ok_or_else(missing)?;
    match inspection.found.get(&id) {
        Some(queue) => messages(disk, queue, limit),
        None => {
            println!("no messages");
            Ok(true)
        }
    }
}

/// What has been printed.
struct Printer {
    left: u64,
    sound: bool,
}

impl Printer {
    fn message(&mut self, position: u64, route: &[u8], body: &[u8]) {
        if self.left == 0 {
            return;
        }
        self.left -= 1;
        let (exchange, key) = route_text(route);
        let more = if body.len() > SHOWN { "..." } else { "" };
        let start = body.get(..SHOWN.min(body.len())).unwrap_or_default().escape_ascii();
        println!("{position:>12}  {:>10}  exchange '{exchange}' key '{key}'  {start}{more}", body.len());
    }
}

fn messages(disk: &dyn Disk, queue: &FoundQueue, limit: u64) -> Result<bool, ToolError> {
    println!("{:>12}  {:>10}  ROUTE AND BODY", "POSITION", "BYTES");
    let mut printer = Printer { left: limit, sound: true };
    for segment in queue.shelf.segments() {
        let Some(span) = queue.shelf.plan_read(segment.first).filter(|_| printer.left > 0) else { break };
        let read = walk(disk, &span, segment.first..=segment.last, |seen| match seen {
            Seen::Record(record) => {
                if !record.transient && !queue.shelf.is_dead(record.position) {
                    printer.message(record.position, record.parts.route, record.parts.body);
                }
            }
            Seen::Damage { offset, what } => {
                printer.sound = false;
                println!("{:>12}  {} at byte {offset}: {what}", "DAMAGED", span.path.display());
            }
        });
        read.map_err(ToolError::io(&span.path))?;
    }
    for (position, message) in &queue.messages {
        let view = message.view();
        printer.message(*position, view.route, view.body);
    }
    let shown = limit - printer.left;
    println!("{shown} messages shown of {}", queue.count());
    Ok(printer.sound)
}

/// Exchange and routing key: two strings with their lengths before them.
fn route_text(route: &[u8]) -> (String, String) {
    let mut cursor = Cursor(route);
    let mut text = || {
        let length = cursor.u8().unwrap_or(0);
        String::from_utf8_lossy(cursor.bytes(length.into()).unwrap_or_default()).into_owned()
    };
    let exchange = text();
    (exchange, text())
}
