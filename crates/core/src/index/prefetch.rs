#![expect(unsafe_code, reason = "prefetch instructions take a raw pointer")]
//! Asks the processor for a cache line ahead of its use.
//!
//! Callers: `table`, and batched operations above it. A hint: it changes nothing but time.
//!
//! # Soundness
//! 1. A prefetch reads no value and never faults, whatever the address; the pointers here come from references anyway.

/// Starts to bring the cache line of `target` into the first-level cache.
#[inline(always)]
pub(super) fn prefetch<T>(target: &T) {
    #[cfg(all(target_arch = "x86_64", not(loom), not(miri)))]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: obligation 1.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(target).cast()) };
    }
    #[cfg(not(all(target_arch = "x86_64", not(loom), not(miri))))]
    let _ = target;
}
