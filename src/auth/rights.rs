//! What a login has brought, and who says what its user may do: the directory, the token itself, or a service outside.
//!
//! A [`Permit`] answers at once. Where a service decides, it knows what the service has said before; a question that has
//! not been put yet is noted and answered with no. Whoever has asked looks for such questions ([`Rights::open`]), has them
//! answered, and tries again: so a check is the same few lines whoever decides, and none of them waits.

use std::sync::Arc;

use super::answers::{Answers, Kind, Question};
use super::permission::{Access, Rules};
use super::token::{Scopes, Token};
use super::{Directory, User};

/// A user who has logged in.
#[derive(Clone, Debug)]
pub struct Login {
    pub user: Arc<User>,
    pub rights: Rights,
}

impl Login {
    /// Of a user of the directory.
    pub fn internal(user: Arc<User>) -> Self {
        Self { user, rights: Rights::Internal }
    }
}

/// Who says what a user may do.
#[derive(Clone, Debug, Default)]
pub enum Rights {
    /// The directory, as it is at the time.
    #[default]
    Internal,
    Token(Arc<Token>),
    /// A service outside, and what it has said so far.
    Asked(Arc<Answers>),
}

impl Rights {
    /// What the user may do in a virtual host; none when it may not enter, or its token has expired. `now_ms` is in
    /// milliseconds since 1970.
    pub fn permit(&self, directory: &Directory, user: &str, vhost: &str, now_ms: u64) -> Option<Permit> {
        match self {
            Self::Internal => directory.rules(user, vhost).map(Permit::Rules),
            Self::Token(token) if token.expires_at.saturating_mul(1000) <= now_ms => None,
            Self::Token(token) => token.scopes(vhost).map(|scopes| Permit::Scopes(Arc::new(scopes))),
            Self::Asked(answers) => {
                let vhost: Arc<str> = vhost.into();
                let may_enter = answers.says(Question::Vhost { vhost: Arc::clone(&vhost) }, now_ms);
                may_enter.then(|| Permit::Asked { answers: Arc::clone(answers), vhost })
            }
        }
    }

    /// When what it says stops to hold, in milliseconds since 1970, unless it is looked at again.
    pub fn until(&self) -> u64 {
        match self {
            Self::Internal => u64::MAX,
            Self::Token(token) => token.expires_at.saturating_mul(1000),
            Self::Asked(answers) => answers.holds_until(),
        }
    }

    /// The same for a user who has more tags.
    pub fn with_user(self, user: &Arc<User>) -> Self {
        match self {
            Self::Asked(answers) => Self::Asked(Arc::new(answers.for_user(user))),
            other => other,
        }
    }

    /// What has to be asked outside before what was refused is tried again.
    pub fn open(&self) -> Option<&Arc<Answers>> {
        match self {
            Self::Asked(answers) if answers.has_open() => Some(answers),
            _ => None,
        }
    }
}

/// What a user may do in a virtual host.
#[derive(Clone, Debug)]
pub enum Permit {
    Rules(Arc<Rules>),
    Scopes(Arc<Scopes>),
    Asked { answers: Arc<Answers>, vhost: Arc<str> },
}

impl Permit {
    /// Whether the user may do this with the queue or exchange of that name. The default exchange is asked for as
    /// `amq.default`.
    pub fn allows(&self, access: Access, kind: Kind, name: &str, now_ms: u64) -> bool {
        match self {
            Self::Rules(rules) => rules.allows(access, name),
            Self::Scopes(scopes) => scopes.allows(access, name),
            Self::Asked { answers, vhost } => {
                let (vhost, name) = (Arc::clone(vhost), name.into());
                answers.says(Question::Resource { vhost, kind, name, access }, now_ms)
            }
        }
    }

    /// Whether the user may publish to (write) or bind to (read) that routing key of a topic exchange.
    pub fn topic_allows(&self, access: Access, exchange: &str, routing_key: &str, now_ms: u64) -> bool {
        match self {
            Self::Rules(rules) => rules.topic_allows(access, exchange, routing_key),
            Self::Scopes(scopes) => scopes.topic_allows(access, exchange, routing_key),
            Self::Asked { answers, vhost } => {
                let (vhost, exchange, key) = (Arc::clone(vhost), exchange.into(), routing_key.into());
                answers.says(Question::Topic { vhost, exchange, key, access }, now_ms)
            }
        }
    }

    /// Whether every routing key is allowed that the exchange is.
    pub fn ignores_topics(&self) -> bool {
        matches!(self, Self::Rules(rules) if !rules.has_topics())
    }
}
