//! Regular expressions as RabbitMQ's users write them: PCRE, matched anywhere in the name.
//!
//! fancy-regex knows look-around and back references. Where PCRE takes a character literally and it does not (a brace
//! that opens no repetition, a bracket or `&` in a class), it is escaped here before compiling.
//!
//! Stricter than PCRE in one point: `$` matches at the end only, and not also before a line feed at the end.

use std::borrow::Cow;
use std::fmt;
use std::iter::Peekable;
use std::str::Chars;

use fancy_regex::{Regex, RegexBuilder};

/// Steps that one match may take back: a pattern that needs more is hostile, and a refusal costs a millisecond.
const BACKTRACK_LIMIT: usize = 100_000;
/// Bytes that one compiled pattern may take.
const SIZE_LIMIT: usize = 1 << 20;

/// A pattern that is not a regular expression.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("invalid regular expression '{pattern}': {reason}")]
pub struct PatternError {
    pub pattern: String,
    pub reason: String,
}

/// A compiled pattern.
pub struct Pattern {
    source: String,
    form: Form,
}

/// The two patterns that nearly everybody has need no regular expression.
enum Form {
    Everything,
    OnlyEmpty,
    Regex(Box<Regex>),
}

impl Pattern {
    /// Compiles a pattern. The empty one matches only the empty name.
    pub fn new(source: &str) -> Result<Self, PatternError> {
        Self::compile(source, source)
    }

    /// Compiles a pattern in which `{name}` stands for the value of that variable. Unlike in RabbitMQ a value's own
    /// special characters mean themselves: a user `a.c` is not let into what is `abc`'s. Other braces stay.
    pub fn with_variables(source: &str, variables: &[(&str, &str)]) -> Result<Self, PatternError> {
        Self::compile(source, &expand(source, variables))
    }

    fn compile(source: &str, expanded: &str) -> Result<Self, PatternError> {
        let form = match expanded {
            "" | "^$" => Form::OnlyEmpty,
            ".*" | "^.*" => Form::Everything,
            other => Form::Regex(Box::new(
                regex(other)
                    .map_err(|reason| PatternError { pattern: source.to_owned(), reason: reason.to_string() })?,
            )),
        };
        Ok(Self { source: source.to_owned(), form })
    }

    /// Whether the pattern matches anywhere in `text`. One that gives up after too many steps does not match.
    pub fn matches(&self, text: &str) -> bool {
        match &self.form {
            Form::Everything => true,
            Form::OnlyEmpty => text.is_empty(),
            Form::Regex(regex) => regex.is_match(text).unwrap_or(false),
        }
    }

    /// What every text begins with that the pattern matches, as far as that is easily seen.
    pub fn prefix(&self) -> String {
        let mut prefix = String::new();
        let Some(rest) = self.source.strip_prefix('^').filter(|rest| !rest.contains('|')) else { return prefix };
        let mut chars = rest.chars();
        while let Some(c) = chars.next() {
            let escaped = if c == '\\' { chars.clone().next().filter(|c| ".-/:".contains(*c)) } else { None };
            match (c, escaped) {
                (_, Some(literal)) => {
                    chars.next();
                    prefix.push(literal);
                }
                (c, None) if c.is_alphanumeric() || "-_:/".contains(c) => prefix.push(c),
                // The last one may be missing.
                ('*' | '?' | '{', None) => {
                    prefix.pop();
                    break;
                }
                _ => break,
            }
        }
        prefix
    }

    /// The pattern as it was given.
    pub fn as_str(&self) -> &str {
        &self.source
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pattern").field(&self.source).finish()
    }
}

fn regex(pattern: &str) -> Result<Regex, Box<fancy_regex::Error>> {
    RegexBuilder::new(&from_pcre(pattern))
        .backtrack_limit(BACKTRACK_LIMIT)
        .delegate_size_limit(SIZE_LIMIT)
        .build()
        .map_err(Box::new)
}

/// Fills in `{name}`s, in one pass: a value is never looked into.
fn expand(source: &str, variables: &[(&str, &str)]) -> String {
    let mut out = String::new();
    let mut rest = source;
    while let Some((before, from_brace)) = rest.split_once('{') {
        out.push_str(before);
        let value = variables.iter().find_map(|(name, value)| {
            let after = from_brace.strip_prefix(name)?.strip_prefix('}')?;
            Some((fancy_regex::escape(value), after))
        });
        let (text, after) = value.unwrap_or((Cow::Borrowed("{"), from_brace));
        out.push_str(&text);
        rest = after;
    }
    out + rest
}

/// Writes a PCRE pattern so that the regex library reads it in the same sense.
fn from_pcre(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len());
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => copy_escape(&mut chars, &mut out),
            '[' => copy_class(&mut chars, &mut out),
            '{' if !opens_repetition(chars.clone()) => out.push_str("\\{"),
            other => out.push(other),
        }
    }
    out
}

fn copy_escape(chars: &mut Peekable<Chars<'_>>, out: &mut String) {
    out.push('\\');
    out.extend(chars.next());
}

/// Whether what follows a `{` makes it `{n}`, `{n,}` or `{n,m}`.
fn opens_repetition(chars: Peekable<Chars<'_>>) -> bool {
    let inside: String = chars.take_while(|c| *c != '}').take(16).collect();
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match inside.split_once(',') {
        None => is_number(&inside),
        Some((low, high)) => is_number(low) && (high.is_empty() || is_number(high)),
    }
}

/// Copies a class after its `[`, up to and with its `]`.
fn copy_class(chars: &mut Peekable<Chars<'_>>, out: &mut String) {
    out.push('[');
    out.extend(chars.next_if_eq(&'^'));
    // A bracket in the first place is a member.
    if chars.next_if_eq(&']').is_some() {
        out.push_str("\\]");
    }
    while let Some(c) = chars.next() {
        match c {
            ']' => return out.push(']'),
            '\\' => copy_escape(chars, out),
            '[' if chars.peek() == Some(&':') => copy_named_class(chars, out),
            '[' | '&' | '~' => out.extend(['\\', c]),
            other => out.push(other),
        }
    }
}

/// Copies `[:alpha:]` and the like, after the `[`.
fn copy_named_class(chars: &mut Peekable<Chars<'_>>, out: &mut String) {
    out.push('[');
    for c in chars.by_ref() {
        out.push(c);
        if c == ']' {
            return;
        }
    }
}
