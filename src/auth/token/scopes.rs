//! Scopes: `read:VHOST/NAME` or `write:VHOST/NAME/KEY`, each part a pattern in which `*` stands for anything and `%2F` for a
//! slash.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::Value as Json;

use super::Claims;
use crate::auth::Access;

/// What of a claim's value is written as it is, where it stands in a pattern.
const PLAIN: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// What a token's scopes say of one virtual host.
#[derive(Debug, Default)]
pub struct Scopes(Vec<Scope>);

#[derive(Debug)]
struct Scope {
    access: Access,
    name: Wildcard,
    /// None gives no access to the routing keys of topic exchanges.
    key: Option<Wildcard>,
}

impl Scopes {
    /// Picks those that apply to a virtual host. `{vhost}` in a scope stands for its name, and `{x}` for the token's claim `x`.
    /// None when there is no such scope: the user may not enter.
    pub fn of(scopes: &[String], claims: &Claims, vhost: &str) -> Option<Self> {
        let of_vhost: Vec<_> = scopes.iter().filter_map(|scope| parse(&expand(scope, claims, vhost), vhost)).collect();
        (!of_vhost.is_empty()).then_some(Self(of_vhost))
    }

    pub fn allows(&self, access: Access, name: &str) -> bool {
        self.0.iter().any(|scope| scope.access == access && scope.name.matches(name))
    }

    pub fn topic_allows(&self, access: Access, exchange: &str, routing_key: &str) -> bool {
        let allows = |scope: &Scope| {
            let key = scope.key.as_ref().is_some_and(|key| key.matches(routing_key));
            key && scope.access == access && scope.name.matches(exchange)
        };
        self.0.iter().any(allows)
    }
}

/// One scope, when it applies to the virtual host.
fn parse(scope: &str, vhost: &str) -> Option<Scope> {
    let (access, path) = scope.split_once(':')?;
    let access = match access {
        "configure" => Access::Configure,
        "write" => Access::Write,
        "read" => Access::Read,
        _ => return None,
    };
    let mut parts = path.split('/');
    let (of_vhost, name, key) = (Wildcard::parse(parts.next()?), Wildcard::parse(parts.next()?), parts.next());
    let fits = parts.next().is_none() && of_vhost.matches(vhost);
    fits.then(|| Scope { access, name, key: key.map(Wildcard::parse) })
}

/// Fills in what stands in braces. A value's own stars and slashes mean themselves, so that a user cannot be called `*`. What
/// is not known stays as it is.
fn expand(scope: &str, claims: &Claims, vhost: &str) -> String {
    let mut out = String::new();
    let mut rest = scope;
    while let Some((before, (name, after))) =
        rest.split_once('{').and_then(|(before, inner)| Some((before, inner.split_once('}')?)))
    {
        let value = if name == "vhost" { Some(vhost) } else { claims.get(name).and_then(Json::as_str) };
        out.push_str(before);
        match value {
            Some(value) => out.extend(utf8_percent_encode(value, &PLAIN)),
            None => out.push_str(&format!("{{{name}}}")),
        }
        rest = after;
    }
    out + rest
}

/// Texts between stars.
#[derive(Debug, PartialEq, Eq)]
pub struct Wildcard {
    first: Vec<u8>,
    /// What follows each star.
    rest: Vec<Vec<u8>>,
}

impl Wildcard {
    /// `*` stands for any text, also none; other special characters are percent-encoded.
    pub fn parse(pattern: &str) -> Self {
        let mut parts = pattern.split('*').map(|part| percent_decode_str(part).collect::<Vec<u8>>());
        Self { first: parts.next().unwrap_or_default(), rest: parts.collect() }
    }

    /// Each part is taken where it comes first; the last one has to stand at the end.
    pub fn matches(&self, text: &str) -> bool {
        let Some(mut text) = text.as_bytes().strip_prefix(&*self.first) else { return false };
        let Some((last, middle)) = self.rest.split_last() else { return text.is_empty() };
        for part in middle {
            let Some(at) = find(text, part) else { return false };
            text = text.get(at + part.len()..).unwrap_or_default();
        }
        text.ends_with(last)
    }
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    if part.is_empty() {
        return Some(0);
    }
    text.windows(part.len()).position(|window| window == part)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Tries everything.
    fn naive(pattern: &[char], text: &[char]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some(('*', rest)) => (0..=text.len()).any(|n| naive(rest, &text[n..])),
            Some((c, rest)) => text.split_first().is_some_and(|(t, after)| t == c && naive(rest, after)),
        }
    }

    proptest! {
        #[test]
        fn a_wildcard_matches_what_trying_everything_finds(pattern in "[ab*]{0,8}", text in "[ab]{0,8}") {
            let (p, t): (Vec<_>, Vec<_>) = (pattern.chars().collect(), text.chars().collect());
            prop_assert_eq!(Wildcard::parse(&pattern).matches(&text), naive(&p, &t));
        }
    }

    fn scopes(of: &[&str], vhost: &str) -> Option<Scopes> {
        let claims = [("sub".to_owned(), Json::from("ann/*"))].into_iter().collect();
        Scopes::of(&of.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>(), &claims, vhost)
    }

    #[test]
    fn scopes_say_what_may_be_done_where() {
        let of = scopes(&["read:%2F/in-*", "write:*/out/k.*", "configure:other/*"], "/").unwrap();
        assert!(of.allows(Access::Read, "in-1") && !of.allows(Access::Read, "out"));
        assert!(of.allows(Access::Write, "out") && !of.allows(Access::Write, "in-1"));
        assert!(!of.allows(Access::Configure, "in-1"));
        assert!(of.topic_allows(Access::Write, "out", "k.1") && !of.topic_allows(Access::Write, "out", "j"));
        assert!(!of.topic_allows(Access::Read, "in-1", "k.1"), "a scope without a key says nothing of keys");
        assert!(scopes(&["read:other/*", "tag:administrator", "read:*", "read:a/b/c/d"], "/").is_none());
    }

    #[test]
    fn a_name_in_a_scope_is_filled_in_and_means_itself() {
        let of = scopes(&["read:{vhost}/{sub}-*", "write:*/{nobody}"], "/").unwrap();
        assert!(of.allows(Access::Read, "ann/*-1") && !of.allows(Access::Read, "ann/bob-1"));
        assert!(of.allows(Access::Write, "{nobody}") && !of.allows(Access::Write, "x"));
    }
}
