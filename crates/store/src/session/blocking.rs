//! The session and its blocking operations.

use std::borrow::Borrow;
use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use oxifaster_core::codec::{
    FetchAdd, KeyArgument, KeyBytes, PersistKey, PersistValue, ValueArgument, ValueCodec,
};
use oxifaster_core::error::Error;
use oxifaster_device::StorageDevice;

use super::pending::PendingReads;
use super::view::RecordView;
use super::worker::{Worker, key_of};
use crate::faster_kv::FasterKv;
use crate::operations::{Add, Conditional, Copied, Decision, Decoded, Delete, Read, RmwOutcome, Upsert};

/// A handle for operations on a [`FasterKv`]. It may move between threads and serves one at a time; between operations it
/// protects nothing, so an idle session holds up nobody.
///
/// Every blocking operation completes: when its record is on the device, it reads it.
///
/// It can't be shared between threads:
///
/// ```compile_fail,E0277
/// use oxifaster_device::NullDisk;
/// use oxifaster_store::Session;
///
/// fn shared<T: Sync>() {}
/// shared::<Session<u64, u64, NullDisk>>();
/// ```
///
/// ```
/// use oxifaster_device::NullDisk;
/// use oxifaster_store::Session;
///
/// fn moved<T: Send>() {}
/// moved::<Session<u64, u64, NullDisk>>();
/// ```
pub struct Session<K: PersistKey, V: PersistValue, D: StorageDevice> {
    pub(super) worker: Worker<K, V>,
    pub(super) pending: PendingReads<V>,
    pub(super) store: Arc<FasterKv<K, V, D>>,
    /// Its fields would allow sharing today; that they do is no promise.
    not_sync: PhantomData<Cell<()>>,
}

impl<K: PersistKey, V: PersistValue, D: StorageDevice> fmt::Debug for Session<K, V, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("serial_num", &self.worker.serial).finish_non_exhaustive()
    }
}

/// Memory that a session keeps from one view to the next, in bytes.
const VIEW_BYTES_MAX: usize = 1 << 20;

impl<K: PersistKey, V: PersistValue, D: StorageDevice> Session<K, V, D> {
    pub(crate) fn start(store: Arc<FasterKv<K, V, D>>) -> Result<Self, Error> {
        let worker = Worker::start(&store.core, true)?;
        Ok(Self { worker, pending: PendingReads::default(), store, not_sync: PhantomData })
    }

    /// The store.
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use oxifaster_device::NullDisk;
    /// # use oxifaster_store::{FasterKv, FasterKvConfig};
    /// # let store = Arc::new(FasterKv::<u64, u64, _>::open(FasterKvConfig::default(), NullDisk::new())?);
    /// # let mut session = store.start_session()?;
    /// session.upsert(1, 10)?;
    /// assert_eq!(session.store().stats().operations.upserts, 1);
    /// # Ok::<(), oxifaster_core::error::Error>(())
    /// ```
    #[must_use]
    pub fn store(&self) -> &Arc<FasterKv<K, V, D>> {
        &self.store
    }

    /// Number of updates of this session that took effect. It rises by one with each of them, in their order.
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use oxifaster_device::NullDisk;
    /// # use oxifaster_store::{FasterKv, FasterKvConfig};
    /// # let store = Arc::new(FasterKv::<u64, u64, _>::open(FasterKvConfig::default(), NullDisk::new())?);
    /// # let mut session = store.start_session()?;
    /// session.upsert(1, 10)?;
    /// session.read(&1)?;
    /// session.delete(&1)?;
    /// assert_eq!(session.serial_num(), 2);
    /// # Ok::<(), oxifaster_core::error::Error>(())
    /// ```
    #[must_use]
    pub fn serial_num(&self) -> u64 {
        self.worker.serial
    }

    /// The value of a key, `None` if it is absent. A `String` store is read by `&str`, a `Vec<u8>` store by `&[u8]`.
    ///
    /// # Errors
    /// The device's error; `Corruption` of the record that was needed; `Closed`.
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use oxifaster_device::NullDisk;
    /// # use oxifaster_store::{FasterKv, FasterKvConfig};
    /// # let store = Arc::new(FasterKv::<String, String, _>::open(FasterKvConfig::default(), NullDisk::new())?);
    /// # let mut session = store.start_session()?;
    /// session.upsert("key", "value")?;
    /// assert_eq!(session.read("key")?.as_deref(), Some("value"));
    /// assert_eq!(session.read("other")?, None);
    /// # Ok::<(), oxifaster_core::error::Error>(())
    /// ```
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub fn read<Q: KeyBytes + ?Sized>(&mut self, key: &Q) -> Result<Option<V>, Error>
    where
        K: Borrow<Q>,
    {
        let encoded = key.key_bytes()?;
        let key = key_of!(self.worker.core, encoded);
        self.worker.drive(Read { key, sink: Decoded }, |worker, value| worker.count_read(value.is_some()))
    }

    /// Copies the encoded bytes of a value into `out`, replacing its content, without allocating if they fit; false, with
    /// `out` empty, if the key is absent.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use oxifaster_device::NullDisk;
    /// # use oxifaster_store::{FasterKv, FasterKvConfig};
    /// # let store = Arc::new(FasterKv::<String, String, _>::open(FasterKvConfig::default(), NullDisk::new())?);
    /// # let mut session = store.start_session()?;
    /// let mut buffer = Vec::new();
    /// session.upsert("key", "value")?;
    /// assert!(session.read_into("key", &mut buffer)?);
    /// assert_eq!(buffer, b"value");
    /// assert!(!session.read_into("other", &mut buffer)?);
    /// # Ok::<(), oxifaster_core::error::Error>(())
    /// ```
    pub fn read_into<Q: KeyBytes + ?Sized>(&mut self, key: &Q, out: &mut Vec<u8>) -> Result<bool, Error>
    where
        K: Borrow<Q>,
    {
        let encoded = key.key_bytes().inspect_err(|_| out.clear())?;
        let key = key_of!(self.worker.core, encoded);
        let read = Read { key, sink: Copied { out: &mut *out } };
        let read = self.worker.drive(read, |worker, read| worker.count_read(read.is_some()));
        if !matches!(read, Ok(Some(()))) {
            out.clear();
        }
        Ok(read?.is_some())
    }

    /// Lends the encoded bytes of a value from the session's buffer.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use oxifaster_device::NullDisk;
    /// # use oxifaster_store::{FasterKv, FasterKvConfig};
    /// # let store = Arc::new(FasterKv::<String, String, _>::open(FasterKvConfig::default(), NullDisk::new())?);
    /// # let mut session = store.start_session()?;
    /// session.upsert("key", "value")?;
    /// let len = session.read_view("key")?.map(|view| view.len());
    /// assert_eq!(len, Some(5));
    /// # Ok::<(), oxifaster_core::error::Error>(())
    /// ```
    pub fn read_view<Q: KeyBytes + ?Sized>(&mut self, key: &Q) -> Result<Option<RecordView<'_>>, Error>
    where
        K: Borrow<Q>,
    {
        let mut bytes = std::mem::take(&mut self.pending.view);
        if bytes.capacity() > VIEW_BYTES_MAX {
            // One large view does not keep its memory.
            bytes.clear();
            bytes.shrink_to(VIEW_BYTES_MAX);
        }
        let hit = self.read_into(key, &mut bytes);
        self.pending.view = bytes;
        Ok(hit?.then_some(RecordView { bytes: &self.pending.view }))
    }

    /// Sets the value of a key, whether it was there or not.
    ///
    /// # Durability
    /// In memory when this returns; durable when a later [`flush`](FasterKv::flush) or `close` returned `Ok`.
    ///
    /// # Errors
    /// `InvalidInput` when the record is larger than a page; `OutOfMemory` or the device's error when there is no room;
    /// `Poisoned`, `Closed`. Nothing has changed then.
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use oxifaster_device::NullDisk;
    /// # use oxifaster_store::{FasterKv, FasterKvConfig};
    /// # let store = Arc::new(FasterKv::<u64, u64, _>::open(FasterKvConfig::default(), NullDisk::new())?);
    /// # let mut session = store.start_session()?;
    /// session.upsert(1, 10)?;
    /// session.upsert(1, 20)?;
    /// assert_eq!(session.read(&1)?, Some(20));
    /// # Ok::<(), oxifaster_core::error::Error>(())
    /// ```
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub fn upsert(&mut self, key: impl KeyArgument<K>, value: impl ValueArgument<V>) -> Result<(), Error> {
        let (encoded, value) = (key.encode_key()?, value.encode_value()?);
        let key = key_of!(self.worker.core, encoded);
        self.worker.drive(Upsert { key, value: value.as_ref() }, |worker, ()| {
            worker.counters().upserts.add(1);
            worker.count_update();
        })
    }

    /// Changes the value of a key by `modify`, which gets a private copy and says whether to keep its change. An absent
    /// key starts from the initial value (zero, empty, `Default`) and is inserted. `modify` may run more than once; one
    /// run takes effect. A panic in it changes nothing.
    ///
    /// `modify` runs inside of the operation: it must be quick, since frames are not freed meanwhile, and it must not call
    /// this store, neither through another session nor `flush` or `close`, which may wait for this very operation.
    ///
    /// # Errors
    /// As [`upsert`](Self::upsert) and [`read`](Self::read).
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use oxifaster_device::NullDisk;
    /// # use oxifaster_store::{FasterKv, FasterKvConfig};
    /// # let store = Arc::new(FasterKv::<u64, u64, _>::open(FasterKvConfig::default(), NullDisk::new())?);
    /// # let mut session = store.start_session()?;
    /// # use oxifaster_store::RmwOutcome;
    /// let add_five = |value: &mut u64| {
    ///     *value += 5;
    ///     true
    /// };
    /// assert_eq!(session.rmw(1, add_five)?, RmwOutcome::Created);
    /// assert_eq!(session.rmw(1, add_five)?, RmwOutcome::Updated);
    /// assert_eq!(session.rmw(1, |_| false)?, RmwOutcome::Unchanged);
    /// assert_eq!(session.read(&1)?, Some(10));
    /// # Ok::<(), oxifaster_core::error::Error>(())
    /// ```
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub fn rmw(
        &mut self,
        key: impl KeyArgument<K>,
        mut modify: impl FnMut(&mut V) -> bool,
    ) -> Result<RmwOutcome, Error> {
        let encoded = key.encode_key()?;
        let key = key_of!(self.worker.core, encoded);
        self.worker.drive(Conditional::new(key, rmw_decision(&mut modify)), |worker, outcome| {
            worker.counters().rmws.add(1);
            if *outcome != RmwOutcome::Unchanged {
                worker.count_update();
            }
        })
    }

    /// Deletes a key; deleting an absent one is fine. Never reads the device.
    ///
    /// # Errors
    /// As [`upsert`](Self::upsert).
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use oxifaster_device::NullDisk;
    /// # use oxifaster_store::{FasterKv, FasterKvConfig};
    /// # let store = Arc::new(FasterKv::<u64, u64, _>::open(FasterKvConfig::default(), NullDisk::new())?);
    /// # let mut session = store.start_session()?;
    /// session.upsert(1, 10)?;
    /// session.delete(&1)?;
    /// session.delete(&1)?;
    /// assert_eq!(session.read(&1)?, None);
    /// # Ok::<(), oxifaster_core::error::Error>(())
    /// ```
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub fn delete<Q: KeyBytes + ?Sized>(&mut self, key: &Q) -> Result<(), Error>
    where
        K: Borrow<Q>,
    {
        let encoded = key.key_bytes()?;
        let key = key_of!(self.worker.core, encoded);
        self.worker.drive(Delete { key }, |worker, ()| {
            worker.counters().deletes.add(1);
            worker.count_update();
        })
    }

    /// Deletes a key and returns the value that it had.
    ///
    /// # Errors
    /// As [`rmw`](Self::rmw).
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use oxifaster_device::NullDisk;
    /// # use oxifaster_store::{FasterKv, FasterKvConfig};
    /// # let store = Arc::new(FasterKv::<u64, u64, _>::open(FasterKvConfig::default(), NullDisk::new())?);
    /// # let mut session = store.start_session()?;
    /// session.upsert(1, 10)?;
    /// assert_eq!(session.remove(&1)?, Some(10));
    /// assert_eq!(session.remove(&1)?, None);
    /// # Ok::<(), oxifaster_core::error::Error>(())
    /// ```
    pub fn remove<Q: KeyBytes + ?Sized>(&mut self, key: &Q) -> Result<Option<V>, Error>
    where
        K: Borrow<Q>,
    {
        let encoded = key.key_bytes()?;
        let key = key_of!(self.worker.core, encoded);
        let operation = Conditional::new(key, remove_decision);
        self.worker.drive(operation, |worker, removed| worker.count_conditional(removed.is_some()))
    }

    /// Inserts a key that is absent; whether it did.
    ///
    /// # Errors
    /// As [`rmw`](Self::rmw).
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use oxifaster_device::NullDisk;
    /// # use oxifaster_store::{FasterKv, FasterKvConfig};
    /// # let store = Arc::new(FasterKv::<u64, u64, _>::open(FasterKvConfig::default(), NullDisk::new())?);
    /// # let mut session = store.start_session()?;
    /// assert!(session.insert_if_absent(1, 10)?);
    /// assert!(!session.insert_if_absent(1, 20)?);
    /// assert_eq!(session.read(&1)?, Some(10));
    /// # Ok::<(), oxifaster_core::error::Error>(())
    /// ```
    pub fn insert_if_absent(
        &mut self,
        key: impl KeyArgument<K>,
        value: impl ValueArgument<V>,
    ) -> Result<bool, Error> {
        let (encoded, value) = (key.encode_key()?, value.encode_value()?);
        let key = key_of!(self.worker.core, encoded);
        let operation = Conditional::with_value(key, value.as_ref(), insert_decision).keeping_found();
        self.worker.drive(operation, |worker, inserted| worker.count_conditional(*inserted))
    }

    /// Replaces the value of a key by `new` if its encoded bytes are those of `expected`.
    ///
    /// # Errors
    /// The outer one as [`rmw`](Self::rmw). The inner one is the value that is there instead, `None` if the key is absent.
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use oxifaster_device::NullDisk;
    /// # use oxifaster_store::{FasterKv, FasterKvConfig};
    /// # let store = Arc::new(FasterKv::<u64, u64, _>::open(FasterKvConfig::default(), NullDisk::new())?);
    /// # let mut session = store.start_session()?;
    /// session.upsert(1, 10)?;
    /// assert_eq!(session.compare_exchange(1, 10, 20)?, Ok(()));
    /// assert_eq!(session.compare_exchange(1, 10, 30)?, Err(Some(20)));
    /// assert_eq!(session.compare_exchange(2, 10, 30)?, Err(None));
    /// # Ok::<(), oxifaster_core::error::Error>(())
    /// ```
    pub fn compare_exchange(
        &mut self,
        key: impl KeyArgument<K>,
        expected: impl ValueArgument<V>,
        new: impl ValueArgument<V>,
    ) -> Result<Result<(), Option<V>>, Error> {
        let (encoded, expected, new) = (key.encode_key()?, expected.encode_value()?, new.encode_value()?);
        let key = key_of!(self.worker.core, encoded);
        let decision = exchange_decision(expected.as_ref());
        let operation = Conditional::with_value(key, new.as_ref(), decision);
        self.worker.drive(operation, |worker, exchanged| worker.count_conditional(exchanged.is_ok()))
    }

    /// Adds to an integer, wrapping around; returns the value before. An absent key starts from zero.
    ///
    /// # Errors
    /// As [`rmw`](Self::rmw).
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use oxifaster_device::NullDisk;
    /// # use oxifaster_store::{FasterKv, FasterKvConfig};
    /// # let store = Arc::new(FasterKv::<u64, u64, _>::open(FasterKvConfig::default(), NullDisk::new())?);
    /// # let mut session = store.start_session()?;
    /// assert_eq!(session.fetch_add(1, 5)?, 0);
    /// assert_eq!(session.fetch_add(1, 5)?, 5);
    /// assert_eq!(session.read(&1)?, Some(10));
    /// # Ok::<(), oxifaster_core::error::Error>(())
    /// ```
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub fn fetch_add(&mut self, key: impl KeyArgument<K>, delta: V) -> Result<V, Error>
    where
        V: FetchAdd,
    {
        let encoded = key.encode_key()?;
        let key = key_of!(self.worker.core, encoded);
        let operation = Add::new(key, delta, add_decision(delta));
        self.worker.drive(operation, |worker, _| worker.count_conditional(true))
    }
}

pub(crate) fn rmw_decision<V: PersistValue>(
    modify: &mut impl FnMut(&mut V) -> bool,
) -> impl FnMut(Option<V>) -> Result<(Decision<V>, RmwOutcome), Error> {
    move |current| {
        let outcome = if current.is_some() { RmwOutcome::Updated } else { RmwOutcome::Created };
        let mut value = current.unwrap_or_else(V::Codec::initial);
        if modify(&mut value) {
            Ok((Decision::Put(value), outcome))
        } else {
            Ok((Decision::Keep, RmwOutcome::Unchanged))
        }
    }
}

pub(crate) fn remove_decision<V>(current: Option<V>) -> Result<(Decision<V>, Option<V>), Error> {
    Ok((Decision::Delete, current))
}

pub(crate) fn insert_decision<V>(current: Option<V>) -> Result<(Decision<V>, bool), Error> {
    match current {
        Some(_) => Ok((Decision::Keep, false)),
        None => Ok((Decision::PutGiven, true)),
    }
}

/// Whether a compare-exchange took place; if not, the value that was there.
type Exchanged<V> = Result<(), Option<V>>;

pub(crate) fn exchange_decision<V: PersistValue>(
    expected: &[u8],
) -> impl FnMut(Option<V>) -> Result<(Decision<V>, Exchanged<V>), Error> {
    move |current| {
        let Some(value) = current else { return Ok((Decision::Keep, Err(None))) };
        let equal = V::Codec::encode(&value)?.as_ref() == expected;
        if equal { Ok((Decision::PutGiven, Ok(()))) } else { Ok((Decision::Keep, Err(Some(value)))) }
    }
}

pub(crate) fn add_decision<V: FetchAdd>(
    delta: V,
) -> impl FnMut(Option<V>) -> Result<(Decision<V>, V), Error> {
    move |current| {
        let before = current.unwrap_or_else(V::Codec::initial);
        Ok((Decision::Put(before.wrapping_sum(delta)), before))
    }
}
