//! A request, as a route gets it: who calls, what the path and the query say, and the body.

use std::sync::Arc;

use axum::body::Bytes;
use axum::http::{HeaderMap, Method};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value as Json};

use super::body;
use super::fields::Shown;
use super::{ApiError, Caller, Http};
use crate::auth::{Access, Kind};
use crate::config::RatesMode;
use crate::frames::table::MAX_DEPTH;
use crate::logs::audit;
use crate::persist::definitions::depth;
use crate::vhost::{Applied, Broker, Command, Vhost};

/// One request that may be carried out.
#[derive(Clone)]
pub struct Call {
    pub http: Arc<Http>,
    /// The route's path, with its `{name}`s.
    pub route: &'static str,
    pub method: &'static Method,
    pub caller: Caller,
    /// What stands for the `{name}`s of the path.
    pub path: Vec<(String, String)>,
    pub query: Query,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Call {
    pub fn broker(&self) -> &Arc<Broker> {
        &self.http.shared.broker
    }

    /// A part of the path; empty for a name that the route does not have.
    pub fn path(&self, name: &str) -> &str {
        self.path.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// Which figures the answer may have. Through the local socket everything is shown that is not declined in the query.
    pub fn shown(&self) -> Shown {
        let management = &self.broker().config.management;
        let is_off = self.caller.user.is_some() && (management.disable_stats || management.disable_collector);
        match (is_off || self.query.is_true("disable_stats"), self.query.is_true("enable_queue_totals")) {
            (true, true) => Shown::Totals,
            (true, false) => Shown::NoStats,
            (false, _) if management.rates_mode == RatesMode::None => Shown::NoRates,
            (false, _) => Shown::All,
        }
    }

    /// The same of an exchange: the default one is written `amq.default`.
    pub fn exchange_name(&self, name: &str) -> &str {
        match self.path(name) {
            "amq.default" => "",
            other => other,
        }
    }

    /// The virtual host of the path.
    ///
    /// # Errors
    /// 404 when there is none of that name.
    pub fn vhost(&self) -> Result<Arc<Vhost>, ApiError> {
        self.broker().vhost(self.path("vhost")).ok_or_else(|| match *self.method {
            Method::GET | Method::DELETE => ApiError::not_found(),
            _ => ApiError::missing("vhost_not_found"),
        })
    }

    /// The virtual hosts that a list shows: the one of the path, or all that the caller may see; by name.
    ///
    /// # Errors
    /// 404 when there is none of the path's name.
    pub fn vhosts(&self) -> Result<Vec<Arc<Vhost>>, ApiError> {
        if self.path.iter().any(|(name, _)| name == "vhost") {
            return Ok(vec![self.vhost()?]);
        }
        let mut vhosts = self.broker().vhosts();
        vhosts.retain(|vhost| self.caller.may_see(self.broker(), &vhost.name));
        Ok(vhosts)
    }

    /// Changes something.
    ///
    /// # Errors
    /// Why the broker refuses.
    pub fn apply(&self, command: Command) -> Result<Applied, ApiError> {
        Ok(audit::at(&self.caller.place(), || self.broker().apply_as(command, self.caller.name()))?)
    }

    /// Tells the log and the audit log what the caller has done to messages.
    pub fn tell(&self, action: &str, what: &str) {
        let name = self.caller.name();
        audit::at(&self.caller.place(), || audit::change(name, action, what));
        tracing::info!(target: "leveret::queue", "{action} by {name}: {what}");
    }

    /// Checks the caller's permission on a queue or exchange; `what` is its text as in `queue 'q' in vhost '/'`.
    ///
    /// # Errors
    /// 401 when it is missing.
    pub fn check_permission(&self, access: Access, name: &str, what: &str) -> Result<(), ApiError> {
        let Some(user) = &self.caller.user else { return Ok(()) };
        let name = if name.is_empty() { "amq.default" } else { name };
        let now = self.broker().clock.now_ms();
        let permit = self.caller.permit(self.broker(), self.path("vhost"));
        if permit.is_some_and(|permit| permit.allows(access, Kind::of(what), name, now)) {
            return Ok(());
        }
        Err(ApiError::not_authorised(format!("{access} access to {what} refused for user '{}'", user.name)))
    }

    /// The body's fields, which must be among these.
    ///
    /// # Errors
    /// 400 when it is no object, or has other fields.
    pub fn fields(&self, names: &[&str]) -> Result<body::Fields, ApiError> {
        body::Fields::known(self.object()?, names)
    }

    /// The body as an object; an empty one is an empty object. What is in it may be stored, and has to be readable again where
    /// it lies deeper, as in definitions: so it is not nested as deep as the parser of JSON would take it.
    ///
    /// # Errors
    /// 400 for everything else.
    pub fn object(&self) -> Result<Map<String, Json>, ApiError> {
        if matches!(self.body.trim_ascii(), b"" | b"null" | b"undefined") {
            return Ok(Map::new());
        }
        match serde_json::from_slice(&self.body) {
            Ok(Json::Object(object)) if depth(object.values()) > MAX_DEPTH => {
                Err(ApiError::bad_request(format!("the body is nested more than {MAX_DEPTH} deep")))
            }
            Ok(Json::Object(object)) => Ok(object),
            Ok(Json::String(_)) => Err(ApiError::bad_request(
                "invalid payload: the request body JSON-decoded to a string. Is the input doubly-JSON-encoded?",
            )),
            Ok(_) => Err(ApiError::bad_request("not_json: the body must be a JSON object")),
            Err(error) => Err(ApiError::bad_request(format!("not_json: {error}"))),
        }
    }

    /// A header's text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// What follows the question mark.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Most pairs that are looked at.
    const MOST: usize = 100;

    /// # Errors
    /// 400 when it is not UTF-8.
    pub fn parse(text: &str) -> Result<Self, ApiError> {
        let decode = |part: &str| {
            let part = part.replace('+', " ");
            let decoded = percent_decode_str(&part).decode_utf8().map(std::borrow::Cow::into_owned);
            decoded.map_err(|_| ApiError::bad_request(format!("the query's '{part}' is not UTF-8")))
        };
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).take(Self::MOST);
        let pairs = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name)?, decode(value)?))
        });
        Ok(Self(pairs.collect::<Result<_, ApiError>>()?))
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// All values of a name that is given several times.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A name that is none of these, if there is one.
    pub fn other_than(&self, known: &[&str]) -> Option<&str> {
        self.0.iter().map(|(name, _)| name.as_str()).find(|name| !known.contains(name))
    }

    /// Whether it is `true`.
    pub fn is_true(&self, name: &str) -> bool {
        self.get(name) == Some("true")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_decoded() {
        let query = Query::parse("a=b%2Fc&d=x+y&&e&d=z").unwrap();
        assert_eq!((query.get("a"), query.get("d"), query.get("e")), (Some("b/c"), Some("x y"), Some("")));
        assert_eq!(query.all("d").collect::<Vec<_>>(), ["x y", "z"]);
        assert_eq!(Query::parse("a=%ff").unwrap_err().status, 400);
    }
}
