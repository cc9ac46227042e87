//! `log cat`, `tail`, `verify` and `truncate`.

use std::path::Path;

use oxifaster_core::Address;
use oxifaster_device::sync::clock;
use oxifaster_log::FasterLog;

use super::append::write;
use super::{existing, log_failure};
use crate::failure::{Failure, FailureKind};
use crate::log_arguments::{CatArguments, LogArguments, TailArguments, TruncateArguments};
use crate::output;
use crate::report::{Figure, Report};

/// Bytes gathered before they are written.
const OUTPUT_BYTES: usize = 1 << 16;

pub(super) fn cat(arguments: &CatArguments) -> Result<(), Failure> {
    let log = existing(&arguments.dir)?;
    let from = arguments.from.unwrap_or(0).max(log.first_entry_number());
    print_entries(&log, &arguments.dir, from, arguments.count.unwrap_or(u64::MAX), arguments.numbers)
}

pub(super) fn tail(arguments: &TailArguments) -> Result<(), Failure> {
    let log = existing(&arguments.dir)?;
    let from = log.commit_info().entries.saturating_sub(arguments.count).max(log.first_entry_number());
    print_entries(&log, &arguments.dir, from, arguments.count, false)
}

fn print_entries(
    log: &FasterLog,
    folder: &Path,
    from: u64,
    count: u64,
    numbers: bool,
) -> Result<(), Failure> {
    let failed = |error| log_failure(folder, &error);
    let Some(start) = log.address_of(from).map_err(failed)? else { return Ok(()) };
    let mut scan = log.scan(start..);
    let mut text = Vec::with_capacity(2 * OUTPUT_BYTES);
    for number in from..from.saturating_add(count) {
        let Some((_, entry)) = scan.next_entry().map_err(failed)? else { break };
        if numbers {
            text.extend_from_slice(format!("{number}\t").as_bytes());
        }
        text.extend_from_slice(entry);
        text.push(b'\n');
        if text.len() >= OUTPUT_BYTES {
            output::print(&text)?;
            text.clear();
        }
    }
    output::print(&text)
}

pub(super) fn verify(arguments: &LogArguments) -> Result<(), Failure> {
    let started = clock::now();
    let log = existing(&arguments.dir)?;
    let recovered = log.recovery_report().clone();
    let check = log.self_check().map_err(|error| log_failure(&arguments.dir, &error))?;
    let mut report = Report::default();
    report
        .add("command", "command", Figure::Text("log verify".to_owned()))
        .add("folder", "folder", Figure::Text(arguments.dir.display().to_string()))
        .add("entries", "entries", Figure::Count(check.entries))
        .add("their bytes", "entry_bytes", Figure::Bytes(check.payload_bytes))
        .add("commits", "commits", Figure::Count(check.commits))
        .add("first entry", "first_entry", Figure::Count(log.first_entry_number()))
        .add("begins at address", "begin_address", Figure::Text(log.begin_address().to_string()))
        .add("committed up to", "committed_address", Figure::Text(log.committed_address().to_string()))
        .add("ended cleanly", "clean", Figure::Flag(recovered.clean))
        .add("cut off behind that", "cut_off_bytes", Figure::Bytes(recovered.cut_off_bytes))
        .add("damaged metadata slot", "damaged_metadata_slot", Figure::Flag(recovered.damaged_metadata_slot))
        .add("time", "seconds", Figure::Time(started.elapsed()));
    write(arguments.output.json, &report)
}

pub(super) fn truncate(arguments: &TruncateArguments) -> Result<(), Failure> {
    let folder = &arguments.log.dir;
    let failed = |error| log_failure(folder, &error);
    let log = existing(folder)?;
    let place = |number: u64| -> Result<Address, Failure> {
        if number == log.commit_info().entries {
            return Ok(log.committed_address());
        }
        log.address_of(number).map_err(failed)?.ok_or_else(|| {
            let (first, entries) = (log.first_entry_number(), log.commit_info().entries);
            let sentence =
                format_args!("there is no entry {number}: the log has the entries {first} to {entries}");
            Failure::new(FailureKind::Missing, sentence)
        })
    };
    // Both places are looked up before anything goes.
    let from = arguments.from.map(&place).transpose()?;
    let before = arguments.before.map(&place).transpose()?;
    if let Some(from) = from {
        log.truncate_suffix(from).map_err(failed)?;
    }
    if let Some(before) = before {
        log.truncate_before(before).map_err(failed)?;
    }
    let info = log.commit_info();
    log.close().map_err(failed)?;
    let mut report = Report::default();
    report
        .add("command", "command", Figure::Text("log truncate".to_owned()))
        .add("folder", "folder", Figure::Text(folder.display().to_string()))
        .add("first entry", "first_entry", Figure::Count(log.first_entry_number()))
        .add("entries in the log", "entries_in_log", Figure::Count(info.entries));
    write(arguments.log.output.json, &report)
}
