//! What the checker says about a history that it does not accept: where, and as little as explains it.

use std::fmt;

use super::checker::walk;
use super::event::{Event, Operation, Outcome, State};
use super::frontier::{Frontier, Undecided};

/// Why a history was not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// No order of the operations explains the answers.
    NotLinearizable(Violation),
    /// An answer that its operation can't give, or one that came before the call: a fault of the judge.
    Malformed(Event),
    /// The checker gave up on this key. That is not an acceptance.
    Undecided {
        /// The key.
        key: u64,
        /// Why.
        reason: Undecided,
    },
}

/// The first answer of a key that nothing explains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The key.
    pub key: u64,
    /// The values that were possible before the first operation of `window`.
    pub before: Vec<State>,
    /// The operations since nothing was in flight, in the order of their calls; without observations that are not needed to
    /// show the contradiction. Operations that were still running when `unexplained` was answered are among them.
    pub window: Vec<Event>,
    /// The operation whose answer has no explanation.
    pub unexplained: Event,
    /// Whether the value that it tells was ever written to this key. `None` when it tells none, or when sums were made.
    pub was_written: Option<bool>,
}

impl Violation {
    /// Reduces `window`, at whose end `unexplained` was answered, to what is needed; `all` is the key's whole history.
    pub(super) fn new(before: Vec<State>, mut window: Vec<Event>, unexplained: Event, all: &[Event]) -> Self {
        window.sort_by_key(|event| event.called);
        // Only observations may be left out: without somebody's write an innocent read would become inexplicable.
        let mut place = 0;
        while let Some(&event) = window.get(place) {
            let mut fewer = window.clone();
            fewer.remove(place);
            if event.is_observation() && contradicts(&before, &fewer, unexplained.ended()) {
                window = fewer;
            } else {
                place += 1;
            }
        }
        let was_written = was_written(&unexplained, &before, all);
        Self { key: unexplained.key, before, window, unexplained, was_written }
    }
}

/// Whether no order explains what of `window` was answered until `time`, starting from `before`. What was answered later may
/// lack its explanation only because the window ends.
fn contradicts(before: &[State], window: &[Event], time: u64) -> bool {
    let mut frontier = Frontier::new(before);
    matches!(walk(&mut frontier, window, |_, _, _| {}), Ok(Some(first)) if first.ended() <= time)
}

/// See [`Violation::was_written`].
fn was_written(unexplained: &Event, before: &[State], all: &[Event]) -> Option<bool> {
    let value = match unexplained.outcome()? {
        Outcome::Value(value) | Outcome::Differs(value) => value?,
        _ => return None,
    };
    let mut written = before.contains(&Some(value));
    for event in all {
        match event.operation {
            Operation::Add(_) => return None,
            Operation::Upsert(new)
            | Operation::InsertIfAbsent(new)
            | Operation::CompareExchange { new, .. } => {
                written |= new == value;
            }
            Operation::Read | Operation::Delete | Operation::Remove | Operation::Decline => {}
        }
    }
    Some(written)
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "key {}: no order of these operations explains all answers", self.key)?;
        match self.before.as_slice() {
            [state] => writeln!(f, "  value before: {state:?}")?,
            states => writeln!(f, "  value before, one of: {states:?}")?,
        }
        for event in &self.window {
            let mark = if *event == self.unexplained { "->" } else { "  " };
            writeln!(f, "{mark} {event}")?;
        }
        match self.was_written {
            Some(false) => writeln!(f, "  the value it tells was never written to this key"),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rejection::NotLinearizable(violation) => violation.fmt(f),
            Rejection::Malformed(event) => write!(f, "key {}: malformed event {event}", event.key),
            Rejection::Undecided { key, reason } => write!(f, "key {key}: undecided: {reason:?}"),
        }
    }
}
