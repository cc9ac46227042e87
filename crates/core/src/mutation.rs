//! The planted mistakes of `core`, which prove that its loom models can fail.
//!
//! Layer 1, `core` only; how one is planted stands in the device crate's `sync::mutation`.

#[cfg(all(loom, test))]
pub(crate) use oxifaster_device::sync::mutation::{Task, model_with};
pub(crate) use oxifaster_device::sync::mutation::{order_unless, planted};

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
    /// Index: no fence between the sight of a closed chain and the scan.
    IndexClosedWithoutFence,
    /// Index: a tentative entry becomes final without a re-scan.
    IndexInsertWithoutRescan,
    /// Index: an entry is shared without looking again for one of the tag.
    IndexClosedWithoutRescan,
    /// Index: an empty place of a closed chain is claimed by a plain store.
    IndexClaimByStore,
    /// Index: an insert ignores that its chain was closed.
    IndexInsertIgnoresClosed,
    /// Index: whoever loses the race for an overflow link links its bucket by a plain store.
    IndexLinkOverwrites,
    /// Index: a tentative entry becomes final by a plain store.
    IndexFinalByStore,
    /// Index: a glance at a bucket sees final entries only (portable form).
    #[cfg(not(all(target_arch = "x86_64", not(loom), not(miri))))]
    IndexGlanceSeesFinalOnly,
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
    /// Replies: a sender wakes nobody.
    RepliesSendWithoutWake,
    /// Replies: the lock is given back between the look and the store of the waker.
    RepliesWakerBehindLook,
    /// Read buffers: whoever gives one back wakes nobody.
    BuffersReturnUnnoticed,
    /// Record cache: no Release fence between the reservation and the words.
    CacheWriteWithoutFence,
    /// Record cache: no Acquire fence between a reader's words and its second look at the reservation.
    CacheReadWithoutFence,
    /// Record cache: a reader does not look at the reservation again.
    CacheReadWithoutRecheck,
    /// Record cache: a slot is a relaxed store.
    CachePublishRelaxed,
    /// Record cache: a reader loads a slot relaxed.
    CacheSlotRelaxed,
}
