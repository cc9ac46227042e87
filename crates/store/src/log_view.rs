//! A look at the log of a store.
//!
//! Callers: users who watch a store, the program, tests. It lends no part of the engine: whoever could allocate from the log or
//! stop its maintenance from outside could break what the store promises.

use oxifaster_core::Address;
use oxifaster_core::hlog::{HybridLog, PageLayout};

/// Where the parts of a store's log lie. Every call looks anew, so that two of them may see a moved log in between.
///
/// `begin <= head <= safe_read_only <= read_only <= tail` holds at every moment. From [`head`](Self::head) on records are in
/// memory; from [`read_only`](Self::read_only) on they are updated in place.
#[derive(Clone, Copy, Debug)]
pub struct LogView<'a> {
    log: &'a HybridLog,
}

impl<'a> LogView<'a> {
    pub(crate) fn new(log: &'a HybridLog) -> Self {
        Self { log }
    }

    /// The pages and the largest record.
    #[must_use]
    pub fn layout(&self) -> PageLayout {
        self.log.layout()
    }

    /// The address of the oldest record that may exist.
    #[must_use]
    pub fn begin(&self) -> Address {
        self.log.ring().begin()
    }

    /// The lowest address in memory.
    #[must_use]
    pub fn head(&self) -> Address {
        self.log.ring().head()
    }

    /// Below this, nothing changes any more, whatever thread looks.
    #[must_use]
    pub fn safe_read_only(&self) -> Address {
        self.log.ring().safe_read_only()
    }

    /// Below this, no update starts in place.
    #[must_use]
    pub fn read_only(&self) -> Address {
        self.log.ring().read_only()
    }

    /// Below this, everything was written to the device. Written is not durable: see `FasterKv::flush`.
    #[must_use]
    pub fn flushed_until(&self) -> Address {
        self.log.ring().flushed_until()
    }

    /// Where the next record goes.
    #[must_use]
    pub fn tail(&self) -> Address {
        self.log.ring().tail()
    }

    /// The number of epoch slots. A session takes one and gives it back when it ends, so that this follows the number of
    /// sessions that existed at once, not of those that were ever started.
    #[must_use]
    pub fn epoch_slots(&self) -> usize {
        self.log.ring().epoch().slots()
    }
}
