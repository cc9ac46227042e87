//! Read: the newest value of a key, wherever it is.

use std::marker::PhantomData;

use oxifaster_core::codec::{PersistKey, PersistValue, ValueCodec};
use oxifaster_core::epoch::EpochGuard;
use oxifaster_core::error::Error;
use oxifaster_core::record::RecordRef;
use oxifaster_core::sync::canary;

use super::{Context, Core, Key, Located, Obstacle, Operation, Step};

/// A read. `sink` turns the value's bytes into the result, so that copies are made only where they are wanted.
pub(crate) struct Read<'k, F> {
    pub(crate) key: Key<'k>,
    pub(crate) sink: F,
}

/// Where a read's value comes from.
pub(crate) enum Found<'v, V> {
    /// A word value.
    Word(u64, PhantomData<V>),
    /// A validated copy, or an immutable record's bytes.
    Bytes(&'v [u8]),
}

impl<K, V, F, T> Operation<K, V> for Read<'_, F>
where
    K: PersistKey,
    V: PersistValue,
    F: FnMut(Found<'_, V>) -> Result<T, Error>,
{
    type Output = Option<T>;
    const UPDATES: bool = false;
    const NEEDS_RECORD: bool = true;

    #[inline(always)]
    fn key(&self) -> Key<'_> {
        self.key
    }

    #[inline(always)]
    fn shortcut(
        &mut self,
        record: RecordRef<'_>,
        context: &mut Context<'_>,
    ) -> Result<Option<Option<T>>, Error> {
        if record.info().is_tombstone() {
            return Ok(Some(None));
        }
        let found = if V::Codec::IS_WORD {
            Found::Word(record.load_word(), PhantomData)
        } else if record.read_value(context.scratch).is_some() {
            Found::Bytes(context.scratch.bytes())
        } else {
            return Ok(None);
        };
        Ok(Some(Some((self.sink)(found)?)))
    }

    #[inline(always)]
    fn absent(&self) -> Option<Option<T>> {
        Some(None)
    }

    fn attempt(
        &mut self,
        core: &Core<K, V>,
        guard: &EpochGuard<'_>,
        context: &mut Context<'_>,
    ) -> Result<Step<Option<T>>, Error> {
        let region = core.enter_read()?;
        let Some(slot) = core.index.find(self.key.hash) else { return Ok(Step::Done(None)) };
        match core.locate(guard, self.key, slot.address(), region.head) {
            Located::Absent => Ok(Step::Done(None)),
            Located::Memory(_, record) => match Operation::<K, V>::shortcut(self, record, context)? {
                Some(read) => Ok(Step::Done(read)),
                None => Ok(Step::Blocked(Obstacle::Contended)),
            },
            Located::Below(address) => match context.cold {
                // What a search found was the newest record at the time of the walk before it: this read's moment.
                Some(found) => match &found.record {
                    Some(record) if !record.tombstone || canary::armed("read_cold_tombstone") => {
                        Ok(Step::Done(Some((self.sink)(Found::Bytes(&record.value))?)))
                    }
                    _ => Ok(Step::Done(None)),
                },
                None => Ok(Step::Blocked(Obstacle::Cold(address))),
            },
        }
    }
}
