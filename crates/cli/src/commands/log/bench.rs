//! `log bench`: how fast entries are appended and become durable on this device.

use std::time::{Duration, Instant};

use oxifaster_core::Error;
use oxifaster_device::sync::clock;
use oxifaster_log::{FasterLog, FasterLogConfig};

use super::append::write;
use super::{log_failure, open_or_create, policy};
use crate::failure::Failure;
use crate::log_arguments::{BenchArguments, CommitWhen};
use crate::report::{Figure, Report};

/// Entries between two looks at the clock.
const ENTRIES_PER_LOOK: u64 = 256;

#[derive(Debug, Default)]
struct Ran {
    entries: u64,
    /// Of each durable append, for `each`.
    latencies: Vec<Duration>,
}

pub(super) fn run(arguments: &BenchArguments) -> Result<(), Failure> {
    let folder = &arguments.log.dir;
    let failed = |error| log_failure(folder, &error);
    let pages = (arguments.memory.0 >> 20).next_power_of_two().max(4);
    let config = FasterLogConfig::default()
        .with_memory_pages(usize::try_from(pages).unwrap_or(usize::MAX))
        .with_commit_policy(policy(arguments.commit));
    let log = open_or_create(folder, config)?;
    let before = log.commit_info();
    let started = clock::now();
    let end = started + Duration::from_secs(arguments.seconds);
    let ran: Vec<Result<Ran, Error>> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..arguments.threads).map(|_| scope.spawn(|| append_until(&log, arguments, end))).collect();
        // A thread that panicked is no measurement of nothing: the panic goes on here.
        let ran = threads.into_iter().map(|thread| thread.join());
        ran.map(|ran| ran.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    });
    log.commit().map_err(failed)?;
    let time = started.elapsed();
    let mut sum = Ran::default();
    for ran in ran {
        let ran = ran.map_err(failed)?;
        sum.entries += ran.entries;
        sum.latencies.extend(ran.latencies);
    }
    let commits = log.commit_info().number - before.number;
    let log_bytes = (log.committed_address().byte_offset()).saturating_sub(before.until.byte_offset());
    log.close().map_err(failed)?;
    let entry_bytes = sum.entries * arguments.entry_bytes as u64;
    let mut report = Report::default();
    report
        .add("command", "command", Figure::Text("log bench".to_owned()))
        .add("threads", "threads", Figure::Count(u64::from(arguments.threads)))
        .add("entries", "entries", Figure::Count(sum.entries))
        .add("rate", "entries_per_second", Figure::Rate { count: sum.entries, time })
        .add("entry bytes each second", "entry_bytes_per_second", Figure::Rate { count: entry_bytes, time })
        .add("log bytes each second", "log_bytes_per_second", Figure::Rate { count: log_bytes, time })
        .add("commits", "commits", Figure::Count(commits))
        .add("time", "seconds", Figure::Time(time));
    if !sum.latencies.is_empty() {
        sum.latencies.sort_unstable();
        report
            .section("Time of a durable append", "durable_append")
            .add("p50", "p50_micros", quantile(&sum.latencies, 500))
            .add("p99", "p99_micros", quantile(&sum.latencies, 990))
            .add("p99.9", "p999_micros", quantile(&sum.latencies, 999));
    }
    write(arguments.log.output.json, &report)
}

/// In microseconds; `thousandth` of 1000.
fn quantile(sorted: &[Duration], thousandth: usize) -> Figure {
    let place = (sorted.len() * thousandth / 1000).min(sorted.len().saturating_sub(1));
    let micros = sorted.get(place).map_or(0, Duration::as_micros);
    Figure::Count(u64::try_from(micros).unwrap_or(u64::MAX))
}

fn append_until(log: &FasterLog, arguments: &BenchArguments, end: Instant) -> Result<Ran, Error> {
    let entry = vec![0x5A; arguments.entry_bytes];
    let mut ran = Ran::default();
    loop {
        if arguments.commit == CommitWhen::Each {
            let started = clock::now();
            if started >= end {
                return Ok(ran);
            }
            log.append_and_commit(&entry)?;
            ran.latencies.push(started.elapsed());
            ran.entries += 1;
        } else {
            if clock::now() >= end {
                return Ok(ran);
            }
            for _ in 0..ENTRIES_PER_LOOK {
                log.append(&entry)?;
            }
            ran.entries += ENTRIES_PER_LOOK;
        }
    }
}
