//! A step: a named piece of work with an outcome, timed, and the table of outcomes at the end.
//!
//! Callers: `main`, which runs the steps of a command. A failed step does not end the run: the table is complete.

use std::time::{Duration, Instant};

use crate::workspace::Workspace;

/// How a step ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It ran and all was well.
    Passed,
    /// It did not run, for this reason.
    Skipped(String),
    /// It ran and found something, or could not run although it should have.
    Failed(String),
}

impl Outcome {
    /// This outcome, or what `next` gives if this one is good.
    pub(crate) fn and_then(self, next: impl FnOnce() -> Outcome) -> Outcome {
        match self {
            Outcome::Passed => next(),
            other => other,
        }
    }
}

/// A named piece of work.
pub(crate) struct Step {
    name: &'static str,
    run: fn(&Workspace) -> Outcome,
}

impl Step {
    pub(crate) const fn new(name: &'static str, run: fn(&Workspace) -> Outcome) -> Self {
        Self { name, run }
    }
}

/// What became of a step.
pub(crate) struct StepResult {
    pub(crate) name: &'static str,
    pub(crate) outcome: Outcome,
    pub(crate) took: Duration,
}

/// Runs all steps, whatever becomes of each.
pub(crate) fn run_all(workspace: &Workspace, steps: &[Step]) -> Vec<StepResult> {
    steps.iter().map(|step| run_one(workspace, step)).collect()
}

#[expect(
    clippy::disallowed_methods,
    reason = "times what the developer waits for; nothing simulates this program"
)]
fn run_one(workspace: &Workspace, step: &Step) -> StepResult {
    println!("\n=== {} ===", step.name);
    let start = Instant::now();
    let outcome = (step.run)(workspace);
    StepResult { name: step.name, outcome, took: start.elapsed() }
}

/// Prints the table: step, result, seconds, reason.
pub(crate) fn print_table(results: &[StepResult]) {
    println!("\n{}", table(results));
}

fn table(results: &[StepResult]) -> String {
    let width = results.iter().map(|result| result.name.len()).max().unwrap_or(0).max(4);
    let mut lines = vec![format!("{:width$}  result   seconds  reason", "step")];
    for result in results {
        let (word, reason) = match &result.outcome {
            Outcome::Passed => ("passed", ""),
            Outcome::Skipped(reason) => ("skipped", reason.as_str()),
            Outcome::Failed(reason) => ("FAILED", reason.as_str()),
        };
        let seconds = result.took.as_secs_f64();
        lines
            .push(format!("{:width$}  {word:7}  {seconds:7.1}  {reason}", result.name).trim_end().to_owned());
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_names_every_step_with_its_reason() {
        let results = [
            StepResult { name: "fmt", outcome: Outcome::Passed, took: Duration::from_millis(1500) },
            StepResult {
                name: "test-all",
                outcome: Outcome::Skipped("no valgrind".into()),
                took: Duration::ZERO,
            },
            StepResult {
                name: "tidy",
                outcome: Outcome::Failed("exit code 101".into()),
                took: Duration::ZERO,
            },
        ];
        let expected = "step      result   seconds  reason\n\
                        fmt       passed       1.5\n\
                        test-all  skipped      0.0  no valgrind\n\
                        tidy      FAILED       0.0  exit code 101";
        assert_eq!(table(&results), expected);
    }

    #[test]
    fn a_bad_outcome_ends_a_sequence() {
        let failed = Outcome::Failed("first".into());
        assert_eq!(failed.clone().and_then(|| Outcome::Passed), failed);
        assert_eq!(Outcome::Passed.and_then(|| failed.clone()), failed);
    }
}
