//! Who calls, and which routes are theirs.
//!
//! Whoever reaches the socket in the data directory owns the broker, and counts as administrator. Everyone else logs in by
//! HTTP's Basic scheme, or with a token by its Bearer scheme, as a user who has one of the tags `administrator`, `monitoring`, `policymaker` or
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
use crate::auth::{Login, Permit, Protocol, Rights, User};
use crate::backends::Claim;
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
    /// Who says what the user may do.
    pub rights: Rights,
}

impl Caller {
    pub fn local() -> Self {
        Self::nobody(Peer::Local)
    }

    /// Someone who need not log in.
    pub fn nobody(peer: Peer) -> Self {
        Self { peer, user: None, rights: Rights::Internal }
    }

    /// What the user may do in a virtual host; none when it may not enter.
    pub fn permit(&self, broker: &Broker, vhost: &str) -> Option<Permit> {
        let user = self.user.as_ref()?;
        self.rights.permit(&broker.directory, &user.name, vhost, broker.clock.now_ms())
    }

    /// The user is one of the directory, and its permissions stand there.
    pub fn is_internal(&self) -> bool {
        self.user.is_some() && matches!(self.rights, Rights::Internal)
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
            Some(_) => self.permit(broker, vhost).is_some(),
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
    let (claim, by_token) = match bearer(headers) {
        Some(token) => (Claim { name: String::new(), password: Some(token), peer }, true),
        None if broker.config.management.disable_basic_auth => {
            return Err(ApiError::not_authorised("HTTP access denied: basic auth disabled"));
        }
        None => {
            let (name, password) = basic(headers).ok_or_else(ApiError::not_authenticated)?;
            (Claim { name, password: Some(password), peer }, false)
        }
    };
    let backends = &broker.backends;
    let result = match (by_token, &claim.password) {
        (true, _) => backends.bear(&broker.directory, &broker.clock, &claim).await,
        (false, Some(password)) if backends.are_internal() => {
            let user = broker.directory.authenticate(&claim.name, password);
            user.map(Login::internal).map_err(|error| error.to_string())
        }
        _ => backends.log_in(&broker.directory, &broker.clock, &claim).await,
    };
    let login = match result {
        Ok(login) => login,
        Err(error) => {
            tracing::warn!(target: "leveret::http", "HTTP access denied: {error} ({peer})");
            audit::login_refused(&claim.name, &peer.to_string(), &error);
            broker.logins.note(Protocol::Http, peer, &claim.name, false);
            let now = Duration::from_nanos(rate::now());
            let wait = broker.attempts.lock().failed(peer, &claim.name, now);
            tokio::time::sleep(wait).await;
            return Err(ApiError::not_authenticated());
        }
    };
    let name = &login.user.name;
    broker.attempts.lock().succeeded(name);
    if broker.directory.is_loopback_only(name) && !peer.to_canonical().is_loopback() {
        tracing::warn!(target: "leveret::http", "HTTP access denied: user '{name}' can only log in via localhost ({peer})");
        broker.logins.note(Protocol::Http, peer, name, false);
        return Err(ApiError::not_authorised("User can only log in via localhost"));
    }
    broker.logins.note(Protocol::Http, peer, name, true);
    if let Rights::Asked(answers) = &login.rights {
        // What is said holds for this request.
        answers.hold(broker.clock.now_ms());
    }
    Ok(Caller { peer: Peer::Network(peer), user: Some(login.user), rights: login.rights })
}

/// The token of HTTP's Bearer scheme.
fn bearer(headers: &HeaderMap) -> Option<Vec<u8>> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().as_bytes().to_vec())
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
