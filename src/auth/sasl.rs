//! Login mechanisms: what a client sends in connection.start-ok, made into name and password.

use crate::frames::table::{Table, Value};

/// A mechanism that a client may choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// RFC 4616.
    Plain,
    /// Of AMQP 0-8: a field table with LOGIN and PASSWORD.
    AmqPlain,
    /// RFC 4422: who it is says the certificate of the client.
    External,
    /// RFC 4505: the user that the configuration names.
    Anonymous,
    /// RabbitMQ's own, with a challenge and a response; for clients that want to try that.
    CrDemo,
}

impl Mechanism {
    pub const ALL: [Self; 5] = [Self::Plain, Self::AmqPlain, Self::External, Self::Anonymous, Self::CrDemo];
    /// Those that are offered when nothing else is configured, in this order.
    pub const USUAL: [Self; 2] = [Self::Plain, Self::AmqPlain];

    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::AmqPlain => "AMQPLAIN",
            Self::External => "EXTERNAL",
            Self::Anonymous => "ANONYMOUS",
            Self::CrDemo => "RABBIT-CR-DEMO",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| mechanism.name() == name)
    }

    /// Reads a client's response. Of mechanisms without a password it says nothing that counts.
    pub fn credentials(self, response: &[u8]) -> Result<Credentials, SaslError> {
        match self {
            Self::Plain => plain(response),
            Self::AmqPlain => amqplain(response),
            Self::External | Self::Anonymous => credentials(b"", b""),
            Self::CrDemo => challenged(response),
        }
    }
}

/// The mechanisms as connection.start names them: separated by blanks.
pub fn offer(mechanisms: &[Mechanism]) -> String {
    mechanisms.iter().map(|mechanism| mechanism.name()).collect::<Vec<_>>().join(" ")
}

/// What a client that logs in with [`Mechanism::CrDemo`] is asked.
pub const CHALLENGE: &str = "Please tell me your password";
/// What its answer begins with; the password follows.
const ANSWER: &[u8] = b"My password is ";

/// Name and password in one response, from the name that came first and the answer to the challenge.
pub fn answered(name: &[u8], answer: &[u8]) -> Result<Vec<u8>, SaslError> {
    let password = answer.strip_prefix(ANSWER).ok_or(SaslError::Malformed)?;
    Ok([name, b"\0", password].concat())
}

/// Who a client says it is. Its debug form leaves the password out, so that no log shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub username: String,
    pub password: Vec<u8>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

/// A response that the mechanism does not allow, a SYNTAX_ERROR (502). The texts are RabbitMQ's, but the response is
/// left out of them: it may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SaslError {
    #[error("response <<...>> invalid")]
    Malformed,
    #[error("AMQPLAIN auth info [...] is missing LOGIN or PASSWORD field")]
    MissingField,
    #[error("AMQPLAIN auth info [...] uses unsupported type for LOGIN or PASSWORD field")]
    FieldType,
}

/// `authzid NUL authcid NUL password`. RabbitMQ wants the first to be empty; one's own name is let pass too.
fn plain(response: &[u8]) -> Result<Credentials, SaslError> {
    let mut parts = response.split(|byte| *byte == 0);
    let (Some(acting_as), Some(name), Some(password), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(SaslError::Malformed);
    };
    if !acting_as.is_empty() && acting_as != name {
        return Err(SaslError::Malformed);
    }
    credentials(name, password)
}

/// A name; once the challenge has been answered, NUL and the password behind it.
fn challenged(response: &[u8]) -> Result<Credentials, SaslError> {
    let mut parts = response.splitn(2, |byte| *byte == 0);
    credentials(parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
}

/// The inside of a field table, without its length.
fn amqplain(response: &[u8]) -> Result<Credentials, SaslError> {
    let table = Table::parse(response).map_err(|_| SaslError::Malformed)?;
    match (table.get("LOGIN"), table.get("PASSWORD")) {
        (Some(Value::LongStr(name)), Some(Value::LongStr(password))) => credentials(name, password),
        (Some(_), Some(_)) => Err(SaslError::FieldType),
        _ => Err(SaslError::MissingField),
    }
}

fn credentials(name: &[u8], password: &[u8]) -> Result<Credentials, SaslError> {
    let username = std::str::from_utf8(name).map_err(|_| SaslError::Malformed)?.to_owned();
    Ok(Credentials { username, password: password.to_vec() })
}

#[cfg(test)]
mod tests;
