//! Panics of all threads, also of those that the engines start: a judge that provokes damage counts them.

use oxifaster_device::sync::atomic::{AtomicBool, AtomicU64, Ordering};

static PANICS: AtomicU64 = AtomicU64::new(0);
static COUNTING: AtomicBool = AtomicBool::new(false);

/// Counts panics of all threads from now on, beside what is done about them anyway. Calling it again changes nothing.
pub fn count() {
    // Relaxed: whoever comes first installs the hook; who comes second may go on before it is there, and its threads are
    // started later still.
    if COUNTING.swap(true, Ordering::Relaxed) {
        return;
    }
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        // Relaxed: read by the judge after the threads were joined.
        PANICS.fetch_add(1, Ordering::Relaxed);
        before(info);
    }));
}

/// Panics since [`count`] was called.
#[must_use]
pub fn seen() -> u64 {
    PANICS.load(Ordering::Relaxed)
}
