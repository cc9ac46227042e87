//! `log verify`: reads all of a log; one that another process writes, up to what is durable.

use std::path::Path;

use oxifaster_core::{Error, ErrorKind};
use oxifaster_device::FileSystemDisk;
use oxifaster_device::sync::clock;
use oxifaster_log::{CheckReport, FasterLog, FasterLogConfig, RecoveryReport};

use super::append::write;
use super::{PREFIX, SEGMENT_BYTES, check_exists, for_reading, log_failure};
use crate::failure::Failure;
use crate::log_arguments::LogArguments;
use crate::report::{Figure, Report};

/// What was read.
#[derive(Debug)]
struct Verified {
    check: CheckReport,
    first_entry: u64,
    begin: String,
    committed: String,
    /// What opening found; not of a log that is in use, whose owner has opened it.
    recovered: Option<RecoveryReport>,
}

pub(super) fn run(arguments: &LogArguments) -> Result<(), Failure> {
    let started = clock::now();
    let folder = &arguments.dir;
    let found = verify(folder)?;
    let mut report = Report::default();
    report
        .add("command", "command", Figure::Text("log verify".to_owned()))
        .add("folder", "folder", Figure::Text(folder.display().to_string()))
        .add("entries", "entries", Figure::Count(found.check.entries))
        .add("their bytes", "entry_bytes", Figure::Bytes(found.check.payload_bytes))
        .add("commits", "commits", Figure::Count(found.check.commits))
        .add("first entry", "first_entry", Figure::Count(found.first_entry))
        .add("begins at address", "begin_address", Figure::Text(found.begin))
        .add("committed up to", "committed_address", Figure::Text(found.committed))
        .add("in use by another process", "in_use", Figure::Flag(found.recovered.is_none()));
    if let Some(recovered) = found.recovered {
        report
            .add("ended cleanly", "clean", Figure::Flag(recovered.clean))
            .add("cut off behind that", "cut_off_bytes", Figure::Bytes(recovered.cut_off_bytes))
            .add(
                "damaged metadata slot",
                "damaged_metadata_slot",
                Figure::Flag(recovered.damaged_metadata_slot),
            );
    }
    report.add("time", "seconds", Figure::Time(started.elapsed()));
    write(arguments.output.json, &report)
}

fn verify(folder: &Path) -> Result<Verified, Failure> {
    check_exists(folder)?;
    let failed = |error| log_failure(folder, &error);
    let log = match owned(folder) {
        Err(error) if error.kind() == ErrorKind::Locked => {
            let log = for_reading(folder)?;
            return Ok(Verified {
                check: log.self_check().map_err(failed)?,
                first_entry: log.first_entry_number(),
                begin: log.begin_address().to_string(),
                committed: log.committed_address().to_string(),
                recovered: None,
            });
        }
        log => log.map_err(failed)?,
    };
    Ok(Verified {
        check: log.self_check().map_err(failed)?,
        first_entry: log.first_entry_number(),
        begin: log.begin_address().to_string(),
        committed: log.committed_address().to_string(),
        recovered: Some(log.recovery_report().clone()),
    })
}

fn owned(folder: &Path) -> Result<FasterLog, Error> {
    let device = FileSystemDisk::segmented(folder, PREFIX, SEGMENT_BYTES)?;
    FasterLog::open(FasterLogConfig::default(), device)
}
