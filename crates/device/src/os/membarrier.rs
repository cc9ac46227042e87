//! The asymmetric fence: readers pay a compiler fence, the rare other side interrupts every core.
//!
//! Linux `membarrier(PRIVATE_EXPEDITED)`. Where it is missing both sides must use `fence(SeqCst)`; which form holds is
//! decided once per process, before the first epoch slot is entered, so that the two sides never disagree.

use crate::sync::atomic::{Ordering, fence};

/// Whether [`heavy_fence`] makes a plain compiler fence on the other threads enough.
#[must_use]
pub fn asymmetric_fence_available() -> bool {
    imp::available()
}

/// A fence with the effect of a `SeqCst` fence on every running thread of this process (if the asymmetric form is
/// available), or on this thread alone.
pub fn heavy_fence() {
    fence(Ordering::SeqCst);
    if asymmetric_fence_available() {
        imp::barrier();
    }
    fence(Ordering::SeqCst);
}

#[cfg(all(target_os = "linux", not(loom)))]
mod imp {
    use rustix::thread::{MembarrierCommand, membarrier};
    use std::sync::OnceLock;

    static AVAILABLE: OnceLock<bool> = OnceLock::new();

    pub(super) fn available() -> bool {
        *AVAILABLE.get_or_init(|| {
            membarrier(MembarrierCommand::RegisterPrivateExpedited).is_ok()
                && membarrier(MembarrierCommand::PrivateExpedited).is_ok()
        })
    }

    pub(super) fn barrier() {
        if let Err(error) = membarrier(MembarrierCommand::PrivateExpedited) {
            // Registered and tried before: a refusal now would silently break every reader.
            panic!("the kernel refused a membarrier it had granted before: {error}");
        }
    }
}

#[cfg(any(not(target_os = "linux"), loom))]
mod imp {
    pub(super) fn available() -> bool {
        false
    }

    pub(super) fn barrier() {}
}
