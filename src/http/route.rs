//! One route: a row of the table of all routes.

use std::pin::Pin;

use axum::http::Method;

use super::access::Access;
use super::{Answer, ApiError, Call};

/// What a route gives.
pub type Outcome = Result<Answer, ApiError>;
/// The same, later.
pub type Later = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// How a route does its work.
#[derive(Clone, Copy)]
pub enum Work {
    /// At once, on the thread that serves the socket: it takes no time, whatever the broker has.
    Quick(fn(&Call) -> Outcome),
    /// On a thread that may block: everything that walks many objects or changes something.
    Blocking(fn(&Call) -> Outcome),
    /// It waits for something.
    Awaiting(fn(Call) -> Later),
}

/// One route.
pub struct Route {
    pub method: Method,
    /// As axum writes it, with `{name}` for a part that varies; without the configured prefix.
    pub path: &'static str,
    pub access: Access,
    /// What it is for, in a line.
    pub help: &'static str,
    pub work: Work,
}

impl Route {
    const fn new(method: Method, path: &'static str, access: Access, help: &'static str, work: Work) -> Self {
        Self { method, path, access, help, work }
    }

    pub const fn get(path: &'static str, access: Access, help: &'static str, work: Work) -> Self {
        Self::new(Method::GET, path, access, help, work)
    }

    pub const fn put(path: &'static str, access: Access, help: &'static str, work: Work) -> Self {
        Self::new(Method::PUT, path, access, help, work)
    }

    pub const fn post(path: &'static str, access: Access, help: &'static str, work: Work) -> Self {
        Self::new(Method::POST, path, access, help, work)
    }

    pub const fn delete(path: &'static str, access: Access, help: &'static str, work: Work) -> Self {
        Self::new(Method::DELETE, path, access, help, work)
    }
}
