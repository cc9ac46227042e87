//! Read: the newest value of a key, wherever it is.

use oxifaster_core::codec::{Extent, PersistKey, PersistValue, ValueCodec, plain_bytes};
use oxifaster_core::epoch::EpochGuard;
use oxifaster_core::error::Error;
use oxifaster_core::record::{RecordRef, WordBuffer};
use oxifaster_core::sync::canary;

use super::{Context, Core, Key, Located, Obstacle, Operation, Step};

/// A read. `sink` makes the result of the value, so that copies are made only where they are wanted.
pub(crate) struct Read<'k, S> {
    pub(crate) key: Key<'k>,
    pub(crate) sink: S,
}

/// What a read makes of a value, wherever that is.
pub(crate) trait Sink<V> {
    /// The result.
    type Output;

    /// Takes a word value.
    ///
    /// # Errors
    /// `Corruption` when it can't be decoded.
    fn word(&mut self, word: u64) -> Result<Self::Output, Error>;

    /// Takes a validated copy, or an immutable record's bytes.
    ///
    /// # Errors
    /// As [`word`](Self::word).
    fn bytes(&mut self, bytes: &[u8]) -> Result<Self::Output, Error>;

    /// Takes the value of a record that may be written meanwhile; `None` when writers kept getting in the way.
    ///
    /// # Errors
    /// As [`word`](Self::word).
    fn record(
        &mut self,
        record: RecordRef<'_>,
        scratch: &mut WordBuffer,
    ) -> Result<Option<Self::Output>, Error>;
}

/// A validated copy of the value of a fixed or varlen record, and the sequence it was copied at; `None` if writers were in the way.
#[inline(always)]
pub(super) fn copied_value<V: PersistValue>(
    record: RecordRef<'_>,
    scratch: &mut WordBuffer,
) -> Result<Option<(V, u64)>, Error> {
    if V::Codec::IS_PLAIN {
        let mut value = V::Codec::initial();
        if let Some(bytes) = plain_bytes(&mut value) {
            return Ok(record.read_fixed(bytes).map(|snapshot| (value, snapshot.sequence)));
        }
    }
    match record.read_value(scratch) {
        Some(snapshot) => Ok(Some((V::Codec::decode(scratch.bytes())?, snapshot.sequence))),
        None => Ok(None),
    }
}

/// Decodes the value.
pub(crate) struct Decoded;

impl<V: PersistValue> Sink<V> for Decoded {
    type Output = V;

    #[inline(always)]
    fn word(&mut self, word: u64) -> Result<V, Error> {
        V::Codec::from_word(word)
    }

    #[inline(always)]
    fn bytes(&mut self, bytes: &[u8]) -> Result<V, Error> {
        V::Codec::decode(bytes)
    }

    #[inline(always)]
    fn record(&mut self, record: RecordRef<'_>, scratch: &mut WordBuffer) -> Result<Option<V>, Error> {
        if V::Codec::IS_PLAIN {
            // Not by way of a pair, which is one more move.
            let mut value = V::Codec::initial();
            if let Some(bytes) = plain_bytes(&mut value) {
                return Ok(record.read_fixed(bytes).map(|_| value));
            }
        }
        Ok(copied_value(record, scratch)?.map(|(value, _)| value))
    }
}

/// Decodes the value to where it belongs. Results are moved from call to call, and each move is a copy.
pub(crate) struct Placed<'p, V> {
    pub(crate) place: &'p mut Option<V>,
}

impl<V: PersistValue> Sink<V> for Placed<'_, V> {
    type Output = ();

    #[inline(always)]
    fn word(&mut self, word: u64) -> Result<(), Error> {
        *self.place = Some(V::Codec::from_word(word)?);
        Ok(())
    }

    #[inline(always)]
    fn bytes(&mut self, bytes: &[u8]) -> Result<(), Error> {
        *self.place = Some(V::Codec::decode(bytes)?);
        Ok(())
    }

    #[inline(always)]
    fn record(&mut self, record: RecordRef<'_>, scratch: &mut WordBuffer) -> Result<Option<()>, Error> {
        if V::Codec::IS_PLAIN
            && let Some(bytes) = plain_bytes(self.place.insert(V::Codec::initial()))
        {
            let copied = record.read_fixed(bytes).map(|_| ());
            if copied.is_none() {
                *self.place = None;
            }
            return Ok(copied);
        }
        *self.place = copied_value(record, scratch)?.map(|(value, _)| value);
        Ok(self.place.as_ref().map(|_| ()))
    }
}

/// Replaces the content of `out` by the encoded bytes of the value.
pub(crate) struct Copied<'o> {
    pub(crate) out: &'o mut Vec<u8>,
}

impl<V: PersistValue> Sink<V> for Copied<'_> {
    type Output = ();

    fn word(&mut self, word: u64) -> Result<(), Error> {
        let bytes = word.to_le_bytes();
        let len = match V::Codec::EXTENT {
            Extent::Fixed(len) => len,
            Extent::Varlen => bytes.len(),
        };
        Sink::<V>::bytes(self, bytes.get(..len).unwrap_or(&bytes))
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.out.clear();
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    #[inline(always)]
    fn record(&mut self, record: RecordRef<'_>, _: &mut WordBuffer) -> Result<Option<()>, Error> {
        Ok(record.read_bytes(self.out).then_some(()))
    }
}

impl<K, V, S> Operation<K, V> for Read<'_, S>
where
    K: PersistKey,
    V: PersistValue,
    S: Sink<V>,
{
    type Output = Option<S::Output>;
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
    ) -> Result<Option<Option<S::Output>>, Error> {
        if record.info().is_tombstone() {
            return Ok(Some(None));
        }
        if V::Codec::IS_WORD {
            return Ok(Some(Some(self.sink.word(record.load_word())?)));
        }
        Ok(self.sink.record(record, context.scratch)?.map(Some))
    }

    #[inline(always)]
    fn absent(&self) -> Option<Option<S::Output>> {
        Some(None)
    }

    fn attempt(
        &mut self,
        core: &Core<K, V>,
        guard: &EpochGuard<'_>,
        context: &mut Context<'_>,
    ) -> Result<Step<Option<S::Output>>, Error> {
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
                        Ok(Step::Done(Some(self.sink.bytes(&record.value)?)))
                    }
                    _ => Ok(Step::Done(None)),
                },
                None => Ok(Step::Blocked(Obstacle::Cold(address))),
            },
        }
    }
}
