//! The journal's files, byte by byte.
//!
//! A file begins with a header of 512 bytes; blocks follow, each at a multiple of 512 bytes. A block is one commit. Blocks
//! are numbered without gaps over all files, so that a missing one is noticed, and carry the store's number, so that
//! another store's blocks (or a message that looks like one) are not taken for this one's. What is left over behind the
//! last block of a file is from an earlier use and has lower numbers.
//!
//! ```text
//! file header                                block
//!  0 magic "LEVJRNL1"                         0 magic "LVB1"
//!  8 format u32 (1)                           4 CRC32C u32 of the bytes from 8 to the end of the directory
//! 12 slot u32: number of the file             8 number u64
//! 16 store u64                               16 store u64
//! 24 size of the file u64                    24 length of the block u32, from its magic on, with its padding
//! 32 CRC32C u32 of bytes 0 to 32             28 length of the items u32
//!                                            32 entries in the directory u32
//!                                            36 CRC32C u32 of everything behind the directory, padding included
//!                                            40 number of the last block that was synced when this one was made u64
//!                                            48 directory: for each queue its id u64, messages u32, 0 u32
//!                                               items, padding with zeros
//! ```

use super::super::encoding::Cursor;
use super::item::Entry;

/// Blocks begin at multiples of this: what a disk writes as one.
pub const SECTOR: usize = 512;
const FILE_MAGIC: &[u8; 8] = b"LEVJRNL1";
const BLOCK_MAGIC: &[u8; 4] = b"LVB1";
pub const FORMAT: u32 = 1;
/// Bytes of a block before its directory.
pub const BLOCK_HEADER: usize = 48;
const ENTRY: usize = 16;

/// The header of a journal file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileHeader {
    pub slot: u32,
    pub store: u64,
    pub size: u64,
}

/// Why a header is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadHeader {
    Damaged,
    Newer(u32),
}

impl FileHeader {
    pub fn encode(&self) -> [u8; SECTOR] {
        let mut bytes = Vec::with_capacity(SECTOR);
        bytes.extend_from_slice(FILE_MAGIC);
        bytes.extend_from_slice(&FORMAT.to_le_bytes());
        bytes.extend_from_slice(&self.slot.to_le_bytes());
        bytes.extend_from_slice(&self.store.to_le_bytes());
        bytes.extend_from_slice(&self.size.to_le_bytes());
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        let mut sector = [0; SECTOR];
        for (to, from) in sector.iter_mut().zip(bytes) {
            *to = from;
        }
        sector
    }

    /// # Errors
    /// When the bytes are no header, or one of a later format.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadHeader> {
        let read = || {
            let mut cursor = Cursor(bytes);
            let magic = cursor.bytes(8)?;
            let format = cursor.u32()?;
            let header = Self { slot: cursor.u32()?, store: cursor.u64()?, size: cursor.u64()? };
            let whole = magic == FILE_MAGIC && crc32c::crc32c(bytes.get(..32)?) == cursor.u32()?;
            whole.then_some((format, header))
        };
        match read() {
            Some((FORMAT, header)) => Ok(header),
            Some((newer, _)) => Err(BadHeader::Newer(newer)),
            None => Err(BadHeader::Damaged),
        }
    }
}

/// A block whose header and directory are whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockHeader {
    pub number: u64,
    /// Bytes on disk.
    pub length: usize,
    items: usize,
    crc: u32,
    /// The last block that had been synced when this one was made.
    pub synced: u64,
    pub directory: Vec<Entry>,
}

impl BlockHeader {
    /// Reads the header at the beginning of `bytes`; `None` when there is none of this store.
    pub fn decode(bytes: &[u8], store: u64) -> Option<Self> {
        let mut cursor = Cursor(bytes);
        if cursor.bytes(4)? != BLOCK_MAGIC {
            return None;
        }
        let crc_of_header = cursor.u32()?;
        let (number, of_store) = (cursor.u64()?, cursor.u64()?);
        let (length, items) = (usize::try_from(cursor.u32()?).ok()?, usize::try_from(cursor.u32()?).ok()?);
        let (entries, crc, synced) = (usize::try_from(cursor.u32()?).ok()?, cursor.u32()?, cursor.u64()?);
        let end = entries.checked_mul(ENTRY)?.checked_add(BLOCK_HEADER)?;
        if of_store != store || crc32c::crc32c(bytes.get(8..end)?) != crc_of_header {
            return None;
        }
        if end.checked_add(items)? > length || length % SECTOR != 0 {
            return None;
        }
        let mut directory = Cursor(cursor.bytes(entries * ENTRY)?);
        let directory = std::iter::from_fn(|| {
            let entry = Entry { queue: directory.u64()?, messages: directory.u32()? };
            directory.u32()?;
            Some(entry)
        });
        let directory = directory.collect();
        Some(Self { number, length, items, crc, synced, directory })
    }

    /// The items of the block at the beginning of `bytes`; `None` when they are damaged or cut off.
    pub fn items<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let start = BLOCK_HEADER + self.directory.len() * ENTRY;
        let rest = bytes.get(start..self.length)?;
        (crc32c::crc32c(rest) == self.crc).then(|| rest.get(..self.items))?
    }
}

/// Bytes kept free before the items of a commit, so that header and directory mostly fit in front of them.
pub const FRONT: usize = 2048;

/// What a block is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockId {
    pub number: u64,
    pub store: u64,
    /// The last block that has been synced.
    pub synced: u64,
}

/// Makes a block of a commit's items, which begin at [`FRONT`] in `buffer`. Returns where in `buffer` the block lies.
pub fn seal(buffer: &mut Vec<u8>, id: BlockId, directory: &[Entry]) -> std::ops::Range<usize> {
    let items = buffer.len().saturating_sub(FRONT);
    let head = BLOCK_HEADER + directory.len() * ENTRY;
    let start = FRONT.checked_sub(head).unwrap_or_else(|| {
        // Many queues: the items have to move.
        buffer.splice(0..0, std::iter::repeat_n(0, head - FRONT));
        0
    });
    let length = (head + items).next_multiple_of(SECTOR);
    buffer.resize(start + length, 0);
    let crc = crc32c::crc32c(buffer.get(start + head..).unwrap_or_default());
    let mut bytes = Vec::with_capacity(head);
    bytes.extend_from_slice(BLOCK_MAGIC);
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&id.number.to_le_bytes());
    bytes.extend_from_slice(&id.store.to_le_bytes());
    bytes.extend_from_slice(&to_u32(length).to_le_bytes());
    bytes.extend_from_slice(&to_u32(items).to_le_bytes());
    bytes.extend_from_slice(&to_u32(directory.len()).to_le_bytes());
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes.extend_from_slice(&id.synced.to_le_bytes());
    for entry in directory {
        bytes.extend_from_slice(&entry.queue.to_le_bytes());
        bytes.extend_from_slice(&entry.messages.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
    }
    let crc_of_header = crc32c::crc32c(bytes.get(8..).unwrap_or_default());
    if let Some(place) = bytes.get_mut(4..8) {
        place.copy_from_slice(&crc_of_header.to_le_bytes());
    }
    if let Some(place) = buffer.get_mut(start..start + head) {
        place.copy_from_slice(&bytes);
    }
    start..start + length
}

/// A commit is far smaller than 4 GiB: the journal takes no more than its limit and one message of at most 512 MiB.
fn to_u32(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(entries: usize) -> Vec<u8> {
        let mut buffer = vec![0; FRONT];
        buffer.extend_from_slice(b"the items");
        let directory: Vec<_> = (0..entries as u64).map(|queue| Entry { queue, messages: 2 }).collect();
        let range = seal(&mut buffer, BlockId { number: 7, store: 99, synced: 5 }, &directory);
        buffer[range].to_vec()
    }

    #[test]
    fn blocks_are_read_as_sealed() {
        for entries in [0, 1, 100, 1000] {
            let bytes = sealed(entries);
            let header = BlockHeader::decode(&bytes, 99).unwrap();
            assert_eq!((header.number, header.synced, header.length), (7, 5, bytes.len()));
            assert_eq!(header.directory.len(), entries);
            assert_eq!(header.items(&bytes).unwrap(), b"the items");
            assert_eq!(BlockHeader::decode(&bytes, 98), None);
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let whole = sealed(2);
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let read = BlockHeader::decode(&bytes, 99);
            assert_eq!(read.as_ref().and_then(|h| h.items(&bytes)), None, "bit {bit}");
        }
    }

    #[test]
    fn a_file_header_is_read_as_written_and_every_flipped_bit_noticed() {
        let header = FileHeader { slot: 3, store: 99, size: 1 << 25 };
        let whole = header.encode();
        assert_eq!(FileHeader::decode(&whole), Ok(header));
        for bit in 0..36 * 8 {
            let mut bytes = whole;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(FileHeader::decode(&bytes).is_err(), "bit {bit}");
        }
        let mut newer = whole;
        newer[8] = 2;
        let crc = crc32c::crc32c(&newer[..32]);
        newer[32..36].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(FileHeader::decode(&newer), Err(BadHeader::Newer(2)));
    }
}
