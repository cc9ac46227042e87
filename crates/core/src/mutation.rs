//! Planted bugs, which prove that the loom models can fail.
//!
//! Layer 1, `core` only. A model plants one mutation, runs, and expects the panic. Outside of `--cfg loom` the question
//! is a constant `false`, so production code carries no trace of it.

use oxifaster_device::sync::atomic::Ordering;

/// A deliberate mistake at one place of the production code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutation {
    /// Epoch: a participant enters without its fence (symmetric form).
    EpochEntryWithoutFence,
    /// Epoch: the bumping side does without its fence (symmetric form) or without the interrupt (asymmetric form).
    EpochBumpWithoutFence,
    /// Epoch: leaving is a relaxed store.
    EpochLeaveRelaxed,
    /// Epoch: entering is a relaxed store.
    EpochEnterRelaxed,
    /// Epoch: whoever waits until an epoch is safe goes on at once.
    EpochWaitsForNobody,
    /// Index: no fence between the tentative compare-exchange and the re-scan.
    IndexInsertWithoutFence,
    /// Index: no fence between the sight of a catch-all and the scan.
    IndexCatchAllWithoutFence,
    /// Index: a tentative entry becomes final without a re-scan.
    IndexInsertWithoutRescan,
    /// Index: a catch-all is used without looking again for an exact entry.
    IndexCatchAllWithoutRescan,
    /// Index: an insert ignores that its chain turned to a catch-all.
    IndexInsertIgnoresCatchAll,
    /// Index: whoever loses the race for an overflow link links its bucket by a plain store.
    IndexLinkOverwrites,
    /// Index: a tentative entry becomes final by a plain store.
    IndexFinalByStore,
    /// Growth: empty slots are left as they are when a chain is frozen.
    GrowthLeavesEmptySlots,
    /// Growth: occupied entries are left as they are when a chain is frozen.
    GrowthLeavesEntries,
    /// Growth: the overflow word is left as it is when a chain is frozen.
    GrowthLeavesOverflow,
    /// Record: no Release fence between the odd sequence and the value words.
    RecordWriteWithoutFence,
    /// Record: the even sequence is a relaxed store.
    RecordEvenRelaxed,
    /// Record: a reader loads the sequence relaxed.
    RecordSequenceRelaxed,
    /// Record: no Acquire fence between a reader's value words and its second look at the sequence.
    RecordReadWithoutFence,
    /// Record: a reader does not look at the sequence again.
    RecordReadWithoutRecheck,
    /// Record: the latch is taken by a relaxed compare-exchange.
    RecordLatchRelaxed,
    /// Record: the latch is released by a relaxed store.
    RecordUnlatchRelaxed,
    /// Record: a latch is granted although somebody holds it.
    RecordLatchShared,
    /// Record: a latch is granted on a tombstone.
    RecordLatchIgnoresTombstone,
    /// Record: a tombstone or a seal is set although somebody holds the latch.
    RecordBitsIgnoreLatch,
    /// Record: the value is not compared with the copy that the decision was made on.
    RecordUpdateUnchecked,
    /// Record: a superseding writer does not seal.
    RecordSupersedeWithoutSeal,
    /// Record: whoever meets a seal sees it relaxed.
    RecordSealSeenRelaxed,
    /// Ring: a page is turned by a relaxed compare-exchange.
    RingTurnRelaxed,
    /// Ring: space is reserved by a relaxed fetch-add.
    RingAllocateRelaxed,
    /// Ring: two threads turn the same page, one after the other.
    RingTurnUnlocked,
    /// Ring: a page is turned while the tail is seized.
    RingTurnIgnoresSeizure,
    /// Ring: the tail is seized without a word to the others.
    RingSeizeLeavesWord,
    /// Ring: a page is opened although no frame is ready for it.
    RingTurnWithoutFrame,
    /// Ring: a frame is announced as ready by a relaxed store.
    RingReadyRelaxed,
    /// Ring: a frame is announced as ready before it is zeroed.
    RingReadyBeforeZeroes,
    /// Ring: the tail is aligned by a plain store.
    RingAlignByStore,
    /// Ring: the safe read-only address does not wait for the epoch of its shift.
    RingShiftWithoutDrain,
    /// Ring: the epoch is bumped before the new read-only address is stored.
    RingShiftAfterBump,
    /// Ring: the safe read-only address is a relaxed store.
    RingSafeReadOnlyRelaxed,
    /// Ring: evicted frames count as free at once.
    RingEvictWithoutDrain,
    /// Ring: forgotten frames count as free at once.
    RingForgetWithoutDrain,
    /// Ring: head rises before begin when pages are forgotten.
    RingHeadBeforeBegin,
    /// Ring: the read-only addresses stay where they are when pages are forgotten.
    RingForgetKeepsReadOnly,
    /// Ring: head is a relaxed store when pages are forgotten.
    RingForgetRelaxed,
    /// Mailbox: a post wakes nobody.
    MailboxPostWithoutNotify,
    /// Mailbox: closing wakes nobody.
    MailboxCloseWithoutNotify,
    /// Mailbox: a post takes no notice that the mailbox is closed.
    MailboxPostIgnoresClose,
    /// Mailbox: the lock is given back between the look and the wait.
    MailboxWaitsWithoutLook,
    /// Reply: the sender wakes nobody.
    ReplySendWithoutWake,
    /// Reply: a sender that is dropped without a value says nothing.
    ReplyDropWithoutAnswer,
    /// Reply: the lock is given back between the look and the store of the waker.
    ReplyWakerBehindLook,
    /// Reply: a later poll keeps the first poll's waker.
    ReplyKeepsFirstWaker,
}

#[cfg(not(loom))]
#[inline(always)]
pub(crate) const fn planted(_mutation: Mutation) -> bool {
    false
}

/// `order`, weakened to none at all when the mutation is planted.
#[inline(always)]
pub(crate) fn order_unless(mutation: Mutation, order: Ordering) -> Ordering {
    if planted(mutation) { Ordering::Relaxed } else { order }
}

#[cfg(all(loom, test))]
pub(crate) use under_loom::model_with;
#[cfg(loom)]
pub(crate) use under_loom::planted;

#[cfg(loom)]
mod under_loom {
    use super::Mutation;
    use std::cell::Cell;

    // loom runs all threads of a model as coroutines of the thread that started it, so this is one value per test.
    std::thread_local! {
        static PLANTED: Cell<Option<Mutation>> = const { Cell::new(None) };
    }

    pub(crate) fn planted(mutation: Mutation) -> bool {
        PLANTED.get() == Some(mutation)
    }

    /// How loom's cells, loom's scheduler (a lost wake-up) and the models' own assertions say that something is wrong.
    #[cfg(test)]
    const NOTICED: [&str; 3] = ["Causality violation", "deadlock; threads", "model: "];

    /// Runs a model with at most `preemptions` preemptions; with a mutation planted the model must fail.
    ///
    /// # Panics
    /// When the model fails without a mutation, or passes with one.
    #[cfg(test)]
    pub(crate) fn model_with(
        planted: Option<Mutation>,
        preemptions: usize,
        body: impl Fn() + Sync + Send + 'static,
    ) {
        let mut builder = loom::model::Builder::new();
        builder.max_branches = 20_000;
        builder.preemption_bound = builder.preemption_bound.or(Some(preemptions));
        PLANTED.set(planted);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| builder.check(body)));
        PLANTED.set(None);
        match (planted, outcome) {
            (None, Ok(())) => {}
            (None, Err(panic)) => std::panic::resume_unwind(panic),
            (Some(mutation), Ok(())) => panic!("the model did not notice {mutation:?}"),
            // A model that is broken itself leaks or panics elsewhere; that proves nothing.
            (Some(mutation), Err(panic)) => {
                let message = panic.downcast_ref::<String>().map(String::as_str);
                let message = message.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or_default();
                assert!(
                    NOTICED.iter().any(|noticed| message.contains(noticed)),
                    "with {mutation:?} planted the model failed for another reason: {message}"
                );
            }
        }
    }
}
