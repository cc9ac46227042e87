//! What is counted, per session and in sum.

use oxifaster_core::sync::atomic::{AtomicU64, Ordering};

/// A counter with one writer.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Only the owning session calls this, so nothing is lost between load and store.
    #[inline]
    pub(crate) fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed) + n, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One session's counters.
#[derive(Debug, Default)]
pub(crate) struct SessionCounters {
    pub(crate) reads: Counter,
    pub(crate) read_misses: Counter,
    pub(crate) upserts: Counter,
    pub(crate) rmws: Counter,
    pub(crate) deletes: Counter,
    pub(crate) conditional: Counter,
    pub(crate) in_place: Counter,
    pub(crate) appended: Counter,
    pub(crate) appended_words: Counter,
    pub(crate) lost_races: Counter,
    pub(crate) pending: Counter,
    pub(crate) device_reads: Counter,
    pub(crate) device_read_bytes: Counter,
    pub(crate) cache_hits: Counter,
    pub(crate) cache_misses: Counter,
    /// Searches that needed the cache alone.
    pub(crate) answered_by_cache: Counter,
}

/// Operations that completed, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Operations {
    /// Reads, found or not.
    pub reads: u64,
    /// Upserts.
    pub upserts: u64,
    /// Read-modify-writes.
    pub rmws: u64,
    /// Deletes.
    pub deletes: u64,
    /// `remove`, `insert_if_absent`, `compare_exchange` and `fetch_add`.
    pub conditional: u64,
}

impl Operations {
    /// All operations.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.reads + self.upserts + self.rmws + self.deletes + self.conditional
    }
}

/// A store's statistics since it was opened. Counters of different sessions are read one after the other: the sum is
/// exact for operations that completed before the call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Operations by kind.
    pub operations: Operations,
    /// Reads that found their key.
    pub read_hits: u64,
    /// Reads whose key was absent.
    pub read_misses: u64,
    /// Updates made in place.
    pub in_place_updates: u64,
    /// Records appended to the log, tombstones included.
    pub appended_records: u64,
    /// Bytes of those records.
    pub appended_bytes: u64,
    /// Records that were appended and lost the race to be published.
    pub lost_races: u64,
    /// Operations that had to look at the device, or at the read cache in its place.
    pub pending_operations: u64,
    /// Searches of such operations that found all they needed in the read cache. An operation makes one, or another one when its
    /// record left memory meanwhile.
    pub answered_by_read_cache: u64,
    /// Records that were found in the read cache.
    pub read_cache_hits: u64,
    /// Records that were looked for in the read cache and had to be read from the device.
    pub read_cache_misses: u64,
    /// Records that were taken into the read cache.
    pub read_cache_inserts: u64,
    /// Records that left the read cache.
    pub read_cache_evictions: u64,
    /// Read requests to the device on behalf of operations.
    pub device_reads: u64,
    /// Bytes that they read.
    pub device_read_bytes: u64,
    /// Write requests to the device.
    pub device_writes: u64,
    /// Bytes that they wrote.
    pub device_write_bytes: u64,
    /// Syncs of the device.
    pub device_syncs: u64,
    /// Pages evicted from memory.
    pub pages_evicted: u64,
    /// Bytes of the log from its begin to its tail.
    pub log_bytes: u64,
    /// Bytes of the log that are in memory.
    pub log_bytes_in_memory: u64,
    /// Buckets of the index table.
    pub index_buckets: u64,
    /// Overflow buckets in use.
    pub index_overflow_buckets: u64,
    /// Sessions that are open.
    pub sessions: u64,
}

impl Statistics {
    /// Part of the operations that needed no device read, from 0 to 1; 1 when there were none. What the read cache answered counts by
    /// [searches](Self::answered_by_read_cache): where operations need several, it is a little too high.
    ///
    /// # Examples
    /// ```
    /// # use oxifaster_store::Statistics;
    /// assert_eq!(Statistics::default().cache_hit_rate(), 1.0);
    /// ```
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
    pub fn cache_hit_rate(&self) -> f64 {
        let total = self.operations.total();
        let waited = self.pending_operations.saturating_sub(self.answered_by_read_cache).min(total);
        if total == 0 { 1.0 } else { 1.0 - waited as f64 / total as f64 }
    }

    pub(crate) fn add(&mut self, session: &SessionCounters) {
        self.operations.reads += session.reads.get();
        self.operations.upserts += session.upserts.get();
        self.operations.rmws += session.rmws.get();
        self.operations.deletes += session.deletes.get();
        self.operations.conditional += session.conditional.get();
        // Misses first: a read that is counted in between is a hit too much, and never a negative number of hits.
        let misses = session.read_misses.get();
        self.read_misses += misses;
        self.read_hits += session.reads.get().saturating_sub(misses);
        self.in_place_updates += session.in_place.get();
        self.appended_records += session.appended.get();
        self.appended_bytes += session.appended_words.get() * 8;
        self.lost_races += session.lost_races.get();
        self.pending_operations += session.pending.get();
        self.device_reads += session.device_reads.get();
        self.device_read_bytes += session.device_read_bytes.get();
        self.answered_by_read_cache += session.answered_by_cache.get();
        self.read_cache_hits += session.cache_hits.get();
        self.read_cache_misses += session.cache_misses.get();
    }
}
