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
    /// Whether the judge may also find no end, within a time that it needs half of when nothing is armed.
    pub hangs: bool,
}

/// Every canary that is planted, sorted by name. Whoever plants one adds it here.
pub const ALL: &[Canary] = &[
    Canary {
        name: "accept_stale_cold_result",
        story: "a conditional operation decides on what a device search found although newer records were published since",
        judge: "linearize --operations 3000000",
        hangs: false,
    },
    Canary {
        name: "async_remove_keeps",
        story: "a remove as a future tells the value and leaves the key where it is",
        judge: "linearize --operations 3000000",
        hangs: false,
    },
    Canary {
        name: "chunk_left_zero",
        story: "tail space that a batch took and did not use is left without a header, so that the rest of its block is not seen",
        judge: "model --runs 200",
        hangs: false,
    },
    Canary {
        name: "conditional_on_dead_record",
        story: "a conditional operation takes the value of a deleted or superseded record for the current one",
        judge: "linearize --operations 3000000",
        hangs: false,
    },
    Canary {
        name: "ignore_latch",
        story: "two writers are inside of one fixed or varlen value, whose latch is then never free again",
        judge: "linearize --operations 3000000",
        hangs: true,
    },
    Canary {
        name: "ignore_short_write",
        story: "a write that moved fewer bytes than asked counts as done",
        judge: "model --runs 200",
        hangs: false,
    },
    Canary {
        name: "ignore_sync_error",
        story: "a flush whose sync failed is acknowledged",
        judge: "model --runs 200",
        hangs: false,
    },
    Canary {
        name: "ignore_write_error",
        story: "a page whose write failed counts as written",
        judge: "model --runs 200",
        hangs: false,
    },
    Canary {
        name: "keep_incarnation",
        story: "an abandoned time line is cut without a new incarnation, so that its blocks still verify",
        judge: "model --runs 1000",
        hangs: false,
    },
    Canary {
        name: "log_acknowledge_before_sync",
        story: "a commit of a log is acknowledged when it is written, before it is synced",
        judge: "log-power-loss --images 400",
        hangs: false,
    },
    Canary {
        name: "log_batch_in_pieces",
        story: "the entries of a batch take their places one by one, so that a commit can come between them",
        judge: "log-power-loss --images 1500",
        hangs: false,
    },
    Canary {
        name: "log_commit_over_open_append",
        story: "a commit covers an entry that another thread is still copying",
        judge: "log-power-loss --images 1500",
        hangs: false,
    },
    Canary {
        name: "log_cut_without_witness",
        story: "damage below an acknowledged commit is cut off as if it were a torn tail",
        judge: "log-damage --stride 37",
        hangs: false,
    },
    Canary {
        name: "log_follow_old_slots",
        story: "a reader of another process's log does not look at the metadata again, and misses cuts and new time lines",
        judge: "log-follow --kills 16",
        hangs: false,
    },
    Canary {
        name: "log_follow_unsynced_commit",
        story: "a reader of another process's log shows a commit before anybody knows that it is durable",
        judge: "log-power-loss --images 1500",
        hangs: false,
    },
    Canary {
        name: "log_ignore_short_write",
        story: "a write of log blocks that moved fewer bytes than asked counts as done",
        judge: "log-power-loss --images 400",
        hangs: false,
    },
    Canary {
        name: "log_ignore_sync_error",
        story: "a commit whose sync failed is acknowledged",
        judge: "log-power-loss --images 1500",
        hangs: false,
    },
    Canary {
        name: "log_ignore_write_error",
        story: "log blocks whose write failed count as written",
        judge: "log-power-loss --images 1500",
        hangs: false,
    },
    Canary {
        name: "log_keep_incarnation",
        story: "entries of an abandoned time line of a log still verify",
        judge: "log-power-loss --images 1500",
        hangs: false,
    },
    Canary {
        name: "log_release_unwritten",
        story: "memory of the log is taken again before it is written",
        judge: "log-power-loss --images 400",
        hangs: false,
    },
    Canary {
        name: "log_skip_entry_verification",
        story: "entries that are read are not verified",
        judge: "log-damage --stride 37",
        hangs: false,
    },
    Canary {
        name: "log_trust_unsynced_commit",
        story: "opening shows a commit that a killed process wrote and did not sync",
        judge: "log-power-loss --images 1500",
        hangs: false,
    },
    Canary {
        name: "log_written_before_done",
        story: "blocks of a log count as written when they are submitted",
        judge: "log-power-loss --images 1500",
        hangs: false,
    },
    Canary {
        name: "read_cache_by_tag",
        story: "the read cache gives a record of another address whose tag is the same",
        judge: "linearize --operations 3000000",
        hangs: false,
    },
    Canary {
        name: "read_cold_tombstone",
        story: "a read takes a tombstone on the device for a value",
        judge: "model --runs 200",
        hangs: false,
    },
    Canary {
        name: "reclaim_without_seal",
        story: "in-memory compaction copies records that are still updated in place",
        judge: "linearize --operations 3000000",
        hangs: false,
    },
    Canary {
        name: "rmw_copies_fuzzy_record",
        story: "a conditional operation copies a record that others may still change in place",
        judge: "linearize --operations 3000000",
        hangs: false,
    },
    Canary {
        name: "rmw_stores_blindly",
        story: "a read-modify-write of a word stores instead of comparing and exchanging",
        judge: "linearize --operations 3000000",
        hangs: false,
    },
    Canary {
        name: "safe_read_only_without_drain",
        story: "a record counts as immutable while operations that saw it mutable are still running",
        judge: "linearize --operations 3000000",
        hangs: false,
    },
    Canary {
        name: "skip_block_verification",
        story: "what is read from the device is not verified",
        judge: "bitflips --stride 500",
        hangs: false,
    },
    Canary {
        name: "skip_flush_sync",
        story: "a flush publishes its point before the blocks are synced",
        judge: "model --runs 200",
        hangs: false,
    },
    Canary {
        name: "skip_safe_head_drain",
        story: "a frame is reused while guards may still read it",
        judge: "linearize --operations 3000000",
        hangs: false,
    },
    Canary {
        name: "skip_sequence_check",
        story: "a read-modify-write writes over what changed since it read",
        judge: "linearize --operations 3000000",
        hangs: false,
    },
    Canary {
        name: "skip_sequence_recheck",
        story: "a reader does not notice that the value changed while it copied",
        judge: "linearize --operations 3000000",
        hangs: false,
    },
    Canary {
        name: "supersede_without_seal",
        story: "a record that a copy has superseded can still be changed",
        judge: "linearize --operations 3000000",
        hangs: false,
    },
    Canary {
        name: "turn_page_without_frame",
        story: "the tail enters a frame whose old page is not durable yet",
        judge: "linearize --operations 3000000",
        hangs: false,
    },
    Canary {
        name: "upsert_in_read_only",
        story: "an upsert changes a record in the read-only region",
        judge: "model --runs 200",
        hangs: false,
    },
];

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
