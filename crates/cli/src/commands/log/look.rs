//! `log cat` and `log tail`: entries of a log that another process may be writing; and `log truncate`.

use std::time::Duration;

use oxifaster_core::Address;
use oxifaster_device::sync::thread;
use oxifaster_log::FasterLogReader;

use super::append::write;
use super::print::Printer;
use super::{existing, for_reading, log_failure};
use crate::failure::{Failure, FailureKind};
use crate::interrupt::Interrupt;
use crate::log_arguments::{CatArguments, TailArguments, TruncateArguments};
use crate::report::{Figure, Report};

/// Between two looks for new entries; the log itself is looked at as often by its reader.
const LOOK_EVERY: Duration = Duration::from_millis(20);

pub(super) fn cat(arguments: &CatArguments) -> Result<(), Failure> {
    let log = for_reading(&arguments.dir)?;
    let failed = |error| log_failure(&arguments.dir, &error);
    let from = arguments.from.unwrap_or(0).max(log.first_entry_number());
    let Some(start) = log.address_of(from).map_err(failed)? else { return Ok(()) };
    let mut scan = log.scan(start..);
    let mut printer = Printer::new(arguments.numbers, arguments.json);
    for number in from..from.saturating_add(arguments.count.unwrap_or(u64::MAX)) {
        let Some((address, entry)) = scan.next_entry().map_err(failed)? else { break };
        if !printer.print(number, address, entry)? {
            break;
        }
    }
    printer.flush().map(|_| ())
}

pub(super) fn tail(arguments: &TailArguments) -> Result<(), Failure> {
    let interrupt = Interrupt::on_signals()?;
    let log = for_reading(&arguments.dir)?;
    let failed = |error| log_failure(&arguments.dir, &error);
    let (from, start) = last(&log, arguments.count).map_err(failed)?;
    let mut tail = log.tail(start);
    let mut printer = Printer::new(arguments.numbers, arguments.json);
    let mut number = from;
    while !interrupt.is_set() {
        match tail.try_next().map_err(failed)? {
            Some((address, entry)) => {
                if !printer.print(number, address, &entry)? {
                    return Ok(());
                }
                number += 1;
            }
            None if arguments.follow => {
                if !printer.flush()? {
                    return Ok(());
                }
                thread::sleep(LOOK_EVERY);
            }
            None => break,
        }
    }
    // An interrupt is how one stops to follow.
    printer.flush().map(|_| ())
}

/// Number and address of the first of the last `count` entries.
fn last(log: &FasterLogReader, count: u64) -> Result<(u64, Address), oxifaster_core::Error> {
    let info = log.commit_info();
    let from = info.entries.saturating_sub(count).max(log.first_entry_number());
    Ok((from, log.address_of(from)?.unwrap_or(info.until)))
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
    if let (Some(from), Some(before)) = (arguments.from, arguments.before)
        && before > from
    {
        let sentence = format_args!(
            "--before {before} lies behind --from {from}: nothing would be left of what both name; nothing was changed"
        );
        return Err(Failure::new(FailureKind::Usage, sentence));
    }
    if let Some(from) = from {
        log.truncate_suffix(from).map_err(failed)?;
    }
    if let Some(before) = before {
        // An address that was just dropped is no place any more: everything below what comes next goes.
        let before = if Some(before) == from { log.committed_address() } else { before };
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
