//! Batched operations: many keys in one call.
//!
//! A batch hashes its keys, prefetches their buckets, then their records, and only then runs the operations: `groups` says
//! how. Operations whose records are on the device read it together, up to `reads_in_flight` at a time: `deferred`. So
//! operations of one batch take effect in the order of their keys only where keys are equal.

use std::borrow::Borrow;
use std::marker::PhantomData;

use oxifaster_core::codec::{FetchAdd, KeyArgument, KeyBytes, PersistKey, PersistValue, ValueArgument};
use oxifaster_core::error::Error;
use oxifaster_device::StorageDevice;

use super::batched::{Adds, Deletes, Inserts, Reads, Rmws, Upserts};
use super::blocking::Session;
use super::groups::Batched;
use crate::operations::RmwOutcome;

impl<K: PersistKey, V: PersistValue, D: StorageDevice> Session<K, V, D> {
    #[inline(always)]
    fn run_batch<B: Batched<K, V>>(&mut self, batch: B, items: &[B::Item]) -> Result<B::Output, Error> {
        self.worker.run_batch(batch, items, self.store.config().reads_in_flight)
    }

    /// Reads many keys; results come in the order of the keys.
    ///
    /// # Errors
    /// As [`read`](Self::read); the first error ends the batch.
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use oxifaster_device::NullDisk;
    /// # use oxifaster_store::{FasterKv, FasterKvConfig};
    /// # let store = Arc::new(FasterKv::<u64, u64, _>::open(FasterKvConfig::default(), NullDisk::new())?);
    /// # let mut session = store.start_session()?;
    /// session.upsert_batch(&[(1, 10), (2, 20)])?;
    /// assert_eq!(session.read_batch(&[2, 3, 1])?, [Some(20), None, Some(10)]);
    /// # Ok::<(), oxifaster_core::error::Error>(())
    /// ```
    pub fn read_batch<Q: KeyBytes>(&mut self, keys: &[Q]) -> Result<Vec<Option<V>>, Error>
    where
        K: Borrow<Q>,
    {
        self.run_batch(Reads::new(keys.len()), keys)
    }

    /// Sets many keys. Equal keys take effect in their order.
    ///
    /// # Errors
    /// As [`upsert`](Self::upsert); the first error ends the batch, earlier keys are set.
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use oxifaster_device::NullDisk;
    /// # use oxifaster_store::{FasterKv, FasterKvConfig};
    /// # let store = Arc::new(FasterKv::<u64, u64, _>::open(FasterKvConfig::default(), NullDisk::new())?);
    /// # let mut session = store.start_session()?;
    /// session.upsert_batch(&[(1, 10), (2, 20), (1, 30)])?;
    /// assert_eq!(session.read_batch(&[1, 2])?, [Some(30), Some(20)]);
    /// # Ok::<(), oxifaster_core::error::Error>(())
    /// ```
    pub fn upsert_batch<KA: KeyArgument<K>, VA: ValueArgument<V>>(
        &mut self,
        pairs: &[(KA, VA)],
    ) -> Result<(), Error> {
        self.run_batch(Upserts(PhantomData), pairs)
    }

    /// Changes many keys by `modify`, which also gets the place of its key in `keys`. As in [`rmw`](Self::rmw) it may run more
    /// than once for each; for different keys it runs in any order. A panic in it changes nothing of its key, and ends the batch:
    /// what still waits for the device is not done.
    ///
    /// # Errors
    /// As [`rmw`](Self::rmw); the first error ends the batch, earlier keys are changed, later ones may be.
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use oxifaster_device::NullDisk;
    /// # use oxifaster_store::{FasterKv, FasterKvConfig};
    /// # let store = Arc::new(FasterKv::<u64, u64, _>::open(FasterKvConfig::default(), NullDisk::new())?);
    /// # let mut session = store.start_session()?;
    /// let add = [5, 6];
    /// session.rmw_batch(&[1, 2], |place, value| {
    ///     *value += add[place];
    ///     true
    /// })?;
    /// assert_eq!(session.read_batch(&[1, 2])?, [Some(5), Some(6)]);
    /// # Ok::<(), oxifaster_core::error::Error>(())
    /// ```
    pub fn rmw_batch<KA: KeyArgument<K>>(
        &mut self,
        keys: &[KA],
        modify: impl FnMut(usize, &mut V) -> bool,
    ) -> Result<Vec<RmwOutcome>, Error> {
        self.run_batch(Rmws::new(keys.len(), modify), keys)
    }

    /// Deletes many keys.
    ///
    /// # Errors
    /// As [`delete`](Self::delete); the first error ends the batch, earlier keys are deleted.
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use oxifaster_device::NullDisk;
    /// # use oxifaster_store::{FasterKv, FasterKvConfig};
    /// # let store = Arc::new(FasterKv::<u64, u64, _>::open(FasterKvConfig::default(), NullDisk::new())?);
    /// # let mut session = store.start_session()?;
    /// session.upsert_batch(&[(1, 10), (2, 20)])?;
    /// session.delete_batch(&[1, 3])?;
    /// assert_eq!(session.read_batch(&[1, 2])?, [None, Some(20)]);
    /// # Ok::<(), oxifaster_core::error::Error>(())
    /// ```
    pub fn delete_batch<Q: KeyBytes>(&mut self, keys: &[Q]) -> Result<(), Error>
    where
        K: Borrow<Q>,
    {
        self.run_batch(Deletes(PhantomData), keys)
    }

    /// Inserts those of many keys that are absent; for each whether it did. Of equal keys the first one inserts.
    ///
    /// # Errors
    /// As [`insert_if_absent`](Self::insert_if_absent); the first error ends the batch, earlier keys are inserted, later ones may be.
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use oxifaster_device::NullDisk;
    /// # use oxifaster_store::{FasterKv, FasterKvConfig};
    /// # let store = Arc::new(FasterKv::<u64, u64, _>::open(FasterKvConfig::default(), NullDisk::new())?);
    /// # let mut session = store.start_session()?;
    /// session.upsert(1, 10)?;
    /// assert_eq!(session.insert_if_absent_batch(&[(1, 20), (2, 30), (2, 40)])?, [false, true, false]);
    /// assert_eq!(session.read_batch(&[1, 2])?, [Some(10), Some(30)]);
    /// # Ok::<(), oxifaster_core::error::Error>(())
    /// ```
    pub fn insert_if_absent_batch<KA: KeyArgument<K>, VA: ValueArgument<V>>(
        &mut self,
        pairs: &[(KA, VA)],
    ) -> Result<Vec<bool>, Error> {
        self.run_batch(Inserts::new(pairs.len()), pairs)
    }

    /// Adds to many integers, wrapping around; returns the values before, in the order of the keys.
    ///
    /// # Errors
    /// As [`fetch_add`](Self::fetch_add); the first error ends the batch, earlier keys are changed, later ones may be.
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use oxifaster_device::NullDisk;
    /// # use oxifaster_store::{FasterKv, FasterKvConfig};
    /// # let store = Arc::new(FasterKv::<u64, u64, _>::open(FasterKvConfig::default(), NullDisk::new())?);
    /// # let mut session = store.start_session()?;
    /// assert_eq!(session.fetch_add_batch(&[(1, 5), (2, 6), (1, 7)])?, [0, 0, 5]);
    /// assert_eq!(session.read_batch(&[1, 2])?, [Some(12), Some(6)]);
    /// # Ok::<(), oxifaster_core::error::Error>(())
    /// ```
    pub fn fetch_add_batch<KA: KeyArgument<K>>(&mut self, deltas: &[(KA, V)]) -> Result<Vec<V>, Error>
    where
        V: FetchAdd,
    {
        self.run_batch(Adds::new(deltas.len()), deltas)
    }
}
