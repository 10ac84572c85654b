//! Settings of queues, each kept once however many queues have it.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};

use foldhash::fast::RandomState;
use parking_lot::Mutex;

use crate::queue::settings::Settings;

/// The settings that are in use in one virtual host.
#[derive(Debug, Default)]
pub struct Shared {
    known: Mutex<Known>,
    /// Moves with the settings of queues once one of them has limited its publishers; 0 until then.
    limits_epoch: AtomicU64,
}

#[derive(Debug, Default)]
struct Known {
    settings: HashSet<Arc<Settings>, RandomState>,
    /// So many there were after those without a queue were last forgotten.
    after_sweep: usize,
}

impl Shared {
    /// The one of these that all queues share.
    pub fn one(&self, settings: Settings) -> Arc<Settings> {
        if settings.limits_publishers() {
            self.limits_epoch.fetch_add(1, Release);
        }
        let mut known = self.known.lock();
        if let Some(same) = known.settings.get(&settings) {
            return Arc::clone(same);
        }
        if known.settings.len() > 2 * known.after_sweep + 64 {
            known.settings.retain(|settings| Arc::strong_count(settings) > 1);
            known.after_sweep = known.settings.len();
        }
        let settings = Arc::new(settings);
        known.settings.insert(Arc::clone(&settings));
        settings
    }

    /// Moves when queues may limit their publishers in another way. While it is 0, none does.
    pub fn limits_epoch(&self) -> u64 {
        self.limits_epoch.load(Acquire)
    }

    /// Queues have got other settings.
    pub fn have_changed(&self) {
        if self.limits_epoch() > 0 {
            self.limits_epoch.fetch_add(1, Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_length(n: u64) -> Settings {
        Settings { max_length: Some(n), ..Settings::default() }
    }

    #[test]
    fn equal_settings_are_one() {
        let shared = Shared::default();
        let first = shared.one(with_length(1));
        assert!(Arc::ptr_eq(&first, &shared.one(with_length(1))));
        assert!(!Arc::ptr_eq(&first, &shared.one(with_length(2))));
    }

    #[test]
    fn what_no_queue_has_is_forgotten() {
        let shared = Shared::default();
        let kept = shared.one(with_length(0));
        for n in 1..10_000 {
            shared.one(with_length(n));
        }
        assert!(shared.known.lock().settings.len() < 200);
        assert!(Arc::ptr_eq(&kept, &shared.one(with_length(0))));
    }
}
