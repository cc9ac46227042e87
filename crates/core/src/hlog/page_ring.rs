//! The page ring: word memory for the newest pages of the log, and the addresses that divide it into regions.
//!
//! This is the concurrent heart of the hybrid log, without device and threads, so that loom can run it as it is. Callers:
//! [`HybridLog`](super::HybridLog) alone. A page lives in a *frame*; the frame of page `p` is `p mod frames`.
//!
//! ```text
//!   device only          immutable      fuzzy        mutable         free frames
//! ---------------|-----------------|-----------|-----------------|---------------
//!  begin        head       safe_read_only  read_only            tail
//!      safe_head <= head <= flushed_until <= safe_read_only <= read_only <= tail
//! ```
//!
//! | field | moved by | read by |
//! |---|---|---|
//! | `tail` | every allocation (fetch-add); page turns and flushes under `turning` (compare-exchange) | everybody |
//! | `read_only` | [`shift_read_only`](PageRing::shift_read_only), under `shifts` | operations, under a guard |
//! | `read_floor`, `update_floor` | whoever moves `head` or `read_only`, and [`refuse`](PageRing::refuse), under `shifts` | operations, under a guard |
//! | `safe_read_only` | [`complete_shifts`](PageRing::complete_shifts), under `shifts` | operations, the flusher |
//! | `flushed_until` | the flusher | the evictor |
//! | `head` | [`shift_head`](PageRing::shift_head), the maintenance thread alone | operations, under a guard |
//! | `safe_head`, `ready_pages` | [`release_frames`](PageRing::release_frames), the maintenance thread alone | page turns |
//!
//! # Protocol
//! 1. An operation loads `head` and `read_only` after it entered its epoch guard and uses them until it leaves.
//! 2. A shift stores the new value, then bumps the epoch (which carries the full fence). When the bump's epoch is safe,
//!    nobody works with the old value any more; only then does the safe counterpart follow.
//! 3. Hence words below `safe_read_only` never change, and frames of pages below `safe_head` are referenced by nobody.
//! 4. Page `p` is opened only if `p < ready_pages`: its frame's former page is below `safe_head`, durable, and the frame
//!    was zeroed. `ready_pages` is stored with Release after the zeroing; the page turn loads it with Acquire.
//! 5. The frame of a page is assigned before the tail moves onto the page (Release); whoever holds an address in that
//!    page got it, directly or through the index, from somebody who saw the tail there.
//! 6. `head` is above every address that is no record's (0 and 1): one comparison tells a record in memory.
//! 7. Space behind the last record of a page, and between a flushed tail and its block's end, stays zero: "no record".

use std::collections::VecDeque;
use std::sync::Arc;

use crossbeam_utils::CachePadded;
use oxifaster_device::Words;
use oxifaster_device::sync::Mutex;
use oxifaster_device::sync::atomic::{AtomicU64, Ordering};
use oxifaster_device::sync::canary;

use super::frames::{Frames, LEAD_WORDS};
use super::page_layout::{PageLayout, TAIL_SPARE_BITS};
use super::seized_tail::SeizedTail;
use crate::address::Address;
use crate::epoch::{Epoch, EpochGuard, LightEpoch};
use crate::mutation::{Mutation, order_unless, planted};

/// Why [`PageRing::try_allocate`] took nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AllocateRefusal {
    /// The tail page is full: leave the guard and make room.
    PageFull,
}

/// What [`PageRing::turn_page`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PageTurn {
    /// The tail is on a new page now, or somebody else had turned it already.
    Turned,
    /// No frame is ready for this page yet.
    NoFrame(u64),
    /// The address space is used up.
    EndOfLog,
}

/// A read-only shift that waits for its epoch.
#[derive(Clone, Copy, Debug)]
struct Shift {
    to: Address,
    epoch: Epoch,
}

/// Addresses that every operation reads and that move once per page.
#[derive(Debug)]
struct ReadMostly {
    begin: AtomicU64,
    head: AtomicU64,
    read_only: AtomicU64,
    safe_read_only: AtomicU64,
    /// `head`, or beyond all addresses while reads are refused.
    read_floor: AtomicU64,
    /// `read_only`, or beyond all addresses while updates are refused.
    update_floor: AtomicU64,
}

/// Shifts that wait for their epochs, oldest first, and who is refused.
#[derive(Debug, Default)]
struct Shifts {
    waiting: VecDeque<Shift>,
    reads_refused: bool,
    updates_refused: bool,
}

/// Addresses that only background work and page turns look at.
#[derive(Debug)]
struct Background {
    flushed_until: AtomicU64,
    safe_head: AtomicU64,
    ready_pages: AtomicU64,
}

/// The frames and the address line. The module header has the protocol.
#[derive(Debug)]
pub struct PageRing {
    layout: PageLayout,
    frames: Frames,
    epoch: LightEpoch,
    tail: CachePadded<AtomicU64>,
    line: CachePadded<ReadMostly>,
    background: CachePadded<Background>,
    /// Held while the page turns; true while the tail is seized.
    turning: Mutex<bool>,
    shifts: Mutex<Shifts>,
    /// The bits of the tail word that are its offset.
    tail_offset_mask: u64,
}

impl PageRing {
    /// A ring over `memory` whose log starts, or goes on, at `tail`. Everything below `tail` counts as read-only and
    /// durable; `head` says from where on the pages' words are in (or will be read into) their frames.
    pub(crate) fn new(
        layout: PageLayout,
        memory: Arc<Words>,
        epoch: LightEpoch,
        begin: Address,
        head: Address,
        tail: Address,
    ) -> Self {
        let frames = Frames::new(layout, memory);
        let tail_page = layout.page_of(tail);
        let safe_head_page = layout.page_of(head);
        let head = head.max(Address::NULL.plus(layout.first_word()));
        let ready_pages = safe_head_page + frames.count();
        (safe_head_page..=tail_page).for_each(|page| frames.assign(page));
        Self {
            layout,
            frames,
            epoch,
            tail: CachePadded::new(AtomicU64::new(
                (tail_page << layout.tail_offset_bits()) | layout.offset_of(tail).max(layout.first_word()),
            )),
            line: CachePadded::new(ReadMostly {
                begin: AtomicU64::new(begin.words()),
                head: AtomicU64::new(head.words()),
                read_only: AtomicU64::new(tail.words()),
                safe_read_only: AtomicU64::new(tail.words()),
                read_floor: AtomicU64::new(head.words()),
                update_floor: AtomicU64::new(tail.words()),
            }),
            background: CachePadded::new(Background {
                flushed_until: AtomicU64::new(tail.words()),
                safe_head: AtomicU64::new(head.words()),
                ready_pages: AtomicU64::new(ready_pages),
            }),
            turning: Mutex::new(false),
            shifts: Mutex::default(),
            tail_offset_mask: (1 << layout.tail_offset_bits()) - 1,
        }
    }

    /// Words of memory that a ring of so many frames needs.
    pub(crate) fn memory_words(layout: PageLayout, frames: u64) -> u64 {
        Frames::memory_words(layout, frames)
    }

    /// Page geometry.
    #[must_use]
    pub fn layout(&self) -> PageLayout {
        self.layout
    }

    /// Number of frames.
    #[must_use]
    pub fn frames(&self) -> u64 {
        self.frames.count()
    }

    /// The epochs that protect this memory.
    #[must_use]
    pub fn epoch(&self) -> &LightEpoch {
        &self.epoch
    }

    pub(crate) fn memory(&self) -> &Arc<Words> {
        self.frames.memory()
    }

    /// First address that still exists.
    #[inline]
    #[must_use]
    pub fn begin(&self) -> Address {
        Address::trusted(self.line.begin.load(Ordering::Acquire))
    }

    /// First address in memory. Load it under a guard; it holds until the guard ends.
    #[inline]
    #[must_use]
    pub fn head(&self) -> Address {
        Address::trusted(self.line.head.load(Ordering::Acquire))
    }

    /// First mutable address. Load it under a guard; it holds until the guard ends.
    #[inline]
    #[must_use]
    pub fn read_only(&self) -> Address {
        Address::trusted(self.line.read_only.load(Ordering::Acquire))
    }

    /// First address that reads may look at: [`head`](Self::head), or beyond all addresses while they are refused. Load it under a
    /// guard; it holds until the guard ends.
    #[inline(always)]
    #[must_use]
    pub fn read_floor(&self) -> Address {
        Address::trusted(self.line.read_floor.load(Ordering::Acquire))
    }

    /// First address that updates may change: [`read_only`](Self::read_only), or beyond all addresses while they are refused. Load it
    /// under a guard; it holds until the guard ends.
    #[inline(always)]
    #[must_use]
    pub fn update_floor(&self) -> Address {
        Address::trusted(self.line.update_floor.load(Ordering::Acquire))
    }

    /// Refuses reads and updates that start from now on, or admits them, as `refused` says: it is asked under a lock, so that of two
    /// callers the second one's answer counts. Those under way have ended when a bump of the epoch behind this call is safe.
    pub(crate) fn refuse(&self, refused: impl FnOnce() -> (bool, bool)) {
        let mut shifts = self.shifts.lock();
        (shifts.reads_refused, shifts.updates_refused) = refused();
        self.set_floors(&shifts, Ordering::Release);
    }

    /// Lets the floors follow; whoever moves `head` or `read_only` or refuses somebody holds the lock of the shifts until then.
    fn set_floors(&self, shifts: &Shifts, order: Ordering) {
        let floor = |refused: bool, address: Address| if refused { Address::MAX } else { address }.words();
        self.line.update_floor.store(floor(shifts.updates_refused, self.read_only()), order);
        self.line.read_floor.store(floor(shifts.reads_refused, self.head()), order);
    }

    /// Nothing below this address changes any more.
    #[inline]
    #[must_use]
    pub fn safe_read_only(&self) -> Address {
        // Pairs with the Release in `complete_shifts`: whoever sees the address sees the last stores below it.
        Address::trusted(self.line.safe_read_only.load(Ordering::Acquire))
    }

    /// Everything below this address was written to the device (not necessarily synced).
    #[must_use]
    pub fn flushed_until(&self) -> Address {
        Address::from_low_bits(self.background.flushed_until.load(Ordering::Acquire))
    }

    /// Frames of pages below this address may be reused.
    #[must_use]
    pub fn safe_head(&self) -> Address {
        Address::from_low_bits(self.background.safe_head.load(Ordering::Acquire))
    }

    /// The next address to be allocated.
    #[must_use]
    pub fn tail(&self) -> Address {
        self.tail_address(self.tail.load(Ordering::Acquire))
    }

    fn tail_address(&self, word: u64) -> Address {
        let (page, offset) = self.split_tail(word);
        self.layout.start_of(page).plus(offset.min(self.layout.page_words()))
    }

    #[inline]
    fn split_tail(&self, word: u64) -> (u64, u64) {
        let bits = self.layout.tail_offset_bits();
        (word >> bits, word & ((1 << bits) - 1))
    }

    fn join_tail(&self, page: u64, offset: u64) -> u64 {
        (page << self.layout.tail_offset_bits()) | offset
    }

    /// The words of a page's frame, as a range of the memory.
    pub(crate) fn frame_range(&self, page: u64) -> std::ops::Range<usize> {
        self.frames.range(page)
    }

    /// The words from `address` to the end of its page, which must be in memory: `address >= head` as loaded under
    /// this very guard. Any other address finds words that mean nothing.
    #[inline(always)]
    #[must_use]
    pub fn words<'g>(&'g self, _guard: &'g EpochGuard<'_>, address: Address) -> &'g [AtomicU64] {
        self.frames.words(address)
    }

    /// The first [`LEAD_WORDS`] words at `address`, as [`words`](Self::words) without their number: behind the end of the
    /// page they mean nothing.
    #[inline(always)]
    #[must_use]
    pub fn lead<'g>(&'g self, _guard: &'g EpochGuard<'_>, address: Address) -> &'g [AtomicU64; LEAD_WORDS] {
        self.frames.lead(address)
    }

    #[cfg(all(loom, test))]
    pub(crate) fn words_unguarded(&self, address: Address) -> &[AtomicU64] {
        self.frames.words(address)
    }

    /// Starts to bring the first `words` words at `address`, at most four lines, into the cache. Any address will do.
    #[inline(always)]
    pub fn prefetch(&self, address: Address, words: usize) {
        self.frames.prefetch(address, words);
    }

    /// Takes `size_words` at the tail. The words are zero, and they are the caller's until it publishes their address;
    /// it must have filled them before its guard ends (unfilled space is skipped by readers up to the next block).
    ///
    /// # Errors
    /// [`AllocateRefusal::PageFull`]: leave the guard, make room, look everything up again.
    #[inline]
    pub fn try_allocate(&self, _guard: &EpochGuard<'_>, size_words: u64) -> Result<Address, AllocateRefusal> {
        debug_assert!(size_words > 0 && size_words <= self.layout.record_words_max(), "{size_words} words");
        let mask = self.tail_offset_mask;
        let page_words = (mask >> TAIL_SPARE_BITS) + 1;
        // The load keeps failed reservations from piling up while a page turn waits for a frame.
        if (self.tail.load(Ordering::Relaxed) & mask) + size_words > page_words {
            return Err(AllocateRefusal::PageFull);
        }
        // Acquire pairs with the page turn's Release (rule 5).
        let order = order_unless(Mutation::RingAllocateRelaxed, Ordering::AcqRel);
        let word = self.tail.fetch_add(size_words, order);
        let offset = word & mask;
        if offset + size_words > page_words {
            return Err(AllocateRefusal::PageFull);
        }
        // The page number is as many bits as an address leaves it above an offset that fits.
        Ok(Address::trusted(((word ^ offset) >> TAIL_SPARE_BITS) | offset))
    }

    /// Moves the tail to the next page if `size_words` do not fit and a frame is ready, `spare` frames left aside. Call it
    /// without a guard.
    pub(crate) fn turn_page(&self, size_words: u64, spare: u64) -> PageTurn {
        let turning = (!planted(Mutation::RingTurnUnlocked)).then(|| self.turning.lock());
        let mut word = self.tail.load(Ordering::Acquire);
        let (page, offset) = self.split_tail(word);
        if offset + size_words <= self.layout.page_words() {
            return PageTurn::Turned;
        }
        let next = page + 1;
        if turning.as_deref() == Some(&true) && !planted(Mutation::RingTurnIgnoresSeizure) {
            return PageTurn::NoFrame(next);
        }
        if next >= self.layout.pages_max() {
            return PageTurn::EndOfLog;
        }
        let ready = self.ready_pages();
        // The canary is about pages on their way to a device: a log without one leaves frames aside.
        let is_armed = spare == 0 && canary::armed("turn_page_without_frame");
        let careless = is_armed || planted(Mutation::RingTurnWithoutFrame);
        if next + spare >= ready && !careless {
            return PageTurn::NoFrame(next);
        }
        self.frames.assign(next);
        let target = self.join_tail(next, self.layout.first_word());
        // Concurrent reservations can only overshoot further; Release publishes the frame's start (rule 5).
        let order = order_unless(Mutation::RingTurnRelaxed, Ordering::AcqRel);
        while let Err(seen) = self.tail.compare_exchange(word, target, order, Ordering::Acquire) {
            word = seen;
        }
        PageTurn::Turned
    }

    /// Takes the tail from everybody, until what is returned is dropped. Call it without a guard, one thread at a time.
    pub(crate) fn seize_tail(&self) -> SeizedTail<'_> {
        let mut seized = self.turning.lock();
        debug_assert!(!*seized, "the tail was seized twice");
        *seized = true;
        let mut word = self.tail.load(Ordering::Acquire);
        loop {
            let (page, offset) = self.split_tail(word);
            let full = match planted(Mutation::RingSeizeLeavesWord) {
                true => word,
                false => self.join_tail(page, self.layout.page_words()),
            };
            match self.tail.compare_exchange(word, full, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return SeizedTail::new(self, page, offset.min(self.layout.page_words())),
                Err(seen) => word = seen,
            }
        }
    }

    /// The owner of the seized tail goes on in `page`. What failed reservations added to the word is dropped.
    pub(super) fn enter_page_seized(&self, page: u64) {
        self.frames.assign(page);
        self.tail.swap(self.join_tail(page, self.layout.page_words()), Ordering::AcqRel);
    }

    /// The owner's cursor becomes the tail of everybody.
    pub(super) fn release_tail(&self, page: u64, offset: u64) {
        let mut seized = self.turning.lock();
        // Release publishes the frames that the owner entered (rule 5).
        self.tail.swap(self.join_tail(page, offset), Ordering::AcqRel);
        *seized = false;
    }

    /// Moves the tail to the next block boundary, so that what lies below can become durable; returns it.
    pub(crate) fn align_tail(&self) -> Address {
        let _turning = self.turning.lock();
        let mut word = self.tail.load(Ordering::Acquire);
        loop {
            let (page, offset) = self.split_tail(word);
            let offset = offset.min(self.layout.page_words());
            let aligned = offset.next_multiple_of(self.layout.block_words()).min(self.layout.page_words());
            let target = self.join_tail(page, aligned);
            if planted(Mutation::RingAlignByStore) {
                self.tail.store(target, Ordering::Release);
                return self.tail_address(target);
            }
            match self.tail.compare_exchange(word, target, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return self.tail_address(target),
                Err(seen) => word = seen,
            }
        }
    }

    /// Makes everything below `to` read-only for operations that start from now on (rule 2).
    pub(crate) fn shift_read_only(&self, to: Address) {
        let mut shifts = self.shifts.lock();
        if to <= self.read_only() {
            return;
        }
        let bumped_early = planted(Mutation::RingShiftAfterBump).then(|| self.epoch.bump());
        self.line.read_only.store(to.words(), Ordering::Release);
        self.set_floors(&shifts, Ordering::Release);
        if canary::armed("safe_read_only_without_drain") || planted(Mutation::RingShiftWithoutDrain) {
            self.line.safe_read_only.store(to.words(), Ordering::Release);
            return;
        }
        let epoch = bumped_early.unwrap_or_else(|| self.epoch.bump());
        shifts.waiting.push_back(Shift { to, epoch });
    }

    /// Lets `safe_read_only` follow the shifts whose operations have all left. Anybody who waits may help. Call it
    /// without a guard, or the caller's own guard holds it back.
    pub(crate) fn complete_shifts(&self) -> Address {
        if let Some(mut shifts) = self.shifts.try_lock() {
            while let Some(shift) = shifts.waiting.front().copied() {
                if !self.epoch.is_safe(shift.epoch) {
                    break;
                }
                // Release pairs with the Acquire of readers of `safe_read_only`: `is_safe` acquired every leaving
                // guard's stores, this hands them on.
                let order = order_unless(Mutation::RingSafeReadOnlyRelaxed, Ordering::Release);
                self.line.safe_read_only.store(shift.to.words(), order);
                shifts.waiting.pop_front();
            }
        }
        self.safe_read_only()
    }

    /// The flusher wrote everything below `to`.
    pub(crate) fn set_flushed_until(&self, to: Address) {
        debug_assert!(to >= self.flushed_until() && to <= self.safe_read_only(), "{to}");
        self.background.flushed_until.store(to.words(), Ordering::Release);
    }

    fn move_head(&self, to: Address, order: Ordering) {
        let shifts = self.shifts.lock();
        self.line.head.store(to.words(), order);
        self.set_floors(&shifts, order);
    }

    /// Evicts below `to` for operations that start from now on; returns the epoch after which frames are free (rule 2).
    pub(crate) fn shift_head(&self, to: Address) -> Option<Epoch> {
        debug_assert!(to <= self.flushed_until(), "eviction of {to} before it is flushed");
        if to <= self.head() {
            return None;
        }
        self.move_head(to, Ordering::Release);
        Some(if planted(Mutation::RingEvictWithoutDrain) { Epoch::ZERO } else { self.epoch.bump() })
    }

    /// Zeroes the frames below `head`, whose epoch is safe, and makes them ready for new pages. Maintenance thread only.
    pub(crate) fn release_frames(&self, head: Address) {
        let (from, until) = (self.layout.page_of(self.safe_head()), self.layout.page_of(head));
        self.background.safe_head.store(head.words(), Ordering::Release);
        for page in from..until {
            let announce = |order| self.background.ready_pages.store(page + 1 + self.frames.count(), order);
            if planted(Mutation::RingReadyBeforeZeroes) {
                announce(Ordering::Release);
            }
            self.zero_frame(page);
            // Release pairs with the Acquire in `turn_page` (rule 4).
            announce(order_unless(Mutation::RingReadyRelaxed, Ordering::Release));
        }
    }

    fn zero_frame(&self, page: u64) {
        if let Some(frame) = self.memory().get(self.frame_range(page)) {
            for word in frame {
                word.store(0, Ordering::Relaxed);
            }
        }
    }

    /// Ends the log below `to`, whose live records were all copied and published, for a log that lives in memory alone;
    /// returns the epoch after which the frames are free. One thread at a time.
    ///
    /// `begin` comes first: whoever sees the new head sees the new begin, and takes what lies below for the end of its
    /// chain.
    pub(crate) fn shift_begin_in_memory(&self, to: Address) -> Epoch {
        if planted(Mutation::RingHeadBeforeBegin) {
            self.move_head(to, Ordering::Release);
        }
        self.line.begin.store(to.words(), Ordering::Release);
        // The read-only addresses stay at or above head: an update walks down to read-only and must not enter a frame that
        // holds another page by now. All of the remaining memory is mutable.
        if !planted(Mutation::RingForgetKeepsReadOnly) {
            self.line.read_only.store(to.words(), Ordering::Release);
            self.line.safe_read_only.store(to.words(), Ordering::Release);
        }
        // Release pairs with the Acquire in `head`: see above.
        self.move_head(to, order_unless(Mutation::RingForgetRelaxed, Ordering::Release));
        if planted(Mutation::RingForgetWithoutDrain) { Epoch::ZERO } else { self.epoch.bump() }
    }

    /// First page that has no frame yet.
    pub(crate) fn ready_pages(&self) -> u64 {
        // Acquire pairs with the Release in `release_frames` (rule 4).
        self.background.ready_pages.load(Ordering::Acquire)
    }
}
