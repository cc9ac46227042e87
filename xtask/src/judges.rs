//! Judges: programs of `crates/sim` that decide whether what a crash or a race left is allowed; and the canaries, bugs
//! planted on purpose (`--cfg canaries`), which prove that a judge catches what it must.
//!
//! A judge is a binary of `crates/sim`. It prints its seed, takes `--long`, and exits with 0 when all was well.

use crate::command::CommandLine;
use crate::step::Outcome;
use crate::workspace::Workspace;

/// The judges, in the order in which they run.
const JUDGES: &[&str] = &[];

/// The judge that kills and recovers.
const CRASH_JUDGE: &str = "crash";

/// Runs every judge, long with `--long`.
pub(crate) fn judges(workspace: &Workspace) -> Outcome {
    run(workspace, JUDGES)
}

/// Runs the crash judge alone.
pub(crate) fn crash(workspace: &Workspace) -> Outcome {
    let known: Vec<&str> = JUDGES.iter().copied().filter(|&judge| judge == CRASH_JUDGE).collect();
    run(workspace, &known)
}

fn run(workspace: &Workspace, judges: &[&str]) -> Outcome {
    if judges.is_empty() {
        return Outcome::Skipped("crates/sim has no such judge yet".into());
    }
    let mut outcome = Outcome::Passed;
    for judge in judges {
        let mut line = CommandLine::cargo(workspace.root()).args([
            "run",
            "--quiet",
            "--profile",
            "test",
            "--package",
            "oxifaster-sim",
            "--bin",
            judge,
            "--",
        ]);
        if workspace.flag("--long") {
            line = line.args(["--long"]);
        }
        if let failed @ Outcome::Failed(_) = line.run() {
            outcome = failed;
        }
    }
    outcome
}

/// Builds with the planted bugs and runs the tests that say which judge must catch which.
pub(crate) fn canaries(_workspace: &Workspace) -> Outcome {
    Outcome::Skipped("no bug is planted yet".into())
}
