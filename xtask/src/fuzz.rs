//! libFuzzer targets in `fuzz/`, a workspace of its own, built here without cargo-fuzz.
//!
//! What cargo-fuzz would pass to the compiler is passed directly: coverage counters, the address sanitizer, `cfg(fuzzing)`.
//! The committed corpus of a target (`fuzz/corpus/TARGET/`) is its start; what it finds on the way goes to the target
//! folder, findings to `fuzz/artifacts/`. A finding becomes a unit test, and its input a corpus file.

use std::fs;
use std::path::Path;

use crate::command::CommandLine;
use crate::sanitize;
use crate::step::Outcome;
use crate::workspace::{self, Workspace};

/// How long each target runs when nobody says.
const SECONDS_PER_TARGET: u64 = 30;

/// Inputs larger than this find nothing that smaller ones do not: the largest unit that is read is a page.
const INPUT_BYTES_MAX: u32 = 1 << 17;

/// The compiler flags that make a binary fuzzable.
const FLAGS: &str = "--cfg fuzzing -Zsanitizer=address -Cdebug-assertions -Ccodegen-units=1 -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares";

/// Fuzzes one target or each in turn.
pub(crate) fn fuzz(workspace: &Workspace) -> Outcome {
    let folder = workspace.root().join("fuzz");
    let targets = workspace::names(&folder.join("fuzz_targets"), |path| path.is_file());
    if targets.is_empty() {
        return Outcome::Skipped("there is no fuzz target yet".into());
    }
    let Some(triple) = sanitize::target() else {
        return Outcome::Skipped("fuzzing needs Linux on x86-64 or arm64".into());
    };
    if !CommandLine::new("c++", workspace.root()).args(["--version"]).works() {
        return Outcome::Skipped("libFuzzer is compiled from C++, and no `c++` compiler is installed".into());
    }
    let seconds = match workspace.number("--seconds") {
        Ok(seconds) => seconds.unwrap_or(SECONDS_PER_TARGET),
        Err(reason) => return Outcome::Failed(reason),
    };
    let wanted = match workspace.positional() {
        Some(name) if targets.iter().any(|target| target == name) => vec![name.to_owned()],
        Some(name) => {
            return Outcome::Failed(format!("no fuzz target {name:?}; there are: {}", targets.join(", ")));
        }
        None => targets,
    };
    let build = Build { workspace, folder: &folder, triple };
    let mut outcome = Outcome::Passed;
    for target in &wanted {
        if let failed @ Outcome::Failed(_) = build.run(target, seconds) {
            outcome = failed;
        }
    }
    outcome
}

struct Build<'a> {
    workspace: &'a Workspace,
    folder: &'a Path,
    triple: &'static str,
}

impl Build<'_> {
    fn run(&self, target: &str, seconds: u64) -> Outcome {
        let target_folder = self.workspace.separate_target("fuzz");
        let found = target_folder.join("corpus").join(target);
        let artifacts = self.folder.join("artifacts").join(target);
        for folder in [&found, &artifacts] {
            if let Err(error) = fs::create_dir_all(folder) {
                return Outcome::Failed(format!("could not create {}: {error}", folder.display()));
            }
        }
        // libFuzzer takes the last component as a prefix of file names unless a slash ends it.
        let artifact_prefix = format!("-artifact_prefix={}/", artifacts.display());
        CommandLine::cargo(self.folder)
            .args(["run", "--quiet", "--release", "--target", self.triple, "--bin", target, "--"])
            .args([&found, &self.folder.join("corpus").join(target)])
            .args([
                artifact_prefix,
                format!("-max_total_time={seconds}"),
                format!("-max_len={INPUT_BYTES_MAX}"),
            ])
            .env("RUSTFLAGS", FLAGS)
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_TARGET_DIR", target_folder)
            .run()
    }
}
