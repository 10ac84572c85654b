//! Records of the catalog to bytes and back, the same for every store.
//!
//! A value is one byte for the format, four of CRC32C (little-endian; over the key, the format and the rest), and the
//! record in postcard's encoding. The checksum covers the key, so that a whole record under a wrong key is found too.
//!
//! In format 3 virtual hosts could not be protected, in format 2 exchanges had no number. Format 1 had no checksum either, and queues no number; it is read where it can occur
//! ([`decode_any`]).

use serde::Deserialize;

use super::catalog::CatalogError;
use super::record::{
    BindingRecord, ExchangeRecord, PermissionRecord, QueueRecord, Record, TopicPermissionRecord, VhostRecord,
    new_store_id,
};
use crate::auth::User;
use crate::frames::Table;

const FORMAT: u8 = 4;
const THIRD_FORMAT: u8 = 3;
const SECOND_FORMAT: u8 = 2;
const FIRST_FORMAT: u8 = 1;

/// The value that is stored for a record under its key.
///
/// # Errors
/// When the record cannot be encoded.
pub fn encode(key: &[u8], record: &Record) -> Result<Vec<u8>, CatalogError> {
    let payload = postcard::to_stdvec(record).map_err(|e| CatalogError::Write(e.to_string()))?;
    let mut value = Vec::with_capacity(5 + payload.len());
    value.push(FORMAT);
    value.extend(checksum(key, FORMAT, &payload).to_le_bytes());
    value.extend(payload);
    Ok(value)
}

/// The record of a key and its value.
///
/// # Errors
/// When the value is damaged, or of a format that [`encode`] does not write and has not written since checksums came.
pub fn decode(key: &[u8], value: &[u8]) -> Result<Record, CatalogError> {
    let damaged = |what: &str| CatalogError::Damaged(format!("{what} under key {}", key.escape_ascii()));
    let Some((&format, rest)) = value.split_first() else { return Err(damaged("an empty record")) };
    let Some((stored, payload)) = rest.split_first_chunk() else { return Err(damaged("a cut-off record")) };
    if checksum(key, format, payload) != u32::from_le_bytes(*stored) {
        return Err(damaged("a wrong checksum"));
    }
    let record = match format {
        FORMAT => postcard::from_bytes(payload),
        THIRD_FORMAT => third(payload),
        SECOND_FORMAT => postcard::from_bytes(payload).map(SecondRecord::upgrade),
        newer => return Err(CatalogError::Newer(newer)),
    };
    let record: Record = record.map_err(|e| damaged(&format!("a record that is none ({e})")))?;
    if record.key() != key {
        return Err(damaged("another key's record"));
    }
    Ok(record)
}

/// The same for values that may be of the first format; the flag says that this one was. A queue gets a number then.
///
/// # Errors
/// When the value is damaged or of a newer format.
pub fn decode_any(key: &[u8], value: &[u8]) -> Result<(Record, bool), CatalogError> {
    match value.split_first() {
        Some((&FIRST_FORMAT, payload)) => {
            let first: FirstRecord = postcard::from_bytes(payload)
                .map_err(|e| CatalogError::Damaged(format!("{e} under key {}", key.escape_ascii())))?;
            Ok((first.upgrade()?, true))
        }
        _ => Ok((decode(key, value)?, false)),
    }
}

fn checksum(key: &[u8], format: u8, payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(key), &[format]), payload)
}

/// A record of format 3: only virtual hosts were different, and they come first in [`Record`].
fn third(payload: &[u8]) -> postcard::Result<Record> {
    match payload.split_first() {
        Some((0, vhost)) => postcard::from_bytes::<ThirdVhostRecord>(vhost).map(|r| Record::Vhost(r.upgrade())),
        _ => postcard::from_bytes(payload),
    }
}

/// A virtual host of formats 1 to 3.
#[derive(Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
struct ThirdVhostRecord {
    name: String,
    description: String,
    tags: Vec<String>,
    default_queue_type: Option<String>,
}

impl ThirdVhostRecord {
    fn upgrade(self) -> VhostRecord {
        let Self { name, description, tags, default_queue_type } = self;
        VhostRecord { name, description, tags, default_queue_type, protected: None }
    }
}

/// A record of format 2.
#[derive(Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
enum SecondRecord {
    Vhost(ThirdVhostRecord),
    User(User),
    Permission(PermissionRecord),
    TopicPermission(TopicPermissionRecord),
    Exchange(SecondExchangeRecord),
    Queue(QueueRecord),
    Binding(BindingRecord),
}

/// An exchange of formats 1 and 2. None of them kept anything.
#[derive(Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
struct SecondExchangeRecord {
    vhost: String,
    name: String,
    kind: String,
    durable: bool,
    auto_delete: bool,
    internal: bool,
    arguments: Table,
}

impl SecondExchangeRecord {
    fn upgrade(self) -> ExchangeRecord {
        let Self { vhost, name, kind, durable, auto_delete, internal, arguments } = self;
        ExchangeRecord { vhost, name, kind, durable, auto_delete, internal, arguments, id: 0 }
    }
}

impl SecondRecord {
    fn upgrade(self) -> Record {
        match self {
            Self::Vhost(r) => Record::Vhost(r.upgrade()),
            Self::User(r) => Record::User(r),
            Self::Permission(r) => Record::Permission(r),
            Self::TopicPermission(r) => Record::TopicPermission(r),
            Self::Exchange(r) => Record::Exchange(r.upgrade()),
            Self::Queue(r) => Record::Queue(r),
            Self::Binding(r) => Record::Binding(r),
        }
    }
}

/// A record of format 1.
#[derive(Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
enum FirstRecord {
    Vhost(ThirdVhostRecord),
    User(User),
    Permission(PermissionRecord),
    TopicPermission(TopicPermissionRecord),
    Exchange(SecondExchangeRecord),
    Queue(FirstQueueRecord),
    Binding(BindingRecord),
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
struct FirstQueueRecord {
    vhost: String,
    name: String,
    durable: bool,
    auto_delete: bool,
    arguments: Table,
}

impl FirstRecord {
    fn upgrade(self) -> Result<Record, CatalogError> {
        Ok(match self {
            Self::Vhost(r) => Record::Vhost(r.upgrade()),
            Self::User(r) => Record::User(r),
            Self::Permission(r) => Record::Permission(r),
            Self::TopicPermission(r) => Record::TopicPermission(r),
            Self::Exchange(r) => Record::Exchange(r.upgrade()),
            Self::Binding(r) => Record::Binding(r),
            Self::Queue(FirstQueueRecord { vhost, name, durable, auto_delete, arguments }) => {
                let id = new_store_id().map_err(|e| CatalogError::Read(e.to_string()))?;
                Record::Queue(QueueRecord { vhost, name, durable, auto_delete, arguments, id })
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::Value;

    fn queue(id: u64) -> QueueRecord {
        let arguments = [("x-expires", Value::U32(7)), ("x", Value::F64(f64::NEG_INFINITY))].into_iter().collect();
        QueueRecord { vhost: "/".into(), name: "q".into(), durable: true, auto_delete: false, arguments, id }
    }

    #[test]
    fn a_record_comes_back_as_it_was() {
        let record = Record::Queue(queue(7));
        let value = encode(&record.key(), &record).unwrap();
        assert_eq!(decode(&record.key(), &value).unwrap(), record);
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        let record = Record::Queue(queue(7));
        let (key, value) = (record.key(), encode(&record.key(), &record).unwrap());
        for bit in 0..value.len() * 8 {
            let mut flipped = value.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(decode(&key, &flipped), Err(CatalogError::Damaged(_))), "bit {bit}");
        }
        for length in 0..value.len() {
            assert!(matches!(decode(&key, &value[..length]), Err(CatalogError::Damaged(_))), "{length} bytes");
        }
        assert!(matches!(decode(b"other", &value), Err(CatalogError::Damaged(_))));
    }

    #[test]
    fn a_newer_format_is_told_from_damage() {
        let newer = [&[9][..], &checksum(b"key", 9, b"anything").to_le_bytes(), b"anything"].concat();
        assert!(matches!(decode(b"key", &newer), Err(CatalogError::Newer(9))));
    }

    #[test]
    fn an_exchange_of_the_second_format_keeps_nothing() {
        let exchange = |id| ExchangeRecord {
            vhost: "/".into(),
            name: "e".into(),
            kind: "topic".into(),
            durable: true,
            auto_delete: false,
            internal: true,
            arguments: Table::default(),
            id,
        };
        let key = Record::Exchange(exchange(0)).key();
        let ExchangeRecord { vhost, name, kind, durable, auto_delete, internal, arguments, .. } = exchange(0);
        let second = SecondExchangeRecord { vhost, name, kind, durable, auto_delete, internal, arguments };
        let payload = postcard::to_stdvec(&SecondRecord::Exchange(second)).unwrap();
        let checksum = checksum(&key, SECOND_FORMAT, &payload).to_le_bytes();
        let value = [&[SECOND_FORMAT][..], &checksum, &payload].concat();
        assert_eq!(decode(&key, &value).unwrap(), Record::Exchange(exchange(0)));
        assert_eq!(decode_any(&key, &value).unwrap(), (Record::Exchange(exchange(0)), false));
    }

    #[test]
    fn a_virtual_host_of_the_third_format_is_not_protected() {
        let (name, description, tags) = ("v".to_owned(), "d".to_owned(), vec!["t".to_owned()]);
        let default_queue_type = Some("quorum".to_owned());
        let old = ThirdVhostRecord { name, description, tags, default_queue_type };
        let payload = [&[0][..], &postcard::to_stdvec(&old).unwrap()].concat();
        let new = Record::Vhost(old.upgrade());
        let key = new.key();
        let checked = checksum(&key, THIRD_FORMAT, &payload).to_le_bytes();
        assert_eq!(decode(&key, &[&[THIRD_FORMAT][..], &checked, &payload].concat()).unwrap(), new);
        let queue = Record::Queue(queue(7));
        let payload = postcard::to_stdvec(&queue).unwrap();
        let checked = checksum(&queue.key(), THIRD_FORMAT, &payload).to_le_bytes();
        assert_eq!(decode(&queue.key(), &[&[THIRD_FORMAT][..], &checked, &payload].concat()).unwrap(), queue);
    }

    #[test]
    fn a_queue_of_the_first_format_gets_a_number() {
        let QueueRecord { vhost, name, durable, auto_delete, arguments, .. } = queue(0);
        let first = FirstRecord::Queue(FirstQueueRecord { vhost, name, durable, auto_delete, arguments });
        let value = postcard::to_extend(&first, vec![FIRST_FORMAT]).unwrap();
        let (record, outdated) = decode_any(&Record::Queue(queue(0)).key(), &value).unwrap();
        let Record::Queue(QueueRecord { id, .. }) = record else { panic!("a queue stays a queue") };
        assert!(outdated && id != 0);
        assert_eq!(record, Record::Queue(queue(id)));
    }
}
