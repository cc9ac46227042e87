//! Planted mistakes, which prove that the loom models of this crate can fail.
//!
//! A model plants one, runs, and expects the panic. Outside of `--cfg loom` the question is a constant `false`.

use oxifaster_core::sync::atomic::Ordering;

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
    use std::cell::Cell;

    use super::Mutation;

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
    pub(crate) fn model_with(mistakes: &[Mutation], preemptions: usize, body: fn()) {
        for planted in std::iter::once(None).chain(mistakes.iter().copied().map(Some)) {
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
                // A model that is broken itself panics elsewhere; that proves nothing.
                (Some(mutation), Err(panic)) => {
                    let message = panic.downcast_ref::<String>().map(String::as_str);
                    let message =
                        message.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or_default();
                    assert!(
                        NOTICED.iter().any(|noticed| message.contains(noticed)),
                        "with {mutation:?} planted the model failed for another reason: {message}"
                    );
                }
            }
        }
    }
}
