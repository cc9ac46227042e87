//! Appenders that wait for room, and who tells them that there is some: a part of [`Progress`].

use std::task::{Context, Poll, Waker};

use oxifaster_core::Error;

use super::{Progress, failure_since};
use crate::mutation::{Mutation, planted};

impl Progress {
    /// Waits until `ready` says so. `ready` is asked under the lock.
    pub(crate) fn wait_for_room(&self, ready: impl Fn() -> bool) -> Result<(), Error> {
        let mut state = self.state.lock();
        let failures_before = state.failures;
        state.retry = true;
        state.room_waiters += 1;
        let outcome = loop {
            if let Some(ended) = &state.ended {
                break Err(ended.duplicate());
            }
            if ready() {
                break Ok(());
            }
            if let Some(error) = failure_since(&state, failures_before) {
                break Err(error);
            }
            self.work.notify_one();
            state = self.room.wait(state);
        };
        state.room_waiters -= 1;
        outcome
    }

    /// The same for a future, which asks again when woken.
    pub(crate) fn poll_for_room(
        &self,
        failures_before: u64,
        ready: impl Fn() -> bool,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        let mut state = self.state.lock();
        if let Some(ended) = &state.ended {
            return Poll::Ready(Err(ended.duplicate()));
        }
        if ready() {
            return Poll::Ready(Ok(()));
        }
        if let Some(error) = failure_since(&state, failures_before) {
            return Poll::Ready(Err(error));
        }
        state.retry = true;
        state.room_wakers.push(context.waker().clone());
        drop(state);
        self.work.notify_one();
        Poll::Pending
    }

    /// Blocks were written, so the failure is over, or words were released. The writer, or truncation.
    pub(crate) fn room_made(&self) {
        let mut state = self.state.lock();
        state.failure = None;
        let wakers = std::mem::take(&mut state.room_wakers);
        let anybody = state.room_waiters > 0;
        drop(state);
        if anybody && !planted(Mutation::RoomWithoutNotify) {
            self.room.notify_all();
        }
        wakers.into_iter().for_each(Waker::wake);
    }
}
