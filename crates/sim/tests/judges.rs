//! The judges run with small numbers on the real store; the program `judge` runs them with large ones.

use oxifaster_sim::judges::model::{ModelOptions, judge};

#[test]
fn model() {
    let options = ModelOptions { seed: 1, runs: 40, steps_max: 600, faults: true, minimizing_runs: 300 };
    let report = judge(&options, &mut |message| eprintln!("{message}"));
    assert_eq!(report.guilty(), None, "{report}");
    assert!(report.count("crashes_with_contents") > Some(100), "{report}");
}
