//! Loom models: every interleaving of the production code, in small.
//!
//! A crate has models when one of its source files is compiled only under `cfg(loom)` and tests; they are ordinary
//! tests whose path contains `model` or `loom`. The rest of the tests can't run there: loom's atomics work only inside
//! of a model.

use std::path::Path;
use std::{fs, io};

use crate::command::CommandLine;
use crate::step::Outcome;
use crate::workspace::Workspace;

/// What tells that a file holds models, blanks aside.
const MARKS: [&str; 3] = ["cfg(all(test,loom))", "cfg(all(loom,test))", "cfg(loom)]modmodel"];

/// Runs all models, optimised, in a target folder of their own.
pub(crate) fn loom(workspace: &Workspace) -> Outcome {
    let mut outcome = Outcome::Skipped("no crate has models yet".into());
    for name in workspace.crates() {
        match has_models(&workspace.root().join("crates").join(&name).join("src")) {
            Ok(false) => continue,
            Ok(true) => {}
            Err(error) => return Outcome::Failed(format!("could not read the sources of {name}: {error}")),
        }
        let ran = run_models(workspace, &format!("oxifaster-{name}"));
        outcome = match (outcome, ran) {
            (bad @ Outcome::Failed(_), _) | (_, bad @ Outcome::Failed(_)) => bad,
            (_, ran) => ran,
        };
    }
    outcome
}

fn run_models(workspace: &Workspace, package: &str) -> Outcome {
    // Three preemptions find nearly all bugs and keep the gate short; LOOM_MAX_PREEMPTIONS in the environment wins.
    let preemptions = std::env::var("LOOM_MAX_PREEMPTIONS").unwrap_or_else(|_| "3".into());
    let tests = |more: &[&str]| {
        CommandLine::cargo(workspace.root())
            .args(["test", "--release", "--package", package, "--lib", "--", "model", "loom"])
            .args(more)
            .env("LOOM_MAX_PREEMPTIONS", &preemptions)
            .env("RUSTFLAGS", "--cfg loom")
            .env("CARGO_TARGET_DIR", workspace.separate_target("loom"))
    };
    // A filter that matches nothing would pass.
    match tests(&["--list"]).output() {
        Err(reason) => Outcome::Failed(reason),
        Ok(list) if !list.lines().any(|line| line.ends_with(": test")) => Outcome::Failed(format!(
            "{package} has models, but no test whose path contains `model` or `loom`"
        )),
        Ok(_) => tests(&[]).run(),
    }
}

fn has_models(folder: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let found = if path.is_dir() {
            has_models(&path)?
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            marks_models(&fs::read_to_string(&path)?)
        } else {
            false
        };
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}

fn marks_models(source: &str) -> bool {
    let dense: String = source.chars().filter(|character| !character.is_whitespace()).collect();
    MARKS.iter().any(|mark| dense.contains(mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_told_from_code_that_only_knows_loom() {
        assert!(marks_models("#[cfg(all(test, loom))]\nmod tests {}"));
        assert!(marks_models("#[cfg(loom)]\nmod model;"));
        assert!(!marks_models("#[cfg(loom)]\npub use loom::sync::Arc;"));
        assert!(!marks_models("#[cfg(all(test, not(loom)))]\nmod tests {}"));
    }
}
