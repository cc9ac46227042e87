//! The futures of a log. Each owns what it needs, and runs on any executor.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use oxifaster_core::{Address, Error};

use crate::requests::{CommitInfo, Goal};
use crate::ring::Refusal;
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

/// Ready when the entry is appended.
///
/// # Cancel safety
/// Dropped before it is ready, it has appended nothing.
#[derive(Debug)]
pub struct AppendFuture {
    log: Arc<Shared>,
    entry: Vec<u8>,
    failures_before: Option<u64>,
}

impl AppendFuture {
    pub(crate) fn new(log: Arc<Shared>, entry: Vec<u8>) -> Self {
        Self { log, entry, failures_before: None }
    }
}

impl Future for AppendFuture {
    type Output = Result<Address, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let words = this.log.words_of(this.entry.len())?;
        loop {
            match this.log.ring.reserve(words) {
                Ok(place) => return Poll::Ready(Ok(this.log.write_entry(place, words, &this.entry))),
                Err(Refusal::Full) => this.log.refused_for_ever(words)?,
                Err(Refusal::Sealed) => {}
            }
            let failures = *this.failures_before.get_or_insert_with(|| this.log.progress.failures());
            let ready = || !this.log.ring.is_sealed() && this.log.ring.has_room(words);
            match this.log.progress.poll_for_room(failures, ready, context) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}
