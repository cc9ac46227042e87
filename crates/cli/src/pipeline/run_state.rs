//! What all threads of one run share: how far it is, whether it should stop, why it failed; and the loop that watches it.
//!
//! | field | written by | read by |
//! |---|---|---|
//! | `bytes`, `records` | workers, relaxed counters | the watching thread, for the progress bar |
//! | `failure` | whoever fails; the one of the lowest chunk is kept | the command, at the end |
//! | `running` | every worker once, when it ends | the watching thread |

use std::time::Duration;

use oxifaster_device::sync::atomic::{AtomicU64, Ordering};
use oxifaster_device::sync::{Arc, Condvar, Mutex};

use crate::failure::Failure;
use crate::interrupt::Interrupt;

/// How far a run is.
#[derive(Debug, Default)]
pub struct Progress {
    /// Input bytes that were stored or counted.
    pub bytes: AtomicU64,
    /// Records that were stored, or n-grams that were counted.
    pub records: AtomicU64,
}

impl Progress {
    /// Adds what a worker has done.
    pub fn add(&self, bytes: u64, records: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.records.fetch_add(records, Ordering::Relaxed);
    }
}

/// What all threads of one run share.
#[derive(Debug, Default)]
pub struct RunState {
    /// How far the run is.
    pub progress: Progress,
    failure: Mutex<Option<(u64, Failure)>>,
    running: Mutex<usize>,
    ended: Condvar,
}

impl RunState {
    /// Keeps the failure of chunk `number`, unless one of an earlier chunk is known.
    pub fn fail(&self, number: u64, failure: Failure) {
        let mut kept = self.failure.lock();
        if kept.as_ref().is_none_or(|(known, _)| number < *known) {
            *kept = Some((number, failure));
        }
    }

    /// The failure, if the run failed.
    pub fn take_failure(&self) -> Option<Failure> {
        self.failure.lock().take().map(|(_, failure)| failure)
    }

    /// Counts a worker in; it counts itself out when what is returned is dropped, also by a panic.
    pub fn worker(self: &Arc<Self>) -> RunningWorker {
        *self.running.lock() += 1;
        RunningWorker(Arc::clone(self))
    }

    /// Waits until no worker runs, at most `timeout`; says whether none does.
    pub(crate) fn wait_ended(&self, timeout: Duration) -> bool {
        let running = self.running.lock();
        if *running == 0 {
            return true;
        }
        let (running, _) = self.ended.wait_timeout(running, timeout);
        *running == 0
    }
}

/// A worker that was counted in.
#[derive(Debug)]
pub struct RunningWorker(Arc<RunState>);

impl Drop for RunningWorker {
    fn drop(&mut self) {
        *self.0.running.lock() -= 1;
        self.0.ended.notify_all();
    }
}

/// Waits until all workers of a run have ended. Calls `on_tick` some ten times a second with the progress, and
/// `on_interrupt` once when the user interrupts. Says whether that happened.
pub fn watch(
    run: &RunState,
    interrupt: &Interrupt,
    mut on_tick: impl FnMut(&Progress),
    on_interrupt: impl FnOnce(),
) -> bool {
    let mut on_interrupt = Some(on_interrupt);
    while !run.wait_ended(Duration::from_millis(100)) {
        on_tick(&run.progress);
        if interrupt.is_set()
            && let Some(stop) = on_interrupt.take()
        {
            stop();
        }
    }
    on_tick(&run.progress);
    on_interrupt.is_none()
}
