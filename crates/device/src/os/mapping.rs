#![expect(unsafe_code, reason = "maps and unmaps anonymous memory")]
//! Anonymous zeroed memory, aligned to 4096 bytes, huge pages advised.
//!
//! # Soundness
//! 1. `start` points to `len_words * 8` bytes that this value owns from creation to drop, zeroed at creation.
//! 2. `drop` gives back exactly what was taken.
//! 3. The pointer is only an address: whoever dereferences it argues for itself, so the type may be sent and shared.
#![cfg(not(loom))]

use std::ptr::NonNull;

use crate::error::{DeviceError, DeviceErrorKind};

/// Memory from this size on is aligned to and advised for huge pages.
const HUGE_PAGE_BYTES: usize = 2 << 20;

/// An owned region of zeroed memory.
pub(crate) struct Mapping {
    start: NonNull<u64>,
    len_words: usize,
    #[cfg(unix)]
    mapped: (NonNull<std::ffi::c_void>, usize),
}

// SAFETY: obligation 3.
unsafe impl Send for Mapping {}
// SAFETY: obligation 3.
unsafe impl Sync for Mapping {}

impl Mapping {
    pub(crate) fn as_ptr(&self) -> *mut u64 {
        self.start.as_ptr()
    }

    pub(crate) fn len_words(&self) -> usize {
        self.len_words
    }
}

fn out_of_memory(bytes: usize) -> DeviceError {
    DeviceError::new(DeviceErrorKind::Io, format!("the operating system refused {bytes} bytes of memory"))
}

#[cfg(unix)]
impl Mapping {
    pub(crate) fn zeroed(len_words: usize) -> Result<Self, DeviceError> {
        use rustix::mm::{MapFlags, ProtFlags};
        let bytes = len_words.checked_mul(8).ok_or_else(|| out_of_memory(usize::MAX))?;
        let huge = bytes >= HUGE_PAGE_BYTES;
        let mapped_bytes = if huge { bytes + HUGE_PAGE_BYTES } else { bytes };
        // SAFETY: obligation 1: a fresh anonymous mapping at an address the kernel chooses touches nobody's memory.
        let base = unsafe {
            rustix::mm::mmap_anonymous(
                std::ptr::null_mut(),
                mapped_bytes,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE | MapFlags::NORESERVE,
            )
        }
        .map_err(|error| DeviceError::io(format!("mapping {mapped_bytes} bytes of memory"), error.into()))?;
        let base = NonNull::new(base).ok_or_else(|| out_of_memory(bytes))?;
        let padding = if huge { base.as_ptr().align_offset(HUGE_PAGE_BYTES) } else { 0 };
        // SAFETY: obligation 1: the padding is below the huge-page size that was mapped on top.
        let start = unsafe { base.byte_add(padding) }.cast::<u64>();
        #[cfg(target_os = "linux")]
        if huge {
            huge_pages::report_if_off();
            // SAFETY: obligation 1: the advised range is ours, and the advice changes no content.
            let advised = unsafe {
                rustix::mm::madvise(start.as_ptr().cast(), bytes, rustix::mm::Advice::LinuxHugepage)
            };
            if let Err(error) = advised {
                tracing::warn!(bytes, %error, "huge pages were refused: ordinary pages are used, which are slower");
            }
        }
        Ok(Self { start, len_words, mapped: (base, mapped_bytes) })
    }
}

#[cfg(unix)]
impl Drop for Mapping {
    fn drop(&mut self) {
        let (base, bytes) = self.mapped;
        // SAFETY: obligation 2: the very range that was mapped, and no borrow outlives the value.
        let unmapped = unsafe { rustix::mm::munmap(base.as_ptr(), bytes) };
        debug_assert!(unmapped.is_ok(), "unmapping {bytes} bytes");
    }
}

#[cfg(not(unix))]
fn layout(len_words: usize) -> Option<std::alloc::Layout> {
    std::alloc::Layout::from_size_align(len_words.checked_mul(8)?, crate::BLOCK_BYTES).ok()
}

#[cfg(not(unix))]
impl Mapping {
    pub(crate) fn zeroed(len_words: usize) -> Result<Self, DeviceError> {
        let _ = HUGE_PAGE_BYTES;
        let layout = layout(len_words).ok_or_else(|| out_of_memory(usize::MAX))?;
        // SAFETY: obligation 1: the layout is not empty, since `Words` refuses a length of zero.
        let start = NonNull::new(unsafe { std::alloc::alloc_zeroed(layout) });
        let start = start.ok_or_else(|| out_of_memory(layout.size()))?.cast::<u64>();
        Ok(Self { start, len_words })
    }
}

#[cfg(not(unix))]
impl Drop for Mapping {
    fn drop(&mut self) {
        if let Some(layout) = layout(self.len_words) {
            // SAFETY: obligation 2: the same layout as at creation.
            unsafe { std::alloc::dealloc(self.start.as_ptr().cast(), layout) };
        }
    }
}

/// Whether the system gives huge pages to who asks for them. One that never does accepts the advice all the same.
#[cfg(target_os = "linux")]
mod huge_pages {
    use std::sync::Once;

    const SETTING: &str = "/sys/kernel/mm/transparent_hugepage/enabled";

    /// Says once in a process that there are none.
    pub(super) fn report_if_off() {
        static REPORTED: Once = Once::new();
        REPORTED.call_once(|| {
            // A kernel without the file has said so by refusing the advice.
            if std::fs::read_to_string(SETTING).is_ok_and(|setting| is_off(&setting)) {
                tracing::warn!(
                    "huge pages are switched off ({SETTING} is 'never'): operations on large stores are slower; 'madvise' lets this \
                     process have them"
                );
            }
        });
    }

    /// The chosen word of the setting stands in brackets.
    fn is_off(setting: &str) -> bool {
        setting.contains("[never]")
    }

    #[cfg(test)]
    #[test]
    fn the_chosen_word_counts() {
        assert!(is_off("always madvise [never]\n"));
        assert!(!is_off("always [madvise] never\n") && !is_off(""));
    }
}
