//! Scenario tests: what went wrong for users of earlier implementations of this design, each kept from coming back by a
//! test of that name. This table grows from `Open` to `Covered` and never shrinks.

use std::collections::BTreeSet;

use crate::repository::TextFile;
use crate::source::words;

/// Whether a scenario has its test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// A `#[test]` of this name exists, and must go on existing.
    Covered,
    /// Nothing promises this yet.
    Open,
}
use State::{Covered, Open};

/// All scenarios by name.
pub(crate) const SCENARIOS: &[(&str, State)] = &[
    // Store.
    ("ring_wrap", Covered),
    ("lost_rmw", Covered),
    ("torn_value", Covered),
    ("lost_insert", Covered),
    ("duplicate_tag", Covered),
    ("rmw_cold", Covered),
    ("insert_if_absent_cold", Covered),
    ("rmw_missing", Covered),
    ("in_place_upsert", Covered),
    ("idle_session", Covered),
    ("session_moves_threads", Covered),
    ("async_cold", Covered),
    ("reopen", Covered),
    ("file_size", Covered),
    ("crash_after_compaction", Open),
    ("disk_is_given_back", Open),
    ("compact_cold", Open),
    ("compact_vs_update", Open),
    ("grow_index", Open),
    ("recover_smaller", Covered),
    ("grow_with_read_cache", Open),
    ("page_turn_stall", Covered),
    ("many_checkpoints", Open),
    ("write_order_of_one_page", Covered),
    ("many_keys_one_tag", Covered),
    ("null_disk_full", Covered),
    ("stale_timeline", Covered),
    ("chain_order", Covered),
    ("view_during_update", Covered),
    ("closure_panics", Covered),
    ("dropped_future", Covered),
    ("stale_lock_file", Covered),
    ("values_near_a_page", Covered),
    ("zero_and_extreme_keys", Covered),
    ("small_after_large", Covered),
    // Checkpoint and recovery.
    ("checkpoint_prefix", Open),
    ("checkpoint_after_wrap", Open),
    ("checkpoint_large", Open),
    ("half_checkpoint", Open),
    ("io_error_is_not_success", Covered),
    ("fsync_fails_once", Covered),
    ("disk_full", Covered),
    ("bit_rot", Covered),
    ("checkpoint_stall", Open),
    ("emergency_close", Open),
    ("two_stores_one_folder", Covered),
    ("graceful_shutdown", Covered),
    // FasterLog.
    ("commit_is_durable", Covered),
    ("log_backpressure", Covered),
    ("append_in_flight", Covered),
    ("old_entry_after_cut", Covered),
    ("damage_below_commit", Covered),
    ("oversized_entry", Covered),
    ("truncate_then_restart", Covered),
    // F2.
    ("f2_delete_then_rmw", Open),
    ("f2_checkpoint_sessions", Open),
    ("f2_read_cache_kept", Open),
    ("f2_fresh_checkout", Open),
    ("false_absence", Open),
    ("f2_recover", Open),
];

/// Names of the tests there are.
#[derive(Debug, Default)]
pub(crate) struct Tests {
    /// Everywhere.
    all: BTreeSet<String>,
    /// Black-box tests: those in a folder `tests/`. A unit test may have a scenario's name and prove only a part of it.
    black_box: BTreeSet<String>,
}

impl Tests {
    pub(crate) fn add(&mut self, file: &TextFile) {
        let names = test_names(&file.code());
        if file.path.starts_with("tests/") || file.path.contains("/tests/") {
            self.black_box.extend(names.iter().cloned());
        }
        self.all.extend(names);
    }
}

/// Complaints: a covered scenario without its test, and one that has a black-box test and is still called open.
pub(crate) fn check(scenarios: &[(&str, State)], tests: &Tests) -> Vec<String> {
    let mut complaints = Vec::new();
    for &(name, state) in scenarios {
        if state == State::Covered && !tests.all.contains(name) {
            complaints.push(format!("the scenario test `{name}` is gone"));
        }
        if state == State::Open && tests.black_box.contains(name) {
            complaints
                .push(format!("the scenario `{name}` has its test: say Covered in tests/tidy/scenarios.rs"));
        }
    }
    complaints
}

/// Names of the functions behind `#[test]`, other attributes aside.
fn test_names(code: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (position, mark) in code.match_indices("#[test]") {
        let rest = code.get(position + mark.len()..).unwrap_or("");
        let Some(start) = words(rest, "fn").next() else { continue };
        let after = rest.get(start + "fn".len()..).unwrap_or("").trim_start();
        let name: String =
            after.chars().take_while(|&character| character.is_alphanumeric() || character == '_').collect();
        names.push(name);
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn covered_scenarios_must_have_their_test() {
        let mut tests = Tests::default();
        tests.add(&TextFile::new("tests/memory.rs", "#[test]\nfn ring_wrap() {}"));
        tests.add(&TextFile::new("crates/core/src/index/tests.rs", "#[test]\nfn duplicate_tag() {}"));
        let complaints = |name, state| check(&[(name, state)], &tests).len();
        assert_eq!(complaints("ring_wrap", Covered), 0);
        assert_eq!(complaints("duplicate_tag", Covered), 0);
        assert_eq!(complaints("bit_rot", Covered), 1);
        assert_eq!(complaints("ring_wrap", Open), 1);
        assert_eq!(complaints("duplicate_tag", Open), 0);
        assert_eq!(complaints("bit_rot", Open), 0);
    }

    #[test]
    fn tests_are_found_by_their_attribute() {
        let code = "#[test]\n#[cfg(unix)]\nfn ring_wrap() {}\nfn bit_rot() {}\n#[test] fn torn_value() {}";
        assert_eq!(test_names(code), ["ring_wrap", "torn_value"]);
    }
}
