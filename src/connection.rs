//! One client: bytes in, broker calls, bytes out.
//!
//! - [`handshake`] and [`channel`] are the protocol's state machines. They know no socket, clock or broker: frames go
//!   in, inputs and errors come out. [`ledger`] (unacked delivery tags) and [`confirms`] (publisher confirms) are pure
//!   too.
//! - [`outbox`] is the write side of a connection: one bounded buffer that the connection's own task and every queue
//!   with a consumer here write into, and ([`deliveries`]) the delivery state of the channels.
//! - [`session`] carries out what a client asks for: [`publish`] routes ([`routes`]) and enqueues batch-wise, [`acks`] settles,
//!   [`consume`], [`declare`] and [`tx`] do the rest.
//! - [`machine`] is a whole connection without its socket: login ([`login`]), frames to their channels, errors to closes,
//!   heartbeats. [`driver`] is the task around it, [`wire`] and [`socket`] its way to the client.
//! - [`entrance`] is what comes before AMQP: the header of a proxy ([`proxy`]), TLS. [`pacing`] keeps the rates of publishing.
//! - [`registry`] knows all connections of the node. [`counting`] is what they count ([`apart`] by exchange and
//!   queue), [`census`] what that adds up to, [`uses`] what the node uses.
//!
//! A read goes through all of this without an await unless a durable change has to reach the disk first.

pub mod acks;
pub mod apart;
pub mod census;
pub mod channel;
pub mod confirms;
pub mod consume;
pub mod counting;
pub mod declare;
pub mod deliveries;
pub mod driver;
pub mod entrance;
pub mod error;
pub mod events;
pub mod firehose;
pub mod handshake;
pub mod ledger;
pub mod login;
pub mod machine;
pub mod outbox;
pub mod pacing;
pub mod proxy;
pub mod publish;
pub mod registry;
pub mod rights;
pub mod routes;
pub mod session;
pub mod socket;
pub mod timeouts;
pub mod tx;
pub mod uses;
pub mod wire;

pub use error::Failure;
