//! The commands, by what they are about. Each file has its rows of the table and the functions that carry them out.

pub mod checks;
pub mod cluster;
pub mod configuration;
pub mod connections;
pub mod definitions;
pub mod erlang;
pub mod explain;
pub mod flags;
pub mod limits;
pub mod lists;
pub mod logs;
pub mod node;
pub mod parameters;
pub mod permissions;
pub mod plugins;
pub mod policies;
pub mod queues;
pub mod replicas;
pub mod status;
pub mod tool;
pub mod upgrade;
pub mod users;
pub mod vhosts;

use serde_json::Value as Json;

use super::command::Tool;
use super::exit::{Failure, code};

/// Commands that several tools have.
const EVERYWHERE: &[Tool] = &[Tool::Ctl, Tool::Diagnostics, Tool::Queues, Tool::Plugins, Tool::Upgrade];
const CTL_AND_DIAGNOSTICS: &[Tool] = &[Tool::Ctl, Tool::Diagnostics];
const DIAGNOSTICS: &[Tool] = &[Tool::Diagnostics];

/// A JSON argument.
fn json_argument(text: &str) -> Result<Json, Failure> {
    serde_json::from_str(text).map_err(|error| Failure::refused(format!("JSON decoding error. Reason: {error}")))
}

/// A word that must not be empty.
fn named<'a>(what: &str, word: &'a str) -> Result<&'a str, Failure> {
    match word {
        "" => Err(Failure::bad_argument(format!("Bad argument: {what} cannot be an empty string"))),
        word => Ok(word),
    }
}

/// For what needs more than one node.
fn needs_cluster(what: &str) -> Failure {
    Failure::error(
        code::UNAVAILABLE,
        format!("{what}: this version runs as a single node; clustering comes with the next stage of Leveret"),
    )
}
