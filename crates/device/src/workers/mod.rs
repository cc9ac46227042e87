//! The portable queue: positioned I/O on worker threads, for every device whose calls block.
//!
//! Callers: `files`; any device that can say "do this one request now" ([`Backend`]) gets queues from here.
//!
//! ```text
//!   owner's thread                    workers of the device (started when there is work)
//!   ------------------------------    -----------------------------------------------------
//!   submit -> backlog
//!   kick   -> jobs (one lock) ------> take a job -> Backend::execute -> Mailbox::post
//!   reap   <- Mailbox::take  <------------------------------------------------'
//!   reap of a single request: Backend::execute right here, no other thread is involved
//! ```
//!
//! | part | state | who touches it |
//! |---|---|---|
//! | `WorkerQueue` | backlog, number of started requests | its owner's thread only |
//! | `Mailbox` | finished requests of one queue, its hold on the backend | owner, workers, the device's drop |
//! | [`WorkerPool`] | jobs of all queues, the threads | everybody, for a few instructions |
//!
//! Rules:
//! 1. A request taken from the jobs is always answered: a panic of the backend becomes an error completion.
//! 2. A pool that closes executes what it has accepted, joins its threads, and then takes the backend out of every
//!    mailbox. From then on queues hold no file, and complete everything as `Closed`.
//! 3. Lock order: none is ever taken while another is held.
//! 4. Whoever changes a mailbox wakes all its waiters (owner and closer may wait at the same time).
//!
//! `model.rs` runs this very code under loom.

mod mailbox;
mod pool;
mod queue;

#[cfg(test)]
mod gate;
#[cfg(all(loom, test))]
mod model;
#[cfg(all(test, not(loom)))]
mod tests;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::{DeviceError, DeviceErrorKind};
use crate::queue::{Completion, IoOperation, IoRequest};

#[cfg_attr(loom, allow(unused_imports, reason = "files have no word memory under loom"))]
pub(crate) use {pool::WorkerPool, queue::WorkerQueue};

/// A device that answers one request at a time on the thread that asks.
pub(crate) trait Backend: Send + Sync + 'static {
    /// Does `operation` at `offset` and says how many bytes moved. May block.
    fn execute(&self, offset: u64, operation: &IoOperation) -> Result<usize, DeviceError>;
}

/// Executes a request and makes its completion, whatever happens (rule 1).
fn complete<B: Backend>(backend: &B, request: IoRequest) -> Completion {
    let IoRequest { tag, offset, operation } = request;
    let result = catch_unwind(AssertUnwindSafe(|| backend.execute(offset, &operation)))
        .unwrap_or_else(|panic| Err(panicked(panic.as_ref()).at_offset(offset)));
    Completion { tag, offset, result, operation }
}

fn complete_closed(request: IoRequest) -> Completion {
    let IoRequest { tag, offset, operation } = request;
    let error = DeviceError::new(DeviceErrorKind::Closed, "the device of this queue was closed");
    Completion { tag, offset, result: Err(error), operation }
}

fn panicked(panic: &(dyn Any + Send)) -> DeviceError {
    let said = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    DeviceError::new(DeviceErrorKind::Io, format!("the device panicked while it executed a request: {said}"))
}
