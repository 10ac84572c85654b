//! The account of memory that messages and outboxes use, and the limit at which publishers wait.
//!
//! What the process has resident beyond the account (the allocator's slack, tables, buffers) counts too, as far as a share of
//! the limit: more than that would not go away when messages do, and publishers would wait for ever.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering::Relaxed};

const SHARDS: usize = 16;

#[derive(Default)]
#[repr(align(64))]
struct Shard(AtomicI64);

/// Bytes in use, spread over shards so that threads do not fight for one cache line.
pub struct MemoryAccount {
    shards: [Shard; SHARDS],
    /// The watermark in bytes.
    watermark: AtomicU64,
    /// Bytes at which publishers are made to wait: the watermark, or none at all while an operator makes them wait.
    limit: AtomicU64,
    by_hand: AtomicBool,
    /// Bytes that the process has beyond the account, when it was last looked at.
    beyond: AtomicU64,
}

/// Most of the limit that memory beyond the account may take: a third.
const BEYOND_SHARE: u64 = 3;

impl MemoryAccount {
    /// An account that lives as long as the process: every message points to its account without counting references.
    /// A node makes one when it starts.
    pub fn new(limit: u64) -> &'static Self {
        Box::leak(Box::new(Self {
            shards: Default::default(),
            watermark: AtomicU64::new(limit),
            limit: AtomicU64::new(limit),
            by_hand: AtomicBool::new(false),
            beyond: AtomicU64::new(0),
        }))
    }

    #[inline]
    fn shard(&self) -> &AtomicI64 {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        thread_local!(static MINE: usize = NEXT.fetch_add(1, Relaxed) % SHARDS);
        let [first, ..] = &self.shards;
        &self.shards.get(MINE.with(|i| *i)).unwrap_or(first).0
    }

    #[inline]
    pub fn add(&self, bytes: usize) {
        self.shard().fetch_add(i64::try_from(bytes).unwrap_or(i64::MAX), Relaxed);
    }

    #[inline]
    pub fn sub(&self, bytes: usize) {
        self.shard().fetch_sub(i64::try_from(bytes).unwrap_or(i64::MAX), Relaxed);
    }

    /// Bytes in use now.
    pub fn used(&self) -> u64 {
        let sum: i64 = self.shards.iter().map(|s| s.0.load(Relaxed)).sum();
        u64::try_from(sum).unwrap_or(0)
    }

    /// The watermark in bytes.
    pub fn limit(&self) -> u64 {
        self.watermark.load(Relaxed)
    }

    /// Changes the watermark.
    pub fn set_limit(&self, bytes: u64) {
        self.watermark.store(bytes, Relaxed);
        self.renew();
    }

    /// Makes publishers wait whatever is in use, or ends that.
    pub fn set_by_hand(&self, on: bool) {
        self.by_hand.store(on, Relaxed);
        self.renew();
    }

    /// Whether an operator makes publishers wait.
    pub fn is_by_hand(&self) -> bool {
        self.by_hand.load(Relaxed)
    }

    fn renew(&self) {
        let limit = if self.is_by_hand() { 0 } else { self.limit() };
        self.limit.store(limit, Relaxed);
    }

    /// True while publishers must wait.
    pub fn is_over(&self) -> bool {
        self.pressure() >= self.limit.load(Relaxed)
    }

    /// Bytes that count towards the watermark: what is in use, and what the process has beyond it.
    pub fn pressure(&self) -> u64 {
        self.used().saturating_add(self.beyond.load(Relaxed))
    }

    /// Takes note of what the process has resident, in bytes.
    pub fn note_resident(&self, bytes: u64) {
        let beyond = bytes.saturating_sub(self.used()).min(self.limit() / BEYOND_SHARE);
        self.beyond.store(beyond, Relaxed);
    }
}

/// Bytes that this process has resident; 0 where the system does not say.
pub fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse().ok()).map_or(0, |kib: u64| kib * 1024)
}

impl std::fmt::Debug for MemoryAccount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MemoryAccount({} of {} bytes)", self.used(), self.limit())
    }
}
