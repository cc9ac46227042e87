//! A backend that waits at a gate: for the tests and the models of the queue.

use super::Backend;
use crate::error::DeviceError;
use crate::queue::IoOperation;
use crate::sync::{Condvar, Mutex};

/// Executes nothing before it is open.
pub(super) struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    pub(super) fn new() -> Self {
        Self { open: Mutex::new(false), opened: Condvar::new() }
    }

    /// Lets all requests go on.
    pub(super) fn open(&self) {
        *self.open.lock() = true;
        self.opened.notify_all();
    }
}

impl Backend for Gate {
    fn execute(&self, _offset: u64, _operation: &IoOperation) -> Result<usize, DeviceError> {
        let mut open = self.open.lock();
        while !*open {
            open = self.opened.wait(open);
        }
        Ok(0)
    }
}
