//! TLS for listeners: certificate files to rustls configurations, handshakes, and who the client is.
//!
//! [`files`] reads what `ssl_options.*` names; an [`Acceptor`] makes a rustls configuration of it, does the handshakes of a
//! listener (a bounded number at a time, each within a time) and can read the files again: new connections use the new
//! ones, and files that cannot be used leave the old ones in force. [`verify`] checks client certificates and remembers
//! whose was refused, for reasons that [`words`] has; [`subject`] reads the names in a certificate, which EXTERNAL logins take for the user's.
//!
//! What a handshake leaves is a socket and rustls' state: AMQP goes on with both as a [`stream::Stream`], the HTTP server
//! with the stream that they make together.

pub mod client;
mod files;
pub mod stream;
mod subject;
mod verify;
mod words;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio_rustls::rustls::{
    self, ConfigBuilder, ProtocolVersion, RootCertStore, ServerConfig, ServerConnection, SupportedCipherSuite,
    SupportedProtocolVersion, WantsVerifier, version,
};
use tokio_rustls::server::TlsStream;

use crate::config::{TlsOptions, TlsVersion};
pub use files::FileError;
pub use subject::Names;
use verify::{Refused, Verifier};

/// Most handshakes of a listener at a time: they cost far more than what follows them. Others wait for their turn.
const HANDSHAKES_AT_A_TIME: usize = 512;

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{keys}.{key} must be set")]
    Missing { keys: &'static str, key: &'static str },
    #[error("certificate {certfile} and key {keyfile} cannot be used: {error}")]
    Unusable { certfile: String, keyfile: String, error: rustls::Error },
    #[error("no certificate can be checked with {file}: {reason}")]
    Authorities { file: String, reason: String },
    #[error("{keys}.ciphers names none that there is: {known}")]
    Ciphers { keys: &'static str, known: String },
    #[error("no version is named that is supported (tlsv1.2, tlsv1.3): {0}")]
    Versions(rustls::Error),
}

impl TlsError {
    fn unusable(certfile: &Path, keyfile: &Path, error: rustls::Error) -> Self {
        let (certfile, keyfile) = (certfile.display().to_string(), keyfile.display().to_string());
        Self::Unusable { certfile, keyfile, error }
    }
}

/// When each certificate of a file ends, in seconds since 1970.
///
/// # Errors
/// What is wrong with the file, or a certificate in it.
pub fn ends(path: &Path) -> Result<Vec<u64>, String> {
    let certificates = files::certificates(path).map_err(|error| error.to_string())?;
    certificates.iter().map(subject::end).collect()
}

/// All that is wrong with the files of a listener: each of them is looked at, and then what they come to together.
pub fn faults(options: &TlsOptions, purpose: Purpose) -> Vec<TlsError> {
    let look = |path: &Option<PathBuf>, key, read: &dyn Fn(&Path) -> Result<(), FileError>| match path {
        Some(path) => read(path).err().map(TlsError::File),
        None => Some(TlsError::Missing { keys: purpose.keys, key }),
    };
    let certificates = |path: &Path| files::certificates(path).map(drop);
    let mut faults = Vec::new();
    faults.extend(look(&options.certfile, "certfile", &certificates));
    faults.extend(look(&options.keyfile, "keyfile", &|path| files::key(path, options.password.as_ref()).map(drop)));
    if options.verify_peer {
        faults.extend(look(&options.cacertfile, "cacertfile", &certificates));
    }
    if faults.is_empty() {
        faults.extend(Material::read(options.clone(), purpose).err());
    }
    faults
}

/// Why a handshake has failed.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    #[error("the TLS handshake took longer than {} ms", .0.as_millis())]
    TooLong(Duration),
    #[error("client certificate refused: {reason} (subject: {subject})")]
    Certificate { reason: String, subject: String },
    #[error("TLS handshake refused: the client sent no certificate, which {0}.fail_if_no_peer_cert asks for")]
    NoCertificate(&'static str),
    #[error("TLS handshake refused: {0}")]
    Protocol(String),
    /// Health checks connect and leave.
    #[error("the client left during the TLS handshake: {0}")]
    Gone(io::Error),
}

/// How a connection is secured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Secured {
    /// `tlsv1.2` or `tlsv1.3`.
    pub protocol: String,
    pub cipher: String,
    /// What the client's certificate says, if it has sent one.
    pub names: Option<Names>,
}

impl Secured {
    pub fn of(connection: &ServerConnection) -> Self {
        let protocol = match connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "tlsv1.2",
            _ => "tlsv1.3",
        };
        let suite = connection.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
        let certificate = connection.peer_certificates().and_then(|chain| chain.first());
        Self {
            protocol: protocol.to_owned(),
            cipher: suite.unwrap_or_default().to_owned(),
            names: certificate.and_then(|certificate| Names::read(certificate).ok()),
        }
    }
}

/// What a listener with TLS is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Purpose {
    /// What the names of its keys begin with.
    pub keys: &'static str,
    /// The protocols that are offered, the best first.
    pub alpn: &'static [&'static str],
}

impl Purpose {
    pub const AMQP: Self = Self { keys: "ssl_options", alpn: &[] };
    pub const MANAGEMENT: Self = Self { keys: "management.ssl", alpn: &["http/1.1"] };
    pub const PROMETHEUS: Self = Self { keys: "prometheus.ssl", alpn: &["http/1.1"] };
}

/// Does the TLS handshakes of a listener.
pub struct Acceptor {
    purpose: Purpose,
    current: RwLock<Arc<Material>>,
    slots: Semaphore,
    timeout: Duration,
}

/// What one reading of the files came to.
struct Material {
    options: TlsOptions,
    provider: Arc<CryptoProvider>,
    versions: Vec<&'static SupportedProtocolVersion>,
    alpn: Vec<Vec<u8>>,
    /// The order of the server's cipher suites counts, and not the client's.
    server_order: bool,
    certificate: Arc<SingleCertAndKey>,
    /// For connections whose client is not asked for a certificate: all have the same.
    config: Arc<ServerConfig>,
    verifier: Option<Verifier>,
}

impl Acceptor {
    /// Reads the files.
    ///
    /// # Errors
    /// When a file is missing or cannot be used.
    pub fn new(options: TlsOptions, purpose: Purpose, timeout: Duration) -> Result<Self, TlsError> {
        let current = RwLock::new(Arc::new(Material::read(options, purpose)?));
        Ok(Self { purpose, current, slots: Semaphore::new(HANDSHAKES_AT_A_TIME), timeout })
    }

    /// Reads the files that these options name, also those that are named as before, for connections that come from now on.
    ///
    /// # Errors
    /// When they cannot be used: everything stays as it was.
    pub fn reload(&self, options: TlsOptions) -> Result<(), TlsError> {
        let material = Arc::new(Material::read(options, self.purpose)?);
        *self.current.write() = material;
        Ok(())
    }

    /// The certificate file in force, to be named in logs.
    pub fn certfile(&self) -> String {
        self.current.read().options.certfile.as_ref().map(|path| path.display().to_string()).unwrap_or_default()
    }

    /// Does a handshake.
    ///
    /// # Errors
    /// Why there is no connection.
    pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) -> Result<TlsStream<S>, HandshakeError> {
        match tokio::time::timeout(self.timeout, self.handshake(stream)).await {
            Ok(result) => result,
            Err(_) => Err(HandshakeError::TooLong(self.timeout)),
        }
    }

    async fn handshake<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) -> Result<TlsStream<S>, HandshakeError> {
        // It is never closed.
        let _slot = self.slots.acquire().await;
        let material = Arc::clone(&self.current.read());
        let Some(verifier) = &material.verifier else {
            let accepted = TlsAcceptor::from(Arc::clone(&material.config)).accept(stream).await;
            return accepted.map_err(|error| self.failed(error, None));
        };
        // A configuration of its own, so that it is known whose certificate was refused.
        let (verifier, refused) = verifier.for_one();
        let config = material.config_with(verifier).map_err(|error| HandshakeError::Protocol(error.to_string()))?;
        let accepted = TlsAcceptor::from(Arc::new(config)).accept(stream).await;
        accepted.map_err(|error| self.failed(error, refused.take()))
    }

    /// Why a handshake has failed, from what tokio-rustls says and whose certificate was refused.
    fn failed(&self, error: io::Error, refused: Option<Refused>) -> HandshakeError {
        if let Some(Refused { subject, reason }) = refused {
            return HandshakeError::Certificate { subject, reason };
        }
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::NoCertificatesPresented) => HandshakeError::NoCertificate(self.purpose.keys),
            Some(other) => HandshakeError::Protocol(words::of_handshake(other, self.purpose.keys)),
            None => HandshakeError::Gone(error),
        }
    }
}

impl Material {
    fn read(options: TlsOptions, purpose: Purpose) -> Result<Self, TlsError> {
        let missing = |key| TlsError::Missing { keys: purpose.keys, key };
        let certfile = options.certfile.as_ref().ok_or_else(|| missing("certfile"))?;
        let keyfile = options.keyfile.as_ref().ok_or_else(|| missing("keyfile"))?;
        let provider = Arc::new(provider(&options, purpose)?);
        let (chain, key) = (files::certificates(certfile)?, files::key(keyfile, options.password.as_ref())?);
        let certificate = CertifiedKey::from_der(chain, key, &provider);
        let certificate = certificate.map_err(|error| TlsError::unusable(certfile, keyfile, error))?;
        let verifier = match options.verify_peer {
            true => Some(verifier(&options, purpose, &provider)?),
            false => None,
        };
        let certificate = Arc::new(SingleCertAndKey::from(certificate));
        let versions = versions(&options);
        let alpn: Vec<_> = purpose.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let resolver = Arc::clone(&certificate);
        let mut config = builder(&provider, &versions)?.with_no_client_auth().with_cert_resolver(resolver);
        config.alpn_protocols.clone_from(&alpn);
        config.ignore_client_order = options.honor_cipher_order;
        let config = Arc::new(config);
        let server_order = options.honor_cipher_order;
        Ok(Self { options, server_order, provider, versions, alpn, certificate, config, verifier })
    }

    fn config_with(&self, verifier: Arc<dyn ClientCertVerifier>) -> Result<ServerConfig, rustls::Error> {
        let builder =
            ServerConfig::builder_with_provider(Arc::clone(&self.provider)).with_protocol_versions(&self.versions)?;
        let resolver = Arc::clone(&self.certificate);
        let mut config = builder.with_client_cert_verifier(verifier).with_cert_resolver(resolver);
        config.alpn_protocols.clone_from(&self.alpn);
        config.ignore_client_order = self.server_order;
        // A session that is resumed would not be checked again.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(config)
    }
}

fn builder(
    provider: &Arc<CryptoProvider>,
    versions: &[&'static SupportedProtocolVersion],
) -> Result<ConfigBuilder<ServerConfig, WantsVerifier>, TlsError> {
    ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(versions)
        .map_err(TlsError::Versions)
}

/// The cipher suites of the configuration, by IANA's names or OpenSSL's of those that there are.
fn provider(options: &TlsOptions, purpose: Purpose) -> Result<CryptoProvider, TlsError> {
    let mut provider = ring::default_provider();
    if !options.ciphers.is_empty() {
        let known = std::mem::take(&mut provider.cipher_suites);
        let is = |suite: &SupportedCipherSuite, name: &str| {
            suite.suite().as_str().is_some_and(|s| plain_name(s) == plain_name(name))
        };
        let named = options.ciphers.iter().filter_map(|name| known.iter().find(|suite| is(suite, name)).copied());
        provider.cipher_suites = named.collect();
        if provider.cipher_suites.is_empty() {
            let names = known.iter().filter_map(|s| s.suite().as_str()).map(|name| name.replace("TLS13_", "TLS_"));
            let known = names.collect::<Vec<_>>().join(", ");
            return Err(TlsError::Ciphers { keys: purpose.keys, known });
        }
    }
    Ok(provider)
}

/// What IANA's name of a cipher suite and OpenSSL's have in common.
fn plain_name(name: &str) -> String {
    let name = name.to_ascii_uppercase().replace("TLS13_", "").replace("TLS_", "").replace("_WITH", "");
    name.replace("POLY1305_SHA256", "POLY1305").chars().filter(char::is_ascii_alphanumeric).collect()
}

/// TLS 1.3 first.
fn versions(options: &TlsOptions) -> Vec<&'static SupportedProtocolVersion> {
    let chosen = options.versions.iter().map(|version| match version {
        TlsVersion::V12 => &version::TLS12,
        TlsVersion::V13 => &version::TLS13,
    });
    match options.versions.is_empty() {
        true => vec![&version::TLS13, &version::TLS12],
        false => chosen.collect(),
    }
}

/// What checks client certificates.
fn verifier(options: &TlsOptions, purpose: Purpose, provider: &Arc<CryptoProvider>) -> Result<Verifier, TlsError> {
    let missing = TlsError::Missing { keys: purpose.keys, key: "cacertfile" };
    let file = options.cacertfile.as_ref().ok_or(missing)?;
    let unusable = |reason: String| TlsError::Authorities { file: file.display().to_string(), reason };
    let mut roots = RootCertStore::empty();
    for certificate in files::certificates(file)? {
        roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let builder = if options.fail_if_no_peer_cert { builder } else { builder.allow_unauthenticated() };
    let inner = builder.build().map_err(|error| unusable(error.to_string()))?;
    Ok(Verifier::new(inner, options.depth, purpose.keys))
}
