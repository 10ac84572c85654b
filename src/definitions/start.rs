//! The definitions of the configuration, loaded before anybody is let in.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::LOADED;
use super::plan::{Action, Mode, Plan};
use super::problem::Problems;
use super::read::{Definitions, Reading};
use super::report::Report;
use crate::auth::Hashing;
use crate::config::{self, OnConflict};
use crate::vhost::events::INTERNAL;
use crate::vhost::{Applied, Broker};

/// Why definitions of the configuration were not loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("the definitions in {path} cannot be read: {error}")]
    Io { path: PathBuf, error: io::Error },
    #[error("the definitions in {path} have more than {limit} bytes (definitions.max_size)")]
    TooLarge { path: PathBuf, limit: u64 },
    #[error("the definitions in {path} are not loaded:\n{problems}")]
    Refused { path: PathBuf, problems: Problems },
    #[error("the definitions are not loaded: {0}")]
    Interrupted(String),
}

/// Loads what the configuration names, file by file. Blocks on the disk.
///
/// # Errors
/// With the first file that cannot be loaded; those before it are.
pub fn load(broker: &Broker) -> Result<Applied, LoadError> {
    let mut applied = Applied::default();
    let settings = &broker.config.definitions;
    let mut files = Vec::new();
    for path in &settings.load {
        for path in files_of(path)? {
            files.push((read(&path, settings.max_size)?, path));
        }
    }
    let hash = hash_of(&files);
    if settings.skip_if_unchanged && broker.global_parameter(LOADED).is_some_and(|loaded| loaded.value == json(&hash)) {
        tracing::info!(target: "leveret::definitions", "the definitions are those of the last start: nothing is loaded");
        return Ok(applied);
    }
    let count = files.len();
    for (index, (bytes, path)) in files.into_iter().enumerate() {
        let hash = Some(hash.as_str()).filter(|_| index + 1 == count);
        let done = load_file(broker, &bytes, hash);
        let done = done.map_err(|problems| LoadError::Refused { path: path.clone(), problems })?;
        tell(&path, done.0);
        applied.durable_at = done.1.durable_at.or(applied.durable_at);
    }
    Ok(applied)
}

/// Those of the files of a configuration that can be read, and why the others cannot.
pub fn readable(settings: &config::Definitions) -> (Vec<PathBuf>, Vec<LoadError>) {
    let (mut found, mut errors) = (Vec::new(), Vec::new());
    for path in &settings.load {
        match files_of(path) {
            Ok(files) => found.extend(files),
            Err(error) => errors.push(error),
        }
    }
    found.retain(|path| read(path, settings.max_size).map_err(|error| errors.push(error)).is_ok());
    (found, errors)
}

fn load_file(broker: &Broker, bytes: &[u8], hash: Option<&str>) -> Result<(Plan, Applied), Problems> {
    let hashing = Hashing::parse(&broker.config.auth.password_hashing).unwrap_or_default();
    let definitions = Definitions::parse(bytes, Reading { vhost: None, hashing })?;
    // A node that does not come up because a queue is not quite as a file says helps nobody.
    let skip_conflicts = broker.config.definitions.on_conflict != Some(OnConflict::Refuse);
    let mut plan = Plan::new(broker, definitions, Mode { prune: false, skip_conflicts });
    if let Some(hash) = hash {
        plan.remember(hash);
    }
    let applied = plan.carry_out(broker, INTERNAL)?;
    Ok((plan, applied))
}

/// Says what came of a file.
fn tell(path: &Path, plan: Plan) {
    for conflict in plan.differences.iter().filter(|d| d.action == Action::Conflict) {
        let (item, reason) = (super::problem::item(&conflict.record), conflict.reason.as_deref().unwrap_or_default());
        tracing::error!(target: "leveret::definitions", "{item} stays as it is, not as in {}: {reason}", path.display());
    }
    let report = Report::new(plan, true);
    for warning in &report.warnings {
        tracing::warn!(target: "leveret::definitions", "{}: {warning}", path.display());
    }
    let s = report.summary;
    tracing::info!(
        target: "leveret::definitions",
        "definitions loaded from {}: {} created, {} changed, {} as they were, {} in conflict",
        path.display(),
        s.create,
        s.change,
        s.same,
        s.conflict
    );
}

/// A file, or the `.json` files of a directory by name.
fn files_of(path: &Path) -> Result<Vec<PathBuf>, LoadError> {
    let failed = |error| LoadError::Io { path: path.to_owned(), error };
    if !fs::metadata(path).map_err(failed)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        if file.extension().is_some_and(|extension| extension == "json") && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

/// A file that is not larger than it may be, whatever it grows to meanwhile.
fn read(path: &Path, limit: u64) -> Result<Vec<u8>, LoadError> {
    let failed = |error| LoadError::Io { path: path.to_owned(), error };
    let mut bytes = Vec::new();
    fs::File::open(path).map_err(failed)?.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
    match bytes.len() as u64 > limit {
        true => Err(LoadError::TooLarge { path: path.to_owned(), limit }),
        false => Ok(bytes),
    }
}

/// Of all files and their order.
fn hash_of(files: &[(Vec<u8>, PathBuf)]) -> String {
    let mut hash = Sha256::new();
    for (bytes, _) in files {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
