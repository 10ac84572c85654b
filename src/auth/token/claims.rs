//! What the claims of a token, whose signature has been checked, say of its bearer.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value as Json;

use super::scopes::{Scopes, Wildcard};
use super::{Algorithm, Claims, TokenError};
use crate::auth::User;
use crate::config::OAuth2;

/// Most scopes of one token.
const MOST_SCOPES: usize = 2048;
/// Longest name of a user, in bytes.
const LONGEST_NAME: usize = 255;
/// How far the clock of whoever issues tokens may be ahead, in seconds.
const SKEW: u64 = 60;
/// Tags that a rich authorization request may give.
const TAGS: [&str; 4] = ["monitoring", "administrator", "management", "policymaker"];

/// Which tokens are accepted, and how they are read.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    resource_server: String,
    resource_type: Option<String>,
    prefix: String,
    more_scopes: Vec<String>,
    username_claims: Vec<String>,
    verify_audience: bool,
    aliases: std::collections::BTreeMap<String, Vec<String>>,
    /// All when it is empty.
    pub algorithms: Vec<Algorithm>,
    /// For tokens that name no key.
    pub default_key: Option<String>,
}

/// A token that has been accepted.
pub struct Token {
    pub user: Arc<User>,
    /// Seconds since 1970.
    pub expires_at: u64,
    scopes: Vec<String>,
    claims: Claims,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token").field("user", &self.user.name).field("scopes", &self.scopes).finish_non_exhaustive()
    }
}

impl Token {
    /// What its bearer may do in a virtual host; none when it may not enter.
    pub fn scopes(&self, vhost: &str) -> Option<Scopes> {
        Scopes::of(&self.scopes, &self.claims, vhost)
    }
}

impl Terms {
    pub fn new(config: &OAuth2) -> Self {
        let resource_server = config.resource_server_id.clone().unwrap_or_default();
        let usual = ["sub", "client_id"].map(str::to_owned);
        Self {
            prefix: config.scope_prefix.clone().unwrap_or_else(|| format!("{resource_server}.")),
            resource_server,
            resource_type: config.resource_server_type.clone().filter(|kind| !kind.is_empty()),
            more_scopes: config.additional_scopes_keys.clone(),
            username_claims: config.preferred_username_claims.iter().cloned().chain(usual).collect(),
            verify_audience: config.verify_aud,
            aliases: config.scope_aliases.clone(),
            algorithms: config.algorithms.iter().filter_map(|name| Algorithm::parse(name)).collect(),
            default_key: config.default_key.clone(),
        }
    }

    /// Looks at the claims. `now` is in seconds since 1970.
    ///
    /// # Errors
    /// Why the token does not count here and now.
    pub fn accept(&self, claims: Claims, now: u64) -> Result<Token, TokenError> {
        let seconds = |name: &str| claims.get(name).and_then(Json::as_f64).map(|at| at.max(0.0) as u64);
        let expires_at = seconds("exp").ok_or(TokenError::NoExpiry)?;
        if expires_at <= now {
            return Err(TokenError::Expired { at: expires_at, now });
        }
        if let Some(from) = seconds("nbf").filter(|from| *from > now + SKEW) {
            return Err(TokenError::NotYet { from, now });
        }
        if self.verify_audience && !self.is_for_us(claims.get("aud")) {
            return Err(TokenError::Audience(self.resource_server.clone()));
        }
        let (scopes, name) = (self.scopes(&claims)?, self.username(&claims));
        if name.len() > LONGEST_NAME {
            return Err(TokenError::Malformed("the name of its user is too long"));
        }
        let mut user = User::new(name);
        user.tags = scopes.iter().filter_map(|scope| scope.strip_prefix("tag:").map(str::to_owned)).collect();
        Ok(Token { user: Arc::new(user), expires_at, scopes, claims })
    }

    fn is_for_us(&self, audience: Option<&Json>) -> bool {
        match audience {
            Some(Json::String(one)) => one.split_whitespace().any(|name| name == self.resource_server),
            Some(Json::Array(several)) => several.iter().any(|name| name.as_str() == Some(&self.resource_server)),
            _ => false,
        }
    }

    fn username(&self, claims: &Claims) -> String {
        let named = self.username_claims.iter().find_map(|name| claims.get(name)?.as_str());
        named.unwrap_or("unknown").to_owned()
    }

    /// All scopes that begin with the prefix, without it.
    fn scopes(&self, claims: &Claims) -> Result<Vec<String>, TokenError> {
        let mut found = Vec::new();
        for place in ["scope", "authorization.permissions.scopes"] {
            self.collect(&Json::Object(claims.clone()), place, &mut found);
        }
        for place in &self.more_scopes {
            self.collect(&Json::Object(claims.clone()), place, &mut found);
        }
        let aliased: Vec<_> = found.iter().filter_map(|scope| self.aliases.get(scope)).flatten().cloned().collect();
        found.extend(aliased);
        if let Some(Json::Array(details)) = claims.get("authorization_details") {
            details.iter().for_each(|detail| self.rich(detail, &mut found));
        }
        let ours = found.iter().filter_map(|scope| scope.strip_prefix(&self.prefix).map(str::to_owned));
        let ours: BTreeSet<_> = ours.collect();
        if ours.len() > MOST_SCOPES {
            return Err(TokenError::TooManyScopes(MOST_SCOPES));
        }
        Ok(ours.into_iter().collect())
    }

    /// Scopes at a place such as `roles` or `a.b.c`; a list on the way is gone through.
    fn collect(&self, value: &Json, place: &str, found: &mut Vec<String>) {
        if found.len() > MOST_SCOPES {
            return;
        }
        match value {
            Json::Array(several) if !place.is_empty() => several.iter().for_each(|one| self.collect(one, place, found)),
            Json::Object(object) if !place.is_empty() => {
                let (first, rest) = place.split_once('.').unwrap_or((place, ""));
                if let Some(inner) = object.get(first) {
                    self.collect(inner, rest, found);
                }
            }
            Json::String(text) if place.is_empty() => found.extend(text.split_whitespace().map(str::to_owned)),
            Json::Array(several) => found.extend(several.iter().filter_map(Json::as_str).map(str::to_owned)),
            // By resource server, without its prefix.
            Json::Object(object) => {
                let mut ours = Vec::new();
                if let Some(of_server @ (Json::String(_) | Json::Array(_))) = object.get(&self.resource_server) {
                    self.collect(of_server, "", &mut ours);
                }
                found.extend(ours.into_iter().map(|scope| format!("{}.{scope}", self.resource_server)));
            }
            _ => {}
        }
    }

    /// A rich authorization request (RFC 9396): what may be done (`actions`) where (`locations`, such as
    /// `cluster:rabbitmq/vhost:%2F/queue:q*`).
    fn rich(&self, detail: &Json, found: &mut Vec<String>) {
        let text = |name: &str| detail.get(name).and_then(Json::as_str);
        if self.resource_type.is_none() || text("type") != self.resource_type.as_deref() {
            return;
        }
        let list = |name: &str| match detail.get(name) {
            Some(Json::String(one)) => vec![one.as_str()],
            Some(Json::Array(several)) => several.iter().filter_map(Json::as_str).collect(),
            _ => Vec::new(),
        };
        let places: Vec<_> = list("locations").into_iter().filter_map(|location| self.place(location)).collect();
        if places.is_empty() {
            return;
        }
        for action in list("actions") {
            match action {
                tag if TAGS.contains(&tag) => found.push(format!("{}tag:{tag}", self.prefix)),
                "read" | "write" | "configure" => {
                    found.extend(places.iter().map(|place| format!("{}{action}:{place}", self.prefix)));
                }
                _ => {}
            }
        }
    }

    /// A location as a scope's path; none when it is another cluster's.
    fn place(&self, location: &str) -> Option<String> {
        let parts: Vec<_> = location.split('/').filter_map(|part| part.split_once(':')).collect();
        let of = |name: &str| parts.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
        if !Wildcard::parse(of("cluster")?).matches(&self.resource_server) {
            return None;
        }
        let name = match (of("queue"), of("exchange")) {
            (Some(queue), Some(exchange)) if queue != exchange => return None,
            (queue, exchange) => queue.or(exchange).unwrap_or("*"),
        };
        Some(format!("{}/{name}/{}", of("vhost").unwrap_or("*"), of("routing-key").unwrap_or("*")))
    }
}
