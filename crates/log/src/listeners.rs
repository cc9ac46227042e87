//! Streams that wait for the next entry, committed or not: who they are, and how an append finds them.
//!
//! An append never comes here unless somebody waits ([`Reserved::listened`](crate::ring::Reserved)). The order of things is a table in
//! `docs/design/0008-log-commits.md`; the model is `model_uncommitted_tail`.
//!
//! | field | who changes it |
//! |---|---|
//! | `waiting` | streams enter themselves; whoever tells takes all of them out |
//! | `writer` | the writer of an idle log under `CommitPolicy::Every`; whoever tells clears it |
//! | the ring's bit | set and cleared under the lock: set as long as anybody waits |
//!
//! Invariants:
//! 1. A stream is registered before it sets the bit, and looks behind that. What it can't see then is published by somebody who knows of
//!    the bit and takes the lock behind it, or lies below the tail that it got: then it asks the writer.
//! 2. Wakers are woken, and dropped, outside of the lock.

use std::task::{Poll, Waker};

use oxifaster_core::Error;
use oxifaster_core::sync::Mutex;

use crate::mutation::{Mutation, planted};
use crate::progress::Progress;
use crate::ring::LogRing;

/// What a stream finds that began to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    /// There is a complete entry at its place already; it does not wait.
    Entry,
    /// Nothing. It will be woken.
    Nothing,
    /// Words at its place are reserved, by somebody who may not know that it waits: it will be woken when somebody tells that all below
    /// this address is complete.
    UnderWay(u64),
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<(u64, Waker)>,
    /// The writer sleeps until something is appended.
    writer: bool,
    last_id: u64,
}

/// See the module header.
#[derive(Debug, Default)]
pub(crate) struct Listeners {
    state: Mutex<State>,
}

impl Listeners {
    /// Waits for an entry at `at`, where one begins or will: ready when there is one, with an error when the log has ended and there is
    /// none. `id` is what the stream is registered as.
    pub(crate) fn poll(
        &self,
        ring: &LogRing,
        progress: &Progress,
        at: u64,
        id: &mut Option<u64>,
        waker: &Waker,
    ) -> Poll<Result<(), Error>> {
        match self.listen(ring, at, id, waker) {
            Heard::Entry => return Poll::Ready(Ok(())),
            Heard::UnderWay(until) => progress.ask_to_pass(until),
            Heard::Nothing => {}
        }
        // Behind the registration: whoever ends the log tells those who are registered.
        let Some(ended) = progress.ended() else { return Poll::Pending };
        // What was appended between that look and the end counts.
        let more = ring.is_complete_at(at) && !planted(Mutation::EndWithoutLook);
        Poll::Ready(if more { Ok(()) } else { Err(ended) })
    }

    fn listen(&self, ring: &LogRing, at: u64, id: &mut Option<u64>, waker: &Waker) -> Heard {
        let mut state = self.state.lock();
        let former = id.take().and_then(|id| state.forget(id));
        state.last_id += 1;
        let own = state.last_id;
        state.waiting.push((own, waker.clone()));
        let early = planted(Mutation::ListensBehindLook).then(|| (ring.tail(), ring.is_complete_at(at)));
        let tail = ring.listen();
        let (tail, complete) = early.unwrap_or_else(|| (tail, ring.is_complete_at(at)));
        if complete {
            let unneeded = state.forget(own);
            state.stop_listening(ring);
            drop(state);
            drop((former, unneeded));
            return Heard::Entry;
        }
        drop(state);
        drop(former);
        *id = Some(own);
        if at < tail && !planted(Mutation::CopyUnderWayForgotten) {
            Heard::UnderWay(tail)
        } else {
            Heard::Nothing
        }
    }

    /// The writer sleeps until something is appended behind the tail that this returns.
    pub(crate) fn listen_for_writer(&self, ring: &LogRing) -> u64 {
        let mut state = self.state.lock();
        state.writer = !planted(Mutation::WriterSleepsUnheard);
        ring.listen()
    }

    /// Entries were published, or the log has ended: wakes everybody.
    #[cold]
    pub(crate) fn tell(&self, ring: &LogRing, progress: &Progress) {
        let mut state = self.state.lock();
        let woken = std::mem::take(&mut state.waiting);
        let writer = std::mem::take(&mut state.writer);
        ring.stop_listening();
        drop(state);
        if planted(Mutation::ToldNobody) {
            return;
        }
        if writer {
            progress.wake_idle();
        }
        woken.into_iter().for_each(|(_, waker)| waker.wake());
    }

    /// A stream that was registered as `id` is gone.
    pub(crate) fn forget(&self, ring: &LogRing, id: u64) {
        let mut state = self.state.lock();
        let former = state.forget(id);
        state.stop_listening(ring);
        drop(state);
        drop(former);
    }
}

impl State {
    /// Clears the bit, if nobody waits.
    fn stop_listening(&self, ring: &LogRing) {
        if self.waiting.is_empty() && !self.writer {
            ring.stop_listening();
        }
    }

    fn forget(&mut self, id: u64) -> Option<Waker> {
        let place = self.waiting.iter().position(|(waiting, _)| *waiting == id)?;
        Some(self.waiting.swap_remove(place).1)
    }
}
