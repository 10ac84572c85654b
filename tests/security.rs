//! Who gets in, and what it may do then: TLS and client certificates, logins, tokens, proxies, rates.
//!
//! The broker runs in this process on a free port; certificates are made by the tests.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

#[path = "compat"]
#[allow(dead_code, unused_imports, reason = "other tests use more of it")]
mod compat {
    pub mod harness;
}

#[path = "http"]
#[allow(dead_code, unused_imports, clippy::unwrap_used, reason = "other tests use more of it")]
mod http {
    pub mod harness;
}

mod security {
    mod certificates;
    mod logs;
    mod service;
    mod users;

    mod backends;
    mod external;
    mod https;
    mod proxy;
    mod rates;
    mod revocation;
    mod tls;
    mod tokens;
}
