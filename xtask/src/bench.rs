//! Benchmarks: everything under `benches/` of the default members.

use crate::command::CommandLine;
use crate::step::Outcome;
use crate::workspace::Workspace;

/// Runs all benchmarks. A number means something only on a quiet machine, and only beside another of the same run.
pub(crate) fn bench(workspace: &Workspace) -> Outcome {
    CommandLine::cargo(workspace.root()).args(["bench", "--benches"]).run()
}
