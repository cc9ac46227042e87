//! The shortcut: what nearly every operation comes to, and nothing else.
//!
//! Callers: sessions, for one operation and for each of a batch. Its instructions are counted (docs/performance.md): a processor
//! works ahead over the next operations' cache misses as far as its window of a few hundred instructions reaches.
//!
//! Why it is enough to look at one record: the index named its address under this guard, the record has the operation's
//! key, so it is the newest of the key at the time of that look-up. The rest is as in an attempt. Where the index says that
//! there is no record at all, operations that need one end there; in a store that is not open they meet the error in an attempt.

use oxifaster_core::Address;
use oxifaster_core::codec::{PersistKey, PersistValue};
use oxifaster_core::epoch::EpochGuard;
use oxifaster_core::error::Error;

use super::{Context, Core, Operation};

/// Tries an operation on the record at `candidate`, which the index named under this guard, if it is not below `lowest`,
/// where the operation's region begins. `None`: attempt it.
///
/// # Errors
/// The operation's.
#[inline(always)]
pub(crate) fn shortcut<K: PersistKey, V: PersistValue, O: Operation<K, V>>(
    core: &Core<K, V>,
    guard: &EpochGuard<'_>,
    lowest: Address,
    candidate: Address,
    operation: &mut O,
    context: &mut Context<'_>,
) -> Result<Option<O::Output>, Error> {
    if candidate < lowest {
        let ends = O::NEEDS_RECORD && candidate.is_null() && lowest != Address::MAX;
        return Ok(if ends && core.index.is_absent(operation.key().hash) {
            operation.absent()
        } else {
            None
        });
    }
    let record = core.record(guard, candidate);
    if !record.key_equals(operation.key().bytes) {
        return Ok(None);
    }
    operation.shortcut(record, context)
}

/// Tries an update that appends right away: the second shortcut, out of line in all callers. `None`: attempt it.
///
/// It decides as an attempt does: the same region under the same guard, the same publication from what was seen in the index.
///
/// # Errors
/// The operation's.
#[inline(always)]
pub(crate) fn append_at_once<const IN_GROUP: bool, K: PersistKey, V: PersistValue, O: Operation<K, V>>(
    core: &Core<K, V>,
    guard: &EpochGuard<'_>,
    operation: &mut O,
    context: &mut Context<'_>,
) -> Result<Option<O::Output>, Error> {
    let floor = core.lowest(true);
    if !O::UPDATES || floor == Address::MAX {
        return Ok(None);
    }
    operation.append_at_once::<IN_GROUP>(core, guard, floor, context)
}
