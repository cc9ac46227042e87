//! A thread's operations as futures: several under way at once from one session, polled as an executor would, and now and then
//! one that is dropped on its way.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use oxifaster_device::StorageDevice;

use super::load::Load;
use crate::history::{Called, Outcome};
use crate::judges::awaited::{Awaited, Bell, call};
use crate::judges::stored::{CallError, Stored};

/// Futures that are under way at most.
const FUTURES_MAX: u64 = 12;

/// Part of the steps in which a future is dropped. Few steps have one that is not ready at once.
const DROPPING: f64 = 0.5;

/// A future with its place in the history.
struct UnderWay<'s> {
    called: Called,
    future: Awaited<'s>,
}

impl<S: Stored, D: StorageDevice> Load<S, D> {
    /// Several operations on different keys, all of which overlap.
    pub(super) fn futures(&mut self) -> Result<(), CallError> {
        let mut keys: Vec<u64> =
            (0..1 + self.prng.below(FUTURES_MAX)).map(|_| self.keys.next(&mut self.prng)).collect();
        keys.sort_unstable();
        keys.dedup();
        let operations: Vec<_> = keys.into_iter().map(|key| (key, self.draw(key))).collect();
        let mut drops = self.prng.chance(DROPPING);
        let Self { futures, recorder, counts, .. } = self;
        let mut under_way: Vec<UnderWay<'_>> = Vec::new();
        for (key, operation) in operations {
            let called = recorder.call(key, operation);
            under_way.push(UnderWay { called, future: Box::pin(call::<S, D>(futures, key, operation)) });
        }
        let bell = Arc::new(Bell::default());
        let waker = Waker::from(Arc::clone(&bell));
        let mut context = Context::from_waker(&waker);
        let mut ended = Ok(());
        loop {
            let mut answer = |called: Called, result: Result<Outcome, CallError>| match result {
                Ok(outcome) => {
                    recorder.answer(called, outcome);
                    counts.by_futures += 1;
                }
                // Without an answer it may have taken effect, or may still.
                Err(error) => ended = Err(error),
            };
            let mut pending = Vec::new();
            for mut one in under_way {
                match one.future.as_mut().poll(&mut context) {
                    Poll::Ready(result) => answer(one.called, result),
                    Poll::Pending => pending.push(one),
                }
            }
            under_way = pending;
            // Dropped, it has taken effect by now or never will.
            if std::mem::take(&mut drops)
                && let Some(UnderWay { called, future }) = under_way.pop()
            {
                drop(future);
                recorder.lose(called);
                counts.dropped_futures += 1;
            }
            if under_way.is_empty() {
                return ended;
            }
            bell.wait();
        }
    }
}
