//! The operations: what each does in each region of the log.
//!
//! Most operations meet the newest record of their key in memory, where they may read or change it at once: the
//! [`mod@shortcut`], which is inlined into its caller and has nothing else in it. All others are *attempted*, out of line.
//! One attempt runs under one epoch guard and either completes or says which obstacle its caller must remove without a
//! guard ([`Obstacle`]); then it is attempted again from the index on. Nothing here waits, and nothing here does I/O.
//!
//! | newest record of the key is | read | upsert | conditional (rmw, insert, compare-exchange, fetch-add, remove) | delete |
//! |---|---|---|---|---|
//! | mutable, `[read_only, tail)` | copy it out | in place; append if it does not fit | in place; under the latch, append and seal if it does not fit | tombstone in place |
//! | mutable tombstone | absent | append | as absent: append | nothing |
//! | fuzzy, `[safe_read_only, read_only)` | copy it out | append | wait until it is immutable | append a tombstone |
//! | immutable, `[head, safe_read_only)` | copy it out | append | copy to the tail | append a tombstone |
//! | on the device, `[begin, head)` | search | append | search, then copy to the tail | append a tombstone |
//! | nowhere | absent | append | append the initial value | nothing |
//!
//! # Why this is linearizable
//! 1. *Publication* is one compare-exchange of the index entry from the address at which the attempt began its walk. So
//!    an append succeeds only if no other record of the chain was published since; a loser marks its record invalid.
//! 2. *In place*, an operation that began before a record was superseded by a blind append takes effect before it: it
//!    looked the entry up before the publication, so the two overlap, and nobody who looks later sees the old record.
//! 3. *Conditional* operations must not lose an update that is made in place between their read and their publication.
//!    On mutable fixed and varlen records they hold the latch from the check of the sequence to the publication and seal
//!    the old record then (`docs/design/0001-latch-then-seal.md`). Mutable word records are never copied by them at all.
//!    Fuzzy records, which others may still change, are waited for. Immutable ones can't change: rule 1 arbitrates.
//! 4. `remove` of a word record needs the last value: it seals the record, waits until nobody who saw it unsealed is
//!    left, reads, and only then sets the tombstone. Once a record is immutable a seal means nothing: rule 1 arbitrates.

mod chunk;
pub(crate) mod conditional;
mod core;
mod delete;
mod drive;
mod read;
mod shortcut;
mod upsert;

pub(crate) use self::core::{Borders, Core, Located, NewValue};
pub(crate) use chunk::TailChunk;
pub use conditional::RmwOutcome;
pub(crate) use conditional::{Add, Conditional, Decision};
pub(crate) use delete::Delete;
pub(crate) use drive::{count_reads, drive, remove_obstacle};
pub(crate) use read::{Copied, Decoded, Placed, Read};
pub(crate) use shortcut::{append_at_once, shortcut};
pub(crate) use upsert::Upsert;

use oxifaster_core::Address;
use oxifaster_core::epoch::EpochGuard;
use oxifaster_core::error::Error;
use oxifaster_core::hash::KeyHash;
use oxifaster_core::record::{RecordRef, WordBuffer};

use crate::pending::ColdFound;
use crate::statistics::SessionCounters;

/// A key as operations see it: its codec's bytes and their hash.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key<'k> {
    pub(crate) bytes: &'k [u8],
    pub(crate) hash: KeyHash,
}

/// What an attempt came to.
#[derive(Debug)]
#[must_use]
pub(crate) enum Step<T> {
    /// It took effect.
    Done(T),
    /// It did not; remove the obstacle without a guard and attempt it again.
    Blocked(Obstacle),
}

/// What stands in the way of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// The tail page has no room for so many words.
    Room(u64),
    /// The record at this address is in the fuzzy region.
    Fuzzy(Address),
    /// Another thread was faster, or is inside the record: look again soon.
    Contended,
    /// Everybody who is inside an operation now must have left it.
    Guards,
    /// The chain goes on at this address on the device.
    Cold(Address),
}

/// What an attempt works with besides the store.
#[derive(Debug)]
pub(crate) struct Context<'c> {
    pub(crate) scratch: &'c mut WordBuffer,
    pub(crate) counters: &'c SessionCounters,
    /// What a cold search found, if one was made for this operation.
    pub(crate) cold: Option<&'c ColdFound>,
    /// The tail space of the operation's group.
    pub(crate) chunk: Option<&'c mut TailChunk>,
}

/// An operation that can be attempted.
pub(crate) trait Operation<K, V> {
    /// Its result.
    type Output;

    /// Whether it needs mutable records.
    const UPDATES: bool;

    /// Whether it does nothing to a key that has no record: [`absent`](Self::absent) is its result then.
    const NEEDS_RECORD: bool = false;

    /// Whether it will probably append a record in place of the one that it finds on the device: then that one is not worth keeping.
    fn replaces_found(&self) -> bool {
        Self::UPDATES
    }

    /// The key.
    fn key(&self) -> Key<'_>;

    /// The whole operation on the newest record of its key, in memory, mutable for updates. `None`: nothing happened, it
    /// has to be attempted.
    ///
    /// # Errors
    /// Keys or values that can't be encoded or decoded.
    fn shortcut(
        &mut self,
        record: RecordRef<'_>,
        context: &mut Context<'_>,
    ) -> Result<Option<Self::Output>, Error>;

    /// The whole operation on a key that has no record, if it needs one.
    #[inline(always)]
    fn absent(&self) -> Option<Self::Output> {
        None
    }

    /// The whole operation where it comes to appending a record right away, in a store that is open for updates: nobody has the
    /// key's tag, or no record of its chain at or above `floor`, where the mutable region begins, counts. `None`: nothing
    /// happened, it has to be attempted. `IN_GROUP`: there may be a chunk; the compiler forgets that there is none.
    ///
    /// # Errors
    /// Keys or values that can't be encoded.
    #[inline(always)]
    fn append_at_once<const IN_GROUP: bool>(
        &mut self,
        _core: &Core<K, V>,
        _guard: &EpochGuard<'_>,
        _floor: Address,
        _context: &mut Context<'_>,
    ) -> Result<Option<Self::Output>, Error> {
        Ok(None)
    }

    /// One attempt under a guard.
    ///
    /// # Errors
    /// Closed and poisoned stores, damaged data, keys or values that can't be encoded.
    fn attempt(
        &mut self,
        core: &Core<K, V>,
        guard: &EpochGuard<'_>,
        context: &mut Context<'_>,
    ) -> Result<Step<Self::Output>, Error>;
}
