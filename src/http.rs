//! The management HTTP API: what operators and their tools see and change, with RabbitMQ's paths, fields and codes.
//!
//! [`server`] accepts connections, on a port and on a socket in the data directory, and hands each request to the one
//! [`router`]. That is made from [`routes::all`], the table of all [`Route`]s: method, path, who may, what it is for, what it
//! does. [`access`] finds out who calls and whether the route is theirs; then the body is read, within limits, and the route
//! gets a [`Call`] and gives an [`Answer`] or an [`ApiError`]. Most routes work on a thread that may block; changes are
//! answered once they are on disk. [`listing`] is the sorting, filtering, paging and choice of columns that all lists share.

pub mod access;
pub mod answer;
pub mod body;
pub mod call;
mod cors;
pub mod error;
pub mod fields;
pub mod figures;
pub mod filter;
pub mod listing;
pub mod message;
pub mod metrics;
mod patient;
pub mod pid;
mod places;
pub mod process;
pub mod route;
pub mod router;
pub mod routes;
pub mod samples;
pub mod server;
pub mod socket;

use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::watch;

pub use access::{Access, Caller};
pub use answer::Answer;
pub use call::Call;
pub use error::ApiError;
pub use route::{Route, Work};

use crate::connection::login::COMPATIBLE_VERSION;
use crate::connection::machine::Shared;
use crate::vhost::Broker;

/// What routes work on.
pub struct Http {
    pub shared: Arc<Shared>,
    pub node: Arc<dyn Control>,
    pub started: SystemTime,
    /// The data directory's own, which outlives the node's name.
    pub permanent_id: String,
    /// True once the node stops: nobody is kept waiting then.
    pub stopping: watch::Receiver<bool>,
}

/// What the node has done by the HTTP API, which stands below it.
pub trait Control: Send + Sync {
    /// What is listened on.
    fn listeners(&self) -> Vec<ListenerInfo>;

    /// Whether clients are served.
    fn phase(&self) -> Phase;

    /// Goes over to another phase, and returns when it is reached. It may take seconds.
    ///
    /// # Errors
    /// What stands in the way, such as an address that is taken.
    fn enter(&self, phase: Phase) -> Result<(), String>;

    /// Has the process stop soon.
    fn stop(&self);

    /// What counts as the machine's memory, in bytes.
    fn total_memory(&self) -> u64;
}

/// Whether clients are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Running,
    /// New connections are not taken.
    Suspended,
    /// The same, and those that there were have been closed: maintenance.
    Drained,
    /// The same, and what does not survive a restart is gone.
    Stopped,
}

impl Phase {
    /// For the log.
    pub fn told(self) -> &'static str {
        match self {
            Self::Running => "clients are served (again)",
            Self::Suspended => "listeners are suspended: no new client connections are accepted",
            Self::Drained => "maintenance: client connections are closed and no new ones accepted",
            Self::Stopped => "the app is stopped: client connections are closed and no new ones accepted",
        }
    }
}

/// Something that is listened on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerInfo {
    /// RabbitMQ's name of the protocol, such as `amqp` or `http`.
    pub protocol: &'static str,
    pub address: std::net::SocketAddr,
    /// What it serves, in words.
    pub purpose: &'static str,
}

impl Http {
    pub fn broker(&self) -> &Arc<Broker> {
        &self.shared.broker
    }

    pub fn node_name(&self) -> &str {
        self.shared.broker.node_name()
    }

    /// Returns when the node stops.
    pub async fn stops(&self) {
        // Nobody left who could tell is the same.
        let _ = self.stopping.clone().wait_for(|stop| *stop).await;
    }

    pub fn permanent_id(&self) -> &str {
        &self.permanent_id
    }

    /// The RabbitMQ version whose behaviour clients may count on.
    pub fn version(&self) -> &str {
        self.broker().config.identity.product_version.as_deref().unwrap_or(COMPATIBLE_VERSION)
    }

    pub fn product_name(&self) -> &str {
        self.broker().config.identity.product_name.as_deref().unwrap_or("Leveret")
    }
}
