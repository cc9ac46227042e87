//! The planted mistakes of this crate, which prove that its loom models can fail.
//!
//! How one is planted stands in the device crate's `sync::mutation`.

#[cfg(all(loom, test))]
pub(crate) use oxifaster_core::sync::mutation::{Task, model_with};
pub(crate) use oxifaster_core::sync::mutation::{order_unless, planted};

/// A deliberate mistake at one place of the production code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutation {
    /// Ring: a header is a relaxed store.
    PublishRelaxed,
    /// Ring: the limit is loaded relaxed by appenders.
    LimitSeenRelaxed,
    /// Ring: the limit is a relaxed store.
    LimitStoredRelaxed,
    /// Ring: words are taken again with what was in them.
    ReleaseWithoutZeroes,
    /// Ring: words are zeroed before readers can know.
    ReleaseUnannounced,
    /// Ring: a reader looks at the announcement without a fence behind its copy.
    CopyWithoutFence,
    /// Ring: a reader does not look at the announcement again.
    CopyUnchecked,
    /// Batch: the first header of a batch is stored first.
    BatchPublishedForwards,
    /// Progress: a durable commit wakes nobody.
    DurableWithoutNotify,
    /// Progress: a waiter looks, gives the lock back, and then waits.
    WaitsWithoutLook,
    /// Progress: a request for a commit wakes nobody.
    RequestWithoutNotify,
    /// Progress: released words wake nobody.
    RoomWithoutNotify,
    /// Progress: a failed commit is told to the first waiter alone.
    FailureToldOnce,
    /// Progress: a future stores its waker behind its look.
    WakerBehindLook,
    /// Progress: a cut is taken for an answer to all requests that came meanwhile.
    CutForgetsRequests,
    /// Progress: a stream that found nothing waits for more than what is committed by now.
    CommittedReadAgain,
    /// Frontier: a commit does not wait for the entries below it.
    CommitOverOpenAppend,
    /// Ring: a commit takes its words without an exchange.
    AlignedWithoutExchange,
    /// Sealing: a ring is sealed before the end is told, and not again.
    SealedBeforeOnly,
    /// Listeners: the writer goes to sleep and nobody is told to wake it.
    WriterSleepsUnheard,
    /// Standing: what was written comes into force behind the lock of the metadata.
    InstalledBehindLock,
    /// Listeners: a stream sets the bit behind its look.
    ListensBehindLook,
    /// Listeners: a stream does not ask the writer to pass words that were reserved before it set the bit.
    CopyUnderWayForgotten,
    /// Ring: an appender does not see that somebody listens.
    ListenedUnseen,
    /// Listeners: a stream that sees the end does not look for what was appended before it.
    EndWithoutLook,
    /// Listeners: who tells clears the bit and wakes nobody.
    ToldNobody,
}
