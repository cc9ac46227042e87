//! The store: opening, sessions, durability, statistics.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use oxifaster_core::Address;
use oxifaster_core::codec::{PersistKey, PersistValue};
use oxifaster_core::error::Error;
use oxifaster_core::hlog::{LogState, RecordCache};
use oxifaster_core::sync::{Mutex, clock};
use oxifaster_device::StorageDevice;

use crate::asynchronous::AsyncSession;
use crate::configuration::{FasterKvConfig, MemoryPlan};
use crate::log_view::LogView;
use crate::opening::Opening;
use crate::operations::Core;
use crate::pending::reactor::Reactor;
use crate::read_cache::ReadCacheConfig;
use crate::recovery::{RecoveryProgress, RecoveryReport};
use crate::session::Session;
use crate::statistics::Statistics;

/// A concurrent key-value store over a hybrid log on device `D`.
///
/// Share it in an [`Arc`] and give every thread a [`Session`].
///
/// ```
/// use std::sync::Arc;
/// use oxifaster_device::NullDisk;
/// use oxifaster_store::{FasterKv, FasterKvConfig};
///
/// let store = Arc::new(FasterKv::<u64, u64, _>::open(FasterKvConfig::default(), NullDisk::new())?);
/// let mut session = store.start_session()?;
/// session.upsert(1, 10)?;
/// session.rmw(1, |value| {
///     *value += 1;
///     true
/// })?;
/// assert_eq!(session.read(&1)?, Some(11));
/// # Ok::<(), oxifaster_core::error::Error>(())
/// ```
///
/// # Durability
/// What was acknowledged before [`flush`](Self::flush) or [`close`](Self::close) returned `Ok` survives power loss. Drop
/// closes, best effort: call `close` to learn of errors.
pub struct FasterKv<K: PersistKey, V: PersistValue, D: StorageDevice> {
    pub(crate) core: Arc<Core<K, V>>,
    pub(crate) reactor: Mutex<Option<Arc<Reactor>>>,
    device: Arc<D>,
    config: FasterKvConfig,
    plan: MemoryPlan,
    report: RecoveryReport,
}

/// Builds a [`FasterKv`] step by step: configuration, recovery progress.
pub struct FasterKvBuilder<K, V> {
    config: FasterKvConfig,
    progress: Option<Box<dyn Fn(RecoveryProgress) + Sync>>,
    types: PhantomData<fn(K) -> V>,
}

impl<K, V> fmt::Debug for FasterKvBuilder<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FasterKvBuilder").field("config", &self.config).finish_non_exhaustive()
    }
}

impl<K: PersistKey, V: PersistValue> FasterKvBuilder<K, V> {
    /// Sets the configuration.
    ///
    /// # Examples
    /// ```
    /// use oxifaster_device::NullDisk;
    /// use oxifaster_store::{FasterKv, FasterKvConfig};
    ///
    /// let config = FasterKvConfig::default().with_table_size(1 << 10);
    /// let store = FasterKv::<u64, u64, NullDisk>::builder().config(config).open(NullDisk::new())?;
    /// assert_eq!(store.config().table_size, 1 << 10);
    /// # Ok::<(), oxifaster_core::error::Error>(())
    /// ```
    #[must_use]
    pub fn config(mut self, config: FasterKvConfig) -> Self {
        self.config = config;
        self
    }

    /// Calls `progress` after every page that recovery has read, from any of its threads.
    ///
    /// # Examples
    /// ```
    /// use oxifaster_device::NullDisk;
    /// use oxifaster_store::FasterKv;
    ///
    /// let store = FasterKv::<u64, u64, NullDisk>::builder()
    ///     .on_recovery_progress(|progress| println!("{} of {} pages", progress.pages_done, progress.pages_total))
    ///     .open(NullDisk::new())?;
    /// assert!(store.recovery_report().created);
    /// # Ok::<(), oxifaster_core::error::Error>(())
    /// ```
    #[must_use]
    pub fn on_recovery_progress(mut self, progress: impl Fn(RecoveryProgress) + Sync + 'static) -> Self {
        self.progress = Some(Box::new(progress));
        self
    }

    /// Opens the store.
    ///
    /// # Errors
    /// As [`FasterKv::open`].
    ///
    /// # Examples
    /// ```
    /// use oxifaster_device::NullDisk;
    /// use oxifaster_store::FasterKv;
    ///
    /// let store = FasterKv::<u64, u64, NullDisk>::builder().open(NullDisk::new())?;
    /// assert!(store.recovery_report().created);
    /// # Ok::<(), oxifaster_core::error::Error>(())
    /// ```
    pub fn open<D: StorageDevice>(self, device: D) -> Result<FasterKv<K, V, D>, Error> {
        let nothing = |_: RecoveryProgress| {};
        let progress = self.progress.as_deref().unwrap_or(&nothing);
        FasterKv::open_with_progress(self.config, device, progress)
    }
}

impl<K: PersistKey, V: PersistValue, D: StorageDevice> FasterKv<K, V, D> {
    /// Opens the store that `device` holds at its last consistent point, or creates an empty one.
    ///
    /// # Durability
    /// A created store is durable (and empty) when this returns.
    ///
    /// # Errors
    /// `InvalidConfiguration`; `IncompatibleFormat` when the device holds something else, or a store of other types or of
    /// another hash; `Corruption` when the log is damaged; the device's errors. Nothing is changed then.
    /// `InvalidConfiguration`, with sizes that work, also when the index for the store's keys has no room in the memory
    /// configured.
    ///
    /// # Examples
    /// ```
    /// use std::sync::Arc;
    /// use oxifaster_device::FileSystemDisk;
    /// use oxifaster_store::{FasterKv, FasterKvConfig};
    ///
    /// let folder = tempfile::tempdir()?;
    /// let path = folder.path().join("store.log");
    /// let store = Arc::new(FasterKv::<u64, u64, _>::open(FasterKvConfig::default(), FileSystemDisk::single_file(&path)?)?);
    /// assert!(store.recovery_report().created);
    /// store.start_session()?.upsert(1, 10)?;
    /// drop(store); // closes it
    ///
    /// let store = Arc::new(FasterKv::<u64, u64, _>::open(FasterKvConfig::default(), FileSystemDisk::single_file(&path)?)?);
    /// assert_eq!(store.recovery_report().records, 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn open(config: FasterKvConfig, device: D) -> Result<Self, Error> {
        Self::open_with_progress(config, device, &|_| {})
    }

    /// Opens a store with a read cache: [`open`](Self::open) with [`FasterKvConfig::read_cache`] set.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    ///
    /// # Examples
    /// ```
    /// use std::sync::Arc;
    /// use oxifaster_device::FileSystemDisk;
    /// use oxifaster_store::{FasterKv, FasterKvConfig, ReadCacheConfig};
    ///
    /// let folder = tempfile::tempdir()?;
    /// let device = FileSystemDisk::single_file(folder.path().join("store.log"))?;
    /// let config = FasterKvConfig::default().with_log_memory_size(1 << 20);
    /// let store = Arc::new(FasterKv::<u64, u64, _>::with_read_cache(config, device, ReadCacheConfig::default())?);
    /// let mut session = store.start_session()?;
    /// for key in 0..100_000 {
    ///     session.upsert(key, key)?;
    /// }
    /// for _ in 0..10 {
    ///     assert_eq!(session.read(&7)?, Some(7)); // its page has left memory: the first one reads the device
    /// }
    /// assert_eq!(store.stats().read_cache_hits, 9);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn with_read_cache(config: FasterKvConfig, device: D, cache: ReadCacheConfig) -> Result<Self, Error> {
        Self::open(config.with_read_cache(cache), device)
    }

    /// As [`open`](Self::open).
    ///
    /// # Panics
    /// Where `open` returns an error.
    ///
    /// # Examples
    /// ```
    /// use oxifaster_device::NullDisk;
    /// use oxifaster_store::{FasterKv, FasterKvConfig};
    ///
    /// let store = FasterKv::<u64, u64, _>::new(FasterKvConfig::default(), NullDisk::new());
    /// assert!(store.recovery_report().created);
    /// ```
    #[must_use]
    pub fn new(config: FasterKvConfig, device: D) -> Self {
        match Self::open(config, device) {
            Ok(store) => store,
            Err(error) => panic!("opening the store: {error}"),
        }
    }

    /// A builder with the default configuration.
    ///
    /// # Examples
    /// ```
    /// use oxifaster_device::NullDisk;
    /// use oxifaster_store::FasterKv;
    ///
    /// let store = FasterKv::<String, u64, NullDisk>::builder().open(NullDisk::new())?;
    /// assert_eq!(store.config(), &Default::default());
    /// # Ok::<(), oxifaster_core::error::Error>(())
    /// ```
    #[must_use]
    pub fn builder() -> FasterKvBuilder<K, V> {
        FasterKvBuilder { config: FasterKvConfig::default(), progress: None, types: PhantomData }
    }

    fn open_with_progress(
        config: FasterKvConfig,
        device: D,
        progress: &(dyn Fn(RecoveryProgress) + Sync),
    ) -> Result<Self, Error> {
        config.validate()?;
        let started = clock::now();
        let device = Arc::new(device);
        let shared: Arc<dyn StorageDevice> = device.clone();
        let opening = Opening::new(&config, shared)?;
        let (core, plan, report) = opening.finish(progress)?;
        let report = RecoveryReport { duration: started.elapsed(), ..report };
        tracing::info!(?report, "store opened");
        Ok(Self { core: Arc::new(core), reactor: Mutex::new(None), device, config, plan, report })
    }

    /// Starts a session: a handle for operations, to be used by one thread at a time.
    ///
    /// # Errors
    /// `Closed`.
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use oxifaster_device::NullDisk;
    /// # use oxifaster_store::{FasterKv, FasterKvConfig};
    /// # let store = Arc::new(FasterKv::<u64, u64, _>::open(FasterKvConfig::default(), NullDisk::new())?);
    /// let mut session = store.start_session()?;
    /// session.upsert(1, 10)?;
    /// std::thread::scope(|scope| {
    ///     scope.spawn(|| store.start_session()?.upsert(2, 20)).join().expect("no panic")
    /// })?;
    /// assert_eq!(session.read(&2)?, Some(20));
    /// # Ok::<(), oxifaster_core::error::Error>(())
    /// ```
    pub fn start_session(self: &Arc<Self>) -> Result<Session<K, V, D>, Error> {
        Session::start(Arc::clone(self))
    }

    /// Starts a session whose operations are futures.
    ///
    /// # Errors
    /// `Closed`; `Io` when no thread can be started for device reads.
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use oxifaster_device::NullDisk;
    /// # use oxifaster_store::{FasterKv, FasterKvConfig};
    /// # async fn example() -> Result<(), oxifaster_core::error::Error> {
    /// let store = Arc::new(FasterKv::<u64, u64, _>::open(FasterKvConfig::default(), NullDisk::new())?);
    /// let session = store.start_async_session()?;
    /// session.upsert(1, 10).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn start_async_session(self: &Arc<Self>) -> Result<AsyncSession<K, V, D>, Error> {
        AsyncSession::start(Arc::clone(self))
    }

    /// The reactor, started when first needed.
    pub(crate) fn reactor(&self) -> Result<Arc<Reactor>, Error> {
        let mut reactor = self.reactor.lock();
        if let Some(reactor) = &*reactor {
            return Ok(Arc::clone(reactor));
        }
        if self.core.log.state() == LogState::Closed {
            return Err(self.core.log.state_error());
        }
        let started = Arc::new(Reactor::start(&self.core.log, self.config.reads_in_flight)?);
        *reactor = Some(Arc::clone(&started));
        Ok(started)
    }

    /// Makes every operation acknowledged before the call durable; returns the new consistent tail.
    ///
    /// # Durability
    /// When this returns `Ok`, all of them survive power loss. On an error the last consistent point stands.
    ///
    /// # Errors
    /// The device's error; `Poisoned` after a failed sync; `Closed`.
    ///
    /// # Examples
    /// ```
    /// use std::sync::Arc;
    /// use oxifaster_device::FileSystemDisk;
    /// use oxifaster_store::{FasterKv, FasterKvConfig};
    ///
    /// let folder = tempfile::tempdir()?;
    /// let path = folder.path().join("store.log");
    /// let store = Arc::new(FasterKv::<u64, u64, _>::open(FasterKvConfig::default(), FileSystemDisk::single_file(&path)?)?);
    /// store.start_session()?.upsert(1, 10)?;
    /// let consistent = store.flush()?; // the upsert survives power loss now
    /// assert!(consistent > store.recovery_report().consistent_tail);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn flush(&self) -> Result<Address, Error> {
        self.core.log.flush()
    }

    /// Flushes and closes; later calls return `Closed` errors. Sessions may live on, but can't do anything. Closing
    /// twice is fine.
    ///
    /// # Durability
    /// As [`flush`](Self::flush).
    ///
    /// # Errors
    /// As [`flush`](Self::flush). When the device is full, or fails in any way but a sync, the store is as open as before:
    /// make space and call `flush` or `close` again. After a failed sync it is closed. Operations that come while a close is
    /// under way are refused as `Closed` in either case. A store that is dropped after a failed close keeps its last
    /// consistent point.
    ///
    /// # Examples
    /// ```
    /// use std::sync::Arc;
    /// use oxifaster_device::FileSystemDisk;
    /// use oxifaster_store::{FasterKv, FasterKvConfig};
    ///
    /// let folder = tempfile::tempdir()?;
    /// let path = folder.path().join("store.log");
    /// let store = Arc::new(FasterKv::<u64, u64, _>::open(FasterKvConfig::default(), FileSystemDisk::single_file(&path)?)?);
    /// store.start_session()?.upsert(1, 10)?;
    /// store.close()?;
    /// assert!(store.start_session().is_err(), "it is closed");
    /// drop(store); // lets go of the file
    ///
    /// let store = Arc::new(FasterKv::<u64, u64, _>::open(FasterKvConfig::default(), FileSystemDisk::single_file(&path)?)?);
    /// assert_eq!(store.start_session()?.read(&1)?, Some(10));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn close(&self) -> Result<(), Error> {
        let closed = self.core.log.close();
        if self.core.log.state() == LogState::Closed {
            let reactor = self.reactor.lock().take();
            drop(reactor);
        }
        closed
    }

    /// What opening found and did.
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use oxifaster_device::NullDisk;
    /// # use oxifaster_store::{FasterKv, FasterKvConfig};
    /// # let store = Arc::new(FasterKv::<u64, u64, _>::open(FasterKvConfig::default(), NullDisk::new())?);
    /// let report = store.recovery_report();
    /// assert!(report.created && report.records == 0);
    /// # Ok::<(), oxifaster_core::error::Error>(())
    /// ```
    #[must_use]
    pub fn recovery_report(&self) -> &RecoveryReport {
        &self.report
    }

    /// The configuration that the store was opened with.
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use oxifaster_device::NullDisk;
    /// # use oxifaster_store::{FasterKv, FasterKvConfig};
    /// # let store = Arc::new(FasterKv::<u64, u64, _>::open(FasterKvConfig::default(), NullDisk::new())?);
    /// assert_eq!(store.config().page_size_bits, 22);
    /// # Ok::<(), oxifaster_core::error::Error>(())
    /// ```
    #[must_use]
    pub fn config(&self) -> &FasterKvConfig {
        &self.config
    }

    /// The memory that the store plans with: that of its configuration, unless opening had to divide it otherwise (see
    /// [`RecoveryReport`]).
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use oxifaster_device::NullDisk;
    /// # use oxifaster_store::{FasterKv, FasterKvConfig};
    /// # let store = Arc::new(FasterKv::<u64, u64, _>::open(FasterKvConfig::default(), NullDisk::new())?);
    /// assert_eq!(store.memory_plan(), store.config().memory_plan());
    /// # Ok::<(), oxifaster_core::error::Error>(())
    /// ```
    #[must_use]
    pub fn memory_plan(&self) -> MemoryPlan {
        self.plan
    }

    /// The device, to ask it for its geometry, its space and what its own type tells.
    ///
    /// It is the very device that the store lives on, with all its methods. Whoever writes or truncates through it, blocks or
    /// metadata, takes the ground from under the store: no undefined behaviour follows, and everything else may, lost data and errors of
    /// corruption among it. Close the store first.
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use oxifaster_device::NullDisk;
    /// # use oxifaster_store::{FasterKv, FasterKvConfig};
    /// # let store = Arc::new(FasterKv::<u64, u64, _>::open(FasterKvConfig::default(), NullDisk::new())?);
    /// # use oxifaster_device::StorageDevice;
    /// assert!(!store.device().geometry().persistent);
    /// # Ok::<(), oxifaster_core::error::Error>(())
    /// ```
    #[must_use]
    pub fn device(&self) -> &D {
        &self.device
    }

    /// Statistics since the store was opened.
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use oxifaster_device::NullDisk;
    /// # use oxifaster_store::{FasterKv, FasterKvConfig};
    /// # let store = Arc::new(FasterKv::<u64, u64, _>::open(FasterKvConfig::default(), NullDisk::new())?);
    /// let mut session = store.start_session()?;
    /// session.upsert(1, 10)?;
    /// session.upsert(1, 20)?;
    /// let statistics = store.stats();
    /// assert_eq!(statistics.operations.upserts, 2);
    /// assert_eq!((statistics.appended_records, statistics.in_place_updates), (1, 1));
    /// # Ok::<(), oxifaster_core::error::Error>(())
    /// ```
    #[must_use]
    pub fn stats(&self) -> Statistics {
        let mut statistics = self.core.registry.sum();
        let io = self.core.log.io();
        let ring = self.core.log.ring();
        statistics.device_writes = io.writes;
        statistics.device_write_bytes = io.bytes_written;
        statistics.device_syncs = io.syncs;
        statistics.pages_evicted = io.pages_evicted;
        let (begin, head, tail) =
            (ring.begin().byte_offset(), ring.head().byte_offset(), ring.tail().byte_offset());
        statistics.log_bytes = tail.saturating_sub(begin);
        statistics.log_bytes_in_memory = tail.saturating_sub(head.max(begin));
        let cache = self.core.log.record_cache().map(RecordCache::counts).unwrap_or_default();
        statistics.read_cache_inserts = cache.inserted;
        statistics.read_cache_evictions = cache.evicted;
        statistics.index_buckets = self.core.index.buckets();
        statistics.index_overflow_buckets = self.core.index.overflow_buckets_used();
        statistics
    }

    /// The same as [`stats`](Self::stats), under the name of the earlier ports.
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use oxifaster_device::NullDisk;
    /// # use oxifaster_store::{FasterKv, FasterKvConfig};
    /// # let store = Arc::new(FasterKv::<u64, u64, _>::open(FasterKvConfig::default(), NullDisk::new())?);
    /// assert_eq!(store.stats_snapshot(), store.stats());
    /// # Ok::<(), oxifaster_core::error::Error>(())
    /// ```
    #[must_use]
    pub fn stats_snapshot(&self) -> Statistics {
        self.stats()
    }

    /// A look at the log: its addresses and pages.
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use oxifaster_device::NullDisk;
    /// # use oxifaster_store::{FasterKv, FasterKvConfig};
    /// # let store = Arc::new(FasterKv::<u64, u64, _>::open(FasterKvConfig::default(), NullDisk::new())?);
    /// let tail = store.log().tail();
    /// store.start_session()?.upsert(1, 10)?;
    /// assert_eq!(store.log().tail().byte_offset() - tail.byte_offset(), 24, "header, key, value");
    /// # Ok::<(), oxifaster_core::error::Error>(())
    /// ```
    #[must_use]
    pub fn log(&self) -> LogView<'_> {
        LogView::new(&self.core.log)
    }
}

impl<K: PersistKey, V: PersistValue, D: StorageDevice> Drop for FasterKv<K, V, D> {
    fn drop(&mut self) {
        if !self.core.log.is_at_home() {
            // A copy of the process has none of the threads that a close would wait for.
            return;
        }
        if let Err(error) = self.close() {
            tracing::error!(%error, "closing the store on drop failed: call close() to handle this");
            self.core.log.abandon();
            let reactor = self.reactor.lock().take();
            drop(reactor);
        }
    }
}

impl<K: PersistKey, V: PersistValue, D: StorageDevice> fmt::Debug for FasterKv<K, V, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FasterKv")
            .field("device", &self.device)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
