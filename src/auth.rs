//! Who may come in, and what they may do: users, passwords, permissions and the login mechanisms. No I/O: the catalog
//! tells the [`Directory`] what it holds, and connections ask it.
//!
//! A login goes through [`sasl`], which turns a mechanism's response into [`Credentials`], and [`Directory::authenticate`],
//! which compares the [`password`]; or a [`token`] says who its bearer is. Who else is asked is decided a floor above
//! ([`crate::backends`]). [`Attempts`] slows down logins that fail, [`LoginCounts`] counts all of them. Opening a vhost asks a login's [`Rights`] once for a
//! [`Permit`]; of users of the directory it holds [`Rules`], patterns compiled beforehand, so that checking a queue or
//! exchange name takes no lock. It is asked for again when [`Directory::epoch`] has changed.

mod answers;
mod attempts;
mod directory;
mod login_counts;
pub mod password;
mod permission;
mod rights;
pub mod sasl;
pub mod token;

use serde::{Deserialize, Serialize};

pub use answers::{Answers, Kind, Question};
pub use attempts::Attempts;
pub use directory::{Directory, LoginError};
pub use login_counts::{LoginCounts, Protocol, Tried};
pub use password::Hashing;
pub use permission::{Access, Pattern, PatternError, Permissions, Rules, TopicPermission};
pub use rights::{Login, Permit, Rights};
pub use sasl::{Credentials, Mechanism, SaslError};

/// A user of the internal database.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct User {
    pub name: String,
    /// Base64 of salt and hash, see [`password`]; without one the user cannot log in with a password.
    #[serde(default)]
    pub password_hash: Option<String>,
    #[serde(default)]
    pub hashing: Hashing,
    /// `administrator`, `monitoring` and so on.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Most connections at a time; none or a negative number is no limit.
    #[serde(default)]
    pub max_connections: Option<i64>,
    /// Most channels at a time over all connections; none or a negative number is no limit.
    #[serde(default)]
    pub max_channels: Option<i64>,
}

impl User {
    /// A user without password, tags and limits.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            password_hash: None,
            hashing: Hashing::default(),
            tags: Vec::new(),
            max_connections: None,
            max_channels: None,
        }
    }

    pub fn has_tag(&self, tag: &str) -> bool {
        self.tags.iter().any(|t| t == tag)
    }
}
