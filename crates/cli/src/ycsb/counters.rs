//! What every thread has done.
//!
//! | field | written by | read by |
//! |---|---|---|
//! | `completed`, `not_found` of a lane | its thread alone, after an operation | the thread that takes snapshots; `completed` inserts by all threads of workload d |
//!
//! A lane has cache lines of its own, prefetched pairs included, so counting costs no thread another one's line.

use std::time::Instant;

use oxifaster_device::sync::atomic::{AtomicU64, Ordering};
use oxifaster_device::sync::clock;
use oxifaster_workload::Operation;

/// One thread's counters.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct LaneCounters {
    completed: [AtomicU64; 4],
    not_found: AtomicU64,
}

impl LaneCounters {
    /// Counts operations that have returned. Only the owning thread calls this, so nothing is lost between load and
    /// store. The store releases: who sees an insert counted (`inserted`) finds its key.
    #[inline]
    pub fn add(&self, operation: Operation, count: u64) {
        if let Some(counter) = self.completed.get(operation as usize) {
            counter.store(counter.load(Ordering::Relaxed) + count, Ordering::Release);
        }
    }

    /// Counts reads that did not find their key. Only the owning thread calls this.
    #[inline]
    pub fn add_not_found(&self, count: u64) {
        self.not_found.store(self.not_found.load(Ordering::Relaxed) + count, Ordering::Relaxed);
    }

    fn completed(&self, operation: Operation) -> u64 {
        self.completed.get(operation as usize).map_or(0, |counter| counter.load(Ordering::Acquire))
    }
}

/// The counters of all threads.
#[derive(Debug)]
pub struct Counters {
    lanes: Box<[LaneCounters]>,
}

impl Counters {
    /// Counters for so many threads, all zero.
    #[must_use]
    pub fn new(threads: usize) -> Self {
        Self { lanes: (0..threads).map(|_| LaneCounters::default()).collect() }
    }

    /// Those of one thread.
    #[must_use]
    pub fn lane(&self, lane: usize) -> Option<&LaneCounters> {
        self.lanes.get(lane)
    }

    /// Inserts that every thread has completed at least: with thread `n` of `t` inserting the keys `n`, `n + t`, .. of the
    /// new ones, all keys below `t` times this are there.
    #[must_use]
    pub fn inserted_by_all(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.completed(Operation::Insert)).min().unwrap_or(0)
    }

    /// What all threads have done up to now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let at = clock::now();
        let mut done = Done::default();
        for lane in &self.lanes {
            for (sum, operation) in done.by_kind.iter_mut().zip(Operation::ALL) {
                *sum += lane.completed(operation);
            }
            done.not_found += lane.not_found.load(Ordering::Relaxed);
        }
        Snapshot { at, done }
    }
}

/// Operations that were completed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// In the order of [`Operation::ALL`].
    pub by_kind: [u64; 4],
    /// Reads that did not find their key.
    pub not_found: u64,
}

impl Done {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.by_kind.iter().sum()
    }

    /// Those of a kind.
    #[must_use]
    pub fn of(&self, operation: Operation) -> u64 {
        self.by_kind.get(operation as usize).copied().unwrap_or(0)
    }

    /// Those since an earlier snapshot.
    #[must_use]
    pub fn since(&self, earlier: &Done) -> Done {
        let mut by_kind = self.by_kind;
        by_kind.iter_mut().zip(earlier.by_kind).for_each(|(now, then)| *now -= then);
        Done { by_kind, not_found: self.not_found - earlier.not_found }
    }
}

/// The sum over all threads at a moment.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot {
    /// The moment.
    pub at: Instant,
    /// The sum.
    pub done: Done,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_add_up_and_the_slowest_one_decides_what_all_have_inserted() {
        let counters = Counters::new(3);
        for (lane, inserts) in [(0, 5), (1, 2), (2, 9)] {
            counters.lane(lane).unwrap().add(Operation::Insert, inserts);
        }
        let before = counters.snapshot();
        assert_eq!((before.done.of(Operation::Insert), counters.inserted_by_all()), (16, 2));
        counters.lane(1).unwrap().add(Operation::Read, 7);
        counters.lane(1).unwrap().add_not_found(1);
        let done = counters.snapshot().done.since(&before.done);
        assert_eq!(done, Done { by_kind: [7, 0, 0, 0], not_found: 1 });
        assert_eq!(done.total(), 7);
        assert!(counters.lane(3).is_none());
    }

    #[test]
    fn lanes_do_not_share_cache_lines() {
        assert_eq!(std::mem::align_of::<LaneCounters>(), 128);
    }
}
