#![expect(unsafe_code, reason = "the processor's string store is an instruction")]
//! Zeroing of word memory that others may look at meanwhile.
//!
//! Layer 1. Callers: the ring of `log`, which zeroes what it releases, megabytes at a time. A loop of relaxed stores is not turned into
//! wider ones by the compiler, and each of them first fetches a line that is about to be overwritten; the string store of x86-64 does not.
//!
//! # Soundness
//! 1. The words are memory behind a shared reference to atomics, so it may be written, and the instruction writes as many words as the slice
//!    has, from its start. It writes each aligned word as a whole, so it does what a relaxed store of each would do.

use oxifaster_device::sync::atomic::AtomicU64;
#[cfg(not(all(target_arch = "x86_64", not(loom), not(miri))))]
use oxifaster_device::sync::atomic::Ordering;

/// Stores zero in each of `words`, as relaxed stores would: what the same thread stores later, with release, is not seen before.
#[inline]
pub fn store_zeros(words: &[AtomicU64]) {
    #[cfg(all(target_arch = "x86_64", not(loom), not(miri)))]
    // SAFETY: obligation 1. The fence is for processors that combine the stores of a string.
    unsafe {
        std::arch::asm!(
            "rep stosq",
            "sfence",
            inout("rcx") words.len() => _,
            inout("rdi") words.as_ptr() => _,
            in("rax") 0_u64,
            options(nostack, preserves_flags),
        );
    }
    #[cfg(not(all(target_arch = "x86_64", not(loom), not(miri))))]
    for word in words {
        word.store(0, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use oxifaster_device::sync::atomic::Ordering;

    use super::*;

    #[test]
    fn exactly_the_given_words_become_zero() {
        for len in [0, 1, 2, 7, 8, 9, 63, 64, 65, 511, 1000] {
            for start in [0, 1, 7, 8] {
                let words: Vec<AtomicU64> = (0..start + len + 9).map(|_| AtomicU64::new(u64::MAX)).collect();
                store_zeros(words.get(start..start + len).unwrap());
                for (place, word) in words.iter().enumerate() {
                    let expected = if (start..start + len).contains(&place) { 0 } else { u64::MAX };
                    assert_eq!(
                        word.load(Ordering::Relaxed),
                        expected,
                        "{len} words from {start}: word {place}"
                    );
                }
            }
        }
    }
}
