//! TLS as a client: of key servers, of HTTP back ends, and of the broker that `leveret perf` measures.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{self, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::TlsError;
use super::files;
use crate::config::Secret;

/// Whom to believe.
#[derive(Clone, Copy, Debug)]
pub enum Trust<'a> {
    /// Servers whose certificates are signed by an authority in this file.
    File(&'a Path),
    /// Those that the system trusts.
    System,
    /// Everybody.
    Anybody,
}

/// Who the client is: the files of its certificate and key, and the password where the key is encrypted.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    pub certfile: &'a Path,
    pub keyfile: &'a Path,
    pub password: Option<&'a Secret>,
}

/// A client's configuration.
///
/// # Errors
/// When a file cannot be used.
pub fn config(trust: Trust<'_>, identity: Option<Identity<'_>>) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().map_err(TlsError::Versions)?.dangerous();
    let builder = builder.with_custom_certificate_verifier(verifier(trust, provider)?);
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some(Identity { certfile, keyfile, password }) => builder
            .with_client_auth_cert(files::certificates(certfile)?, files::key(keyfile, password)?)
            .map_err(|error| TlsError::unusable(certfile, keyfile, error))?,
    };
    Ok(Arc::new(config))
}

fn verifier(trust: Trust<'_>, provider: Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    let file = match trust {
        Trust::Anybody => return Ok(Arc::new(Credulous(provider))),
        Trust::System => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            "the system's authorities".to_owned()
        }
        Trust::File(path) => {
            roots.add_parsable_certificates(files::certificates(path)?);
            path.display().to_string()
        }
    };
    match WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build() {
        Ok(verifier) => Ok(verifier),
        Err(error) => Err(TlsError::Authorities { file, reason: error.to_string() }),
    }
}

/// Believes every certificate, but that its key is the server's is checked.
#[derive(Debug)]
struct Credulous(Arc<CryptoProvider>);

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
