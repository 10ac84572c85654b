//! What a queue has on disk: its segments, and which messages in them are dead. Pure bookkeeping, without I/O.
//!
//! Positions below [`Shelf::flushed`] have left the journal: they are in a segment, or were settled before. A message
//! there dies by [`Shelf::settle`]; a segment in which nothing lives leaves the shelf at once and its file goes once the
//! manifest no longer names it ([`Shelf::take_gone`]). The dead are kept as ranges, which stay few: consumption in order
//! is one range, and whatever lies below the first segment is forgotten.

use std::collections::VecDeque;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::encoding::{Cursor, put_varint};
use super::index::{self, Indexed, Places};
use super::journal::item::{put_ranges, ranges};
use super::ranges::Ranges;
use super::segment::{self, HEADER, Place, SegmentId, Span};
use super::state::VERSION_1;

mod segments;

pub use segments::{Segment, Written, WrittenRecord};

/// Where reading has got to.
#[derive(Clone, Copy, Debug)]
struct ReadAt {
    segment: u32,
    offset: u64,
    /// Everything below has been read.
    position: u64,
}

/// The part of a queue that is on disk.
#[derive(Debug)]
pub struct Shelf {
    dir: Arc<Path>,
    store: u64,
    pub queue: u64,
    segments: VecDeque<Segment>,
    dead: Ranges,
    flushed: u64,
    next_segment: u32,
    /// A flush is writing to it: it stays even when nothing in it lives.
    writing: Option<u32>,
    read_at: Option<ReadAt>,
    /// Files to remove once the manifest does not name them any more.
    gone: Vec<u32>,
    /// Something has changed that the manifest does not know.
    changed: bool,
}

impl Shelf {
    /// The shelf of a new queue. `root` is where all queues keep their directories.
    pub fn new(root: &Path, store: u64, queue: u64) -> Self {
        Self {
            dir: segment::queue_dir(root, queue).into(),
            store,
            queue,
            segments: VecDeque::new(),
            dead: Ranges::new(),
            flushed: 0,
            next_segment: 0,
            writing: None,
            read_at: None,
            gone: Vec::new(),
            changed: false,
        }
    }

    /// A shelf put together from segments that were found, in order of their positions. What is in none of them is dead.
    pub fn rebuilt(
        root: &Path,
        store: u64,
        queue: u64,
        segments: impl Iterator<Item = Segment>,
        dead: Ranges,
        next_segment: u32,
    ) -> Self {
        let segments: VecDeque<Segment> = segments.collect();
        let flushed = segments.back().map_or(0, |last| last.last + 1);
        Self { segments, dead, flushed, next_segment, ..Self::new(root, store, queue) }
    }

    /// The number that no segment has had yet.
    pub fn next_segment(&self) -> u32 {
        self.next_segment
    }

    /// Positions below this are not in the journal any more.
    pub fn flushed(&self) -> u64 {
        self.flushed
    }

    /// Messages that live in segments.
    pub fn live(&self) -> u64 {
        self.segments.iter().map(|s| s.live + s.transient).sum()
    }

    /// Bytes of the bodies of messages that live in segments. Exact as long as nothing has died there without its size being
    /// known.
    pub fn live_content(&self) -> u64 {
        self.segments.iter().map(|s| s.bodies + s.transient_bodies).sum()
    }

    pub fn segments(&self) -> impl Iterator<Item = &Segment> {
        self.segments.iter()
    }

    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    pub fn dead(&self) -> &Ranges {
        &self.dead
    }

    pub fn dir(&self) -> PathBuf {
        self.dir.to_path_buf()
    }

    /// Bytes of segments that living messages do not need, about.
    pub fn reclaimable(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes.saturating_sub(segment.live_bytes())).sum()
    }

    /// True when a message may be in a segment and live.
    pub fn holds(&self, position: u64) -> bool {
        self.find(position).is_some() && !self.dead.contains(position)
    }

    /// True when a message below [`Shelf::flushed`] has been settled.
    #[inline]
    pub fn is_dead(&self, position: u64) -> bool {
        self.dead.contains(position)
    }

    /// A message has been settled, or is known to be from the journal. `body` is how many bytes its body has, where that
    /// is known. Nothing happens when it was before.
    pub fn settle(&mut self, position: u64, persistent: bool, body: Option<u64>) {
        if position >= self.flushed {
            return;
        }
        let Some(index) = self.find(position) else { return };
        if !self.dead.insert(position) {
            return;
        }
        self.changed = true;
        let Some(segment) = self.segments.get_mut(index) else { return };
        segment.lose(persistent, body);
        if segment.is_dead() {
            self.drop_dead();
        }
    }

    /// Settles a range of persistent messages that is known from the journal.
    pub fn settle_range(&mut self, range: Range<u64>) {
        // Only where segments are: a range may come from a file that nobody has checked the sense of.
        let spans: Vec<Range<u64>> = self.segments.iter().map(|s| s.first..s.last + 1).collect();
        for span in spans {
            for position in range.start.max(span.start)..range.end.min(span.end) {
                self.settle(position, true, None);
            }
        }
    }

    /// The segment whose range holds a position.
    fn find(&self, position: u64) -> Option<usize> {
        let index = self.segments.partition_point(|s| s.last < position);
        self.segments.get(index).is_some_and(|s| s.first <= position).then_some(index)
    }

    fn drop_dead(&mut self) {
        let (gone, writing) = (&mut self.gone, self.writing);
        self.segments.retain(|s| {
            let goes = s.is_dead() && writing != Some(s.number);
            if goes {
                gone.push(s.number);
            }
            !goes
        });
        self.changed = true;
        self.dead.remove_below(self.segments.front().map_or(self.flushed, |s| s.first));
    }

    /// Everything below `below` dies but what `kept` (persistent) and `transient` hold. `below` is where the queue stood
    /// at the time, so that a segment is purged whole, or was before.
    pub fn purge(&mut self, below: u64, kept: &Ranges, transient: &Ranges) {
        if below < self.flushed {
            // What has been flushed since knows of the purge.
            return;
        }
        let below = self.flushed;
        let living = |ranges: &Ranges, dead: &Ranges, span: &Range<u64>| -> u64 {
            let within =
                ranges.iter().map(|r| r.start.max(span.start)..r.end.min(span.end)).filter(|r| r.start < r.end);
            within.map(|r| r.end - r.start - dead.count_within(r)).sum()
        };
        for segment in &mut self.segments {
            let span = segment.first..(segment.last + 1).min(below);
            if span.start >= span.end {
                continue;
            }
            let (live, passing) = (living(kept, &self.dead, &span), living(transient, &self.dead, &span));
            let dying = span.end - span.start - self.dead.count_within(span) - live - passing;
            if dying > 0 {
                segment.keep(live, passing);
            }
        }
        let mut kept = kept.clone();
        transient.iter().for_each(|range| kept.insert_range(range));
        let mut start = 0;
        for range in kept.iter() {
            self.dead.insert_range(start..range.start.min(below));
            start = range.end;
        }
        self.dead.insert_range(start..below);
        self.changed = true;
        self.drop_dead();
    }

    /// Where the next records go: the number of the segment and the bytes it has. A new one begins with its header.
    pub fn append_at(&self, segment_size: u64) -> (u32, u64) {
        match self.segments.back() {
            Some(last) if !last.old && last.bytes < segment_size => (last.number, last.bytes),
            _ => (self.next_segment, 0),
        }
    }

    /// Bytes that the index of this segment has.
    pub fn index_end(&self, segment: u32) -> u64 {
        self.segments.iter().rfind(|s| s.number == segment).map_or(0, |s| s.index_end)
    }

    /// The number of the next new segment after the one that [`Shelf::append_at`] names. Not simply the following one:
    /// rewriting uses numbers too.
    pub fn number_after(&self, number: u32) -> u32 {
        self.next_segment.max(number + 1)
    }

    /// A flush begins to write to this segment.
    pub fn begin_writing(&mut self, segment: u32) {
        self.writing = Some(segment);
    }

    /// The flush has failed.
    pub fn abandon_writing(&mut self) {
        self.writing = None;
        self.drop_dead();
    }

    /// Takes up what a flush has written: everything below `upto` has left the journal. `lives` says of each record in
    /// order whether its message still lives, and of which kind of positions the gaps are: settled.
    pub fn add(&mut self, upto: u64, written: &[Written], lives: &[bool]) {
        self.writing = None;
        let mut lives = lives.iter();
        let mut settled_from = self.flushed;
        for part in written {
            let Some((first, last)) = part.records.first().zip(part.records.last()) else { continue };
            let index = match self.segments.iter().rposition(|s| s.number == part.segment) {
                Some(index) => index,
                None => {
                    let (number, first) = (part.segment, first.position);
                    // To the one before nothing is added any more.
                    if let Some(before) = self.segments.back_mut() {
                        before.places.shrink();
                    }
                    self.segments.push_back(Segment { number, first, last: first, ..Segment::default() });
                    self.segments.len() - 1
                }
            };
            let Some(segment) = self.segments.get_mut(index) else { continue };
            for (record, lives) in part.records.iter().zip(lives.by_ref()) {
                if *lives {
                    self.dead.insert_range(settled_from..record.position);
                    settled_from = record.position + 1;
                    segment.gain(record);
                }
            }
            segment.last = last.position;
            segment.count += part.records.len() as u64;
            segment.bytes = part.end;
            segment.index(part, settled_from, &self.dead);
            self.next_segment = self.next_segment.max(part.segment + 1);
        }
        self.dead.insert_range(settled_from..upto);
        self.flushed = self.flushed.max(upto);
        self.changed = true;
        self.drop_dead();
    }

    /// The part of a segment in which the messages from a position on are found.
    pub fn plan_read(&self, from: u64) -> Option<Span> {
        let index = self.segments.partition_point(|s| s.last < from);
        let segment = self.segments.get(index)?;
        let known = self.read_at.filter(|at| at.segment == segment.number && at.position <= from);
        Some(self.span(segment, known.map_or(HEADER as u64, |at| at.offset)))
    }

    /// Where a living message is that has an entry in the index of its segment.
    pub fn place(&self, position: u64) -> Option<Place> {
        let segment = self.segments.get(self.find(position)?).filter(|_| !self.dead.contains(position))?;
        let offset = segment.places.get(position)?;
        Some(Place {
            dir: Arc::clone(&self.dir),
            id: self.segment_id(segment.number),
            position,
            offset,
            end: segment.bytes,
        })
    }

    /// True while a place is as it was said: its segment has not been rewritten, nor has it gone.
    pub fn has_place(&self, place: &Place) -> bool {
        self.segments.iter().any(|s| s.number == place.id.number)
    }

    pub fn segment_id(&self, number: u32) -> SegmentId {
        SegmentId { store: self.store, queue: self.queue, number }
    }

    /// Takes up what was read of the index of a segment.
    pub fn set_index(&mut self, number: u32, places: Places, end: u64) {
        if let Some(segment) = self.segments.iter_mut().find(|s| s.number == number) {
            self.changed |= segment.index_end != end;
            (segment.places, segment.index_end) = (places, end);
        }
    }

    /// Has the indexes that say less be made anew. False when there are none.
    pub fn want_indexes(&mut self, indexed: Indexed) -> bool {
        let less = self.segments.iter_mut().filter(|s| s.indexed < indexed);
        less.map(|segment| (segment.indexed, segment.index_end) = (indexed, index::UNKNOWN)).count() > 0
    }

    pub fn span(&self, segment: &Segment, offset: u64) -> Span {
        Span {
            path: segment::path(&self.dir, segment.number),
            id: self.segment_id(segment.number),
            offset,
            end: segment.bytes,
            old: segment.old,
        }
    }

    /// True while a span is a part of this shelf as it was planned.
    pub fn has(&self, span: &Span) -> bool {
        self.segments.iter().any(|s| s.number == span.id.number)
    }

    /// Notes that a span has been read to `offset`, everything below `position`.
    pub fn note_read(&mut self, span: &Span, offset: u64, position: u64) {
        self.read_at = Some(ReadAt { segment: span.id.number, offset, position });
    }

    /// Segments next to each other that are worth being rewritten together: mostly dead ones that are not written any more.
    pub fn rewritable(&self, segment_size: u64) -> Option<Rewrite> {
        let open = self.append_at(segment_size).0;
        let is_worth = |s: &&Segment| s.number != open && s.live_bytes() * 4 <= s.bytes && s.bytes > HEADER as u64;
        let start = self.segments.iter().position(|s| is_worth(&s))?;
        let mut kept = 0;
        let run = self.segments.iter().skip(start).take_while(|s| {
            kept += s.live_bytes();
            is_worth(s) && kept <= segment_size
        });
        let spans: Vec<Span> = run.map(|s| self.span(s, HEADER as u64)).collect();
        let bytes: u64 = spans.iter().map(|s| s.end).sum();
        // One small file alone would be rewritten again and again.
        let worth = spans.len() > 1 || bytes * 4 >= segment_size;
        let of = |span: &Span| self.segments.iter().find(|s| s.number == span.id.number).map(|s| s.indexed);
        let indexed = spans.iter().filter_map(of).max().unwrap_or_default();
        worth.then_some(Rewrite { spans, number: self.next_segment, indexed })
    }

    /// Takes up a rewrite: the records written replace the segments that were read.
    pub fn replace(&mut self, rewrite: &Rewrite, written: &Written) {
        let numbers: Vec<u32> = rewrite.spans.iter().map(|s| s.id.number).collect();
        let Some(index) = self.segments.iter().position(|s| numbers.contains(&s.number)) else {
            // All of it has died meanwhile.
            self.gone.push(written.segment);
            self.next_segment = self.next_segment.max(written.segment + 1);
            return;
        };
        // A segment that died while it was copied has left, and with it what was known of its dead: those that were copied, and
        // those whose acks are in the journal still and will be read once more.
        let mut died_from = written.records.first().map_or(0, |first| first.position);
        for segment in self.segments.iter().filter(|s| numbers.contains(&s.number)) {
            self.dead.insert_range(died_from..segment.first);
            died_from = segment.last + 1;
        }
        self.dead.insert_range(died_from..written.records.last().map_or(0, |last| last.position + 1));
        let gone = &mut self.gone;
        self.segments.retain(|s| {
            let replaced = numbers.contains(&s.number);
            gone.extend(replaced.then_some(s.number));
            !replaced
        });
        if let Some((first, last)) = written.records.first().zip(written.records.last()) {
            let mut segment = Segment {
                number: written.segment,
                first: first.position,
                last: last.position,
                count: written.records.len() as u64,
                bytes: written.end,
                // Transient records of earlier runs have been left out.
                old: false,
                ..Segment::default()
            };
            written.records.iter().filter(|r| !self.dead.contains(r.position)).for_each(|record| segment.gain(record));
            segment.index(written, u64::MAX, &self.dead);
            segment.places.shrink();
            self.segments.insert(index, segment);
        } else {
            self.gone.push(written.segment);
        }
        self.next_segment = self.next_segment.max(written.segment + 1);
        self.read_at = None;
        self.changed = true;
        self.drop_dead();
    }

    /// True while the manifest does not know everything.
    pub fn is_changed(&self) -> bool {
        self.changed
    }

    /// True when files wait to be removed.
    pub fn has_gone(&self) -> bool {
        !self.gone.is_empty()
    }

    /// The files that may be removed once the state that [`Shelf::encode`] gives now is in the manifest.
    pub fn take_gone(&mut self) -> Vec<PathBuf> {
        self.changed = false;
        let dir = self.dir();
        // Also an index that no record has an entry in: a flush that failed may have begun one.
        self.gone.drain(..).flat_map(|number| [segment::path(&dir, number), index::path(&dir, number)]).collect()
    }

    /// Forgets everything: the queue is deleted.
    pub fn clear(&mut self) {
        self.segments.clear();
        self.gone.clear();
        self.dead = Ranges::new();
        self.read_at = None;
    }

    /// Appends the state as the manifest keeps it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.flushed);
        put_varint(out, self.next_segment.into());
        put_varint(out, self.segments.len() as u64);
        for s in &self.segments {
            let indexed = u64::from(s.indexed == Indexed::All);
            let known = [u64::from(s.number), s.first, s.last - s.first, s.count, s.bytes, s.live];
            for n in known.into_iter().chain([s.bodies, indexed, s.index_end]) {
                put_varint(out, n);
            }
        }
        put_ranges(out, self.dead.iter());
    }

    /// Reads what [`Shelf::encode`] wrote, now or in version 1 of the state. Transient messages are gone.
    pub fn decode(root: &Path, store: u64, queue: u64, version: u8, cursor: &mut Cursor<'_>) -> Option<Self> {
        let mut shelf = Self::new(root, store, queue);
        shelf.flushed = cursor.varint()?;
        shelf.next_segment = u32::try_from(cursor.varint()?).ok()?;
        for _ in 0..cursor.varint()? {
            let number = u32::try_from(cursor.varint()?).ok()?;
            let first = cursor.varint()?;
            let last = first.checked_add(cursor.varint()?)?;
            last.checked_add(1)?;
            let (count, bytes, live) = (cursor.varint()?, cursor.varint()?, cursor.varint()?);
            let mut segment = Segment { number, first, last, count, bytes, live, old: true, ..Segment::default() };
            if version > VERSION_1 {
                segment.bodies = cursor.varint()?;
                segment.indexed = if cursor.varint()? == 0 { Indexed::Due } else { Indexed::All };
                segment.index_end = cursor.varint()?;
            } else {
                segment.bodies = segment.live_bytes();
            }
            shelf.segments.push_back(segment);
        }
        shelf.dead = ranges(cursor)?;
        shelf.drop_dead();
        Some(shelf)
    }
}

/// Segments that are to be rewritten as one.
#[derive(Clone, Debug)]
pub struct Rewrite {
    pub spans: Vec<Span>,
    /// The new segment.
    pub number: u32,
    /// Which of its records have entries in its index.
    pub indexed: Indexed,
}

#[cfg(test)]
mod tests;
