//! What changes a log besides commits: cuts, truncation of the front, and what another process has written. A part of [`Progress`].

use std::sync::Arc;

use oxifaster_core::Error;
use oxifaster_core::sync::atomic::Ordering;

use super::{Progress, State, failure_since};
use crate::facts::{KnownCommit, LogFacts};
use crate::mutation::{Mutation, planted};
use crate::requests::Cut;
use crate::standing::Standing;
use crate::timeline::Timeline;

impl Progress {
    /// Hands a cut to the writer and waits for its end.
    pub(crate) fn cut(&self, cut: Cut) -> Result<(), Error> {
        let mut state = self.state.lock();
        let failures_before = state.failures;
        state.cut = Some(cut);
        state.cut_done = false;
        self.work.notify_one();
        loop {
            if state.cut_done {
                return Ok(());
            }
            if let Some(ended) = &state.ended {
                return Err(ended.duplicate());
            }
            if let Some(error) = failure_since(
                &state,
                failures_before,
                "writing the log failed while it was cut: cut it again",
            ) {
                // If the writer has not taken it, it must not do so once the ring is open again.
                state.cut = None;
                return Err(error);
            }
            state = self.changed.wait(state);
        }
    }

    /// A cut is on the device: the log ends with `commit` now, under `timeline`. Under the lock of the metadata; whoever waits is told
    /// behind it, by [`cut_done`](Self::cut_done).
    pub(crate) fn cut_made(&self, commit: Arc<KnownCommit>, timeline: Arc<Timeline>) {
        let mut state = self.state.lock();
        let cuts = state.standing.cuts + 1;
        let standing = Standing { commit, timeline, cuts, ..Standing::clone(&state.standing) };
        self.stand(&mut state, standing);
        // All that was placed was durable before the cut. What is wanted stays wanted: it may have been asked for during the cut.
        state.placed = state.reached();
        if planted(Mutation::CutForgetsRequests) {
            state.wanted = state.placed;
        }
    }

    /// Tells everybody that the log was cut.
    pub(crate) fn cut_done(&self) {
        let mut state = self.state.lock();
        state.cut_done = true;
        self.wake_everybody(state);
    }

    /// The front was truncated; under the lock of the metadata.
    pub(crate) fn begin_moved(&self, begin: u64, begin_entry: u64, timeline: Arc<Timeline>) {
        let mut state = self.state.lock();
        let standing = Standing { begin, begin_entry, timeline, ..Standing::clone(&state.standing) };
        self.stand(&mut state, standing);
    }

    /// Another process has written metadata. `other_line`: it dropped a suffix, or has opened the log again.
    pub(crate) fn follow(&self, facts: &LogFacts, timeline: Arc<Timeline>, other_line: bool) {
        let mut state = self.state.lock();
        let mut standing = Standing::new(facts, timeline);
        standing.cuts = state.standing.cuts + u64::from(other_line);
        if !other_line && standing.committed() < state.standing.committed() {
            standing.commit = Arc::clone(&state.standing.commit);
        }
        let news = other_line || standing.committed() > state.standing.committed();
        self.stand(&mut state, standing);
        if news {
            // Everybody should look what became of his place.
            self.wake_everybody(state);
        }
    }

    pub(super) fn stand(&self, state: &mut State, standing: Standing) {
        let (committed, begin, cuts) = (standing.committed(), standing.begin, standing.cuts);
        state.standing = Arc::new(standing);
        self.committed.store(committed, Ordering::Release);
        self.begin.store(begin, Ordering::Release);
        self.cuts.store(cuts, Ordering::Release);
    }
}
