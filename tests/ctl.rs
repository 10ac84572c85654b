//! `leveret ctl` as scripts see it: the built binary is run against a broker of this process, with a data directory of its
//! own, and what it writes and with which code it ends is compared with what RabbitMQ 3.10's tools do for the same state.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

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
