//! The linearizability checker: takes histories round by round and says whether, or where not.
//!
//! Keys are independent of each other (a history is linearizable if each key's part is), so each is walked on its own.
//! Between two rounds nothing is in flight; the checker carries over which values each key may have.

use std::collections::HashMap;
use std::ops::AddAssign;

use super::event::{Event, Response, State};
use super::frontier::{Frontier, Undecided};
use super::rejection::{Rejection, Violation};

/// What was checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Operations.
    pub operations: u64,
    /// Operations that overlapped another one of the same key: where the difficulty lies.
    pub overlapping: u64,
    /// Largest number of configurations that one answer had to be explained from.
    pub configurations_max: usize,
}

impl AddAssign for Checked {
    fn add_assign(&mut self, other: Self) {
        self.operations += other.operations;
        self.overlapping += other.overlapping;
        self.configurations_max = self.configurations_max.max(other.configurations_max);
    }
}

/// Checks the rounds of a history. A key that was never seen is absent.
///
/// ```
/// use oxifaster_sim::history::{Checker, Operation, Order, Outcome, Recorder};
///
/// let order = Order::new();
/// let mut recorder = Recorder::new(&order, 0, 2);
/// let call = recorder.call(1, Operation::Upsert(10));
/// recorder.answer(call, Outcome::Done);
/// let call = recorder.call(1, Operation::Read);
/// recorder.answer(call, Outcome::Value(None)); // stale
///
/// let rejection = Checker::new().check(recorder.into_events()).unwrap_err();
/// assert!(rejection.to_string().contains("no order of these operations explains all answers"));
/// ```
#[derive(Debug, Default)]
pub struct Checker {
    /// Possible values of keys between two rounds, where that is not just "absent".
    states: HashMap<u64, Vec<State>>,
    checked: Checked,
}

impl Checker {
    /// All keys are absent.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A key's possible values from here on, for a store that was not empty.
    pub fn set_states(&mut self, key: u64, states: Vec<State>) {
        self.states.insert(key, states);
    }

    /// The values that a key may have after the rounds checked so far.
    #[must_use]
    pub fn states(&self, key: u64) -> &[State] {
        self.states.get(&key).map_or(&[None], Vec::as_slice)
    }

    /// All that was checked.
    #[must_use]
    pub fn checked(&self) -> Checked {
        self.checked
    }

    /// Checks a round: the events of all threads, in any order. Between rounds nothing may be in flight; what was lost for ever
    /// counts as over at the end of its round.
    ///
    /// # Errors
    /// The first rejection, by key.
    pub fn check(&mut self, mut events: Vec<Event>) -> Result<Checked, Box<Rejection>> {
        if let Some(event) = events.iter().find(|event| !event.is_well_formed()) {
            return Err(Box::new(Rejection::Malformed(*event)));
        }
        events.sort_unstable_by_key(|event| (event.key, event.called));
        let mut round = Checked::default();
        for history in events.chunk_by(|one, other| one.key == other.key) {
            round += self.check_key(history)?;
        }
        self.checked += round;
        Ok(round)
    }

    /// One key's part of a round, sorted by calls.
    fn check_key(&mut self, history: &[Event]) -> Result<Checked, Box<Rejection>> {
        let Some(&Event { key, .. }) = history.first() else { return Ok(Checked::default()) };
        let mut frontier = Frontier::new(self.states(key));
        let mut overlapping = 0;
        let unexplained = walk(&mut frontier, history, |_, _, alone| overlapping += u64::from(!alone))
            .map_err(|reason| Box::new(Rejection::Undecided { key, reason }))?;
        if let Some(unexplained) = unexplained {
            return Err(Box::new(Rejection::NotLinearizable(self.explain(history, unexplained))));
        }
        let states = frontier.states();
        if states.as_slice() == [None] {
            self.states.remove(&key);
        } else {
            self.states.insert(key, states);
        }
        Ok(Checked { operations: history.len() as u64, overlapping, configurations_max: frontier.largest() })
    }

    /// Walks a rejected history again, to cut out the part that shows the contradiction.
    fn explain(&self, history: &[Event], unexplained: Event) -> Violation {
        let mut frontier = Frontier::new(self.states(unexplained.key));
        let mut before = frontier.states();
        let mut window_called = 0;
        // Lost operations that were open at the start of the window stay part of it, and then the values from before their
        // calls are what the window has to start from: so the cut is made only where nothing at all is open.
        let _ = walk(&mut frontier, history, |frontier, event, _| {
            if frontier.is_idle() {
                before = frontier.states();
                window_called = event.called;
            }
        });
        let window = history
            .iter()
            .filter(|event| event.called >= window_called && event.called <= unexplained.ended());
        Violation::new(before, window.copied().collect(), unexplained, history)
    }
}

/// Walks along one key's events, sorted by calls. Before each, tells `at_call` the frontier, the event, and whether nothing
/// overlaps it. Returns the event that ended first of those whose answer nothing explains, if there is one.
///
/// # Errors
/// When the frontier gets too large.
pub(super) fn walk(
    frontier: &mut Frontier,
    history: &[Event],
    mut at_call: impl FnMut(&Frontier, &Event, bool),
) -> Result<Option<Event>, Undecided> {
    // Ends of the operations in flight, the earliest first.
    let mut running: Vec<Event> = Vec::new();
    for (place, event) in history.iter().enumerate() {
        while let Some(first) = running.last().filter(|first| first.ended() < event.called).copied() {
            running.pop();
            if !frontier.end(&first)? {
                return Ok(Some(first));
            }
        }
        let overlapped = history.get(place + 1).is_some_and(|next| next.called <= event.ended());
        let alone = !overlapped && frontier.is_idle() && matches!(event.response, Response::Answered(..));
        at_call(frontier, event, alone);
        if alone {
            if !frontier.alone(event) {
                return Ok(Some(*event));
            }
            continue;
        }
        frontier.call(event)?;
        let at = running.partition_point(|other| other.ended() > event.ended());
        running.insert(at, *event);
    }
    while let Some(first) = running.pop() {
        if !frontier.end(&first)? {
            return Ok(Some(first));
        }
    }
    Ok(None)
}
