//! Whose a data directory is: a small text beside the data, in two copies.
//!
//! It names the format of the whole directory, the node it belongs to, and a number that tells it from all others. It is
//! for people too, so it is text; its last line is a checksum of the lines above it. A copy that is damaged or missing is
//! written anew from the other one.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

use super::super::disk::Disk;
use super::super::replace::{read, replace};

/// The format of the directory that this version writes.
pub const FORMAT: u32 = 1;
/// Both copies; the first one counts where they differ in the node's name.
pub const FILES: [&str; 2] = ["identity", "identity.copy"];

const HEAD: &str = "This is a data directory of Leveret. Leave this file as it is.";
const CHECKSUM: &str = "crc32c: ";

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The node's name, when one was configured.
    pub node: Option<String>,
    /// Random: no other data directory has it.
    pub id: String,
    /// UTC, as RFC 3339 writes it.
    pub created: String,
}

impl Identity {
    /// The number by which files of this data directory are known as its own.
    pub fn number(&self) -> u64 {
        use sha2::Digest;
        let digest = sha2::Sha256::digest(self.id.as_bytes());
        digest.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }
}

/// What was found of an identity: what it says, and the copies that are not in order.
pub type Known = (Identity, Vec<&'static str>);

/// Why an identity cannot be had.
#[derive(Debug)]
pub enum Unknown {
    /// A file cannot be read.
    Unreadable(io::Error),
    /// A version of Leveret that writes this format knows it.
    Newer(u32),
    /// Neither copy is in order.
    Damaged,
    /// The copies are of two directories.
    Two,
}

impl Identity {
    /// Of a new directory.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn new(node: Option<&str>) -> io::Result<Self> {
        let random = || getrandom::u64().map_err(|e| io::Error::other(e.to_string()));
        let id = [random()?, random()?];
        let id = id.map(|half| format!("{half:016x}")).concat();
        Ok(Self { node: node.map(str::to_owned), id, created: now() })
    }

    pub fn to_text(&self) -> String {
        let mut text = format!("{HEAD}\nformat: {FORMAT}\n");
        if let Some(node) = &self.node {
            let _ = writeln!(text, "node: {node}");
        }
        let _ = writeln!(text, "id: {}\ncreated: {}", self.id, self.created);
        let checksum = crc32c::crc32c(text.as_bytes());
        let _ = writeln!(text, "{CHECKSUM}{checksum:08x}");
        text
    }

    /// Reads what [`Self::to_text`] wrote.
    ///
    /// # Errors
    /// When it is damaged, or of a newer format: of that only the first lines and the checksum are expected to be the same.
    pub fn parse(text: &[u8]) -> Result<Self, Unknown> {
        let text = std::str::from_utf8(text).map_err(|_| Unknown::Damaged)?;
        let (lines, checksum) = text.rsplit_once(CHECKSUM).ok_or(Unknown::Damaged)?;
        if checksum != format!("{:08x}\n", crc32c::crc32c(lines.as_bytes())) {
            return Err(Unknown::Damaged);
        }
        let field = |name: &str| lines.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let format: u32 = field("format").and_then(|f| f.parse().ok()).ok_or(Unknown::Damaged)?;
        if format != FORMAT {
            return Err(Unknown::Newer(format));
        }
        let (Some(id), Some(created)) = (field("id"), field("created")) else { return Err(Unknown::Damaged) };
        Ok(Self { node: field("node").map(str::to_owned), id: id.to_owned(), created: created.to_owned() })
    }

    /// Writes both copies.
    ///
    /// # Errors
    /// As the disk says.
    pub fn write(&self, disk: &dyn Disk, dir: &Path) -> io::Result<()> {
        FILES.iter().try_for_each(|name| replace(disk, &dir.join(name), self.to_text().as_bytes()))
    }
}

/// The identity of a directory; `None` where there is no copy at all.
///
/// # Errors
/// When a file cannot be read, or what was read is of no use.
pub fn load(disk: &dyn Disk, dir: &Path) -> Result<Option<Known>, Unknown> {
    let mut found: Option<Result<Identity, Unknown>> = None;
    let mut wrong = Vec::new();
    for name in FILES {
        let copy = match read(disk, &dir.join(name)) {
            Ok(text) => Identity::parse(&text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                wrong.push(name);
                continue;
            }
            Err(error) => return Err(Unknown::Unreadable(error)),
        };
        match (&found, &copy) {
            (_, Err(Unknown::Newer(format))) => return Err(Unknown::Newer(*format)),
            (None | Some(Err(_)), _) => {
                wrong.extend(copy.is_err().then_some(name));
                found = Some(copy);
            }
            (Some(Ok(first)), Ok(second)) if first == second => {}
            // Somebody has copied one here; which of them belongs to the messages is not for us to guess.
            (Some(Ok(first)), Ok(second)) if first.id != second.id => return Err(Unknown::Two),
            (Some(Ok(_)), _) => wrong.push(name),
        }
    }
    Ok(found.transpose()?.map(|identity| (identity, wrong)))
}

/// UTC, as RFC 3339 writes it.
pub fn now() -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = SystemTime.format_time(&mut Writer::new(&mut text));
    text
}
