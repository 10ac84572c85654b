//! All connections of a node: how many each user and virtual host has, and how to reach them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use parking_lot::Mutex;

use super::outbox::Outbox;
use crate::frames::{Refusal, ReplyCode, Table};
use crate::tls::Secured;

/// What clients hear when the node stops to serve them.
pub const SHUTDOWN: &str = "broker forced connection closure with reason 'shutdown'";

/// A connection that is open.
#[derive(Clone)]
pub struct Registered {
    pub outbox: Arc<Outbox>,
    /// `127.0.0.1:40404 -> 127.0.0.1:5672`
    pub name: Arc<str>,
    pub user: Arc<str>,
    pub vhost: Arc<str>,
    pub about: Arc<About>,
}

/// What a connection was opened with.
#[derive(Clone, Debug, Default)]
pub struct About {
    pub client_properties: Table,
    pub mechanism: String,
    /// In milliseconds since 1970.
    pub connected_at: u64,
    pub channel_max: u16,
    pub frame_max: u32,
    /// Seconds.
    pub heartbeat: u16,
    /// How it is secured, if it is.
    pub secured: Option<Arc<Secured>>,
}

/// Connections by number.
#[derive(Default)]
pub struct Registry {
    open: Mutex<HashMap<u64, Registered>>,
    /// Nobody may come in. Changed and, by who comes in, read under the lock of those who have.
    is_shut: AtomicBool,
}

/// Most connections, where there is a limit.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    pub node: Option<u64>,
    pub vhost: Option<u64>,
    pub user: Option<u64>,
}

impl Registry {
    /// Adds a connection.
    ///
    /// # Errors
    /// 530 when a limit is reached, in RabbitMQ's words; 320 while the registry is shut.
    pub fn add(&self, connection: Registered, limits: Limits) -> Result<(), Refusal> {
        let mut open = self.open.lock();
        if self.is_shut.load(Relaxed) {
            return Err(Refusal::new(ReplyCode::ConnectionForced, SHUTDOWN));
        }
        check(&open, &connection, limits)?;
        open.insert(connection.outbox.connection, connection);
        Ok(())
    }

    /// Whether [`Registry::add`] would do now.
    ///
    /// # Errors
    /// As there.
    pub fn check(&self, connection: &Registered, limits: Limits) -> Result<(), Refusal> {
        check(&self.open.lock(), connection, limits)
    }

    pub fn remove(&self, number: u64) -> Option<Registered> {
        self.open.lock().remove(&number)
    }

    /// A connection, by its number.
    pub fn get(&self, number: u64) -> Option<Registered> {
        self.open.lock().get(&number).cloned()
    }

    pub fn count(&self) -> usize {
        self.open.lock().len()
    }

    /// All connections, in no particular order.
    pub fn all(&self) -> Vec<Registered> {
        self.open.lock().values().cloned().collect()
    }

    /// Lets nobody in any more, or again.
    pub fn shut(&self, shut: bool) {
        let _open = self.open.lock();
        self.is_shut.store(shut, Relaxed);
    }

    /// Ends all connections at once, whatever their clients say.
    pub fn end_all(&self) {
        self.all().iter().for_each(|connection| connection.outbox.request_end());
    }

    /// Asks connections to end with 320 and a reason.
    pub fn close_where(&self, reason: &str, which: impl Fn(&Registered) -> bool) {
        let leaving: Vec<_> = self.all().into_iter().filter(which).collect();
        // What one of them gives back must not go to another that is leaving too.
        leaving.iter().for_each(|connection| connection.outbox.refuse_deliveries());
        for connection in leaving {
            connection.outbox.request_close(Refusal::new(ReplyCode::ConnectionForced, reason));
        }
    }
}

fn check(open: &HashMap<u64, Registered>, connection: &Registered, limits: Limits) -> Result<(), Refusal> {
    let (user, vhost) = (&connection.user, &connection.vhost);
    let count = |of: &dyn Fn(&Registered) -> bool| open.values().filter(|c| of(c)).count() as u64;
    if let Some(most) = limits.node
        && open.len() as u64 >= most
    {
        return Err(Refusal::not_allowed(format!("connection refused: node connection limit ({most}) is reached")));
    }
    if let Some(most) = limits.vhost
        && count(&|c| c.vhost == *vhost) >= most
    {
        return Err(Refusal::not_allowed(format!(
            "access to vhost '{vhost}' refused for user '{user}': connection limit ({most}) is reached"
        )));
    }
    if let Some(most) = limits.user
        && count(&|c| c.user == *user) >= most
    {
        return Err(Refusal::not_allowed(format!(
            "connection refused for user '{user}': user connection limit ({most}) is reached"
        )));
    }
    Ok(())
}
