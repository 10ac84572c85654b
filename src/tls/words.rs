//! Why a handshake or a client's certificate was refused, in sentences for whoever reads the log and has to mend it: rustls
//! and webpki name their reasons for those who program with them.

use std::time::Duration;

use tokio_rustls::rustls::pki_types::UnixTime;
use tokio_rustls::rustls::{AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible};
use x509_cert::der::DateTime;

/// Why a client's certificate is refused. `keys` is what the names of the listener's keys begin with.
pub fn of_certificate(error: &Error, keys: &str) -> String {
    let Error::InvalidCertificate(error) = error else { return of_handshake(error, keys) };
    match error {
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("it has expired: it, or one that has signed it, was valid until {}", date(*not_after))
        }
        CertificateError::Expired => "it has expired, or ends before it begins".to_owned(),
        CertificateError::NotValidYetContext { not_before, time } => {
            format!("it is not valid before {}, and the clock of this machine says {}", date(*not_before), date(*time))
        }
        CertificateError::NotValidYet => "it is not valid yet".to_owned(),
        CertificateError::UnknownIssuer => format!("it is signed by no authority of {keys}.cacertfile"),
        CertificateError::Revoked => "its authority has revoked it".to_owned(),
        CertificateError::BadSignature => {
            format!("its signature is not by the authority of that name in {keys}.cacertfile, which may have a new key")
        }
        CertificateError::BadEncoding => "it cannot be read: it is damaged, or no X.509 certificate".to_owned(),
        CertificateError::UnhandledCriticalExtension => {
            "it has an extension that is marked as critical and not known here".to_owned()
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "it is not for clients: its extended key usage does not name clientAuth".to_owned()
        }
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "it is signed in a way that is not taken any more, as with SHA-1 or a short RSA key".to_owned()
        }
        CertificateError::Other(other) => of_webpki(&other.to_string()),
        other => format!("it cannot be checked: {other}"),
    }
}

/// What webpki says only by name.
fn of_webpki(name: &str) -> String {
    let known = match name {
        "CaUsedAsEndEntity" => {
            "it is the certificate of an authority (CA:TRUE), which no client can have: it has to sign one for the client"
        }
        "EndEntityUsedAsCa" => "the certificate that has signed it is not an authority's (CA:TRUE is missing)",
        "PathLenConstraintViolated" | "MaximumPathDepthExceeded" => {
            "there are more certificates between it and the authority than an authority on the way allows"
        }
        "NameConstraintViolation" => "an authority on the way may not sign for its names",
        "UnsupportedCertVersion" => "it is an X.509 certificate of version 1 or 2: only version 3 is taken",
        other => return format!("it cannot be checked: {other}"),
    };
    known.to_owned()
}

/// Why a client that has a certificate has not shown that it has the key.
pub fn of_signature(error: &Error, keys: &str) -> String {
    match error {
        Error::InvalidCertificate(CertificateError::BadSignature) => {
            "the client's key is not the one of the certificate: what it has signed in the handshake is wrong"
                .to_owned()
        }
        other => of_certificate(other, keys),
    }
}

/// Why a handshake has failed.
pub fn of_handshake(error: &Error, keys: &str) -> String {
    match error {
        Error::InvalidMessage(InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion) => {
            "what the client sends is not TLS; perhaps it means the port without TLS".to_owned()
        }
        Error::InvalidMessage(what) => format!("the client sends what cannot be read as TLS ({what:?})"),
        Error::PeerIncompatible(what) => of_incompatible(what, keys),
        Error::AlertReceived(alert) => of_alert(*alert),
        Error::InvalidCertificate(_) => format!("the client's certificate: {}", of_certificate(error, keys)),
        Error::NoApplicationProtocol => "the client wants none of the protocols that are spoken here (ALPN)".to_owned(),
        Error::DecryptError => "what the client sends cannot be decrypted".to_owned(),
        Error::PeerSentOversizedRecord => "the client sends a record that is longer than TLS allows".to_owned(),
        Error::PeerMisbehaved(what) => format!("the client does not keep to TLS ({what:?})"),
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
            format!("the client sends messages in an order that TLS does not have ({error})")
        }
        other => other.to_string(),
    }
}

fn of_incompatible(what: &PeerIncompatible, keys: &str) -> String {
    match what {
        PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::Tls12NotOfferedOrEnabled
        | PeerIncompatible::SupportedVersionsExtensionRequired
        | PeerIncompatible::ServerDoesNotSupportTls12Or13 => {
            format!(
                "the client offers no version of TLS that is served: {keys}.versions names those, at most 1.2 and 1.3"
            )
        }
        PeerIncompatible::NoCipherSuitesInCommon => {
            format!("the client offers no cipher suite that is served: {keys}.ciphers names those")
        }
        PeerIncompatible::NoKxGroupsInCommon | PeerIncompatible::NamedGroupsExtensionRequired => {
            "the client offers no way to exchange keys that is known here (X25519, P-256 or P-384)".to_owned()
        }
        PeerIncompatible::SignatureAlgorithmsExtensionRequired => {
            "the client does not say which signatures it takes, as one does that speaks TLS 1.1 or older: 1.2 and 1.3 are \
             served"
                .to_owned()
        }
        PeerIncompatible::NoSignatureSchemesInCommon => {
            format!("the client takes no signature that the key of {keys}.keyfile can make")
        }
        PeerIncompatible::ExtendedMasterSecretExtensionRequired => {
            "the client is too old: it does not have the extended master secret of TLS 1.2".to_owned()
        }
        other => format!("the client and this broker have no way of speaking TLS in common ({other:?})"),
    }
}

/// What a client says when it is the one who refuses.
fn of_alert(alert: AlertDescription) -> String {
    let why = match alert {
        AlertDescription::UnknownCA => "it does not know the authority that has signed this broker's certificate",
        AlertDescription::CertificateExpired => "to it, this broker's certificate has expired",
        AlertDescription::CertificateRevoked => "to it, this broker's certificate is revoked",
        AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnsupportedCertificate => {
            "it does not take this broker's certificate; its own log says why, perhaps the name in it is another one"
        }
        AlertDescription::ProtocolVersion => "it speaks none of the versions of TLS that are served",
        AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => {
            "what is served is not enough for it; its own log says why"
        }
        AlertDescription::UnrecognisedName => "it expects another name",
        AlertDescription::UserCanceled | AlertDescription::CloseNotify => "it does not want to go on",
        other => return format!("the client ended it with the alert {other:?}"),
    };
    format!("the client refused: {why} (alert {alert:?})")
}

fn date(time: UnixTime) -> String {
    let date = DateTime::from_unix_duration(Duration::from_secs(time.as_secs()));
    date.map_or_else(|_| format!("second {} of Unix time", time.as_secs()), |date| date.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Those that a test with a real client cannot bring about; the others are in the tests of security.
    #[test]
    fn reasons_are_sentences() {
        let certificate = |error: CertificateError| of_certificate(&error.into(), "management.ssl");
        assert_eq!(certificate(CertificateError::Revoked), "its authority has revoked it");
        let at = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let early = CertificateError::NotValidYetContext { time: at(1_700_000_000), not_before: at(1_800_000_000) };
        assert_eq!(
            certificate(early),
            "it is not valid before 2027-01-15T08:00:00Z, and the clock of this machine says 2023-11-14T22:13:20Z"
        );
        assert_eq!(
            certificate(CertificateError::UnknownIssuer),
            "it is signed by no authority of management.ssl.cacertfile"
        );
        let wrong_key = of_signature(&CertificateError::BadSignature.into(), "ssl_options");
        assert!(wrong_key.starts_with("the client's key is not the one of the certificate"), "{wrong_key}");
        let unknown = of_handshake(&Error::AlertReceived(AlertDescription::UnknownCA), "ssl_options");
        assert!(unknown.contains("does not know the authority"), "{unknown}");
        let suites = of_handshake(&PeerIncompatible::NoCipherSuitesInCommon.into(), "ssl_options");
        assert_eq!(suites, "the client offers no cipher suite that is served: ssl_options.ciphers names those");
    }
}
