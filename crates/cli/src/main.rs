//! The `oxifaster` program. Everything is in the library beside it.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(oxifaster_cli::commands::run(std::env::args_os()))
}
