//! The latch of a mutable fixed or varlen record.

use std::mem;

use oxifaster_device::sync::atomic::{Ordering, fence};
use oxifaster_device::sync::canary;

use super::info::RecordInfo;
use super::layout::{RecordLayout, join, split};
use super::reference::RecordRef;
use crate::mutation::{Mutation, planted};

/// Why a latch can't be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LatchError {
    /// Another writer is inside.
    Busy,
    /// A newer record replaces this one.
    Sealed,
    /// The key was deleted.
    Tombstone,
    /// The record never became reachable.
    Invalid,
}

/// Exclusive right to change a record's value. Released on drop, also on unwind.
#[derive(Debug)]
pub struct Latched<'g> {
    record: RecordRef<'g>,
    layout: RecordLayout,
}

impl<'g> Latched<'g> {
    #[inline(always)]
    pub(super) fn take(record: RecordRef<'g>, layout: RecordLayout) -> Result<Self, LatchError> {
        let header = record.word(0);
        // Acquire, here and when the exchange fails, pairs with the Release of a seal: who is refused because of it finds
        // the published successor when it looks the key up again.
        let seen_order =
            if planted(Mutation::RecordSealSeenRelaxed) { Ordering::Relaxed } else { Ordering::Acquire };
        // Acquire pairs with the Release of the former holder's release: its value words are seen.
        let order = if planted(Mutation::RecordLatchRelaxed) { Ordering::Relaxed } else { Ordering::Acquire };
        let mut seen = header.load(seen_order);
        loop {
            if let Some(refusal) = refusal(RecordInfo::from_bits(seen)) {
                return Err(refusal);
            }
            match header.compare_exchange_weak(seen, seen | RecordInfo::LATCH, order, seen_order) {
                Ok(_) => return Ok(Self { record, layout }),
                Err(other) => seen = other,
            }
        }
    }

    /// Whether the value is still the one that was copied at `sequence`.
    #[inline]
    #[must_use]
    pub fn value_unchanged_since(&self, sequence: u64) -> bool {
        // Relaxed: only holders of the latch change the guard, and taking the latch made their stores visible.
        self.record.word(self.layout.guard_at()).load(Ordering::Relaxed) == sequence
            || planted(Mutation::RecordUpdateUnchecked)
    }

    /// Whether a value of `len` bytes fits.
    #[inline(always)]
    #[must_use]
    pub fn fits(&self, len: usize) -> bool {
        self.record.fits(len)
    }

    /// Replaces the value, which fits, and releases the latch.
    ///
    /// # Panics
    /// When it does not fit.
    #[inline(always)]
    pub fn write_value(self, value: &[u8]) {
        if !self.fits(value.len()) {
            does_not_fit(value.len());
        }
        let guard = self.record.word(self.layout.guard_at());
        let before = guard.load(Ordering::Relaxed);
        let (odd, even) = if self.layout.is_varlen_value() {
            let (len, sequence) = split(before);
            let new_len = u32::try_from(value.len()).unwrap_or(u32::MAX);
            (join(len, sequence.wrapping_add(1)), join(new_len, sequence.wrapping_add(2)))
        } else {
            (before.wrapping_add(1), before.wrapping_add(2))
        };
        guard.store(odd, Ordering::Relaxed);
        // Pairs with the reader's Acquire fence: whoever reads a word stored below sees at least the odd sequence.
        if !planted(Mutation::RecordWriteWithoutFence) {
            fence(Ordering::Release);
        }
        self.record.store_bytes(self.record.value_start(), value);
        // Release pairs with the reader's Acquire load: an even sequence shows all of the value.
        let order = if planted(Mutation::RecordEvenRelaxed) { Ordering::Relaxed } else { Ordering::Release };
        guard.store(even, order);
    }

    /// Sets the tombstone and releases the latch.
    pub fn set_tombstone(self) {
        self.release(RecordInfo::TOMBSTONE);
    }

    /// Seals the record, whose successor is published, and releases the latch.
    pub fn seal(self) {
        if canary::armed("supersede_without_seal") || planted(Mutation::RecordSupersedeWithoutSeal) {
            return;
        }
        self.release(RecordInfo::SEALED);
    }

    /// Sets header bits and releases the latch in one step.
    fn release(self, bits: u64) {
        self.record.store_unlatched(bits);
        mem::forget(self);
    }
}

impl Drop for Latched<'_> {
    #[inline]
    fn drop(&mut self) {
        self.record.store_unlatched(0);
    }
}

#[cold]
#[inline(never)]
fn does_not_fit(len_bytes: usize) -> ! {
    panic!("a value of {len_bytes} bytes does not fit")
}

/// Why the latch of a record with this header can't be had.
#[inline(always)]
fn refusal(info: RecordInfo) -> Option<LatchError> {
    if info.is_sealed() {
        Some(LatchError::Sealed)
    } else if info.is_tombstone() && !planted(Mutation::RecordLatchIgnoresTombstone) {
        Some(LatchError::Tombstone)
    } else if info.is_invalid() {
        Some(LatchError::Invalid)
    } else if info.is_latched() && !canary::armed("ignore_latch") && !planted(Mutation::RecordLatchShared) {
        Some(LatchError::Busy)
    } else {
        None
    }
}
