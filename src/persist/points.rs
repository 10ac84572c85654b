//! Named points in the storage code at which a test lets the process die.
//!
//! The code calls [`reach`] where it matters in what state the files are left. In a debug build, with `LEVERET_DIE_AT` set to
//! `name:count`, the process kills itself when it gets to the point of that name for the `count`-th time: no destructor
//! runs and nothing more is written, as with kill -9. Release builds contain none of this.

/// All names, for tests to go through.
pub const NAMES: [&str; 14] = [
    "journal-before-write",
    "journal-after-write",
    "journal-after-sync",
    "flush-before-segments",
    "flush-after-segments",
    "flush-after-sync",
    "manifest-before-write",
    "manifest-after-sync",
    "journal-file-recycled",
    "segment-removed",
    "compaction-before",
    "compaction-after",
    "windows-before-write",
    "windows-after-write",
];

/// The code has come to a point.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn reach(_name: &str) {}

#[cfg(debug_assertions)]
pub use armed::reach;

#[cfg(debug_assertions)]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    use rustix::process::{Signal, getpid, kill_process};

    /// The code has come to a point.
    pub fn reach(name: &str) {
        debug_assert!(super::NAMES.contains(&name), "{name} is not on the list");
        if chosen_end().is_some_and(|end| end.is_here(name)) {
            let _ = kill_process(getpid(), Signal::KILL);
            std::process::abort();
        }
    }

    fn chosen_end() -> Option<&'static End> {
        static CHOSEN: OnceLock<Option<End>> = OnceLock::new();
        CHOSEN.get_or_init(|| End::parse(&std::env::var("LEVERET_DIE_AT").ok()?)).as_ref()
    }

    /// Where the process is to die.
    struct End {
        name: String,
        count: u64,
        passed: AtomicU64,
    }

    impl End {
        fn parse(text: &str) -> Option<Self> {
            let (name, count) = text.split_once(':')?;
            Some(Self { name: name.to_owned(), count: count.parse().ok()?, passed: AtomicU64::new(0) })
        }

        fn is_here(&self, name: &str) -> bool {
            name == self.name && self.passed.fetch_add(1, Relaxed) + 1 >= self.count
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn the_end_comes_at_the_given_time_and_place() {
            let end = End::parse("journal-after-write:3").unwrap();
            assert!(!end.is_here("journal-after-write"));
            assert!(!end.is_here("journal-before-write"));
            assert!(!end.is_here("journal-after-write"));
            assert!(end.is_here("journal-after-write"));
            assert!(end.is_here("journal-after-write"), "there is no way past it");
        }

        #[test]
        fn what_is_no_place_and_time_is_no_end() {
            let wrong = ["", "journal-after-write", "journal-after-write:soon"];
            assert!(wrong.iter().all(|text| End::parse(text).is_none()));
            reach("journal-after-write");
        }
    }
}
