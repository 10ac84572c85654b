//! What the broker has logged, for tests that are about that. All tests of the process share it, so each looks for
//! names of its own.

use std::io;
use std::sync::{Mutex, Once};

use tracing_subscriber::fmt::MakeWriter;

use crate::compat::harness::eventually;

static LINES: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Kept;

impl io::Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LINES.lock().expect("the log").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Kept {
    type Writer = Kept;

    fn make_writer(&'a self) -> Kept {
        Kept
    }
}

/// Keeps what is logged from now on.
pub fn keep() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_ansi(false);
        subscriber.with_writer(|| Kept).init();
    });
}

/// The lines that hold this.
pub fn lines_with(text: &str) -> Vec<String> {
    let all = String::from_utf8_lossy(&LINES.lock().expect("the log")).into_owned();
    all.lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
}

/// Waits for a line that holds all of these, and gives it back.
#[track_caller]
pub fn expect_line(parts: &[&str]) -> String {
    let mut found = None;
    eventually(&format!("a log line with {parts:?}"), || {
        found = lines_with(parts[0]).into_iter().find(|line| parts.iter().all(|part| line.contains(part)));
        found.is_some()
    });
    found.unwrap_or_default()
}
