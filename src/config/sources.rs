//! Where a configuration comes from: files and directories, the environment, the command line; the later ones win.
//!
//! [`Sources::load`] reads them all, as often as it is asked, so that a running broker can read them again.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::error::{ConfigError, ConfigErrors, Origin, Problem};
use super::parse::{self, Setting};
use super::{Config, Examined, Strictness};

/// Largest configuration file that is read, in bytes.
const MAX_FILE: u64 = 4 << 20;

/// What RabbitMQ reads from the environment, after `RABBITMQ_` or `LEVERET_`, and the key that it stands for.
const VARIABLES: &[(&str, &str)] = &[
    ("NODENAME", "node_name"),
    ("DEFAULT_USER", "default_user"),
    ("DEFAULT_PASS", "default_pass"),
    ("DEFAULT_VHOST", "default_vhost"),
    ("LOG_BASE", "log.dir"),
];

/// Where a configuration is read from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// Files, and directories whose `.conf` files are read in the order of their names.
    pub files: Vec<PathBuf>,
    /// From the environment and the command line; they win over the files.
    pub settings: Vec<Setting>,
    /// Instead of what `strict_config` says.
    pub strictness: Option<Strictness>,
}

impl Sources {
    /// What the command line names and, where it names no file, the environment; `variable` looks one up.
    pub fn new(files: &[PathBuf], variable: impl Fn(&str) -> Option<String>) -> Self {
        let get = |name: &str| {
            let found = ["LEVERET", "RABBITMQ"].map(|maker| format!("{maker}_{name}")).into_iter();
            found.filter_map(|name| Some((variable(&name).filter(|value| !value.is_empty())?, name))).next()
        };
        let mut sources = Self { files: files.to_vec(), ..Self::default() };
        if files.is_empty() {
            sources.files.extend(get("CONFIG_FILE").map(|(path, _)| with_extension(&path)));
            sources.files.extend(get("CONFIG_FILES").map(|(path, _)| PathBuf::from(path)));
        }
        let mut add = |key: &str, (value, name): (String, String)| {
            sources.settings.push(Setting::new(Origin::Environment(name), key.to_owned(), value));
        };
        for (name, key) in VARIABLES {
            if let Some(found) = get(name) {
                add(key, found);
            }
        }
        if let Some((port, name)) = get("NODE_PORT") {
            let ip = get("NODE_IP_ADDRESS").map(|(ip, _)| format!("{ip}:")).unwrap_or_default();
            add("listeners.tcp.default", (format!("{ip}{port}"), name));
        }
        if let Some((logs, name)) = get("LOGS") {
            // A dash is the standard output.
            let (key, value) = if logs == "-" { ("log.console", "true".to_owned()) } else { ("log.file", logs) };
            add(key, (value, name));
        }
        if let Some(dir) = variable("LEVERET_DATA_DIR").filter(|dir| !dir.is_empty()) {
            add("data_dir", (dir, "LEVERET_DATA_DIR".to_owned()));
        }
        sources
    }

    /// A setting of the command line.
    pub fn set(&mut self, key: &str, value: &str) {
        self.settings.push(Setting::new(Origin::Override, key.to_owned(), value.to_owned()));
    }

    /// Reads all of it.
    ///
    /// # Errors
    /// All that is wrong, at once.
    pub fn load(&self) -> Result<Config, ConfigErrors> {
        self.examine().outcome()
    }

    /// The same, and what is doubtful beside what is wrong.
    pub fn examine(&self) -> Examined {
        let (mut settings, mut errors) = (Vec::new(), Vec::new());
        for path in &self.files {
            match files_of(path) {
                Ok(files) => files.iter().for_each(|file| read(file, &mut settings, &mut errors)),
                Err(error) => errors.push(ConfigError::unreadable(&path.display().to_string(), &error)),
            }
        }
        settings.extend(self.settings.iter().cloned());
        let mut examined = Config::from_settings(settings, errors, self.strictness);
        examined.config.sources = self.clone();
        examined
    }
}

/// RabbitMQ lets its users leave the `.conf` out.
fn with_extension(path: &str) -> PathBuf {
    let (path, with) = (PathBuf::from(path), PathBuf::from(format!("{path}.conf")));
    if !path.exists() && with.exists() { with } else { path }
}

/// The file itself, or the files of a directory. `DIR/*.conf`, as RabbitMQ takes it, is the directory.
fn files_of(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    let dir = if path.file_name().is_some_and(|name| name == "*.conf") { path.parent() } else { None };
    let dir = dir.unwrap_or(path);
    if !dir.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = std::fs::read_dir(dir)?.map(|entry| entry.map(|entry| entry.path()));
    let paths = entries.collect::<std::io::Result<BTreeSet<_>>>()?;
    let is_wanted = |path: &PathBuf| {
        let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        !is_hidden && path.extension().is_some_and(|extension| extension == "conf")
    };
    Ok(paths.into_iter().filter(is_wanted).collect())
}

fn read(file: &Path, settings: &mut Vec<Setting>, errors: &mut Vec<ConfigError>) {
    let name = file.display().to_string();
    let bytes = match bounded(file) {
        Ok(bytes) => bytes,
        Err(error) => return errors.push(ConfigError::unreadable(&name, &error)),
    };
    let mut text = String::with_capacity(bytes.len());
    for (at, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        match std::str::from_utf8(line) {
            Ok(line) => text.push_str(line),
            Err(error) => {
                let key = String::from_utf8_lossy(line.split(|byte| *byte == b'=').next().unwrap_or_default());
                let problem = Problem::NotUtf8 { key: key.trim().to_owned(), column: error.valid_up_to() + 1 };
                errors.push(ConfigError { origin: Origin::Line { file: name.clone(), line: at + 1 }, problem });
            }
        }
        text.push('\n');
    }
    let (found, wrong) = parse::settings(&text, &name);
    settings.extend(found);
    errors.extend(wrong);
}

fn bounded(file: &Path) -> std::io::Result<Vec<u8>> {
    let size = std::fs::metadata(file)?.len();
    if size > MAX_FILE {
        return Err(std::io::Error::other(format!("it has {size} bytes; a configuration has at most {MAX_FILE}")));
    }
    std::fs::read(file)
}

#[cfg(test)]
mod tests;
