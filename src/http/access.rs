//! Who calls, and which routes are theirs.
//!
//! Whoever reaches the socket in the data directory owns the broker, and counts as administrator. Everyone else logs in by
//! HTTP's Basic scheme as a user of the broker who has one of the tags `administrator`, `monitoring`, `policymaker` or
//! `management`.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::ApiError;
use crate::auth::User;
use crate::logs::audit;
use crate::rate;
use crate::vhost::Broker;

/// Who may use a route. Each of them needs one of the four tags, but for `Open`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everyone, without a login.
    Open,
    /// Every user with a management tag.
    Login,
    /// An administrator, or who may enter the virtual host of the path.
    Vhost,
    /// The same, or the tag `monitoring`.
    VisibleVhost,
    /// The tag `monitoring`.
    Monitoring,
    /// The tag `policymaker`, for a virtual host that the user may enter.
    Policies,
    /// The tag `policymaker`.
    Policymaker,
    Administrator,
}

/// Where a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Through the socket in the data directory.
    Local,
    Network(IpAddr),
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.write_str("local socket"),
            Self::Network(address) => address.fmt(f),
        }
    }
}

/// Who calls.
#[derive(Clone, Debug)]
pub struct Caller {
    pub peer: Peer,
    /// None where nobody has to log in.
    pub user: Option<Arc<User>>,
}

impl Caller {
    pub fn local() -> Self {
        Self { peer: Peer::Local, user: None }
    }

    /// As logs and the audit call them.
    pub fn name(&self) -> &str {
        match (&self.user, self.peer) {
            (Some(user), _) => &user.name,
            (None, Peer::Local) => "local operator",
            (None, Peer::Network(_)) => "nobody",
        }
    }

    /// Where the request comes from, likewise.
    pub fn place(&self) -> String {
        self.peer.to_string()
    }

    fn has_tag(&self, tags: &[&str]) -> bool {
        let is_tagged = |user: &Arc<User>| user.tags.iter().any(|tag| tags.contains(&tag.as_str()));
        self.peer == Peer::Local || self.user.as_ref().is_some_and(is_tagged)
    }

    pub fn is_administrator(&self) -> bool {
        self.has_tag(&["administrator"])
    }

    pub fn is_monitor(&self) -> bool {
        self.has_tag(&["administrator", "monitoring"])
    }

    pub fn is_policymaker(&self) -> bool {
        self.has_tag(&["administrator", "policymaker"])
    }

    fn is_management(&self) -> bool {
        self.has_tag(&["administrator", "monitoring", "policymaker", "management"])
    }

    /// Whether the user has permissions in a virtual host.
    pub fn may_enter(&self, broker: &Broker, vhost: &str) -> bool {
        match &self.user {
            Some(user) => broker.directory.rules(&user.name, vhost).is_some(),
            None => self.peer == Peer::Local,
        }
    }

    /// Whether what is in a virtual host is listed for the user.
    pub fn may_see(&self, broker: &Broker, vhost: &str) -> bool {
        self.is_administrator() || self.may_enter(broker, vhost)
    }
}

impl Access {
    /// Whether a route is the caller's; `vhost` is the one that its path names.
    ///
    /// # Errors
    /// 401, in RabbitMQ's words.
    pub fn check(self, caller: &Caller, broker: &Broker, vhost: Option<&str>) -> Result<(), ApiError> {
        if self == Self::Open {
            return Ok(());
        }
        if !caller.is_management() {
            return Err(ApiError::not_authorised("Not management user"));
        }
        // Of a virtual host that is not there everybody may hear so.
        let may_enter = || vhost.is_none_or(|name| broker.vhost(name).is_none() || caller.may_enter(broker, name));
        let (is_allowed, reason) = match self {
            Self::Open | Self::Login => (true, ""),
            Self::Administrator => (caller.is_administrator(), "Not administrator user"),
            Self::Monitoring => (caller.is_monitor(), "Not monitor user"),
            Self::Vhost => (caller.is_administrator() || may_enter(), "User not authorised to access virtual host"),
            Self::VisibleVhost => (caller.is_monitor() || may_enter(), "User not authorised to access virtual host"),
            Self::Policies => (
                caller.is_administrator() || (caller.is_policymaker() && may_enter()),
                "User not authorised to access object",
            ),
            Self::Policymaker => (caller.is_policymaker(), "User not authorised to access object"),
        };
        is_allowed.then_some(()).ok_or_else(|| ApiError::not_authorised(reason))
    }
}

/// Finds out who calls from the network.
///
/// # Errors
/// 401 for everyone who is not a user of the broker, or not from here.
pub async fn authenticate(broker: &Broker, headers: &HeaderMap, peer: IpAddr) -> Result<Caller, ApiError> {
    if broker.config.management.disable_basic_auth {
        return Err(ApiError::not_authorised("HTTP access denied: basic auth disabled"));
    }
    let (name, password) = basic(headers).ok_or_else(ApiError::not_authenticated)?;
    let user = match broker.directory.authenticate(&name, &password) {
        Ok(user) => user,
        Err(error) => {
            tracing::warn!(target: "leveret::http", "HTTP access denied: {error} ({peer})");
            audit::login_refused(&name, &peer.to_string(), &error.to_string());
            let now = Duration::from_nanos(rate::now());
            let wait = broker.attempts.lock().failed(peer, &name, now);
            tokio::time::sleep(wait).await;
            return Err(ApiError::not_authenticated());
        }
    };
    broker.attempts.lock().succeeded(&user.name);
    if broker.directory.is_loopback_only(&user.name) && !peer.to_canonical().is_loopback() {
        tracing::warn!(target: "leveret::http", "HTTP access denied: user '{name}' can only log in via localhost ({peer})");
        return Err(ApiError::not_authorised("User can only log in via localhost"));
    }
    Ok(Caller { peer: Peer::Network(peer), user: Some(user) })
}

/// Name and password of HTTP's Basic scheme.
fn basic(headers: &HeaderMap) -> Option<(String, Vec<u8>)> {
    let text = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, credentials) = text.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = STANDARD.decode(credentials.trim()).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let (name, password) = decoded.split_at_checked(colon)?;
    Some((String::from_utf8(name.to_vec()).ok()?, password.get(1..)?.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::message::memory::MemoryAccount;
    use crate::persist::catalog::NoCatalog;

    #[tokio::test]
    async fn users_of_this_machine_are_let_in_from_it_only() {
        let broker = Broker::start(Config::default(), Box::new(NoCatalog), MemoryAccount::new(1 << 30), None).unwrap();
        let credentials = STANDARD.encode("guest:guest");
        let headers = HeaderMap::from_iter([(AUTHORIZATION, format!("Basic {credentials}").parse().unwrap())]);
        for here in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            let caller = authenticate(&broker, &headers, here.parse().unwrap()).await.unwrap();
            assert_eq!(caller.name(), "guest");
        }
        for elsewhere in ["10.0.0.1", "2001:db8::1", "::ffff:10.0.0.1"] {
            let refused = authenticate(&broker, &headers, elsewhere.parse().unwrap()).await.unwrap_err();
            assert_eq!((refused.status.as_u16(), &*refused.reason), (401, "User can only log in via localhost"));
        }
    }
}
