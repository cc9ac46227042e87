//! Configuration of a store: sizes, their limits, and the memory that they add up to.
//!
//! Callers: users, the program, the TOML configuration. [`FasterKvConfig::validate`] refuses what can't work with key,
//! value and range; [`FasterKvConfig::memory_plan`] says what the process will hold (DESIGN D5).

use oxifaster_core::error::{Error, ErrorKind};
use oxifaster_core::hash::HashKind;
use oxifaster_core::hlog::{FRAMES_MIN, HybridLogConfig};

use crate::read_cache::ReadCacheConfig;

/// Bytes of one index bucket.
const BUCKET_BYTES: u64 = 64;
/// Largest index table: 2^31 buckets, 128 GiB.
const TABLE_SIZE_MAX: u64 = 1 << 31;
/// What 48-bit addresses of words reach.
const LOG_MEMORY_BYTES_MAX: u64 = 1 << 50;
const RECOVERY_THREADS_MAX: usize = 1024;
/// What reads have in any case, in bytes: a few of larger records.
const READ_BUFFER_BYTES_MIN: u64 = 1 << 20;
/// A read takes a block or two, and its page's checksums.
const READ_BYTES: u64 = 16 << 10;
/// Most device reads in flight: what a ring takes.
const READS_IN_FLIGHT_MAX: usize = 4096;

/// Configuration of a [`FasterKv`](crate::FasterKv). Fields are public; build it with `..Default::default()` or `with_*`.
///
/// ```
/// use oxifaster_store::FasterKvConfig;
///
/// let config = FasterKvConfig { table_size: 1 << 16, log_memory_size: 64 << 20, ..Default::default() };
/// config.validate()?;
/// assert!(config.memory_plan().total_bytes() > 64 << 20);
/// # Ok::<(), oxifaster_core::error::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct FasterKvConfig {
    /// Buckets of the hash index, a power of two from 1 to 2^31. A bucket takes 64 bytes and has 7 entries; up to 5 keys for each bucket
    /// is what to plan with, 2 to 3 for the fastest batches (`docs/performance.md` has the table).
    pub table_size: u64,
    /// Memory for the newest part of the log, in bytes: at least six pages, rounded down to whole pages.
    pub log_memory_size: u64,
    /// log2 of the page size in bytes, 16 (64 KiB) to 25 (32 MiB). When the memory does not hold [`PAGES_WANTED`] pages
    /// of that size, smaller pages are used. A store that exists keeps its own.
    pub page_size_bits: u32,
    /// Part of the log memory that is updated in place, above 0 and at most 1. The default is 0.9.
    pub mutable_fraction: f64,
    /// Hash of the keys. `None` takes that of the store, or xxh3 for a new one; a store of another kind is refused.
    pub hash_kind: Option<HashKind>,
    /// Overflow buckets of the index beyond its table. `None` is a quarter of the table.
    pub overflow_buckets: Option<u64>,
    /// Threads that rebuild the index at open. `None` is the number of cores, at most 8. Each holds a page that is not in memory; with
    /// large pages fewer of them work, so that these take at most 32 MiB together.
    pub recovery_threads: Option<usize>,
    /// Device reads in flight at once: of one batch, and of all pending and asynchronous reads together. 1 to 4096; the
    /// default is 128.
    ///
    /// The memory for so many reads of small records, and 1 MiB, is all that the reads of all sessions take together
    /// ([`MemoryPlan::io_bytes`]): where sessions on many threads, or large records, would need more, fewer reads are in flight.
    pub reads_in_flight: usize,
    /// Memory for records on the device that are read again and again. `None`, the default, keeps none.
    pub read_cache: Option<ReadCacheConfig>,
}

/// Pages that a log's memory should hold at least, if pages can be made smaller for it.
pub const PAGES_WANTED: u64 = 16;

impl Default for FasterKvConfig {
    /// 64 Ki buckets (4 MiB, for about 330,000 keys) and 256 MiB of log memory in 4 MiB pages.
    fn default() -> Self {
        Self {
            table_size: 1 << 16,
            log_memory_size: 256 << 20,
            page_size_bits: 22,
            mutable_fraction: 0.9,
            hash_kind: None,
            overflow_buckets: None,
            recovery_threads: None,
            reads_in_flight: 128,
            read_cache: None,
        }
    }
}

/// What a configuration makes a process hold, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryPlan {
    /// Frames of the hybrid log.
    pub log_bytes: u64,
    /// Index table.
    pub table_bytes: u64,
    /// Overflow buckets of the index.
    pub overflow_bytes: u64,
    /// Checksums of pages on the device.
    pub checksum_cache_bytes: u64,
    /// Buffers of device reads, those of all sessions and threads together: whoever finds none waits. Beside them, one record
    /// that is larger than that may be read at a time.
    pub io_bytes: u64,
    /// The read cache.
    pub read_cache_bytes: u64,
}

impl MemoryPlan {
    /// The sum. A process stays within 1.25 times this plus 64 MiB.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.log_bytes
            + self.table_bytes
            + self.overflow_bytes
            + self.checksum_cache_bytes
            + self.io_bytes
            + self.read_cache_bytes
    }
}

impl FasterKvConfig {
    /// The default configuration.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`table_size`](Self::table_size).
    #[must_use]
    pub fn with_table_size(mut self, buckets: u64) -> Self {
        self.table_size = buckets;
        self
    }

    /// Sets [`log_memory_size`](Self::log_memory_size).
    #[must_use]
    pub fn with_log_memory_size(mut self, bytes: u64) -> Self {
        self.log_memory_size = bytes;
        self
    }

    /// Sets [`page_size_bits`](Self::page_size_bits).
    #[must_use]
    pub fn with_page_size_bits(mut self, bits: u32) -> Self {
        self.page_size_bits = bits;
        self
    }

    /// Sets [`reads_in_flight`](Self::reads_in_flight).
    #[must_use]
    pub fn with_reads_in_flight(mut self, reads: usize) -> Self {
        self.reads_in_flight = reads;
        self
    }

    /// Sets [`read_cache`](Self::read_cache).
    #[must_use]
    pub fn with_read_cache(mut self, cache: ReadCacheConfig) -> Self {
        self.read_cache = Some(cache);
        self
    }

    /// Sets [`mutable_fraction`](Self::mutable_fraction).
    #[must_use]
    pub fn with_mutable_fraction(mut self, fraction: f64) -> Self {
        self.mutable_fraction = fraction;
        self
    }

    /// Sets [`hash_kind`](Self::hash_kind).
    #[must_use]
    pub fn with_hash_kind(mut self, kind: HashKind) -> Self {
        self.hash_kind = Some(kind);
        self
    }

    /// Checks everything that can be checked without a device.
    ///
    /// # Errors
    /// `InvalidConfiguration` with the key, its value and what would be right.
    ///
    /// # Examples
    /// ```
    /// use oxifaster_store::FasterKvConfig;
    ///
    /// let error = FasterKvConfig::default().with_table_size(1000).validate().unwrap_err();
    /// assert_eq!(error.to_string(), "table_size is 1000, it must be a power of two from 1 to 2147483648 buckets");
    /// ```
    pub fn validate(&self) -> Result<(), Error> {
        let refuse = |message: String| Err(Error::new(ErrorKind::InvalidConfiguration, message));
        if !self.table_size.is_power_of_two() || self.table_size > TABLE_SIZE_MAX {
            return refuse(format!(
                "table_size is {}, it must be a power of two from 1 to {TABLE_SIZE_MAX} buckets",
                self.table_size
            ));
        }
        if let Some(threads) = self.recovery_threads
            && !(1..=RECOVERY_THREADS_MAX).contains(&threads)
        {
            return refuse(format!("recovery_threads is {threads}, it must be 1 to {RECOVERY_THREADS_MAX}"));
        }
        if let Some(buckets) = self.overflow_buckets
            && buckets > TABLE_SIZE_MAX
        {
            return refuse(format!(
                "overflow_buckets is {buckets}, it must be at most {TABLE_SIZE_MAX} buckets"
            ));
        }
        if self.log_memory_size > LOG_MEMORY_BYTES_MAX {
            return refuse(format!(
                "log_memory_size is {} bytes, it must be at most {LOG_MEMORY_BYTES_MAX} bytes",
                self.log_memory_size
            ));
        }
        if !(1..=READS_IN_FLIGHT_MAX).contains(&self.reads_in_flight) {
            return refuse(format!(
                "reads_in_flight is {}, it must be 1 to {READS_IN_FLIGHT_MAX}",
                self.reads_in_flight
            ));
        }
        if self.log_memory_size < FRAMES_MIN << 16 {
            return refuse(format!(
                "log_memory_size is {} bytes, it must be at least {} bytes ({FRAMES_MIN} pages of 64 KiB)",
                self.log_memory_size,
                FRAMES_MIN << 16
            ));
        }
        self.read_cache.as_ref().map_or(Ok(()), ReadCacheConfig::validate)?;
        self.log_config().validate()
    }

    /// Overflow buckets that the index may use.
    #[must_use]
    pub fn overflow_budget(&self) -> u64 {
        self.overflow_buckets.unwrap_or((self.table_size / 4).max(64))
    }

    fn read_cache_bytes(&self) -> u64 {
        self.read_cache.as_ref().map_or(0, |cache| cache.mem_size)
    }

    /// The sizes of the hybrid log.
    pub(crate) fn log_config(&self) -> HybridLogConfig {
        let mut config = HybridLogConfig {
            page_size_bits: self.page_size_bits,
            memory_bytes: self.log_memory_size,
            mutable_fraction: self.mutable_fraction,
            checksum_cache_bytes: (self.log_memory_size.saturating_add(self.read_cache_bytes()) / 64)
                .max(64 << 10),
            read_buffer_bytes: READ_BUFFER_BYTES_MIN + self.reads_in_flight as u64 * READ_BYTES,
        };
        if (16..=25).contains(&self.page_size_bits) {
            config.page_size_bits = config.page_size_bits_for(PAGES_WANTED);
        }
        config
    }

    /// What a store with this configuration makes a process hold.
    ///
    /// # Examples
    /// ```
    /// use oxifaster_store::FasterKvConfig;
    ///
    /// let plan = FasterKvConfig::default().with_table_size(1 << 10).memory_plan();
    /// assert_eq!((plan.table_bytes, plan.log_bytes), (64 << 10, 256 << 20));
    /// ```
    #[must_use]
    pub fn memory_plan(&self) -> MemoryPlan {
        let log = self.log_config();
        MemoryPlan {
            log_bytes: log.memory_bytes,
            table_bytes: self.table_size * BUCKET_BYTES,
            overflow_bytes: self.overflow_budget() * BUCKET_BYTES,
            checksum_cache_bytes: log.checksum_cache_bytes,
            io_bytes: log.read_buffer_bytes,
            read_cache_bytes: self.read_cache_bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_work_is_refused_with_key_value_and_range() {
        FasterKvConfig::default().validate().unwrap();
        for (config, text) in [
            (FasterKvConfig::new().with_table_size(0), "table_size is 0"),
            (FasterKvConfig::new().with_table_size(1000), "table_size is 1000"),
            (FasterKvConfig::new().with_log_memory_size(1000), "log_memory_size is 1000"),
            (FasterKvConfig::new().with_mutable_fraction(0.0), "mutable_fraction is 0"),
            (FasterKvConfig::new().with_mutable_fraction(1.01), "mutable_fraction is 1.01"),
            (FasterKvConfig::new().with_page_size_bits(9), "page_size_bits is 9"),
            (FasterKvConfig { recovery_threads: Some(0), ..Default::default() }, "recovery_threads is 0"),
            (FasterKvConfig { recovery_threads: Some(5000), ..Default::default() }, "must be 1 to 1024"),
            (
                FasterKvConfig { overflow_buckets: Some(u64::MAX), ..Default::default() },
                "overflow_buckets is 1844",
            ),
            (FasterKvConfig::new().with_log_memory_size(u64::MAX), "log_memory_size is 1844"),
            (FasterKvConfig::new().with_reads_in_flight(0), "reads_in_flight is 0"),
            (FasterKvConfig::new().with_reads_in_flight(5000), "reads_in_flight is 5000"),
            (
                FasterKvConfig::new().with_read_cache(ReadCacheConfig::new().with_mem_size(1)),
                "mem_size of the read cache is 1 bytes",
            ),
            (
                FasterKvConfig::new().with_read_cache(ReadCacheConfig::new().with_mutable_fraction(f64::NAN)),
                "mutable_fraction of the read cache is NaN",
            ),
        ] {
            let error = config.validate().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
            assert!(error.to_string().contains(text), "{error}");
        }
    }

    #[test]
    fn pages_shrink_until_the_memory_holds_enough_of_them() {
        let config = FasterKvConfig::new().with_log_memory_size(1 << 20);
        config.validate().unwrap();
        assert_eq!(config.log_config().page_size_bits, 16);
        assert_eq!(FasterKvConfig::default().log_config().page_size_bits, 22);
    }
}
