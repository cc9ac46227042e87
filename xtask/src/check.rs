//! Formatting, lints, documentation, tidiness, tests, examples: what needs nothing but a Rust toolchain.

use crate::command::CommandLine;
use crate::step::Outcome;
use crate::workspace::Workspace;

/// Workspaces of their own, which the root's commands do not reach.
const OTHER_MANIFESTS: [&str; 2] = ["fuzz/Cargo.toml", "crates/peers/Cargo.toml"];

fn cargo(workspace: &Workspace, arguments: &[&str]) -> CommandLine {
    CommandLine::cargo(workspace.root()).args(arguments)
}

/// Formatting; changes nothing.
pub(crate) fn fmt(workspace: &Workspace) -> Outcome {
    format(workspace, &["--check"])
}

fn format(workspace: &Workspace, options: &[&str]) -> Outcome {
    let mut outcome = cargo(workspace, &["fmt", "--all"]).args(options).run();
    for manifest in OTHER_MANIFESTS.iter().filter(|manifest| workspace.root().join(manifest).is_file()) {
        let line = cargo(workspace, &["fmt", "--manifest-path", manifest]).args(options);
        outcome = outcome.and_then(|| line.run());
    }
    outcome
}

/// Lints on all targets; a warning is an error.
pub(crate) fn clippy(workspace: &Workspace) -> Outcome {
    cargo(workspace, &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]).run()
}

/// Documentation, private items included; a warning (a broken link) is an error.
pub(crate) fn doc(workspace: &Workspace) -> Outcome {
    cargo(workspace, &["doc", "--workspace", "--no-deps", "--document-private-items"])
        .env("RUSTDOCFLAGS", "-D warnings")
        .run()
}

/// What a user builds.
pub(crate) fn build(workspace: &Workspace) -> Outcome {
    cargo(workspace, &["build", "--release"]).run()
}

/// The test over the repository itself.
pub(crate) fn tidy(workspace: &Workspace) -> Outcome {
    cargo(workspace, &["test", "--quiet", "--package", "oxifaster", "--test", "tidy"]).run()
}

/// What the README says.
pub(crate) fn test(workspace: &Workspace) -> Outcome {
    cargo(workspace, &["test", "--no-fail-fast"]).run()
}

/// The tests of this program, which is not a default member.
pub(crate) fn own_tests(workspace: &Workspace) -> Outcome {
    cargo(workspace, &["test", "--quiet", "--package", "xtask"]).run()
}

/// All tests with every feature on.
pub(crate) fn test_all_features(workspace: &Workspace) -> Outcome {
    cargo(workspace, &["test", "--workspace", "--all-features", "--no-fail-fast"]).run()
}

/// Runs every example of the root package; each checks what it prints itself.
///
/// The `test` profile is what `cargo test` has just built the examples with.
pub(crate) fn examples(workspace: &Workspace) -> Outcome {
    let examples = workspace.examples();
    if examples.is_empty() {
        return Outcome::Skipped("there is no example yet".into());
    }
    let manifest = match std::fs::read_to_string(workspace.root().join("Cargo.toml")) {
        Ok(manifest) => manifest,
        Err(error) => return Outcome::Failed(format!("could not read Cargo.toml: {error}")),
    };
    let mut failed = Vec::new();
    for example in &examples {
        let mut line = cargo(workspace, &["run", "--quiet", "--profile", "test", "--example", example]);
        if let Some(features) = required_features(&manifest, example) {
            line = line.args(["--features", &features]);
        }
        if line.run() != Outcome::Passed {
            failed.push(example.as_str());
        }
    }
    if failed.is_empty() {
        Outcome::Passed
    } else {
        Outcome::Failed(format!("failed: {}", failed.join(", ")))
    }
}

/// What the manifest says the example needs: `required-features` of its `[[example]]` table, joined by commas.
fn required_features(manifest: &str, example: &str) -> Option<String> {
    let tables = manifest.split("[[example]]").skip(1);
    let table = tables
        .map(|table| table.split("\n[").next().unwrap_or(table))
        .find(|table| table.lines().any(|line| line.trim() == format!("name = \"{example}\"")))?;
    let list = table.lines().find_map(|line| line.trim().strip_prefix("required-features = "))?;
    let names: Vec<&str> =
        list.trim_matches(['[', ']']).split(',').map(|name| name.trim().trim_matches('"')).collect();
    Some(names.join(","))
}

/// Formats, and applies what clippy can fix.
pub(crate) fn fix(workspace: &Workspace) -> Outcome {
    cargo(workspace, &["clippy", "--fix", "--allow-dirty", "--allow-staged", "--workspace", "--all-targets"])
        .run()
        .and_then(|| format(workspace, &[]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_that_an_example_requires_are_read_from_its_own_table() {
        let manifest = "[package]\nname = \"x\"\n\n[[example]]\nname = \"io_uring\"\n\
                        required-features = [\"io_uring\", \"tokio\"]\n\n[[example]]\nname = \"plain\"\n\n\
                        [features]\nplain = []\n";
        assert_eq!(required_features(manifest, "io_uring").as_deref(), Some("io_uring,tokio"));
        assert_eq!(required_features(manifest, "plain"), None);
        assert_eq!(required_features(manifest, "basic_kv"), None);
    }
}
