//! Tokens as logins: a JSON Web Token (RFC 7519) in compact form becomes a user's name, tags and scopes.
//!
//! [`Unverified::read`] takes the text apart, so that the key that it names can be looked up; [`Unverified::verify`] checks the
//! signature with a [`Key`]; [`Terms::accept`] looks at the claims. Nothing of a token counts before all three. What kind of
//! signature a key makes is a property of the key: a token cannot choose another, so neither `none` nor a MAC under a
//! public key is ever believed.

mod claims;
mod key;
mod scopes;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value as Json};

pub use claims::{Terms, Token};
pub use key::{Algorithm, Key, KeyError, Keys};
pub use scopes::Scopes;

/// Largest token that is looked at, in bytes.
const LARGEST: usize = 64 << 10;

/// Claims by name.
pub type Claims = Map<String, Json>;

/// Why a token is refused. For the log: a client is not told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("it is no JSON Web Token: {0}")]
    Malformed(&'static str),
    #[error("its signature is of the kind '{0}', which is not accepted")]
    Algorithm(String),
    #[error("its signature is of the kind {algorithm}, and the key '{key}' makes others")]
    OtherKey { algorithm: &'static str, key: String },
    #[error("its signature is wrong")]
    Signature,
    #[error("there is no key '{0}'")]
    NoKey(String),
    #[error("it names no key, and auth_oauth2.default_key is not set")]
    NoKeyNamed,
    #[error("the keys cannot be fetched: {0}")]
    KeysUnreachable(String),
    #[error("its claim 'aud' does not name '{0}'")]
    Audience(String),
    #[error("it has no claim 'exp', or one that is no number")]
    NoExpiry,
    #[error("Provided JWT token has expired at timestamp {at} (validated at {now})")]
    Expired { at: u64, now: u64 },
    #[error("it counts from {from} on, and now is {now}")]
    NotYet { from: u64, now: u64 },
    #[error("it has more than {0} scopes")]
    TooManyScopes(usize),
    #[error("it names the user '{new}', and the connection is '{old}'s")]
    OtherUser { old: String, new: String },
}

/// A token whose signature has not been looked at.
pub struct Unverified<'a> {
    algorithm: Algorithm,
    kid: Option<String>,
    /// What is signed.
    signed: &'a [u8],
    claims: Claims,
    signature: Vec<u8>,
}

impl<'a> Unverified<'a> {
    /// # Errors
    /// When it is no token, or of a kind that is never accepted.
    pub fn read(token: &'a [u8]) -> Result<Self, TokenError> {
        let malformed = TokenError::Malformed;
        if token.len() > LARGEST {
            return Err(malformed("it is too long"));
        }
        let text = std::str::from_utf8(token).map_err(|_| malformed("it is not UTF-8"))?;
        let (signed, signature) = text.rsplit_once('.').ok_or(malformed("it has no parts"))?;
        let (header, claims) = signed.split_once('.').ok_or(malformed("it has not three parts"))?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| malformed("it is not base64url"));
        let object = |bytes: Vec<u8>| match serde_json::from_slice(&bytes) {
            Ok(Json::Object(object)) => Ok(object),
            _ => Err(malformed("its parts are no JSON objects")),
        };
        let header = object(decode(header)?)?;
        let named = header.get("alg").and_then(Json::as_str).unwrap_or("none");
        let algorithm = Algorithm::parse(named).ok_or_else(|| TokenError::Algorithm(shown(named)))?;
        if header.contains_key("crit") {
            return Err(malformed("its header asks for extensions ('crit')"));
        }
        let kid = header.get("kid").and_then(Json::as_str).map(str::to_owned);
        let (claims, signature) = (object(decode(claims)?)?, decode(signature)?);
        Ok(Self { algorithm, kid, signed: signed.as_bytes(), claims, signature })
    }

    /// The id of the key that it is signed with, if it says so.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// Checks the signature; `accepted` are the kinds that count, all when it is empty.
    ///
    /// # Errors
    /// When it is not this key's, or of another kind.
    pub fn verify(self, key: &Key, accepted: &[Algorithm]) -> Result<Claims, TokenError> {
        if !accepted.is_empty() && !accepted.contains(&self.algorithm) {
            return Err(TokenError::Algorithm(self.algorithm.name().to_owned()));
        }
        if !key.makes(self.algorithm) {
            let key = shown(&self.kid.unwrap_or_default());
            return Err(TokenError::OtherKey { algorithm: self.algorithm.name(), key });
        }
        match key.has_signed(self.algorithm, self.signed, &self.signature) {
            true => Ok(self.claims),
            false => Err(TokenError::Signature),
        }
    }
}

/// A word of a token as it may stand in a log.
pub fn shown(word: &str) -> String {
    word.chars().take(64).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests;
