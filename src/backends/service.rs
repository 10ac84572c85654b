//! The service of `auth_http`: questions as RabbitMQ's HTTP backend puts them, answers as it reads them.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest as _, Sha256};

use super::BackendsError;
use super::client::{Client, ClientError, Url};
use crate::auth::{Answers, Question, User};
use crate::config::{AuthCache, AuthHttp, HttpMethod};

/// What of a value is written as it is.
const PLAIN: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// Most answers that all logins share.
const MOST_SHARED: usize = 16 << 10;
/// How much of an answer that cannot be read is shown.
const SHOWN: usize = 80;

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("{place} has answered {status}")]
    Status { place: String, status: u16 },
    #[error("{place} has answered neither allow nor deny but {answer:?}")]
    Answer { place: String, answer: String },
}

/// The service.
pub struct Service {
    client: Client,
    method: HttpMethod,
    user: Url,
    vhost: Url,
    resource: Url,
    topic: Url,
    shared: Shared,
}

/// What was answered, when it was no refusal.
type Allowed = Option<Vec<String>>;

impl Service {
    /// # Errors
    /// When a URL is none, or the files for TLS cannot be used.
    pub fn new(config: &AuthHttp, cache: &AuthCache) -> Result<Self, BackendsError> {
        let url = |key, text: &str| Url::parse(text).map_err(|error| BackendsError::Url { key, error });
        let tls = super::tls_of("auth_http.ssl_options", &config.tls)?;
        Ok(Self {
            client: Client::new(tls, config.connection_timeout, config.request_timeout),
            method: config.method,
            user: url("auth_http.user_path", &config.user_path)?,
            vhost: url("auth_http.vhost_path", &config.vhost_path)?,
            resource: url("auth_http.resource_path", &config.resource_path)?,
            topic: url("auth_http.topic_path", &config.topic_path)?,
            shared: Shared::new(cache),
        })
    }

    /// Whether a user may log in, and with which tags. None is a refusal.
    ///
    /// # Errors
    /// When the service does not say.
    pub async fn user(&self, name: &str, password: Option<&str>, cached: bool) -> Result<Allowed, ServiceError> {
        let mut form = Form::default().with("username", name);
        if let Some(password) = password {
            form = form.with("password", password);
        }
        self.ask(&self.user, &form, cached).await
    }

    /// Whether a user may do what the question is about.
    ///
    /// # Errors
    /// When the service does not say.
    pub async fn may(&self, answers: &Answers, question: &Question) -> Result<bool, ServiceError> {
        let User { name: user, tags, .. } = &*answers.user;
        let form = Form::default().with("username", user);
        let (url, form) = match question {
            Question::Vhost { vhost } => {
                (&self.vhost, form.with("vhost", vhost).with("ip", &answers.peer.to_canonical().to_string()))
            }
            Question::Resource { vhost, kind, name, access } => {
                let form = form.with("vhost", vhost).with("resource", &kind.to_string());
                (&self.resource, form.with("name", name).with("permission", &access.to_string()))
            }
            Question::Topic { vhost, exchange, key, access } => {
                let form = form.with("vhost", vhost).with("resource", "topic").with("name", exchange);
                let form = form.with("permission", &access.to_string()).with("routing_key", key);
                (&self.topic, form.with("variable_map.username", user).with("variable_map.vhost", vhost))
            }
        };
        let form = form.with("tags", &tags.join(" "));
        Ok(self.ask(url, &form, answers.cached).await?.is_some())
    }

    async fn ask(&self, url: &Url, form: &Form, cached: bool) -> Result<Allowed, ServiceError> {
        let key = cached.then(|| self.shared.key(&url.place(), &form.0));
        if let Some(known) = key.as_ref().and_then(|key| self.shared.get(key)) {
            return Ok(known);
        }
        let (query, body) = match self.method {
            HttpMethod::Get => (Some(form.0.as_str()), None),
            HttpMethod::Post => (None, Some(form.0.clone())),
        };
        let reply = self.client.ask(url, query, body).await?;
        if !matches!(reply.status, 200 | 201) {
            return Err(ServiceError::Status { place: url.place(), status: reply.status });
        }
        let text = String::from_utf8_lossy(&reply.body);
        let unreadable =
            || ServiceError::Answer { place: url.place(), answer: text.chars().take(SHOWN).collect::<String>() };
        let answer = read(&text).ok_or_else(unreadable)?;
        if let Some(key) = key {
            self.shared.put(key, &answer);
        }
        Ok(answer)
    }
}

/// `deny`, `deny REASON`, `allow` or `allow TAG TAG`, in capitals or not.
fn read(text: &str) -> Option<Allowed> {
    let mut words = text.split_whitespace();
    match words.next()?.to_ascii_lowercase().as_str() {
        "allow" => Some(Some(words.map(str::to_owned).collect())),
        "deny" => Some(None),
        _ => None,
    }
}

/// Parameters, encoded.
#[derive(Default)]
struct Form(String);

impl Form {
    fn with(mut self, name: &str, value: &str) -> Self {
        let and = if self.0.is_empty() { "" } else { "&" };
        // Writing to a text does not fail.
        let _ = write!(self.0, "{and}{name}={}", utf8_percent_encode(value, &PLAIN));
        self
    }
}

/// Answers that all logins share, where the backend is `cache`. Questions are kept as hashes: there are passwords in them.
struct Shared {
    holds: Duration,
    keeps_refusals: bool,
    salt: [u8; 32],
    state: Mutex<Generations>,
}

type Key = [u8; 32];
type Answered = HashMap<Key, (Allowed, Instant)>;

/// The older one is dropped when the younger one is full.
#[derive(Default)]
struct Generations {
    young: Answered,
    old: Answered,
}

impl Shared {
    fn new(config: &AuthCache) -> Self {
        let mut salt = [0; 32];
        // Without it hashes of guessed passwords could be compared with what is in memory, and no more.
        let _ = getrandom::fill(&mut salt);
        Self { holds: config.ttl, keeps_refusals: config.refusals, salt, state: Mutex::default() }
    }

    fn key(&self, place: &str, form: &str) -> Key {
        let hash = Sha256::new().chain_update(self.salt).chain_update(place).chain_update([0]).chain_update(form);
        hash.finalize().into()
    }

    fn get(&self, key: &Key) -> Option<Allowed> {
        let state = self.state.lock();
        let (answer, at) = state.young.get(key).or_else(|| state.old.get(key))?;
        (at.elapsed() < self.holds).then(|| answer.clone())
    }

    fn put(&self, key: Key, answer: &Allowed) {
        if answer.is_none() && !self.keeps_refusals {
            return;
        }
        let mut state = self.state.lock();
        if state.young.len() >= MOST_SHARED / 2 {
            state.old = std::mem::take(&mut state.young);
        }
        state.young.insert(key, (answer.clone(), Instant::now()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_as_rabbitmq_reads_them() {
        let tags = |tags: &[&str]| Some(Some(tags.iter().map(|t| (*t).to_owned()).collect()));
        assert_eq!(read("allow"), tags(&[]));
        assert_eq!(read(" ALLOW administrator management \r\n"), tags(&["administrator", "management"]));
        assert_eq!(read("deny"), Some(None));
        assert_eq!(read("deny because of the moon"), Some(None));
        for neither in ["", "  ", "allowed", "yes", "<html>allow</html>"] {
            assert_eq!(read(neither), None, "{neither}");
        }
    }

    #[test]
    fn parameters_are_encoded() {
        let form = Form::default().with("username", "a&b=c/d é").with("vhost", "/");
        assert_eq!(form.0, "username=a%26b%3Dc%2Fd%20%C3%A9&vhost=%2F");
    }

    #[test]
    fn what_is_shared_has_a_limit_and_a_time() {
        let shared = Shared::new(&AuthCache { ttl: Duration::from_secs(3600), refusals: false });
        for n in 0..MOST_SHARED {
            shared.put(shared.key("p", &n.to_string()), &Some(Vec::new()));
        }
        let count = {
            let state = shared.state.lock();
            state.young.len() + state.old.len()
        };
        assert!(count <= MOST_SHARED, "{count}");
        assert_eq!(shared.get(&shared.key("p", &(MOST_SHARED - 1).to_string())), Some(Some(Vec::new())));
        shared.put(shared.key("p", "refused"), &None);
        assert_eq!(shared.get(&shared.key("p", "refused")), None);

        let brief = Shared::new(&AuthCache { ttl: Duration::ZERO, refusals: true });
        brief.put(brief.key("p", "x"), &None);
        assert_eq!(brief.get(&brief.key("p", "x")), None);
    }
}
