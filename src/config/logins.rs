//! How clients log in: mechanisms, and who is asked whether they may.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::TlsOptions;

/// How clients log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// Names of SASL mechanisms, in the order in which they are offered; at least one.
    pub mechanisms: Vec<String>,
    /// Users who may log in only from this machine.
    pub loopback_users: Vec<String>,
    /// Asked in this order; the first that lets the user in decides. At least one.
    pub backends: Vec<AuthBackend>,
    pub http: AuthHttp,
    pub oauth2: OAuth2,
    pub cache: AuthCache,
    /// How a client certificate becomes a user's name, for EXTERNAL.
    pub cert_login: CertLogin,
    /// Who clients of the mechanism ANONYMOUS are; none refuses them.
    pub anonymous_user: Option<String>,
    /// Logins that were tried are counted by address and user name, too.
    pub track_source: bool,
    /// RabbitMQ's name of the algorithm for new passwords, such as `rabbit_password_hashing_sha256`.
    pub password_hashing: String,
}

/// Who says whether a user may log in, and what the user may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthBackend {
    pub authn: Backend,
    pub authz: Backend,
    /// Its answers are kept for a while, for all logins.
    pub cached: bool,
}

impl AuthBackend {
    pub fn both(backend: Backend) -> Self {
        Self { authn: backend, authz: backend, cached: false }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// Users of the catalog.
    Internal,
    /// The service of `auth_http`.
    Http,
    /// Tokens, as `auth_oauth2` says.
    OAuth2,
}

impl Backend {
    /// Its short name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Internal => "internal",
            Self::Http => "http",
            Self::OAuth2 => "oauth2",
        }
    }
}

/// How long the answers of other services hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthCache {
    pub ttl: Duration,
    /// Refusals are shared between logins too.
    pub refusals: bool,
}

impl Default for AuthCache {
    fn default() -> Self {
        Self { ttl: Duration::from_secs(15), refusals: false }
    }
}

/// A service that answers `allow` or `deny`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthHttp {
    pub method: HttpMethod,
    /// URLs, whatever RabbitMQ's name says.
    pub user_path: String,
    pub vhost_path: String,
    pub resource_path: String,
    pub topic_path: String,
    pub request_timeout: Duration,
    pub connection_timeout: Duration,
    pub tls: TlsOptions,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HttpMethod {
    #[default]
    Get,
    Post,
}

/// Tokens as logins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OAuth2 {
    /// The audience that tokens must name.
    pub resource_server_id: Option<String>,
    pub resource_server_type: Option<String>,
    /// What scopes begin with; none is the resource server's id and a dot.
    pub scope_prefix: Option<String>,
    /// Other claims that hold scopes.
    pub additional_scopes_keys: Vec<String>,
    /// Claims that hold the user's name, the preferred first; `sub` and `client_id` follow them.
    pub preferred_username_claims: Vec<String>,
    pub verify_aud: bool,
    /// The id of the key for tokens that name none.
    pub default_key: Option<String>,
    /// Files of public keys, by id.
    pub signing_keys: BTreeMap<String, PathBuf>,
    pub jwks_url: Option<String>,
    pub issuer: Option<String>,
    /// None named is all that are safe.
    pub algorithms: Vec<String>,
    /// Scopes that stand for other scopes.
    pub scope_aliases: BTreeMap<String, Vec<String>>,
    /// For fetching the keys.
    pub tls: TlsOptions,
}

/// What of a client certificate is the user's name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CertLogin {
    pub from: CertName,
    pub san_type: SanType,
    /// Which of the names of that type, from 0.
    pub san_index: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CertName {
    #[default]
    DistinguishedName,
    CommonName,
    SubjectAlternativeName,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SanType {
    #[default]
    Dns,
    Ip,
    Email,
    Uri,
    OtherName,
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            mechanisms: vec!["PLAIN".to_owned(), "AMQPLAIN".to_owned()],
            loopback_users: vec!["guest".to_owned()],
            backends: vec![AuthBackend::both(Backend::Internal)],
            http: AuthHttp::default(),
            oauth2: OAuth2::default(),
            cache: AuthCache::default(),
            cert_login: CertLogin::default(),
            anonymous_user: Some("guest".to_owned()),
            track_source: false,
            password_hashing: "rabbit_password_hashing_sha256".to_owned(),
        }
    }
}

impl Default for AuthHttp {
    fn default() -> Self {
        let url = |what| format!("http://localhost:8000/auth/{what}");
        Self {
            method: HttpMethod::Get,
            user_path: url("user"),
            vhost_path: url("vhost"),
            resource_path: url("resource"),
            topic_path: url("topic"),
            request_timeout: Duration::from_secs(15),
            connection_timeout: Duration::from_secs(15),
            tls: TlsOptions::of_client(),
        }
    }
}

impl Default for OAuth2 {
    fn default() -> Self {
        Self {
            resource_server_id: None,
            resource_server_type: None,
            scope_prefix: None,
            additional_scopes_keys: Vec::new(),
            preferred_username_claims: Vec::new(),
            verify_aud: true,
            default_key: None,
            signing_keys: BTreeMap::new(),
            jwks_url: None,
            issuer: None,
            algorithms: Vec::new(),
            scope_aliases: BTreeMap::new(),
            tls: TlsOptions::of_client(),
        }
    }
}
