//! Reading ahead: a thread of one scan or tail, which keeps several reads in flight while what came is looked at.
//!
//! ```text
//!   scan, tail                                      the thread
//!   ------------------------------------            ---------------------------------------
//!   posts reads, DEPTH ahead of its place  ------>  submits them to a queue of its own
//!   waits, or is woken, for the first one  <------  answers each as it completes
//! ```
//!
//! Mailbox and replies are those of `core::hand_over`, whose loom models cover the waiting. A queue belongs to its thread; so it is the
//! thread that has one, and scans and tails can move between threads.
//!
//! Invariants:
//! 1. Reads are posted and taken in the order of their offsets.
//! 2. The thread has ended, and nothing is in flight, when a `ReadAhead` is dropped: it keeps no device open.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use oxifaster_core::hand_over::{Mailbox, Reply, Sender, channel};
use oxifaster_core::sync::process::HomeProcess;
use oxifaster_core::sync::thread::{JoinHandle, spawn};
use oxifaster_core::sync::{Condvar, Mutex};
use oxifaster_core::{Error, ErrorKind};
use oxifaster_device::{
    BLOCK_BYTES, DeviceError, IoBuffer, IoOperation, IoQueue, IoRequest, QueueOptions, Wait,
};

use crate::transfer::{AnyDevice, REQUEST_BYTES, ROUNDS_MAX, moves_too_little};

/// Reads in flight.
const DEPTH: usize = 8;

/// A read for the thread.
#[derive(Debug)]
struct Job {
    offset: u64,
    buffer: IoBuffer,
    answer: Sender<Result<(), DeviceError>>,
}

/// A read on its way.
#[derive(Debug)]
struct Expected {
    offset: u64,
    buffer: IoBuffer,
    reply: Reply<Result<(), DeviceError>>,
}

/// See the module header.
#[derive(Debug)]
pub(crate) struct ReadAhead {
    jobs: Arc<Mailbox<Job>>,
    thread: Option<JoinHandle<()>>,
    home: HomeProcess,
    expected: VecDeque<Expected>,
    /// Offset behind the last read that was posted.
    next: u64,
}

impl ReadAhead {
    /// Starts the thread; reading begins at `start`, a multiple of a block.
    pub(crate) fn new(device: &AnyDevice, start: u64) -> Result<Self, Error> {
        let jobs = Arc::new(Mailbox::new());
        let (inbox, device) = (Arc::clone(&jobs), Arc::clone(device));
        let thread = spawn("oxf-log-ahead", move || run(&device, &inbox)).map_err(|error| {
            Error::new(ErrorKind::Io, "a thread that reads ahead could not be started").with_source(error)
        })?;
        let home = HomeProcess::here();
        Ok(Self { jobs, thread: Some(thread), home, expected: VecDeque::new(), next: start })
    }

    /// Goes on at `start`, unless that is where it goes on anyway.
    pub(crate) fn go_on_at(&mut self, start: u64) {
        if self.expected.front().map_or(self.next, |first| first.offset) != start {
            self.expected.clear();
            self.next = start;
        }
    }

    /// Posts reads up to `end`, a multiple of a block, as far as the depth allows.
    pub(crate) fn fill(&mut self, end: u64, spare: &mut Vec<IoBuffer>) -> Result<(), Error> {
        while self.expected.len() < DEPTH && self.next < end {
            let len = (end - self.next).min(REQUEST_BYTES);
            let buffer = memory(len, spare)?;
            let (answer, reply) = channel();
            // A closed mailbox gives the job back; the reply then says that nobody answers.
            drop(self.jobs.post(Job { offset: self.next, buffer: buffer.clone(), answer }));
            self.expected.push_back(Expected { offset: self.next, buffer, reply });
            self.next += len;
        }
        Ok(())
    }

    /// The first read: its offset and memory. With a waker it is polled; without, waited for.
    pub(crate) fn take(&mut self, waker: Option<&Waker>) -> Result<Option<(u64, IoBuffer)>, Error> {
        let Some(first) = self.expected.front_mut() else { return Ok(None) };
        let answer = match waker {
            Some(waker) => match Pin::new(&mut first.reply).poll(&mut Context::from_waker(waker)) {
                Poll::Pending => return Ok(None),
                Poll::Ready(answer) => answer,
            },
            None => wait(&mut first.reply),
        };
        let Some(first) = self.expected.pop_front() else { return Ok(None) };
        let outcome = match answer {
            Ok(Ok(())) => Ok(Some((first.offset, first.buffer))),
            Ok(Err(error)) => Err(error.into()),
            Err(gone) => {
                Err(Error::new(ErrorKind::Io, "the thread that reads ahead has ended").with_source(gone))
            }
        };
        if outcome.is_err() {
            // What is asked for next begins here again.
            self.expected.clear();
            self.next = first.offset;
        }
        outcome
    }
}

impl Drop for ReadAhead {
    fn drop(&mut self) {
        if !self.home.is_here() {
            return;
        }
        self.jobs.close();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("a thread that reads ahead panicked");
        }
    }
}

/// Memory of `len` bytes, whole blocks.
pub(crate) fn memory(len: u64, spare: &mut Vec<IoBuffer>) -> Result<IoBuffer, Error> {
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    match spare.iter().position(|buffer| buffer.len_bytes() == len) {
        Some(place) => Ok(spare.swap_remove(place)),
        None => Ok(IoBuffer::zeroed(len / BLOCK_BYTES)?),
    }
}

/// The thread's life.
fn run(device: &AnyDevice, jobs: &Mailbox<Job>) {
    let ended = match device.open_queue(QueueOptions { depth: DEPTH }) {
        Ok(mut queue) => serve(queue.as_mut(), jobs),
        Err(error) => Err(error),
    };
    if let Err(error) = ended {
        tracing::warn!(%error, device = %device.describe(), "reading ahead has ended");
        jobs.close();
        // Dropped jobs are answered as abandoned.
        drop(jobs.take(false));
    }
}

fn serve(queue: &mut dyn IoQueue, jobs: &Mailbox<Job>) -> Result<(), DeviceError> {
    let mut running: BTreeMap<u64, (Job, usize)> = BTreeMap::new();
    let mut next_tag = 0;
    let mut completions = Vec::new();
    loop {
        match jobs.take(running.is_empty()) {
            // Nobody wants what is in flight: the queue waits for it when it is dropped.
            None => return Ok(()),
            Some(posted) => {
                for job in posted {
                    next_tag += 1;
                    submit(queue, next_tag, job, 0, &mut running);
                }
            }
        }
        if running.is_empty() {
            continue;
        }
        queue.reap(Wait::ForOne, &mut completions)?;
        for completion in completions.drain(..) {
            let Some((job, rounds)) = running.remove(&completion.tag) else { continue };
            match completion.result {
                Ok(bytes) if bytes == job.buffer.len_bytes() => job.answer.send(Ok(())),
                Ok(bytes) if rounds + 1 >= ROUNDS_MAX => {
                    job.answer.send(Err(moves_too_little(bytes).at_offset(job.offset)));
                }
                Ok(_) => submit(queue, completion.tag, job, rounds + 1, &mut running),
                Err(error) => job.answer.send(Err(error)),
            }
        }
    }
}

fn submit(
    queue: &mut dyn IoQueue,
    tag: u64,
    job: Job,
    rounds: usize,
    running: &mut BTreeMap<u64, (Job, usize)>,
) {
    let operation = IoOperation::Read(job.buffer.clone());
    match queue.submit(IoRequest { tag, offset: job.offset, operation }) {
        Ok(()) => drop(running.insert(tag, (job, rounds))),
        Err(error) => job.answer.send(Err(error)),
    }
}

/// A thread that waits for a reply.
#[derive(Debug, Default)]
struct Sleeper {
    woken: Mutex<bool>,
    changed: Condvar,
}

impl Wake for Sleeper {
    fn wake(self: Arc<Self>) {
        *self.woken.lock() = true;
        self.changed.notify_one();
    }
}

fn wait<F: Future + Unpin>(future: &mut F) -> F::Output {
    let sleeper = Arc::new(Sleeper::default());
    let waker = Waker::from(Arc::clone(&sleeper));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = Pin::new(&mut *future).poll(&mut context) {
            return output;
        }
        let mut woken = sleeper.woken.lock();
        while !*woken {
            woken = sleeper.changed.wait(woken);
        }
        *woken = false;
    }
}
