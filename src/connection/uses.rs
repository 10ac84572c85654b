//! What the node uses of its machine: memory, files, sockets, threads, and the disk's work. Read by the census at every
//! statistics interval, and by whoever looks at the node.

use super::machine::Shared;
use crate::message::memory::resident_bytes;
use crate::stats::process;

/// What is used. Numbers of it may fall up to [`Use::Threads`], the others only rise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    Memory,
    DiskFree,
    Files,
    Sockets,
    Threads,
    Writes,
    WrittenBytes,
    WriteMicros,
    Syncs,
    Reads,
    ReadBytes,
    ReadMicros,
}

const USES: usize = 12;

/// How much of what is used, or how fast that changes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Uses<T = u64>([T; USES]);

impl<T: Copy + Default> Uses<T> {
    pub fn get(&self, what: Use) -> T {
        self.0.get(what as usize).copied().unwrap_or_default()
    }

    fn set(&mut self, what: Use, value: T) {
        if let Some(place) = self.0.get_mut(what as usize) {
            *place = value;
        }
    }
}

impl Uses {
    pub fn now(shared: &Shared) -> Self {
        let mut uses = Self::default();
        let store = shared.broker.store.as_ref();
        for (what, value) in [
            (Use::Memory, resident_bytes()),
            (Use::DiskFree, store.and_then(|store| store.space().ok()).map_or(0, |space| space.free)),
            (Use::Files, process::open_files()),
            (Use::Sockets, shared.registry.count() as u64),
            (Use::Threads, process::threads()),
        ] {
            uses.set(what, value);
        }
        let Some(store) = store else { return uses };
        let (latency, reading) = (&store.journal.latency, &store.reading);
        let (classes, seconds) = latency.classes();
        for (what, value) in [
            (Use::Writes, classes.iter().sum::<u64>()),
            (Use::WrittenBytes, latency.bytes.get()),
            (Use::WriteMicros, (seconds * 1e6) as u64),
            (Use::Syncs, latency.syncs()),
            (Use::Reads, reading.reads()),
            (Use::ReadBytes, reading.bytes()),
            (Use::ReadMicros, reading.micros()),
        ] {
            uses.set(what, value);
        }
        uses
    }

    /// How fast they have changed, per second.
    pub(super) fn since(&self, before: &Self, seconds: f64) -> Uses<f32> {
        let mut rates = Uses::default();
        for ((rate, now), before) in rates.0.iter_mut().zip(self.0).zip(before.0) {
            *rate = crate::stats::rates::change(before, now, seconds);
        }
        rates
    }
}
