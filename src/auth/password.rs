//! Password hashes as RabbitMQ stores them: base64 of a salt of four bytes and the hash of salt and password.
//!
//! <https://www.rabbitmq.com/docs/passwords>. Hashes of a RabbitMQ definitions file are valid here and the other way
//! round.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::Md5;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256, Sha512};
use subtle::ConstantTimeEq;

const SALT_LEN: usize = 4;

/// The hash function, named as RabbitMQ names its modules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Hashing {
    #[default]
    #[serde(rename = "rabbit_password_hashing_sha256")]
    Sha256,
    #[serde(rename = "rabbit_password_hashing_sha512")]
    Sha512,
    /// Of users from before RabbitMQ 3.6; not safe by today's measure.
    #[serde(rename = "rabbit_password_hashing_md5")]
    Md5,
}

impl Hashing {
    pub const ALL: [Self; 3] = [Self::Sha256, Self::Sha512, Self::Md5];

    /// RabbitMQ's name, as in `hashing_algorithm` of a definitions file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "rabbit_password_hashing_sha256",
            Self::Sha512 => "rabbit_password_hashing_sha512",
            Self::Md5 => "rabbit_password_hashing_md5",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|hashing| hashing.name() == name)
    }

    /// Bytes of a hash without its salt.
    fn len(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
            Self::Md5 => 16,
        }
    }

    fn digest(self, salt: &[u8], password: &[u8]) -> Vec<u8> {
        fn of<D: Digest>(salt: &[u8], password: &[u8]) -> Vec<u8> {
            D::new().chain_update(salt).chain_update(password).finalize().to_vec()
        }
        match self {
            Self::Sha256 => of::<Sha256>(salt, password),
            Self::Sha512 => of::<Sha512>(salt, password),
            Self::Md5 => of::<Md5>(salt, password),
        }
    }
}

impl fmt::Display for Hashing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a stored hash cannot be one of its algorithm.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum HashError {
    #[error("password hash is not valid base64: {0}")]
    NotBase64(#[from] base64::DecodeError),
    #[error("password hash has {found} bytes, {hashing} needs {expected} (salt and hash)")]
    WrongLength { hashing: Hashing, expected: usize, found: usize },
}

/// Hashes a password with a fresh random salt, ready to be stored. Fails when the system gives no randomness.
pub fn hash(password: &[u8], hashing: Hashing) -> Result<String, getrandom::Error> {
    let mut salt = [0; SALT_LEN];
    getrandom::fill(&mut salt)?;
    Ok(hash_with_salt(password, hashing, salt))
}

fn hash_with_salt(password: &[u8], hashing: Hashing, salt: [u8; SALT_LEN]) -> String {
    STANDARD.encode([&salt[..], &hashing.digest(&salt, password)].concat())
}

/// Checks a stored hash, for instance one in a definitions file, before it is taken.
pub fn check(stored: &str, hashing: Hashing) -> Result<(), HashError> {
    decode(stored, hashing).map(drop)
}

/// Whether this is the password, in a time that does not depend on where the hashes differ. A stored hash that cannot
/// be decoded has no password.
pub fn verify(password: &[u8], stored: &str, hashing: Hashing) -> bool {
    let Ok((salt, expected)) = decode(stored, hashing) else { return false };
    hashing.digest(&salt, password).ct_eq(&expected).into()
}

/// Salt and hash of a stored hash.
fn decode(stored: &str, hashing: Hashing) -> Result<([u8; SALT_LEN], Vec<u8>), HashError> {
    let bytes = STANDARD.decode(stored.trim())?;
    let (expected, found) = (SALT_LEN + hashing.len(), bytes.len());
    match bytes.split_first_chunk() {
        Some((salt, hash)) if found == expected => Ok((*salt, hash.to_vec())),
        _ => Err(HashError::WrongLength { hashing, expected, found }),
    }
}

#[cfg(test)]
mod tests;
