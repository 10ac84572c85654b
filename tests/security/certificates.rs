//! An authority, and certificates that it signs, as files of a directory.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use leveret::tls::client::{self, Trust};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, date_time_ymd,
};
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, ProtocolVersion, RootCertStore};

/// An authority with a directory for what it signs.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    dir: tempfile::TempDir,
}

/// A certificate and its key, as PEM files.
#[derive(Clone)]
pub struct Identity {
    pub certfile: PathBuf,
    pub keyfile: PathBuf,
}

impl Identity {
    /// With the certificates of authorities behind it, as a client sends them.
    pub fn with_chain(self, authorities: &[&Authority]) -> Self {
        let files = std::iter::once(self.certfile.clone()).chain(authorities.iter().map(|a| a.file()));
        let chain: String = files.map(|file| std::fs::read_to_string(file).expect("a certificate")).collect();
        std::fs::write(&self.certfile, chain).expect("a file");
        self
    }
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new([]).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.self_signed(&key).expect("a certificate");
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("ca.pem"), certificate.pem()).expect("a file");
        Self { issuer: Issuer::new(params, key), dir }
    }

    /// The file of its own certificate.
    pub fn file(&self) -> PathBuf {
        self.path("ca.pem")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// An authority below this one, which signs in its place and keeps its files with it.
    pub fn below(&self, name: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new([]).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("ca.pem"), certificate.pem()).expect("a file");
        Self { issuer: Issuer::new(params, key), dir }
    }

    pub fn server(&self) -> Identity {
        self.sign("server", &["localhost", "127.0.0.1"], |_| ())
    }

    /// A client's certificate with this common name.
    pub fn client(&self, name: &str) -> Identity {
        self.sign(name, &[], |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth])
    }

    pub fn expired(&self, name: &str) -> Identity {
        self.sign(name, &[], |params| {
            params.not_before = date_time_ymd(2019, 1, 1);
            params.not_after = date_time_ymd(2020, 1, 1);
        })
    }

    pub fn sign(&self, name: &str, alternative: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Identity {
        self.sign_key(KeyPair::generate().expect("a key"), name, alternative, change)
    }

    /// The same for a key that there is.
    pub fn sign_key(
        &self,
        key: KeyPair,
        name: &str,
        alternative: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Identity {
        let names: Vec<_> = alternative.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("parameters");
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Burrow");
        params.distinguished_name.push(DnType::CommonName, name);
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let identity =
            Identity { certfile: self.path(&format!("{name}.pem")), keyfile: self.path(&format!("{name}.key")) };
        std::fs::write(&identity.certfile, certificate.pem()).expect("a file");
        std::fs::write(&identity.keyfile, key.serialize_pem()).expect("a file");
        identity
    }

    /// How a client speaks TLS that trusts this authority.
    pub fn client_config(&self, identity: Option<&Identity>) -> Arc<ClientConfig> {
        let identity =
            identity.map(|i| client::Identity { certfile: &i.certfile, keyfile: &i.keyfile, password: None });
        client::config(Trust::File(&self.file()), identity).expect("a configuration")
    }
}

impl Authority {
    /// The same for a client that speaks one version only.
    pub fn client_config_of(&self, version: ProtocolVersion) -> Arc<ClientConfig> {
        let versions: &[_] = if version == ProtocolVersion::TLSv1_2 { &[&TLS12] } else { &[&TLS13] };
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.file()).expect("a certificate")).expect("an authority");
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
        let builder = builder.with_protocol_versions(versions).expect("a version");
        Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
    }
}

/// A path as a configuration has it.
pub fn text(path: &Path) -> String {
    path.display().to_string()
}
