//! Definitions: everything that is declared in a broker, as RabbitMQ's JSON, and a broker made to be as such a file says.
//!
//! A file's way in: [`read`] turns its items into records of the catalog and tells of everything in it that is wrong, with
//! item and field. [`Plan`] compares them with what the broker has ([`existing`]) and knows the commands that would make it
//! so, and what cannot be. [`Plan::carry_out`] has the broker carry them out as one: all or nothing. [`start`] does that
//! with the files of the configuration before anybody is let in.
//!
//! Its way out: [`export`] writes what [`existing`] finds, in RabbitMQ's order.

mod changes;
mod existing;
mod export;
mod item;
mod plan;
mod problem;
mod read;
mod report;
mod start;
#[cfg(test)]
mod tests;

pub use existing::existing;
pub use export::export;
pub use plan::{Action, Difference, Mode, Plan};
pub use problem::{Problem, Problems};
pub use read::{Definitions, Reading};
pub use report::Report;
pub use start::{LoadError, load, readable};

/// The name of the parameter in which the broker keeps what it has loaded. It is shown to nobody.
pub const LOADED: &str = "imported_definition_hash_value";
