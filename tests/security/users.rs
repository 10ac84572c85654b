//! Users of the broker under test.

use crate::compat::harness::Broker;

impl Broker {
    /// A user whose password is its name and who may do everything in `/`.
    pub fn put_user(&self, name: &str) {
        self.add_user(name, name);
        self.set_permissions(name, "/", ".*", ".*", ".*");
    }
}
