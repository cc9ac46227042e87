//! One thread's queue on a pool of workers.
//!
//! A request is in exactly one place: `backlog` (submitted), with the pool (`started` counts those), in `ready`
//! (answered by the queue itself), or reaped. A worker cannot tell which queue it serves but by the job's mailbox.

use std::collections::VecDeque;
use std::sync::Arc;

use super::mailbox::Mailbox;
use super::pool::{Offer, PoolShared};
use super::{Backend, complete, complete_closed};
use crate::device::Geometry;
use crate::error::DeviceError;
use crate::queue::{Completion, Interrupt, IoQueue, IoRequest, QueueOptions, Wait};

pub(crate) struct WorkerQueue<B: Backend> {
    pool: Arc<PoolShared<B>>,
    mailbox: Arc<Mailbox<B>>,
    geometry: Geometry,
    depth: usize,
    backlog: VecDeque<IoRequest>,
    started: usize,
    ready: Vec<Completion>,
    /// Somebody may interrupt the owner: it must not be away, executing a request itself.
    interruptible: bool,
}

impl<B: Backend> WorkerQueue<B> {
    pub(super) fn new(
        pool: Arc<PoolShared<B>>,
        mailbox: Arc<Mailbox<B>>,
        geometry: Geometry,
        options: QueueOptions,
    ) -> Self {
        Self {
            pool,
            mailbox,
            geometry,
            depth: options.depth,
            backlog: VecDeque::new(),
            started: 0,
            ready: Vec::new(),
            interruptible: false,
        }
    }

    /// Gives the backlog to the workers, as far as the depth allows.
    fn start(&mut self) {
        let count = self.backlog.len().min(self.depth.saturating_sub(self.started));
        if count == 0 {
            return;
        }
        match self.pool.offer(&mut self.backlog, count, &self.mailbox) {
            Offer::Accepted => self.started += count,
            Offer::Closed => self.ready.extend(self.backlog.drain(..).map(complete_closed)),
            Offer::NoWorkers => {
                for _ in 0..count {
                    self.execute_next();
                }
            }
        }
    }

    /// [`submit`](IoQueue::submit) for a request that was checked.
    #[cfg_attr(not(all(feature = "io_uring", target_os = "linux")), allow(dead_code, reason = "for rings"))]
    pub(crate) fn accept(&mut self, request: IoRequest) {
        self.backlog.push_back(request);
    }

    /// Executes the first request of the backlog on this thread.
    fn execute_next(&mut self) {
        let Some(request) = self.backlog.pop_front() else { return };
        let completion = self.execute_here(request);
        self.ready.push(completion);
    }

    /// Executes a request on this thread, past the queue.
    pub(crate) fn execute_here(&self, request: IoRequest) -> Completion {
        match self.borrow_backend() {
            Some(borrowed) => complete(&*borrowed.backend, request),
            None => complete_closed(request),
        }
    }

    /// The backend, for the owner to use at once: the device's drop waits for the end of the borrow. `None` when the
    /// device is gone.
    pub(crate) fn borrow_backend(&self) -> Option<Borrowed<'_, B>> {
        let backend = self.mailbox.begin_inline()?;
        Some(Borrowed { backend, _end: EndOfBorrow(&self.mailbox) })
    }
}

/// The backend in a queue owner's hands. First it lets go, then it says so: the device's drop counts on being the last
/// holder.
pub(crate) struct Borrowed<'a, B: Backend> {
    pub(crate) backend: Arc<B>,
    _end: EndOfBorrow<'a, B>,
}

struct EndOfBorrow<'a, B: Backend>(&'a Mailbox<B>);

impl<B: Backend> Drop for EndOfBorrow<'_, B> {
    fn drop(&mut self) {
        self.0.end_inline();
    }
}

impl<B: Backend> IoQueue for WorkerQueue<B> {
    fn submit(&mut self, request: IoRequest) -> Result<(), DeviceError> {
        request.check(&self.geometry)?;
        self.backlog.push_back(request);
        Ok(())
    }

    fn kick(&mut self) -> Result<(), DeviceError> {
        self.start();
        Ok(())
    }

    fn reap(&mut self, wait: Wait, completions: &mut Vec<Completion>) -> Result<usize, DeviceError> {
        // A blocking point read: this thread would only wait, so it does the work itself.
        let alone = self.started == 0 && self.ready.is_empty() && self.backlog.len() == 1;
        if wait == Wait::ForOne && alone && !self.interruptible {
            self.execute_next();
        } else {
            self.start();
        }
        let mut reaped = self.ready.len();
        completions.append(&mut self.ready);
        if self.started > 0 {
            let taken = self.mailbox.take(wait == Wait::ForOne && reaped == 0, completions);
            self.started -= taken;
            reaped += taken;
            // What finished has made room for what the depth held back.
            self.start();
        }
        Ok(reaped)
    }

    fn in_flight(&self) -> usize {
        self.backlog.len() + self.started + self.ready.len()
    }

    fn interrupt(&mut self) -> Option<Interrupt> {
        self.interruptible = true;
        let mailbox = Arc::downgrade(&self.mailbox);
        // A queue that is gone needs no interrupt.
        Some(Interrupt::new(move || mailbox.upgrade().iter().for_each(|mailbox| mailbox.interrupt())))
    }
}

impl<B: Backend> Drop for WorkerQueue<B> {
    /// Starts what was submitted and waits for all of it (rule 6 of the device contract).
    fn drop(&mut self) {
        let mut completions = Vec::new();
        while self.in_flight() > 0 {
            self.start();
            let waits = self.started > 0;
            self.started -= self.mailbox.take(waits, &mut completions);
            self.ready.clear();
            completions.clear();
        }
    }
}

impl<B: Backend> std::fmt::Debug for WorkerQueue<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WorkerQueue")
            .field("depth", &self.depth)
            .field("backlog", &self.backlog.len())
            .field("started", &self.started)
            .finish_non_exhaustive()
    }
}
