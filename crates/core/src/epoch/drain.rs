//! Actions that wait for their epoch to be safe.
//!
//! Caller: `light_epoch`. Actions run outside the lock, so they may bump, register and drain themselves.
//!
//! Invariant: an action leaves the list under the lock and is run by whoever took it out: exactly once.

use std::collections::BTreeMap;

use oxifaster_device::sync::Mutex;
use oxifaster_device::sync::atomic::{AtomicUsize, Ordering};

use super::Epoch;

type Action = Box<dyn FnOnce() + Send>;

/// Actions by epoch; every bump returns an epoch of its own, so there is one action per key.
pub(super) struct DrainList {
    actions: Mutex<BTreeMap<Epoch, Action>>,
    /// How many actions wait: lets a drain without work return at once. Changed under the lock, read without.
    waiting: AtomicUsize,
}

impl DrainList {
    pub(super) fn new() -> Self {
        Self { actions: Mutex::new(BTreeMap::new()), waiting: AtomicUsize::new(0) }
    }

    pub(super) fn push(&self, epoch: Epoch, action: Action) {
        let mut actions = self.actions.lock();
        let replaced = actions.insert(epoch, action);
        debug_assert!(replaced.is_none(), "two actions of one bump");
        // Only a hint for drains of other threads; the list itself is behind the lock.
        self.waiting.store(actions.len(), Ordering::Relaxed);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) == 0
    }

    /// The oldest waiting epoch.
    pub(super) fn oldest(&self) -> Option<Epoch> {
        self.actions.lock().first_key_value().map(|(epoch, _)| *epoch)
    }

    /// Takes out the oldest action if its epoch is at most `safe`.
    pub(super) fn pop(&self, safe: Epoch) -> Option<Action> {
        let mut actions = self.actions.lock();
        let first = actions.first_entry().filter(|entry| *entry.key() <= safe)?;
        let action = first.remove();
        self.waiting.store(actions.len(), Ordering::Relaxed);
        Some(action)
    }
}

impl std::fmt::Debug for DrainList {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DrainList({} waiting)", self.waiting.load(Ordering::Relaxed))
    }
}
