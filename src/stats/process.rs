//! What the system says of this process: files and threads.

use std::fs;

/// File descriptors that are open.
pub fn open_files() -> u64 {
    fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64)
}

/// File descriptors that may be open.
pub fn most_files() -> u64 {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX >> 11)
}

pub fn threads() -> u64 {
    status("Threads:")
}

/// Threads that this user's processes may have.
pub fn most_threads() -> u64 {
    rustix::process::getrlimit(rustix::process::Resource::Nproc).current.unwrap_or(u64::MAX >> 11)
}

/// A number of `/proc/self/status`; 0 where the system does not say.
pub fn status(key: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let found = status.lines().find_map(|line| line.strip_prefix(key)?.split_whitespace().next()?.parse().ok());
    found.unwrap_or(0)
}
