//! All seeds of the fuzzers, run through what the fuzzers check. Every input that once found a bug is among them.

#![allow(clippy::unwrap_used)]

#[path = "../fuzz/src/lib.rs"]
#[allow(dead_code)]
mod targets;

use std::path::Path;

/// Runs the seeds of one target; a name is printed first, so that the one that fails is known.
fn run_all(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let mut files: Vec<_> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        println!("{}", file.display());
        run(&std::fs::read(&file).unwrap());
    }
}

#[test]
fn frames() {
    run_all("frames", targets::frames::run);
}

#[test]
fn tables() {
    run_all("tables", targets::tables::run);
}

#[test]
fn properties() {
    run_all("properties", targets::properties::run);
}

#[test]
fn connection() {
    run_all("connection", targets::connection::run);
}

#[test]
fn definitions() {
    run_all("definitions", targets::definitions::run);
}
