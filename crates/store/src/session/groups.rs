//! Groups: how a batch makes its cache misses overlap.
//!
//! Caller: the batched operations, each of which is a [`Batched`]. A batch is cut into groups, and each operation goes
//! through three passes:
//!
//! | pass | does | under the guard of its group |
//! |---|---|---|
//! | announce | encode and hash the key, prefetch its bucket | no |
//! | look up | find the entry, prefetch the record | yes |
//! | run | the operation itself, on lines that have arrived | yes |
//!
//! ```text
//! announce group 1 | look up 1 | run 1, announce 2 | look up 2 | run 2, announce 3 | ..
//! ```
//!
//! Running one group and announcing the next one alternate operation by operation: running alone would leave the memory
//! idle, announcing alone would wait for it. (A fifth faster than one pass after the other.)
//!
//! An operation whose record is on the device is put aside ([`Deferred`]); all of those read the device together, behind the
//! last group.
//!
//! # Rules
//! 1. *An address that was looked up stays good until its operation runs*: the guard keeps its record in memory,
//!    and what other sessions publish meanwhile overlaps with this operation, whose look-up comes first
//!    (rule 2 of `operations`). Conditional operations attempt when they find a tombstone or a seal, or another sequence once they have
//!    the latch; a decision to keep the value takes no latch, and its moment is the look for tombstone and seal.
//! 2. *Operations of one batch on one key take effect in their order.* Only an attempt appends, or sees what others have
//!    published since the look-up; so behind the first one of a group, reads included, every operation looks its entry up anew, and
//!    finds no older record than an earlier one did. An update that follows a deferred one of its key is deferred, too.
//!    (Test: `a_read_behind_an_attempt_is_not_older`.)
//! 3. Nothing waits under the guard: whoever has to, does so [outside](EpochGuard::outside) of it, which starts a new guard.
//!    A worker that must not wait for room at all ([`Worker::waits_for_room`]) is told where it stopped, and may go on there.

use std::ops::Range;

use oxifaster_core::Address;
use oxifaster_core::codec::{PersistKey, PersistValue};
use oxifaster_core::epoch::EpochGuard;
use oxifaster_core::error::Error;
use oxifaster_core::hash::KeyHash;
use oxifaster_core::record::WordBuffer;

use super::deferred::Deferred;
use super::worker::Worker;
use crate::operations::{
    Context, Core, Key, Obstacle, Operation, Step, TailChunk, append_at_once, remove_obstacle, shortcut,
};
use crate::pending::ColdFound;
use crate::statistics::SessionCounters;

/// Operations of a group: more than the line loads that a core can have under way, few enough to stay in its fastest
/// cache until their turn. Measured: 16 is a fifth slower.
pub(super) const GROUP: usize = 32;

/// A batched operation: what it does for each item, and where the results go.
pub(crate) trait Batched<K, V> {
    /// What the batch is given for each operation.
    type Item;
    /// What the batch returns.
    type Output;

    /// Whether an operation may have to wait for an earlier one on its key, because that one waits for the device: only
    /// conditional operations read the device and keep an order.
    const CONDITIONAL: bool;

    /// As [`Operation::replaces_found`].
    const REPLACES_FOUND: bool = Self::CONDITIONAL;

    /// Whether an operation whose look-up ended at `candidate`, which is null or not in memory, will probably append a record
    /// in its turn.
    fn appends(candidate: Address) -> bool;

    /// The key of an item, as bytes.
    ///
    /// # Errors
    /// `InvalidInput`.
    fn encode(item: &Self::Item) -> Result<impl AsRef<[u8]>, Error>;

    /// Runs the operation for the item at `place`, counts it, and keeps its result.
    ///
    /// # Errors
    /// The operation's.
    fn run(
        &mut self,
        turn: &mut Turn<'_, K, V>,
        place: usize,
        item: &Self::Item,
        key: Key<'_>,
    ) -> Result<Ran<()>, Error>;

    /// Takes what the device gave as the result itself, if that is all there is to it; false: [`run`](Self::run) goes on.
    ///
    /// # Errors
    /// Values that can't be decoded.
    fn take(&mut self, _place: usize, _found: &ColdFound) -> Result<bool, Error> {
        Ok(false)
    }

    /// The results, when all operations have ended.
    fn output(self, counters: &SessionCounters) -> Self::Output;
}

/// What running an operation of a batch came to.
#[derive(Debug)]
#[must_use]
pub(crate) enum Ran<T> {
    /// It took effect.
    Done(T),
    /// Its record lies on the device; the chain leaves memory at this address.
    Cold(Address),
    /// There is no room for so many words, and this worker does not wait for it. It may run again.
    NoRoom(u64),
}

/// Where a batch stopped for want of room.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub(crate) struct Stopped {
    /// The operation that needs it; none behind it has run.
    pub(crate) place: usize,
    /// How much it needs.
    pub(crate) words: u64,
}

impl<T> Ran<T> {
    /// The result through `with`, if there is one.
    #[inline(always)]
    pub(super) fn map<U>(self, with: impl FnOnce(T) -> U) -> Ran<U> {
        match self {
            Ran::Done(output) => Ran::Done(with(output)),
            Ran::Cold(from) => Ran::Cold(from),
            Ran::NoRoom(words) => Ran::NoRoom(words),
        }
    }
}

/// One operation of a group between the passes.
struct Lane<E> {
    encoded: E,
    hash: KeyHash,
    candidate: Address,
}

/// The group to come, as far as it is announced, and why no more of it is.
struct Coming<E> {
    lanes: Vec<Lane<E>>,
    refused: Result<(), Error>,
}

impl<E: AsRef<[u8]>> Coming<E> {
    /// Announces the next operation, unless an earlier one could not be encoded.
    #[inline(always)]
    fn announce<K: PersistKey, V: PersistValue>(
        &mut self,
        core: &Core<K, V>,
        encode: impl FnOnce() -> Result<E, Error>,
    ) {
        if self.refused.is_ok() {
            match encode() {
                Ok(encoded) => {
                    let hash = core.hash.hash(encoded.as_ref());
                    core.index.prefetch(hash);
                    self.lanes.push(Lane { encoded, hash, candidate: Address::NULL });
                }
                Err(error) => self.refused = Err(error),
            }
        }
    }
}

/// A group that was looked up: what runs its operations one after the other.
pub(crate) struct Turn<'w, K, V> {
    core: &'w Core<K, V>,
    guard: EpochGuard<'w>,
    chunk: TailChunk,
    /// What `Core::lowest` said under the guard, for reads and for updates.
    head: Address,
    read_only: Address,
    scratch: &'w mut WordBuffer,
    pub(super) counters: &'w SessionCounters,
    serial: &'w mut u64,
    /// Candidate of the operation whose turn it is.
    candidate: Address,
    /// Candidates that were looked up may be superseded by now (rule 2).
    superseded: bool,
    /// What a search found for the operation whose turn it is.
    cold: Option<&'w ColdFound>,
    waits_for_room: bool,
}

impl<K: PersistKey, V: PersistValue> Turn<'_, K, V> {
    #[inline(always)]
    fn look_up<B: Batched<K, V>, E>(&mut self, lanes: &mut [Lane<E>]) {
        let mut appending = 0;
        for lane in lanes {
            lane.candidate = self.core.index.candidate(lane.hash);
            if lane.candidate >= self.head {
                self.core.prefetch_record(lane.candidate);
            } else {
                appending += u32::from(B::appends(lane.candidate));
            }
        }
        self.chunk.expect(appending);
    }

    /// An update took effect.
    #[inline(always)]
    pub(super) fn count_update(&mut self) {
        *self.serial += 1;
    }

    /// Runs the operation whose turn it is as far as it goes without the device.
    ///
    /// # Errors
    /// The operation's; why there is no room.
    #[inline(always)]
    pub(super) fn run<O: Operation<K, V>>(&mut self, mut operation: O) -> Result<Ran<O::Output>, Error> {
        // Whoever had no candidate and does not end with that looks anew anyway.
        let ends_here = O::NEEDS_RECORD || !O::UPDATES || !self.candidate.is_null();
        let candidate = if self.superseded && ends_here {
            self.core.index.candidate(operation.key().hash)
        } else {
            self.candidate
        };
        let mut context = Context { scratch: self.scratch, counters: self.counters, cold: None, chunk: None };
        let lowest = if O::UPDATES { self.read_only } else { self.head };
        match shortcut(self.core, &self.guard, lowest, candidate, &mut operation, &mut context)? {
            Some(output) => Ok(Ran::Done(output)),
            None => self.run_on(operation),
        }
    }

    /// The rest of [`run`](Self::run), out of line.
    #[inline(never)]
    fn run_on<O: Operation<K, V>>(&mut self, mut operation: O) -> Result<Ran<O::Output>, Error> {
        self.superseded = true;
        if self.cold.is_none() {
            let mut context = Context {
                scratch: self.scratch,
                counters: self.counters,
                cold: None,
                chunk: Some(&mut self.chunk),
            };
            if let Some(output) =
                append_at_once::<true, _, _, _>(self.core, &self.guard, &mut operation, &mut context)?
            {
                return Ok(Ran::Done(output));
            }
        }
        let mut rounds = 0;
        loop {
            let mut context = Context {
                scratch: self.scratch,
                counters: self.counters,
                cold: self.cold,
                chunk: Some(&mut self.chunk),
            };
            let obstacle = match operation.attempt(self.core, &self.guard, &mut context)? {
                Step::Done(output) => return Ok(Ran::Done(output)),
                Step::Blocked(Obstacle::Cold(from)) => return Ok(Ran::Cold(from)),
                Step::Blocked(obstacle) => obstacle,
            };
            let core = self.core;
            self.chunk.put_back(&core.log, &self.guard);
            // Others may append and evict meanwhile (rule 1).
            match obstacle {
                Obstacle::Room(words) if !self.waits_for_room && core.log.is_persistent() => {
                    if !self.guard.outside(|_| core.log.try_make_room(words))? {
                        return Ok(Ran::NoRoom(words));
                    }
                }
                _ => self.guard.outside(|_| remove_obstacle(core, obstacle, &mut rounds))?,
            }
            (self.head, self.read_only) = (core.lowest(false), core.lowest(true));
        }
    }
}

impl<K, V> Drop for Turn<'_, K, V> {
    fn drop(&mut self) {
        self.chunk.put_back(&self.core.log, &self.guard);
    }
}

impl<K: PersistKey, V: PersistValue> Worker<K, V> {
    /// Runs the operations of a batch at `places` in turn, group by group; those that need the device are `deferred`. The first
    /// error ends the batch: earlier operations have run or are deferred.
    ///
    /// # Errors
    /// Keys that can't be encoded; those of the operations.
    #[inline(always)]
    pub(crate) fn run_groups<'i, B: Batched<K, V>>(
        &mut self,
        batch: &mut B,
        items: &'i [B::Item],
        places: Range<usize>,
        deferred: &mut Deferred<'i, B::Item>,
    ) -> Result<Option<Stopped>, Error> {
        let mut first = places.start;
        let items = items.get(places).unwrap_or_default();
        let size = GROUP.min(items.len());
        let mut coming = Coming { lanes: Vec::with_capacity(size), refused: Ok(()) };
        let mut lanes = Vec::with_capacity(size);
        let mut groups = items.chunks(GROUP);
        let mut group = groups.next().unwrap_or_default();
        group.iter().for_each(|item| coming.announce(&self.core, || B::encode(item)));
        while !coming.lanes.is_empty() {
            std::mem::swap(&mut lanes, &mut coming.lanes);
            coming.lanes.clear();
            let following = groups.next().unwrap_or_default();
            let mut announced = following.iter();
            let mut turn = self.turn(None);
            turn.look_up::<B, _>(&mut lanes);
            for (at, (lane, item)) in lanes.iter().zip(group).enumerate() {
                if let Some(item) = announced.next() {
                    coming.announce(turn.core, || B::encode(item));
                }
                turn.candidate = lane.candidate;
                let (place, bytes) = (first + at, lane.encoded.as_ref());
                if B::CONDITIONAL && !deferred.is_empty() && deferred.follows(place, item, bytes, lane.hash) {
                    continue;
                }
                match batch.run(&mut turn, place, item, Key { bytes, hash: lane.hash })? {
                    Ran::Done(()) => {}
                    Ran::Cold(from) => {
                        turn.counters.pending.add(1);
                        deferred.begin::<B, K, V>(place, item, bytes, lane.hash, from);
                    }
                    Ran::NoRoom(words) => return Ok(Some(Stopped { place, words })),
                }
            }
            first += group.len();
            group = following;
        }
        coming.refused.map(|()| None)
    }

    /// A turn outside of any group, for an operation that knows what the device has.
    pub(super) fn turn_with<'w>(&'w mut self, found: &'w ColdFound) -> Turn<'w, K, V> {
        let mut turn = self.turn(Some(found));
        turn.superseded = true;
        turn
    }

    #[inline(always)]
    fn turn<'w>(&'w mut self, cold: Option<&'w ColdFound>) -> Turn<'w, K, V> {
        let guard = self.participant.enter();
        Turn {
            core: &self.core,
            head: self.core.lowest(false),
            read_only: self.core.lowest(true),
            guard,
            chunk: TailChunk::new(),
            scratch: &mut self.scratch,
            counters: &self.counters.0,
            serial: &mut self.serial,
            candidate: Address::NULL,
            superseded: false,
            cold,
            waits_for_room: self.waits_for_room,
        }
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use std::sync::Arc;

    use oxifaster_core::Address;
    use oxifaster_core::codec::KeyBytes;
    use oxifaster_device::FileSystemDisk;

    use super::{Key, Ran};
    use crate::operations::{Conditional, Decoded, Read, RmwOutcome};
    use crate::session::{insert_decision, rmw_decision};
    use crate::{FasterKv, FasterKvConfig};

    /// A read that attempts may see what others have published since the group was looked up. A later read of the same key must
    /// not go back to the record that was the newest then.
    #[test]
    fn a_read_behind_an_attempt_is_not_older() {
        let folder = tempfile::tempdir().unwrap();
        let device = FileSystemDisk::single_file(folder.path().join("store.log")).unwrap();
        let store = Arc::new(FasterKv::<String, String, _>::open(FasterKvConfig::default(), device).unwrap());
        let mut session = store.start_session().unwrap();
        session.upsert("key", "old").unwrap();
        // What is flushed is read-only: the next upsert appends.
        store.flush().unwrap();
        let bytes: &[u8] = "key".key_bytes().unwrap();
        let hash = store.core.hash.hash(bytes);
        let stale = store.core.index.candidate(hash);
        session.upsert("key", "new").unwrap();
        assert_ne!(store.core.index.candidate(hash), stale);

        let mut turn = session.worker.turn(None);
        let mut read = |candidate: Address| {
            turn.candidate = candidate;
            let read = Read { key: Key { bytes, hash }, sink: Decoded };
            match turn.run(read).unwrap() {
                Ran::Done(value) => value,
                Ran::Cold(_) | Ran::NoRoom(_) => panic!("everything is in memory"),
            }
        };
        // The first one comes without a candidate that would do, as if a writer held its record; so it attempts.
        assert_eq!(read(Address::NULL).as_deref(), Some("new"));
        assert_eq!(read(stale).as_deref(), Some("new"));
    }

    /// Candidates of a group may be superseded or deleted when their turn comes.
    #[test]
    fn a_conditional_operation_on_a_stale_record_attempts() {
        let folder = tempfile::tempdir().unwrap();
        let device = FileSystemDisk::single_file(folder.path().join("store.log")).unwrap();
        let store = Arc::new(FasterKv::<String, String, _>::open(FasterKvConfig::default(), device).unwrap());
        let mut session = store.start_session().unwrap();
        let bytes: &[u8] = "key".key_bytes().unwrap();
        let hash = store.core.hash.hash(bytes);
        let key = || Key { bytes, hash };
        let candidate = || store.core.index.candidate(hash);

        session.upsert("key", "old").unwrap();
        let stale = candidate();
        let mut append = |value: &mut String| {
            value.push_str(" and much longer than it was");
            true
        };
        session.rmw("key", &mut append).unwrap();
        assert_ne!(candidate(), stale, "it did not fit");
        let mut turn = session.worker.turn(None);
        turn.candidate = stale;
        let ran = turn.run(Conditional::new(key(), rmw_decision(&mut append))).unwrap();
        assert!(matches!(ran, Ran::Done(RmwOutcome::Updated)), "{ran:?}");
        drop(turn);
        let expected = format!("old{0}{0}", " and much longer than it was");
        assert_eq!(session.read("key").unwrap(), Some(expected));

        let deleted = candidate();
        session.delete("key").unwrap();
        assert_eq!(candidate(), deleted, "in place");
        let mut turn = session.worker.turn(None);
        turn.candidate = deleted;
        let insert = Conditional::with_value(key(), b"new", insert_decision::<String>);
        assert!(matches!(turn.run(insert.keeping_found()).unwrap(), Ran::Done(true)));
        drop(turn);
        assert_eq!(session.read("key").unwrap().as_deref(), Some("new"));
    }
}
