//! The counters of live sessions and the sum of those that ended.

use std::sync::Arc;

use oxifaster_core::sync::Mutex;

use super::{SessionCounters, Statistics};

/// 128 bytes keep neighbouring sessions' counters off each other's cache lines, prefetched pairs included.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Padded(pub(crate) SessionCounters);

#[derive(Debug, Default)]
struct Inside {
    live: Vec<Arc<Padded>>,
    ended: Statistics,
}

/// All counters of a store.
#[derive(Debug, Default)]
pub(crate) struct Registry(Mutex<Inside>);

impl Registry {
    /// Counters for a new session.
    pub(crate) fn open(&self) -> Arc<Padded> {
        let counters = Arc::new(Padded::default());
        self.0.lock().live.push(Arc::clone(&counters));
        counters
    }

    /// Folds an ending session's counters into the sum.
    pub(crate) fn close(&self, counters: &Arc<Padded>) {
        let mut inside = self.0.lock();
        inside.ended.add(&counters.0);
        inside.live.retain(|live| !Arc::ptr_eq(live, counters));
    }

    /// The sum over all sessions.
    pub(crate) fn sum(&self) -> Statistics {
        let inside = self.0.lock();
        let mut sum = inside.ended.clone();
        inside.live.iter().for_each(|counters| sum.add(&counters.0));
        sum.sessions = inside.live.len() as u64;
        sum
    }
}
