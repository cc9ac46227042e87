//! `log`: a `FasterLog` in a folder, from the command line. A log is a segmented device with the prefix `log`.

mod append;
mod bench;
mod chunks;
mod look;
mod print;
mod verify;

use std::path::Path;

use oxifaster_core::{Error, ErrorKind};
use oxifaster_device::FileSystemDisk;
use oxifaster_log::{CommitPolicy, FasterLog, FasterLogConfig, FasterLogReader};

use crate::failure::{Failure, FailureKind};
use crate::log_arguments::{CommitWhen, LogCommand, LogCommandArguments};

/// How the files are called.
const PREFIX: &str = "log";
/// Bytes of one segment file. A log keeps the size that it was made with.
const SEGMENT_BYTES: u64 = 256 << 20;

pub(super) fn run(arguments: &LogCommandArguments) -> Result<(), Failure> {
    match &arguments.command {
        LogCommand::Append(arguments) => append::run(arguments),
        LogCommand::Cat(arguments) => look::cat(arguments),
        LogCommand::Tail(arguments) => look::tail(arguments),
        LogCommand::Verify(arguments) => verify::run(arguments),
        LogCommand::Truncate(arguments) => look::truncate(arguments),
        LogCommand::Bench(arguments) => bench::run(arguments),
    }
}

/// Opens the log in a folder, or makes one.
fn open_or_create(folder: &Path, config: FasterLogConfig) -> Result<FasterLog, Failure> {
    let device = FileSystemDisk::segmented(folder, PREFIX, SEGMENT_BYTES)
        .map_err(|error| log_failure(folder, &error.into()))?;
    FasterLog::open(config, device).map_err(|error| log_failure(folder, &error))
}

/// Opens the log in a folder that must hold one.
fn existing(folder: &Path) -> Result<FasterLog, Failure> {
    // Asked before the device is opened: opening would make the files.
    check_exists(folder)?;
    open_or_create(folder, FasterLogConfig::default())
}

/// Opens the log in a folder for reading, while another process may write it.
fn for_reading(folder: &Path) -> Result<FasterLogReader, Failure> {
    check_exists(folder)?;
    let device = FileSystemDisk::segmented_read_only(folder, PREFIX)
        .map_err(|error| log_failure(folder, &error.into()))?;
    FasterLog::open_read_only(device).map_err(|error| log_failure(folder, &error))
}

fn check_exists(folder: &Path) -> Result<(), Failure> {
    if folder.join(format!("{PREFIX}.meta")).exists() {
        return Ok(());
    }
    Err(Failure::new(FailureKind::NotAStore, format_args!("there is no log in {}", folder.display())))
}

fn policy(rule: CommitWhen) -> CommitPolicy {
    match rule {
        CommitWhen::Each | CommitWhen::End => CommitPolicy::OnDemand,
        CommitWhen::EveryTime(time) => CommitPolicy::Every(time),
        CommitWhen::EveryBytes(bytes) => CommitPolicy::EveryBytes(bytes),
    }
}

/// What an error of the log means for the program.
fn log_failure(folder: &Path, error: &Error) -> Failure {
    let folder = folder.display();
    match error.kind() {
        ErrorKind::Locked => Failure::new(
            FailureKind::Locked,
            format_args!("another process has the log in {folder} open: {error}"),
        ),
        ErrorKind::Corruption => {
            Failure::new(FailureKind::Damage, format_args!("the log in {folder} is damaged: {error}"))
        }
        ErrorKind::IncompatibleFormat => Failure::new(
            FailureKind::NotAStore,
            format_args!("{folder} holds something else than a log of this version: {error}"),
        ),
        _ => Failure::other(format_args!("the log in {folder}: {error}")),
    }
}
