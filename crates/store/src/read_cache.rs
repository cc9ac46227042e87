//! The read cache of a store: its configuration, and how it is made.
//!
//! Callers: users, by [`FasterKv::with_read_cache`](crate::FasterKv::with_read_cache); opening. What it is and why it is right:
//! `docs/design/0012-read-cache.md`.

use oxifaster_core::error::{Error, ErrorKind};
use oxifaster_core::hlog::{HybridLog, RECORD_CACHE_BYTES_MIN, RecordCache, RecordCacheConfig};
use oxifaster_core::record::RecordLayout;

/// Largest memory: that of a log.
const BYTES_MAX: u64 = 1 << 50;

/// Configuration of a read cache: memory for records on the device that are read again and again.
///
/// Whoever reads a record from the device leaves a copy in it, and looks there before it reads the device. It holds records, not
/// pages, so that its memory is for what is hot. Which record goes when it is full: the oldest that was not read again. Records
/// of more than an eighth of a part of it (there are up to 16 parts) are not kept.
///
/// A store without a device never looks at one: it takes no memory for a cache.
///
/// # Examples
/// ```
/// use oxifaster_device::FileSystemDisk;
/// use oxifaster_store::{FasterKv, FasterKvConfig, ReadCacheConfig};
///
/// let folder = tempfile::tempdir()?;
/// let device = FileSystemDisk::single_file(folder.path().join("store.log"))?;
/// let cache = ReadCacheConfig::default().with_mem_size(16 << 20);
/// let store = FasterKv::<u64, u64, _>::with_read_cache(FasterKvConfig::default(), device, cache)?;
/// assert_eq!(store.memory_plan().read_cache_bytes, 16 << 20);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ReadCacheConfig {
    /// Memory in bytes, all of it; at least 64 KiB. The default is 64 MiB.
    pub mem_size: u64,
    /// The newest part of the records, 0 to 1, in which being read again does not count: that is one burst of reads. The
    /// default is 0.1.
    pub mutable_fraction: f64,
    /// Whether all memory is touched when the store is opened, and not when it is first needed. Off by default.
    pub pre_allocate: bool,
    /// Whether a record that was read again is kept for another round when its turn to go has come. On by default; without it,
    /// the oldest record goes.
    pub copy_to_tail: bool,
}

impl Default for ReadCacheConfig {
    fn default() -> Self {
        Self { mem_size: 64 << 20, mutable_fraction: 0.1, pre_allocate: false, copy_to_tail: true }
    }
}

impl ReadCacheConfig {
    /// The default configuration.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`mem_size`](Self::mem_size).
    #[must_use]
    pub fn with_mem_size(mut self, bytes: u64) -> Self {
        self.mem_size = bytes;
        self
    }

    /// Sets [`mutable_fraction`](Self::mutable_fraction).
    #[must_use]
    pub fn with_mutable_fraction(mut self, fraction: f64) -> Self {
        self.mutable_fraction = fraction;
        self
    }

    /// Sets [`pre_allocate`](Self::pre_allocate).
    #[must_use]
    pub fn with_pre_allocate(mut self, touched: bool) -> Self {
        self.pre_allocate = touched;
        self
    }

    /// Sets [`copy_to_tail`](Self::copy_to_tail).
    #[must_use]
    pub fn with_copy_to_tail(mut self, kept: bool) -> Self {
        self.copy_to_tail = kept;
        self
    }

    /// Checks it.
    ///
    /// # Errors
    /// `InvalidConfiguration` with the key, its value and what would be right.
    ///
    /// # Examples
    /// ```
    /// use oxifaster_store::ReadCacheConfig;
    ///
    /// let error = ReadCacheConfig::default().with_mem_size(1000).validate().unwrap_err();
    /// assert_eq!(error.to_string(), "mem_size of the read cache is 1000 bytes, it must be 65536 to 1125899906842624 bytes");
    /// ```
    pub fn validate(&self) -> Result<(), Error> {
        let refuse = |message: String| Err(Error::new(ErrorKind::InvalidConfiguration, message));
        if !(RECORD_CACHE_BYTES_MIN..=BYTES_MAX).contains(&self.mem_size) {
            return refuse(format!(
                "mem_size of the read cache is {} bytes, it must be {RECORD_CACHE_BYTES_MIN} to {BYTES_MAX} bytes",
                self.mem_size
            ));
        }
        if !(0.0..=1.0).contains(&self.mutable_fraction) {
            return refuse(format!(
                "mutable_fraction of the read cache is {}, it must be 0 to 1",
                self.mutable_fraction
            ));
        }
        Ok(())
    }

    /// Gives a log on a device its cache.
    ///
    /// # Errors
    /// When there is no memory, or a cache already.
    pub(crate) fn enable(&self, log: &HybridLog, layout: RecordLayout) -> Result<(), Error> {
        if !log.is_persistent() {
            return Ok(());
        }
        log.set_record_cache(RecordCache::new(&RecordCacheConfig {
            memory_bytes: self.mem_size,
            record_words: layout.fixed_words(),
            young_fraction: self.mutable_fraction,
            second_chance: self.copy_to_tail,
            touched: self.pre_allocate,
        })?)
    }
}
