//! Private keys: each belongs to one thread, has a fate that follows from its number, and so needs no book-keeping.
//!
//! Key `n` of a thread is inserted as its `n`-th. When `n + lag` is inserted, and `n`'s record has left memory by then, its fate
//! comes, if it has one:
//!
//! | `n mod every` | fate | then |
//! |---|---|---|
//! | 0 | delete | absent |
//! | 1 | remove, which tells the value | absent |
//! | 2 | upsert | the second value |
//! | 3 | add through `rmw` | first value + 1 |
//! | 4 | insert-if-absent, refused | the first value |
//! | 5 | compare-exchange of the first value | the second value |
//! | 6 | compare-exchange of a wrong value, refused | the first value |
//! | others | none | the first value |

use oxifaster_device::StorageDevice;

use crate::history::{Operation, Outcome, State};
use crate::judges::stored::{CallError, SessionOf, Stored, call, state_of};
use crate::workload::mix;

/// What follows from a key's number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Private {
    pub(super) lane: u64,
    /// Every so many keys seven have a fate.
    pub(super) every: u64,
    /// So many insertions later it comes.
    pub(super) lag: u64,
}

impl Private {
    pub(super) fn key(&self, n: u64) -> u64 {
        1 << 48 | self.lane << 40 | n
    }

    fn first(&self, n: u64) -> u64 {
        mix(self.key(n)) >> 1
    }

    fn second(&self, n: u64) -> u64 {
        mix(self.first(n)) >> 1
    }

    /// The value of key `n` after `inserted` insertions.
    pub(super) fn expected(&self, n: u64, inserted: u64) -> State {
        let fate = (n + self.lag < inserted).then_some(n % self.every);
        match fate {
            _ if n >= inserted => None,
            Some(0 | 1) => None,
            Some(2 | 5) => Some(self.second(n)),
            Some(3) => Some(self.first(n) + 1),
            _ => Some(self.first(n)),
        }
    }

    /// Inserts key `n` and brings the fate of the key that is due.
    pub(super) fn insert<S: Stored, D: StorageDevice>(
        &self,
        session: &mut SessionOf<S, D>,
        n: u64,
    ) -> Result<(), CallError> {
        call::<S, D>(session, self.key(n), Operation::Upsert(self.first(n)))?;
        let Some(due) = n.checked_sub(self.lag) else { return Ok(()) };
        let (first, second) = (self.first(due), self.second(due));
        let (operation, right) = match due % self.every {
            0 => (Operation::Delete, Outcome::Done),
            1 => (Operation::Remove, Outcome::Value(Some(first))),
            2 => (Operation::Upsert(second), Outcome::Done),
            3 => (Operation::Add(1), Outcome::Added { sum: first + 1, created: false }),
            4 => (Operation::InsertIfAbsent(second), Outcome::Inserted(false)),
            5 => (Operation::CompareExchange { expected: first, new: second }, Outcome::Exchanged),
            6 => (Operation::CompareExchange { expected: second, new: 1 }, Outcome::Differs(Some(first))),
            _ => return Ok(()),
        };
        let outcome = call::<S, D>(session, self.key(due), operation)?;
        if outcome == right {
            return Ok(());
        }
        let lane = self.lane;
        Err(CallError::Wrong(format!(
            "thread {lane}, key {due}: {operation:?} answered {outcome:?}, not {right:?}"
        )))
    }

    /// Reads keys, the device reads of all of them in flight together, and compares.
    pub(super) fn verify<S: Stored, D: StorageDevice>(
        &self,
        session: &mut SessionOf<S, D>,
        numbers: &[u64],
        inserted: u64,
    ) -> Result<(), CallError> {
        let keys: Vec<S::Key> = numbers.iter().map(|&n| S::key(self.key(n))).collect();
        let values = session.read_batch(&keys)?;
        for (&n, value) in numbers.iter().zip(&values) {
            let (found, expected) = (state_of::<S>(self.key(n), value.as_ref())?, self.expected(n, inserted));
            if found != expected {
                let lane = self.lane;
                let message =
                    format!("thread {lane}, key {n} of {inserted}: found {found:?}, expected {expected:?}");
                return Err(CallError::Wrong(message));
            }
        }
        Ok(())
    }
}
