//! The blocking driver behind the shortcut: attempt, remove the obstacle, attempt again.

use oxifaster_core::codec::{PersistKey, PersistValue};
use oxifaster_core::epoch::Participant;
use oxifaster_core::error::Error;
use oxifaster_core::hlog::backoff;
use oxifaster_core::record::WordBuffer;

use super::{Context, Core, Obstacle, Operation, Step};
use crate::pending::{ColdFound, ColdSearch, blocking};
use crate::statistics::SessionCounters;

/// Runs an operation to its end on the calling thread; its shortcut, if it has one, was tried before.
///
/// # Errors
/// The operation's; the device's.
pub(crate) fn drive<K, V, O>(
    core: &Core<K, V>,
    participant: &mut Participant,
    scratch: &mut WordBuffer,
    counters: &SessionCounters,
    mut operation: O,
) -> Result<O::Output, Error>
where
    K: PersistKey,
    V: PersistValue,
    O: Operation<K, V>,
{
    let mut cold: Option<ColdFound> = None;
    let mut rounds = 0;
    loop {
        let obstacle = {
            let guard = participant.enter();
            let mut context = Context { scratch, counters, cold: cold.as_ref(), chunk: None };
            match operation.attempt(core, &guard, &mut context)? {
                Step::Done(output) => return Ok(output),
                Step::Blocked(obstacle) => obstacle,
            }
        };
        match obstacle {
            Obstacle::Cold(from) => {
                if cold.is_none() {
                    counters.pending.add(1);
                }
                let key = operation.key().bytes.into();
                let search = ColdSearch::new(from, key, Core::<K, V>::LAYOUT, cold.take());
                let mut search = search.replacing_found(operation.replaces_found());
                cold = Some(blocking::run(&core.log, &mut search)?);
                count_reads(counters, &search);
            }
            other => remove_obstacle(core, other, &mut rounds)?,
        }
    }
}

/// Adds what a finished search has read to a session's counters.
pub(crate) fn count_reads(counters: &SessionCounters, search: &ColdSearch) {
    let reads = search.reads();
    counters.device_reads.add(reads.device);
    counters.device_read_bytes.add(reads.device_bytes);
    if reads.cache_hits + reads.cache_misses > 0 {
        counters.cache_hits.add(reads.cache_hits);
        counters.cache_misses.add(reads.cache_misses);
        counters.answered_by_cache.add(u64::from(reads.cache_misses == 0));
    }
}

/// Removes an obstacle other than a cold record by waiting. The caller holds no guard.
///
/// # Errors
/// Why there is no room.
pub(crate) fn remove_obstacle<K: PersistKey, V: PersistValue>(
    core: &Core<K, V>,
    obstacle: Obstacle,
    rounds: &mut u32,
) -> Result<(), Error> {
    match obstacle {
        Obstacle::Room(words) if core.log.is_persistent() => core.log.make_room(words),
        Obstacle::Room(words) => core.make_room_in_memory(words),
        Obstacle::Fuzzy(address) => {
            core.log.leave_fuzzy_region(address);
            Ok(())
        }
        Obstacle::Contended | Obstacle::Cold(_) => {
            backoff(rounds);
            Ok(())
        }
        Obstacle::Guards => {
            core.log.drain_guards();
            Ok(())
        }
    }
}
