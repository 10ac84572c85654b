//! All users and permissions of the node, in memory, shared by all connections.
//!
//! The catalog, which keeps them on disk, calls the methods that change it; whether a vhost or a user exists is the
//! catalog's to check. Permissions of a user who is not there yet are kept and count once the user is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use super::password;
use super::permission::{PatternError, Permissions, Rules, TopicPermission};
use super::{Hashing, User};

/// Why a login was refused, in RabbitMQ's words. For the log: a client is not told the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    #[error("user '{0}' - invalid credentials")]
    InvalidCredentials(String),
    #[error(
        "user '{0}' attempted to log in with a blank password, which is prohibited by the internal authN backend. \
         Change the password for the user to be non-blank."
    )]
    BlankPassword(String),
}

/// Users and permissions. Changes and look-ups take a lock, [`Self::epoch`] does not.
#[derive(Debug)]
pub struct Directory {
    state: RwLock<State>,
    epoch: AtomicU64,
    loopback_users: RwLock<Vec<String>>,
}

#[derive(Debug, Default)]
struct State {
    users: BTreeMap<String, Arc<User>>,
    /// By user, then vhost.
    grants: BTreeMap<String, BTreeMap<String, Grant>>,
}

/// What one user has in one vhost.
#[derive(Clone, Debug, Default)]
struct Grant {
    permissions: Option<Permissions>,
    /// By exchange.
    topics: BTreeMap<String, TopicPermission>,
    /// Compiled from the above; none without `permissions`: topic permissions alone give no access.
    rules: Option<Arc<Rules>>,
}

impl Grant {
    fn compiled(mut self, user: &str, vhost: &str) -> Result<Self, PatternError> {
        let permissions = self.permissions.clone();
        // Topic permissions are checked also where they do not count yet.
        let rules = Rules::compile(user, vhost, &permissions.unwrap_or_else(Permissions::all), self.topics.values())?;
        self.rules = self.permissions.is_some().then(|| Arc::new(rules));
        Ok(self)
    }

    fn is_empty(&self) -> bool {
        self.permissions.is_none() && self.topics.is_empty()
    }
}

impl Directory {
    /// An empty directory. `loopback_users` may log in only from this machine.
    pub fn new(loopback_users: Vec<String>) -> Self {
        Self { state: RwLock::default(), epoch: AtomicU64::new(0), loopback_users: RwLock::new(loopback_users) }
    }

    /// Changes with every change of users and permissions. Read it before [`Self::rules`]: rules got at an epoch hold
    /// as long as the epoch is the same.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Adds a user or replaces the one of that name; permissions stay.
    pub fn put_user(&self, user: User) {
        self.change(|state| {
            state.users.insert(user.name.clone(), Arc::new(user));
        });
    }

    /// Removes a user and all its permissions; false when there was none.
    pub fn delete_user(&self, name: &str) -> bool {
        self.change(|state| {
            state.grants.remove(name);
            state.users.remove(name).is_some()
        })
    }

    pub fn user(&self, name: &str) -> Option<Arc<User>> {
        self.state.read().users.get(name).cloned()
    }

    /// All users, by name.
    pub fn users(&self) -> Vec<Arc<User>> {
        self.state.read().users.values().cloned().collect()
    }

    /// Gives a user access to a vhost. With an invalid pattern nothing changes.
    pub fn set_permissions(&self, user: &str, vhost: &str, permissions: Permissions) -> Result<(), PatternError> {
        self.change_grant(user, vhost, |grant| grant.permissions = Some(permissions))
    }

    /// Takes a user's access to a vhost away; topic permissions stay.
    pub fn clear_permissions(&self, user: &str, vhost: &str) {
        self.shrink_grant(user, vhost, |grant| grant.permissions = None);
    }

    /// Sets a user's topic permission for an exchange. With an invalid pattern nothing changes.
    pub fn set_topic_permission(&self, user: &str, vhost: &str, topic: TopicPermission) -> Result<(), PatternError> {
        self.change_grant(user, vhost, |grant| {
            grant.topics.insert(topic.exchange.clone(), topic);
        })
    }

    /// Removes a user's topic permission for an exchange, or for all exchanges of the vhost.
    pub fn clear_topic_permissions(&self, user: &str, vhost: &str, exchange: Option<&str>) {
        self.shrink_grant(user, vhost, |grant| match exchange {
            Some(exchange) => drop(grant.topics.remove(exchange)),
            None => grant.topics.clear(),
        });
    }

    /// Forgets all permissions in a vhost.
    pub fn remove_vhost(&self, vhost: &str) {
        self.change(|state| {
            state.grants.retain(|_, vhosts| {
                vhosts.remove(vhost);
                !vhosts.is_empty()
            });
        });
    }

    /// All permissions as (user, vhost, permissions), ordered.
    pub fn permissions(&self) -> Vec<(String, String, Permissions)> {
        let state = self.state.read();
        let grants = state.grants();
        grants.filter_map(|(u, v, grant)| Some((u.clone(), v.clone(), grant.permissions.clone()?))).collect()
    }

    /// All topic permissions as (user, vhost, permission), ordered.
    pub fn topic_permissions(&self) -> Vec<(String, String, TopicPermission)> {
        let state = self.state.read();
        let grants = state.grants();
        grants.flat_map(|(u, v, grant)| grant.topics.values().map(|t| (u.clone(), v.clone(), t.clone()))).collect()
    }

    /// Checks a password. An unknown user takes as long as a wrong password, so that names cannot be probed.
    pub fn authenticate(&self, name: &str, password: &[u8]) -> Result<Arc<User>, LoginError> {
        if password.is_empty() {
            return Err(LoginError::BlankPassword(name.to_owned()));
        }
        let user = self.user(name);
        let (stored, hashing) = match &user {
            Some(user) => (user.password_hash.as_deref().unwrap_or_default(), user.hashing),
            None => (NOBODY, Hashing::Sha256),
        };
        let is_right = password::verify(password, stored, hashing);
        user.filter(|_| is_right).ok_or_else(|| LoginError::InvalidCredentials(name.to_owned()))
    }

    /// Whether this user may log in only from this machine.
    pub fn is_loopback_only(&self, name: &str) -> bool {
        self.loopback_users.read().iter().any(|user| user == name)
    }

    /// Changes who may log in only from this machine.
    pub fn set_loopback_users(&self, users: Vec<String>) {
        *self.loopback_users.write() = users;
    }

    /// What a user may do in a vhost; none when there is no such user or it has no access to the vhost.
    pub fn rules(&self, user: &str, vhost: &str) -> Option<Arc<Rules>> {
        let state = self.state.read();
        state.users.get(user)?;
        state.grants.get(user)?.get(vhost)?.rules.clone()
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.write();
        let result = change(&mut state);
        // Under the lock: whoever sees the new epoch finds the new state.
        self.epoch.fetch_add(1, Ordering::Release);
        result
    }

    /// Changes a grant and compiles it; leaves it as it was when that fails.
    fn change_grant(&self, user: &str, vhost: &str, change: impl FnOnce(&mut Grant)) -> Result<(), PatternError> {
        self.change(|state| {
            let mut grant = state.grant(user, vhost).cloned().unwrap_or_default();
            change(&mut grant);
            let grant = grant.compiled(user, vhost)?;
            state.grants.entry(user.to_owned()).or_default().insert(vhost.to_owned(), grant);
            Ok(())
        })
    }

    /// Takes something out of a grant, and the grant away when nothing is left.
    fn shrink_grant(&self, user: &str, vhost: &str, change: impl FnOnce(&mut Grant)) {
        self.change(|state| {
            let Some(mut grant) = state.grant(user, vhost).cloned() else { return };
            change(&mut grant);
            let Some(vhosts) = state.grants.get_mut(user) else { return };
            vhosts.remove(vhost);
            // What compiled with more patterns compiles with fewer.
            if !grant.is_empty()
                && let Ok(grant) = grant.compiled(user, vhost)
            {
                vhosts.insert(vhost.to_owned(), grant);
            }
        });
    }
}

/// The hash of no password, compared for users who do not exist.
const NOBODY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

impl State {
    fn grant(&self, user: &str, vhost: &str) -> Option<&Grant> {
        self.grants.get(user)?.get(vhost)
    }

    fn grants(&self) -> impl Iterator<Item = (&String, &String, &Grant)> {
        self.grants.iter().flat_map(|(user, vhosts)| vhosts.iter().map(move |(vhost, grant)| (user, vhost, grant)))
    }
}

#[cfg(test)]
mod tests;
