//! Upsert: in place if the newest record is mutable and the value fits, else at the tail. Never reads the device.

use oxifaster_core::Address;
use oxifaster_core::codec::{PersistKey, PersistValue, ValueCodec, word_of};
use oxifaster_core::epoch::EpochGuard;
use oxifaster_core::error::Error;
use oxifaster_core::record::{LatchError, RecordRef};
use oxifaster_core::sync::canary;

use super::core::NewValue;
use super::{Borders, Context, Core, Key, Located, Obstacle, Operation, Step};

/// A blind write of an encoded value.
pub(crate) struct Upsert<'k> {
    pub(crate) key: Key<'k>,
    pub(crate) value: &'k [u8],
}

impl<K: PersistKey, V: PersistValue> Operation<K, V> for Upsert<'_> {
    type Output = ();
    const UPDATES: bool = true;

    #[inline(always)]
    fn key(&self) -> Key<'_> {
        self.key
    }

    #[inline(always)]
    fn shortcut(&mut self, record: RecordRef<'_>, context: &mut Context<'_>) -> Result<Option<()>, Error> {
        if V::Codec::IS_WORD {
            if !record.info().is_live() {
                return Ok(None);
            }
            record.store_word(word_of(self.value));
        } else {
            match record.try_latch() {
                Ok(latched) if latched.fits(self.value.len()) => latched.write_value(self.value),
                _ => return Ok(None),
            }
        }
        context.counters.in_place.add(1);
        Ok(Some(()))
    }

    #[inline(always)]
    fn append_at_once<const IN_GROUP: bool>(
        &mut self,
        core: &Core<K, V>,
        guard: &EpochGuard<'_>,
        floor: Address,
        context: &mut Context<'_>,
    ) -> Result<Option<()>, Error> {
        let chunk = if IN_GROUP { context.chunk.as_deref_mut() } else { None };
        if let Some(vacancy) = core.index.vacancy(self.key.hash) {
            let counters = context.counters;
            return Ok(core
                .append_first(guard, vacancy, self.key, self.value, chunk, counters)?
                .then_some(()));
        }
        match core.index.find_at_once(self.key.hash) {
            Some(mut slot) if slot.address() < floor && !canary::armed("upsert_in_read_only") => {
                let step = core.append(guard, &mut slot, self.key, NewValue::Bytes(self.value), context)?;
                Ok(matches!(step, Step::Done(())).then_some(()))
            }
            _ => Ok(None),
        }
    }

    fn attempt(
        &mut self,
        core: &Core<K, V>,
        guard: &EpochGuard<'_>,
        context: &mut Context<'_>,
    ) -> Result<Step<()>, Error> {
        let Borders { head, read_only } = core.enter_update()?;
        let mut slot = core.index.find_or_create(self.key.hash);
        let lowest = if canary::armed("upsert_in_read_only") { head } else { read_only };
        if let Located::Memory(_, record) = core.locate(guard, self.key, slot.address(), lowest) {
            let info = record.info();
            if !info.is_tombstone() && !info.is_sealed() {
                if record.store_word_value(self.value) {
                    context.counters.in_place.add(1);
                    return Ok(Step::Done(()));
                }
                match record.try_latch() {
                    Ok(latched) if latched.fits(self.value.len()) => {
                        latched.write_value(self.value);
                        context.counters.in_place.add(1);
                        return Ok(Step::Done(()));
                    }
                    // Superseding blindly needs no seal: rule 2 of the module header.
                    Ok(_) | Err(LatchError::Tombstone | LatchError::Sealed) => {}
                    Err(_) => return Ok(Step::Blocked(Obstacle::Contended)),
                }
            }
        }
        core.append(guard, &mut slot, self.key, NewValue::Bytes(self.value), context)
    }
}
