//! The store's inside: log, index, layout; and the walk along a chain in memory.

use std::marker::PhantomData;
use std::sync::Arc;

use oxifaster_core::Address;
use oxifaster_core::codec::{PersistKey, PersistValue};
use oxifaster_core::epoch::EpochGuard;
use oxifaster_core::error::{Error, ErrorKind};
use oxifaster_core::hash::HashKind;
use oxifaster_core::hlog::{HybridLog, LEAD_WORDS, LogState, NeedsRoom, RECORD_WORDS_ALWAYS};
use oxifaster_core::index::{HashIndex, IndexSlot, Vacancy};
use oxifaster_core::record::{RecordFlags, RecordLayout, RecordRef};

use super::{Context, Key, Obstacle, Step, TailChunk};
use crate::reclaim::Reclaim;
use crate::statistics::{Registry, SessionCounters};

/// Log, index and what the types fix.
#[derive(Debug)]
pub(crate) struct Core<K, V> {
    pub(crate) log: Arc<HybridLog>,
    pub(crate) index: HashIndex,
    pub(crate) hash: HashKind,
    pub(crate) registry: Registry,
    pub(crate) reclaim: Reclaim,
    pub(crate) types: PhantomData<fn(K) -> V>,
}

/// The region borders as one operation sees them: loaded after its guard was entered, valid until it leaves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Borders {
    pub(crate) head: Address,
    pub(crate) read_only: Address,
}

/// Where a walk along a chain ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Located<'g> {
    /// At the newest record of the key.
    Memory(Address, RecordRef<'g>),
    /// At the first address that the walk was not to look at.
    Below(Address),
    /// At the end of the chain.
    Absent,
}

impl<K: PersistKey, V: PersistValue> Core<K, V> {
    /// How records of these types are laid out.
    pub(crate) const LAYOUT: RecordLayout = RecordLayout::of::<K, V>();

    /// The borders for one attempt; refuses when the store is not open for updates.
    pub(crate) fn enter_update(&self) -> Result<Borders, Error> {
        if self.log.state() != LogState::Open {
            return Err(self.log.state_error());
        }
        Ok(self.region())
    }

    /// The borders for one attempt; refuses when the store is closed.
    pub(crate) fn enter_read(&self) -> Result<Borders, Error> {
        if self.log.state() == LogState::Closed {
            return Err(self.log.state_error());
        }
        Ok(self.region())
    }

    fn region(&self) -> Borders {
        // Read-only first: both only rise, and a head that is newer than the read-only address is harmless, since
        // everything below head is below read-only too.
        let read_only = self.log.ring().read_only();
        Borders { read_only, head: self.log.ring().head() }
    }

    /// The record at an address in memory.
    #[inline(always)]
    pub(crate) fn record<'g>(&'g self, guard: &'g EpochGuard<'_>, address: Address) -> RecordRef<'g> {
        let ring = self.log.ring();
        let words = match Self::LAYOUT.fixed_words() {
            Some(..=LEAD_WORDS) => ring.lead(guard, address).as_slice(),
            _ => ring.words(guard, address),
        };
        RecordRef::new(words, Self::LAYOUT)
    }

    /// Starts to bring what an operation needs of the record at `address` into the cache; any address will do.
    #[inline(always)]
    pub(crate) fn prefetch_record(&self, address: Address) {
        self.log.ring().prefetch(address, Self::LAYOUT.fixed_words().unwrap_or(LEAD_WORDS));
    }

    /// Where the region of an operation begins (`updates`: of one that needs mutable records), for shortcuts under the guard that
    /// was just entered; beyond all addresses when it is refused, so that everybody attempts and meets the error there.
    #[inline(always)]
    pub(crate) fn lowest(&self, updates: bool) -> Address {
        let ring = self.log.ring();
        if updates { ring.update_floor() } else { ring.read_floor() }
    }

    /// Walks a chain from `from` down to, and including, `lowest`, which is not below `head`.
    #[inline]
    pub(crate) fn locate<'g>(
        &'g self,
        guard: &'g EpochGuard<'_>,
        key: Key<'_>,
        from: Address,
        lowest: Address,
    ) -> Located<'g> {
        let mut address = from;
        while address >= lowest && !address.is_null() {
            let record = self.record(guard, address);
            if record.key_equals(key.bytes) {
                return Located::Memory(address, record);
            }
            address = record.info().previous();
        }
        if address.is_null() || address < self.log.ring().begin() {
            return Located::Absent;
        }
        Located::Below(address)
    }

    /// Appends a record and publishes it in place of what `slot` held at its look-up.
    pub(crate) fn append(
        &self,
        guard: &EpochGuard<'_>,
        slot: &mut IndexSlot<'_>,
        key: Key<'_>,
        value: NewValue<'_>,
        context: &mut Context<'_>,
    ) -> Result<Step<()>, Error> {
        let prepared = match self.prepare(guard, slot, key, value, context)? {
            Step::Done(prepared) => prepared,
            Step::Blocked(obstacle) => return Ok(Step::Blocked(obstacle)),
        };
        Ok(self.publish(slot, prepared, context))
    }

    /// Appends the first record of a key where nobody has its tag. `false`: nothing happened; attempt it.
    #[inline(always)]
    pub(crate) fn append_first(
        &self,
        guard: &EpochGuard<'_>,
        vacancy: Vacancy<'_>,
        key: Key<'_>,
        value: &[u8],
        chunk: Option<&mut TailChunk>,
        counters: &SessionCounters,
    ) -> Result<bool, Error> {
        let size_words = self.record_words(key.bytes.len(), value.len())?;
        let Ok(address) = self.allocate(guard, size_words, Address::NULL, chunk) else { return Ok(false) };
        let value = NewValue::Bytes(value);
        let prepared = self.prepare_at(guard, address, size_words, Address::NULL, key, value);
        Ok(Self::count_published(vacancy.publish(address), prepared, counters))
    }

    /// Writes a record at the tail that nobody can see yet.
    #[inline]
    pub(crate) fn prepare<'g>(
        &'g self,
        guard: &'g EpochGuard<'_>,
        slot: &IndexSlot<'_>,
        key: Key<'_>,
        value: NewValue<'_>,
        context: &mut Context<'_>,
    ) -> Result<Step<Prepared<'g>>, Error> {
        let size_words = self.record_words(key.bytes.len(), value.bytes().len())?;
        let previous = slot.address();
        match self.allocate(guard, size_words, previous, context.chunk.as_deref_mut()) {
            Ok(address) => Ok(Step::Done(self.prepare_at(guard, address, size_words, previous, key, value))),
            Err(_) => Ok(Step::Blocked(Obstacle::Room(size_words))),
        }
    }

    /// Takes space for a record that will follow `previous`: of the group's chunk, or at the tail.
    #[inline(always)]
    fn allocate(
        &self,
        guard: &EpochGuard<'_>,
        size_words: u64,
        previous: Address,
        chunk: Option<&mut TailChunk>,
    ) -> Result<Address, NeedsRoom> {
        match chunk {
            Some(chunk) if Self::LAYOUT.fixed_words().is_some() => {
                chunk.take(&self.log, guard, size_words, previous)
            }
            _ => self.log.allocate(guard, size_words),
        }
    }

    /// Writes a record into space that was allocated for it.
    #[inline(always)]
    pub(crate) fn prepare_at<'g>(
        &'g self,
        guard: &'g EpochGuard<'_>,
        address: Address,
        size_words: u64,
        previous: Address,
        key: Key<'_>,
        value: NewValue<'_>,
    ) -> Prepared<'g> {
        let record = match Self::LAYOUT.fixed_words() {
            // Writes no word behind its own.
            Some(_) => self.record(guard, address),
            None => {
                let words = self.log.ring().words(guard, address);
                let words = words.get(..usize::try_from(size_words).unwrap_or(usize::MAX)).unwrap_or(words);
                RecordRef::new(words, Self::LAYOUT)
            }
        };
        record.write_new(previous, key.bytes, value.bytes(), value.flags());
        Prepared { address, record, size_words }
    }

    /// Publishes a prepared record, or marks it invalid if another record of the chain was faster.
    #[inline]
    pub(crate) fn publish(
        &self,
        slot: &mut IndexSlot<'_>,
        prepared: Prepared<'_>,
        context: &Context<'_>,
    ) -> Step<()> {
        // Release, in the slot: whoever finds the address sees the record's words.
        let published = slot.compare_exchange(prepared.address).is_ok();
        if Self::count_published(published, prepared, context.counters) {
            Step::Done(())
        } else {
            Step::Blocked(Obstacle::Contended)
        }
    }

    /// Counts a record that was `published`, or marks it invalid; which of them.
    #[inline(always)]
    fn count_published(published: bool, prepared: Prepared<'_>, counters: &SessionCounters) -> bool {
        if published {
            counters.appended.add(1);
            counters.appended_words.add(prepared.size_words);
        } else {
            prepared.record.mark_invalid();
            counters.lost_races.add(1);
        }
        published
    }

    /// Size of a record; refuses one that does not fit into a page.
    #[inline]
    pub(crate) fn record_words(&self, key_bytes: usize, value_bytes: usize) -> Result<u64, Error> {
        if let Some(size) = Self::LAYOUT.fixed_words().filter(|size| *size as u64 <= RECORD_WORDS_ALWAYS) {
            return Ok(size as u64);
        }
        let max = self.log.layout().record_words_max();
        match Self::LAYOUT.size_words(key_bytes, value_bytes) {
            Some(size) if size <= max => Ok(size),
            _ => Err(too_large(key_bytes, value_bytes, max)),
        }
    }
}

/// A record at the tail that is written and not yet published.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Prepared<'g> {
    pub(crate) address: Address,
    pub(crate) record: RecordRef<'g>,
    size_words: u64,
}

/// The value of a record to be appended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum NewValue<'v> {
    Bytes(&'v [u8]),
    Tombstone,
}

impl<'v> NewValue<'v> {
    #[inline(always)]
    fn bytes(self) -> &'v [u8] {
        match self {
            NewValue::Bytes(bytes) => bytes,
            NewValue::Tombstone => &[],
        }
    }

    #[inline(always)]
    fn flags(self) -> RecordFlags {
        match self {
            NewValue::Bytes(_) => RecordFlags::NONE,
            NewValue::Tombstone => RecordFlags::TOMBSTONE,
        }
    }
}

#[cold]
fn too_large(key_bytes: usize, value_bytes: usize, max_words: u64) -> Error {
    Error::new(
        ErrorKind::InvalidInput,
        format!(
            "a record with a key of {key_bytes} bytes and a value of {value_bytes} bytes does not fit into a page: the \
             largest record takes {} bytes with its header; create the store with larger pages (page_size_bits)",
            max_words * 8
        ),
    )
}
