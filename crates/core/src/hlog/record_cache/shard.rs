//! One shard: a ring of entries, and the directory that finds them. Writers take turns, readers take no lock.
//!
//! Positions, the clock's hand and the two orderings are explained in `docs/design/0012-read-cache.md`.
//!
//! # Invariants
//! 1. `oldest <= end <= oldest + length`, under the writers' lock; both begin at `length`, so that no position is zero.
//! 2. `[oldest, end)` is entries one behind the other, each in one piece of the ring.
//! 3. `reserved` is `end`, stored before the first word at or behind the former `end` is written; it only rises.
//! 4. The words of position `p` are intact as long as `p + length >= reserved`: all that a slot is worth.

use std::ops::Range;
use std::sync::Arc;

use oxifaster_device::Words;
use oxifaster_device::sync::Mutex;
use oxifaster_device::sync::atomic::{AtomicU64, Ordering, fence};
use oxifaster_device::sync::canary;

use super::slot::{Head, Place, RECORD_WORDS_BOUND, Slot};
use super::{LINE_WORDS, RecordCacheCounts};
use crate::address::Address;
use crate::mutation::{Mutation, order_unless, planted};

/// Most entries that the hand keeps for another round for one insert, and most words that it moves for that, unless the new entry has
/// more: nobody is to pay for many others.
const KEPT_MAX: u32 = 8;
const MOVED_WORDS_MAX: u64 = 2048;
/// The part of a ring that one record may take.
const LARGEST_PART: usize = 8;

/// Which entries go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Eviction {
    pub(super) young_fraction: f64,
    pub(super) second_chance: bool,
}

/// What the hand may still keep for one insert.
struct Kept {
    entries: u32,
    words: u64,
}

/// What the writers of a shard share.
#[derive(Debug)]
struct Hand {
    end: u64,
    oldest: u64,
    counts: RecordCacheCounts,
}

/// See the module header.
#[derive(Debug)]
// Readers of one shard must not wait for the line that writers of another one write.
#[repr(align(128))]
pub(super) struct Shard {
    reserved: AtomicU64,
    /// Words of the ring.
    length: u64,
    /// An entry of less than this age is not marked by reads.
    young: u64,
    second_chance: bool,
    memory: Arc<Words>,
    directory: Range<usize>,
    ring: Range<usize>,
    hand: Mutex<Hand>,
}

impl Shard {
    /// An empty shard in these parts of `memory`; the directory is a number of lines, the ring is not empty.
    pub(super) fn new(
        memory: Arc<Words>,
        directory: Range<usize>,
        ring: Range<usize>,
        eviction: Eviction,
    ) -> Self {
        let length = ring.len() as u64;
        Self {
            reserved: AtomicU64::new(length),
            length,
            young: part_of(length, eviction.young_fraction),
            second_chance: eviction.second_chance,
            memory,
            directory,
            ring,
            hand: Mutex::new(Hand { end: length, oldest: length, counts: RecordCacheCounts::default() }),
        }
    }

    pub(super) fn counts(&self) -> RecordCacheCounts {
        self.hand.lock().counts
    }

    /// Checks invariants 1 to 3; returns how many pieces of padding there are.
    #[cfg(all(test, not(loom)))]
    pub(super) fn check_ring(&self) -> usize {
        let hand = self.hand.lock();
        assert!(hand.oldest <= hand.end && hand.end <= hand.oldest + self.length, "{hand:?}");
        assert_eq!(self.reserved.load(Ordering::Relaxed), hand.end);
        let (mut position, mut padding) = (hand.oldest, 0);
        while position < hand.end {
            let head = self.head_at(position);
            assert!(head.words < self.words_from(position).len(), "{head:?} at {position} leaves the ring");
            padding += usize::from(head.address.is_null());
            position += head.words as u64 + 1;
        }
        assert_eq!(position, hand.end, "the entries end elsewhere");
        padding
    }

    fn line(&self, place: Place) -> &[AtomicU64] {
        let lines = self.memory.get(self.directory.clone()).unwrap_or_default().as_chunks::<LINE_WORDS>().0;
        lines.get(place.line(lines.len())).map_or(&[], |line| line)
    }

    /// The words of the ring from `position` to the ring's end.
    fn words_from(&self, position: u64) -> &[AtomicU64] {
        let at = usize::try_from(position % self.length).unwrap_or(usize::MAX);
        self.memory.get(self.ring.clone()).and_then(|ring| ring.get(at..)).unwrap_or_default()
    }

    /// Copies the record at `address` into `record`, if it is here.
    pub(super) fn read(&self, place: Place, address: Address, record: &mut Vec<AtomicU64>) -> bool {
        self.line(place).iter().any(|slot| {
            // Acquire pairs with the release in `replace`: the entry's words are visible.
            let seen =
                Slot::from_bits(slot.load(order_unless(Mutation::CacheSlotRelaxed, Ordering::Acquire)));
            let found = seen.is_for(place) && self.copy(seen.position(), address, record);
            if found {
                self.mark(slot, seen);
            }
            found
        })
    }

    /// Copies the record of the entry at `position`, if it is that of `address` and stays intact meanwhile.
    fn copy(&self, position: u64, address: Address, record: &mut Vec<AtomicU64>) -> bool {
        let Some((head, words)) = self.words_from(position).split_first() else { return false };
        let head = Head::from_bits(head.load(Ordering::Relaxed));
        if head.address != address && !canary::armed("read_cache_by_tag") {
            return false;
        }
        // What is being overwritten may say any length.
        let Some(words) = words.get(..head.words) else { return false };
        record.clear();
        record.extend(words.iter().map(|word| AtomicU64::new(word.load(Ordering::Relaxed))));
        if !planted(Mutation::CacheReadWithoutFence) {
            // Pairs with the fence in `reserve`: whoever saw a later word sees that it was reserved.
            fence(Ordering::Acquire);
        }
        self.is_intact(position) || planted(Mutation::CacheReadWithoutRecheck)
    }

    fn is_intact(&self, position: u64) -> bool {
        position + self.length >= self.reserved.load(Ordering::Relaxed)
    }

    /// The entry was read, and is not to go when the hand comes.
    fn mark(&self, slot: &AtomicU64, seen: Slot) {
        let age = self.reserved.load(Ordering::Relaxed).saturating_sub(seen.position());
        if self.second_chance && !seen.is_referenced() && age > self.young {
            // Relaxed: a hint. It fails when the slot was replaced, and then there is nothing to be marked.
            let marked = seen.referenced().bits();
            let _ = slot.compare_exchange(seen.bits(), marked, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Keeps a copy of a record, unless another writer is here, the record is here, or it is too large.
    pub(super) fn insert(&self, place: Place, address: Address, record: &[AtomicU64]) {
        if record.len() >= (self.ring.len() / LARGEST_PART).min(RECORD_WORDS_BOUND) {
            return;
        }
        let Some(mut hand) = self.hand.try_lock() else { return };
        if self
            .slot_of(place, |slot| self.is_intact(slot.position()) && self.is_entry_of(slot, address))
            .is_some()
        {
            return;
        }
        let head = Head { address, words: record.len() };
        let position = self.make_room(&mut hand, head.words as u64 + 1);
        self.write(position, head, record.iter());
        self.publish(place, Slot::new(place, position));
        hand.counts.inserted += 1;
    }

    fn slot_of(&self, place: Place, is_it: impl Fn(Slot) -> bool) -> Option<&AtomicU64> {
        self.line(place).iter().find(|slot| {
            let slot = Slot::from_bits(slot.load(Ordering::Relaxed));
            slot.is_for(place) && is_it(slot)
        })
    }

    fn head_at(&self, position: u64) -> Head {
        Head::from_bits(self.words_from(position).first().map_or(0, |word| word.load(Ordering::Relaxed)))
    }

    fn is_entry_of(&self, slot: Slot, address: Address) -> bool {
        self.head_at(slot.position()).address == address
    }

    /// Reserves `words` words in one piece, taking away what is in the way; where they are.
    fn make_room(&self, hand: &mut Hand, words: u64) -> u64 {
        let mut kept = Kept { entries: KEPT_MAX, words: words.max(MOVED_WORDS_MAX) };
        loop {
            let free = self.length - (hand.end - hand.oldest);
            let rest = self.length - hand.end % self.length;
            let padding = if rest < words { rest } else { 0 };
            if padding + words <= free {
                self.pad(hand, padding);
                return self.reserve(hand, words);
            }
            self.pass(hand, &mut kept);
        }
    }

    /// Takes the next `words` words: from here on nobody relies on what is in them.
    fn reserve(&self, hand: &mut Hand, words: u64) -> u64 {
        let position = hand.end;
        hand.end += words;
        self.reserved.store(hand.end, Ordering::Relaxed);
        if !planted(Mutation::CacheWriteWithoutFence) {
            // Pairs with the fence in `copy`.
            fence(Ordering::Release);
        }
        position
    }

    fn pad(&self, hand: &mut Hand, words: u64) {
        if let Some(behind_head) = words.checked_sub(1) {
            let position = self.reserve(hand, words);
            // Fewer than the words of a record, since that found no room in them.
            let words = usize::try_from(behind_head).unwrap_or(0);
            self.write(position, Head { address: Address::NULL, words }, [].iter());
        }
    }

    fn write<'a>(&self, position: u64, head: Head, record: impl Iterator<Item = &'a AtomicU64>) {
        if let Some((first, words)) = self.words_from(position).split_first() {
            first.store(head.bits(), Ordering::Relaxed);
            // In rising order: an entry that moves down may move over itself.
            for (to, from) in words.iter().zip(record) {
                to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
            }
        }
    }

    /// Moves the hand over the oldest entry: it goes, or it is kept.
    fn pass(&self, hand: &mut Hand, kept: &mut Kept) {
        let position = hand.oldest;
        let head = self.head_at(position);
        let size = head.words as u64 + 1;
        hand.oldest += size;
        if head.address.is_null() {
            return;
        }
        let place = Place::of(head.address);
        let slot = self.slot_of(place, |slot| slot.position() == position && slot.is_referenced());
        match slot {
            Some(slot) if kept.entries > 0 && size <= kept.words => {
                kept.entries -= 1;
                kept.words -= size;
                hand.counts.kept += 1;
                let to = self.move_down(hand, position, size);
                Self::replace(slot, Slot::new(place, to));
            }
            _ => hand.counts.evicted += 1,
        }
    }

    /// Moves the entry that the hand has just passed to the end of the entries.
    fn move_down(&self, hand: &mut Hand, position: u64, size: u64) -> u64 {
        let rest = self.length - hand.end % self.length;
        if rest < size {
            // The entry itself is then at the beginning of the ring or behind it: these words are free.
            self.pad(hand, rest);
        }
        let to = self.reserve(hand, size);
        if !(to - position).is_multiple_of(self.length) {
            let from = self.words_from(position);
            let words = from.get(1..).unwrap_or_default().iter();
            let head = self.head_at(position);
            self.write(to, head, words.take(head.words));
        }
        to
    }

    /// Puts a slot into the line: in place of one that leads nowhere any more, or else of the oldest that was not read again.
    fn publish(&self, place: Place, new: Slot) {
        let least = self.line(place).iter().min_by_key(|slot| {
            let slot = Slot::from_bits(slot.load(Ordering::Relaxed));
            (slot.is_referenced() && self.is_intact(slot.position()), slot.position())
        });
        if let Some(slot) = least {
            Self::replace(slot, new);
        }
    }

    fn replace(slot: &AtomicU64, new: Slot) {
        // Release pairs with the acquire in `read`. An exchange where a store would do: loom does not order a store behind the
        // compare-exchange of `mark` that came first, and lets the mark bring back what was replaced.
        slot.swap(new.bits(), order_unless(Mutation::CachePublishRelaxed, Ordering::Release));
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a part of a length, of which the float need not be exact"
)]
fn part_of(length: u64, fraction: f64) -> u64 {
    (length as f64 * fraction) as u64
}
