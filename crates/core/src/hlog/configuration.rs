//! How the memory of a hybrid log is divided.
//!
//! Called by the store, which plans its total memory (DESIGN D5) and validates what a user asked for.

use super::page_layout::{PAGE_SIZE_BITS_MAX, PAGE_SIZE_BITS_MIN};
use crate::error::{Error, ErrorKind};

/// Fewest frames that a log on a device works with.
pub const FRAMES_MIN: u64 = 6;

/// Sizes of a hybrid log.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HybridLogConfig {
    /// log2 of the page size in bytes: 16 (64 KiB) to 25 (32 MiB). A log that exists keeps its own.
    pub page_size_bits: u32,
    /// Bytes of memory for page frames; rounded down to whole pages.
    pub memory_bytes: u64,
    /// Part of the frames in use whose records are updated in place, above 0 and at most 1. At least one page is
    /// mutable, and at least two are left to be flushed.
    pub mutable_fraction: f64,
    /// Bytes for the checksums of pages on the device, so that single-record reads are verified without a second read.
    pub checksum_cache_bytes: u64,
    /// Bytes for the blocks of single-record reads under way, all threads together. One larger record at a time may be read
    /// in memory of its own.
    pub read_buffer_bytes: u64,
}

impl HybridLogConfig {
    /// Checks the sizes.
    ///
    /// # Errors
    /// `InvalidConfiguration` with the key, the value and what would be right.
    pub fn validate(&self) -> Result<(), Error> {
        let refuse = |message: String| Err(Error::new(ErrorKind::InvalidConfiguration, message));
        if !(PAGE_SIZE_BITS_MIN..=PAGE_SIZE_BITS_MAX).contains(&self.page_size_bits) {
            return refuse(format!(
                "page_size_bits is {}, it must be {PAGE_SIZE_BITS_MIN} to {PAGE_SIZE_BITS_MAX} (64 KiB to 32 MiB)",
                self.page_size_bits
            ));
        }
        if self.frames() < FRAMES_MIN {
            return refuse(format!(
                "log_memory_size is {} bytes, it must be at least {} bytes ({FRAMES_MIN} pages of {} bytes): \
                 give more memory or lower page_size_bits",
                self.memory_bytes,
                FRAMES_MIN << self.page_size_bits,
                1_u64 << self.page_size_bits
            ));
        }
        if !(self.mutable_fraction > 0.0 && self.mutable_fraction <= 1.0) {
            return refuse(format!(
                "mutable_fraction is {}, it must be above 0 and at most 1",
                self.mutable_fraction
            ));
        }
        Ok(())
    }

    /// Whole frames that fit into the memory.
    #[must_use]
    pub fn frames(&self) -> u64 {
        self.memory_bytes >> self.page_size_bits
    }

    /// The largest page size, not above `self.page_size_bits`, with which the memory holds `frames` pages.
    #[must_use]
    pub fn page_size_bits_for(&self, frames: u64) -> u32 {
        (PAGE_SIZE_BITS_MIN..=self.page_size_bits)
            .rev()
            .find(|bits| self.memory_bytes >> bits >= frames)
            .unwrap_or(PAGE_SIZE_BITS_MIN)
    }
}

/// How the frames are used. `free + read_only + mutable = frames`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FramePlan {
    /// Frames kept ready ahead of the tail.
    pub(crate) free: u64,
    /// Pages, counted from the tail page down, that are updated in place.
    pub(crate) mutable: u64,
}

impl FramePlan {
    pub(crate) fn new(frames: u64, mutable_fraction: f64) -> Self {
        let free = (frames / 16).clamp(1, 16);
        let used = frames - free;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a fraction in (0, 1] of a frame count far below 2^52"
        )]
        let wanted = (used as f64 * mutable_fraction).floor() as u64;
        let in_flight = (frames / 16).clamp(2, 8);
        Self { free, mutable: wanted.clamp(1, used.saturating_sub(in_flight).max(1)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_plan_leaves_pages_to_flush() {
        for frames in FRAMES_MIN..500 {
            for fraction in [0.0001, 0.1, 0.5, 0.9, 1.0] {
                let plan = FramePlan::new(frames, fraction);
                assert!(plan.mutable >= 1 && plan.free >= 1, "{frames} {fraction} {plan:?}");
                assert!(plan.mutable + plan.free + 2 <= frames, "{frames} {fraction} {plan:?}");
            }
        }
    }

    #[test]
    fn what_cannot_work_is_refused_with_key_value_and_range() {
        let good = HybridLogConfig {
            page_size_bits: 16,
            memory_bytes: 1 << 20,
            mutable_fraction: 0.9,
            checksum_cache_bytes: 1 << 16,
            read_buffer_bytes: 1 << 20,
        };
        good.validate().unwrap();
        for (config, key) in [
            (HybridLogConfig { page_size_bits: 15, ..good }, "page_size_bits is 15"),
            (HybridLogConfig { page_size_bits: 26, ..good }, "page_size_bits is 26"),
            (HybridLogConfig { memory_bytes: 65_536 * 5, ..good }, "log_memory_size is 327680"),
            (HybridLogConfig { mutable_fraction: 0.0, ..good }, "mutable_fraction is 0"),
            (HybridLogConfig { mutable_fraction: 1.5, ..good }, "mutable_fraction is 1.5"),
            (HybridLogConfig { mutable_fraction: f64::NAN, ..good }, "mutable_fraction is NaN"),
        ] {
            let error = config.validate().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
            assert!(error.to_string().contains(key), "{error}");
        }
    }
}
