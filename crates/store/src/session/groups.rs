//! Groups: how a batch makes its cache misses overlap.
//!
//! Caller: the batched operations. A batch is cut into groups, and each operation goes through three passes:
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
//! # Rules
//! 1. *An address that was looked up stays good until its operation runs*: the guard keeps its record in memory,
//!    and what other sessions publish meanwhile overlaps with this operation, whose look-up comes first
//!    (rule 2 of `operations`; conditional operations on word records meet a tombstone or a seal, all others attempt).
//! 2. *Operations of one batch on one key take effect in their order.* Only an attempt appends; so behind the first one
//!    of a group every operation looks its entry up anew, and finds what earlier ones have published.
//! 3. Nothing waits under the guard: whoever has to, does so [outside](EpochGuard::outside) of it, which starts a new guard.

use oxifaster_core::Address;
use oxifaster_core::codec::{PersistKey, PersistValue};
use oxifaster_core::epoch::EpochGuard;
use oxifaster_core::error::Error;
use oxifaster_core::hash::KeyHash;
use oxifaster_core::record::WordBuffer;

use super::worker::Worker;
use crate::operations::{Context, Core, Key, Operation, Step, drive_on, shortcut};
use crate::statistics::SessionCounters;

/// Operations of a group: more than the line loads that a core can have under way, few enough to stay in its fastest
/// cache until their turn. Measured: 16 is a fifth slower.
pub(super) const GROUP: usize = 32;

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
pub(super) struct Turn<'w, K, V> {
    core: &'w Core<K, V>,
    guard: EpochGuard<'w>,
    /// What `Core::lowest` said under the guard, for reads and for updates.
    head: Address,
    read_only: Address,
    scratch: &'w mut WordBuffer,
    pub(super) counters: &'w SessionCounters,
    serial: &'w mut u64,
    /// Candidate of the operation whose turn it is.
    candidate: Address,
    /// Candidates that were looked up may be superseded by now (rule 2).
    appended: bool,
}

impl<K: PersistKey, V: PersistValue> Turn<'_, K, V> {
    #[inline(always)]
    fn look_up<E>(&self, lanes: &mut [Lane<E>]) {
        for lane in lanes {
            lane.candidate = self.core.index.candidate(lane.hash);
            if lane.candidate >= self.head {
                self.core.prefetch_record(lane.candidate);
            }
        }
    }

    /// An update took effect.
    #[inline(always)]
    pub(super) fn count_update(&mut self) {
        *self.serial += 1;
    }

    /// Runs the operation whose turn it is to its end.
    ///
    /// # Errors
    /// The operation's; the device's.
    #[inline(always)]
    pub(super) fn run<O: Operation<K, V>>(&mut self, mut operation: O) -> Result<O::Output, Error> {
        match self.shortcut(&mut operation)? {
            Some(output) => Ok(output),
            None => self.run_on(operation),
        }
    }

    /// Runs a read, unless it is blocked.
    ///
    /// # Errors
    /// The operation's.
    #[inline(always)]
    pub(super) fn read<O: Operation<K, V>>(&mut self, mut read: O) -> Result<Step<O::Output>, Error> {
        debug_assert!(!O::UPDATES, "an update may append (rule 2)");
        match self.shortcut(&mut read)? {
            Some(output) => Ok(Step::Done(output)),
            None => self.attempt(read),
        }
    }

    #[inline(always)]
    fn shortcut<O: Operation<K, V>>(&mut self, operation: &mut O) -> Result<Option<O::Output>, Error> {
        let candidate =
            if self.appended { self.core.index.candidate(operation.key().hash) } else { self.candidate };
        let mut context = Context { scratch: self.scratch, counters: self.counters, cold: None };
        let lowest = if O::UPDATES { self.read_only } else { self.head };
        shortcut(self.core, &self.guard, lowest, candidate, operation, &mut context)
    }

    #[inline(never)]
    fn attempt<O: Operation<K, V>>(&mut self, mut operation: O) -> Result<Step<O::Output>, Error> {
        let mut context = Context { scratch: self.scratch, counters: self.counters, cold: None };
        operation.attempt(self.core, &self.guard, &mut context)
    }

    /// The rest of [`run`](Self::run), out of line.
    #[inline(never)]
    fn run_on<O: Operation<K, V>>(&mut self, mut operation: O) -> Result<O::Output, Error> {
        self.appended = true;
        let mut context = Context { scratch: self.scratch, counters: self.counters, cold: None };
        if let Step::Done(output) = operation.attempt(self.core, &self.guard, &mut context)? {
            return Ok(output);
        }
        let (core, scratch, counters) = (self.core, &mut *self.scratch, self.counters);
        let output =
            self.guard.outside(|participant| drive_on(core, participant, scratch, counters, operation));
        (self.head, self.read_only) = (core.lowest(false), core.lowest(true));
        output
    }
}

impl<K: PersistKey, V: PersistValue> Worker<K, V> {
    /// Runs `each` on every item in turn, group by group. The first error ends the batch; earlier items are done.
    ///
    /// # Errors
    /// Those of `encode` and `each`.
    #[inline(always)]
    pub(super) fn in_groups<'i, T, E: AsRef<[u8]>>(
        &mut self,
        items: &'i [T],
        encode: impl Fn(&'i T) -> Result<E, Error>,
        mut each: impl FnMut(&mut Turn<'_, K, V>, &'i T, Key<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let size = GROUP.min(items.len());
        let mut coming = Coming { lanes: Vec::with_capacity(size), refused: Ok(()) };
        let mut lanes = Vec::with_capacity(size);
        let mut groups = items.chunks(GROUP);
        let mut group = groups.next().unwrap_or_default();
        group.iter().for_each(|item| coming.announce(&self.core, || encode(item)));
        while !coming.lanes.is_empty() {
            std::mem::swap(&mut lanes, &mut coming.lanes);
            coming.lanes.clear();
            let following = groups.next().unwrap_or_default();
            let mut announced = following.iter();
            let mut turn = self.turn();
            turn.look_up(&mut lanes);
            for (lane, item) in lanes.iter().zip(group) {
                if let Some(item) = announced.next() {
                    coming.announce(turn.core, || encode(item));
                }
                turn.candidate = lane.candidate;
                each(&mut turn, item, Key { bytes: lane.encoded.as_ref(), hash: lane.hash })?;
            }
            group = following;
        }
        coming.refused
    }

    #[inline(always)]
    fn turn(&mut self) -> Turn<'_, K, V> {
        let guard = self.participant.enter();
        Turn {
            core: &self.core,
            head: self.core.lowest(false),
            read_only: self.core.lowest(true),
            guard,
            scratch: &mut self.scratch,
            counters: &self.counters.0,
            serial: &mut self.serial,
            candidate: Address::NULL,
            appended: false,
        }
    }
}
