//! Conditional operations: what they write depends on what they read.
//!
//! `rmw`, `remove`, `insert_if_absent`, `compare_exchange` and `fetch_add` are one engine with different decisions. The
//! decision runs on a private copy, outside of latch and seal, possibly more than once; exactly one of its runs takes
//! effect. It runs before anything is taken or changed, so a panic in it changes nothing.

use oxifaster_core::Address;

use oxifaster_core::codec::{FetchAdd, PersistKey, PersistValue, ValueCodec, word_of};
use oxifaster_core::epoch::EpochGuard;
use oxifaster_core::error::Error;
use oxifaster_core::index::IndexSlot;
use oxifaster_core::record::{Latched, RecordRef, WordBuffer};
use oxifaster_core::sync::canary;

use super::core::NewValue;
use super::read::copied_value;
use super::{Context, Core, Key, Located, Obstacle, Operation, Step};

/// What a read-modify-write did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RmwOutcome {
    /// The key was absent and has been inserted.
    Created,
    /// The value has been changed.
    Updated,
    /// The closure returned `false`: nothing has been changed or inserted.
    Unchanged,
}

/// What to do about the value that was read.
#[derive(Debug)]
pub(crate) enum Decision<V> {
    /// Nothing.
    Keep,
    /// Make this the value.
    Put(V),
    /// Make the bytes that the operation was given the value.
    PutGiven,
    /// Remove the key, whatever its value. Only for decisions that always say so.
    Delete,
}

/// A conditional operation. `decide` gets the current value, `None` for an absent key, and returns what to do and the
/// operation's result in case this run takes effect.
///
/// Decisions have no lifetime of their own: a future that holds an operation would not be `Send` otherwise, because the
/// compiler forgets that two lifetimes inside a future are the same one.
pub(crate) struct Conditional<'k, F> {
    pub(crate) key: Key<'k>,
    pub(crate) decide: F,
    /// The encoded value of [`Decision::PutGiven`].
    given: &'k [u8],
    /// The mutable word record that this operation has sealed to remove it.
    sealed: Option<Address>,
    replaces_found: bool,
}

/// Rounds of a compare-exchange loop before the guard is left and the key looked up again.
const ROUNDS_MAX: u32 = 64;

impl<'k, F> Conditional<'k, F> {
    pub(crate) fn new(key: Key<'k>, decide: F) -> Self {
        Self::with_value(key, &[], decide)
    }

    /// An operation whose decision may be to put `given`.
    pub(crate) fn with_value(key: Key<'k>, given: &'k [u8], decide: F) -> Self {
        Self { key, decide, given, sealed: None, replaces_found: true }
    }

    /// Says that it leaves a record that it finds as it is.
    pub(crate) fn keeping_found(mut self) -> Self {
        self.replaces_found = false;
        self
    }
}

/// One attempt's surroundings, so that its parts stay small.
struct Attempt<'a, 'c, K, V> {
    core: &'a Core<K, V>,
    guard: &'a EpochGuard<'a>,
    slot: IndexSlot<'a>,
    context: &'a mut Context<'c>,
}

impl<K, V, F, T> Operation<K, V> for Conditional<'_, F>
where
    K: PersistKey,
    V: PersistValue,
    F: FnMut(Option<V>) -> Result<(Decision<V>, T), Error>,
{
    type Output = T;
    const UPDATES: bool = true;

    #[inline(always)]
    fn key(&self) -> Key<'_> {
        self.key
    }

    fn replaces_found(&self) -> bool {
        self.replaces_found
    }

    #[inline(always)]
    fn shortcut(&mut self, record: RecordRef<'_>, context: &mut Context<'_>) -> Result<Option<T>, Error> {
        // The moment of a decision to keep, which takes no latch.
        if !record.info().is_live() && !canary::armed("conditional_on_dead_record") {
            return Ok(None);
        }
        if !V::Codec::IS_WORD {
            return self.shortcut_latched(record, context);
        }
        let word = record.load_word();
        let (decision, result) = (self.decide)(Some(V::Codec::from_word(word)?))?;
        let new = match decision {
            Decision::Keep => return Ok(Some(result)),
            Decision::Put(value) => V::Codec::to_word(&value)?,
            Decision::PutGiven => word_of(self.given),
            Decision::Delete => return Ok(None),
        };
        if canary::armed("rmw_stores_blindly") {
            record.store_word(new);
        } else if record.compare_exchange_word(word, new).is_err() {
            return Ok(None);
        }
        context.counters.in_place.add(1);
        Ok(Some(result))
    }

    #[inline(always)]
    fn append_at_once<const IN_GROUP: bool>(
        &mut self,
        core: &Core<K, V>,
        guard: &EpochGuard<'_>,
        _: Address,
        context: &mut Context<'_>,
    ) -> Result<Option<T>, Error> {
        let Some(vacancy) = core.index.vacancy(self.key.hash) else { return Ok(None) };
        let chunk = if IN_GROUP { context.chunk.as_deref_mut() } else { None };
        let counters = context.counters;
        let (decision, result) = (self.decide)(None)?;
        let appended = match decision {
            Decision::Keep | Decision::Delete => true,
            Decision::Put(value) => {
                let encoded = V::Codec::encode(&value)?;
                core.append_first(guard, vacancy, self.key, encoded.as_ref(), chunk, counters)?
            }
            Decision::PutGiven => core.append_first(guard, vacancy, self.key, self.given, chunk, counters)?,
        };
        Ok(appended.then_some(result))
    }

    fn attempt(
        &mut self,
        core: &Core<K, V>,
        guard: &EpochGuard<'_>,
        context: &mut Context<'_>,
    ) -> Result<Step<T>, Error> {
        let region = core.enter_update()?;
        let slot = core.index.find_or_create(self.key.hash);
        let located = core.locate(guard, self.key, slot.address(), region.head);
        let mut attempt = Attempt { core, guard, slot, context };
        match located {
            Located::Absent => self.append_decision(&mut attempt, None),
            Located::Memory(_, record) if record.info().is_tombstone() => {
                self.append_decision(&mut attempt, None)
            }
            Located::Memory(address, record) if address >= region.read_only => {
                if V::Codec::IS_WORD {
                    self.update_word(&mut attempt, address, record)
                } else {
                    self.update_latched(&mut attempt, record)
                }
            }
            Located::Memory(address, _)
                if address >= core.log.ring().safe_read_only()
                    && !canary::armed("rmw_copies_fuzzy_record") =>
            {
                Ok(Step::Blocked(Obstacle::Fuzzy(address)))
            }
            Located::Memory(_, record) => match current_value::<V>(record, attempt.context.scratch)? {
                Some((value, _)) => self.append_decision(&mut attempt, Some(value)),
                None => Ok(Step::Blocked(Obstacle::Contended)),
            },
            Located::Below(address) => match attempt.context.cold {
                // The walk left memory where the search began: nothing newer lies above.
                Some(found) if found.from == address || canary::armed("accept_stale_cold_result") => {
                    let value = match &found.record {
                        Some(record) if !record.tombstone => Some(V::Codec::decode(&record.value)?),
                        _ => None,
                    };
                    self.append_decision(&mut attempt, value)
                }
                _ => Ok(Step::Blocked(Obstacle::Cold(address))),
            },
        }
    }
}

/// An addition to an integer: where adding to the stored word does it, one instruction without a look at the value before.
pub(crate) struct Add<'k, V, F> {
    delta: V,
    otherwise: Conditional<'k, F>,
}

impl<'k, V, F> Add<'k, V, F> {
    /// `decide` says the same for all other records.
    pub(crate) fn new(key: Key<'k>, delta: V, decide: F) -> Self {
        Self { delta, otherwise: Conditional::new(key, decide) }
    }
}

impl<K, V, F> Operation<K, V> for Add<'_, V, F>
where
    K: PersistKey,
    V: FetchAdd,
    F: FnMut(Option<V>) -> Result<(Decision<V>, V), Error>,
{
    type Output = V;
    const UPDATES: bool = true;

    #[inline(always)]
    fn key(&self) -> Key<'_> {
        self.otherwise.key
    }

    #[inline(always)]
    fn shortcut(&mut self, record: RecordRef<'_>, context: &mut Context<'_>) -> Result<Option<V>, Error> {
        match self.delta.as_word_delta() {
            Some(delta) if V::Codec::IS_WORD && record.info().is_live() => {
                context.counters.in_place.add(1);
                V::Codec::from_word(record.fetch_add_word(delta)).map(Some)
            }
            _ => Operation::<K, V>::shortcut(&mut self.otherwise, record, context),
        }
    }

    #[inline(always)]
    fn append_at_once<const IN_GROUP: bool>(
        &mut self,
        core: &Core<K, V>,
        guard: &EpochGuard<'_>,
        floor: Address,
        context: &mut Context<'_>,
    ) -> Result<Option<V>, Error> {
        self.otherwise.append_at_once::<IN_GROUP>(core, guard, floor, context)
    }

    fn attempt(
        &mut self,
        core: &Core<K, V>,
        guard: &EpochGuard<'_>,
        context: &mut Context<'_>,
    ) -> Result<Step<V>, Error> {
        self.otherwise.attempt(core, guard, context)
    }
}

/// A validated copy of a record's value and the sequence it was copied at; `None` if writers were in the way.
#[inline(always)]
fn current_value<V: PersistValue>(
    record: RecordRef<'_>,
    scratch: &mut WordBuffer,
) -> Result<Option<(V, u64)>, Error> {
    if let Some(word) = record.load_word_value() {
        return Ok(Some((V::Codec::from_word(word)?, 0)));
    }
    copied_value(record, scratch)
}

/// The latch of a record whose value is still the one that was copied at `sequence`.
#[inline(always)]
fn latch_unchanged(record: RecordRef<'_>, sequence: u64) -> Option<Latched<'_>> {
    let latched = record.try_latch().ok()?;
    (latched.value_unchanged_since(sequence) || canary::armed("skip_sequence_check")).then_some(latched)
}

impl<F> Conditional<'_, F> {
    /// The shortcut on a fixed or varlen record: if the new value fits, and nobody has changed the value meanwhile.
    #[inline(always)]
    fn shortcut_latched<V, T>(
        &mut self,
        record: RecordRef<'_>,
        context: &mut Context<'_>,
    ) -> Result<Option<T>, Error>
    where
        V: PersistValue,
        F: FnMut(Option<V>) -> Result<(Decision<V>, T), Error>,
    {
        let Some((value, sequence)) = current_value::<V>(record, context.scratch)? else { return Ok(None) };
        let (decision, result) = (self.decide)(Some(value))?;
        let (new, encoded);
        let bytes = match decision {
            Decision::Keep => return Ok(Some(result)),
            Decision::Put(value) => {
                new = value;
                encoded = V::Codec::encode(&new)?;
                Some(encoded.as_ref())
            }
            Decision::PutGiven => Some(self.given),
            Decision::Delete => None,
        };
        if bytes.is_some_and(|bytes| !record.fits(bytes.len())) {
            return Ok(None);
        }
        let Some(latched) = latch_unchanged(record, sequence) else { return Ok(None) };
        match bytes {
            Some(bytes) => latched.write_value(bytes),
            None => latched.set_tombstone(),
        }
        context.counters.in_place.add(1);
        Ok(Some(result))
    }

    /// Decides about a value that nobody can change without publishing a record, and publishes the decision.
    fn append_decision<K, V, T>(
        &mut self,
        attempt: &mut Attempt<'_, '_, K, V>,
        current: Option<V>,
    ) -> Result<Step<T>, Error>
    where
        K: PersistKey,
        V: PersistValue,
        F: FnMut(Option<V>) -> Result<(Decision<V>, T), Error>,
    {
        let existed = current.is_some();
        let (decision, result) = (self.decide)(current)?;
        let Attempt { core, guard, slot, context } = attempt;
        let step = match decision {
            Decision::Keep => return Ok(Step::Done(result)),
            Decision::Delete if !existed => return Ok(Step::Done(result)),
            Decision::Delete => core.append(guard, slot, self.key, NewValue::Tombstone, context)?,
            Decision::Put(value) => {
                let encoded = V::Codec::encode(&value)?;
                core.append(guard, slot, self.key, NewValue::Bytes(encoded.as_ref()), context)?
            }
            Decision::PutGiven => core.append(guard, slot, self.key, NewValue::Bytes(self.given), context)?,
        };
        Ok(match step {
            Step::Done(()) => Step::Done(result),
            Step::Blocked(obstacle) => Step::Blocked(obstacle),
        })
    }

    /// Changes a mutable word record by compare-exchange.
    fn update_word<K, V, T>(
        &mut self,
        attempt: &mut Attempt<'_, '_, K, V>,
        address: Address,
        record: RecordRef<'_>,
    ) -> Result<Step<T>, Error>
    where
        K: PersistKey,
        V: PersistValue,
        F: FnMut(Option<V>) -> Result<(Decision<V>, T), Error>,
    {
        let sealed_by_us = self.sealed == Some(address);
        if record.info().is_sealed() && !sealed_by_us {
            return Ok(Step::Blocked(Obstacle::Contended));
        }
        for _ in 0..ROUNDS_MAX {
            let Some(word) = record.load_word_value() else { break };
            let (decision, result) = (self.decide)(Some(V::Codec::from_word(word)?))?;
            let new = match decision {
                Decision::Keep => return Ok(Step::Done(result)),
                Decision::Put(value) => Some(V::Codec::to_word(&value)?),
                Decision::PutGiven => Some(word_of(self.given)),
                Decision::Delete => None,
            };
            match new {
                Some(new) => {
                    let stored = if canary::armed("rmw_stores_blindly") {
                        record.store_word(new);
                        true
                    } else {
                        record.compare_exchange_word(word, new).is_ok()
                    };
                    if stored {
                        attempt.context.counters.in_place.add(1);
                        return Ok(Step::Done(result));
                    }
                }
                None if sealed_by_us => {
                    record.set_tombstone_sealed();
                    attempt.context.counters.in_place.add(1);
                    return Ok(Step::Done(result));
                }
                None => {
                    if record.try_seal() {
                        self.sealed = Some(address);
                        return Ok(Step::Blocked(Obstacle::Guards));
                    }
                    break;
                }
            }
        }
        Ok(Step::Blocked(Obstacle::Contended))
    }

    /// Changes a mutable fixed or varlen record under its latch, or supersedes it if the new value does not fit.
    fn update_latched<K, V, T>(
        &mut self,
        attempt: &mut Attempt<'_, '_, K, V>,
        record: RecordRef<'_>,
    ) -> Result<Step<T>, Error>
    where
        K: PersistKey,
        V: PersistValue,
        F: FnMut(Option<V>) -> Result<(Decision<V>, T), Error>,
    {
        let contended = Ok(Step::Blocked(Obstacle::Contended));
        let Some((value, sequence)) = current_value::<V>(record, attempt.context.scratch)? else {
            return contended;
        };
        let (decision, result) = (self.decide)(Some(value))?;
        let new;
        let encoded;
        let bytes = match decision {
            Decision::Keep => return Ok(Step::Done(result)),
            Decision::Put(value) => {
                new = value;
                encoded = V::Codec::encode(&new)?;
                Some(encoded.as_ref())
            }
            Decision::PutGiven => Some(self.given),
            Decision::Delete => None,
        };
        // Space comes before the latch: under the latch nothing waits and nothing fails.
        let mut prepared = None;
        if let Some(bytes) = bytes
            && !record.fits(bytes.len())
        {
            match attempt.core.prepare(
                attempt.guard,
                &attempt.slot,
                self.key,
                NewValue::Bytes(bytes),
                attempt.context,
            )? {
                Step::Done(record) => prepared = Some(record),
                Step::Blocked(obstacle) => return Ok(Step::Blocked(obstacle)),
            }
        }
        let Some(latched) = latch_unchanged(record, sequence) else {
            if let Some(prepared) = prepared {
                prepared.record.mark_invalid();
            }
            return contended;
        };
        match (prepared, bytes) {
            (Some(prepared), _) => {
                let step = attempt.core.publish(&mut attempt.slot, prepared, attempt.context);
                if let Step::Blocked(obstacle) = step {
                    return Ok(Step::Blocked(obstacle));
                }
                latched.seal();
                return Ok(Step::Done(result));
            }
            (None, Some(bytes)) => latched.write_value(bytes),
            (None, None) => latched.set_tombstone(),
        }
        attempt.context.counters.in_place.add(1);
        Ok(Step::Done(result))
    }
}
