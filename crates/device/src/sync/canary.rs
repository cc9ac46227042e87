//! Planted bugs: a switch that breaks the production code on purpose, to prove that the judges notice.
//!
//! Callers: production code of every crate, at the one place where a protocol step could be left out:
//!
//! ```text
//! if !canary::armed("skip_safe_head_drain") {
//!     self.drain_readers();          // the step that the canary leaves out
//! }
//! ```
//!
//! In ordinary builds [`armed`] is a constant `false`, so the planted bug is not compiled at all. Under
//! `--cfg canaries` one canary at most is armed in a process: the one that `arm` was called with, else the one that
//! the environment variable `OXIFASTER_CANARY` names, else none.
//!
//! Rules, watched by tests of `oxifaster-sim`:
//! 1. Every name that is planted is listed in [`ALL`], and every listed name is planted.
//! 2. Every canary names the judge that must fail when it is armed; `judge canaries` runs them all.

/// A planted bug and the judge that must catch it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Canary {
    /// What production code asks [`armed`] for, and what `OXIFASTER_CANARY` names.
    pub name: &'static str,
    /// What goes wrong when it is armed, in one sentence.
    pub story: &'static str,
    /// Arguments of the judge that must fail, as on the command line: `"linearize --operations 500000"`.
    pub judge: &'static str,
}

/// Every canary that is planted, by name. Whoever plants one adds it here.
pub const ALL: &[Canary] = &[];

/// The environment variable that names the armed canary.
pub const ENVIRONMENT_VARIABLE: &str = "OXIFASTER_CANARY";

/// Whether the canary called `name` is armed: never, in an ordinary build.
#[cfg(not(canaries))]
#[inline(always)]
#[must_use]
pub const fn armed(_name: &'static str) -> bool {
    false
}

#[cfg(canaries)]
pub use switch::{arm, armed};

#[cfg(canaries)]
mod switch {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::{ALL, ENVIRONMENT_VARIABLE};

    // std's atomic even under loom: the switch is set before a model starts and is no part of what is modelled.
    static STATE: AtomicUsize = AtomicUsize::new(NOT_READ);
    const NOT_READ: usize = 0;
    const NONE: usize = 1;
    // STATE - FIRST is the place in ALL.
    const FIRST: usize = 2;

    /// Whether the canary called `name` is armed.
    ///
    /// # Panics
    /// When the environment variable names no canary.
    #[inline]
    #[must_use]
    pub fn armed(name: &'static str) -> bool {
        // Relaxed: the value is a constant of the process for all that a judge observes.
        match STATE.load(Ordering::Relaxed) {
            NONE => false,
            NOT_READ => {
                arm(std::env::var(ENVIRONMENT_VARIABLE).ok().filter(|named| !named.is_empty()).as_deref());
                armed(name)
            }
            state => ALL.get(state - FIRST).is_some_and(|canary| canary.name == name),
        }
    }

    /// Arms one canary of the process, or none, whatever the environment says.
    ///
    /// # Panics
    /// When there is no canary of that name: a judge that breaks nothing proves nothing.
    pub fn arm(name: Option<&str>) {
        let state = match name {
            None => NONE,
            Some(name) => {
                let place = ALL.iter().position(|canary| canary.name == name);
                assert!(place.is_some(), "there is no canary called {name:?}");
                place.map_or(NONE, |place| FIRST + place)
            }
        };
        STATE.store(state, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::{ALL, armed};

    #[test]
    fn nothing_is_armed_by_default() {
        assert!(!armed("a_name_that_nobody_plants"));
    }

    #[test]
    fn names_are_unique_and_every_canary_has_its_judge() {
        for (place, canary) in ALL.iter().enumerate() {
            assert!(!canary.story.is_empty(), "{} has no story", canary.name);
            assert!(!canary.judge.is_empty(), "{} has no judge", canary.name);
            assert!(ALL[place + 1..].iter().all(|other| other.name != canary.name), "{} twice", canary.name);
        }
    }

    #[cfg(canaries)]
    #[test]
    fn one_canary_at_most_is_armed() {
        super::arm(None);
        for canary in ALL {
            super::arm(Some(canary.name));
            assert!(ALL.iter().all(|other| armed(other.name) == (other.name == canary.name)));
        }
        super::arm(None);
        assert!(ALL.iter().all(|canary| !armed(canary.name)));
    }
}
