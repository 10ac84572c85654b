//! What a binding is apart from its destination: its key and its arguments.

use std::hash::{Hash, Hasher};

use crate::frames::Table;

/// Key and arguments of a binding. Two are the same when their keys are and their sorted arguments are written in the
/// same bytes: value and type both count, and so does a NaN.
#[derive(Debug)]
pub struct Spec {
    pub key: Box<str>,
    /// Sorted by key.
    pub arguments: Table,
}

impl Spec {
    pub fn new(key: &str, arguments: &Table) -> Self {
        Self { key: key.into(), arguments: arguments.clone().sorted() }
    }

    fn encoded_arguments(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if !self.arguments.is_empty() {
            self.arguments.encode(&mut bytes);
        }
        bytes
    }
}

impl PartialEq for Spec {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
            && self.arguments.len() == other.arguments.len()
            && self.encoded_arguments() == other.encoded_arguments()
    }
}

impl Eq for Spec {}

impl Hash for Spec {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
        self.encoded_arguments().hash(state);
    }
}
