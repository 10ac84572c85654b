//! Memory and disk.

use std::time::Duration;

use super::super::value::{self, Expected};
use super::super::{DiskFreeLimit, Sync};
use super::{Key, key, live, optional};

pub const MEMORY: &[Key] = &[
    live(key(
        "vm_memory_high_watermark.relative",
        "0.4",
        "Publishers are blocked above this share of the machine's memory.",
        |draft, _, text| value::fraction(text).map(|share| draft.relative_watermark = Some(share)),
    )),
    live(optional(
        "vm_memory_high_watermark.absolute",
        "",
        "2GiB",
        "The same in bytes; it wins over the share.",
        |draft, _, text| value::memory(text).map(|bytes| draft.absolute_watermark = Some(bytes)),
    )),
    key(
        "vm_memory_high_watermark_paging_ratio",
        "0.5",
        "Backlogs leave memory from this share of the watermark on; 1 and more: they do not because of it.",
        |draft, _, text| value::positive(text).map(|ratio| draft.config.memory.paging_ratio = ratio),
    ),
    live(optional(
        "total_memory_available_override_value",
        "",
        "8GiB",
        "What counts as the machine's memory, instead of what the system says.",
        |draft, _, text| value::memory(text).map(|bytes| draft.config.memory.total_override = Some(bytes)),
    )),
];

pub const DISK: &[Key] = &[
    live(key("disk_free_limit.absolute", "50MB", "Publishers are blocked when less is free.", |draft, _, text| {
        value::memory(text).map(|bytes| draft.config.storage.disk_free_limit = DiskFreeLimit::Absolute(bytes))
    })),
    live(optional(
        "disk_free_limit.relative",
        "",
        "1.5",
        "The same as a multiple of the machine's memory; it wins over the number of bytes.",
        |draft, _, text| {
            value::positive(text).map(|share| draft.config.storage.disk_free_limit = DiskFreeLimit::Relative(share))
        },
    )),
    key(
        "store.sync",
        "fsync",
        "What a confirm means for a message that has to survive: fsync: it survives a power cut. interval: a power cut may \
         take the last store.sync_interval. os: it survives the process, not a power cut (not a key of RabbitMQ).",
        |draft, _, text| {
            let choices = [("fsync", Sync::Fsync), ("interval", Sync::Interval), ("os", Sync::Os)];
            value::choice(text, &choices).map(|sync| draft.config.storage.sync = sync)
        },
    ),
    key(
        "store.sync_interval",
        "200",
        "Milliseconds between two syncs with store.sync = interval (not a key of RabbitMQ).",
        |draft, _, text| {
            let range = 1..=60_000;
            value::integer(text, range).map(|ms| draft.config.storage.sync_interval = Duration::from_millis(ms))
        },
    ),
    key(
        "store.journal_file_size",
        "16MiB",
        "Bytes of a journal file, from 64KiB on (not a key of RabbitMQ).",
        |draft, _, text| file_size(text).map(|bytes| draft.config.storage.journal_file_size = bytes),
    ),
    key(
        "store.journal_keep",
        "2",
        "Full journal files that are left alone: what is in them is mostly consumed soon (not a key of RabbitMQ).",
        |draft, _, text| value::integer(text, 0..=64).map(|files| draft.config.storage.journal_keep = files),
    ),
    key("store.segment_size", "16MiB", "Bytes of a queue's segment (not a key of RabbitMQ).", |draft, _, text| {
        file_size(text).map(|bytes| draft.config.storage.segment_size = bytes)
    }),
];

/// Bytes of a file, in whole sectors.
fn file_size(text: &str) -> Result<u64, Expected> {
    let bytes = value::memory(text)? & !511;
    let range = 64 << 10..=4 << 30;
    if range.contains(&bytes) { Ok(bytes) } else { Err("an amount of memory from 64KiB to 4GiB".to_owned()) }
}
