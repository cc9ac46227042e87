//! The session whose operations are futures.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use oxifaster_core::codec::{FetchAdd, KeyArgument, KeyBytes, PersistKey, PersistValue, ValueArgument};
use oxifaster_core::error::{Error, ErrorKind};
use oxifaster_core::hand_over::{Abandoned, channel};
use oxifaster_core::sync::{Mutex, canary};
use oxifaster_device::StorageDevice;

use crate::faster_kv::FasterKv;
use crate::operations::{
    Conditional, Core, Decoded, Delete, Key, Obstacle, Operation, Read, RmwOutcome, Step, Upsert,
    count_reads, remove_obstacle,
};
use crate::pending::{ColdFound, ColdSearch};
use crate::session::{
    Worker, add_decision, exchange_decision, insert_decision, remove_decision, rmw_decision,
};

/// A session whose operations are futures, for any executor.
///
/// Operations take `&self`: many may be under way at once from one session. An uncontended lock protects its epoch slot;
/// for the highest rate from many threads give each its own session.
///
/// # Cancel safety
/// A future that is dropped has taken effect, or never will; device reads that it started finish in the background. Of a
/// batch that is dropped, operations that have taken effect stay, each with its serial number, and all others never will.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use oxifaster_device::NullDisk;
/// use oxifaster_store::{FasterKv, FasterKvConfig};
///
/// pollster::block_on(async {
///     let store = Arc::new(FasterKv::<u64, u64, _>::open(FasterKvConfig::default(), NullDisk::new())?);
///     let session = store.start_async_session()?;
///     session.upsert(1, 10).await?;
///     assert_eq!(session.read(&1).await?, Some(10));
///     Ok::<(), oxifaster_core::error::Error>(())
/// })?;
/// # Ok::<(), oxifaster_core::error::Error>(())
/// ```
pub struct AsyncSession<K: PersistKey, V: PersistValue, D: StorageDevice> {
    pub(super) worker: Mutex<Worker<K, V>>,
    pub(super) store: Arc<FasterKv<K, V, D>>,
}

impl<K: PersistKey, V: PersistValue, D: StorageDevice> fmt::Debug for AsyncSession<K, V, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AsyncSession")
    }
}

/// What an operation counts as.
#[derive(Clone, Copy)]
enum Kind {
    Read,
    Upsert,
    Rmw,
    Delete,
    Conditional,
}

impl<K: PersistKey, V: PersistValue, D: StorageDevice> AsyncSession<K, V, D> {
    pub(crate) fn start(store: Arc<FasterKv<K, V, D>>) -> Result<Self, Error> {
        let worker = Mutex::new(Worker::start(&store.core, false)?);
        Ok(Self { worker, store })
    }

    /// The store.
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use oxifaster_device::NullDisk;
    /// # use oxifaster_store::{FasterKv, FasterKvConfig};
    /// # let store = Arc::new(FasterKv::<u64, u64, _>::open(FasterKvConfig::default(), NullDisk::new())?);
    /// # let session = store.start_async_session()?;
    /// # pollster::block_on(async {
    /// assert_eq!(session.store().stats().sessions, 1);
    /// # Ok::<(), oxifaster_core::error::Error>(())
    /// # })?;
    /// # Ok::<(), oxifaster_core::error::Error>(())
    /// ```
    #[must_use]
    pub fn store(&self) -> &Arc<FasterKv<K, V, D>> {
        &self.store
    }

    /// Number of updates of this session that took effect.
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use oxifaster_device::NullDisk;
    /// # use oxifaster_store::{FasterKv, FasterKvConfig};
    /// # let store = Arc::new(FasterKv::<u64, u64, _>::open(FasterKvConfig::default(), NullDisk::new())?);
    /// # let session = store.start_async_session()?;
    /// # pollster::block_on(async {
    /// session.upsert(1, 10).await?;
    /// assert_eq!(session.serial_num(), 1);
    /// # Ok::<(), oxifaster_core::error::Error>(())
    /// # })?;
    /// # Ok::<(), oxifaster_core::error::Error>(())
    /// ```
    #[must_use]
    pub fn serial_num(&self) -> u64 {
        self.worker.lock().serial
    }

    pub(super) fn core(&self) -> &Core<K, V> {
        &self.store.core
    }

    /// Attempts an operation until it completes, waiting without holding anything. An update is counted in the same
    /// moment in which it takes effect; `updates` says whether its result means that it did.
    async fn drive<O: Operation<K, V>>(
        &self,
        kind: Kind,
        mut operation: O,
        updates: impl Fn(&O::Output) -> bool,
    ) -> Result<O::Output, Error> {
        let mut cold: Option<ColdFound> = None;
        let mut rounds = 0;
        loop {
            let obstacle = {
                let mut worker = self.worker.lock();
                match worker.attempt(&mut operation, cold.as_ref())? {
                    Step::Done(output) => {
                        count(&mut worker, kind, updates(&output));
                        return Ok(output);
                    }
                    Step::Blocked(obstacle) => obstacle,
                }
            };
            match obstacle {
                Obstacle::Cold(from) => {
                    let key = operation.key().bytes.into();
                    let is_first = cold.is_none();
                    let search = ColdSearch::new(from, key, Core::<K, V>::LAYOUT, cold.take());
                    cold =
                        Some(self.search(search.replacing_found(operation.replaces_found()), is_first).await?)
                }
                Obstacle::Room(words) if self.core().log.is_persistent() => {
                    // A page that has a ready frame is turned here: only waiting for one is the other thread's.
                    if !self.core().log.try_make_room(words)? {
                        self.wait_for_room(words).await?;
                    }
                }
                // These end within the time other threads take to leave an operation.
                other => remove_obstacle(self.core(), other, &mut rounds)?,
            }
        }
    }

    /// Waits for room in the log, on another thread.
    pub(super) async fn wait_for_room(&self, words: u64) -> Result<(), Error> {
        let (sender, reply) = channel();
        self.store.reactor()?.make_room(words, move |made| sender.send(made));
        reply.await.map_err(abandoned)?
    }

    /// Performs a search; `is_first` of its operation.
    async fn search(&self, mut search: ColdSearch, is_first: bool) -> Result<ColdFound, Error> {
        if is_first {
            self.worker.lock().counters().pending.add(1);
        }
        let (search, found) = match search.go_on_in_memory(&self.core().log).transpose() {
            Some(found) => (search, found),
            None => {
                let (sender, reply) = channel();
                self.store.reactor()?.search(search, move |search, found| sender.send((search, found)));
                reply.await.map_err(abandoned)?
            }
        };
        count_reads(self.worker.lock().counters(), &search);
        found
    }

    /// As [`Session::read`](crate::Session::read).
    ///
    /// # Errors
    /// As there.
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use oxifaster_device::NullDisk;
    /// # use oxifaster_store::{FasterKv, FasterKvConfig};
    /// # let store = Arc::new(FasterKv::<u64, u64, _>::open(FasterKvConfig::default(), NullDisk::new())?);
    /// # let session = store.start_async_session()?;
    /// # pollster::block_on(async {
    /// assert_eq!(session.read(&1).await?, None);
    /// # Ok::<(), oxifaster_core::error::Error>(())
    /// # })?;
    /// # Ok::<(), oxifaster_core::error::Error>(())
    /// ```
    pub async fn read<Q: KeyBytes + ?Sized>(&self, key: &Q) -> Result<Option<V>, Error>
    where
        K: Borrow<Q>,
    {
        let bytes: Box<[u8]> = key.key_bytes()?.as_ref().into();
        let key = Key::of(self.core(), &bytes);
        self.drive(Kind::Read, Read { key, sink: Decoded }, Option::is_some).await
    }

    /// As [`Session::upsert`](crate::Session::upsert).
    ///
    /// # Errors
    /// As there.
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use oxifaster_device::NullDisk;
    /// # use oxifaster_store::{FasterKv, FasterKvConfig};
    /// # let store = Arc::new(FasterKv::<u64, u64, _>::open(FasterKvConfig::default(), NullDisk::new())?);
    /// # let session = store.start_async_session()?;
    /// # pollster::block_on(async {
    /// session.upsert(1, 10).await?;
    /// assert_eq!(session.read(&1).await?, Some(10));
    /// # Ok::<(), oxifaster_core::error::Error>(())
    /// # })?;
    /// # Ok::<(), oxifaster_core::error::Error>(())
    /// ```
    pub async fn upsert(&self, key: impl KeyArgument<K>, value: impl ValueArgument<V>) -> Result<(), Error> {
        let bytes: Box<[u8]> = key.encode_key()?.as_ref().into();
        let value: Box<[u8]> = value.encode_value()?.as_ref().into();
        let key = Key::of(self.core(), &bytes);
        self.drive(Kind::Upsert, Upsert { key, value: &value }, |()| true).await
    }

    /// As [`Session::rmw`](crate::Session::rmw).
    ///
    /// # Errors
    /// As there.
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use oxifaster_device::NullDisk;
    /// # use oxifaster_store::{FasterKv, FasterKvConfig};
    /// # let store = Arc::new(FasterKv::<u64, u64, _>::open(FasterKvConfig::default(), NullDisk::new())?);
    /// # let session = store.start_async_session()?;
    /// # pollster::block_on(async {
    /// session.rmw(1, |value| { *value += 5; true }).await?;
    /// assert_eq!(session.read(&1).await?, Some(5));
    /// # Ok::<(), oxifaster_core::error::Error>(())
    /// # })?;
    /// # Ok::<(), oxifaster_core::error::Error>(())
    /// ```
    pub async fn rmw(
        &self,
        key: impl KeyArgument<K>,
        mut modify: impl FnMut(&mut V) -> bool,
    ) -> Result<RmwOutcome, Error> {
        let bytes: Box<[u8]> = key.encode_key()?.as_ref().into();
        let operation = Conditional::new(Key::of(self.core(), &bytes), rmw_decision(&mut modify));
        self.drive(Kind::Rmw, operation, |outcome| *outcome != RmwOutcome::Unchanged).await
    }

    /// As [`Session::delete`](crate::Session::delete).
    ///
    /// # Errors
    /// As there.
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use oxifaster_device::NullDisk;
    /// # use oxifaster_store::{FasterKv, FasterKvConfig};
    /// # let store = Arc::new(FasterKv::<u64, u64, _>::open(FasterKvConfig::default(), NullDisk::new())?);
    /// # let session = store.start_async_session()?;
    /// # pollster::block_on(async {
    /// session.upsert(1, 10).await?;
    /// session.delete(&1).await?;
    /// assert_eq!(session.read(&1).await?, None);
    /// # Ok::<(), oxifaster_core::error::Error>(())
    /// # })?;
    /// # Ok::<(), oxifaster_core::error::Error>(())
    /// ```
    pub async fn delete<Q: KeyBytes + ?Sized>(&self, key: &Q) -> Result<(), Error>
    where
        K: Borrow<Q>,
    {
        let bytes: Box<[u8]> = key.key_bytes()?.as_ref().into();
        self.drive(Kind::Delete, Delete { key: Key::of(self.core(), &bytes) }, |()| true).await
    }

    /// As [`Session::remove`](crate::Session::remove).
    ///
    /// # Errors
    /// As there.
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use oxifaster_device::NullDisk;
    /// # use oxifaster_store::{FasterKv, FasterKvConfig};
    /// # let store = Arc::new(FasterKv::<u64, u64, _>::open(FasterKvConfig::default(), NullDisk::new())?);
    /// # let session = store.start_async_session()?;
    /// # pollster::block_on(async {
    /// session.upsert(1, 10).await?;
    /// assert_eq!(session.remove(&1).await?, Some(10));
    /// # Ok::<(), oxifaster_core::error::Error>(())
    /// # })?;
    /// # Ok::<(), oxifaster_core::error::Error>(())
    /// ```
    pub async fn remove<Q: KeyBytes + ?Sized>(&self, key: &Q) -> Result<Option<V>, Error>
    where
        K: Borrow<Q>,
    {
        if canary::armed("async_remove_keeps") {
            return self.read(key).await;
        }
        let bytes: Box<[u8]> = key.key_bytes()?.as_ref().into();
        let operation = Conditional::new(Key::of(self.core(), &bytes), remove_decision);
        self.drive(Kind::Conditional, operation, Option::is_some).await
    }

    /// As [`Session::insert_if_absent`](crate::Session::insert_if_absent).
    ///
    /// # Errors
    /// As there.
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use oxifaster_device::NullDisk;
    /// # use oxifaster_store::{FasterKv, FasterKvConfig};
    /// # let store = Arc::new(FasterKv::<u64, u64, _>::open(FasterKvConfig::default(), NullDisk::new())?);
    /// # let session = store.start_async_session()?;
    /// # pollster::block_on(async {
    /// assert!(session.insert_if_absent(1, 10).await?);
    /// assert!(!session.insert_if_absent(1, 20).await?);
    /// # Ok::<(), oxifaster_core::error::Error>(())
    /// # })?;
    /// # Ok::<(), oxifaster_core::error::Error>(())
    /// ```
    pub async fn insert_if_absent(
        &self,
        key: impl KeyArgument<K>,
        value: impl ValueArgument<V>,
    ) -> Result<bool, Error> {
        let bytes: Box<[u8]> = key.encode_key()?.as_ref().into();
        let value: Box<[u8]> = value.encode_value()?.as_ref().into();
        let operation =
            Conditional::with_value(Key::of(self.core(), &bytes), &value, insert_decision).keeping_found();
        self.drive(Kind::Conditional, operation, |inserted| *inserted).await
    }

    /// As [`Session::compare_exchange`](crate::Session::compare_exchange).
    ///
    /// # Errors
    /// As there.
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use oxifaster_device::NullDisk;
    /// # use oxifaster_store::{FasterKv, FasterKvConfig};
    /// # let store = Arc::new(FasterKv::<u64, u64, _>::open(FasterKvConfig::default(), NullDisk::new())?);
    /// # let session = store.start_async_session()?;
    /// # pollster::block_on(async {
    /// session.upsert(1, 10).await?;
    /// assert_eq!(session.compare_exchange(1, 10, 20).await?, Ok(()));
    /// # Ok::<(), oxifaster_core::error::Error>(())
    /// # })?;
    /// # Ok::<(), oxifaster_core::error::Error>(())
    /// ```
    pub async fn compare_exchange(
        &self,
        key: impl KeyArgument<K>,
        expected: impl ValueArgument<V>,
        new: impl ValueArgument<V>,
    ) -> Result<Result<(), Option<V>>, Error> {
        let bytes: Box<[u8]> = key.encode_key()?.as_ref().into();
        let expected: Box<[u8]> = expected.encode_value()?.as_ref().into();
        let new: Box<[u8]> = new.encode_value()?.as_ref().into();
        let decision = exchange_decision(&expected);
        let operation = Conditional::with_value(Key::of(self.core(), &bytes), &new, decision);
        self.drive(Kind::Conditional, operation, Result::is_ok).await
    }

    /// As [`Session::fetch_add`](crate::Session::fetch_add).
    ///
    /// # Errors
    /// As there.
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use oxifaster_device::NullDisk;
    /// # use oxifaster_store::{FasterKv, FasterKvConfig};
    /// # let store = Arc::new(FasterKv::<u64, u64, _>::open(FasterKvConfig::default(), NullDisk::new())?);
    /// # let session = store.start_async_session()?;
    /// # pollster::block_on(async {
    /// assert_eq!(session.fetch_add(1, 5).await?, 0);
    /// assert_eq!(session.fetch_add(1, 5).await?, 5);
    /// # Ok::<(), oxifaster_core::error::Error>(())
    /// # })?;
    /// # Ok::<(), oxifaster_core::error::Error>(())
    /// ```
    pub async fn fetch_add(&self, key: impl KeyArgument<K>, delta: V) -> Result<V, Error>
    where
        V: FetchAdd,
    {
        let bytes: Box<[u8]> = key.encode_key()?.as_ref().into();
        let operation = Conditional::new(Key::of(self.core(), &bytes), add_decision(delta));
        self.drive(Kind::Conditional, operation, |_| true).await
    }
}

/// A thread of the store ended without an answer: it panicked.
pub(super) fn abandoned(abandoned: Abandoned) -> Error {
    Error::new(ErrorKind::Io, "a thread of the store ended unexpectedly: close and reopen the store")
        .with_source(abandoned)
}

fn count<K: PersistKey, V: PersistValue>(worker: &mut Worker<K, V>, kind: Kind, effective: bool) {
    let counters = worker.counters();
    match kind {
        Kind::Read => {
            counters.reads.add(1);
            counters.read_misses.add(u64::from(!effective));
        }
        Kind::Upsert => counters.upserts.add(1),
        Kind::Rmw => counters.rmws.add(1),
        Kind::Delete => counters.deletes.add(1),
        Kind::Conditional => counters.conditional.add(1),
    }
    if effective && !matches!(kind, Kind::Read) {
        worker.count_update();
    }
}
