//! Virtual hosts: names to exchanges and queues, and every change of them.
//!
//! [`broker::Broker`] holds what a node has: virtual hosts, users, the catalog, the memory account. Every change of
//! metadata is one [`command::Command`]; [`Broker::apply`](broker::Broker::apply) is the one place where it is checked,
//! written to the catalog and published; a [`batch`] of them is carried out as one. A [`topology::Vhost`] answers lookups, and [`route`] turns an exchange and
//! routing keys into queues. [`policies`] say what is in force for queues and exchanges, [`parameters`] are kept for others. Each change moves the virtual host's epoch on, which makes cached routes stale.

pub mod apply;
pub mod batch;
pub mod bindings;
pub mod broker;
mod changes;
pub mod channels;
pub mod command;
pub mod declare;
pub mod events;
pub mod firehose;
pub mod flows;
pub mod limits;
pub mod log_exchange;
pub mod moving;
pub mod names;
mod own;
pub mod parameters;
pub mod policies;
pub mod post;
pub mod quotas;
pub mod recall;
pub mod reload;
pub mod route;
pub mod submit;
#[cfg(test)]
mod test_catalog;
pub mod throttles;
pub mod topology;

pub use batch::{Effect, Objection};
pub use broker::Broker;
pub use command::{Applied, Command};
pub use policies::{EffectivePolicy, Policy};
pub use topology::{Destination, Exchange, Vhost};
