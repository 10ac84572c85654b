//! The keys of whoever issues tokens: those of files, and those that are fetched.
//!
//! Keys are fetched when a token names one that is not known, but not more often than every [`REST`]: tokens are made up
//! easily. They are also fetched again when they are older than [`OLD`], so that a key which the issuer has taken back
//! is believed no longer than that.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use serde_json::Value as Json;
use tokio::sync::Mutex;

use super::BackendsError;
use super::client::{Client, Url};
use crate::auth::token::{Key, Keys, TokenError, shown};
use crate::config::OAuth2;

/// Shortest time between two fetches.
const REST: Duration = Duration::from_secs(10);
/// Age at which keys are fetched again.
const OLD: Duration = Duration::from_secs(3600);
/// Longest time for a fetch.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Where the keys come from.
pub struct Issuer {
    of_files: Keys,
    source: Option<Source>,
    client: Client,
    fetched: RwLock<Fetched>,
    /// When keys were last asked for. Locked while they are.
    asked: Mutex<Option<Instant>>,
}

/// Keys, and when they came.
#[derive(Default)]
struct Fetched {
    keys: Keys,
    at: Option<Instant>,
}

enum Source {
    Keys(Url),
    /// Where a document says where the keys are.
    Discovery(Url),
}

impl Issuer {
    /// Reads the files; nothing is fetched yet.
    ///
    /// # Errors
    /// When a file cannot be used, or there is no way to a key.
    pub fn new(config: &OAuth2) -> Result<Self, BackendsError> {
        let mut of_files = Keys::default();
        for (id, path) in &config.signing_keys {
            let file = || path.display().to_string();
            let unreadable = |reason: String| BackendsError::SigningKey { id: id.clone(), file: file(), reason };
            let pem = std::fs::read(path).map_err(|error| unreadable(error.to_string()))?;
            let key = Key::from_pem(&pem).map_err(|error| unreadable(error.to_string()))?;
            of_files.insert(id, key);
        }
        let url = |key, text: &str| Url::parse(text).map_err(|error| BackendsError::Url { key, error });
        let source = match (&config.jwks_url, &config.issuer) {
            (Some(keys), _) => Some(Source::Keys(url("auth_oauth2.jwks_url", keys)?)),
            (None, Some(issuer)) => {
                let document = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
                Some(Source::Discovery(url("auth_oauth2.issuer", &document)?))
            }
            (None, None) => None,
        };
        if source.is_none() && of_files.count() == 0 {
            return Err(BackendsError::NoKeys);
        }
        let client = Client::new(super::tls_of("auth_oauth2.https", &config.tls)?, TIMEOUT, TIMEOUT);
        Ok(Self { of_files, source, client, fetched: RwLock::default(), asked: Mutex::default() })
    }

    /// The key of that id.
    ///
    /// # Errors
    /// When there is none, or it cannot be fetched.
    pub async fn key(&self, id: &str) -> Result<Arc<Key>, TokenError> {
        let missing = || TokenError::NoKey(shown(id));
        if let Some(key) = self.of_files.get(id) {
            return Ok(key);
        }
        let Some(source) = &self.source else { return Err(missing()) };
        let (known, is_old) = self.known(id);
        if let Some(key) = known.as_ref().filter(|_| !is_old) {
            return Ok(Arc::clone(key));
        }
        // One asks. Whose key is known does not wait for it; the others do.
        let mut asked = match &known {
            Some(key) => match self.asked.try_lock() {
                Ok(asked) => asked,
                Err(_) => return Ok(Arc::clone(key)),
            },
            None => self.asked.lock().await,
        };
        if let (Some(key), _) = self.known(id)
            && known.is_none()
        {
            return Ok(key);
        }
        if asked.is_none_or(|asked| asked.elapsed() >= REST) {
            *asked = Some(Instant::now());
            match self.fetch(source).await {
                Ok(keys) => *self.fetched.write() = Fetched { keys, at: Some(Instant::now()) },
                Err(reason) => {
                    tracing::error!(target: "leveret::auth", "the keys of the token issuer cannot be fetched: {reason}");
                    return known.ok_or(TokenError::KeysUnreachable(reason));
                }
            }
        }
        self.known(id).0.ok_or_else(missing)
    }

    /// A fetched key, and whether it is time to fetch again.
    fn known(&self, id: &str) -> (Option<Arc<Key>>, bool) {
        let fetched = self.fetched.read();
        (fetched.keys.get(id), fetched.at.is_none_or(|at| at.elapsed() >= OLD))
    }

    /// The key of tokens that name none, when there is only one.
    pub fn only(&self) -> Option<Arc<Key>> {
        if self.source.is_some() { None } else { self.of_files.only() }
    }

    async fn fetch(&self, source: &Source) -> Result<Keys, String> {
        let found;
        let url = match source {
            Source::Keys(url) => url,
            Source::Discovery(document) => {
                let text = self.get(document).await?;
                let document_of = || format!("{} names no jwks_uri", document.place());
                let json: Json = serde_json::from_slice(&text).map_err(|_| document_of())?;
                let address = json.get("jwks_uri").and_then(Json::as_str).ok_or_else(document_of)?;
                found = Url::parse(address).map_err(|error| error.to_string())?;
                &found
            }
        };
        let keys = Keys::from_jwks(&self.get(url).await?);
        keys.ok_or_else(|| format!("{} has answered no JSON Web Key Set", url.place()))
    }

    async fn get(&self, url: &Url) -> Result<hyper::body::Bytes, String> {
        let reply = self.client.ask(url, None, None).await.map_err(|error| error.to_string())?;
        match reply.status {
            200 => Ok(reply.body),
            status => Err(format!("{} has answered {status}", url.place())),
        }
    }
}
