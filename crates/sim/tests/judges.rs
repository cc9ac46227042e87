//! The judges run with small numbers on the real store; the program `judge` runs them with large ones.

use oxifaster_sim::judges::linearize::{self, LinearizeOptions};
use oxifaster_sim::judges::model::{self, ModelOptions};

#[test]
fn model() {
    let options = ModelOptions { seed: 1, runs: 40, steps_max: 600, faults: true, minimizing_runs: 300 };
    let report = model::judge(&options, &mut |message| eprintln!("{message}"));
    assert_eq!(report.guilty(), None, "{report}");
    assert!(report.count("crashes_with_contents") > Some(100), "{report}");
}

fn histories(operations: u64, crash: bool) -> LinearizeOptions {
    LinearizeOptions { seed: 1, operations, operations_per_round: operations / 8, threads: 4, crash }
}

#[test]
fn linearize() {
    let report = linearize::judge(&histories(400_000, false), &mut |message| eprintln!("{message}"));
    assert_eq!(report.guilty(), None, "{report}");
    assert!(report.count("pages_evicted") > Some(10) && report.count("device_reads") > Some(10), "{report}");
    assert!(report.count("overlapping") > Some(100), "{report}");
}

#[test]
fn crash() {
    let report = linearize::judge(&histories(150_000, true), &mut |message| eprintln!("{message}"));
    assert_eq!(report.guilty(), None, "{report}");
    assert!(report.count("keys_found") > Some(100), "{report}");
}
