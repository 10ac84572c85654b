//! What the system says of this process.

use crate::message::memory::MemoryAccount;
pub use crate::message::memory::resident_bytes;
pub use crate::stats::process::{most_files, most_threads, open_files, status, threads};

/// Where the memory of the process is, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Messages, and what is on its way to clients.
    pub messages: u64,
    /// The program's own bytes.
    pub code: u64,
    pub other: u64,
    pub resident: u64,
}

impl Memory {
    pub fn now(account: &MemoryAccount) -> Self {
        let (resident, messages) = (resident_bytes(), account.used());
        // What is mapped from files is the program and its libraries.
        let code = status("RssFile:") * 1024;
        Self { messages, code, other: resident.saturating_sub(messages).saturating_sub(code), resident }
    }
}
