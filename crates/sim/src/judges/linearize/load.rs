//! What one thread does to the store during a round, and what it writes down.

use std::sync::Arc;

use oxifaster_device::StorageDevice;
use oxifaster_device::sync::atomic::{AtomicBool, Ordering};
use oxifaster_store::{PendingId, Started};

use crate::history::{Called, Event, Operation, Outcome, Recorder};
use crate::judges::awaited::{AsyncSessionOf, wait_for};
use crate::judges::stored::{CallError, SessionOf, Stored, call, state_of};
use crate::workload::{Keys, Prng};

/// Reads that are pending at most.
const PENDING_MAX: usize = 16;

/// Every fourth key is only added to, so that its sums are a chain in which every lost or doubled addition shows; the others
/// get values that are used once.
const COUNTER_EVERY: u64 = 4;

/// How many operations of each kind a round has, in relation to each other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mixture {
    /// Read, upsert, delete, remove, insert, exchange, decline.
    weights: [u64; 7],
    /// Part of the steps that are a batch or a pending read.
    batched: f64,
    /// Part of the steps that are several futures.
    futures: f64,
}

/// What a thread did besides single blocking calls.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LoadCounts {
    /// Operations that were answered by futures, those of batches included.
    pub(super) by_futures: u64,
    /// Futures that were dropped on their way.
    pub(super) dropped_futures: u64,
}

/// What became of a thread's work.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) events: Vec<Event>,
    pub(super) counts: LoadCounts,
    pub(super) error: Option<CallError>,
}

impl Mixture {
    pub(super) fn draw(prng: &mut Prng) -> Self {
        let weights = [40, 40, 10, 10, 20, 20, 5].map(|max| 1 + prng.below(max));
        let mut sometimes = || if prng.chance(0.5) { 0.1 } else { 0.0 };
        Self { weights, batched: sometimes(), futures: sometimes() }
    }

    fn operation(&self, prng: &mut Prng, value: u64, last_seen: u64) -> Operation {
        let mut left = prng.below(self.weights.iter().sum());
        let kind = self.weights.iter().position(|&weight| {
            let hit = left < weight;
            left = left.saturating_sub(weight);
            hit
        });
        match kind.unwrap_or(0) {
            0 => Operation::Read,
            1 => Operation::Upsert(value),
            2 => Operation::Delete,
            3 => Operation::Remove,
            4 => Operation::InsertIfAbsent(value),
            5 => Operation::CompareExchange { expected: last_seen, new: value },
            _ => Operation::Decline,
        }
    }
}

/// A thread's work.
#[derive(Debug)]
pub(super) struct Load<S: Stored, D: StorageDevice> {
    pub(super) session: SessionOf<S, D>,
    pub(super) futures: AsyncSessionOf<S, D>,
    pub(super) recorder: Recorder,
    pub(super) prng: Prng,
    pub(super) keys: Arc<Keys>,
    pub(super) mixture: Mixture,
    /// Set by whoever meets an error first.
    pub(super) stop: Arc<AtomicBool>,
    /// The next value that this thread writes; nobody else writes it.
    pub(super) next_value: u64,
    pub(super) pending: Vec<(PendingId, u64, Called)>,
    /// A few values seen lately, for compare-exchanges that have a chance.
    pub(super) seen: [u64; 64],
    pub(super) counts: LoadCounts,
}

impl<S: Stored, D: StorageDevice> Load<S, D> {
    /// Runs until `operations` are recorded or somebody stops. Operations that were not answered stay so.
    pub(super) fn run(mut self, operations: usize) -> Loaded {
        let mut error = None;
        // Relaxed: how soon the others stop does not matter.
        while self.recorder.len() < operations && error.is_none() && !self.stop.load(Ordering::Relaxed) {
            let step = if self.prng.chance(self.mixture.batched) {
                self.batch()
            } else if self.prng.chance(self.mixture.futures) {
                self.futures()
            } else {
                self.single()
            };
            error = step.and_then(|()| self.take_pending(false)).err();
        }
        let taken = self.take_pending(true).err();
        let error = error.or(taken);
        if error.is_some() {
            self.stop.store(true, Ordering::Relaxed);
        }
        Loaded { events: self.recorder.into_events(), counts: self.counts, error }
    }

    pub(super) fn draw(&mut self, key: u64) -> Operation {
        if key.is_multiple_of(COUNTER_EVERY) {
            return match self.prng.below(4) {
                0 => Operation::Read,
                _ => Operation::Add(1 + self.prng.below(1 << 20)),
            };
        }
        self.next_value += 1;
        let last_seen = self.seen(key).copied().unwrap_or(0);
        self.mixture.operation(&mut self.prng, self.next_value, last_seen)
    }

    fn seen(&mut self, key: u64) -> Option<&mut u64> {
        let place = usize::try_from(key).ok()? % self.seen.len();
        self.seen.get_mut(place)
    }

    fn single(&mut self) -> Result<(), CallError> {
        let key = self.keys.next(&mut self.prng);
        let operation = self.draw(key);
        let called = self.recorder.call(key, operation);
        let outcome = call::<S, D>(&mut self.session, key, operation)?;
        self.recorder.answer(called, outcome);
        let value = match (operation, outcome) {
            (Operation::Upsert(value), _)
            | (_, Outcome::Value(Some(value)) | Outcome::Differs(Some(value))) => value,
            _ => return Ok(()),
        };
        self.seen(key).into_iter().for_each(|seen| *seen = value);
        Ok(())
    }

    /// Several operations at once, all of which overlap; or a read that is completed later.
    fn batch(&mut self) -> Result<(), CallError> {
        let mut numbers: Vec<u64> =
            (0..1 + self.prng.below(40)).map(|_| self.keys.next(&mut self.prng)).collect();
        // Each key once: several writes of one key that all overlap would make the checker try all of their orders.
        numbers.sort_unstable();
        numbers.dedup();
        let as_future = self.prng.chance(0.3);
        match self.prng.below(4) {
            0 => self.read_batch(&numbers, as_future),
            1 => self.upsert_batch(&numbers, as_future),
            2 => self.delete_batch(&numbers, as_future),
            _ => numbers.into_iter().take(4).try_for_each(|key| self.start_read(key)),
        }
    }

    fn read_batch(&mut self, numbers: &[u64], as_future: bool) -> Result<(), CallError> {
        let keys: Vec<S::Key> = numbers.iter().map(|&key| S::key(key)).collect();
        let called: Vec<Called> =
            numbers.iter().map(|&key| self.recorder.call(key, Operation::Read)).collect();
        let values = match as_future {
            true => wait_for(self.futures.read_batch(&keys))?,
            false => self.session.read_batch(&keys)?,
        };
        self.count_batch(numbers.len(), as_future);
        for ((called, value), &key) in called.into_iter().zip(&values).zip(numbers) {
            self.recorder.answer(called, Outcome::Value(state_of::<S>(key, value.as_ref())?));
        }
        Ok(())
    }

    fn upsert_batch(&mut self, numbers: &[u64], as_future: bool) -> Result<(), CallError> {
        let mut called = Vec::new();
        for &key in numbers.iter().filter(|key| !key.is_multiple_of(COUNTER_EVERY)) {
            self.next_value += 1;
            called.push((self.recorder.call(key, Operation::Upsert(self.next_value)), key, self.next_value));
        }
        let pairs: Vec<(S::Key, S::Value)> =
            called.iter().map(|&(_, key, value)| (S::key(key), S::value(value))).collect();
        match as_future {
            true => wait_for(self.futures.upsert_batch(&pairs))?,
            false => self.session.upsert_batch(&pairs)?,
        }
        self.count_batch(pairs.len(), as_future);
        called.into_iter().for_each(|(called, ..)| self.recorder.answer(called, Outcome::Done));
        Ok(())
    }

    fn delete_batch(&mut self, numbers: &[u64], as_future: bool) -> Result<(), CallError> {
        let numbers: Vec<u64> =
            numbers.iter().copied().filter(|key| !key.is_multiple_of(COUNTER_EVERY)).take(4).collect();
        let keys: Vec<S::Key> = numbers.iter().map(|&key| S::key(key)).collect();
        let called: Vec<Called> =
            numbers.iter().map(|&key| self.recorder.call(key, Operation::Delete)).collect();
        match as_future {
            true => wait_for(self.futures.delete_batch(&keys))?,
            false => self.session.delete_batch(&keys)?,
        }
        self.count_batch(keys.len(), as_future);
        called.into_iter().for_each(|called| self.recorder.answer(called, Outcome::Done));
        Ok(())
    }

    fn count_batch(&mut self, operations: usize, as_future: bool) {
        if as_future {
            self.counts.by_futures += operations as u64;
        }
    }

    fn start_read(&mut self, key: u64) -> Result<(), CallError> {
        let called = self.recorder.call(key, Operation::Read);
        match self.session.start_read(&S::key(key))? {
            Started::Done(value) => {
                self.recorder.answer(called, Outcome::Value(state_of::<S>(key, value.as_ref())?));
            }
            Started::Pending(id) => self.pending.push((id, key, called)),
        }
        if self.pending.len() > PENDING_MAX { self.take_pending(true) } else { Ok(()) }
    }

    fn take_pending(&mut self, wait: bool) -> Result<(), CallError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let mut failed = Ok(());
        for completed in self.session.complete_pending(wait) {
            let Some(place) = self.pending.iter().position(|(id, ..)| *id == completed.id) else {
                return Err(CallError::Wrong(format!("{:?} completed, and was not pending", completed.id)));
            };
            let (_, key, called) = self.pending.swap_remove(place);
            match completed.result {
                Ok(value) => {
                    self.recorder.answer(called, Outcome::Value(state_of::<S>(key, value.as_ref())?))
                }
                Err(error) => failed = Err(error.into()),
            }
        }
        if wait && failed.is_ok() && !self.pending.is_empty() {
            return Err(CallError::Wrong(format!("{} pending reads never completed", self.pending.len())));
        }
        failed
    }
}
