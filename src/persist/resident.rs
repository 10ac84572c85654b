//! What the store asks of the queues that keep messages in it.

use std::path::PathBuf;

use super::index::Indexed;
use super::shelf::{Rewrite, Written};
use crate::message::{Keeps, Message};

/// Messages that have to be written to segments.
pub struct Flush {
    pub queue: u64,
    /// Which of its messages have to survive.
    pub keeps: Keeps,
    pub dir: PathBuf,
    /// Everything below this position is in segments afterwards, or settled.
    pub upto: u64,
    pub messages: Vec<(u64, Message)>,
    /// The segment to go on with, and the bytes that it has; 0 for a new one.
    pub segment: u32,
    pub offset: u64,
    /// Bytes that the index of that segment has.
    pub index_end: u64,
    /// Which messages get entries in the index.
    pub indexed: Indexed,
    /// The number of the first new segment after that one.
    pub next_segment: u32,
}

/// Which messages are to be in segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Whatever is in commits up to this one.
    UpTo(u64),
    /// The same, though some of it may be in commits that are not done.
    UpToAtOnce(u64),
    /// Whatever is in commits that are done.
    All,
}

/// What there is to write for that.
pub enum Plan {
    Nothing,
    /// Some message is not in a commit that is done. What else that commit holds, as that the message has left another
    /// queue, would not be on disk when the message is.
    NotYet,
    Write(Flush),
}

/// A queue, as the store sees it. The keeper, a thread of the store, calls; nothing here waits for a disk but `load`.
pub trait Resident: Send + Sync {
    fn is_durable(&self) -> bool;

    /// Bytes of ready messages in memory.
    fn held_bytes(&self) -> usize;

    /// The messages to write so that nothing of the queue is left in those commits. Until [`Resident::finish_flush`] or
    /// [`Resident::abandon_flush`] no other flush is planned.
    fn plan_flush(&self, extent: Extent) -> Plan;

    /// The messages of a flush are in segments, on disk if that is asked for.
    fn finish_flush(&self, upto: u64, written: &[Written]);

    /// A flush could not be written.
    fn abandon_flush(&self);

    /// Lets go of messages that are in segments; `keep` bytes of the next ones to be delivered stay.
    fn evict(&self, keep: usize);

    /// The node stops in order: says exactly what has been delivered.
    fn rest(&self, items: &mut Vec<u8>);

    /// The state for the manifest (`None`: there is nothing to keep) and files that are not needed once it is there.
    fn state(&self) -> (Option<Vec<u8>>, Vec<PathBuf>);

    /// True when files wait for being removed.
    fn is_changed(&self) -> bool;

    /// Segments that are worth being rewritten.
    fn plan_rewrite(&self) -> Option<Rewrite>;

    /// The rewritten segment is on disk.
    fn finish_rewrite(&self, rewrite: &Rewrite, written: &Written);

    /// True when a message has been settled.
    fn is_dead(&self, position: u64) -> bool;

    /// Reads the next messages back into memory. Called by a reader of the store; may wait for the disk.
    fn load(&self);

    /// Goes on after the journal has written a new horizon.
    fn horizon_is_written(&self);

    /// What is on disk is damaged: the queue is not to be served.
    fn damaged(&self, what: &str);
}
