//! The seized tail: one thread appends, everybody else finds the page full and waits outside.
//!
//! Caller: in-memory compaction. Its copies must not compete for the last free frames with the very writers that wait for
//! it: whoever appended to a page of copies would use up what the next copies need, until no page could be copied any more.
//!
//! ```text
//! tail word, as others see it   [ page | full ]      every reservation fails, a page turn finds no frame
//! the owner's own cursor        [ page | offset ]    moves on without atomics, turns pages by itself
//! on drop                       the cursor becomes the tail
//! ```
//!
//! Why it is enough that the word says "full": a reservation is one `fetch_add` on it, so each either came before the seizure
//! and has its space, or meets an offset beyond the page's end. Pages are turned under a lock that also guards the flag.

use super::page_ring::PageRing;
use crate::address::Address;
use crate::epoch::EpochGuard;

/// The tail, in one thread's hands until this is dropped.
#[derive(Debug)]
pub struct SeizedTail<'r> {
    ring: &'r PageRing,
    page: u64,
    offset: u64,
}

impl<'r> SeizedTail<'r> {
    pub(super) fn new(ring: &'r PageRing, page: u64, offset: u64) -> Self {
        Self { ring, page, offset }
    }

    /// The page that the next space is taken from.
    #[must_use]
    pub fn page(&self) -> u64 {
        self.page
    }

    /// Whether `size_words` fit into the page, or a frame is ready beside `spare` others.
    #[must_use]
    pub fn has_room(&self, size_words: u64, spare: u64) -> bool {
        let next = self.page + 1;
        self.fits(size_words)
            || (next < self.ring.layout().pages_max() && next + spare < self.ring.ready_pages())
    }

    /// Takes `size_words`, from the next page if need be; `None` when no frame is ready for it.
    pub fn allocate(&mut self, _guard: &EpochGuard<'_>, size_words: u64) -> Option<Address> {
        if !self.fits(size_words) {
            if !self.has_room(size_words, 0) {
                return None;
            }
            self.page += 1;
            self.offset = self.ring.layout().first_word();
            self.ring.enter_page_seized(self.page);
        }
        let address = self.ring.layout().start_of(self.page).plus(self.offset);
        self.offset += size_words;
        Some(address)
    }

    fn fits(&self, size_words: u64) -> bool {
        self.offset + size_words <= self.ring.layout().page_words()
    }
}

impl Drop for SeizedTail<'_> {
    fn drop(&mut self) {
        self.ring.release_tail(self.page, self.offset);
    }
}
