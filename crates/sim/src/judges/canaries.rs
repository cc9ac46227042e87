//! The judge of the judges: every planted bug must be caught by the judge that its entry names.
//!
//! Needs a build with `--cfg canaries`. Each canary gets a process of its own, because a broken store may well bring its
//! process down. First each judge runs with nothing armed: a judge that always complains catches nothing.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

use oxifaster_device::sync::canary::{ALL, ENVIRONMENT_VARIABLE};

use super::report::{Progress, Report};

/// Runs, each with another seed, until a canary counts as missed: races need luck.
const ATTEMPTS: u64 = 8;

/// What a judge may take with nothing armed. An armed one has twice the time.
const UNARMED_SECONDS: u64 = 120;

/// Exit code of a judge that found no end. It proves nothing: the machine may be slow.
pub const HUNG: u8 = 3;

/// Exit code of a wrong command line: says nothing about the store.
const USAGE: i32 = 2;

/// How a judge ended.
#[derive(Clone, Debug, PartialEq, Eq)]
enum End {
    Kept,
    Broken(String),
    /// It found no end.
    Hung,
    /// It did not judge.
    Useless(String),
}

fn run(judge: &Path, arguments: &str, armed: &str, seed: u64) -> End {
    let seconds = if armed.is_empty() { UNARMED_SECONDS } else { 2 * UNARMED_SECONDS };
    let output = Command::new(judge)
        .args(arguments.split_whitespace())
        .args(["--seed", &seed.to_string(), "--timeout-seconds", &seconds.to_string()])
        .env(ENVIRONMENT_VARIABLE, armed)
        .stdin(Stdio::null())
        .output();
    let output = match output {
        Ok(output) => output,
        Err(error) => return End::Useless(format!("could not start {}: {error}", judge.display())),
    };
    let last_line = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        text.lines().last().unwrap_or_default().to_owned()
    };
    match output.status.code() {
        Some(0) => End::Kept,
        Some(USAGE) => End::Useless(last_line(&output.stderr)),
        Some(code) if code == i32::from(HUNG) => End::Hung,
        Some(1) => End::Broken(last_line(&output.stdout)),
        // A panic of the judge's own thread, or a signal: an assertion of the store was faster than the judge.
        _ => End::Broken(format!("{}: {}", output.status, last_line(&output.stderr))),
    }
}

/// Runs the judge with the program `judge`, on all canaries or on those whose names contain `only`.
pub fn judge(judge: &Path, seed: u64, only: &str, progress: Progress<'_>) -> Report {
    let mut report = Report::new("canaries", seed);
    if !cfg!(canaries) {
        report.blame("this program was built without the planted bugs: set RUSTFLAGS=\"--cfg canaries\"");
        return report;
    }
    let chosen: Vec<_> = ALL.iter().filter(|canary| canary.name.contains(only)).collect();
    let judges: BTreeSet<&str> = chosen.iter().map(|canary| canary.judge).collect();
    for arguments in judges {
        match run(judge, arguments, "", seed) {
            End::Kept => progress(&format!("nothing armed: `{arguments}` is content")),
            End::Hung => report.blame(format!("nothing is armed and `{arguments}` finds no end")),
            End::Broken(message) | End::Useless(message) => {
                report.blame(format!("nothing is armed and `{arguments}` complains: {message}"));
            }
        }
    }
    let mut caught = 0_u64;
    for canary in &chosen {
        let attempts = (seed..seed + ATTEMPTS).map(|seed| run(judge, canary.judge, canary.name, seed));
        let telling = |end: &End| match end {
            End::Kept => false,
            End::Hung => canary.hangs,
            End::Broken(_) | End::Useless(_) => true,
        };
        match attempts.zip(1..).find(|(end, _)| telling(end)) {
            Some((End::Hung, attempt)) => {
                caught += 1;
                progress(&format!("caught {} in attempt {attempt}: no end", canary.name));
            }
            Some((End::Broken(message), attempt)) => {
                caught += 1;
                progress(&format!("caught {} in attempt {attempt}: {message}", canary.name));
            }
            Some((End::Useless(message), _)) => report.blame(format!("{}: {message}", canary.name)),
            _ => report.blame(format!("`{}` missed {}: {}", canary.judge, canary.name, canary.story)),
        }
    }
    report.note("canaries", chosen.len() as u64);
    report.note("caught", caught);
    report
}
