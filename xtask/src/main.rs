#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a command-line program: what it prints is its result")]
//! The project's own commands: `cargo xtask COMMAND`.
//!
//! All logic of building, testing and judging lives here; `.ci/run`, the `justfile` and `scripts/check-*.sh` only call
//! it. Plain std, so that it is compiled in a second on a fresh machine.
//!
//! | part | what it is |
//! |---|---|
//! | [`workspace`] | where things are: root, target folder, crates, examples |
//! | [`command`] | a child process that is shown, limited in time and judged by its exit code |
//! | [`step`] | a named piece of work with an outcome, the table at the end |
//! | [`gate`] | the list of steps that CI runs: add a step by adding a line |
//! | [`check`] | formatting, lints, documentation, tidiness, tests, examples |
//! | [`models`] | loom models |
//! | [`judges`] | crash and history judges, planted bugs that they must catch |
//! | [`fuzz`] | libFuzzer targets |
//! | [`sanitize`] | the address sanitizer |
//! | [`coverage`] | line coverage with a floor per library crate |
//! | [`mod@bench`] | benchmarks |
//! | [`instructions`] | instructions per operation, compared with what was accepted |

mod bench;
mod check;
mod command;
mod coverage;
mod fuzz;
mod gate;
mod instructions;
mod judges;
mod models;
mod sanitize;
mod step;
mod workspace;

use std::process::ExitCode;

use crate::step::{Outcome, Step};
use crate::workspace::Workspace;

/// A command of the program: its name, what it does in a line, its steps.
struct Command {
    name: &'static str,
    summary: &'static str,
    steps: &'static [Step],
}

const COMMANDS: &[Command] = &[
    Command { name: "check", summary: "formatting, lints and documentation", steps: gate::CHECK },
    Command {
        name: "fmt",
        summary: "formatting only, changes nothing",
        steps: &[Step::new("fmt", check::fmt)],
    },
    Command {
        name: "clippy",
        summary: "lints only, warnings are errors",
        steps: &[Step::new("clippy", check::clippy)],
    },
    Command {
        name: "doc",
        summary: "documentation only, warnings are errors",
        steps: &[Step::new("doc", check::doc)],
    },
    Command {
        name: "build",
        summary: "everything that is built by default",
        steps: &[Step::new("build", check::build)],
    },
    Command {
        name: "tidy",
        summary: "the test over the repository itself",
        steps: &[Step::new("tidy", check::tidy)],
    },
    Command {
        name: "test",
        summary: "what the README says: `cargo test`",
        steps: &[Step::new("test", check::test)],
    },
    Command {
        name: "test-all-features",
        summary: "all tests with every feature on",
        steps: &[Step::new("test-all-features", check::test_all_features)],
    },
    Command {
        name: "examples",
        summary: "runs every example of the root package",
        steps: &[Step::new("examples", check::examples)],
    },
    Command {
        name: "loom",
        summary: "loom models of the production code",
        steps: &[Step::new("loom", models::loom)],
    },
    Command {
        name: "fuzz",
        summary: "[--seconds N] [TARGET]: libFuzzer with the address sanitizer",
        steps: &[Step::new("fuzz", fuzz::fuzz)],
    },
    Command {
        name: "asan",
        summary: "tests of the crates with unsafe code under the address sanitizer",
        steps: &[Step::new("asan", sanitize::address)],
    },
    Command {
        name: "judges",
        summary: "[--long]: crash and history judges",
        steps: &[Step::new("judges", judges::judges)],
    },
    Command {
        name: "crash",
        summary: "[--long]: the crash judge only",
        steps: &[Step::new("crash", judges::crash)],
    },
    Command {
        name: "canaries",
        summary: "plants each known bug and lets its judge catch it",
        steps: &[Step::new("canaries", judges::canaries)],
    },
    Command { name: "bench", summary: "all benchmarks", steps: &[Step::new("bench", bench::bench)] },
    Command {
        name: "instructions",
        summary: "[--accept]: instructions per operation; 3 % more than accepted fail",
        steps: &[Step::new("instructions", instructions::instructions)],
    },
    Command {
        name: "coverage",
        summary: "line coverage; library crates below 80 % fail",
        steps: &[Step::new("coverage", coverage::coverage)],
    },
    Command { name: "verify", summary: "everything CI does; changes nothing", steps: gate::VERIFY },
    Command {
        name: "fix",
        summary: "formats, and applies what clippy can fix",
        steps: &[Step::new("fix", check::fix)],
    },
];

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(name) = arguments.next() else {
        usage();
        return ExitCode::FAILURE;
    };
    let arguments: Vec<String> = arguments.collect();
    if [&name].into_iter().chain(&arguments).any(|argument| argument == "--help" || argument == "-h") {
        usage();
        return ExitCode::SUCCESS;
    }
    let Some(command) = COMMANDS.iter().find(|command| command.name == name) else {
        println!("there is no command {name:?}");
        usage();
        return ExitCode::FAILURE;
    };
    let workspace = match Workspace::find(arguments) {
        Ok(workspace) => workspace,
        Err(reason) => {
            println!("{reason}");
            return ExitCode::FAILURE;
        }
    };
    let results = step::run_all(&workspace, command.steps);
    step::print_table(&results);
    // A gate goes on without a missing tool; whoever asked for this very step wants to know that it did not run.
    let asked_explicitly = command.steps.len() == 1;
    let good = results.iter().all(|result| match result.outcome {
        Outcome::Passed => true,
        Outcome::Skipped(_) => !asked_explicitly,
        Outcome::Failed(_) => false,
    });
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn usage() {
    println!("usage: cargo xtask COMMAND");
    for command in COMMANDS {
        println!("  {:18} {}", command.name, command.summary);
    }
}
