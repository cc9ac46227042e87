//! `count`: words or n-grams of real text, by `fetch_add` on a store that may be far larger than its memory.

use std::path::Path;
use std::time::Duration;

use oxifaster_device::sync::clock;
use serde_json::{Map, Value};

use super::figures;
use super::load::{say_more_to_reopen, say_plan};
use crate::arguments::CountArguments;
use crate::byte_size::Grouped;
use crate::count::{self, CountOptions, CountOutcome, TopCounts};
use crate::failure::{Failure, FailureKind};
use crate::input::source::{self, TextFiles};
use crate::interrupt::Interrupt;
use crate::memory_plan::MemoryPlan;
use crate::output;
use crate::progress_bar::ProgressLine;
use crate::report::{Figure, Report};
use crate::store_access::{Store, StoreFolder};

/// Longer n-grams are left out: they are no language, and would make the keys of everybody else dear.
const KEY_BYTES_MAX: usize = 1024;
/// Expected length of an n-gram among the best, for the memory plan.
const TOP_KEY_BYTES: u64 = 64;

pub(super) fn run(arguments: &CountArguments) -> Result<(), Failure> {
    let files = source::text_files(&arguments.files)?;
    let interrupt = Interrupt::on_signals()?;
    match &arguments.dir {
        Some(folder) => count_into(folder, arguments, files, &interrupt),
        None => {
            let folder = tempfile::Builder::new().prefix("oxifaster-count-").tempdir().map_err(|error| {
                Failure::other(format_args!("can't make a temporary folder (say --dir): {error}"))
            })?;
            let counted = count_into(folder.path(), arguments, files, &interrupt);
            let removed = folder
                .close()
                .map_err(|error| Failure::other(format_args!("can't remove the temporary folder: {error}")));
            counted.and(removed)
        }
    }
}

fn count_into(
    folder: &Path,
    arguments: &CountArguments,
    files: TextFiles,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    let threads = arguments.resources.thread_count();
    let top_bytes = TopCounts::memory_bytes(u64::from(arguments.top), TOP_KEY_BYTES) * threads as u64;
    let folder = StoreFolder::open_or_create(folder, arguments.device)?;
    let plan = folder.plan_memory(arguments.resources.memory.0, threads, top_bytes, true)?;
    let store = folder.open::<u64>(&plan)?;
    say_plan(arguments.output.json, &plan);

    let options = CountOptions {
        ngram_words: usize::from(arguments.ngrams),
        lowercase: arguments.lowercase,
        top: usize::try_from(arguments.top).unwrap_or(usize::MAX),
        key_bytes_max: KEY_BYTES_MAX,
        chunk_bytes: usize::try_from(plan.chunk_bytes).unwrap_or(usize::MAX),
        in_flight: usize::try_from(plan.chunks_in_flight).unwrap_or(usize::MAX),
    };
    let what = if arguments.ngrams == 1 { "words" } else { "n-grams" };
    let bar = ProgressLine::new(source::total_bytes(&files.sources), what);
    let file_count = files.sources.len() as u64;
    let started = clock::now();
    let sinks = store.sessions(threads)?;
    let outcome = count::count(files.sources, options, sinks, interrupt, |progress| bar.show(progress))?;
    bar.finish();
    let flushed = store.flush();
    let mut report = Report::default();
    report
        .add("command", "command", Figure::Text("count".to_owned()))
        .add("files", "files", Figure::Count(file_count))
        .add("binary files left out", "binary_files", Figure::Count(files.binary_files));
    add_outcome(&mut report, arguments, &outcome, started.elapsed());
    add_store(&mut report, &store, &plan);
    let more_to_reopen = arguments.dir.as_ref().and_then(|_| store.more_to_reopen(&plan));
    let closed = store.close();
    let written = write(arguments, &outcome, &report);
    flushed?;
    closed?;
    if outcome.too_long != 0 {
        let count = Grouped(outcome.too_long);
        output::tell(&format!("{count} {what} of more than {KEY_BYTES_MAX} bytes were left out"));
    }
    say_more_to_reopen(more_to_reopen);
    ending(arguments, &outcome)?;
    written
}

fn add_outcome(report: &mut Report, arguments: &CountArguments, outcome: &CountOutcome, time: Duration) {
    report
        .add("complete", "complete", Figure::Flag(outcome.failure.is_none() && !outcome.interrupted))
        .add("words in a row", "ngram_words", Figure::Count(u64::from(arguments.ngrams)))
        .add("counted", "counted", Figure::Count(outcome.ngrams))
        .add("new in the store", "new_keys", Figure::Count(outcome.new_ngrams))
        .add("too long, left out", "too_long", Figure::Count(outcome.too_long))
        .add("text", "input_bytes", Figure::Bytes(outcome.bytes))
        .add("time", "seconds", Figure::Time(time))
        .add("counted a second", "counted_per_second", Figure::Rate { count: outcome.ngrams, time });
}

fn add_store(report: &mut Report, store: &Store<u64>, plan: &MemoryPlan) {
    let statistics = store.statistics();
    figures::store_section(report, store, &statistics);
    figures::operations_section(report, "Operations of this run", &statistics);
    figures::device_section(report, "Device", &statistics);
    figures::memory_section(report, plan, &statistics);
}

fn write(arguments: &CountArguments, outcome: &CountOutcome, report: &Report) -> Result<(), Failure> {
    if arguments.output.json {
        let mut object = report.to_json();
        let top = outcome.top.iter().map(|(key, count)| {
            let mut entry = Map::new();
            output::insert_bytes(&mut entry, "key", key);
            entry.insert("count".to_owned(), Value::from(*count));
            Value::Object(entry)
        });
        object.insert("top".to_owned(), Value::Array(top.collect()));
        return output::print_json(object);
    }
    let width = outcome.top.first().map_or(0, |(_, count)| count.to_string().len()).max(7);
    let mut text = Vec::new();
    for (key, count) in &outcome.top {
        text.extend_from_slice(format!("{count:>width$} ").as_bytes());
        text.extend_from_slice(key);
        text.push(b'\n');
    }
    if !outcome.top.is_empty() {
        text.push(b'\n');
    }
    text.extend_from_slice(report.to_text().as_bytes());
    output::print(&text)
}

fn ending(arguments: &CountArguments, outcome: &CountOutcome) -> Result<(), Failure> {
    if let Some(failure) = &outcome.failure {
        return Err(failure.clone());
    }
    if outcome.interrupted {
        let kept = if arguments.dir.is_some() { "counted and durable" } else { "counted" };
        let count = Grouped(outcome.ngrams);
        return Err(Failure::new(FailureKind::Interrupted, format_args!("interrupted: {count} were {kept}")));
    }
    Ok(())
}
