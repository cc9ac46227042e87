//! Pending reads: started now, completed later, many in flight per session.

use std::borrow::Borrow;
use std::sync::Arc;

use oxifaster_core::codec::{KeyBytes, PersistKey, PersistValue, ValueCodec};
use oxifaster_core::error::{Error, ErrorKind};
use oxifaster_core::status::Status;
use oxifaster_core::sync::{Condvar, Mutex};
use oxifaster_device::StorageDevice;

use super::blocking::Session;
use super::worker::key_of;
use crate::operations::{Core, Decoded, Obstacle, Read, Step, count_reads};
use crate::pending::{ColdFound, ColdSearch};

/// Identifies a pending read within its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PendingId(u64);

/// What starting a read came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Started<V> {
    /// The record was in memory or in the read cache: this is the result.
    Done(Option<V>),
    /// The record is being read from the device: [`Session::complete_pending`] will bring the result.
    Pending(PendingId),
}

impl<V> Started<V> {
    /// How it stands, in one byte.
    #[must_use]
    pub fn status(&self) -> Status {
        match self {
            Started::Done(Some(_)) => Status::Ok,
            Started::Done(None) => Status::NotFound,
            Started::Pending(_) => Status::Pending,
        }
    }
}

/// The result of a pending read.
#[derive(Debug)]
pub struct Completed<V> {
    /// Which one.
    pub id: PendingId,
    /// Its result, as that of [`Session::read`].
    pub result: Result<Option<V>, Error>,
}

impl<V> Completed<V> {
    /// How it ended, in one byte.
    #[must_use]
    pub fn status(&self) -> Status {
        Status::of(&self.result)
    }
}

/// A search that came back, or an error in its place.
type Finished = (PendingId, Option<ColdSearch>, Result<ColdFound, Error>);

/// Where the reactor puts finished searches of one session.
#[derive(Debug, Default)]
struct Inbox {
    arrivals: Mutex<Arrivals>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct Arrivals {
    finished: Vec<Finished>,
    /// The session sleeps: the reactor does not pay for waking nobody.
    waited_for: bool,
}

impl Inbox {
    fn put(&self, finished: Finished) {
        let mut arrivals = self.arrivals.lock();
        arrivals.finished.push(finished);
        let waited_for = arrivals.waited_for;
        drop(arrivals);
        if waited_for {
            self.arrived.notify_one();
        }
    }

    /// Takes what is there; with `wait`, waits for something.
    fn take(&self, wait: bool) -> Vec<Finished> {
        let mut arrivals = self.arrivals.lock();
        while wait && arrivals.finished.is_empty() {
            arrivals.waited_for = true;
            arrivals = self.arrived.wait(arrivals);
            arrivals.waited_for = false;
        }
        std::mem::take(&mut arrivals.finished)
    }
}

/// Who owes the session an answer. Dropped without one, because the thread that had it ended, it answers with an error: a session
/// that waits for all its reads must get all of them.
#[derive(Debug)]
struct Owed {
    inbox: Arc<Inbox>,
    id: PendingId,
    answered: bool,
}

impl Owed {
    fn answer(mut self, search: ColdSearch, result: Result<ColdFound, Error>) {
        self.answered = true;
        self.inbox.put((self.id, Some(search), result));
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        if !self.answered {
            let message = "the thread for device reads ended unexpectedly: close and reopen the store";
            self.inbox.put((self.id, None, Err(Error::new(ErrorKind::Io, message))));
        }
    }
}

/// A session's pending reads.
#[derive(Debug)]
pub(super) struct PendingReads<V> {
    inbox: Arc<Inbox>,
    in_flight: usize,
    next: u64,
    /// The bytes that the last view lent.
    pub(super) view: Vec<u8>,
    types: std::marker::PhantomData<fn() -> V>,
}

impl<V> Default for PendingReads<V> {
    fn default() -> Self {
        Self {
            inbox: Arc::default(),
            in_flight: 0,
            next: 0,
            view: Vec::new(),
            types: std::marker::PhantomData,
        }
    }
}

impl<K: PersistKey, V: PersistValue, D: StorageDevice> Session<K, V, D> {
    /// Starts a read. A record in memory, or in the read cache, is read at once; one on the device is requested, and the call returns.
    ///
    /// # Errors
    /// As [`read`](Self::read), as far as they are known at once; `Io` when no thread can be started for device reads.
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use oxifaster_device::NullDisk;
    /// # use oxifaster_store::{FasterKv, FasterKvConfig};
    /// # let store = Arc::new(FasterKv::<u64, u64, _>::open(FasterKvConfig::default(), NullDisk::new())?);
    /// # let mut session = store.start_session()?;
    /// # use oxifaster_store::Started;
    /// session.upsert(1, 10)?;
    /// match session.start_read(&1)? {
    ///     Started::Done(value) => assert_eq!(value, Some(10)),
    ///     Started::Pending(id) => {
    ///         // Start more reads, do something else; then:
    ///         for completed in session.complete_pending(true) {
    ///             assert_eq!(completed.id, id);
    ///             assert_eq!(completed.result?, Some(10));
    ///         }
    ///     }
    /// }
    /// # Ok::<(), oxifaster_core::error::Error>(())
    /// ```
    pub fn start_read<Q: KeyBytes + ?Sized>(&mut self, key: &Q) -> Result<Started<V>, Error>
    where
        K: Borrow<Q>,
    {
        let encoded = key.key_bytes()?;
        let key = key_of!(self.worker.core, encoded);
        let mut read = Read { key, sink: Decoded };
        let from = match self.worker.attempt(&mut read, None)? {
            Step::Blocked(Obstacle::Cold(from)) => from,
            Step::Done(value) => {
                self.worker.count_read(value.is_some());
                return Ok(Started::Done(value));
            }
            Step::Blocked(_) => {
                let value = self.worker.drive(read, |worker, value| worker.count_read(value.is_some()))?;
                return Ok(Started::Done(value));
            }
        };
        self.worker.counters().pending.add(1);
        let mut search = ColdSearch::new(from, key.bytes.into(), Core::<K, V>::LAYOUT, None);
        if let Some(found) = search.go_on_in_memory(&self.worker.core.log)? {
            count_reads(self.worker.counters(), &search);
            let value = value_of(&found)?;
            self.worker.count_read(value.is_some());
            return Ok(Started::Done(value));
        }
        let id = PendingId(self.pending.next);
        let reactor = self.store.reactor()?;
        let owed = Owed { inbox: Arc::clone(&self.pending.inbox), id, answered: false };
        reactor.search(search, move |search, result| owed.answer(search, result));
        self.pending.next += 1;
        self.pending.in_flight += 1;
        Ok(Started::Pending(id))
    }

    /// Number of reads that were started and not yet completed.
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use oxifaster_device::NullDisk;
    /// # use oxifaster_store::{FasterKv, FasterKvConfig};
    /// # let store = Arc::new(FasterKv::<u64, u64, _>::open(FasterKvConfig::default(), NullDisk::new())?);
    /// # let mut session = store.start_session()?;
    /// session.start_read(&1)?;
    /// assert_eq!(session.pending_reads(), 0, "in memory nothing is pending");
    /// # Ok::<(), oxifaster_core::error::Error>(())
    /// ```
    #[must_use]
    pub fn pending_reads(&self) -> usize {
        self.pending.in_flight
    }

    /// Takes the results of pending reads that have arrived; with `wait`, of all of them.
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use oxifaster_device::NullDisk;
    /// # use oxifaster_store::{FasterKv, FasterKvConfig};
    /// # let store = Arc::new(FasterKv::<u64, u64, _>::open(FasterKvConfig::default(), NullDisk::new())?);
    /// # let mut session = store.start_session()?;
    /// assert!(session.complete_pending(true).is_empty());
    /// # Ok::<(), oxifaster_core::error::Error>(())
    /// ```
    pub fn complete_pending(&mut self, wait: bool) -> Vec<Completed<V>> {
        let mut completed = Vec::new();
        loop {
            let taken = self.pending.inbox.take(wait && self.pending.in_flight > 0);
            self.pending.in_flight -= taken.len();
            for (id, search, result) in taken {
                search.iter().for_each(|search| count_reads(self.worker.counters(), search));
                let result = result.and_then(|found| value_of(&found));
                self.worker.count_read(matches!(result, Ok(Some(_))));
                completed.push(Completed { id, result });
            }
            if !wait || self.pending.in_flight == 0 {
                return completed;
            }
        }
    }
}

/// The value that a search has found, if the key is there.
fn value_of<V: PersistValue>(found: &ColdFound) -> Result<Option<V>, Error> {
    match &found.record {
        Some(record) if !record.tombstone => V::Codec::decode(&record.value).map(Some),
        _ => Ok(None),
    }
}
