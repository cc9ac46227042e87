//! The worker threads of one device and the jobs that wait for them.
//!
//! Threads are started one by one, when a job finds no idle worker and there are fewer than the maximum, and joined when
//! the pool is dropped. Invariant: jobs wait only while a worker lives, hence accepted jobs are always executed.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use super::mailbox::Mailbox;
use super::queue::WorkerQueue;
use super::{Backend, complete};
use crate::device::Geometry;
use crate::error::{DeviceError, DeviceErrorKind};
use crate::queue::{IoRequest, QueueOptions};
use crate::sync::process::HomeProcess;
use crate::sync::thread::{JoinHandle, spawn};
use crate::sync::{Condvar, Mutex};

/// The workers of one device. Dropping it executes what was accepted, joins the threads and detaches every queue.
pub(crate) struct WorkerPool<B: Backend> {
    shared: Arc<PoolShared<B>>,
    home: HomeProcess,
}

/// What queues and workers share. It holds the backend only while the pool is open.
pub(super) struct PoolShared<B> {
    state: Mutex<PoolState<B>>,
    /// Signals idle workers: there is a job, or the pool closes.
    work: Condvar,
    workers_max: usize,
    name: String,
}

struct PoolState<B> {
    jobs: VecDeque<Job<B>>,
    /// `None` once the pool closes: nothing is accepted any more.
    backend: Option<Arc<B>>,
    threads: Vec<JoinHandle<()>>,
    idle: usize,
    /// All queues of this pool that may still exist.
    mailboxes: Vec<Weak<Mailbox<B>>>,
}

struct Job<B> {
    request: IoRequest,
    mailbox: Arc<Mailbox<B>>,
}

/// What became of requests that were offered to the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offer {
    /// Workers have them.
    Accepted,
    /// The pool is closed: complete them as `Closed`.
    Closed,
    /// Not one thread could be started: execute them yourself.
    NoWorkers,
}

impl<B: Backend> WorkerPool<B> {
    /// A pool of at most `workers_max` threads called `name`; none is started yet.
    pub(crate) fn new(name: &str, workers_max: usize, backend: Arc<B>) -> Self {
        let state = PoolState {
            jobs: VecDeque::new(),
            backend: Some(backend),
            threads: Vec::new(),
            idle: 0,
            mailboxes: Vec::new(),
        };
        let shared = PoolShared {
            state: Mutex::new(state),
            work: Condvar::new(),
            workers_max: workers_max.max(1),
            name: name.to_owned(),
        };
        Self { shared: Arc::new(shared), home: HomeProcess::here() }
    }

    /// A queue on this pool.
    pub(crate) fn open_queue(
        &self,
        geometry: Geometry,
        options: QueueOptions,
    ) -> Result<WorkerQueue<B>, DeviceError> {
        if options.depth == 0 {
            return Err(DeviceError::new(DeviceErrorKind::InvalidRequest, "a queue of depth zero"));
        }
        let mut state = self.shared.state.lock();
        let Some(backend) = state.backend.clone() else {
            return Err(DeviceError::new(DeviceErrorKind::Closed, "the device was closed"));
        };
        let mailbox = Arc::new(Mailbox::new(backend));
        state.mailboxes.retain(|known| known.strong_count() > 0);
        state.mailboxes.push(Arc::downgrade(&mailbox));
        drop(state);
        Ok(WorkerQueue::new(Arc::clone(&self.shared), mailbox, geometry, options))
    }
}

impl<B: Backend> PoolShared<B> {
    /// Takes the first `count` requests of `backlog` as jobs, under one lock, and makes sure that somebody works.
    pub(super) fn offer(
        self: &Arc<Self>,
        backlog: &mut VecDeque<IoRequest>,
        count: usize,
        mailbox: &Arc<Mailbox<B>>,
    ) -> Offer {
        let mut state = self.state.lock();
        if state.backend.is_none() {
            return Offer::Closed;
        }
        let wanted = (state.jobs.len() + count).saturating_sub(state.idle);
        for _ in 0..wanted.min(self.workers_max.saturating_sub(state.threads.len())) {
            // Cloned under the lock: once the pool has closed, nobody but a joined worker may hold the backend.
            let Some(backend) = state.backend.clone() else { break };
            let shared = Arc::clone(self);
            match spawn(&self.name, move || shared.work(&backend)) {
                Ok(thread) => state.threads.push(thread),
                Err(error) => {
                    tracing::warn!(%error, workers = state.threads.len(), "no more I/O workers can be started");
                    break;
                }
            }
        }
        if state.threads.is_empty() {
            return Offer::NoWorkers;
        }
        let jobs = backlog.drain(..count).map(|request| Job { request, mailbox: Arc::clone(mailbox) });
        state.jobs.extend(jobs);
        let wake = count.min(state.idle);
        drop(state);
        for _ in 0..wake {
            self.work.notify_one();
        }
        Offer::Accepted
    }

    /// A worker's life: jobs until the pool is closed and empty.
    fn work(&self, backend: &Arc<B>) {
        let mut state = self.state.lock();
        loop {
            if let Some(Job { request, mailbox }) = state.jobs.pop_front() {
                drop(state);
                mailbox.post(complete(backend.as_ref(), request));
                drop(mailbox);
                state = self.state.lock();
            } else if state.backend.is_none() {
                return;
            } else {
                state.idle += 1;
                state = self.work.wait(state);
                state.idle -= 1;
            }
        }
    }
}

impl<B: Backend> Drop for WorkerPool<B> {
    fn drop(&mut self) {
        if !self.home.is_here() {
            // There are no workers here, and one may have held the lock when the process was copied.
            return;
        }
        let mut state = self.shared.state.lock();
        let backend = state.backend.take();
        let threads = std::mem::take(&mut state.threads);
        let mailboxes = std::mem::take(&mut state.mailboxes);
        drop(state);
        self.shared.work.notify_all();
        for thread in threads {
            if thread.join().is_err() {
                // Backends are caught (rule 1), so this is a broken invariant of the pool itself.
                tracing::error!(pool = %self.shared.name, "an I/O worker panicked");
            }
        }
        for mailbox in mailboxes.iter().filter_map(Weak::upgrade) {
            mailbox.close();
        }
        drop(backend);
    }
}

impl<B: Backend> std::fmt::Debug for WorkerPool<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WorkerPool")
            .field("name", &self.shared.name)
            .field("workers_max", &self.shared.workers_max)
            .finish_non_exhaustive()
    }
}
