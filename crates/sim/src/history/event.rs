//! What a history consists of: who called what on which key, when, and what came back.
//!
//! Values are numbers here. A judge that stores larger values gives every value a number, derives the bytes from it and
//! checks all bytes of what it reads before it records the number (`workload::value`).

use std::fmt;

/// A key's value: `None` while the key is absent.
pub type State = Option<u64>;

/// What was asked of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Tells the value.
    Read,
    /// Makes this the value.
    Upsert(u64),
    /// Makes the key absent.
    Delete,
    /// Makes the key absent and tells the value it had.
    Remove,
    /// Makes this the value if the key is absent, and tells whether it was.
    InsertIfAbsent(u64),
    /// Makes `new` the value if it is `expected`. An absent key has no value that could be expected.
    CompareExchange {
        /// The value that must be there.
        expected: u64,
        /// The value to be.
        new: u64,
    },
    /// Adds to the value, wrapping; an absent key counts as 0. Also an `rmw` whose closure adds.
    Add(u64),
    /// An `rmw` whose closure declines: changes nothing, inserts nothing, tells nothing.
    Decline,
}

/// What came back. Which outcome answers which operation: see [`Operation::apply`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing but that it is done (upsert, delete, add).
    Done,
    /// A value (read, remove).
    Value(State),
    /// Whether it was inserted (insert-if-absent), or created (add).
    Inserted(bool),
    /// The compare-exchange took place.
    Exchanged,
    /// The compare-exchange did not take place, as this was there.
    Differs(State),
    /// The value after an add.
    Sum(u64),
    /// The value after an add, and whether the key was created by it.
    Added {
        /// The value.
        sum: u64,
        /// Whether the key was absent.
        created: bool,
    },
}

/// When an operation was answered, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Response {
    /// The answer came at this time.
    Answered(u64, Outcome),
    /// No answer came. It took effect before this time, or never does: the time of a crash or [`NEVER`].
    Lost(u64),
}

/// Later than everything: an operation that may still take effect at any time.
pub const NEVER: u64 = u64::MAX;

/// One operation of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// The key.
    pub key: u64,
    /// The thread that called, for messages only.
    pub thread: u32,
    /// Before this time it had no effect.
    pub called: u64,
    /// What was asked.
    pub operation: Operation,
    /// What came back.
    pub response: Response,
}

impl Event {
    /// After this time it has no effect.
    #[must_use]
    pub fn ended(&self) -> u64 {
        match self.response {
            Response::Answered(at, _) | Response::Lost(at) => at,
        }
    }

    /// The answer, if there was one.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        match self.response {
            Response::Answered(_, outcome) => Some(outcome),
            Response::Lost(_) => None,
        }
    }

    /// Whether the answer is one that the operation can give at all, and the times are in order.
    #[must_use]
    pub fn is_well_formed(&self) -> bool {
        let fits = match (self.operation, self.outcome()) {
            (_, None) => true,
            (Operation::Read | Operation::Remove, Some(outcome)) => matches!(outcome, Outcome::Value(_)),
            (Operation::Upsert(_) | Operation::Delete | Operation::Decline, Some(outcome)) => {
                outcome == Outcome::Done
            }
            (Operation::InsertIfAbsent(_), Some(outcome)) => matches!(outcome, Outcome::Inserted(_)),
            (Operation::CompareExchange { .. }, Some(outcome)) => {
                matches!(outcome, Outcome::Exchanged | Outcome::Differs(_))
            }
            (Operation::Add(_), Some(outcome)) => {
                matches!(
                    outcome,
                    Outcome::Done | Outcome::Inserted(_) | Outcome::Sum(_) | Outcome::Added { .. }
                )
            }
        };
        fits && self.called <= self.ended()
    }

    /// Whether the answer says that nothing was changed, so that the event only *observes* the state.
    #[must_use]
    pub fn is_observation(&self) -> bool {
        match (self.operation, self.outcome()) {
            (Operation::Read | Operation::Decline, _) => true,
            (Operation::Remove, Some(Outcome::Value(None)))
            | (Operation::InsertIfAbsent(_), Some(Outcome::Inserted(false)))
            | (Operation::CompareExchange { .. }, Some(Outcome::Differs(_))) => true,
            (Operation::CompareExchange { expected, new }, _) => expected == new,
            _ => false,
        }
    }
}

impl Operation {
    /// The number that it writes or adds; 0 if there is none.
    #[must_use]
    pub fn number(self) -> u64 {
        match self {
            Operation::Upsert(number) | Operation::InsertIfAbsent(number) | Operation::Add(number) => number,
            Operation::CompareExchange { new, .. } => new,
            Operation::Read | Operation::Delete | Operation::Remove | Operation::Decline => 0,
        }
    }

    /// The same with a number that is higher by `by`, wrapping.
    #[must_use]
    pub fn with_number_raised_by(self, by: u64) -> Self {
        match self {
            Operation::Upsert(number) => Operation::Upsert(number.wrapping_add(by)),
            Operation::InsertIfAbsent(number) => Operation::InsertIfAbsent(number.wrapping_add(by)),
            Operation::Add(number) => Operation::Add(number.wrapping_add(by)),
            Operation::CompareExchange { expected, new } => {
                Operation::CompareExchange { expected, new: new.wrapping_add(by) }
            }
            other @ (Operation::Read | Operation::Delete | Operation::Remove | Operation::Decline) => other,
        }
    }

    /// The state after this operation takes effect on `state`; `None` if it would not have given `outcome` then. Without
    /// an outcome anything may have come back.
    #[must_use]
    pub fn apply(self, state: State, outcome: Option<Outcome>) -> Option<State> {
        let (after, possible) = match self {
            Operation::Read => (state, Outcome::Value(state)),
            Operation::Decline => (state, Outcome::Done),
            Operation::Upsert(value) => (Some(value), Outcome::Done),
            Operation::Delete => (None, Outcome::Done),
            Operation::Remove => (None, Outcome::Value(state)),
            Operation::InsertIfAbsent(value) => (state.or(Some(value)), Outcome::Inserted(state.is_none())),
            Operation::CompareExchange { expected, new } if state == Some(expected) => {
                (Some(new), Outcome::Exchanged)
            }
            Operation::CompareExchange { .. } => (state, Outcome::Differs(state)),
            Operation::Add(delta) => {
                let sum = state.unwrap_or(0).wrapping_add(delta);
                let possible = match outcome {
                    Some(Outcome::Done) => Outcome::Done,
                    Some(Outcome::Inserted(_)) => Outcome::Inserted(state.is_none()),
                    Some(Outcome::Added { .. }) => Outcome::Added { sum, created: state.is_none() },
                    _ => Outcome::Sum(sum),
                };
                (Some(sum), possible)
            }
        };
        match outcome {
            Some(outcome) if outcome != possible => None,
            _ => Some(after),
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}, ", self.called)?;
        match self.ended() {
            NEVER => write!(f, "never")?,
            at => write!(f, "{at}")?,
        }
        write!(f, "] thread {}: {:?} -> ", self.thread, self.operation)?;
        match self.outcome() {
            Some(outcome) => write!(f, "{outcome:?}"),
            None => write!(f, "no answer"),
        }
    }
}
