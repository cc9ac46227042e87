//! The futures of a log. Each owns what it needs, and runs on any executor.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use oxifaster_core::{Address, Error};

use crate::requests::{CommitInfo, Goal};
use crate::ring::{Refusal, Reserved};
use crate::shared::Shared;

/// Ready when a commit covers what was asked for.
#[derive(Debug)]
pub struct CommitFuture {
    log: Arc<Shared>,
    goal: Goal,
    failures_before: u64,
    id: Option<u64>,
}

impl CommitFuture {
    pub(crate) fn new(log: Arc<Shared>, goal: Goal, failures_before: u64) -> Self {
        Self { log, goal, failures_before, id: None }
    }
}

impl Future for CommitFuture {
    type Output = Result<CommitInfo, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        this.log.progress.poll(this.goal, Some(this.failures_before), &mut this.id, context)
    }
}

impl Drop for CommitFuture {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.log.progress.forget(id);
        }
    }
}

/// Words that a future waits for. Dropped before it has them, it has taken none.
#[derive(Debug)]
struct Waiting {
    log: Arc<Shared>,
    failures_before: Option<u64>,
    /// What it is registered as, while it waits.
    id: Option<u64>,
}

impl Waiting {
    fn new(log: Arc<Shared>) -> Self {
        Self { log, failures_before: None, id: None }
    }

    fn poll(&mut self, words: u64, context: &mut Context<'_>) -> Poll<Result<Reserved, Error>> {
        loop {
            match self.log.ring.reserve(words) {
                Ok(place) => return Poll::Ready(Ok(place)),
                Err(Refusal::Full) => self.log.refused_for_ever(words)?,
                Err(Refusal::Sealed) => {}
            }
            let failures = *self.failures_before.get_or_insert_with(|| self.log.progress.failures());
            let ready = || !self.log.ring.is_sealed() && self.log.ring.has_room(words);
            match self.log.progress.poll_for_room(failures, ready, &mut self.id, context) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.log.progress.forget_room(id);
        }
    }
}

/// Ready when the entry is appended.
///
/// # Cancel safety
/// Dropped before it is ready, it has appended nothing.
#[derive(Debug)]
pub struct AppendFuture {
    waiting: Waiting,
    entry: Vec<u8>,
}

impl AppendFuture {
    pub(crate) fn new(log: Arc<Shared>, entry: Vec<u8>) -> Self {
        Self { waiting: Waiting::new(log), entry }
    }
}

impl Future for AppendFuture {
    type Output = Result<Address, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let words = this.waiting.log.words_of(this.entry.len())?;
        let place = ready!(this.waiting.poll(words, context))?;
        Poll::Ready(Ok(this.waiting.log.write_entry(place, words, &this.entry)))
    }
}

/// Ready when all entries of a batch are appended.
///
/// # Cancel safety
/// Dropped before it is ready, it has appended nothing.
#[derive(Debug)]
pub struct AppendBatchFuture {
    waiting: Waiting,
    entries: Vec<Vec<u8>>,
}

impl AppendBatchFuture {
    pub(crate) fn new(log: Arc<Shared>, entries: Vec<Vec<u8>>) -> Self {
        Self { waiting: Waiting::new(log), entries }
    }
}

impl Future for AppendBatchFuture {
    type Output = Result<Vec<Address>, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let entries: Vec<&[u8]> = this.entries.iter().map(Vec::as_slice).collect();
        let words = this.waiting.log.words_of_batch(&entries)?;
        if words == 0 {
            let ended = this.waiting.log.progress.ended();
            return Poll::Ready(ended.map_or(Ok(Vec::new()), Err));
        }
        let place = ready!(this.waiting.poll(words, context))?;
        Poll::Ready(Ok(this.waiting.log.write_batch(place, &entries)))
    }
}

/// Ready when the entry is durable.
///
/// # Cancel safety
/// Dropped before it is ready, it has appended the entry or not; if it has, the commit is asked for and happens.
#[derive(Debug)]
pub struct AppendAndCommitFuture {
    append: AppendFuture,
    /// Where the entry is, once it is appended.
    commit: Option<(Address, CommitFuture)>,
}

impl AppendAndCommitFuture {
    pub(crate) fn new(append: AppendFuture) -> Self {
        Self { append, commit: None }
    }
}

impl Future for AppendAndCommitFuture {
    type Output = Result<Address, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let (address, commit) = match &mut this.commit {
            Some(commit) => commit,
            none => {
                let address = ready!(Pin::new(&mut this.append).poll(context))?;
                let log = Arc::clone(&this.append.waiting.log);
                let (goal, failures) = log.progress.request(address.words() + 1, None);
                none.insert((address, CommitFuture::new(log, goal, failures)))
            }
        };
        Pin::new(commit).poll(context).map_ok(|_| *address)
    }
}
