//! One who enters and leaves: a slot of its own, and at most one guard at a time.
//!
//! Callers: sessions of `store` and `log`, background work of `hlog`. Entering is a load and a store, leaving a store
//! (plus the fence where the asymmetric form is missing).

use std::marker::PhantomData;

use oxifaster_device::sync::Arc;
use oxifaster_device::sync::atomic::Ordering;

use super::light_epoch::Shared;
use super::registry::Slot;
use crate::mutation::{Mutation, planted};

/// A slot in an epoch. It may move between threads; between guards it protects nothing and holds nobody up.
#[derive(Debug)]
pub struct Participant {
    shared: Arc<Shared>,
    slot: Arc<Slot>,
    number: usize,
}

impl Participant {
    pub(super) fn new(shared: Arc<Shared>, slot: Arc<Slot>, number: usize) -> Self {
        Self { shared, slot, number }
    }

    /// Enters: what is loaded from now on stays usable until the guard is dropped or renewed.
    #[inline]
    pub fn enter(&mut self) -> EpochGuard<'_> {
        self.protect();
        EpochGuard { participant: self, not_send: PhantomData }
    }

    #[inline(always)]
    fn protect(&self) {
        let clock = &self.shared.clock;
        // Acquire: sees what was written before the bump whose value it loads.
        let current = clock.current.load(Ordering::Acquire);
        let order = if planted(Mutation::EpochEnterRelaxed) { Ordering::Relaxed } else { Ordering::Release };
        // Release: a scan may read this value and never the zero before it; pairs with its acquire load.
        self.slot.entered.store(current, order);
        clock.fences.light();
    }

    #[inline(always)]
    fn leave(&self) {
        let order = if planted(Mutation::EpochLeaveRelaxed) { Ordering::Relaxed } else { Ordering::Release };
        // Pairs with the scan's acquire load: what the guard protected was used before.
        self.slot.entered.store(0, order);
    }
}

impl Drop for Participant {
    fn drop(&mut self) {
        // A guard that was forgotten instead of dropped has not left.
        self.leave();
        self.shared.registry.lock().release(self.number);
    }
}

/// Protection of what its holder loads, until it is dropped. Not `Send`: it belongs to one operation on one thread.
///
/// Nothing waits under a guard: it holds up everybody who waits for an epoch to be safe.
#[derive(Debug)]
pub struct EpochGuard<'participant> {
    participant: &'participant mut Participant,
    not_send: PhantomData<*const ()>,
}

impl EpochGuard<'_> {
    /// Leaves and enters again. Nothing that was loaded before may be used afterwards.
    #[inline]
    pub fn renew(&mut self) {
        self.participant.protect();
    }

    /// Leaves, runs `action`, which may enter by itself and wait, and enters again. Nothing that was loaded before may be used
    /// afterwards.
    pub fn outside<T>(&mut self, action: impl FnOnce(&mut Participant) -> T) -> T {
        self.participant.leave();
        let result = action(self.participant);
        self.participant.protect();
        result
    }
}

impl Drop for EpochGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        self.participant.leave();
    }
}
