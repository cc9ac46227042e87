//! Delete: a tombstone in place or at the tail. Never reads the device.

use oxifaster_core::codec::{PersistKey, PersistValue};
use oxifaster_core::epoch::EpochGuard;
use oxifaster_core::error::Error;
use oxifaster_core::record::RecordRef;

use super::core::NewValue;
use super::{Borders, Context, Core, Key, Located, Obstacle, Operation, Step};

/// A blind delete.
pub(crate) struct Delete<'k> {
    pub(crate) key: Key<'k>,
}

impl<K: PersistKey, V: PersistValue> Operation<K, V> for Delete<'_> {
    type Output = ();
    const UPDATES: bool = true;
    const NEEDS_RECORD: bool = true;

    #[inline(always)]
    fn key(&self) -> Key<'_> {
        self.key
    }

    #[inline(always)]
    fn shortcut(&mut self, record: RecordRef<'_>, context: &mut Context<'_>) -> Result<Option<()>, Error> {
        if !record.try_set_tombstone() {
            return Ok(None);
        }
        context.counters.in_place.add(1);
        Ok(Some(()))
    }

    #[inline(always)]
    fn absent(&self) -> Option<()> {
        Some(())
    }

    fn attempt(
        &mut self,
        core: &Core<K, V>,
        guard: &EpochGuard<'_>,
        context: &mut Context<'_>,
    ) -> Result<Step<()>, Error> {
        let Borders { head, read_only } = core.enter_update()?;
        let Some(mut slot) = core.index.find(self.key.hash) else { return Ok(Step::Done(())) };
        match core.locate(guard, self.key, slot.address(), head) {
            Located::Absent => Ok(Step::Done(())),
            Located::Memory(_, record) if record.info().is_tombstone() => Ok(Step::Done(())),
            Located::Memory(address, record) if address >= read_only => {
                if !record.try_set_tombstone() {
                    return Ok(Step::Blocked(Obstacle::Contended));
                }
                context.counters.in_place.add(1);
                Ok(Step::Done(()))
            }
            Located::Memory(..) | Located::Below(_) => {
                core.append(guard, &mut slot, self.key, NewValue::Tombstone, context)
            }
        }
    }
}
