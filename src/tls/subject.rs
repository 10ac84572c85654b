//! The names in a certificate: its subject, and what EXTERNAL takes for a user's name.

use tokio_rustls::rustls::pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::der::asn1::{Ia5StringRef, PrintableStringRef, TeletexStringRef, Utf8StringRef};
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::der::{Any, Tag, Tagged};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::name::RelativeDistinguishedName;

use crate::config::{CertLogin, CertName, SanType};

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// When a certificate ends, in seconds since 1970.
///
/// # Errors
/// What is wrong with it.
pub fn end(certificate: &CertificateDer<'_>) -> Result<u64, String> {
    let certificate = Certificate::from_der(certificate).map_err(|error| error.to_string())?;
    Ok(certificate.tbs_certificate().validity().not_after.to_unix_duration().as_secs())
}

/// Whether a certificate is signed by whom it belongs to, as those of authorities at the end of a chain are.
pub fn is_self_issued(certificate: &CertificateDer<'_>) -> bool {
    Certificate::from_der(certificate).is_ok_and(|certificate| {
        let certificate = certificate.tbs_certificate();
        certificate.subject() == certificate.issuer()
    })
}

/// What a certificate says about whom it belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// The subject in RFC 4514's form, the most specific part first: `CN=worker,O=Team`.
    pub subject: String,
    /// Common names, in the certificate's order.
    pub common: Vec<String>,
    /// Subject alternative names of each type, in the certificate's order.
    pub alternative: Vec<(SanType, String)>,
}

impl Names {
    /// Reads a certificate.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(certificate: &CertificateDer<'_>) -> Result<Self, String> {
        let certificate = Certificate::from_der(certificate).map_err(|error| error.to_string())?;
        let certificate = certificate.tbs_certificate();
        let subject = certificate.subject();
        let attributes = subject.iter_rdn().flat_map(RelativeDistinguishedName::iter);
        let common = attributes.filter(|a| a.oid == COMMON_NAME).filter_map(|a| text(&a.value)).collect();
        let alternative = match certificate.get_extension::<SubjectAltName>() {
            Ok(Some((_, names))) => names.0.iter().filter_map(alternative).collect(),
            Ok(None) => Vec::new(),
            Err(error) => return Err(error.to_string()),
        };
        Ok(Self { subject: subject.to_string(), common, alternative })
    }

    /// The user's name by `ssl_cert_login_from`.
    pub fn user(&self, login: CertLogin) -> Option<String> {
        match login.from {
            CertName::DistinguishedName => Some(self.subject.clone()),
            CertName::CommonName => Some(self.common.join(",")),
            CertName::SubjectAlternativeName => {
                let mut names = self.alternative.iter().filter(|(kind, _)| *kind == login.san_type);
                names.nth(login.san_index).map(|(_, name)| name.clone())
            }
        }
        .filter(|name| !name.is_empty())
    }
}

/// A text of any of the types that names are written in.
fn text(value: &Any) -> Option<String> {
    match value.tag() {
        Tag::Utf8String => value.decode_as::<Utf8StringRef<'_>>().ok().map(|s| s.as_str().to_owned()),
        Tag::PrintableString => value.decode_as::<PrintableStringRef<'_>>().ok().map(|s| s.as_str().to_owned()),
        Tag::Ia5String => value.decode_as::<Ia5StringRef<'_>>().ok().map(|s| s.as_str().to_owned()),
        Tag::TeletexString => value.decode_as::<TeletexStringRef<'_>>().ok().map(|s| s.as_str().to_owned()),
        _ => None,
    }
}

fn alternative(name: &GeneralName) -> Option<(SanType, String)> {
    match name {
        GeneralName::DnsName(name) => Some((SanType::Dns, name.as_str().to_owned())),
        GeneralName::Rfc822Name(name) => Some((SanType::Email, name.as_str().to_owned())),
        GeneralName::UniformResourceIdentifier(name) => Some((SanType::Uri, name.as_str().to_owned())),
        GeneralName::IpAddress(bytes) => address(bytes.as_bytes()).map(|text| (SanType::Ip, text)),
        GeneralName::OtherName(name) => text(&name.value).map(|text| (SanType::OtherName, text)),
        _ => None,
    }
}

fn address(bytes: &[u8]) -> Option<String> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(|b| std::net::Ipv4Addr::from(b).to_string()),
        16 => <[u8; 16]>::try_from(bytes).ok().map(|b| std::net::Ipv6Addr::from(b).to_string()),
        _ => None,
    }
}
