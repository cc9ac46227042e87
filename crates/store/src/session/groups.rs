//! Groups: how a batch makes its cache misses overlap.
//!
//! Caller: the batched operations. A batch is cut into groups, and each group is run in three passes:
//!
//! ```text
//! encode and hash all keys    look all entries up           run the operations, in order
//! prefetch their buckets  ->  prefetch their records   ->   on lines that have arrived
//! (no guard)                  |<------------- one guard for the whole group ----------->|
//! ```
//!
//! # Rules
//! 1. *An address that was looked up in the second pass stays good in the third one*: the guard keeps its record in memory,
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
/// cache until their turn. Measured: 16, 32 and 64 differ by less than the noise.
pub(super) const GROUP: usize = 32;

/// One operation of a group between the passes.
struct Lane<E> {
    encoded: E,
    hash: KeyHash,
    candidate: Address,
}

/// The third pass: what runs one operation after the other.
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
    /// Candidates of the second pass may be superseded by now (rule 2).
    appended: bool,
}

impl<K: PersistKey, V: PersistValue> Turn<'_, K, V> {
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
        let mut lanes: Vec<Lane<E>> = Vec::with_capacity(GROUP.min(items.len()));
        for group in items.chunks(GROUP) {
            lanes.clear();
            let mut refused = Ok(());
            for item in group {
                match encode(item) {
                    Ok(encoded) => lanes.push(self.lane(encoded)),
                    Err(error) => {
                        refused = Err(error);
                        break;
                    }
                }
            }
            let mut turn = self.turn();
            for lane in &mut lanes {
                lane.candidate = turn.core.index.candidate(lane.hash);
                if lane.candidate >= turn.head {
                    turn.core.prefetch_record(lane.candidate);
                }
            }
            for (lane, item) in lanes.iter().zip(group) {
                turn.candidate = lane.candidate;
                each(&mut turn, item, Key { bytes: lane.encoded.as_ref(), hash: lane.hash })?;
            }
            refused?;
        }
        Ok(())
    }

    #[inline(always)]
    fn lane<E: AsRef<[u8]>>(&self, encoded: E) -> Lane<E> {
        let hash = self.core.hash.hash(encoded.as_ref());
        self.core.index.prefetch(hash);
        Lane { encoded, hash, candidate: Address::NULL }
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
