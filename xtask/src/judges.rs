//! Judges: programs of `crates/sim` that decide whether what a crash or a race left is allowed; and the canaries, bugs
//! planted on purpose (`--cfg canaries`), which prove that a judge catches what it must.
//!
//! All judges are subcommands of one binary, `judge`. A judge prints its seed, takes `--long`, and exits with 0 when all was
//! well. `judge canaries`, in a build with the planted bugs, arms each in turn and exits with 0 when each was caught.

use crate::command::CommandLine;
use crate::step::Outcome;
use crate::workspace::Workspace;

/// The judges that the gate runs, in order. Adding one is adding its name.
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
        let mut line = judge_command(workspace, judge);
        if workspace.flag("--long") {
            line = line.args(["--long"]);
        }
        if let failed @ Outcome::Failed(_) = line.run() {
            outcome = failed;
        }
    }
    outcome
}

/// Builds with the planted bugs, in a target folder of its own, and lets the judges catch each.
pub(crate) fn canaries(workspace: &Workspace) -> Outcome {
    if !workspace.root().join("crates/sim/src/bin/judge.rs").is_file() {
        return Outcome::Skipped("crates/sim has no program `judge` yet".into());
    }
    judge_command(workspace, "canaries")
        .env("RUSTFLAGS", "--cfg canaries")
        .env("CARGO_TARGET_DIR", workspace.separate_target("canaries"))
        .run()
}

/// The profile is the one of `cargo test`, so that the judges are built from what the tests have just compiled.
fn judge_command(workspace: &Workspace, judge: &str) -> CommandLine {
    CommandLine::cargo(workspace.root()).args([
        "run",
        "--quiet",
        "--profile",
        "test",
        "--package",
        "oxifaster-sim",
        "--bin",
        "judge",
        "--",
        judge,
    ])
}
