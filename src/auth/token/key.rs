//! Keys that tokens are signed with: from PEM files and from JSON Web Key Sets (RFC 7517).

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::{hmac, signature};
use serde_json::Value as Json;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use x509_cert::Certificate;
use x509_cert::der::{Decode, Encode};
use x509_cert::spki::SubjectPublicKeyInfoRef;

/// Most keys of a set that are looked at.
const MOST: usize = 256;

/// A kind of signature, as `alg` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
    Hs256,
    Hs384,
    Hs512,
}

impl Algorithm {
    pub const ALL: [Self; 12] = [
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::EdDsa,
        Self::Hs256,
        Self::Hs384,
        Self::Hs512,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
            Self::Hs256 => "HS256",
            Self::Hs384 => "HS384",
            Self::Hs512 => "HS512",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }
}

/// Why a key cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("it holds neither a public key (BEGIN PUBLIC KEY) nor a certificate in PEM")]
    NotPem,
    #[error("its key is of a kind that no token is signed with; RSA, P-256, P-384 and Ed25519 are")]
    Kind,
    #[error("it cannot be read: {0}")]
    Malformed(String),
}

/// A key that signatures are checked with.
pub struct Key {
    form: Form,
    /// A key that says which kind of signature it makes makes no other.
    only: Option<Algorithm>,
}

enum Form {
    /// The modulus and the exponent.
    Rsa(signature::RsaPublicKeyComponents<Vec<u8>>),
    /// A point.
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
    /// A secret that both sides have.
    Shared(Vec<u8>),
}

impl Key {
    /// Reads a public key or a certificate.
    ///
    /// # Errors
    /// When there is none, or no token can be signed with it.
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        let malformed = |error: x509_cert::der::Error| KeyError::Malformed(error.to_string());
        let der = match SubjectPublicKeyInfoDer::from_pem_slice(pem) {
            Ok(key) => key.as_ref().to_vec(),
            Err(_) => {
                let certificate = CertificateDer::from_pem_slice(pem).map_err(|_| KeyError::NotPem)?;
                let certificate = Certificate::from_der(&certificate).map_err(malformed)?;
                certificate.tbs_certificate().subject_public_key_info().to_der().map_err(malformed)?
            }
        };
        Self::from_der(&der)
    }

    fn from_der(der: &[u8]) -> Result<Self, KeyError> {
        let malformed = |error: x509_cert::der::Error| KeyError::Malformed(error.to_string());
        let info = SubjectPublicKeyInfoRef::from_der(der).map_err(malformed)?;
        let bytes = info.subject_public_key.raw_bytes().to_vec();
        let curve = || info.algorithm.parameters_oid().map(|oid| oid.to_string()).unwrap_or_default();
        let form = match info.algorithm.oid.to_string().as_str() {
            "1.2.840.113549.1.1.1" => {
                let (n, e) = rsa_parts(&bytes).ok_or(KeyError::Kind)?;
                Form::Rsa(signature::RsaPublicKeyComponents { n, e })
            }
            "1.2.840.10045.2.1" => match curve().as_str() {
                "1.2.840.10045.3.1.7" => Form::P256(bytes),
                "1.3.132.0.34" => Form::P384(bytes),
                _ => return Err(KeyError::Kind),
            },
            "1.3.101.112" => Form::Ed25519(bytes),
            _ => return Err(KeyError::Kind),
        };
        Ok(Self { form, only: None })
    }

    /// Reads a JSON Web Key. `None` for keys of other kinds and other uses: a set may hold some.
    pub fn from_jwk(jwk: &Json) -> Option<Self> {
        let text = |name: &str| jwk.get(name).and_then(Json::as_str);
        let bytes = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?.trim_end_matches('=')).ok();
        if text("use").is_some_and(|r#use| r#use != "sig") {
            return None;
        }
        let only = match text("alg") {
            Some(name) => Some(Algorithm::parse(name)?),
            None => None,
        };
        let point = |size: usize| {
            let (x, y) = (bytes("x")?, bytes("y")?);
            let is_whole = x.len() == size && y.len() == size;
            is_whole.then(|| [&[4][..], &x, &y].concat())
        };
        let form = match (text("kty")?, text("crv")) {
            ("RSA", _) => {
                let (n, e) = (without_zeros(bytes("n")?), without_zeros(bytes("e")?));
                Form::Rsa(signature::RsaPublicKeyComponents { n, e })
            }
            ("EC", Some("P-256")) => Form::P256(point(32)?),
            ("EC", Some("P-384")) => Form::P384(point(48)?),
            ("OKP", Some("Ed25519")) => Form::Ed25519(bytes("x")?),
            // An empty secret is everybody's.
            ("oct", _) => Form::Shared(bytes("k").filter(|secret| secret.len() >= 16)?),
            _ => return None,
        };
        Some(Self { form, only })
    }

    /// Whether signatures of this kind can be this key's.
    pub fn makes(&self, algorithm: Algorithm) -> bool {
        use Algorithm::{EdDsa, Es256, Es384, Hs256, Hs384, Hs512, Ps256, Ps384, Ps512, Rs256, Rs384, Rs512};
        let of_kind = match &self.form {
            Form::Rsa(_) => matches!(algorithm, Rs256 | Rs384 | Rs512 | Ps256 | Ps384 | Ps512),
            Form::P256(_) => algorithm == Es256,
            Form::P384(_) => algorithm == Es384,
            Form::Ed25519(_) => algorithm == EdDsa,
            Form::Shared(_) => matches!(algorithm, Hs256 | Hs384 | Hs512),
        };
        of_kind && self.only.is_none_or(|only| only == algorithm)
    }

    /// Whether a signature of that kind is this key's.
    pub fn has_signed(&self, algorithm: Algorithm, message: &[u8], signed: &[u8]) -> bool {
        let by_point = |check: &'static dyn signature::VerificationAlgorithm, point: &[u8]| {
            signature::UnparsedPublicKey::new(check, point).verify(message, signed).is_ok()
        };
        match (&self.form, algorithm) {
            (Form::Rsa(key), _) => rsa(algorithm).is_some_and(|check| key.verify(check, message, signed).is_ok()),
            (Form::P256(point), Algorithm::Es256) => by_point(&signature::ECDSA_P256_SHA256_FIXED, point),
            (Form::P384(point), Algorithm::Es384) => by_point(&signature::ECDSA_P384_SHA384_FIXED, point),
            (Form::Ed25519(point), Algorithm::EdDsa) => by_point(&signature::ED25519, point),
            (Form::Shared(secret), _) => mac(algorithm).is_some_and(|mac| {
                let key = hmac::Key::new(mac, secret);
                hmac::verify(&key, message, signed).is_ok()
            }),
            _ => false,
        }
    }
}

/// From 2048 bits on: shorter keys have been broken.
fn rsa(algorithm: Algorithm) -> Option<&'static signature::RsaParameters> {
    Some(match algorithm {
        Algorithm::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        Algorithm::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        Algorithm::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        Algorithm::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
        Algorithm::Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
        Algorithm::Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
        _ => return None,
    })
}

fn mac(algorithm: Algorithm) -> Option<hmac::Algorithm> {
    Some(match algorithm {
        Algorithm::Hs256 => hmac::HMAC_SHA256,
        Algorithm::Hs384 => hmac::HMAC_SHA384,
        Algorithm::Hs512 => hmac::HMAC_SHA512,
        _ => return None,
    })
}

/// Modulus and exponent of a PKCS#1 public key.
fn rsa_parts(der: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    use x509_cert::der::asn1::UintRef;
    use x509_cert::der::{Reader, SliceReader};
    let mut reader = SliceReader::new(der).ok()?;
    let parts = reader.sequence(|inner| {
        let (n, e) = (UintRef::decode(inner)?, UintRef::decode(inner)?);
        Ok::<_, x509_cert::der::Error>((n.as_bytes().to_vec(), e.as_bytes().to_vec()))
    });
    parts.ok().map(|(n, e)| (without_zeros(n), without_zeros(e)))
}

fn without_zeros(mut bytes: Vec<u8>) -> Vec<u8> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.drain(..zeros);
    bytes
}

/// Keys by their ids.
#[derive(Clone, Default)]
pub struct Keys(HashMap<String, Arc<Key>>);

impl Keys {
    /// Reads a JSON Web Key Set; what in it is no key for tokens is left out. `None` when it is no set at all.
    pub fn from_jwks(text: &[u8]) -> Option<Self> {
        let set: Json = serde_json::from_slice(text).ok()?;
        let keys = set.get("keys")?.as_array()?.iter().take(MOST);
        let id = |jwk: &Json| jwk.get("kid").and_then(Json::as_str).unwrap_or_default().to_owned();
        Some(Self(keys.filter_map(|jwk| Some((id(jwk), Arc::new(Key::from_jwk(jwk)?)))).collect()))
    }

    pub fn insert(&mut self, id: &str, key: Key) {
        self.0.insert(id.to_owned(), Arc::new(key));
    }

    pub fn get(&self, id: &str) -> Option<Arc<Key>> {
        self.0.get(id).cloned()
    }

    /// The key, when there is exactly one.
    pub fn only(&self) -> Option<Arc<Key>> {
        let mut keys = self.0.values();
        keys.next().filter(|_| keys.len() == 0).cloned()
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }
}
