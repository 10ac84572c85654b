//! The catalog as a definitions file, in RabbitMQ's format, and back.
//!
//! What JSON cannot say stands beside what it can: `arguments` is what RabbitMQ would write, and where types or order are
//! lost in that, `arguments_amqp` has the table in AMQP's own encoding, base64. `store_id` is the queue's number in the
//! message store. RabbitMQ skips both.
//!
//! [`items`] and [`sections`] are shared with the definitions that an operator exports and imports.
//!
//! The first line holds a CRC32C of everything after it; so the file is JSON for everybody, and damage to it is found.

mod arguments;
mod items;
mod parameters;
mod sections;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

pub use arguments::{checked_table, decode_arguments, depth, table_from_json, table_to_json};
pub use items::{Detail, item};
pub use sections::{Sections, SectionsOfVhost};

use super::data_dir::now;
use super::disk::advice;
use super::record::Record;

/// The level of RabbitMQ whose format this is.
pub const RABBIT_VERSION: &str = "3.13.7";
const FORMAT: u32 = 1;

/// Why a definitions file is of no use.
#[derive(Debug, thiserror::Error)]
pub enum DefinitionsError {
    #[error("its first line holds no checksum")]
    NoChecksum,
    #[error("its checksum is wrong")]
    Checksum,
    #[error("it was written by a newer version of Leveret (format {0})")]
    Newer(u32),
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    #[error("the arguments of {0} cannot be read")]
    Arguments(String),
    #[error("{0} names no virtual host")]
    NoVhost(String),
    #[error("no number for queue {0}: {1}")]
    Number(String, getrandom::Error),
    #[error("it cannot be read: {0}")]
    Read(std::io::Error),
    #[error("it cannot be written: {0}{advice}", advice = advice(.0))]
    Write(std::io::Error),
}

#[derive(Serialize, Deserialize)]
struct File {
    rabbit_version: String,
    leveret: About,
    #[serde(flatten)]
    sections: Sections,
}

#[derive(Serialize, Deserialize)]
struct About {
    format: u32,
    written: String,
}

/// The file of these records, as it is now.
///
/// # Errors
/// When a record cannot be written as JSON.
pub fn write(records: Vec<Record>) -> Result<Vec<u8>, DefinitionsError> {
    let mut file = File {
        rabbit_version: RABBIT_VERSION.to_owned(),
        leveret: About { format: FORMAT, written: now() },
        sections: Sections::default(),
    };
    for record in records {
        file.sections.add(record, Detail::Backup)?;
    }
    let mut json = serde_json::to_vec_pretty(&file)?;
    // The brace that opens it comes before the checksum.
    json.drain(..1);
    json.push(b'\n');
    Ok([first_line(&json).as_bytes(), &json].concat())
}

fn first_line(rest: &[u8]) -> String {
    format!("{{ \"crc32c\": \"{:08x}\",", crc32c::crc32c(rest))
}

/// The records of a file, in the order in which they are loaded, and when it was written.
///
/// # Errors
/// When it is damaged or not ours.
pub fn read(bytes: &[u8]) -> Result<(Vec<Record>, String), DefinitionsError> {
    let (line, rest) = bytes.split_at_checked(first_line(b"").len()).ok_or(DefinitionsError::NoChecksum)?;
    if !line.starts_with(b"{ \"crc32c\": \"") {
        return Err(DefinitionsError::NoChecksum);
    }
    if line != first_line(rest).as_bytes() {
        return Err(DefinitionsError::Checksum);
    }
    let about: Json = serde_json::from_slice(bytes)?;
    let format = about.pointer("/leveret/format").and_then(Json::as_u64).and_then(|f| u32::try_from(f).ok());
    match format {
        Some(FORMAT) => {}
        newer => return Err(DefinitionsError::Newer(newer.unwrap_or_default())),
    }
    let file: File = serde_json::from_value(about)?;
    let written = file.leveret.written.clone();
    Ok((file.sections.records()?, written))
}
