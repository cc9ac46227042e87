#![expect(unsafe_code, reason = "every operation finds its record's words here, without a bounds check")]
//! The frames: from an address to the words it names.
//!
//! Caller: [`PageRing`](super::PageRing), whose protocol says when a frame means which page. Here any address names some words
//! of the frames, so that nothing has to be checked: a stale or made-up one finds words that mean nothing, as atomics.
//!
//! ```text
//! address  [ page           | offset ]
//!             | & slot mask     |
//!             v                 |
//! starts   [ frame of page ] -> + offset -> words to the end of the page, or the first LEAD_WORDS of them
//! memory   [ frame 0 ][ frame 1 ] .. [ frame n - 1 ][ padding ]
//! ```
//!
//! # Soundness
//! 1. `starts` has `slot_mask + 1` elements for ever, and a slot number is masked with `slot_mask`.
//! 2. Every element of `starts` is, from the beginning, the first of `page_words` words of a frame inside `memory`, and at
//!    least `LEAD_WORDS - 1` words of `memory` lie behind every frame ([`Frames::new`] checks the length).
//! 3. An offset is masked with `page_words - 1`, and pages are powers of two.
//! 4. `memory` is never replaced, and what is lent borrows from `self`, which holds it.

use std::sync::Arc;

use oxifaster_device::Words;
use oxifaster_device::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use super::page_layout::PageLayout;
use crate::address::Address;
use crate::prefetch::prefetch;

/// Words that can be lent at any address without knowing what lies there: a header with the fixed parts of most records.
pub const LEAD_WORDS: usize = 8;

/// Words of a record that are asked for ahead: more would push out what others asked for.
const PREFETCH_WORDS_MAX: usize = 4 * LEAD_WORDS;

/// Frames and which page each of them holds.
#[derive(Debug)]
pub(super) struct Frames {
    /// First word of the frame of a page, at the page's slot.
    starts: Box<[AtomicPtr<AtomicU64>]>,
    slot_mask: u64,
    page_words_bits: u32,
    offset_mask: u64,
    layout: PageLayout,
    count: u64,
    memory: Arc<Words>,
}

impl Frames {
    /// Words of memory for so many frames.
    pub(super) fn memory_words(layout: PageLayout, count: u64) -> u64 {
        count.saturating_mul(layout.page_words()).saturating_add(LEAD_WORDS as u64)
    }

    /// As many frames as `memory` has room for, none of them assigned.
    ///
    /// # Panics
    /// With room for fewer than two.
    pub(super) fn new(layout: PageLayout, memory: Arc<Words>) -> Self {
        let count = (memory.len() as u64).saturating_sub(LEAD_WORDS as u64) / layout.page_words();
        assert!(count >= 2, "a page ring needs at least two frames");
        let slots = count.next_power_of_two();
        let first = memory.as_ptr().cast_mut();
        Self {
            starts: (0..slots).map(|_| AtomicPtr::new(first)).collect(),
            slot_mask: slots - 1,
            page_words_bits: layout.page_size_bits() - 3,
            offset_mask: layout.page_words() - 1,
            layout,
            count,
            memory,
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn memory(&self) -> &Arc<Words> {
        &self.memory
    }

    /// The words of the frame of a page, as a range of the memory.
    pub(super) fn range(&self, page: u64) -> std::ops::Range<usize> {
        let start = usize::try_from(page % self.count * self.layout.page_words()).unwrap_or(usize::MAX);
        start..start.saturating_add(usize::try_from(self.layout.page_words()).unwrap_or(usize::MAX))
    }

    /// Gives a page its frame. Relaxed: whoever learns an address in the page learns of the frame with it.
    pub(super) fn assign(&self, page: u64) {
        if let Some(frame) = self.memory.get(self.range(page)) {
            self.slot(page).store(frame.as_ptr().cast_mut(), Ordering::Relaxed);
        }
    }

    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "masked to the table's length")]
    fn slot(&self, page: u64) -> &AtomicPtr<AtomicU64> {
        // SAFETY: obligation 1.
        unsafe { self.starts.get_unchecked((page & self.slot_mask) as usize) }
    }

    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "offsets fit memory that is mapped")]
    fn offset(&self, address: Address) -> usize {
        (address.words() & self.offset_mask) as usize
    }

    #[inline(always)]
    fn first(&self, address: Address) -> *const AtomicU64 {
        let frame = self.slot(address.words() >> self.page_words_bits).load(Ordering::Relaxed);
        // SAFETY: obligations 2 and 3: the sum stays inside the frame.
        unsafe { frame.add(self.offset(address)) }
    }

    /// The words from `address` to the end of its page.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "offsets fit memory that is mapped")]
    pub(super) fn words(&self, address: Address) -> &[AtomicU64] {
        let len = self.offset_mask as usize + 1 - self.offset(address);
        // SAFETY: obligations 2, 3 and 4: from the offset to the end of the frame.
        unsafe { std::slice::from_raw_parts(self.first(address), len) }
    }

    /// The words at `address`, those behind the end of its page included if it lies that close.
    #[inline(always)]
    pub(super) fn lead(&self, address: Address) -> &[AtomicU64; LEAD_WORDS] {
        // SAFETY: obligations 2, 3 and 4: the frame's words, and the memory behind the frame.
        unsafe { &*self.first(address).cast() }
    }

    /// Starts to bring the first `words` words at `address`, at most `PREFETCH_WORDS_MAX`, into the cache.
    #[inline(always)]
    pub(super) fn prefetch(&self, address: Address, words: usize) {
        let lead = self.lead(address);
        let [first, ..] = lead;
        prefetch(first);
        // A line has as many words as a lead: the last word is on the same line or on the next one.
        if let Some(last) = lead.get(words.saturating_sub(1)) {
            prefetch(last);
            return;
        }
        let all = self.words(address);
        let words = words.min(PREFETCH_WORDS_MAX);
        for line in 1..words.div_ceil(LEAD_WORDS) {
            all.get(line * LEAD_WORDS).into_iter().for_each(prefetch);
        }
        all.get(words - 1).into_iter().for_each(prefetch);
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    fn frames(count: u64) -> Frames {
        let layout = PageLayout::new(16);
        let words = usize::try_from(Frames::memory_words(layout, count)).unwrap();
        let memory = Words::zeroed(words).unwrap();
        for (number, word) in memory.iter().enumerate() {
            word.store(number as u64, Ordering::Relaxed);
        }
        Frames::new(layout, Arc::new(memory))
    }

    #[test]
    fn an_assigned_page_is_its_frame() {
        let frames = frames(3);
        let page_words = frames.layout.page_words();
        for page in [0, 1, 2, 3, 100, 1 << 34] {
            frames.assign(page);
            let address = frames.layout.start_of(page).plus(700);
            let place = page % 3 * page_words + 700;
            let words = frames.words(address);
            assert_eq!(words.len() as u64, page_words - 700);
            assert_eq!(words[0].load(Ordering::Relaxed), place);
            assert_eq!(frames.lead(address)[7].load(Ordering::Relaxed), place + 7);
            assert_eq!(frames.range(page).start as u64, page % 3 * page_words);
        }
    }

    /// Every address is inside, whatever was assigned.
    #[test]
    fn any_address_names_words_of_the_frames() {
        let frames = frames(3);
        let ends = [0, 1, 8191].map(|offset| offset + (1 << 47));
        for address in ends.into_iter().chain([0, 8191, Address::MAX.words()]).map(Address::new) {
            for page in [5, 2] {
                frames.assign(page);
                let memory = frames.memory().as_ptr_range();
                let lead = frames.lead(address).as_ptr_range();
                assert!(memory.start <= lead.start && lead.end <= memory.end, "{address}");
                let words = frames.words(address).as_ptr_range();
                assert!(memory.start <= words.start && words.end <= memory.end, "{address}");
            }
        }
    }
}
