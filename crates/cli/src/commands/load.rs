//! `load`: from files into a store, with a progress bar and a closing table.

use std::time::Duration;

use oxifaster_device::sync::clock;

use super::figures;
use crate::arguments::LoadArguments;
use crate::byte_size::{ByteSize, Grouped};
use crate::failure::{Failure, FailureKind};
use crate::interrupt::Interrupt;
use crate::load::{self, InputOptions, LoadOutcome, PipelineSize};
use crate::memory_plan::MemoryPlan;
use crate::output;
use crate::progress_bar::ProgressLine;
use crate::report::{Figure, Report};
use crate::store_access::{Store, StoreFolder};

pub(super) fn run(arguments: &LoadArguments) -> Result<(), Failure> {
    let read_plan = load::plan(&arguments.files, input_options(arguments))?;
    let interrupt = Interrupt::on_signals()?;
    let threads = arguments.resources.thread_count();
    let folder = StoreFolder::open_or_create(&arguments.dir, arguments.device)?;
    let plan = folder.plan_memory(arguments.resources.memory.0, threads, 0, true)?;
    let store = folder.open::<Vec<u8>>(&plan)?;
    say_plan(arguments.output.json, &plan);

    let size = PipelineSize {
        parsers: threads,
        chunk_bytes: usize::try_from(plan.chunk_bytes).unwrap_or(usize::MAX),
        in_flight: usize::try_from(plan.chunks_in_flight).unwrap_or(usize::MAX),
        record_bytes_max: store.record_bytes_max(),
    };
    let bar = ProgressLine::new(read_plan.total_bytes(), "records");
    let started = clock::now();
    let sinks = store.sessions(threads)?;
    let outcome = load::load(read_plan, size, sinks, &interrupt, |progress| bar.show(progress))?;
    bar.finish();
    let flushed = store.flush();
    let report = report(arguments, &store, &plan, &outcome, started.elapsed());
    let more_to_reopen = store.more_to_reopen(&plan);
    let closed = store.close();
    let written = if arguments.output.json {
        output::print_json(report.to_json())
    } else {
        output::print(report.to_text().as_bytes())
    };
    // What can't be made durable is the worst news; then why the input was not read to its end.
    flushed?;
    closed?;
    say_remarks(&outcome, &plan);
    say_more_to_reopen(more_to_reopen);
    ending(&outcome)?;
    written
}

fn input_options(arguments: &LoadArguments) -> InputOptions {
    InputOptions {
        format: arguments.format,
        separator: arguments.separator,
        header: (arguments.header || arguments.no_header).then_some(arguments.header),
        key: arguments.key.clone(),
        value: arguments.value.clone(),
        skip_malformed: arguments.skip_malformed,
    }
}

/// Says before the work begins what the memory carries.
pub(super) fn say_plan(json: bool, plan: &MemoryPlan) {
    if !json {
        output::tell(&format!(
            "{} of memory: {} of log, an index that carries {} keys well (more keys are carried more slowly)",
            ByteSize(plan.total_bytes),
            ByteSize(plan.log_bytes),
            Grouped(plan.keys_carried_well())
        ));
    }
}

/// Says at the end with which `--memory` the store opens again, when that may be more than there was.
pub(super) fn say_more_to_reopen(mebibytes: Option<u64>) {
    if let Some(mebibytes) = mebibytes {
        output::tell(&format!(
            "the index is full and keys share its entries, but opening the store needs an entry for each: say --memory \
             {mebibytes}M or more from now on"
        ));
    }
}

fn say_remarks(outcome: &LoadOutcome, plan: &MemoryPlan) {
    if let Some(first) = &outcome.first_skipped {
        let count = Grouped(outcome.skipped_lines);
        output::tell(&format!("{count} malformed line(s) were left out; the first one: {first}"));
    }
    if outcome.records > plan.keys_carried_well() {
        output::tell(&format!(
            "{} records were stored; if their keys differ, the index carries more than the {} it carries well: more \
             --memory makes reading them faster",
            Grouped(outcome.records),
            Grouped(plan.keys_carried_well())
        ));
    }
}

/// How the load ended, once everything stored is durable.
fn ending(outcome: &LoadOutcome) -> Result<(), Failure> {
    let durable = match &outcome.position {
        Some(position) => {
            format!("everything up to line {} of {} is durable", position.line, position.source)
        }
        None => "nothing was stored".to_owned(),
    };
    match &outcome.failure {
        Some(failure) if failure.kind() == FailureKind::Input => {
            Err(Failure::input(format_args!("{failure}; {durable}")))
        }
        Some(failure) => Err(failure.clone()),
        None if outcome.interrupted => {
            Err(Failure::new(FailureKind::Interrupted, format_args!("interrupted: {durable}")))
        }
        None => Ok(()),
    }
}

fn report(
    arguments: &LoadArguments,
    store: &Store<Vec<u8>>,
    plan: &MemoryPlan,
    outcome: &LoadOutcome,
    time: Duration,
) -> Report {
    let statistics = store.statistics();
    let mut report = Report::default();
    report
        .add("command", "command", Figure::Text("load".to_owned()))
        .add("folder", "folder", Figure::Text(arguments.dir.display().to_string()))
        .add("complete", "complete", Figure::Flag(outcome.failure.is_none() && !outcome.interrupted))
        .add("records", "records", Figure::Count(outcome.records))
        .add("malformed lines left out", "skipped_lines", Figure::Count(outcome.skipped_lines))
        .add("input", "input_bytes", Figure::Bytes(outcome.bytes))
        .add("time", "seconds", Figure::Time(time))
        .add("records a second", "records_per_second", Figure::Rate { count: outcome.records, time })
        .add("bytes a second", "bytes_per_second", Figure::Rate { count: outcome.bytes, time });
    figures::store_section(&mut report, store, &statistics);
    figures::operations_section(&mut report, "Operations of this run", &statistics);
    figures::device_section(&mut report, "Device", &statistics);
    figures::memory_section(&mut report, plan, &statistics);
    report
}
