//! The commands: each opens what it needs, runs, closes, and writes one result.
//!
//! | file | command |
//! |---|---|
//! | `load`, `count` | drive the pipelines of the same names |
//! | `keys` | `get` and `delete` |
//! | `stats` | what is in a store |
//! | `verify` | every checksum |
//! | `ycsb`, `ycsb_report` | a workload on a store of its own; what that showed |
//! | `log` | a `FasterLog` in a folder |
//! | `figures` | the figures that several of them report |

mod count;
mod figures;
mod keys;
mod load;
mod log;
mod stats;
mod verify;
mod ycsb;
mod ycsb_report;

use std::ffi::OsString;

use clap::Parser;
use clap::error::ErrorKind;

use crate::arguments::{Arguments, Command};
use crate::failure::{Failure, FailureKind};
use crate::output;

/// Runs the program with its arguments, its own name first; returns the exit code.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let result = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => dispatch(&arguments.command),
        Err(error) => answer(&error),
    };
    match result {
        Ok(()) => 0,
        Err(failure) => {
            output::tell(&failure.to_string());
            failure.exit_code()
        }
    }
}

fn dispatch(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Load(arguments) => load::run(arguments),
        Command::Get(arguments) => keys::get(arguments),
        Command::Delete(arguments) => keys::delete(arguments),
        Command::Count(arguments) => count::run(arguments),
        Command::Stats(arguments) => stats::run(arguments),
        Command::Verify(arguments) => verify::run(arguments),
        Command::Ycsb(arguments) => ycsb::run(arguments),
        Command::Log(arguments) => log::run(arguments),
    }
}

/// What the argument parser has to say: help on standard output, or one sentence.
fn answer(error: &clap::Error) -> Result<(), Failure> {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            output::print(error.render().to_string().as_bytes())
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            output::print(error.render().to_string().as_bytes())?;
            Err(Failure::new(FailureKind::Usage, "say what to do"))
        }
        _ => Err(Failure::usage(one_sentence(&error.render().to_string()))),
    }
}

/// The first paragraph of a rendered error as one line: the rest is usage that `--help` tells better.
fn one_sentence(rendered: &str) -> String {
    let first = rendered.split("\n\n").next().unwrap_or(rendered);
    let words: Vec<&str> = first.split_whitespace().collect();
    let sentence = words.join(" ");
    format!("{} (see --help)", sentence.strip_prefix("error: ").unwrap_or(&sentence))
}
