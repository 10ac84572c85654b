//! The text of a `rabbit.conf`: `key = value` lines, comments from `#` to the end of a line, blank lines.
//!
//! The format is that of Cuttlefish, which RabbitMQ uses. A value may stand in single quotes and may then hold `#` and
//! blanks; there is no escape for a quote. A dot inside one word of a key is written `\.`. A `#` in a value without
//! quotes begins a comment even when no blank stands before it.

use std::fmt;

use super::error::{ConfigError, Origin, Problem};
use super::keys::shown_value;

/// One setting. `key` is as written, with `\.` for a dot inside a word.
#[derive(Clone, PartialEq, Eq)]
pub struct Setting {
    pub origin: Origin,
    pub key: String,
    pub value: String,
}

impl Setting {
    pub fn new(origin: Origin, key: String, value: String) -> Self {
        Self { origin, key, value }
    }
}

impl fmt::Debug for Setting {
    /// Passwords are not shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {} ({})", self.key, shown_value(self), self.origin)
    }
}

/// The settings of a text in their order, and what is none.
pub fn settings(text: &str, file: &str) -> (Vec<Setting>, Vec<ConfigError>) {
    let (mut settings, mut errors) = (Vec::new(), Vec::new());
    // Editors put a byte order mark before the first line.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (n, line) in text.lines().enumerate() {
        let origin = Origin::Line { file: file.to_owned(), line: n + 1 };
        match setting(line.trim()) {
            Ok(Some((key, value))) => settings.push(Setting::new(origin, key, value)),
            Ok(None) => {}
            Err(expected) => {
                let found = line.split('=').next().unwrap_or_default().trim().to_owned();
                let problem = Problem::Syntax { found, expected };
                errors.push(ConfigError { origin, problem });
            }
        }
    }
    (settings, errors)
}

/// Key and value of a trimmed line; none of a blank one or a comment.
fn setting(line: &str) -> Result<Option<(String, String)>, &'static str> {
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let (key, rest) = line.split_once('=').ok_or("key = value")?;
    let key = key.trim_end();
    if !is_key(key) {
        return Err("a key of words (letters, digits, _ and -) with dots between them before the =");
    }
    Ok(Some((key.to_owned(), value(rest.trim_start())?)))
}

fn value(text: &str) -> Result<String, &'static str> {
    let Some(quoted) = text.strip_prefix('\'') else {
        let value = text.split('#').next().unwrap_or_default().trim_end();
        return if value.is_empty() { Err("a value after the =") } else { Ok(value.to_owned()) };
    };
    let (value, rest) = quoted.split_once('\'').ok_or("a closing quote")?;
    let rest = rest.trim_start();
    if rest.is_empty() || rest.starts_with('#') {
        Ok(value.to_owned())
    } else {
        Err("nothing but a comment after the closing quote")
    }
}

fn is_key(key: &str) -> bool {
    words(key).all(|word| !word.is_empty() && word.chars().all(is_key_char))
}

fn is_key_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')
}

/// The words of a key, with `\.` read as a dot.
pub fn words(key: &str) -> impl Iterator<Item = String> {
    let placeholder = "\u{0}";
    let words = key.replace("\\.", placeholder);
    words.split('.').map(|word| word.replace(placeholder, ".")).collect::<Vec<_>>().into_iter()
}

#[cfg(test)]
mod tests;
