//! `leveret ctl` as scripts see it: the built binary is run against a broker of this process, with a data directory of its
//! own, and what it writes and with which code it ends is compared with what RabbitMQ 3.10's tools do for the same state. For
//! what is not there the code is always 65 (67 for a user), where RabbitMQ's commands have 64, 65, 67 or 69.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

#[path = "compat"]
#[allow(dead_code, unused_imports, reason = "other tests use more of it")]
mod compat {
    pub mod harness;
}

mod ctl {
    #[allow(dead_code)]
    #[path = "../http/harness.rs"]
    mod broker;
    mod harness;

    mod access;
    mod connections;
    mod explain;
    mod messages;
    mod node;
    mod objects;
    mod tool;
}
