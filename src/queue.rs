//! Queues: the engine that decides, and the lock that runs it.
//!
//! [`engine::Engine`] is the pure state machine of one queue: ready messages, unacked ones, consumers and their credit. [`local::Queue`] puts it
//! behind a short lock; whoever brings work (a publish, an ack, a consumer) runs it and writes the deliveries straight
//! into the consumers' outlets. [`arguments`] checks what a queue is declared with, [`policy`] what policies say,
//! and [`settings`] is what both come to.
//!
//! Lock order everywhere: queue, then outlet. No lock is held across an await or a socket write.

pub mod arguments;
pub mod counting;
mod departing;
pub mod engine;
pub mod entries;
pub mod inventory;
pub mod letter;
pub mod local;
pub mod policy;
mod rare;
mod repetitions;
pub mod settings;
mod stored;
pub mod timekeeper;
pub mod watched;

pub use engine::{Accept, ConsumerKey, Settlement};
pub use local::{Outlet, Queue, QueueSpec, Wakes};
