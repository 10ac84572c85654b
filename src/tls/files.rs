//! Certificates and keys from PEM files.

use std::io;
use std::path::Path;

use pkcs8::{EncryptedPrivateKeyInfoRef, SecretDocument};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::Secret;

/// Largest file that is read, in bytes: a bundle of all public authorities is a quarter of it.
const LARGEST: u64 = 1 << 20;

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("cannot read {file}: {error}")]
    Unreadable { file: String, error: io::Error },
    #[error("{file} has {size} bytes, more than a file of certificates and keys ever has")]
    TooLarge { file: String, size: u64 },
    #[error("{file} is no PEM file: {error}")]
    NotPem { file: String, error: pem::Error },
    #[error("{file} holds no certificate")]
    NoCertificate { file: String },
    #[error("{file} holds no private key (PKCS#8, PKCS#1 or SEC1)")]
    NoKey { file: String },
    #[error("the key in {file} is encrypted, and there is no password for it")]
    NoPassword { file: String },
    #[error("the key in {file} cannot be decrypted: {error}. Is the password right?")]
    Undecipherable { file: String, error: pkcs8::Error },
    #[error(
        "the key in {file} is encrypted in a way that is not safe and not supported (Proc-Type: 4,ENCRYPTED): \
         convert it with `openssl pkcs8 -topk8 -v2 aes-256-cbc -in {file} -out new.key`"
    )]
    OldEncryption { file: String },
}

/// All certificates of a file, in their order.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let (bytes, file) = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let found = found.map_err(|error| FileError::NotPem { file: file.clone(), error })?;
    if found.is_empty() { Err(FileError::NoCertificate { file }) } else { Ok(found) }
}

/// The private key of a file, decrypted where it is encrypted.
pub fn key(path: &Path, password: Option<&Secret>) -> Result<PrivateKeyDer<'static>, FileError> {
    let (bytes, file) = read(path)?;
    let text = String::from_utf8_lossy(&bytes);
    if text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(FileError::OldEncryption { file });
    }
    if let Some(begin) = text.find("-----BEGIN ENCRYPTED PRIVATE KEY-----") {
        let Some(password) = password else { return Err(FileError::NoPassword { file }) };
        return decrypted(text.get(begin..).unwrap_or_default(), password)
            .map_err(|error| FileError::Undecipherable { file, error });
    }
    match PrivateKeyDer::from_pem_slice(&bytes) {
        Ok(key) => Ok(key),
        Err(pem::Error::NoItemsFound) => Err(FileError::NoKey { file }),
        Err(error) => Err(FileError::NotPem { file, error }),
    }
}

/// The key in a text that begins with an encrypted one.
fn decrypted(text: &str, password: &Secret) -> Result<PrivateKeyDer<'static>, pkcs8::Error> {
    const END: &str = "-----END ENCRYPTED PRIVATE KEY-----";
    let end = text.find(END).map_or(text.len(), |at| at + END.len());
    let (_, document) = SecretDocument::from_pem(text.get(..end).unwrap_or_default())?;
    let encrypted = EncryptedPrivateKeyInfoRef::try_from(document.as_bytes())?;
    let key = encrypted.decrypt(password.reveal())?;
    Ok(PrivateKeyDer::Pkcs8(key.as_bytes().to_vec().into()))
}

fn read(path: &Path) -> Result<(Vec<u8>, String), FileError> {
    let file = path.display().to_string();
    let unreadable = |error| FileError::Unreadable { file: file.clone(), error };
    let size = std::fs::metadata(path).map_err(unreadable)?.len();
    if size > LARGEST {
        return Err(FileError::TooLarge { file, size });
    }
    let bytes = std::fs::read(path).map_err(unreadable)?;
    Ok((bytes, file))
}

#[cfg(test)]
mod tests;
