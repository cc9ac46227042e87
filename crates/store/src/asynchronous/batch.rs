//! Batches as futures: many keys in one call.
//!
//! A batch runs its operations as that of a blocking session does: in groups whose cache misses overlap, and those whose records
//! are on the device behind them, their reads in flight together. Only the waits differ: for the device, and for room
//! in the log, on the store's reactor threads.
//!
//! # Rules
//! 1. *The session is locked while operations run, never while they wait*: at most [`AT_ONCE`] operations at a time, so that other
//!    futures of the session, and of the executor, get their turns.
//! 2. *An update is counted in the moment in which it takes effect*: a future that is dropped in between has done some of its
//!    operations, each with its serial number, and will do no other. On one key those that it did are the first ones.
//! 3. Of the searches of a batch at most `reads_in_flight` are with the reactor: so what they find does not pile up.

use std::borrow::Borrow;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::task::Poll;

use oxifaster_core::codec::{FetchAdd, KeyArgument, KeyBytes, PersistKey, PersistValue, ValueArgument};
use oxifaster_core::error::Error;
use oxifaster_core::hand_over::Replies;
use oxifaster_device::StorageDevice;

use super::session::{AsyncSession, abandoned};
use crate::operations::{RmwOutcome, count_reads};
use crate::pending::{ColdFound, ColdSearch, Numbered};
use crate::session::{Adds, Batched, Deferred, Deletes, Inserts, Reads, Resumed, Rmws, Upserts};

/// Operations that run before others get a turn: enough that groups still overlap, and some tens of microseconds.
const AT_ONCE: usize = 512;

/// What the reactor hands back: the number of a search, the search, and what it found.
type Answer = (usize, ColdSearch, Result<ColdFound, Error>);

/// Lets the executor run something else.
async fn yield_once() {
    let mut yielded = false;
    poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl<K: PersistKey, V: PersistValue, D: StorageDevice> AsyncSession<K, V, D> {
    async fn run_batch<B: Batched<K, V>>(&self, mut batch: B, items: &[B::Item]) -> Result<B::Output, Error> {
        let mut deferred = Deferred::default();
        let ran = self.run_all(&mut batch, items, &mut deferred).await;
        if !deferred.is_empty() {
            self.finish(&mut batch, deferred).await?;
        }
        ran.map(|()| batch.output(self.worker.lock().counters()))
    }

    /// Runs all operations as far as memory goes; those that need the device are `deferred`.
    async fn run_all<'i, B: Batched<K, V>>(
        &self,
        batch: &mut B,
        items: &'i [B::Item],
        deferred: &mut Deferred<'i, B::Item>,
    ) -> Result<(), Error> {
        let mut first = 0;
        while first < items.len() {
            let end = items.len().min(first + AT_ONCE);
            let stopped = self.worker.lock().run_groups(batch, items, first..end, deferred)?;
            match stopped {
                Some(stopped) => {
                    first = stopped.place;
                    self.wait_for_room(stopped.words).await?;
                }
                None => {
                    first = end;
                    if first < items.len() {
                        yield_once().await;
                    }
                }
            }
        }
        Ok(())
    }

    /// Finishes the operations that wait for the device.
    async fn finish<B: Batched<K, V>>(
        &self,
        batch: &mut B,
        mut deferred: Deferred<'_, B::Item>,
    ) -> Result<(), Error> {
        let mut replies = Replies::new();
        let (mut in_flight, mut at_once) = (0, 0);
        loop {
            while in_flight < self.store.config().reads_in_flight
                && let Some(search) = deferred.next_search::<B, K, V>()
            {
                in_flight += self.begin(batch, &mut deferred, search, &replies, &mut at_once).await?;
            }
            if in_flight == 0 {
                return deferred.end();
            }
            let (number, search, found) = replies.next().await.map_err(abandoned)?;
            in_flight -= 1;
            count_reads(self.worker.lock().counters(), &search);
            if let Some(search) = self.resume(batch, &mut deferred, number, found).await {
                in_flight += self.begin(batch, &mut deferred, search, &replies, &mut at_once).await?;
            }
        }
    }

    /// Starts a search. What the read cache answers goes on at once, with all that comes of it; how many were handed to the
    /// reactor: one or none. `at_once` counts those that were answered, so that the executor gets its turn (rule 1).
    async fn begin<B: Batched<K, V>>(
        &self,
        batch: &mut B,
        deferred: &mut Deferred<'_, B::Item>,
        search: Numbered,
        replies: &Replies<Answer>,
        at_once: &mut usize,
    ) -> Result<usize, Error> {
        let mut next = Some(search);
        while let Some((number, mut search)) = next {
            let Some(found) = search.go_on_in_memory(&self.core().log).transpose() else {
                let sender = replies.sender();
                let reply = move |search, found| sender.send((number, search, found));
                self.store.reactor()?.search(search, reply);
                return Ok(1);
            };
            count_reads(self.worker.lock().counters(), &search);
            *at_once += 1;
            if at_once.is_multiple_of(AT_ONCE) {
                yield_once().await;
            }
            next = self.resume(batch, deferred, number, found).await;
        }
        Ok(0)
    }

    /// Goes on with the operations of a key; returns the search that one of them needs.
    async fn resume<B: Batched<K, V>>(
        &self,
        batch: &mut B,
        deferred: &mut Deferred<'_, B::Item>,
        mut number: usize,
        found: Result<ColdFound, Error>,
    ) -> Option<Numbered> {
        loop {
            let resumed = deferred.resume(&mut self.worker.lock(), batch, number, found.as_ref());
            let words = match resumed {
                Resumed::Ended => return None,
                Resumed::Search(search) => return Some(search),
                Resumed::NoRoom { number: stopped, words } => {
                    number = stopped;
                    words
                }
            };
            if let Err(error) = self.wait_for_room(words).await {
                deferred.fail(number, error);
                return None;
            }
        }
    }

    /// As [`Session::read_batch`](crate::Session::read_batch).
    ///
    /// # Errors
    /// As there.
    ///
    /// # Cancel safety
    /// Dropped, it has changed nothing.
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use oxifaster_device::NullDisk;
    /// # use oxifaster_store::{FasterKv, FasterKvConfig};
    /// # let store = Arc::new(FasterKv::<u64, u64, _>::open(FasterKvConfig::default(), NullDisk::new())?);
    /// # let session = store.start_async_session()?;
    /// # pollster::block_on(async {
    /// session.upsert_batch(&[(1, 10), (2, 20)]).await?;
    /// assert_eq!(session.read_batch(&[2, 3, 1]).await?, [Some(20), None, Some(10)]);
    /// # Ok::<(), oxifaster_core::error::Error>(())
    /// # })?;
    /// # Ok::<(), oxifaster_core::error::Error>(())
    /// ```
    pub async fn read_batch<Q: KeyBytes>(&self, keys: &[Q]) -> Result<Vec<Option<V>>, Error>
    where
        K: Borrow<Q>,
    {
        self.run_batch(Reads::new(keys.len()), keys).await
    }

    /// As [`Session::upsert_batch`](crate::Session::upsert_batch).
    ///
    /// # Errors
    /// As there.
    ///
    /// # Cancel safety
    /// Dropped, it has done some of its operations, on each key the first ones, and does no other.
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use oxifaster_device::NullDisk;
    /// # use oxifaster_store::{FasterKv, FasterKvConfig};
    /// # let store = Arc::new(FasterKv::<u64, u64, _>::open(FasterKvConfig::default(), NullDisk::new())?);
    /// # let session = store.start_async_session()?;
    /// # pollster::block_on(async {
    /// session.upsert_batch(&[(1, 10), (2, 20), (1, 30)]).await?;
    /// assert_eq!(session.read_batch(&[1, 2]).await?, [Some(30), Some(20)]);
    /// # Ok::<(), oxifaster_core::error::Error>(())
    /// # })?;
    /// # Ok::<(), oxifaster_core::error::Error>(())
    /// ```
    pub async fn upsert_batch<KA: KeyArgument<K>, VA: ValueArgument<V>>(
        &self,
        pairs: &[(KA, VA)],
    ) -> Result<(), Error> {
        self.run_batch(Upserts(PhantomData), pairs).await
    }

    /// As [`Session::rmw_batch`](crate::Session::rmw_batch).
    ///
    /// # Errors
    /// As there.
    ///
    /// # Cancel safety
    /// Dropped, it has done some of its operations, on each key the first ones, and does no other.
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use oxifaster_device::NullDisk;
    /// # use oxifaster_store::{FasterKv, FasterKvConfig};
    /// # let store = Arc::new(FasterKv::<u64, u64, _>::open(FasterKvConfig::default(), NullDisk::new())?);
    /// # let session = store.start_async_session()?;
    /// # pollster::block_on(async {
    /// let add = [5, 6];
    /// let outcomes = session.rmw_batch(&[1, 2], |place, value| {
    ///     *value += add[place];
    ///     true
    /// });
    /// outcomes.await?;
    /// assert_eq!(session.read_batch(&[1, 2]).await?, [Some(5), Some(6)]);
    /// # Ok::<(), oxifaster_core::error::Error>(())
    /// # })?;
    /// # Ok::<(), oxifaster_core::error::Error>(())
    /// ```
    pub async fn rmw_batch<KA: KeyArgument<K>>(
        &self,
        keys: &[KA],
        modify: impl FnMut(usize, &mut V) -> bool,
    ) -> Result<Vec<RmwOutcome>, Error> {
        self.run_batch(Rmws::new(keys.len(), modify), keys).await
    }

    /// As [`Session::delete_batch`](crate::Session::delete_batch).
    ///
    /// # Errors
    /// As there.
    ///
    /// # Cancel safety
    /// Dropped, it has done some of its operations, on each key the first ones, and does no other.
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use oxifaster_device::NullDisk;
    /// # use oxifaster_store::{FasterKv, FasterKvConfig};
    /// # let store = Arc::new(FasterKv::<u64, u64, _>::open(FasterKvConfig::default(), NullDisk::new())?);
    /// # let session = store.start_async_session()?;
    /// # pollster::block_on(async {
    /// session.upsert_batch(&[(1, 10), (2, 20)]).await?;
    /// session.delete_batch(&[1, 3]).await?;
    /// assert_eq!(session.read_batch(&[1, 2]).await?, [None, Some(20)]);
    /// # Ok::<(), oxifaster_core::error::Error>(())
    /// # })?;
    /// # Ok::<(), oxifaster_core::error::Error>(())
    /// ```
    pub async fn delete_batch<Q: KeyBytes>(&self, keys: &[Q]) -> Result<(), Error>
    where
        K: Borrow<Q>,
    {
        self.run_batch(Deletes(PhantomData), keys).await
    }

    /// As [`Session::insert_if_absent_batch`](crate::Session::insert_if_absent_batch).
    ///
    /// # Errors
    /// As there.
    ///
    /// # Cancel safety
    /// Dropped, it has done some of its operations, on each key the first ones, and does no other.
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
    /// let inserted = session.insert_if_absent_batch(&[(1, 20), (2, 30), (2, 40)]).await?;
    /// assert_eq!(inserted, [false, true, false]);
    /// # Ok::<(), oxifaster_core::error::Error>(())
    /// # })?;
    /// # Ok::<(), oxifaster_core::error::Error>(())
    /// ```
    pub async fn insert_if_absent_batch<KA: KeyArgument<K>, VA: ValueArgument<V>>(
        &self,
        pairs: &[(KA, VA)],
    ) -> Result<Vec<bool>, Error> {
        self.run_batch(Inserts::new(pairs.len()), pairs).await
    }

    /// As [`Session::fetch_add_batch`](crate::Session::fetch_add_batch).
    ///
    /// # Errors
    /// As there.
    ///
    /// # Cancel safety
    /// Dropped, it has done some of its operations, on each key the first ones, and does no other.
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use oxifaster_device::NullDisk;
    /// # use oxifaster_store::{FasterKv, FasterKvConfig};
    /// # let store = Arc::new(FasterKv::<u64, u64, _>::open(FasterKvConfig::default(), NullDisk::new())?);
    /// # let session = store.start_async_session()?;
    /// # pollster::block_on(async {
    /// assert_eq!(session.fetch_add_batch(&[(1, 5), (2, 6), (1, 7)]).await?, [0, 0, 5]);
    /// assert_eq!(session.read_batch(&[1, 2]).await?, [Some(12), Some(6)]);
    /// # Ok::<(), oxifaster_core::error::Error>(())
    /// # })?;
    /// # Ok::<(), oxifaster_core::error::Error>(())
    /// ```
    pub async fn fetch_add_batch<KA: KeyArgument<K>>(&self, deltas: &[(KA, V)]) -> Result<Vec<V>, Error>
    where
        V: FetchAdd,
    {
        self.run_batch(Adds::new(deltas.len()), deltas).await
    }
}
