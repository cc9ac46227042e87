//! Judges: programs of `crates/sim` that decide whether what a crash or a race left is allowed; and the canaries, bugs
//! planted on purpose (`--cfg canaries`), which prove that a judge catches what it must.
//!
//! All judges are subcommands of one binary, `judge`. A judge prints its seed, takes `--long`, and exits with 0 when all was
//! well. `judge canaries`, in a build with the planted bugs, arms each in turn and exits with 0 when each was caught.

use std::io::ErrorKind;
use std::path::Path;

use crate::command::CommandLine;
use crate::step::Outcome;
use crate::workspace::Workspace;

/// The judges that the gate runs, in order. Adding one is adding its name.
const JUDGES: &[&str] = &[
    "model",
    "linearize",
    CRASH_JUDGE,
    "bitflips",
    "beyond-memory",
    "log-power-loss",
    "log-cuts",
    "log-damage",
    "log-io-errors",
    "log-kill",
    "log-follow",
];

/// How much of what a judge found the reason of a failure repeats.
const BLAME_CHARACTERS: usize = 300;

/// The judge that kills and recovers.
const CRASH_JUDGE: &str = "crash";

/// Runs every judge, long with `--long`.
pub(crate) fn judges(workspace: &Workspace) -> Outcome {
    run_each(workspace, JUDGES)
}

/// Runs the crash judge alone.
pub(crate) fn crash(workspace: &Workspace) -> Outcome {
    run_each(workspace, &[CRASH_JUDGE])
}

fn run_each(workspace: &Workspace, judges: &[&str]) -> Outcome {
    let blame = workspace.separate_target("blame.txt");
    let mut failed = Vec::new();
    for judge in judges {
        let mut line = judge_command(workspace, judge).args(["--blame".as_ref(), blame.as_os_str()]);
        if workspace.flag("--long") {
            line = line.args(["--long"]);
        }
        if let Err(error) = std::fs::remove_file(&blame)
            && error.kind() != ErrorKind::NotFound
        {
            return Outcome::Failed(format!("could not remove {}: {error}", blame.display()));
        }
        if line.run() != Outcome::Passed {
            failed.push(format!("{judge}: {}", blamed(&blame)));
        }
    }
    if failed.is_empty() { Outcome::Passed } else { Outcome::Failed(failed.join("; ")) }
}

/// The beginning of what a judge wrote when it ended: the table is what is left of a run whose output was cut.
fn blamed(file: &Path) -> String {
    match std::fs::read_to_string(file) {
        Ok(text) => text.lines().next().unwrap_or_default().chars().take(BLAME_CHARACTERS).collect(),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            "no verdict: it was killed, or not built".to_owned()
        }
        Err(error) => format!("its verdict could not be read: {error}"),
    }
}

/// Builds with the planted bugs, in a target folder of its own, and lets the judges catch each.
pub(crate) fn canaries(workspace: &Workspace) -> Outcome {
    let program = workspace.root().join("crates/sim/src/bin/judge.rs");
    match std::fs::read_to_string(&program) {
        Ok(source) if source.contains("Canaries") => {}
        Ok(_) => return Outcome::Skipped("`judge` has no subcommand `canaries` yet".into()),
        Err(error) => return Outcome::Failed(format!("could not read {}: {error}", program.display())),
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
