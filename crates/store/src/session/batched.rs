//! What each batched operation does for one of its items.
//!
//! Callers: the batches of sessions, through `groups` and `deferred`. Results are kept by place,
//! since operations end in any order.

use std::marker::PhantomData;

use oxifaster_core::Address;
use oxifaster_core::codec::{
    FetchAdd, KeyArgument, KeyBytes, PersistKey, PersistValue, ValueArgument, ValueCodec,
};
use oxifaster_core::error::Error;

use super::blocking::{add_decision, insert_decision, rmw_decision};
use super::groups::{Batched, Ran, Turn};
use crate::operations::{Add, Conditional, Delete, Key, Placed, Read, RmwOutcome, Upsert};
use crate::pending::ColdFound;
use crate::statistics::SessionCounters;

#[inline(always)]
fn put<T>(results: &mut [T], place: usize, result: T) {
    if let Some(slot) = results.get_mut(place) {
        *slot = result;
    }
}

/// `read_batch`, of keys of type `Q`.
#[derive(Debug)]
pub(crate) struct Reads<V, Q> {
    values: Vec<Option<V>>,
    keys: PhantomData<fn(Q)>,
}

impl<V, Q> Reads<V, Q> {
    pub(crate) fn new(len: usize) -> Self {
        Self { values: std::iter::repeat_with(|| None).take(len).collect(), keys: PhantomData }
    }
}

impl<K: PersistKey, V: PersistValue, Q: KeyBytes> Batched<K, V> for Reads<V, Q> {
    type Item = Q;
    type Output = Vec<Option<V>>;
    const CONDITIONAL: bool = false;

    #[inline(always)]
    fn appends(_: Address) -> bool {
        false
    }

    #[inline(always)]
    fn encode(key: &Q) -> Result<impl AsRef<[u8]>, Error> {
        key.key_bytes()
    }

    #[inline(always)]
    fn run(
        &mut self,
        turn: &mut Turn<'_, K, V>,
        place: usize,
        _: &Q,
        key: Key<'_>,
    ) -> Result<Ran<()>, Error> {
        // There is a place for each item.
        let Some(place) = self.values.get_mut(place) else { return Ok(Ran::Done(())) };
        Ok(turn.run(Read { key, sink: Placed { place } })?.map(|_| ()))
    }

    fn take(&mut self, place: usize, found: &ColdFound) -> Result<bool, Error> {
        if let Some(record) = found.record.as_ref().filter(|record| !record.tombstone) {
            put(&mut self.values, place, Some(V::Codec::decode(&record.value)?));
        }
        Ok(true)
    }

    fn output(self, counters: &SessionCounters) -> Vec<Option<V>> {
        let misses = self.values.iter().filter(|value| value.is_none()).count();
        counters.reads.add(self.values.len() as u64);
        counters.read_misses.add(misses as u64);
        self.values
    }
}

/// `upsert_batch`, of pairs of a `KA` and a `VA`.
#[derive(Debug)]
pub(crate) struct Upserts<KA, VA>(pub(crate) PhantomData<fn(KA, VA)>);

impl<K, V, KA, VA> Batched<K, V> for Upserts<KA, VA>
where
    K: PersistKey,
    V: PersistValue,
    KA: KeyArgument<K>,
    VA: ValueArgument<V>,
{
    type Item = (KA, VA);
    type Output = ();
    const CONDITIONAL: bool = false;

    #[inline(always)]
    fn appends(_: Address) -> bool {
        true
    }

    #[inline(always)]
    fn encode((key, _): &(KA, VA)) -> Result<impl AsRef<[u8]>, Error> {
        key.encode_key()
    }

    #[inline(always)]
    fn run(
        &mut self,
        turn: &mut Turn<'_, K, V>,
        _: usize,
        (_, value): &(KA, VA),
        key: Key<'_>,
    ) -> Result<Ran<()>, Error> {
        let value = value.encode_value()?;
        Ok(turn.run(Upsert { key, value: value.as_ref() })?.map(|()| {
            turn.counters.upserts.add(1);
            turn.count_update();
        }))
    }

    fn output(self, _: &SessionCounters) {}
}

/// `rmw_batch`, of keys of type `KA`.
#[derive(Debug)]
pub(crate) struct Rmws<KA, F> {
    modify: F,
    outcomes: Vec<RmwOutcome>,
    keys: PhantomData<fn(KA)>,
}

impl<KA, F> Rmws<KA, F> {
    pub(crate) fn new(len: usize, modify: F) -> Self {
        Self { modify, outcomes: vec![RmwOutcome::Unchanged; len], keys: PhantomData }
    }
}

impl<K, V, KA, F> Batched<K, V> for Rmws<KA, F>
where
    K: PersistKey,
    V: PersistValue,
    KA: KeyArgument<K>,
    F: FnMut(usize, &mut V) -> bool,
{
    type Item = KA;
    type Output = Vec<RmwOutcome>;
    const CONDITIONAL: bool = true;

    #[inline(always)]
    fn appends(candidate: Address) -> bool {
        candidate.is_null()
    }

    #[inline(always)]
    fn encode(key: &KA) -> Result<impl AsRef<[u8]>, Error> {
        key.encode_key()
    }

    #[inline(always)]
    fn run(
        &mut self,
        turn: &mut Turn<'_, K, V>,
        place: usize,
        _: &KA,
        key: Key<'_>,
    ) -> Result<Ran<()>, Error> {
        let mut modify = |value: &mut V| (self.modify)(place, value);
        let ran = turn.run(Conditional::new(key, rmw_decision(&mut modify)))?;
        Ok(ran.map(|outcome| {
            turn.counters.rmws.add(1);
            if outcome != RmwOutcome::Unchanged {
                turn.count_update();
            }
            put(&mut self.outcomes, place, outcome);
        }))
    }

    fn output(self, _: &SessionCounters) -> Vec<RmwOutcome> {
        self.outcomes
    }
}

/// `delete_batch`, of keys of type `Q`.
#[derive(Debug)]
pub(crate) struct Deletes<Q>(pub(crate) PhantomData<fn(Q)>);

impl<K: PersistKey, V: PersistValue, Q: KeyBytes> Batched<K, V> for Deletes<Q> {
    type Item = Q;
    type Output = ();
    const CONDITIONAL: bool = false;

    #[inline(always)]
    fn appends(candidate: Address) -> bool {
        !candidate.is_null()
    }

    #[inline(always)]
    fn encode(key: &Q) -> Result<impl AsRef<[u8]>, Error> {
        key.key_bytes()
    }

    #[inline(always)]
    fn run(&mut self, turn: &mut Turn<'_, K, V>, _: usize, _: &Q, key: Key<'_>) -> Result<Ran<()>, Error> {
        Ok(turn.run(Delete { key })?.map(|()| {
            turn.counters.deletes.add(1);
            turn.count_update();
        }))
    }

    fn output(self, _: &SessionCounters) {}
}

/// `insert_if_absent_batch`, of pairs of a `KA` and a `VA`.
#[derive(Debug)]
pub(crate) struct Inserts<KA, VA> {
    inserted: Vec<bool>,
    items: PhantomData<fn(KA, VA)>,
}

impl<KA, VA> Inserts<KA, VA> {
    pub(crate) fn new(len: usize) -> Self {
        Self { inserted: vec![false; len], items: PhantomData }
    }
}

impl<K, V, KA, VA> Batched<K, V> for Inserts<KA, VA>
where
    K: PersistKey,
    V: PersistValue,
    KA: KeyArgument<K>,
    VA: ValueArgument<V>,
{
    type Item = (KA, VA);
    type Output = Vec<bool>;
    const CONDITIONAL: bool = true;
    const REPLACES_FOUND: bool = false;

    #[inline(always)]
    fn appends(candidate: Address) -> bool {
        candidate.is_null()
    }

    #[inline(always)]
    fn encode((key, _): &(KA, VA)) -> Result<impl AsRef<[u8]>, Error> {
        key.encode_key()
    }

    #[inline(always)]
    fn run(
        &mut self,
        turn: &mut Turn<'_, K, V>,
        place: usize,
        (_, value): &(KA, VA),
        key: Key<'_>,
    ) -> Result<Ran<()>, Error> {
        let value = value.encode_value()?;
        let ran = turn.run(Conditional::with_value(key, value.as_ref(), insert_decision).keeping_found())?;
        Ok(ran.map(|inserted| {
            turn.counters.conditional.add(1);
            if inserted {
                turn.count_update();
            }
            put(&mut self.inserted, place, inserted);
        }))
    }

    fn output(self, _: &SessionCounters) -> Vec<bool> {
        self.inserted
    }
}

/// `fetch_add_batch`, of pairs of a `KA` and what is added.
#[derive(Debug)]
pub(crate) struct Adds<KA, V> {
    before: Vec<V>,
    keys: PhantomData<fn(KA)>,
}

impl<KA, V: FetchAdd> Adds<KA, V> {
    pub(crate) fn new(len: usize) -> Self {
        Self { before: std::iter::repeat_with(V::Codec::initial).take(len).collect(), keys: PhantomData }
    }
}

impl<K, V, KA> Batched<K, V> for Adds<KA, V>
where
    K: PersistKey,
    V: FetchAdd,
    KA: KeyArgument<K>,
{
    type Item = (KA, V);
    type Output = Vec<V>;
    const CONDITIONAL: bool = true;

    #[inline(always)]
    fn appends(candidate: Address) -> bool {
        candidate.is_null()
    }

    #[inline(always)]
    fn encode((key, _): &(KA, V)) -> Result<impl AsRef<[u8]>, Error> {
        key.encode_key()
    }

    #[inline(always)]
    fn run(
        &mut self,
        turn: &mut Turn<'_, K, V>,
        place: usize,
        (_, delta): &(KA, V),
        key: Key<'_>,
    ) -> Result<Ran<()>, Error> {
        Ok(turn.run(Add::new(key, *delta, add_decision(*delta)))?.map(|before| {
            turn.counters.conditional.add(1);
            turn.count_update();
            put(&mut self.before, place, before);
        }))
    }

    fn output(self, _: &SessionCounters) -> Vec<V> {
        self.before
    }
}
