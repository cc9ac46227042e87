//! The newest words of the log in memory: taken by appenders without a lock, published entry by entry, written, and taken again.
//!
//! ```text
//!   readable_from                walked (writer's own)            tail                limit
//!        |                          |                               |                   |
//!  ------+--------------------------+-------------------------------+-------------------+----
//!   gone |  complete; on the device | entries: complete, or header  |  zeros: for the   |  words of older
//!        |  or about to be          | word still zero               |  next entries     |  addresses
//! ```
//!
//! The word of address `a` is word `a mod capacity`.
//!
//! | field | who writes it | meaning |
//! |---|---|---|
//! | `tail` | appenders, by compare-exchange; [`seal`](LogRing::seal), [`listen`](LogRing::listen) | first word that nobody owns. Bit 63: closed for appenders; bit 62: somebody waits for the next entry |
//! | `limit` | [`release`](LogRing::release), one thread | first word that can't be taken yet |
//! | `readable_from` | the same | below it the words may be anything by now |
//! | `complete_until` | [`completed`](LogRing::completed), one thread | below it all entries are complete; an entry begins, or will, here. Not below `readable_from` |
//! | words | payload: whoever reserved them, relaxed; header: the same thread, release, last | zero in `[tail, limit)` |
//!
//! Rules, watched by `model`:
//! 1. Reservations are disjoint. A word is written by the thread that reserved it, between its reservation and its publication.
//! 2. A header that is not zero is the header of a complete entry: it is stored last, with release, and loaded with acquire. Whoever
//!    walks from header to header meets only complete entries, and stops at the first that is not.
//! 3. Entries that were reserved in one step become visible in one step: the first header is stored last.
//! 4. Words are taken again only when they are zero: `limit` rises with release behind the zeroing, and is loaded with acquire.
//! 5. A reader that copied words below `limit` and then finds `readable_from` not above them has copied what was published.
//!    (`readable_from` rises, then a release fence, then the zeroing; an appender has a release fence behind its reservation.)
//! 6. Whoever reserves words behind a [`listen`](LogRing::listen) knows that somebody does, unless [`stop_listening`](LogRing::stop_listening)
//!    came in between: all of them change one word, so they have an order.

use std::ops::Range;
use std::sync::Arc;

use crossbeam_utils::CachePadded;
use oxifaster_core::sync::atomic::{AtomicU64, Ordering, fence};
use oxifaster_core::zeros::store_zeros;
use oxifaster_device::{DeviceError, Words};

use crate::entry::Header;
use crate::mutation::{Mutation, order_unless, planted};

/// Bit of `tail` that turns every reservation down.
const SEALED: u64 = 1 << 63;

/// Bit of `tail` that says that somebody waits for the next entry.
const LISTENED: u64 = 1 << 62;
/// Entries that a reader looks ahead at, at most.
const LOOK_AHEAD_ENTRIES: usize = 1 << 14;

/// Words that were taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reserved {
    pub(crate) start: u64,
    /// Somebody waits for what is published here: tell them.
    pub(crate) listened: bool,
}

/// Why words could not be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Not before something is written and released.
    Full,
    /// The log is closed, poisoned, or about to be cut.
    Sealed,
}

/// The ring. The module header has the rules.
#[derive(Debug)]
pub(crate) struct LogRing {
    words: Arc<Words>,
    capacity: u64,
    /// `limit` never rises above it.
    address_end: u64,
    /// Words below `limit` that only commits may take, so that a log in memory can still be committed when it is full.
    slack: u64,
    tail: CachePadded<AtomicU64>,
    limit: CachePadded<AtomicU64>,
    readable_from: AtomicU64,
    complete_until: CachePadded<AtomicU64>,
}

impl LogRing {
    /// An empty ring of `capacity` words, a power of two, whose log goes on at `start`.
    pub(crate) fn new(capacity: u64, start: u64, address_end: u64, slack: u64) -> Result<Self, DeviceError> {
        debug_assert!(capacity.is_power_of_two());
        let words = Arc::new(Words::zeroed(usize::try_from(capacity).unwrap_or(usize::MAX))?);
        Ok(Self {
            words,
            capacity,
            address_end,
            slack,
            tail: CachePadded::new(AtomicU64::new(start)),
            limit: CachePadded::new(AtomicU64::new((start + capacity).min(address_end))),
            readable_from: AtomicU64::new(start),
            complete_until: CachePadded::new(AtomicU64::new(start)),
        })
    }

    pub(crate) fn capacity(&self) -> u64 {
        self.capacity
    }

    /// First address that nobody has reserved.
    pub(crate) fn tail(&self) -> u64 {
        self.tail.load(Ordering::Acquire) & !(SEALED | LISTENED)
    }

    pub(crate) fn limit(&self) -> u64 {
        self.limit.load(Ordering::Acquire)
    }

    pub(crate) fn readable_from(&self) -> u64 {
        self.readable_from.load(Ordering::Acquire)
    }

    /// Takes `words` words at the tail.
    #[inline]
    pub(crate) fn reserve(&self, words: u64) -> Result<Reserved, Refusal> {
        match self.reserve_where(SEALED | LISTENED, self.slack, |start| start + words) {
            Ok((start, _)) => Ok(Reserved { start, listened: false }),
            Err(Refusal::Sealed) => self.reserve_listened(words),
            Err(refusal) => Err(refusal),
        }
    }

    /// The rest of [`reserve`](Self::reserve), where a bit of the tail is set.
    #[cold]
    fn reserve_listened(&self, words: u64) -> Result<Reserved, Refusal> {
        let (found, _) = self.reserve_where(SEALED, self.slack, |start| start + words)?;
        let listened = found & LISTENED != 0 && !planted(Mutation::ListenedUnseen);
        Ok(Reserved { start: found & !LISTENED, listened })
    }

    /// Takes the words from the tail to the next multiple of `alignment` behind at least `words` of them, also when sealed. For what
    /// no reader is shown: whoever waits for an entry is not to be told.
    pub(crate) fn reserve_aligned(&self, words: u64, alignment: u64) -> Result<Range<u64>, Refusal> {
        let end_of = |start: u64| (start + words).next_multiple_of(alignment);
        if planted(Mutation::AlignedWithoutExchange) {
            let found = self.tail.load(Ordering::Acquire);
            let start = found & !(SEALED | LISTENED);
            self.tail.store(end_of(start) | (found & (SEALED | LISTENED)), Ordering::Release);
            return Ok(start..end_of(start));
        }
        self.reserve_where(0, 0, end_of).map(|(found, end)| found & !(SEALED | LISTENED)..end)
    }

    /// Turns down when a bit of `refused` is set in the tail. Returns the tail as it was, with its bits, and where the words end.
    #[inline]
    fn reserve_where(
        &self,
        refused: u64,
        slack: u64,
        end_of: impl Fn(u64) -> u64,
    ) -> Result<(u64, u64), Refusal> {
        let mut found = self.tail.load(Ordering::Relaxed);
        loop {
            if found & refused != 0 {
                return Err(Refusal::Sealed);
            }
            let end = end_of(found & !(SEALED | LISTENED));
            if end + slack > self.limit.load(order_unless(Mutation::LimitSeenRelaxed, Ordering::Acquire)) {
                return Err(Refusal::Full);
            }
            let new = end | (found & (SEALED | LISTENED));
            // Acquire pairs with unseal: whoever gets words behind a cut sees the new incarnation.
            match self.tail.compare_exchange_weak(found, new, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => {
                    // Rule 5. No instruction on x86.
                    fence(Ordering::Release);
                    return Ok((found, end));
                }
                Err(other) => found = other,
            }
        }
    }

    /// Lets whoever reserves words from now on know that somebody waits for entries. Returns the tail at that moment.
    pub(crate) fn listen(&self) -> u64 {
        self.tail.fetch_or(LISTENED, Ordering::AcqRel) & !(SEALED | LISTENED)
    }

    /// Nobody waits any more, or whoever does is about to be woken.
    pub(crate) fn stop_listening(&self) {
        self.tail.fetch_and(!LISTENED, Ordering::AcqRel);
    }

    /// Whether [`reserve`](Self::reserve) would find room, or must be asked for its refusal.
    pub(crate) fn has_room(&self, words: u64) -> bool {
        self.tail() + words + self.slack <= self.limit()
    }

    /// Turns down every later reservation; says where the tail stays.
    pub(crate) fn seal(&self) -> u64 {
        self.tail.fetch_or(SEALED, Ordering::AcqRel) & !(SEALED | LISTENED)
    }

    /// Lets reservations in again. What was stored before is seen by whoever gets one.
    pub(crate) fn unseal(&self) {
        self.tail.fetch_and(!SEALED, Ordering::AcqRel);
    }

    pub(crate) fn is_sealed(&self) -> bool {
        self.tail.load(Ordering::Acquire) & SEALED != 0
    }

    /// The words from `start` on, in the one or two pieces that they are in memory.
    #[inline]
    fn pieces(&self, start: u64, words: u64) -> (&[AtomicU64], &[AtomicU64]) {
        let first = self.index(start);
        let len = usize::try_from(words).unwrap_or(usize::MAX);
        let until_end = self.words.len() - first;
        let in_first = len.min(until_end);
        let front = self.words.get(first..first + in_first).unwrap_or_default();
        (front, self.words.get(..len - in_first).unwrap_or_default())
    }

    #[inline]
    fn index(&self, address: u64) -> usize {
        usize::try_from(address & (self.capacity - 1)).unwrap_or(usize::MAX)
    }

    /// Where the payload of an entry at `address` goes, in one or two pieces. For reserved words, and relaxed stores.
    #[inline]
    pub(crate) fn room_for(&self, address: u64, payload_bytes: usize) -> [&[AtomicU64]; 2] {
        let (front, back) = self.pieces(address + 1, (payload_bytes as u64).div_ceil(8));
        [front, back]
    }

    /// Stores a header: the entry is complete.
    #[inline]
    pub(crate) fn publish(&self, address: u64, header: u64) {
        if let Some(word) = self.words.get(self.index(address)) {
            word.store(header, order_unless(Mutation::PublishRelaxed, Ordering::Release));
        }
    }

    /// Stores the headers of entries that were reserved in one step: the first one last (rule 3).
    pub(crate) fn publish_batch(&self, headers: &[(u64, u64)]) {
        if planted(Mutation::BatchPublishedForwards) {
            headers.iter().for_each(|&(address, header)| self.publish(address, header));
        } else {
            headers.iter().rev().for_each(|&(address, header)| self.publish(address, header));
        }
    }

    /// The header at `address`, 0 while the entry is not complete.
    #[inline]
    pub(crate) fn header(&self, address: u64) -> u64 {
        self.words.get(self.index(address)).map_or(0, |word| word.load(Ordering::Acquire))
    }

    /// All entries below `until` are complete. The one thread that walks over them.
    pub(crate) fn completed(&self, until: u64) {
        // Release: whoever goes on from here sees the entries below.
        self.complete_until.store(until, Ordering::Release);
    }

    /// Whether something complete begins at `at`, where an entry begins or will.
    pub(crate) fn is_complete_at(&self, at: u64) -> bool {
        at < self.complete_until.load(Ordering::Acquire) || (at < self.tail() && self.header(at) != 0)
    }

    /// Where the complete entries behind `at` end, where an entry begins or will; or a good way on.
    pub(crate) fn complete_behind(&self, at: u64) -> u64 {
        loop {
            let known = self.complete_until.load(Ordering::Acquire);
            if at < known {
                return known;
            }
            let (mut end, tail) = (at, self.tail());
            for _ in 0..LOOK_AHEAD_ENTRIES {
                let next = if end < tail { Header::decode(self.header(end)) } else { None };
                let Some(header) = next else { break };
                end += header.words();
            }
            // As in copy_out: these were headers of this round if the words are not given up yet.
            fence(Ordering::Acquire);
            if at >= self.readable_from.load(Ordering::Relaxed) {
                return end.min(tail.max(at));
            }
        }
    }

    /// Appends the words of a range to `bytes`, if they are in memory from the first to the last moment. Whoever wants complete
    /// entries keeps below what it knows to be published.
    pub(crate) fn copy_out(&self, range: Range<u64>, bytes: &mut Vec<u8>) -> bool {
        if range.start < self.readable_from.load(Ordering::Acquire) || range.end > self.limit() {
            return false;
        }
        let before = bytes.len();
        let (front, back) = self.pieces(range.start, range.end - range.start);
        bytes.reserve((front.len() + back.len()) * 8);
        for word in front.iter().chain(back) {
            bytes.extend_from_slice(&word.load(Ordering::Relaxed).to_le_bytes());
        }
        if !planted(Mutation::CopyWithoutFence) {
            fence(Ordering::Acquire);
        }
        if planted(Mutation::CopyUnchecked) || range.start >= self.readable_from.load(Ordering::Relaxed) {
            return true;
        }
        bytes.truncate(before);
        false
    }

    /// Gives up the words below `until` and lets as many new ones be taken. One thread at a time; nothing below `until` may be
    /// wanted by the device any more.
    pub(crate) fn release(&self, until: u64) {
        let from = self.readable_from.load(Ordering::Relaxed);
        if until <= from {
            return;
        }
        if !planted(Mutation::ReleaseUnannounced) {
            self.readable_from.store(until, Ordering::Relaxed);
            fence(Ordering::Release);
        }
        if !planted(Mutation::ReleaseWithoutZeroes) {
            let (front, back) = self.pieces(from, until - from);
            store_zeros(front);
            store_zeros(back);
        }
        self.readable_from.store(until, Ordering::Relaxed);
        self.limit.store(
            (until + self.capacity).min(self.address_end),
            order_unless(Mutation::LimitStoredRelaxed, Ordering::Release),
        );
    }

    /// The memory, and the range of words in it, of a part of the log that does not cross the end of memory.
    pub(crate) fn memory_of(&self, range: Range<u64>) -> (Arc<Words>, Range<usize>) {
        let first = self.index(range.start);
        let len = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        (Arc::clone(&self.words), first..first + len)
    }

    /// Where the piece of memory that holds `address` ends.
    pub(crate) fn end_of_piece(&self, address: u64) -> u64 {
        (address / self.capacity + 1) * self.capacity
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::entry::{EntryKind, Seed};

    fn start(reserved: Result<Reserved, Refusal>) -> Result<u64, Refusal> {
        reserved.map(|reserved| reserved.start)
    }

    #[test]
    fn entries_wrap_and_come_back_until_they_are_released() {
        let ring = LogRing::new(16, 512, 1 << 40, 0).unwrap();
        assert_eq!(start(ring.reserve(10)), Ok(512));
        assert_eq!(start(ring.reserve(7)), Err(Refusal::Full));
        assert_eq!(start(ring.reserve(6)), Ok(522));
        assert_eq!(ring.header(512), 0);
        ring.release(522);
        // Words 528.. lie where 512.. did.
        assert_eq!(ring.reserve_aligned(3, 8), Ok(528..536));
        Seed(0).store(524, EntryKind::User, &[7; 40], ring.room_for(524, 40));
        ring.publish(524, 99);
        let mut bytes = Vec::new();
        assert!(ring.copy_out(524..530, &mut bytes));
        assert_eq!(bytes[..8], 99_u64.to_le_bytes());
        assert_eq!(bytes[8..], [7; 40]);
        assert!(!ring.copy_out(521..524, &mut bytes));
        ring.release(536);
        assert!(!ring.copy_out(528..530, &mut bytes));
        assert_eq!(bytes.len(), 48);
    }

    #[test]
    fn sealing_stops_appenders_and_not_the_commit() {
        let ring = LogRing::new(16, 512, 1 << 40, 0).unwrap();
        ring.reserve(1).unwrap();
        assert_eq!(ring.seal(), 513);
        assert_eq!(start(ring.reserve(1)), Err(Refusal::Sealed));
        assert_eq!(ring.reserve_aligned(1, 8), Ok(513..520));
        assert!(ring.is_sealed());
        ring.unseal();
        assert_eq!(start(ring.reserve(1)), Ok(520));
    }

    #[test]
    fn whoever_reserves_while_somebody_listens_is_told_so() {
        let ring = LogRing::new(64, 512, 1 << 40, 0).unwrap();
        assert_eq!(ring.reserve(2), Ok(Reserved { start: 512, listened: false }));
        assert_eq!(ring.listen(), 514);
        assert_eq!(ring.reserve_aligned(1, 8), Ok(514..520));
        assert_eq!((ring.tail(), ring.seal()), (520, 520));
        assert_eq!(ring.reserve(2), Err(Refusal::Sealed));
        ring.unseal();
        assert_eq!(ring.reserve(2), Ok(Reserved { start: 520, listened: true }));
        assert_eq!(ring.reserve(2), Ok(Reserved { start: 522, listened: true }));
        ring.stop_listening();
        assert_eq!(ring.reserve(2), Ok(Reserved { start: 524, listened: false }));
        assert_eq!(ring.tail(), 526);
    }

    #[test]
    fn complete_entries_end_at_the_first_hole() {
        let ring = LogRing::new(64, 512, 1 << 40, 0).unwrap();
        let publish = |at| {
            let header = Seed(0).store(at, EntryKind::User, &[7; 8], ring.room_for(at, 8));
            ring.publish(at, header.encode());
        };
        ring.reserve(6).unwrap();
        publish(514);
        assert_eq!((ring.complete_behind(512), ring.is_complete_at(512)), (512, false));
        publish(512);
        assert_eq!((ring.complete_behind(512), ring.is_complete_at(512)), (516, true));
        assert_eq!((ring.complete_behind(516), ring.is_complete_at(516)), (516, false));
        publish(516);
        // What the one who walks has passed need not be in memory any more.
        ring.completed(516);
        ring.release(514);
        assert_eq!((ring.complete_behind(512), ring.is_complete_at(512)), (516, true));
        assert_eq!(ring.complete_behind(516), 518);
        // Behind the tail is nothing, whatever lies there in memory.
        assert_eq!((ring.complete_behind(518 + 58), ring.is_complete_at(518 + 58)), (576, false));
    }
}
