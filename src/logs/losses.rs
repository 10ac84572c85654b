//! How many entries were lost since the start, by where they would have gone.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Where entries go, as metrics name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Everywhere: they came faster than the writer could take them.
    All,
    File,
    Syslog,
    Exchange,
    Audit,
}

impl Output {
    pub const ALL: [Self; 5] = [Self::All, Self::File, Self::Syslog, Self::Exchange, Self::Audit];

    pub fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::File => "file",
            Self::Syslog => "syslog",
            Self::Exchange => "exchange",
            Self::Audit => "audit",
        }
    }
}

/// The counts. They only rise.
#[derive(Debug, Default)]
pub struct Losses([AtomicU64; Output::ALL.len()]);

impl Losses {
    pub fn add(&self, output: Output, entries: u64) {
        if let Some(count) = self.0.get(output as usize) {
            count.fetch_add(entries, Relaxed);
        }
    }

    pub fn get(&self, output: Output) -> u64 {
        self.0.get(output as usize).map_or(0, |count| count.load(Relaxed))
    }
}
