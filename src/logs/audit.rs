//! The audit log: every change of metadata, every login and refusal: when, who, from where, what. Never a password or a hash.
//!
//! It is off unless `log.audit` names a file; then nothing is put together for it.

use std::cell::RefCell;

use tracing::Level;

thread_local! {
    /// Where what this thread does just now comes from.
    static FROM: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Whether it is written.
pub fn is_on() -> bool {
    tracing::enabled!(target: "leveret::audit", Level::INFO)
}

/// Does something on behalf of somebody at that address: what it changes is noted with it.
pub fn at<T>(place: &str, work: impl FnOnce() -> T) -> T {
    if !is_on() {
        return work();
    }
    let before = FROM.replace(place.to_owned());
    let done = work();
    FROM.set(before);
    done
}

/// A change that has been made.
pub fn change(user: &str, action: &str, what: &str) {
    FROM.with_borrow(|from| {
        tracing::info!(target: "leveret::audit", user, from = from.as_str(), action, result = "ok", "{what}");
    });
}

/// A change that has been refused.
pub fn refused(user: &str, action: &str, what: &str, why: &str) {
    FROM.with_borrow(|from| {
        tracing::info!(target: "leveret::audit", user, from = from.as_str(), action, result = "refused", why, "{what}");
    });
}

/// Somebody came in, or left.
pub fn login(user: &str, from: &str, action: &str, what: &str) {
    tracing::info!(target: "leveret::audit", user, from, action, result = "ok", "{what}");
}

/// Somebody was not let in.
pub fn login_refused(user: &str, from: &str, why: &str) {
    tracing::info!(target: "leveret::audit", user, from, action = "login", result = "refused", "{why}");
}
