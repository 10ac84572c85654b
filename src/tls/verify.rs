//! Checks of client certificates. What is right is webpki's to say; this remembers whose certificate was refused and why,
//! in [`words`], for the log, and keeps `ssl_options.depth`.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio_rustls::rustls::client::danger::HandshakeSignatureValid;
use tokio_rustls::rustls::pki_types::{CertificateDer, UnixTime};
use tokio_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_rustls::rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use super::subject::{Names, is_self_issued};
use super::words;

/// Whose certificate was refused, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub subject: String,
    pub reason: String,
}

/// Where a handshake leaves that.
#[derive(Clone, Debug, Default)]
pub struct Note(Arc<Mutex<Option<Refused>>>);

impl Note {
    pub fn take(&self) -> Option<Refused> {
        self.0.lock().take()
    }
}

/// What checks the certificates of a listener's clients.
#[derive(Debug)]
pub struct Verifier {
    inner: Arc<dyn ClientCertVerifier>,
    /// Most certificates between the client's and an authority's.
    depth: u8,
    /// What the names of the listener's keys begin with.
    keys: &'static str,
}

impl Verifier {
    pub fn new(inner: Arc<dyn ClientCertVerifier>, depth: u8, keys: &'static str) -> Self {
        Self { inner, depth, keys }
    }

    /// The verifier of one handshake, and where it leaves whom it has refused.
    pub fn for_one(&self) -> (Arc<dyn ClientCertVerifier>, Note) {
        let note = Note::default();
        let one =
            OneHandshake { inner: Arc::clone(&self.inner), depth: self.depth, keys: self.keys, note: note.clone() };
        (Arc::new(one), note)
    }
}

#[derive(Debug)]
struct OneHandshake {
    inner: Arc<dyn ClientCertVerifier>,
    depth: u8,
    keys: &'static str,
    note: Note,
}

impl OneHandshake {
    fn refused(&self, certificate: &CertificateDer<'_>, reason: String) {
        let subject = Names::read(certificate).map_or_else(|e| format!("unreadable: {e}"), |names| names.subject);
        *self.note.0.lock() = Some(Refused { subject, reason });
    }
}

impl ClientCertVerifier for OneHandshake {
    fn offer_client_auth(&self) -> bool {
        self.inner.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.inner.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        // Clients that send the authority's own certificate too have no longer chain because of it.
        let between = intermediates.iter().filter(|certificate| !is_self_issued(certificate));
        let (count, depth) = (between.count(), self.depth);
        if count > usize::from(depth) {
            self.refused(
                certificate,
                format!("{count} certificates are between it and the authority, {}.depth allows {depth}", self.keys),
            );
            return Err(CertificateError::UnknownIssuer.into());
        }
        self.inner
            .verify_client_cert(certificate, intermediates, now)
            .inspect_err(|error| self.refused(certificate, words::of_certificate(error, self.keys)))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner
            .verify_tls12_signature(message, certificate, signed)
            .inspect_err(|error| self.refused(certificate, words::of_signature(error, self.keys)))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner
            .verify_tls13_signature(message, certificate, signed)
            .inspect_err(|error| self.refused(certificate, words::of_signature(error, self.keys)))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
