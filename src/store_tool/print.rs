//! What the tool says, for people.

use super::finding::Finding;
use super::inspect::Inspection;
use crate::persist::recovery::FoundQueue;

/// Everything that was found.
pub fn everything(inspection: &Inspection) {
    for (kind, text) in &inspection.lines {
        println!("{kind:<10} {text}");
    }
    queues(inspection);
    damage(inspection);
}

/// A line for each queue that is declared, or of which something is left.
pub fn queues(inspection: &Inspection) {
    let mut rows: Vec<_> = inspection.names.iter().map(|(id, (vhost, name))| (vhost, name, id)).collect();
    rows.sort();
    println!("\n{:>12}  {:>8}  {:>14}  QUEUE", "MESSAGES", "SEGMENTS", "BYTES");
    for (vhost, name, id) in rows {
        let (count, segments, bytes) = inspection.found.get(id).map_or((0, 0, 0), |queue| {
            (queue.count(), queue.shelf.segments().count(), queue.shelf.segments().map(|s| s.bytes).sum::<u64>())
        });
        println!("{count:>12}  {segments:>8}  {bytes:>14}  '{name}' in vhost '{vhost}'");
    }
    let unknown = inspection.found.iter().filter(|(id, queue)| !inspection.names.contains_key(id) && queue.count() > 0);
    let unknown = unknown.count();
    if unknown > 0 {
        println!(
            "and {unknown} that are not in the catalog: they were deleted, and the next start removes their messages (if \
             the catalog was put back from an older copy, make an empty file catalog.rebuilt beside it, which keeps them)"
        );
    }
}

fn damage(inspection: &Inspection) {
    if inspection.findings.is_empty() {
        return;
    }
    println!("\nDAMAGE");
    for finding in &inspection.findings {
        println!("- {}", finding.text(&inspection.names));
    }
}

/// What to do about it.
pub fn advice(inspection: &Inspection) {
    println!();
    if inspection.findings.is_empty() {
        println!("Everything is whole.");
    } else if inspection.is_hopeless() {
        println!("Put back what is damaged from a backup; nothing else helps here.");
    } else if inspection.has_losses() {
        println!(
            "Look at the disk first (its own log, smartctl), and make a copy of the data directory. A backup of the files \
             above, if there is one of the same hour, is better than anything else. `leveret store accept-loss` says what \
             is lost and, with --yes, gives it up; the queues are then served again with everything that is still whole."
        );
    } else {
        println!("No message is lost: start the node. Look at the disk all the same: it has changed what was written.");
    }
}

/// What giving up means.
pub fn losses(inspection: &Inspection) {
    println!("THIS IS GIVEN UP");
    let losing: Vec<&Finding> = inspection.findings.iter().filter(|finding| finding.loses()).collect();
    for finding in &losing {
        println!("- {}", finding.text(&inspection.names));
    }
    println!(
        "Messages in what is damaged are gone. Acknowledgements in it are gone too: messages that were consumed may be \
         delivered again. Everything else stays."
    );
}

/// The queues that are served again.
pub fn served_again(inspection: &Inspection) {
    let of_name = |(id, queue): (&u64, &FoundQueue)| inspection.names.contains_key(id).then(|| queue.count());
    let count: u64 = inspection.found.iter().filter_map(of_name).sum();
    let queues = inspection.names.len();
    println!("\nDone: everything is whole now, {count} messages in {queues} queues. Start the node.");
}
