//! A slot of the index as one operation sees it: where the word is, and what it was when it was read.
//!
//! Caller: `store`. Its address is what the operation follows; its compare-exchange is how a record is published. A slot must
//! not outlive the epoch guard under which it was found, once tables are replaced by growth.

use oxifaster_device::sync::atomic::{AtomicU64, Ordering};

use super::entry::{ADDRESS_MASK, READ_CACHE, TAG_MASK, TENTATIVE, address_field, address_in};
use crate::address::Address;

/// The word of a tag (its entry, or one of another tag that it shares), as last read.
#[derive(Clone, Debug)]
pub struct IndexSlot<'index> {
    word: &'index AtomicU64,
    seen: u64,
}

impl<'index> IndexSlot<'index> {
    /// The final entry `word`.
    #[inline(always)]
    pub(super) fn entry(word: &'index AtomicU64, seen: u64) -> Self {
        Self { word, seen }
    }

    /// The newest record of the chain when the slot was found or reloaded; null when there is none yet.
    #[inline(always)]
    #[must_use]
    pub fn address(&self) -> Address {
        address_in(self.seen)
    }

    /// The tag that the entry was made for. In a closed chain others may share it.
    #[must_use]
    pub fn tag(&self) -> u64 {
        (self.seen & TAG_MASK) >> crate::address::ADDRESS_BITS
    }

    /// Publishes `new` if the slot still is what [`address`](Self::address) says, and then holds `new` itself.
    ///
    /// # Errors
    /// The address the slot holds now; null if it has none, or the entry was removed. The slot stays as it was read: call
    /// [`reload`](Self::reload) before another try.
    #[inline]
    pub fn compare_exchange(&mut self, new: Address) -> Result<(), Address> {
        let word = (self.seen & !(ADDRESS_MASK | READ_CACHE)) | address_field(new);
        // Release: the words of the record come first. Pairs with the acquire loads of find, find_or_create and reload.
        match self.word.compare_exchange(self.seen, word, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => {
                self.seen = word;
                Ok(())
            }
            Err(current) if self.is_same_entry(current) => Err(address_in(current)),
            Err(_) => Err(Address::NULL),
        }
    }

    /// Reads the word again. `false` means that the entry was removed (or frozen): look the hash up again.
    #[inline]
    #[must_use]
    pub fn reload(&mut self) -> bool {
        // Pairs with the release of compare_exchange.
        let current = self.word.load(Ordering::Acquire);
        let same = self.is_same_entry(current);
        if same {
            self.seen = current;
        }
        same
    }

    /// Removes the entry if the slot still is what [`address`](Self::address) says. The caller knows that nothing of the
    /// chain of records is alive.
    #[must_use]
    pub(super) fn remove(self) -> bool {
        // Release and acquire: an insert that reuses the slot is behind the removal.
        self.word.compare_exchange(self.seen, 0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    fn is_same_entry(&self, current: u64) -> bool {
        (current ^ self.seen) & (TAG_MASK | TENTATIVE) == 0 && current & ADDRESS_MASK != 0
    }
}
