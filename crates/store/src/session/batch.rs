//! Batched operations: many keys in one call.
//!
//! A batch hashes its keys, prefetches their buckets, then their records, and only then runs the operations, so that
//! the memory latencies of [`GROUP`] operations overlap. Operations whose records are on the device are searched
//! together. Operations of one batch take effect in the order of their keys only where keys are equal.

use std::borrow::Borrow;

use oxifaster_core::codec::{KeyArgument, KeyBytes, PersistKey, PersistValue, ValueArgument};
use oxifaster_core::error::Error;
use oxifaster_device::StorageDevice;

use super::blocking::{Session, decode};
use super::worker::key_of;
use crate::operations::{Core, Key, Obstacle, Read, RmwOutcome, Step, count_reads};
use crate::pending::{ColdSearch, blocking};

/// Keys whose buckets and records are prefetched together.
const GROUP: usize = 32;
/// Device reads of a batch in flight together.
const DEPTH: usize = 64;

impl<K: PersistKey, V: PersistValue, D: StorageDevice> Session<K, V, D> {
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
        let mut values: Vec<Option<V>> = Vec::with_capacity(keys.len());
        let mut cold: Vec<(usize, ColdSearch)> = Vec::new();
        for group in keys.chunks(GROUP) {
            let encoded = group.iter().map(KeyBytes::key_bytes).collect::<Result<Vec<_>, _>>()?;
            self.prefetch(encoded.iter().map(AsRef::as_ref));
            for encoded in &encoded {
                let key = key_of!(self.worker.core, encoded);
                let mut read = Read { key, sink: decode::<V> };
                let value = match self.worker.attempt(&mut read, None)? {
                    Step::Done(value) => value,
                    Step::Blocked(Obstacle::Cold(from)) => {
                        let search = ColdSearch::new(from, key.bytes.into(), Core::<K, V>::LAYOUT, None);
                        cold.push((values.len(), search));
                        None
                    }
                    Step::Blocked(_) => self.worker.drive(&mut read)?,
                };
                values.push(value);
            }
        }
        self.finish_cold(cold, &mut values)?;
        for value in &values {
            self.count_read(value.is_some());
        }
        Ok(values)
    }

    /// Runs the searches of a batch together and fills their values in.
    fn finish_cold(&mut self, cold: Vec<(usize, ColdSearch)>, values: &mut [Option<V>]) -> Result<(), Error> {
        if cold.is_empty() {
            return Ok(());
        }
        let counters = self.worker.counters();
        counters.pending.add(cold.len() as u64);
        let (places, mut searches): (Vec<_>, Vec<_>) = cold.into_iter().unzip();
        let results = blocking::run_all(&self.worker.core.log, &mut searches, DEPTH)?;
        for search in &searches {
            count_reads(self.worker.counters(), search);
        }
        for (place, found) in places.into_iter().zip(results) {
            let value = match found?.record {
                Some(record) if !record.tombstone => Some(decode_bytes::<V>(&record.value)?),
                _ => None,
            };
            if let Some(slot) = values.get_mut(place) {
                *slot = value;
            }
        }
        Ok(())
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
    ) -> Result<(), Error>
    where
        for<'a> &'a KA: KeyArgument<K>,
        for<'a> &'a VA: ValueArgument<V>,
    {
        for group in pairs.chunks(GROUP) {
            let encoded = group.iter().map(|(key, _)| key.encode_key()).collect::<Result<Vec<_>, _>>()?;
            self.prefetch(encoded.iter().map(AsRef::as_ref));
            for (key, value) in group {
                self.upsert(key, value)?;
            }
        }
        Ok(())
    }

    /// Changes many keys by `modify`, which also gets the place of its key in `keys`.
    ///
    /// # Errors
    /// As [`rmw`](Self::rmw); the first error ends the batch, earlier keys are changed.
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
        mut modify: impl FnMut(usize, &mut V) -> bool,
    ) -> Result<Vec<RmwOutcome>, Error>
    where
        for<'a> &'a KA: KeyArgument<K>,
    {
        let mut outcomes = Vec::with_capacity(keys.len());
        for group in keys.chunks(GROUP) {
            let encoded = group.iter().map(KeyArgument::encode_key).collect::<Result<Vec<_>, _>>()?;
            self.prefetch(encoded.iter().map(AsRef::as_ref));
            for key in group {
                let place = outcomes.len();
                outcomes.push(self.rmw(key, |value| modify(place, value))?);
            }
        }
        Ok(outcomes)
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
        for group in keys.chunks(GROUP) {
            let encoded = group.iter().map(KeyBytes::key_bytes).collect::<Result<Vec<_>, _>>()?;
            self.prefetch(encoded.iter().map(AsRef::as_ref));
            for key in group {
                self.delete(key)?;
            }
        }
        Ok(())
    }

    /// Starts to bring the buckets, then the newest records, of these keys into the cache.
    fn prefetch<'a>(&mut self, keys: impl Iterator<Item = &'a [u8]> + Clone) {
        let core = &self.worker.core;
        for key in keys.clone() {
            core.index.prefetch(Key::of(core, key).hash);
        }
        let guard = self.worker.participant.enter();
        let head = core.log.ring().head();
        for key in keys {
            if let Some(slot) = core.index.find(Key::of(core, key).hash)
                && slot.address() >= head
            {
                core.log.ring().prefetch(&guard, slot.address());
            }
        }
    }
}

fn decode_bytes<V: PersistValue>(bytes: &[u8]) -> Result<V, Error> {
    decode(crate::operations::Found::Bytes(bytes))
}
