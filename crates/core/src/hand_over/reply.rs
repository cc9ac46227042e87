//! A value that one thread sends and one future waits for.
//!
//! The sender stores the value and takes the waker under one lock; the future looks for the value and stores its waker under
//! the same: whichever comes second sees the other. Invariant, watched by `model`: a future that was polled last with a
//! waker has the value, or that waker is woken behind the value.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use oxifaster_device::sync::Mutex;

use crate::mutation::{Mutation, planted};

#[derive(Debug)]
struct Slot<T> {
    value: Option<T>,
    waker: Option<Waker>,
}

/// The sending side.
#[derive(Debug)]
pub struct Sender<T>(Arc<Mutex<Slot<T>>>);

/// The future.
///
/// # Cancel safety
/// Dropping it loses the value and nothing else.
#[derive(Debug)]
pub struct Reply<T>(Arc<Mutex<Slot<T>>>);

/// A connected pair. A sender that is dropped without a value leaves its future waiting for ever: whoever holds one sends.
#[must_use]
pub fn channel<T>() -> (Sender<T>, Reply<T>) {
    let slot = Arc::new(Mutex::new(Slot { value: None, waker: None }));
    (Sender(Arc::clone(&slot)), Reply(slot))
}

impl<T> Sender<T> {
    /// Completes the future, and wakes it if it waits.
    pub fn send(self, value: T) {
        let waker = {
            let mut slot = self.0.lock();
            slot.value = Some(value);
            slot.waker.take()
        };
        if let Some(waker) = waker
            && !planted(Mutation::ReplySendWithoutWake)
        {
            waker.wake();
        }
    }
}

impl<T> Future for Reply<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let mut slot = self.0.lock();
        if let Some(value) = slot.value.take() {
            return Poll::Ready(value);
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
