//! One file's content: live, durable, and the changes between the two.

use std::path::{Path, PathBuf};

use super::random::Random;

/// What the hardware writes as a whole.
const SECTOR: usize = 512;

#[derive(Clone, Debug)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    SetLen(usize),
}

impl Change {
    fn apply(&self, image: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes } => write(image, bytes, *offset),
            Self::SetLen(length) => image.resize(*length, 0),
        }
    }
}

/// A file, whether it has a name or not.
#[derive(Clone, Debug, Default)]
pub struct Content {
    /// Where it was last found.
    pub path: PathBuf,
    /// How many handles are open on it.
    pub handles: usize,
    live: Vec<u8>,
    durable: Vec<u8>,
    /// What turns the durable image into the live one.
    unsynced: Vec<Change>,
}

impl Content {
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned(), ..Self::default() }
    }

    pub fn live(&self) -> &[u8] {
        &self.live
    }

    pub fn len(&self) -> u64 {
        self.live.len() as u64
    }

    pub fn read(&self, buffer: &mut [u8], offset: u64) -> usize {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.live.get(offset..)).unwrap_or_default();
        buffer.iter_mut().zip(rest).map(|(to, from)| *to = *from).count()
    }

    pub fn write(&mut self, bytes: &[u8], offset: u64) {
        let Ok(offset) = usize::try_from(offset) else { return };
        if !bytes.is_empty() {
            self.change(Change::Write { offset, bytes: bytes.to_vec() });
        }
    }

    pub fn set_len(&mut self, length: u64) {
        let Ok(length) = usize::try_from(length) else { return };
        if length != self.live.len() {
            self.change(Change::SetLen(length));
        }
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.live);
        self.unsynced.push(change);
    }

    pub fn sync(&mut self) {
        for change in self.unsynced.drain(..) {
            change.apply(&mut self.durable);
        }
    }

    /// A sync failed: what it should have saved is on the disk or not, and will not be written again.
    pub fn lose(&mut self, random: &mut Random) {
        self.durable = self.written_back(random, false);
        self.unsynced.clear();
    }

    /// The power is cut.
    pub fn cut(&mut self, random: &mut Random, torn: bool) {
        self.durable = self.written_back(random, torn);
        self.unsynced.clear();
        self.live.clone_from(&self.durable);
        self.handles = 0;
    }

    pub fn flip_bit(&mut self, offset: u64, bit: u8) -> bool {
        let Ok(offset) = usize::try_from(offset) else { return false };
        let mask = 1u8.checked_shl(u32::from(bit)).unwrap_or(0);
        for image in [&mut self.durable, &mut self.live] {
            if let Some(byte) = image.get_mut(offset) {
                *byte ^= mask;
            }
        }
        offset < self.live.len() && mask != 0
    }

    /// What may be on the disk. The kernel may have written a sector after each change or not; lengths are written in
    /// order, up to any of them.
    fn written_back(&self, random: &mut Random, torn: bool) -> Vec<u8> {
        // All or nothing is as likely as anything between, and that is seldom half and half.
        let times = *pick(random, &[0, 1, 8, 15, 16]).unwrap_or(&0);
        let lengths = match random.below(3) {
            0 => 0,
            1 => self.unsynced.len(),
            _ => usize::try_from(random.below(self.unsynced.len() as u64 + 1)).unwrap_or(0),
        };
        let (mut seen, mut written) = (self.durable.clone(), self.durable.clone());
        let mut length = self.durable.len();
        // Beyond this the file on the disk is not the one that is being changed, because a cut of its length was lost.
        let mut end = usize::MAX;
        for (at, change) in self.unsynced.iter().enumerate() {
            change.apply(&mut seen);
            let is_written = at < lengths;
            match change {
                Change::Write { offset, bytes } => {
                    let changed_end = offset.saturating_add(bytes.len());
                    if is_written {
                        length = length.max(changed_end);
                    }
                    for sector in offset / SECTOR..changed_end.min(end).div_ceil(SECTOR) {
                        if random.chance(times, 16) {
                            copy_sector(&seen, &mut written, sector);
                        } else if torn && random.chance(1, 8) {
                            spoil_sector(&mut written, sector, random);
                        }
                    }
                }
                Change::SetLen(new) if is_written => {
                    length = *new;
                    written.truncate(*new);
                }
                Change::SetLen(new) => end = end.min(new.next_multiple_of(SECTOR)),
            }
        }
        written.resize(length, 0);
        written
    }
}

fn write(image: &mut Vec<u8>, bytes: &[u8], offset: usize) {
    let end = offset.saturating_add(bytes.len());
    if image.len() < end {
        image.resize(end, 0);
    }
    if let Some(place) = image.get_mut(offset..end) {
        place.copy_from_slice(bytes);
    }
}

fn copy_sector(from: &[u8], to: &mut Vec<u8>, sector: usize) {
    let start = sector * SECTOR;
    if let Some(bytes) = from.get(start..from.len().min(start + SECTOR)) {
        write(to, bytes, start);
    }
}

fn spoil_sector(image: &mut Vec<u8>, sector: usize, random: &mut Random) {
    let garbage: Vec<u8> = (0..SECTOR).map(|_| random.next().to_le_bytes()[0]).collect();
    write(image, &garbage, sector * SECTOR);
}

fn pick<'a, T>(random: &mut Random, from: &'a [T]) -> Option<&'a T> {
    from.get(usize::try_from(random.below(from.len() as u64)).unwrap_or(0))
}
