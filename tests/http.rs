//! The HTTP API as a tool sees it: the broker runs in this process, with port 0 and a data directory of its own, and a
//! plain client speaks HTTP/1.1 to it.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

mod http {
    mod harness;

    mod access;
    mod bad_input;
    mod configuration;
    mod definitions;
    mod health;
    mod logs;
    mod messages;
    mod objects;
    mod permissions;
    mod policies;
    mod server;
    mod users;
}
