//! Operations of a batch that wait for the device, all of them together.
//!
//! Caller: batches, behind their last group ([`Worker::run_batch`], and those of asynchronous sessions). As many searches as the
//! configuration allows are in flight at a time; each operation goes on as soon as its search has ended, in any order.
//!
//! ```text
//! items       a   b   a   c   b   a             keys; all on the device
//! searches    a   b       c                     one for each key, in flight together
//! followers   a -> a -> a     b -> b            run in their order, when the search of their key is back
//! ```
//!
//! # Rules
//! 1. *Operations on one key take effect in their order.* Whoever meets its key here is queued behind the last operation of
//!    it ([`Deferred::follows`]), even if its record is in memory by now.
//! 2. What a search found is true for all operations of its key, as long as the chain leaves memory where the search began;
//!    each of them checks that under its guard. So an operation that changed nothing costs those behind it no read.
//! 3. *The first error is the batch's*, as if all had run in turn: operations before the place of the error take effect,
//!    operations behind it are not started any more. (Some of them may have run before.)

use std::collections::HashMap;
use std::sync::Arc;

use oxifaster_core::Address;
use oxifaster_core::codec::{PersistKey, PersistValue};
use oxifaster_core::error::Error;
use oxifaster_core::hash::KeyHash;

use super::groups::{Batched, Ran};
use super::worker::Worker;
use crate::operations::{Core, Key, count_reads};
use crate::pending::blocking::{self, Searches};
use crate::pending::{ColdFound, ColdSearch, Numbered, SearchKey};

/// What came of the operations of a key, when the search that they waited for had ended.
#[derive(Debug)]
#[must_use]
#[expect(
    clippy::large_enum_variant,
    reason = "one for each device read, moved on at once: a box would cost more"
)]
pub(crate) enum Resumed {
    /// All have ended, or are not run any more.
    Ended,
    /// One needs the device once more, because its record was evicted meanwhile.
    Search(Numbered),
    /// One needs room for so many words, and its worker does not wait. It goes on from there, with what the search found.
    NoRoom { number: usize, words: u64 },
}

/// One operation that waits.
#[derive(Debug)]
struct Waiting<'i, T> {
    place: usize,
    item: &'i T,
    key: SearchKey,
    hash: KeyHash,
    /// Where its search begins; null for a follower.
    from: Address,
    /// The next operation of the same key.
    follower: Option<usize>,
}

/// The operations that wait, in the order of their places.
#[derive(Debug)]
pub(crate) struct Deferred<'i, T> {
    waiting: Vec<Waiting<'i, T>>,
    /// Operations before this one have started their searches.
    started: usize,
    /// The last operation of each key.
    last_of: HashMap<SearchKey, usize>,
    /// The error with the lowest place.
    failure: Option<(usize, Error)>,
}

impl<T> Default for Deferred<'_, T> {
    fn default() -> Self {
        Self { waiting: Vec::new(), started: 0, last_of: HashMap::new(), failure: None }
    }
}

impl<'i, T> Deferred<'i, T> {
    /// Whether no operation waits.
    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Queues the operation at `place` if an earlier one of its key waits; whether it did.
    #[inline(never)]
    pub(super) fn follows(&mut self, place: usize, item: &'i T, key: &[u8], hash: KeyHash) -> bool {
        let number = self.waiting.len();
        let Some(last) = self.last_of.get_mut(key) else { return false };
        let before = std::mem::replace(last, number);
        if let Some(before) = self.waiting.get_mut(before) {
            before.follower = Some(number);
        }
        self.waiting.push(Waiting::new(place, item, key, hash, Address::NULL));
        true
    }

    /// Makes the operation at `place` wait for a search from `from` down.
    #[inline(never)]
    pub(super) fn begin<B: Batched<K, V>, K, V>(
        &mut self,
        place: usize,
        item: &'i T,
        key: &[u8],
        hash: KeyHash,
        from: Address,
    ) {
        let waiting = Waiting::new(place, item, key, hash, from);
        if B::CONDITIONAL {
            self.last_of.insert(Arc::clone(&waiting.key), self.waiting.len());
        }
        self.waiting.push(waiting);
    }

    /// The search of the next operation that waits for its own and is to run (rule 3).
    pub(crate) fn next_search<B, K: PersistKey, V: PersistValue>(&mut self) -> Option<Numbered>
    where
        B: Batched<K, V>,
    {
        let mut waiting = self.waiting.iter().enumerate().skip(self.started);
        let (number, waiting) = waiting.find(|(_, waiting)| !waiting.from.is_null())?;
        if self.failure.as_ref().is_some_and(|(place, _)| *place < waiting.place) {
            return None;
        }
        self.started = number + 1;
        Some((number, waiting.search::<B, K, V>(waiting.from, None)))
    }

    /// Goes on with operation `number`, whose search ended with `result`, and with those that follow it.
    pub(crate) fn resume<K: PersistKey, V: PersistValue, B: Batched<K, V, Item = T>>(
        &mut self,
        worker: &mut Worker<K, V>,
        batch: &mut B,
        mut number: usize,
        result: Result<&ColdFound, &Error>,
    ) -> Resumed {
        let found = match result {
            Ok(found) => found,
            Err(error) => {
                self.fail(number, error.duplicate());
                return Resumed::Ended;
            }
        };
        loop {
            let Some(waiting) = self.waiting.get(number) else { return Resumed::Ended };
            if self.failure.as_ref().is_some_and(|(place, _)| *place < waiting.place) {
                return Resumed::Ended;
            }
            match waiting.run(worker, batch, found) {
                Ok(Ran::Done(())) => {}
                Ok(Ran::Cold(from)) => {
                    let search = waiting.search::<B, K, V>(from, Some(found.clone()));
                    return Resumed::Search((number, search));
                }
                Ok(Ran::NoRoom(words)) => return Resumed::NoRoom { number, words },
                Err(error) => {
                    self.fail(number, error);
                    return Resumed::Ended;
                }
            }
            let Some(follower) = waiting.follower else { return Resumed::Ended };
            number = follower;
        }
    }

    /// Operation `number` has failed.
    pub(crate) fn fail(&mut self, number: usize, error: Error) {
        let Some(waiting) = self.waiting.get(number) else { return };
        if self.failure.as_ref().is_none_or(|(place, _)| waiting.place < *place) {
            self.failure = Some((waiting.place, error));
        }
    }

    /// The error of the operation with the lowest place.
    ///
    /// # Errors
    /// That one.
    pub(crate) fn end(self) -> Result<(), Error> {
        self.failure.map_or(Ok(()), |(_, error)| Err(error))
    }
}

impl<'i, T> Waiting<'i, T> {
    fn new(place: usize, item: &'i T, key: &[u8], hash: KeyHash, from: Address) -> Self {
        Self { place, item, key: key.into(), hash, from, follower: None }
    }

    fn search<B: Batched<K, V>, K: PersistKey, V: PersistValue>(
        &self,
        from: Address,
        earlier: Option<ColdFound>,
    ) -> ColdSearch {
        let search = ColdSearch::new(from, Arc::clone(&self.key), Core::<K, V>::LAYOUT, earlier);
        search.replacing_found(B::REPLACES_FOUND)
    }

    fn run<K: PersistKey, V: PersistValue, B: Batched<K, V, Item = T>>(
        &self,
        worker: &mut Worker<K, V>,
        batch: &mut B,
        found: &ColdFound,
    ) -> Result<Ran<()>, Error> {
        if batch.take(self.place, found)? {
            return Ok(Ran::Done(()));
        }
        let key = Key { bytes: &self.key, hash: self.hash };
        batch.run(&mut worker.turn_with(found), self.place, self.item, key)
    }
}

/// The searches of a batch, made when they are started, and what becomes of their results.
struct Remaining<'a, 'i, K, V, B: Batched<K, V>> {
    worker: &'a mut Worker<K, V>,
    batch: &'a mut B,
    deferred: &'a mut Deferred<'i, B::Item>,
}

impl<K: PersistKey, V: PersistValue, B: Batched<K, V>> Searches for Remaining<'_, '_, K, V, B> {
    fn next(&mut self) -> Option<Numbered> {
        self.deferred.next_search::<B, K, V>()
    }

    fn finished(
        &mut self,
        mut number: usize,
        search: &ColdSearch,
        result: Result<ColdFound, Error>,
    ) -> Option<Numbered> {
        count_reads(self.worker.counters(), search);
        loop {
            let words = match self.deferred.resume(self.worker, self.batch, number, result.as_ref()) {
                Resumed::Ended => return None,
                Resumed::Search(search) => return Some(search),
                Resumed::NoRoom { number: stopped, words } => {
                    number = stopped;
                    words
                }
            };
            if let Err(error) = self.worker.core.log.make_room(words) {
                self.deferred.fail(number, error);
                return None;
            }
        }
    }
}

impl<K: PersistKey, V: PersistValue> Worker<K, V> {
    /// Runs a batch to its end on the calling thread, at most `depth` device reads at a time.
    ///
    /// # Errors
    /// The first one, in the order of the items.
    #[inline(always)]
    pub(crate) fn run_batch<B: Batched<K, V>>(
        &mut self,
        mut batch: B,
        items: &[B::Item],
        depth: usize,
    ) -> Result<B::Output, Error> {
        let mut deferred = Deferred::default();
        let ran = self.run_all(&mut batch, items, &mut deferred);
        if !deferred.is_empty() {
            self.finish(&mut batch, deferred, depth)?;
        }
        ran.map(|()| batch.output(self.counters()))
    }

    #[inline(always)]
    fn run_all<'i, B: Batched<K, V>>(
        &mut self,
        batch: &mut B,
        items: &'i [B::Item],
        deferred: &mut Deferred<'i, B::Item>,
    ) -> Result<(), Error> {
        let mut first = 0;
        while let Some(stopped) = self.run_groups(batch, items, first..items.len(), deferred)? {
            self.core.log.make_room(stopped.words)?;
            first = stopped.place;
        }
        Ok(())
    }

    #[inline(never)]
    fn finish<B: Batched<K, V>>(
        &mut self,
        batch: &mut B,
        mut deferred: Deferred<'_, B::Item>,
        depth: usize,
    ) -> Result<(), Error> {
        let log = Arc::clone(&self.core.log);
        let remaining = Remaining { worker: self, batch, deferred: &mut deferred };
        blocking::run_all(&log, remaining, depth)?;
        deferred.end()
    }
}
