//! One bucket and its overflow buckets: scanning, two-phase insert, sharing of entries when there is no room.
//!
//! Callers: `table` (one chain per hash), `growth`. The protocol and why it holds are in the header of `index`.

use oxifaster_device::DeviceError;
use oxifaster_device::sync::atomic::{AtomicU64, Ordering, compiler_fence, fence};
use oxifaster_device::sync::thread::{spin_hint, yield_now};

use super::buckets::{Bucket, OverflowBuckets};
use super::entry::{
    ADDRESS_MASK, CLOSED, NO_RECORD, Overflow, TENTATIVE, home_of, is_final_of, is_frozen_entry,
    is_frozen_overflow, link_to, overflow_in, tentative,
};
use super::matching::glance;
use super::slot::IndexSlot;
use crate::address::ADDRESS_BITS;
use crate::mutation::{Mutation, planted};

/// Why a chain gave no slot.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The chain is being moved to a larger table.
    Frozen,
    /// The budget, and what may be taken beyond it, is spent; or the chain is closed.
    NoRoom,
    /// Memory beyond the budget was refused.
    Memory(DeviceError),
}

/// What an insert does when the chain is full and the budget is spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BudgetSpent {
    /// The chain is closed: tags share entries.
    Close,
    /// Buckets beyond the budget are taken, up to this many in all; the chain is never closed.
    TakeMore(u64),
}

/// A chain of buckets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chain<'index> {
    pub(super) first: &'index Bucket,
    pub(super) overflow: &'index OverflowBuckets,
}

/// What a scan of a whole chain for one tag saw.
struct Scan<'index> {
    found: Option<IndexSlot<'index>>,
    free: Option<&'index AtomicU64>,
    tentative_before: bool,
    tentative_behind: bool,
    frozen: bool,
    end: &'index AtomicU64,
    end_word: u64,
}

/// The place of `entry` in `entries`, if it is one of them.
#[inline(always)]
fn place_in(entries: &[AtomicU64], entry: &AtomicU64) -> Option<u32> {
    let distance = std::ptr::from_ref(entry).addr().wrapping_sub(entries.as_ptr().addr());
    let place = Some(distance / size_of::<AtomicU64>()).filter(|place| *place < entries.len());
    place.and_then(|place| u32::try_from(place).ok())
}

/// The first free one of the entries at `places`.
fn free_of(entries: &[AtomicU64], mut places: u32) -> Option<&AtomicU64> {
    while places != 0 {
        let entry = entries.get(places.trailing_zeros() as usize)?;
        // Acquire: behind the removal that freed it.
        if entry.load(Ordering::Acquire) == 0 {
            return Some(entry);
        }
        places &= places - 1;
    }
    None
}

impl<'index> Scan<'index> {
    /// Looks at the entries of one bucket, one after the other; the slot of `tag` if it is there.
    #[inline(never)]
    fn entries(
        &mut self,
        entries: &'index [AtomicU64],
        tag: u64,
        own: Option<&AtomicU64>,
        passed_own: &mut bool,
    ) -> Option<IndexSlot<'index>> {
        for entry in entries {
            if own.is_some_and(|own| std::ptr::eq(own, entry)) {
                *passed_own = true;
                continue;
            }
            // Pairs with the release of every compare-exchange on an entry.
            let word = entry.load(Ordering::Acquire);
            if word == 0 {
                self.free.get_or_insert(entry);
            } else if is_final_of(word, tag) {
                return Some(IndexSlot::entry(entry, word));
            } else if word == tentative(tag) {
                self.tentative_before |= !*passed_own;
                self.tentative_behind |= *passed_own;
            } else if is_frozen_entry(word) {
                self.frozen = true;
            }
        }
        None
    }

    fn is_closed(&self) -> bool {
        overflow_in(self.end_word) == Overflow::Closed
    }

    /// Somebody else's insert of the tag is not decided.
    fn has_tentative(&self) -> bool {
        self.tentative_before || self.tentative_behind
    }
}

impl<'index> Chain<'index> {
    /// The buckets of the chain, each with its overflow word as read now.
    pub(super) fn buckets(self) -> impl Iterator<Item = (&'index Bucket, u64)> {
        let mut next = Some(self.first);
        std::iter::from_fn(move || {
            let bucket = next?;
            let [.., overflow] = bucket;
            // Pairs with the release of `extend`: the linked bucket's content was written before or is behind it.
            let word = overflow.load(Ordering::Acquire);
            next = match overflow_in(word) {
                Overflow::Link(number) => Some(self.overflow.bucket(number)),
                Overflow::End | Overflow::Closed => None,
            };
            Some((bucket, word))
        })
    }

    /// Scans the chain for `tag`, up to its final entry or to the end. `own` is the tentative entry of the caller.
    fn scan(self, tag: u64, own: Option<&AtomicU64>) -> Scan<'index> {
        let [.., first_end] = self.first;
        let mut scan = Scan {
            found: None,
            free: None,
            tentative_before: false,
            tentative_behind: false,
            frozen: false,
            end: first_end,
            end_word: 0,
        };
        let mut passed_own = false;
        for (bucket, overflow_word) in self.buckets() {
            let [entries @ .., overflow] = bucket;
            let glance = glance(bucket, tag >> ADDRESS_BITS);
            let own_place = own.and_then(|own| place_in(entries, own));
            let is_quiet = glance.notable & !own_place.map_or(0, |place| 1 << place) == 0;
            let seeks_free = own.is_none() && scan.free.is_none() && glance.vacant != 0;
            if is_quiet && seeks_free {
                scan.free = free_of(entries, glance.vacant);
            }
            // Nearly always nobody else has the tag or is about to. A free entry that is taken by now is looked at again: it
            // may have got the tag.
            if is_quiet && !(seeks_free && scan.free.is_none()) {
                passed_own |= own_place.is_some();
            } else if let Some(found) = scan.entries(entries, tag, own, &mut passed_own) {
                scan.found = Some(found);
                return scan;
            }
            scan.frozen |= is_frozen_overflow(overflow_word);
            (scan.end, scan.end_word) = (overflow, overflow_word);
        }
        scan
    }

    /// The slot of `tag`, if it has one.
    pub(super) fn find(self, tag: u64) -> Option<IndexSlot<'index>> {
        let scan = self.scan(tag, None);
        if scan.found.is_none() && scan.is_closed() {
            return self.find_shared(tag).ok().flatten();
        }
        scan.found
    }

    /// The slot of `tag`, with a new entry if it has none.
    pub(super) fn find_or_create(self, tag: u64, spent: BudgetSpent) -> Result<IndexSlot<'index>, Refusal> {
        // What nearly every insert comes to, without a scan: a chain of one bucket in which nobody has the tag.
        if let Some((_, free)) = self.free_at_once(tag)
            && take(free, tag)
            && let Some(slot) = self.decide(tag, free)?
        {
            return Ok(slot);
        }
        let mut wait = Wait::default();
        loop {
            let scan = self.scan(tag, None);
            if let Some(slot) = scan.found {
                return Ok(slot);
            }
            if scan.frozen {
                return Err(Refusal::Frozen);
            }
            if scan.is_closed() {
                return self.find_or_claim(tag, spent);
            }
            if scan.has_tentative() {
                wait.turn();
                continue;
            }
            let Some(free) = scan.free else {
                self.extend(scan.end, spent)?;
                continue;
            };
            if !take(free, tag) {
                continue;
            }
            if let Some(slot) = self.decide(tag, free)? {
                return Ok(slot);
            }
            wait.turn();
        }
    }

    /// Decides the tentative entry `own`: final, or withdrawn (`None`).
    fn decide(self, tag: u64, own: &'index AtomicU64) -> Result<Option<IndexSlot<'index>>, Refusal> {
        fence_behind_take();
        let [entries @ .., _] = self.first;
        if place_in(entries, own).is_some_and(|place| self.has_only(tag, place)) {
            return finish(own, tag);
        }
        let mut wait = Wait::default();
        loop {
            let scan = self.scan(tag, Some(own));
            let closed = scan.is_closed() && !planted(Mutation::IndexInsertIgnoresClosed);
            let lost = scan.found.is_some() || scan.tentative_before || closed || scan.frozen;
            if planted(Mutation::IndexInsertWithoutRescan) || !(lost || scan.tentative_behind) {
                return finish(own, tag);
            }
            if lost {
                return match settle(own, tentative(tag), 0) {
                    true => Ok(None),
                    false => Err(Refusal::Frozen),
                };
            }
            wait.turn();
        }
    }

    /// The place of an entry of a chain of one bucket that looks free, when nothing of `tag` and nothing undecided is there.
    #[inline(always)]
    pub(super) fn free_at_once(self, tag: u64) -> Option<(u32, &'index AtomicU64)> {
        let [entries @ .., end] = self.first;
        let glance = glance(self.first, tag >> ADDRESS_BITS);
        // Acquire: pairs with the release of `extend`.
        if glance.notable != 0 || end.load(Ordering::Acquire) != 0 {
            return None;
        }
        let place = glance.vacant.trailing_zeros();
        Some((place, entries.get(place as usize)?))
    }

    /// Whether a scan would see nothing but the tentative entry at `own`: as [`scan`](Self::scan), for a chain of one bucket.
    #[inline(always)]
    pub(super) fn has_only(self, tag: u64, own: u32) -> bool {
        let [.., end] = self.first;
        let ends = end.load(Ordering::Acquire) == 0;
        ends && glance(self.first, tag >> ADDRESS_BITS).notable == 1 << own
    }

    /// The word that `tag` shares in a closed chain when it has no entry.
    fn home(self, tag: u64) -> &'index AtomicU64 {
        let [entries @ .., _] = self.first;
        entries.get(home_of(tag)).unwrap_or(&entries[0])
    }

    /// The slot of `tag` in a chain that was seen to be closed: its own entry, or the one that it shares; `None` when that
    /// place is empty.
    #[cold]
    #[inline(never)]
    fn find_shared(self, tag: u64) -> Result<Option<IndexSlot<'index>>, Refusal> {
        let mut wait = Wait::default();
        loop {
            // The sight of the closed chain comes before the scan. Pairs with the fence in `decide`.
            if !planted(Mutation::IndexClosedWithoutFence) {
                fence(Ordering::SeqCst);
            }
            let scan = self.scan(tag, None);
            let rescanned = !planted(Mutation::IndexClosedWithoutRescan);
            let tentative = scan.has_tentative() && rescanned;
            if let Some(slot) = scan.found.filter(|_| rescanned) {
                return Ok(Some(slot));
            }
            if scan.frozen {
                return Err(Refusal::Frozen);
            }
            let home = self.home(tag);
            // Pairs with the release of every compare-exchange on an entry.
            let word = home.load(Ordering::Acquire);
            if is_frozen_entry(word) {
                return Err(Refusal::Frozen);
            }
            if word & TENTATIVE == 0 && !tentative {
                return Ok((word & ADDRESS_MASK != 0).then(|| IndexSlot::entry(home, word)));
            }
            wait.turn();
        }
    }

    /// The slot of `tag` in a chain that was seen to be closed, with a claim to its home if that is empty.
    #[cold]
    #[inline(never)]
    fn find_or_claim(self, tag: u64, spent: BudgetSpent) -> Result<IndexSlot<'index>, Refusal> {
        if spent != BudgetSpent::Close {
            return Err(Refusal::NoRoom);
        }
        loop {
            if let Some(slot) = self.find_shared(tag)? {
                return Ok(slot);
            }
            // Whoever is not the first finds what that one claimed.
            let home = self.home(tag);
            if claim(home, tag) {
                return Ok(IndexSlot::entry(home, tag | NO_RECORD));
            }
        }
    }

    /// Makes room in a full chain that ends in `end`: links an overflow bucket or closes the chain. If somebody else was
    /// faster, that is as good.
    #[inline(never)]
    fn extend(self, end: &AtomicU64, spent: BudgetSpent) -> Result<(), Refusal> {
        let number = match (self.overflow.take(), spent) {
            (Some(number), _) => Some(number),
            (None, BudgetSpent::TakeMore(most)) => Some(self.overflow.take_beyond(most)?),
            (None, BudgetSpent::Close) => None,
        };
        let word = number.map_or(CLOSED, link_to);
        if planted(Mutation::IndexLinkOverwrites) {
            end.store(word, Ordering::Release);
            return Ok(());
        }
        // Release: a bucket that was given back and taken again is empty for whoever follows the link. Pairs with the
        // acquire load in `buckets`.
        let linked = end.compare_exchange(0, word, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        if let (false, Some(number)) = (linked, number) {
            self.overflow.give_back(number);
        }
        Ok(())
    }
}

/// Makes the empty place of a closed chain an entry of `tag` at once: every tag that may come to it comes to this word.
fn claim(home: &AtomicU64, tag: u64) -> bool {
    if planted(Mutation::IndexClaimByStore) {
        home.store(tag | NO_RECORD, Ordering::Release);
        return true;
    }
    // Acquire: behind the removal that freed the place. Release: as every change of an entry.
    home.compare_exchange(0, tag | NO_RECORD, Ordering::AcqRel, Ordering::Relaxed).is_ok()
}

/// Makes a free entry the caller's tentative one.
#[inline(always)]
pub(super) fn take(free: &AtomicU64, tag: u64) -> bool {
    // Acquire: behind the removal that freed the slot. Release: nothing; `fence_behind_take` orders it.
    free.compare_exchange(0, tentative(tag), Ordering::AcqRel, Ordering::Relaxed).is_ok()
}

/// Between a successful [`take`] and the re-scan. Store-load order: the tentative entry comes first. Pairs with the same fence
/// of another insert and with the one in `find_shared`.
///
/// On x86-64 a compare-exchange is a locked instruction, behind which no later load may be done early: it is the full fence itself,
/// and a second one would only wait for all loads that are under way. What is left to say is that the compiler moves nothing, as with
/// the light fence of an epoch. Everywhere else, and in models, it is a fence.
#[inline(always)]
pub(super) fn fence_behind_take() {
    if planted(Mutation::IndexInsertWithoutFence) {
        return;
    }
    if cfg!(all(target_arch = "x86_64", not(loom), not(miri))) {
        compiler_fence(Ordering::SeqCst);
    } else {
        fence(Ordering::SeqCst);
    }
}

/// Makes the caller's own tentative entry the final one.
#[inline(always)]
fn finish(own: &AtomicU64, tag: u64) -> Result<Option<IndexSlot<'_>>, Refusal> {
    match settle(own, tentative(tag), tag | NO_RECORD) {
        true => Ok(Some(IndexSlot::entry(own, tag | NO_RECORD))),
        false => Err(Refusal::Frozen),
    }
}

/// Turns the caller's own tentative entry into `word`; fails only when it was frozen meanwhile.
#[inline]
pub(super) fn settle(own: &AtomicU64, tentative: u64, word: u64) -> bool {
    if planted(Mutation::IndexFinalByStore) {
        own.store(word, Ordering::Release);
        return true;
    }
    // Release: pairs with the acquire loads of scans and candidates; a record may come with it.
    own.compare_exchange(tentative, word, Ordering::AcqRel, Ordering::Relaxed).is_ok()
}

/// Waiting for another thread's undecided insert, which is a few instructions unless that thread was preempted.
#[derive(Default)]
struct Wait {
    turns: u32,
}

impl Wait {
    fn turn(&mut self) {
        if self.turns < 64 {
            self.turns += 1;
            spin_hint();
        } else {
            yield_now();
        }
    }
}
