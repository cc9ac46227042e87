//! Batched operations: many keys in one call.
//!
//! A batch hashes its keys, prefetches their buckets, then their records, and only then runs the operations: `groups` says
//! how. Reads whose records are on the device are searched together. Operations of one batch take effect in the order of
//! their keys only where keys are equal.

use std::borrow::Borrow;

use oxifaster_core::codec::{FetchAdd, KeyArgument, KeyBytes, PersistKey, PersistValue, ValueArgument};
use oxifaster_core::error::Error;
use oxifaster_device::StorageDevice;

use super::blocking::{Session, add_decision, decode, insert_decision, rmw_decision};
use crate::operations::{
    Add, Conditional, Core, Delete, Obstacle, Read, RmwOutcome, Step, Upsert, count_reads,
};
use crate::pending::{ColdSearch, blocking};

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
        self.worker.in_groups(keys, KeyBytes::key_bytes, |turn, _, key| {
            let read = Read { key, sink: decode::<V> };
            let value = match turn.read(read)? {
                Step::Done(value) => value,
                Step::Blocked(Obstacle::Cold(from)) => {
                    let search = ColdSearch::new(from, key.bytes.into(), Core::<K, V>::LAYOUT, None);
                    cold.push((values.len(), search));
                    None
                }
                Step::Blocked(_) => turn.run(Read { key, sink: decode::<V> })?,
            };
            values.push(value);
            Ok(())
        })?;
        self.finish_cold(cold, &mut values)?;
        let misses = values.iter().filter(|value| value.is_none()).count();
        self.worker.counters().reads.add(values.len() as u64);
        self.worker.counters().read_misses.add(misses as u64);
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
        let depth = self.store.config().reads_in_flight;
        let results = blocking::run_all(&self.worker.core.log, &mut searches, depth)?;
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
    ) -> Result<(), Error> {
        self.worker.in_groups(
            pairs,
            |(key, _)| key.encode_key(),
            |turn, (_, value), key| {
                let value = value.encode_value()?;
                turn.run(Upsert { key, value: value.as_ref() })?;
                turn.counters.upserts.add(1);
                turn.count_update();
                Ok(())
            },
        )
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
    ) -> Result<Vec<RmwOutcome>, Error> {
        let mut outcomes = Vec::with_capacity(keys.len());
        self.worker.in_groups(keys, KeyArgument::encode_key, |turn, _, key| {
            let place = outcomes.len();
            let mut modify = |value: &mut V| modify(place, value);
            let outcome = turn.run(Conditional::new(key, rmw_decision(&mut modify)))?;
            turn.counters.rmws.add(1);
            if outcome != RmwOutcome::Unchanged {
                turn.count_update();
            }
            outcomes.push(outcome);
            Ok(())
        })?;
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
        self.worker.in_groups(keys, KeyBytes::key_bytes, |turn, _, key| {
            turn.run(Delete { key })?;
            turn.counters.deletes.add(1);
            turn.count_update();
            Ok(())
        })
    }

    /// Inserts those of many keys that are absent; for each whether it did. Of equal keys the first one inserts.
    ///
    /// # Errors
    /// As [`insert_if_absent`](Self::insert_if_absent); the first error ends the batch, earlier keys are inserted.
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
        let mut inserted = Vec::with_capacity(pairs.len());
        self.worker.in_groups(
            pairs,
            |(key, _)| key.encode_key(),
            |turn, (_, value), key| {
                let value = value.encode_value()?;
                let took_effect = turn.run(Conditional::with_value(key, value.as_ref(), insert_decision))?;
                turn.counters.conditional.add(1);
                if took_effect {
                    turn.count_update();
                }
                inserted.push(took_effect);
                Ok(())
            },
        )?;
        Ok(inserted)
    }

    /// Adds to many integers, wrapping around; returns the values before, in the order of the keys.
    ///
    /// # Errors
    /// As [`fetch_add`](Self::fetch_add); the first error ends the batch, earlier keys are changed.
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
        let mut before = Vec::with_capacity(deltas.len());
        self.worker.in_groups(
            deltas,
            |(key, _)| key.encode_key(),
            |turn, (_, delta), key| {
                before.push(turn.run(Add::new(key, *delta, add_decision(*delta)))?);
                turn.counters.conditional.add(1);
                turn.count_update();
                Ok(())
            },
        )?;
        Ok(before)
    }
}

fn decode_bytes<V: PersistValue>(bytes: &[u8]) -> Result<V, Error> {
    decode(crate::operations::Found::Bytes(bytes))
}
