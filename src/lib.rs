//! oxifaster: an embeddable concurrent key-value store for point operations on state larger than memory.
//!
//! A Rust implementation of the FASTER design: a latch-free hash index over a *hybrid log*, whose newest records are
//! updated in place in memory and whose older ones lie on a device.
//!
//! ```
//! use std::sync::Arc;
//! use oxifaster::prelude::*;
//!
//! let folder = std::env::temp_dir().join(format!("oxifaster-doc-{}", std::process::id()));
//! std::fs::create_dir_all(&folder)?;
//! let device = FileSystemDisk::single_file(folder.join("store.log"))?;
//! let store = Arc::new(FasterKv::<String, u64, _>::open(FasterKvConfig::default(), device)?);
//!
//! let mut session = store.start_session()?;
//! session.upsert("apples", 3)?;
//! session.rmw("apples", |count| {
//!     *count += 2;
//!     true
//! })?;
//! assert_eq!(session.read("apples")?, Some(5));
//! store.close()?; // everything survives power loss now
//! # drop((session, store));
//! # std::fs::remove_dir_all(&folder)?;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! | module | what is in it |
//! |---|---|
//! | [`store`] | [`FasterKv`](store::FasterKv), its sessions, configuration, reports |
//! | [`log`] | [`FasterLog`](log::FasterLog): a durable log with group commit |
//! | [`device`] | where bytes live: files, memory, the contract for devices of your own |
//! | [`codec`] | how your types become bytes |
//! | [`error`], [`status`] | the one error, whose kind says what to do; how an operation ended, in one byte |
//! | [`cache`] | memory for what is read again and again |
//! | [`stats`] | what a store has done |
//! | [`epoch`], [`index`], [`record`], [`allocator`], [`address`] | the parts, for inspection and for building on |
//!
//! What survives a crash, and what is not there yet, is told in the README.
//!
//! # Features
//!
//! `hash-xxh3` (default), `hash-xxh64` and `statistics` are accepted and change nothing. Both hashes are always built, because
//! a store records its own and must open in every build; [`HashKind`](store::HashKind) chooses for a new store. Statistics
//! are always counted. `io_uring` adds `IoUringDevice`, which takes the portable path, and says so, where the platform or the
//! kernel has no such thing.
#![forbid(unsafe_code)]

pub use oxifaster_core::address;
pub use oxifaster_core::codec;
pub use oxifaster_core::epoch;
pub use oxifaster_core::error;
pub use oxifaster_core::record;
pub use oxifaster_core::status;

/// From the hash of a key to the newest record of its chain.
pub mod index {
    pub use oxifaster_core::index::growth;
    pub use oxifaster_core::index::{
        BUCKET_BYTES, BUCKET_ENTRIES, Entries, HashIndex, HashIndex as MemHashIndex, IndexSlot,
        IndexStatistics,
    };
}

/// The hybrid log, under the name of the earlier ports.
pub mod allocator {
    pub use oxifaster_core::hlog::{
        HybridLog, HybridLog as PersistentMemoryMalloc, HybridLogConfig, PageLayout,
    };
}

/// Where bytes live: the device contract and its implementations.
pub mod device {
    pub use oxifaster_device::conformance;
    pub use oxifaster_device::fault;
    pub use oxifaster_device::{
        Completion, DeviceError, DeviceErrorKind, DeviceIdentity, FileOptions, FileSystemDisk, Geometry,
        Headroom, Interrupt, IoBuffer, IoOperation, IoQueue, IoRequest, MetadataSlot, NullDisk, QueueOptions,
        SpaceUse, StorageDevice, Wait, Words,
    };
    #[cfg(feature = "io_uring")]
    pub use oxifaster_device::{IoBackend, IoUringDevice, IoUringOptions, RingUse};
}

/// The store: [`FasterKv`](store::FasterKv), its sessions and configuration.
///
/// ```
/// use std::sync::Arc;
/// use oxifaster::device::NullDisk;
/// use oxifaster::store::{FasterKv, FasterKvConfig, HashKind};
///
/// let config = FasterKvConfig::default().with_log_memory_size(16 << 20).with_hash_kind(HashKind::Xxh64);
/// let store = Arc::new(FasterKv::<u64, String, _>::open(config, NullDisk::new())?);
/// let mut session = store.start_session()?;
/// session.upsert(1, "one")?;
/// assert_eq!(session.read(&1)?.as_deref(), Some("one"));
/// # Ok::<(), oxifaster::error::Error>(())
/// ```
pub mod store {
    pub use oxifaster_core::hash::{HashKind, KeyHash};
    pub use oxifaster_store::{
        AsyncSession, Completed, FasterKv, FasterKvBuilder, FasterKvConfig, LogView, MemoryPlan, PendingId,
        RecordView, RecoveryProgress, RecoveryReport, RmwOutcome, Session, Started,
    };
}

/// The read cache: memory for records on the device that are read again and again.
///
/// ```
/// use oxifaster::cache::ReadCacheConfig;
/// use oxifaster::prelude::*;
///
/// let folder = std::env::temp_dir().join(format!("oxifaster-cache-{}", std::process::id()));
/// std::fs::create_dir_all(&folder)?;
/// let device = FileSystemDisk::single_file(folder.join("store.log"))?;
/// let cache = ReadCacheConfig::default().with_mem_size(16 << 20);
/// let store = FasterKv::<u64, u64, _>::with_read_cache(FasterKvConfig::default(), device, cache)?;
/// assert_eq!(store.stats().read_cache_hits, 0);
/// # drop(store);
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub mod cache {
    pub use oxifaster_store::ReadCacheConfig;
}

/// FasterLog: a durable log with group commit.
///
/// ```
/// use oxifaster::device::NullDisk;
/// use oxifaster::log::{FasterLog, FasterLogConfig};
///
/// let log = FasterLog::open(FasterLogConfig::default(), NullDisk::new())?;
/// let address = log.append_and_commit(b"an event")?;
/// assert_eq!(log.read_entry(address)?.as_deref(), Some(&b"an event"[..]));
/// # Ok::<(), oxifaster::error::Error>(())
/// ```
pub mod log {
    pub use oxifaster_log::{
        AppendAndCommitFuture, AppendBatchFuture, AppendFuture, Bytes, COOKIE_BYTES_MAX, CheckReport,
        CommitFuture, CommitInfo, CommitPolicy, FasterLog, FasterLogConfig, FasterLogReader,
        FasterLogReaderConfig, LogScan, LogTail, NAMED_POSITIONS_MAX, NamedIterator, RecoveryReport, ScanAll,
        ScanEnd,
    };

    /// The same, under the name of the earlier ports.
    pub mod faster_log {
        pub use oxifaster_log::{FasterLog, FasterLogConfig};
    }
}

/// Statistics of a store.
///
/// ```
/// # use std::sync::Arc;
/// use oxifaster::prelude::*;
///
/// let store = Arc::new(FasterKv::<u64, u64, _>::open(FasterKvConfig::default(), NullDisk::new())?);
/// store.start_session()?.read(&1)?;
/// let statistics: Statistics = store.stats();
/// assert_eq!((statistics.operations.reads, statistics.read_misses), (1, 1));
/// # Ok::<(), Error>(())
/// ```
pub mod stats {
    pub use oxifaster_store::{Operations, Statistics};
}

/// What most programs need.
pub mod prelude {
    pub use crate::address::Address;
    pub use crate::codec::{Bincode, Blittable, BlittableCodec, PersistKey, PersistValue};
    pub use crate::device::{FileSystemDisk, NullDisk, StorageDevice};
    pub use crate::error::{Error, ErrorKind};
    pub use crate::log::{FasterLog, FasterLogConfig};
    pub use crate::stats::Statistics;
    pub use crate::store::{AsyncSession, FasterKv, FasterKvConfig, HashKind, RmwOutcome, Session};
}

/// Compiles and runs what the README shows.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub mod readme {}

/// Compiles and runs what the Chinese README shows.
#[cfg(doctest)]
#[doc = include_str!("../README.cn.md")]
pub mod readme_cn {}
