//! Walks along a key's history and keeps every way in which things may stand at this moment.
//!
//! The search of Wing and Gong with Lowe's memoization, in the order of time (Lowe's *just-in-time* form): an operation
//! takes a slot when it is called and gives it back when it is answered. In between it may take effect at any moment; but
//! *when* only matters if somebody sees it. So nothing is decided before an answer forces it:
//!
//! ```text
//!   call      the operation is open; no configuration changes
//!   answer    each configuration in which it has not taken effect yet is continued by every order of open operations that
//!             ends with it and gives every answer that was really given; configurations without such an order die
//!   lost      as an answer that says nothing; but the configurations in which it never takes effect live on, too
//! ```
//!
//! The history is linearizable if and only if a configuration survives. Equal configurations are one (that is the
//! memoization), so the work per answer is bounded by 2^open x states, and not by the length of the history; quiescent
//! points, where nothing is open, need no special treatment.
//!
//! Two reductions keep this small when there are many readers. An *observation* (its answer says that it changed nothing) is
//! given effect as early as the state allows it. Nothing is lost: whatever order continues from the configuration
//! without it also continues, with it left out, from the one with it. For the same reason a configuration is dropped when another
//! one differs from it only in having seen more.

use super::configurations::{Configuration, Configurations};
use super::event::{Event, Response, State};

/// Why a history could not be decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undecided {
    /// More than 128 operations on one key were open at once.
    TooManyOpen,
    /// More than [`CONFIGURATIONS_MAX`] configurations were possible at once.
    TooManyConfigurations,
}

/// Configurations that are kept at most for one key.
pub const CONFIGURATIONS_MAX: usize = 1 << 20;

/// All ways in which things may stand.
#[derive(Clone, Debug)]
pub(super) struct Frontier {
    configurations: Configurations,
    /// Open operations with their slots.
    open: Vec<(u32, Event)>,
    taken: u128,
    largest: usize,
}

impl Frontier {
    /// Nothing is open, and the value is one of `states`.
    pub(super) fn new(states: &[State]) -> Self {
        let mut frontier =
            Self { configurations: Configurations::default(), open: Vec::new(), taken: 0, largest: 0 };
        frontier.restart(states);
        frontier
    }

    /// As new.
    pub(super) fn restart(&mut self, states: &[State]) {
        self.configurations.clear();
        self.open.clear();
        self.taken = 0;
        for &state in states {
            self.configurations.insert(Configuration { done: 0, seen: 0, state });
        }
    }

    /// No operation is open at all.
    pub(super) fn is_idle(&self) -> bool {
        self.open.is_empty()
    }

    /// Largest number of configurations that were looked at together.
    pub(super) fn largest(&self) -> usize {
        self.largest.max(self.configurations.len())
    }

    /// The possible values, sorted, each once.
    pub(super) fn states(&self) -> Vec<State> {
        let mut states: Vec<State> = self.configurations.iter().map(|found| found.state).collect();
        states.sort_unstable();
        states.dedup();
        states
    }

    /// An operation that nothing overlaps; says whether anything survives. Only while idle.
    #[inline]
    pub(super) fn alone(&mut self, event: &Event) -> bool {
        let outcome = event.outcome();
        let operation = event.operation;
        self.configurations.change(|found| {
            let state = operation.apply(found.state, outcome)?;
            Some(Configuration { state, ..found })
        });
        self.configurations.len() > 0
    }

    /// An operation is called.
    ///
    /// # Errors
    /// `TooManyOpen`.
    pub(super) fn call(&mut self, event: &Event) -> Result<(), Undecided> {
        let slot = self.taken.trailing_ones();
        if slot == u128::BITS {
            return Err(Undecided::TooManyOpen);
        }
        self.taken |= 1 << slot;
        self.open.push((slot, *event));
        if event.is_observation() {
            self.configurations.change(|found| {
                Some(Configuration { seen: found.seen | seen(slot, event, found.state), ..found })
            });
        }
        Ok(())
    }

    /// An open operation ends; says whether anything survives.
    ///
    /// # Errors
    /// `TooManyConfigurations`.
    pub(super) fn end(&mut self, event: &Event) -> Result<bool, Undecided> {
        let Some(place) = self.open.iter().position(|(_, open)| open == event) else { return Ok(true) };
        let slot = self.open.get(place).map_or(0, |&(slot, _)| slot);
        let bit = 1_u128 << slot;
        let lost = matches!(event.response, Response::Lost(_));
        if self.configurations.iter().any(|found| (found.done | found.seen) & bit == 0) {
            self.force(bit, lost)?;
        }
        self.open.swap_remove(place);
        self.taken &= !bit;
        let without_bit = |found: Configuration| Configuration {
            done: found.done & !bit,
            seen: found.seen & !bit,
            state: found.state,
        };
        self.configurations.change(|found| Some(without_bit(found)));
        Ok(self.configurations.len() > 0)
    }

    /// Continues every configuration until the operation of `bit` has taken effect, and keeps those in which it has; with
    /// `keep_others` also those from which this began.
    fn force(&mut self, bit: u128, keep_others: bool) -> Result<(), Undecided> {
        let mut found = std::mem::take(&mut self.configurations);
        if keep_others {
            self.configurations = found.clone();
        }
        let mut next = 0;
        while next < found.places() {
            let Some(configuration) = found.get(next) else {
                next += 1;
                continue;
            };
            next += 1;
            if (configuration.done | configuration.seen) & bit != 0 {
                self.configurations.insert(configuration);
                continue;
            }
            for (slot, event) in &self.open {
                // Observations that this state allows have taken effect already, and others can't in this state.
                if configuration.done & (1 << slot) != 0 || event.is_observation() {
                    continue;
                }
                let Some(state) = event.operation.apply(configuration.state, event.outcome()) else {
                    continue;
                };
                let lost = matches!(event.response, Response::Lost(_));
                if lost && state == configuration.state {
                    // It changes nothing now and may still do so later: the configuration without it can do all this can.
                    continue;
                }
                let done = configuration.done | 1 << slot;
                let sees = self.open.iter().map(|(slot, observer)| seen(*slot, observer, state));
                let seen = sees.fold(configuration.seen, |seen, bit| seen | bit);
                found.insert(Configuration { done, seen, state });
            }
            if found.len() > CONFIGURATIONS_MAX {
                return Err(Undecided::TooManyConfigurations);
            }
        }
        self.largest = self.largest.max(found.len());
        Ok(())
    }
}

/// The bit of `slot` if `event` is an observation of `state`, else 0.
fn seen(slot: u32, event: &Event, state: State) -> u128 {
    let sees = event.is_observation() && event.operation.apply(state, event.outcome()).is_some();
    u128::from(sees) << slot
}
