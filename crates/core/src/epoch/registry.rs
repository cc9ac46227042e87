//! The slots of all participants of an epoch, reused lowest first.
//!
//! Callers: `light_epoch` (register, scan), `participant` (release), all under one lock, which is never taken on the way
//! into or out of a guard. A slot never moves while its participant lives: the registry holds pointers.
//!
//! Invariants: `free` holds exactly the numbers below `slots.len()` without a participant; the last slot is never free,
//! so memory and the length of a scan follow the highest slot in use (`slots_follow_the_participants`).

use std::collections::BTreeSet;

use oxifaster_device::sync::Arc;
use oxifaster_device::sync::atomic::{AtomicU64, Ordering};

/// The epoch in which a participant entered, 0 while it is outside. Two cache lines of its own, because processors
/// fetch lines in pairs.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Slot {
    /// Written by the participant alone, read by scans.
    pub(super) entered: AtomicU64,
}

#[derive(Debug, Default)]
pub(super) struct Registry {
    slots: Vec<Arc<Slot>>,
    free: BTreeSet<usize>,
}

impl Registry {
    /// Takes the lowest free slot, or a new one at the end.
    pub(super) fn register(&mut self) -> (usize, Arc<Slot>) {
        if let Some(number) = self.free.pop_first()
            && let Some(slot) = self.slots.get(number)
        {
            return (number, Arc::clone(slot));
        }
        let slot = Arc::new(Slot { entered: AtomicU64::new(0) });
        self.slots.push(Arc::clone(&slot));
        (self.slots.len() - 1, slot)
    }

    /// Gives a slot back, and forgets the free ones at the end.
    pub(super) fn release(&mut self, number: usize) {
        debug_assert!(number < self.slots.len() && !self.free.contains(&number));
        self.free.insert(number);
        while let Some(last) = self.slots.len().checked_sub(1)
            && self.free.remove(&last)
        {
            self.slots.pop();
        }
    }

    /// The lowest epoch in which somebody is inside, if it is below `bound`; otherwise `bound`.
    pub(super) fn lowest_entered(&self, bound: u64) -> u64 {
        self.slots.iter().fold(bound, |lowest, slot| {
            // Pairs with the release stores of entering and leaving.
            match slot.entered.load(Ordering::Acquire) {
                0 => lowest,
                entered => lowest.min(entered),
            }
        })
    }

    /// The number of slots a scan visits.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }
}
