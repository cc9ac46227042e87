#![expect(unsafe_code, reason = "the processor's prefetch is an intrinsic")]
//! The processor's prefetch hint.
//!
//! Callers: the index (buckets) and the page ring (records), on behalf of batches; benchmarks.
//!
//! # Soundness
//! 1. A prefetch reads no value and never faults, whatever the address.

/// Starts to bring the cache line of `target` into the cache; a hint, and nothing on other processors than x86-64.
#[inline(always)]
pub fn prefetch<T>(target: &T) {
    let target = std::ptr::from_ref(target);
    #[cfg(all(target_arch = "x86_64", not(loom)))]
    // SAFETY: obligation 1.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(target.cast());
    }
    #[cfg(not(all(target_arch = "x86_64", not(loom))))]
    let _ = target;
}
