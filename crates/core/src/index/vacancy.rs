//! An entry for a record that is written already: an insert in one step less.
//!
//! Caller: `store`, for keys that are new. [`HashIndex::find_or_create`](super::HashIndex::find_or_create) makes an entry final before
//! there is a record, which is then published by another compare-exchange. Who has the record at hand makes the entry final
//! with the record's address in it, at once.
//!
//! Tag 0 has no vacancy: at a glance a free entry looks like one of that tag. One key in 16,384 takes the longer way, and so do keys
//! that come behind one of that tag into its bucket.
//!
//! The steps are those of the two-phase insert in the header of `index`, for a chain of one bucket: claim a free entry with a tentative
//! one, fence, look again. It differs in one point: whatever else the second look sees, it withdraws and leaves the decision to
//! `find_or_create`. That is as good as a final entry of the tag seen (invariant 1 needs only that nobody becomes final who has seen
//! another), and as every insert does it at most once, waiting still ends.

use oxifaster_device::sync::atomic::{AtomicU64, Ordering};

use super::chain::{Chain, fence_behind_take, settle, take};
use super::entry::{address_field, tentative};
use crate::address::Address;
use crate::mutation::{Mutation, planted};

/// A free entry in a bucket where nobody had the tag, nor was about to.
#[derive(Clone, Debug)]
#[must_use]
pub struct Vacancy<'index> {
    chain: Chain<'index>,
    free: &'index AtomicU64,
    /// Its place in the bucket.
    place: u32,
    tag: u64,
}

impl<'index> Vacancy<'index> {
    /// The first vacancy of a chain that is one bucket without an entry of `tag`, decided or not.
    #[inline(always)]
    pub(super) fn of(chain: Chain<'index>, tag: u64) -> Option<Self> {
        let (place, free) = chain.free_at_once(tag)?;
        // At a glance an entry of tag 0 looks free, too; claiming it would fail when the record is written already.
        if free.load(Ordering::Relaxed) != 0 {
            return None;
        }
        Some(Self { chain, free, place, tag })
    }

    /// Publishes the record at `address`, which has no previous one, if it still is the first of its tag; whether it did.
    /// If not, nothing is left of it.
    #[inline(always)]
    #[must_use]
    pub fn publish(self, address: Address) -> bool {
        let Self { chain, free, place, tag } = self;
        if !take(free, tag) {
            return false;
        }
        fence_behind_take();
        if chain.has_only(tag, place) || planted(Mutation::IndexInsertWithoutRescan) {
            // Release, in there: the words of the record come first. It fails when the chain is frozen.
            return settle(free, tentative(tag), tag | address_field(address));
        }
        withdraw(free, tag);
        false
    }
}

/// Takes the tentative entry back. It may be frozen by now, and is empty then as well.
#[cold]
#[inline(never)]
fn withdraw(free: &AtomicU64, tag: u64) {
    let _frozen = !settle(free, tentative(tag), 0);
}
