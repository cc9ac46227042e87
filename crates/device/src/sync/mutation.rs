//! Planted mistakes, which prove that the loom models of a crate can fail.
//!
//! Callers: production code of every crate with models, at the place where an ordering or a step could be left out; each
//! crate has its own enumeration of mistakes. A model plants one, runs, and expects the panic. Outside of `--cfg loom` the
//! question is a constant `false`, so production code carries no trace of it.

use super::atomic::Ordering;

/// Whether `mutation` is planted.
#[cfg(not(loom))]
#[inline(always)]
#[must_use]
pub fn planted<M: Copy + 'static>(_mutation: M) -> bool {
    false
}

/// `order`, weakened to none at all when the mutation is planted.
#[inline(always)]
#[must_use]
pub fn order_unless<M: Copy + PartialEq + 'static>(mutation: M, order: Ordering) -> Ordering {
    if planted(mutation) { Ordering::Relaxed } else { order }
}

#[cfg(loom)]
pub use under_loom::{Task, model_with, planted};

#[cfg(loom)]
mod under_loom {
    use std::any::Any;
    use std::cell::RefCell;
    use std::fmt::Debug;
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
    use std::sync::Arc;
    use std::task::Wake;

    use crate::sync::{Condvar, Mutex};

    // loom runs all threads of a model as coroutines of the thread that started it, so this is one value per test.
    std::thread_local! {
        static PLANTED: RefCell<Option<Box<dyn Any>>> = const { RefCell::new(None) };
    }

    /// Whether `mutation` is planted.
    #[must_use]
    pub fn planted<M: Copy + PartialEq + 'static>(mutation: M) -> bool {
        PLANTED.with_borrow(|planted| planted.as_ref().and_then(|any| any.downcast_ref()) == Some(&mutation))
    }

    /// How loom's cells, loom's scheduler (a lost wake-up) and the models' own assertions say that something is wrong.
    const NOTICED: [&str; 3] = ["Causality violation", "deadlock; threads", "model: "];

    /// Runs a model with at most `preemptions` preemptions: as it is, and then once with each of `mistakes` planted, when
    /// it must fail.
    ///
    /// # Panics
    /// When the model fails as it is, or passes with a mistake, or fails with one for a reason of its own.
    pub fn model_with<M: Copy + Debug + PartialEq + 'static>(
        mistakes: &[M],
        preemptions: usize,
        body: impl Fn() + Copy + Sync + Send + 'static,
    ) {
        check(None::<M>, preemptions, body);
        for mistake in mistakes {
            check(Some(*mistake), preemptions, body);
        }
    }

    fn check<M: Copy + Debug + PartialEq + 'static>(
        mistake: Option<M>,
        preemptions: usize,
        body: impl Fn() + Sync + Send + 'static,
    ) {
        let mut builder = loom::model::Builder::new();
        builder.max_branches = 20_000;
        builder.preemption_bound = builder.preemption_bound.or(Some(preemptions));
        PLANTED.set(mistake.map(|mistake| Box::new(mistake) as Box<dyn Any>));
        let outcome = catch_unwind(AssertUnwindSafe(|| builder.check(body)));
        PLANTED.set(None);
        match (mistake, outcome) {
            (None, Ok(())) => {}
            (None, Err(panic)) => resume_unwind(panic),
            (Some(mistake), Ok(())) => panic!("the model did not notice {mistake:?}"),
            // A model that is broken itself leaks or panics elsewhere; that proves nothing.
            (Some(mistake), Err(panic)) => {
                let message = panic.downcast_ref::<String>().map(String::as_str);
                let message = message.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or_default();
                assert!(
                    NOTICED.iter().any(|noticed| message.contains(noticed)),
                    "with {mistake:?} planted the model failed for another reason: {message}"
                );
            }
        }
    }

    /// A task of a model that sleeps until its waker is called.
    #[derive(Debug)]
    pub struct Task {
        woken: Mutex<bool>,
        changed: Condvar,
    }

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            *self.woken.lock() = true;
            self.changed.notify_one();
        }
    }

    impl Task {
        /// A task that nobody has woken.
        #[must_use]
        #[expect(clippy::new_ret_no_self, reason = "a waker needs the task in an Arc")]
        pub fn new() -> Arc<Self> {
            Arc::new(Self { woken: Mutex::new(false), changed: Condvar::new() })
        }

        /// Waits until the task is woken, and takes note of it.
        pub fn sleep(&self) {
            let mut woken = self.woken.lock();
            while !*woken {
                woken = self.changed.wait(woken);
            }
            *woken = false;
        }
    }
}
