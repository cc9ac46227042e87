//! A value that one thread sends and one future waits for.
//!
//! The sender stores the value and takes the waker under one lock; the future looks for the value and stores its waker under
//! the same: whichever comes second sees the other. A sender that goes without a value says so in the same way. Invariant,
//! watched by `model`: a future that was polled last with a waker has its answer, or that waker is woken behind it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use oxifaster_device::sync::Mutex;

use crate::mutation::{Mutation, planted};

#[derive(Debug)]
struct Slot<T> {
    answer: Option<Result<T, Abandoned>>,
    waker: Option<Waker>,
}

/// The sender was dropped without a value: whoever had it ended, or panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("whoever was to answer has ended without an answer")]
pub struct Abandoned;

/// The sending side. Dropping it without a value answers [`Abandoned`].
#[derive(Debug)]
pub struct Sender<T> {
    slot: Arc<Mutex<Slot<T>>>,
    answered: bool,
}

/// The future.
///
/// # Cancel safety
/// Dropping it loses the value and nothing else.
#[derive(Debug)]
pub struct Reply<T>(Arc<Mutex<Slot<T>>>);

/// A connected pair.
#[must_use]
pub fn channel<T>() -> (Sender<T>, Reply<T>) {
    let slot = Arc::new(Mutex::new(Slot { answer: None, waker: None }));
    (Sender { slot: Arc::clone(&slot), answered: false }, Reply(slot))
}

impl<T> Sender<T> {
    /// Completes the future, and wakes it if it waits.
    pub fn send(mut self, value: T) {
        self.answer(Ok(value));
    }

    fn answer(&mut self, answer: Result<T, Abandoned>) {
        self.answered = true;
        let waker = {
            let mut slot = self.slot.lock();
            slot.answer = Some(answer);
            slot.waker.take()
        };
        if let Some(waker) = waker
            && !planted(Mutation::ReplySendWithoutWake)
        {
            waker.wake();
        }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        if !self.answered && !planted(Mutation::ReplyDropWithoutAnswer) {
            self.answer(Err(Abandoned));
        }
    }
}

impl<T> Future for Reply<T> {
    type Output = Result<T, Abandoned>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut slot = self.0.lock();
        if let Some(answer) = slot.answer.take() {
            return Poll::Ready(answer);
        }
        if planted(Mutation::ReplyWakerBehindLook) {
            drop(slot);
            slot = self.0.lock();
        }
        // The last poll's waker counts: the future may have moved to another task.
        let former = match &slot.waker {
            Some(_) if planted(Mutation::ReplyKeepsFirstWaker) => None,
            Some(waker) if waker.will_wake(context.waker()) => None,
            _ => slot.waker.replace(context.waker().clone()),
        };
        // A waker's drop is the executor's code: not under our lock.
        drop(slot);
        drop(former);
        Poll::Pending
    }
}
