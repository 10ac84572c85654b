//! Leveret: an AMQP 0-9-1 broker that RabbitMQ's clients use unchanged.
//!
//! The house, from the ground up; a floor knows only those below it.
//!
//! - [`frames`]: bytes to AMQP frames, methods, properties and tables, and back. [`config`]: `rabbit.conf` to one typed
//!   value. [`auth`]: users, passwords, permissions. [`tls`]: certificates and handshakes.
//!   [`clock`]: the time of day. [`message`]: a message as it is borrowed or held, and the account of memory.
//!   [`logs`]: the log. [`backends`]: services outside that say who may come in.
//!   [`dedup`]: which messages were published before. [`stats`]: counters and rates.
//!   [`rate`]: how much per second. [`notify`]: what the service manager hears. [`visible`]: names as terminals show them.
//!   [`plugins`]: RabbitMQ's, and which of them are here.
//! - [`exchange`]: the matching of messages to bindings. [`persist`]: what outlives the process. [`queue`]: the queue
//!   engine and what runs it; it stands on [`persist`].
//! - [`vhost`]: names to exchanges and queues; the one place where metadata changes.
//! - [`definitions`]: all of that as RabbitMQ's JSON, and a broker made to be as such a file says.
//! - [`connection`]: one client, from handshake to close.
//! - [`http`]: the management HTTP API.
//! - [`node`]: a running broker: listeners, clocks, stopping. [`store_tool`] and [`config_tool`]: what an operator does with
//!   the data and the configuration of a node that does not run. [`perf`] is a load generator, good against any broker.
//! - [`ctl`] is the operator's command line, a client of the HTTP API. [`usage`] makes completion and the manual page.
//!
//! A message's way: the connection's task reads a buffer, cuts frames in place, finds the queues of each publish in a
//! route cache, and puts the whole batch into each queue under one lock. The queue's engine hands messages on to
//! consumers there and then, by appending to their connections' outboxes, and wakes only those tasks that sleep.

pub mod auth;
pub mod backends;
pub mod clock;
pub mod config;
pub mod config_tool;
pub mod connection;
pub mod ctl;
pub mod dedup;
pub mod definitions;
pub mod exchange;
pub mod frames;
pub mod http;
pub mod logs;
pub mod message;
pub mod node;
pub mod notify;
pub mod perf;
pub mod persist;
pub mod plugins;
pub mod queue;
pub mod rate;
pub mod stats;
pub mod store_tool;
pub mod tls;
pub mod usage;
pub mod vhost;
pub mod visible;
