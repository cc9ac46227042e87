//! Scenario tests: what went wrong for users of earlier implementations of this design, each kept from coming back by a
//! test of that name. This table grows from `Open` to `Covered` and never shrinks.

use std::collections::BTreeSet;

use crate::source::words;

/// Whether a scenario has its test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// A `#[test]` of this name exists, and must go on existing.
    Covered,
    /// Nothing promises this yet.
    Open,
}
use State::Open;

/// All scenarios by name.
pub(crate) const SCENARIOS: &[(&str, State)] = &[
    // Store.
    ("ring_wrap", Open),
    ("lost_rmw", Open),
    ("torn_value", Open),
    ("lost_insert", Open),
    ("duplicate_tag", Open),
    ("rmw_cold", Open),
    ("insert_if_absent_cold", Open),
    ("rmw_missing", Open),
    ("in_place_upsert", Open),
    ("idle_session", Open),
    ("session_moves_threads", Open),
    ("async_cold", Open),
    ("reopen", Open),
    ("file_size", Open),
    ("crash_after_compaction", Open),
    ("disk_is_given_back", Open),
    ("compact_cold", Open),
    ("compact_vs_update", Open),
    ("grow_index", Open),
    ("recover_smaller", Open),
    ("grow_with_read_cache", Open),
    ("page_turn_stall", Open),
    ("many_checkpoints", Open),
    ("write_order_of_one_page", Open),
    ("many_keys_one_tag", Open),
    ("null_disk_full", Open),
    ("stale_timeline", Open),
    ("chain_order", Open),
    ("view_during_update", Open),
    ("closure_panics", Open),
    ("dropped_future", Open),
    ("stale_lock_file", Open),
    ("values_near_a_page", Open),
    ("zero_and_extreme_keys", Open),
    ("small_after_large", Open),
    // Checkpoint and recovery.
    ("checkpoint_prefix", Open),
    ("checkpoint_after_wrap", Open),
    ("checkpoint_large", Open),
    ("half_checkpoint", Open),
    ("io_error_is_not_success", Open),
    ("fsync_fails_once", Open),
    ("disk_full", Open),
    ("bit_rot", Open),
    ("checkpoint_stall", Open),
    ("emergency_close", Open),
    ("two_stores_one_folder", Open),
    ("graceful_shutdown", Open),
    // FasterLog.
    ("commit_is_durable", Open),
    ("log_backpressure", Open),
    ("append_in_flight", Open),
    ("old_entry_after_cut", Open),
    ("damage_below_commit", Open),
    ("oversized_entry", Open),
    ("truncate_then_restart", Open),
    // F2.
    ("f2_delete_then_rmw", Open),
    ("f2_checkpoint_sessions", Open),
    ("f2_read_cache_kept", Open),
    ("f2_fresh_checkout", Open),
    ("false_absence", Open),
    ("f2_recover", Open),
];

/// Complaints: a covered scenario without its test, and one that has a test and is still called open.
pub(crate) fn check(scenarios: &[(&str, State)], tests: &BTreeSet<String>) -> Vec<String> {
    let mut complaints = Vec::new();
    for &(name, state) in scenarios {
        match (state, tests.contains(name)) {
            (State::Covered, false) => complaints.push(format!("the scenario test `{name}` is gone")),
            (State::Open, true) => complaints.push(format!(
                "the scenario `{name}` has its test now: say Covered in tests/tidy/scenarios.rs"
            )),
            _ => {}
        }
    }
    complaints
}

/// Names of the functions behind `#[test]`, other attributes aside.
pub(crate) fn test_names(code: &str) -> Vec<String> {
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
        let tests = BTreeSet::from(["ring_wrap".to_owned()]);
        assert!(check(&[("ring_wrap", State::Covered), ("bit_rot", State::Open)], &tests).is_empty());
        assert_eq!(check(&[("bit_rot", State::Covered)], &tests).len(), 1);
        assert_eq!(check(&[("ring_wrap", State::Open)], &tests).len(), 1);
    }

    #[test]
    fn tests_are_found_by_their_attribute() {
        let code = "#[test]\n#[cfg(unix)]\nfn ring_wrap() {}\nfn bit_rot() {}\n#[test] fn torn_value() {}";
        assert_eq!(test_names(code), ["ring_wrap", "torn_value"]);
    }
}
