//! Closing the ring for appends for ever, and opening it again behind a cut: which of the two wins.
//!
//! Whoever ends a log seals its ring *before and behind* saying so. Whoever unseals looks for an end before and behind. In whatever order
//! the two come, the ring of a log that has ended is sealed when both are done. Watched by `model_end_against_unseal`.

use oxifaster_core::Error;

use crate::mutation::{Mutation, planted};
use crate::progress::Progress;
use crate::ring::LogRing;

/// Ends the log.
pub(crate) fn end(ring: &LogRing, progress: &Progress, error: Error) {
    // Before: nothing that is appended from here on is taken for something that the log may still commit.
    ring.seal();
    progress.end(error);
    if !planted(Mutation::SealedBeforeOnly) {
        ring.seal();
    }
}

/// Lets appends in again, unless the log has ended.
pub(crate) fn unseal(ring: &LogRing, progress: &Progress) {
    if progress.ended().is_some() {
        return;
    }
    ring.unseal();
    if progress.ended().is_some() {
        ring.seal();
    }
}
