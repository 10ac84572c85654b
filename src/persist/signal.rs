//! A bell: rung by many, heard by one thread.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// Remembers that it was rung until somebody has heard it.
#[derive(Debug, Default)]
pub struct Signal {
    rung: Mutex<bool>,
    bell: Condvar,
}

impl Signal {
    pub fn ring(&self) {
        *self.rung.lock() = true;
        self.bell.notify_one();
    }

    /// Waits until it is rung, or until the time is over; true when it was rung.
    pub fn wait(&self, longest: Duration) -> bool {
        let mut rung = self.rung.lock();
        if !*rung {
            self.bell.wait_for(&mut rung, longest);
        }
        std::mem::take(&mut *rung)
    }
}
