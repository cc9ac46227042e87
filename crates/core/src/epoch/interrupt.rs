//! `membarrier` as loom can run it: an interrupt that every modelled participant answers with a full fence.
//!
//! Only under `--cfg loom`. The kernel's promise is that every running thread passes a full fence at some instant between
//! the call and its return. Here the caller raises a request and waits for the answer of every thread that is
//! [`on`](arrive); a thread answers where it [`poll`]s: between any two of its steps that matter, so that loom
//! tries every instant. A thread that [departed](depart) is like one that is not running: it passed a fence then.

use loom::sync::atomic::{AtomicUsize, Ordering, fence};

/// The most threads a model interrupts.
const THREADS: usize = 2;

/// The thread is not there (yet, or any more).
const AWAY: usize = 0;
/// The thread runs and has nothing to answer.
const ON: usize = 1;
/// The thread is asked for a fence; it answers by going back to `ON`.
const ASKED: usize = 2;

loom::lazy_static! {
    static ref LINES: [AtomicUsize; THREADS] = [AtomicUsize::new(AWAY), AtomicUsize::new(AWAY)];
}
loom::thread_local! {
    static LINE: std::cell::Cell<Option<usize>> = std::cell::Cell::new(None);
}

/// The current thread takes part, on line `line`. Before any thread it must be ordered with starts.
#[cfg(test)]
pub(super) fn arrive(line: usize) {
    LINE.with(|own| own.set(Some(line)));
}

/// Marks `line` as running; called before its thread is started.
#[cfg(test)]
pub(super) fn connect(line: usize) {
    LINES[line].store(ON, Ordering::SeqCst);
}

/// A place where an interrupt may hit the current thread.
pub(super) fn poll() {
    if let Some(line) = LINE.with(std::cell::Cell::get)
        && LINES[line].load(Ordering::Acquire) == ASKED
    {
        fence(Ordering::SeqCst);
        LINES[line].store(ON, Ordering::Release);
    }
}

/// The current thread stops running: it passes a fence and answers no more.
#[cfg(test)]
pub(super) fn depart() {
    if let Some(line) = LINE.with(std::cell::Cell::take) {
        fence(Ordering::SeqCst);
        LINES[line].swap(AWAY, Ordering::AcqRel);
    }
}

/// Makes every thread that runs pass a fence before this returns.
pub(super) fn interrupt_all() {
    fence(Ordering::SeqCst);
    for line in LINES.iter() {
        if line.compare_exchange(ON, ASKED, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            while line.load(Ordering::Acquire) == ASKED {
                loom::thread::yield_now();
            }
        }
    }
    fence(Ordering::SeqCst);
}
