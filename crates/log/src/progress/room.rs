//! Appenders that wait for room, and who tells them that there is some: a part of [`Progress`].

use std::task::{Context, Poll, Waker};

use oxifaster_core::Error;

use super::{Progress, State, failure_since};
use crate::mutation::{Mutation, planted};

/// What an appender is told of a failure that is over.
const WRITING_FAILED: &str = "writing the log failed while this waited for room: append again";

impl State {
    fn forget_room(&mut self, id: u64) -> Option<Waker> {
        let place = self.room_wakers.iter().position(|(waiting, _)| *waiting == id)?;
        Some(self.room_wakers.swap_remove(place).1)
    }
}

impl Progress {
    /// Waits until `ready` says so. `ready` is asked under the lock.
    pub(crate) fn wait_for_room(&self, ready: impl Fn() -> bool) -> Result<(), Error> {
        let mut state = self.state.lock();
        let failures_before = state.failures;
        state.retry = true;
        // At once, not when the writer's sleep for this is over.
        state.nudged = true;
        state.room_waiters += 1;
        let outcome = loop {
            if let Some(ended) = &state.ended {
                break Err(ended.duplicate());
            }
            if ready() {
                break Ok(());
            }
            if let Some(error) = failure_since(&state, failures_before, WRITING_FAILED) {
                break Err(error);
            }
            self.work.notify_one();
            state = self.room.wait(state);
        };
        state.room_waiters -= 1;
        outcome
    }

    /// Asks for room without waiting for it. The failure, if the last attempt to make some has failed; this asks for another.
    pub(crate) fn ask_for_room(&self) -> Result<(), Error> {
        let mut state = self.state.lock();
        state.retry = true;
        state.nudged = true;
        let failure = state.failure.as_ref().map(Error::duplicate);
        drop(state);
        self.work.notify_one();
        failure.map_or(Ok(()), Err)
    }

    /// The same as [`wait_for_room`](Self::wait_for_room) for a future, which asks again when woken.
    pub(crate) fn poll_for_room(
        &self,
        failures_before: u64,
        ready: impl Fn() -> bool,
        id: &mut Option<u64>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        // Declared before the lock is taken, so dropped behind it.
        let _former;
        let mut state = self.state.lock();
        _former = id.take().and_then(|id| state.forget_room(id));
        if let Some(ended) = &state.ended {
            return Poll::Ready(Err(ended.duplicate()));
        }
        if ready() {
            return Poll::Ready(Ok(()));
        }
        if let Some(error) = failure_since(&state, failures_before, WRITING_FAILED) {
            return Poll::Ready(Err(error));
        }
        state.retry = true;
        state.nudged = true;
        state.next_id += 1;
        *id = Some(state.next_id);
        let waiting = (state.next_id, context.waker().clone());
        state.room_wakers.push(waiting);
        drop(state);
        self.work.notify_one();
        Poll::Pending
    }

    /// A future that registered as `id` is gone.
    pub(crate) fn forget_room(&self, id: u64) {
        let former = self.state.lock().forget_room(id);
        drop(former);
    }

    /// Blocks were written, so the failure is over, and words were released. The writer.
    pub(crate) fn blocks_written(&self) {
        self.state.lock().failure = None;
        self.room_made();
    }

    /// Words were released. What could not be written still is not: a failure stays, and the next request tries again.
    pub(crate) fn room_made(&self) {
        let mut state = self.state.lock();
        let wakers = state.take_room_wakers();
        let anybody = state.room_waiters > 0;
        drop(state);
        if anybody && !planted(Mutation::RoomWithoutNotify) {
            self.room.notify_all();
        }
        wakers.into_iter().for_each(Waker::wake);
    }
}
