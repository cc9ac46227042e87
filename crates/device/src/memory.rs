#![expect(
    unsafe_code,
    reason = "maps anonymous memory and lends it as atomic words and, under a promise, as bytes"
)]
//! Word memory: zeroed, block-aligned, huge pages advised, accessed as atomics.
//!
//! Everything that several threads or a device may touch lives in [`Words`]. It dereferences to `[AtomicU64]`, so that
//! Rust code can never race on it; the kernel's reads and writes on behalf of a request count as another thread's.
//!
//! # Soundness
//! 1. The memory is `len` words, aligned to 4096 bytes, initialised (zeros), owned by this value alone, and released
//!    only by `drop`; references handed out borrow from `self`.
//! 2. `AtomicU64` has the size, alignment and bit validity of `u64`, for which zeros are valid.
//! 3. [`Words::bytes`] is `unsafe`: its caller promises that nothing writes to the range while the slice lives.
//! 4. `Words` may be sent and shared: all safe access is atomic.

use std::fmt;
use std::ops::Deref;

use crate::error::{DeviceError, DeviceErrorKind};
use crate::sync::atomic::AtomicU64;

/// Zeroed word memory of fixed length.
pub struct Words {
    #[cfg(not(loom))]
    mapping: crate::os::Mapping,
    #[cfg(loom)]
    words: Vec<AtomicU64>,
}

impl Words {
    /// Maps `len_words` zeroed words. Physical memory is used only when words are touched. Huge pages are advised for
    /// memory of 2 MiB and more.
    ///
    /// # Errors
    /// `Io` when the operating system has no memory; `InvalidRequest` for a length of zero.
    pub fn zeroed(len_words: usize) -> Result<Self, DeviceError> {
        if len_words == 0 {
            return Err(DeviceError::new(DeviceErrorKind::InvalidRequest, "word memory of length zero"));
        }
        #[cfg(not(loom))]
        return Ok(Self { mapping: crate::os::Mapping::zeroed(len_words)? });
        #[cfg(loom)]
        return Ok(Self { words: (0..len_words).map(|_| AtomicU64::new(0)).collect() });
    }

    /// Lends a range as bytes.
    ///
    /// # Safety
    /// Nothing may write to the words of `range` while the slice lives: no store, no compare-exchange, no device read.
    ///
    /// # Panics
    /// When the range lies outside.
    #[cfg(not(loom))]
    #[must_use]
    pub unsafe fn bytes(&self, range: std::ops::Range<usize>) -> &[u8] {
        assert!(range.start <= range.end && range.end <= self.len(), "words {range:?} of {}", self.len());
        // SAFETY: obligation 1: the offset stays inside the mapping by the assertion.
        let start = unsafe { self.mapping.as_ptr().add(range.start) };
        // SAFETY: obligations 1 and 3: initialised, in range, not written while borrowed.
        unsafe { std::slice::from_raw_parts(start.cast::<u8>(), (range.end - range.start) * 8) }
    }

    /// Address of the first word, for system calls.
    #[cfg(not(loom))]
    pub(crate) fn as_ptr(&self) -> *mut u64 {
        self.mapping.as_ptr()
    }
}

impl Deref for Words {
    type Target = [AtomicU64];

    #[cfg(not(loom))]
    #[inline(always)]
    fn deref(&self) -> &[AtomicU64] {
        // SAFETY: obligations 1 and 2.
        unsafe {
            std::slice::from_raw_parts(self.mapping.as_ptr().cast::<AtomicU64>(), self.mapping.len_words())
        }
    }

    #[cfg(loom)]
    fn deref(&self) -> &[AtomicU64] {
        &self.words
    }
}

impl fmt::Debug for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Words({} words)", self.len())
    }
}
