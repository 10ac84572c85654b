//! Who is asked whether a user may log in, and what it may do: the backends of `auth_backends.$n`.
//!
//! [`Backends::log_in`] goes through them in their order. The first that lets the user in decides; one that refuses, or
//! cannot be reached, leaves it to the next, and when none is left the login is refused. What a [`Login`] may do is asked
//! of its [`Rights`](crate::auth::Rights), which wait for nothing; questions that they leave open go through [`Backends::answer`].
//! The [`Service`] of `auth_http` and the [`Issuer`] of tokens are reached with a [`client`] of their own.

mod client;
mod issuer;
mod service;

use std::net::IpAddr;
use std::sync::Arc;

use tokio_rustls::rustls::ClientConfig;

use crate::auth::token::{Terms, Token, TokenError, Unverified};
use crate::auth::{Answers, Directory, Login, Rights, User};
use crate::clock::Clock;
use crate::config::{Auth, AuthBackend, Backend, TlsOptions};
use crate::tls::TlsError;
use crate::tls::client::{Identity, Trust, config as tls_config};
use client::ClientError;
use issuer::Issuer;
use service::Service;

/// Why a backend cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BackendsError {
    #[error("{key}: {error}")]
    Url { key: &'static str, error: ClientError },
    #[error("{key}: {error}")]
    Tls { key: &'static str, error: Box<TlsError> },
    #[error("auth_oauth2.signing_keys.{id} = {file}: {reason}")]
    SigningKey { id: String, file: String, reason: String },
    #[error("auth_backends names oauth2, and there is no key: set auth_oauth2.jwks_url, .issuer or .signing_keys.ID")]
    NoKeys,
    #[error("auth_backends names oauth2: auth_oauth2.resource_server_id must be set")]
    NoResourceServer,
}

/// Who says it is whom, and from where.
#[derive(Clone)]
pub struct Claim {
    pub name: String,
    /// None when a certificate or a setting has said who it is.
    pub password: Option<Vec<u8>>,
    pub peer: IpAddr,
}

/// All backends of the configuration.
pub struct Backends {
    order: Vec<AuthBackend>,
    service: Option<Service>,
    tokens: Option<Tokens>,
    /// How long answers of the service hold, in milliseconds.
    answers_hold: u64,
}

/// Tokens as logins.
struct Tokens {
    terms: Terms,
    issuer: Issuer,
}

impl Backends {
    /// Reads the files that the configuration names.
    ///
    /// # Errors
    /// When a backend cannot be used.
    pub fn new(config: &Auth) -> Result<Self, BackendsError> {
        let names = |backend| config.backends.iter().any(|named| named.authn == backend || named.authz == backend);
        let service = match names(Backend::Http) {
            true => Some(Service::new(&config.http, &config.cache)?),
            false => None,
        };
        let tokens = match names(Backend::OAuth2) {
            true if config.oauth2.resource_server_id.is_none() => return Err(BackendsError::NoResourceServer),
            true => Some(Tokens { terms: Terms::new(&config.oauth2), issuer: Issuer::new(&config.oauth2)? }),
            false => None,
        };
        let answers_hold = u64::try_from(config.cache.ttl.as_millis()).unwrap_or(u64::MAX);
        Ok(Self { order: config.backends.clone(), service, tokens, answers_hold })
    }

    /// Only the directory is asked: nothing has to be waited for.
    pub fn are_internal(&self) -> bool {
        self.order.iter().all(|backend| *backend == AuthBackend::both(Backend::Internal))
    }

    /// Passwords may be tokens.
    pub fn take_tokens(&self) -> bool {
        self.tokens.is_some()
    }

    /// Goes through all backends.
    ///
    /// # Errors
    /// Why nobody has let the user in, for the log.
    pub async fn log_in(&self, directory: &Directory, clock: &Clock, claim: &Claim) -> Result<Login, String> {
        self.try_all(directory, clock, claim, |_| true).await
    }

    /// The same with a token and no name: only backends are asked that know tokens.
    ///
    /// # Errors
    /// Why it is refused, for the log.
    pub async fn bear(&self, directory: &Directory, clock: &Clock, claim: &Claim) -> Result<Login, String> {
        if self.tokens.is_none() {
            return Err("a token was shown, and auth_backends does not name oauth2".to_owned());
        }
        self.try_all(directory, clock, claim, |backend| backend.authn == Backend::OAuth2).await
    }

    async fn try_all(
        &self,
        directory: &Directory,
        clock: &Clock,
        claim: &Claim,
        which: impl Fn(&AuthBackend) -> bool,
    ) -> Result<Login, String> {
        let mut reasons = Vec::new();
        for backend in self.order.iter().filter(|backend| which(backend)) {
            match self.try_one(*backend, directory, clock, claim).await {
                Ok(login) => return Ok(login),
                Err(reason) if self.are_internal() => reasons.push(reason),
                Err(reason) => reasons.push(format!("{}: {reason}", name_of(backend))),
            }
        }
        Err(reasons.join("; "))
    }

    async fn try_one(
        &self,
        backend: AuthBackend,
        directory: &Directory,
        clock: &Clock,
        claim: &Claim,
    ) -> Result<Login, String> {
        let AuthBackend { authn, authz, cached } = backend;
        let known = match authn {
            Backend::Internal => Login::internal(internal(directory, &claim.name, claim.password.as_deref())?),
            Backend::Http => self.by_service(&claim.name, claim.password.as_deref(), claim.peer, cached).await?,
            Backend::OAuth2 => self.by_token(claim.password.as_deref(), clock).await?,
        };
        if authn == authz {
            return Ok(known);
        }
        let Login { user, .. } = known;
        let allowed = match authz {
            Backend::Internal => Login::internal(internal(directory, &user.name, None)?),
            Backend::Http => self.by_service(&user.name, None, claim.peer, cached).await?,
            Backend::OAuth2 => self.by_token(claim.password.as_deref(), clock).await?,
        };
        if allowed.user.name != user.name {
            return Err(format!("user '{}' - the token is of user '{}'", user.name, allowed.user.name));
        }
        let mut both = User::clone(&allowed.user);
        both.tags.extend(user.tags.iter().filter(|tag| !allowed.user.has_tag(tag)).cloned());
        let user = Arc::new(both);
        Ok(Login { rights: allowed.rights.with_user(&user), user })
    }

    async fn by_service(
        &self,
        name: &str,
        password: Option<&[u8]>,
        peer: IpAddr,
        cached: bool,
    ) -> Result<Login, String> {
        let refused = || format!("user '{name}' - Denied by the backing HTTP service");
        let service = self.service.as_ref().ok_or_else(refused)?;
        let password = match password.map(std::str::from_utf8) {
            None => None,
            Some(Ok(password)) => Some(password),
            Some(Err(_)) => return Err(format!("user '{name}' - the password is not UTF-8")),
        };
        let answer = service.user(name, password, cached).await.map_err(|error| {
            tracing::error!(target: "leveret::auth", "user '{name}' cannot be looked up: {error}");
            format!("user '{name}' - {error}")
        })?;
        let user = Arc::new(User { tags: answer.ok_or_else(refused)?, ..User::new(name) });
        let answers = Answers::new(Arc::clone(&user), peer, cached, self.answers_hold);
        Ok(Login { user, rights: Rights::Asked(Arc::new(answers)) })
    }

    async fn by_token(&self, token: Option<&[u8]>, clock: &Clock) -> Result<Login, String> {
        let refused = |error: TokenError| format!("the token is refused: {error}");
        let token = self.token(token.unwrap_or_default(), clock).await.map_err(refused)?;
        let token = Arc::new(token);
        Ok(Login { user: Arc::clone(&token.user), rights: Rights::Token(token) })
    }

    /// Checks a token.
    ///
    /// # Errors
    /// Why it does not count.
    async fn token(&self, token: &[u8], clock: &Clock) -> Result<Token, TokenError> {
        let Some(Tokens { terms, issuer }) = &self.tokens else { return Err(TokenError::Malformed("none is taken")) };
        let token = Unverified::read(token)?;
        let key = match (token.kid().or(terms.default_key.as_deref()), issuer.only()) {
            (Some(id), _) => issuer.key(id).await?,
            (None, Some(key)) => key,
            (None, None) => return Err(TokenError::NoKeyNamed),
        };
        terms.accept(token.verify(&key, &terms.algorithms)?, clock.now_ms() / 1000)
    }

    /// Checks the token that is to take the place of another one.
    ///
    /// # Errors
    /// When it does not count, or is another user's.
    pub async fn renew(&self, old: &User, token: &[u8], clock: &Clock) -> Result<Login, TokenError> {
        let token = Arc::new(self.token(token, clock).await?);
        if token.user.name != old.name {
            let (old, new) = (old.name.clone(), token.user.name.clone());
            return Err(TokenError::OtherUser { old, new });
        }
        Ok(Login { user: Arc::clone(&token.user), rights: Rights::Token(token) })
    }

    /// Puts all open questions of a login to the service. What it does not answer is refused.
    pub async fn answer(&self, answers: &Answers, clock: &Clock) {
        for question in answers.take_open() {
            let allowed = match &self.service {
                Some(service) => service.may(answers, &question).await.unwrap_or_else(|error| {
                    let user = &answers.user.name;
                    tracing::error!(target: "leveret::auth", "user '{user}' is refused {question}: {error}");
                    false
                }),
                None => false,
            };
            answers.put(question, allowed, clock.now_ms());
        }
    }
}

fn name_of(backend: &AuthBackend) -> String {
    match (backend.authn.name(), backend.authz.name()) {
        (authn, authz) if authn == authz => authn.to_owned(),
        (authn, authz) => format!("{authn} with {authz}"),
    }
}

/// A user of the directory; without a password it only has to be there.
fn internal(directory: &Directory, name: &str, password: Option<&[u8]>) -> Result<Arc<User>, String> {
    match password {
        Some(password) => directory.authenticate(name, password).map_err(|error| error.to_string()),
        None => directory.user(name).ok_or_else(|| format!("there is no user '{name}'")),
    }
}

/// How a service's certificate is checked, and what it is shown.
fn tls_of(key: &'static str, options: &TlsOptions) -> Result<Arc<ClientConfig>, BackendsError> {
    let trust = match &options.cacertfile {
        _ if !options.verify_peer => Trust::Anybody,
        Some(file) => Trust::File(file),
        None => Trust::System,
    };
    let failed = |error| BackendsError::Tls { key, error: Box::new(error) };
    let missing = |other| failed(TlsError::Missing { keys: key, key: other });
    let identity = match (options.certfile.as_deref(), options.keyfile.as_deref()) {
        (Some(certfile), Some(keyfile)) => Some(Identity { certfile, keyfile, password: options.password.as_ref() }),
        (None, None) => None,
        (Some(_), None) => return Err(missing("keyfile")),
        (None, Some(_)) => return Err(missing("certfile")),
    };
    tls_config(trust, identity).map_err(failed)
}
