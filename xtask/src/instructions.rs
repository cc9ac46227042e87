//! Instructions per operation, counted by valgrind and compared with what was accepted.
//!
//! Instructions do not depend on how busy the machine is. `benches/operations.rs` runs each operation in a plain loop inside
//! of a function that valgrind knows by its name.
//! `benches/instructions.txt` holds the accepted counts: more than 3 % above is a failure, `--accept` writes what was counted.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::command::CommandLine;
use crate::step::Outcome;
use crate::workspace::Workspace;

/// Accepted counts, by operation.
const ACCEPTED: &str = "benches/instructions.txt";
/// Operations of a loop.
const OPERATIONS: u32 = 50_000;
/// Valgrind's pattern for the function around the loop.
const MEASURED: &str = "--toggle-collect=operations::measured*";
/// A count this far above the accepted one fails.
const TOLERANCE: f64 = 0.03;

const HEADER: &str = "\
# Instructions per operation, loop included: `cargo xtask instructions` compares, and fails at 3 % more;
# `cargo xtask instructions --accept` writes this file. Say in the commit why a count rose.
";

/// Counts all operations; fails for those that became dearer.
pub(crate) fn instructions(workspace: &Workspace) -> Outcome {
    if !CommandLine::new("valgrind", workspace.root()).args(["--version"]).works() {
        return Outcome::Skipped(
            "valgrind is not installed: it counts the instructions; timings without it: cargo bench --bench operations"
                .into(),
        );
    }
    match compare(workspace) {
        Ok(outcome) => outcome,
        Err(reason) => Outcome::Failed(reason),
    }
}

fn compare(workspace: &Workspace) -> Result<Outcome, String> {
    let compiler =
        CommandLine::new("rustc", workspace.root()).args(["--version"]).output()?.trim().to_owned();
    let file = workspace.root().join(ACCEPTED);
    let accepted = fs::read_to_string(&file).unwrap_or_default();
    let accept = workspace.flag("--accept");
    if !accept && !accepted.contains(&compiler) {
        let reason = format!("the counts of {ACCEPTED} were not made with {compiler}: --accept them first");
        return Ok(Outcome::Skipped(reason));
    }
    let counts = count_all(workspace)?;
    if accept {
        let lines = counts.iter().map(|(name, count)| format!("{name} {count:.1}\n"));
        let text = format!("{HEADER}# {compiler}\n{}", lines.collect::<String>());
        fs::write(&file, text).map_err(|error| format!("could not write {ACCEPTED}: {error}"))?;
        return Ok(Outcome::Passed);
    }
    let accepted = parse(&accepted)?;
    let mut dearer = Vec::new();
    println!("{:18} {:>9} {:>9}", "operation", "accepted", "counted");
    for (name, count) in &counts {
        let Some(before) = accepted.get(name) else {
            dearer.push(format!("{name} has no accepted count"));
            continue;
        };
        println!("{name:18} {before:9.1} {count:9.1}  {:+.1} %", (count / before - 1.0) * 100.0);
        if *count > before * (1.0 + TOLERANCE) {
            dearer.push(format!("{name}: {count:.1} instead of {before:.1} instructions"));
        }
    }
    Ok(if dearer.is_empty() { Outcome::Passed } else { Outcome::Failed(dearer.join("; ")) })
}

/// Instructions per operation, in the order of the benchmark.
fn count_all(workspace: &Workspace) -> Result<Vec<(String, f64)>, String> {
    let program = build(workspace)?;
    let names = CommandLine::new(&program, workspace.root()).args(["--names"]).output()?;
    names
        .lines()
        .map(|name| {
            let instructions = count(workspace, &program, name)?;
            #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
            let each = instructions as f64 / f64::from(OPERATIONS);
            Ok((name.to_owned(), each))
        })
        .collect()
}

/// Builds the benchmark; where its program is.
fn build(workspace: &Workspace) -> Result<PathBuf, String> {
    let messages = CommandLine::cargo(workspace.root())
        .args(["bench", "--bench", "operations", "--no-run", "--message-format=json"])
        // What a developer or a CI sets for other builds must not change what is counted.
        .env("RUSTFLAGS", "")
        .env("CARGO_INCREMENTAL", "0")
        .output()?;
    let program = messages.lines().rev().find_map(|line| {
        let (_, rest) = line.split_once("\"executable\":\"")?;
        rest.split_once('"').map(|(path, _)| PathBuf::from(path))
    });
    program.ok_or_else(|| "cargo did not say where the benchmark is".into())
}

/// The instructions of a loop.
fn count(workspace: &Workspace, program: &Path, name: &str) -> Result<u64, String> {
    let report = workspace.separate_target("instructions.callgrind");
    let report_argument = format!("--callgrind-out-file={}", report.display());
    CommandLine::new("valgrind", workspace.root())
        .args(["-q", "--tool=callgrind", MEASURED, &report_argument])
        .args([program])
        .args(["--loop", name, &OPERATIONS.to_string()])
        .output()?;
    let text = fs::read_to_string(&report).map_err(|error| format!("valgrind left no report: {error}"))?;
    let counted = total(&text).filter(|counted| *counted > 0);
    counted.ok_or_else(|| format!("valgrind counted nothing for {name}: is {MEASURED} still right?"))
}

/// The number of the line `totals: N` of a report.
fn total(report: &str) -> Option<u64> {
    report.lines().find_map(|line| line.strip_prefix("totals: ")?.trim().parse().ok())
}

/// Accepted counts; lines with `#` are comments.
fn parse(text: &str) -> Result<BTreeMap<String, f64>, String> {
    text.lines()
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
        .map(|line| {
            let parsed =
                line.split_once(' ').and_then(|(name, count)| Some((name.to_owned(), count.parse().ok()?)));
            parsed.ok_or_else(|| format!("{ACCEPTED}: {line:?} is not a name and a count"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepted_counts_are_read() {
        let counts = parse("# note\nread 98.5\n\nrmw 101\n").expect("well formed");
        assert_eq!(
            counts.into_iter().collect::<Vec<_>>(),
            [("read".to_owned(), 98.5), ("rmw".to_owned(), 101.0)]
        );
        assert!(parse("read\n").is_err());
        assert!(parse("read many\n").is_err());
    }

    #[test]
    fn the_total_of_a_report_is_found() {
        assert_eq!(total("version: 1\nsummary: 7\n\ntotals: 33853308\n"), Some(33_853_308));
        assert_eq!(total("nothing"), None);
    }
}
