//! Values that several senders send and one future waits for, in any order.
//!
//! The many-to-one form of [`channel`](super::channel), with its protocol: a sender adds its value and takes the waker under
//! one lock, the future looks for a value and stores its waker under the same. Invariants, watched by `model`: each sender
//! is answered for once, by its value or by [`Abandoned`]; a future that was polled last with a waker is woken behind the next
//! value.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use oxifaster_device::sync::Mutex;

use super::Abandoned;
use crate::mutation::{Mutation, planted};

#[derive(Debug)]
struct Arrivals<T> {
    answers: VecDeque<Result<T, Abandoned>>,
    waker: Option<Waker>,
}

/// The waiting side.
///
/// # Cancel safety
/// Dropping it loses the values that are still to come, and nothing else.
#[derive(Debug)]
pub struct Replies<T>(Arc<Mutex<Arrivals<T>>>);

/// One of the sending sides. Dropping it without a value answers [`Abandoned`].
#[derive(Debug)]
pub struct RepliesSender<T> {
    arrivals: Arc<Mutex<Arrivals<T>>>,
    answered: bool,
}

impl<T> Default for Replies<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Replies<T> {
    /// Nothing to wait for yet.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Arrivals { answers: VecDeque::new(), waker: None })))
    }

    /// One more sender.
    #[must_use]
    pub fn sender(&self) -> RepliesSender<T> {
        RepliesSender { arrivals: Arc::clone(&self.0), answered: false }
    }

    /// The next value. Without a sender that has not answered, it waits for ever.
    ///
    /// # Errors
    /// `Abandoned` when a sender was dropped.
    ///
    /// # Cancel safety
    /// A future that is dropped has taken no value.
    pub async fn next(&mut self) -> Result<T, Abandoned> {
        poll_fn(|context| self.poll(context)).await
    }

    fn poll(&self, context: &Context<'_>) -> Poll<Result<T, Abandoned>> {
        let mut arrivals = self.0.lock();
        if let Some(answer) = arrivals.answers.pop_front() {
            return Poll::Ready(answer);
        }
        if planted(Mutation::RepliesWakerBehindLook) {
            drop(arrivals);
            arrivals = self.0.lock();
        }
        let former = match &arrivals.waker {
            Some(waker) if waker.will_wake(context.waker()) => None,
            _ => arrivals.waker.replace(context.waker().clone()),
        };
        // A waker's drop is the executor's code: not under our lock.
        drop(arrivals);
        drop(former);
        Poll::Pending
    }
}

impl<T> RepliesSender<T> {
    /// Adds a value, and wakes the future if it waits.
    pub fn send(mut self, value: T) {
        self.answer(Ok(value));
    }

    fn answer(&mut self, answer: Result<T, Abandoned>) {
        self.answered = true;
        let waker = {
            let mut arrivals = self.arrivals.lock();
            arrivals.answers.push_back(answer);
            arrivals.waker.take()
        };
        if let Some(waker) = waker
            && !planted(Mutation::RepliesSendWithoutWake)
        {
            waker.wake();
        }
    }
}

impl<T> Drop for RepliesSender<T> {
    fn drop(&mut self) {
        if !self.answered {
            self.answer(Err(Abandoned));
        }
    }
}
