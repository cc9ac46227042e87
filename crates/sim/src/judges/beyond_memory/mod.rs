//! The judge of state larger than memory: ten times as many bytes as the log may hold, on real files.
//!
//! Threads insert keys of their own, whose fates (deleted, updated, exchanged, ..) come when their records have left memory, and
//! meanwhile add to shared counters, each thread in its own lane. Promises: what a thread wrote it reads; in the end every
//! lane of every counter is exactly what its thread added, every private key is as its fate wants it, before and after
//! closing and opening; and the process never holds more memory than the configuration says (DESIGN D5).

mod private;
mod resident;

use std::path::Path;
use std::sync::Arc;

use oxifaster_device::FileSystemDisk;
use oxifaster_device::sync::atomic::{AtomicBool, Ordering};
use oxifaster_device::sync::thread;
use oxifaster_store::{FasterKv, FasterKvConfig, ReadCacheConfig};

use self::private::Private;
use self::resident::{Sampler, resident_bytes};
use super::report::{Progress, Report};
use super::stored::{CallError, SessionOf, Stored};
use crate::workload::{Fixed, LANES_MAX, Prng, Shape, Varlen, Words};

/// How much to judge.
#[derive(Clone, Copy, Debug)]
pub struct BeyondMemoryOptions {
    /// What everything is drawn from.
    pub seed: u64,
    /// Log memory in bytes.
    pub log_memory_bytes: u64,
    /// Bytes of log to write, in multiples of the memory.
    pub times: u64,
    /// Threads, at most [`LANES_MAX`].
    pub threads: usize,
    /// Keys that are read back at the end of each shape at most, of all threads.
    pub verify_max: u64,
}

/// Operations that wait for a cold record, of all threads, more or less.
const COLD_OPERATIONS: u64 = 60_000;
/// Keys that are verified together.
const VERIFY_BATCH: usize = 512;
/// Shared counters.
const COUNTERS: u64 = 2_000;
/// How often a thread looks whether enough was written.
const LOOK_EVERY: u64 = 1_024;

type StoreOf<S> = Arc<FasterKv<<S as Shape>::Key, <S as Shape>::Value, FileSystemDisk>>;

/// A thread's work and what it must find.
struct Lane<S: Stored> {
    session: SessionOf<S, FileSystemDisk>,
    store: StoreOf<S>,
    private: Private,
    prng: Prng,
    inserted: u64,
    added: Vec<u32>,
    log_bytes: u64,
    stop: Arc<AtomicBool>,
}

/// What a thread leaves behind.
struct Done {
    private: Private,
    inserted: u64,
    added: Vec<u32>,
}

fn store_error(what: &str) -> impl Fn(CallError) -> String {
    move |error| format!("{what}: {error}")
}

impl<S: Stored> Lane<S> {
    fn run(mut self) -> Result<Done, String> {
        let result = self.fill().map_err(store_error("while filling"));
        if result.is_err() {
            // Relaxed: how soon the others stop does not matter.
            self.stop.store(true, Ordering::Relaxed);
        }
        result.map(|()| Done { private: self.private, inserted: self.inserted, added: self.added })
    }

    fn fill(&mut self) -> Result<(), CallError> {
        loop {
            let n = self.inserted;
            if n.is_multiple_of(LOOK_EVERY) {
                let enough = self.store.stats().log_bytes >= self.log_bytes;
                if enough || self.stop.load(Ordering::Relaxed) {
                    return Ok(());
                }
            }
            self.private.insert::<S, _>(&mut self.session, n)?;
            self.inserted += 1;
            if self.prng.chance(0.2) {
                self.add()?;
            }
            if n % self.private.every == 7 {
                let other = self.prng.below(self.inserted);
                self.private.verify::<S, _>(&mut self.session, &[other], self.inserted)?;
            }
        }
    }

    /// Adds to a counter, or checks that this thread's lane of it is what the thread added.
    fn add(&mut self) -> Result<(), CallError> {
        let lane = usize::try_from(self.private.lane).unwrap_or(0);
        let number = self.prng.below(COUNTERS);
        let Some(added) = usize::try_from(number).ok().and_then(|place| self.added.get_mut(place)) else {
            return Ok(());
        };
        // Lanes of a word hold 16 bits.
        if self.prng.chance(0.8) && *added < 60_000 {
            self.session.rmw(S::key(number), |value| {
                S::add_to_lane(value, lane);
                true
            })?;
            *added += 1;
            return Ok(());
        }
        let value = self.session.read(&S::key(number))?;
        let lanes = value.as_ref().map(S::lanes).transpose().map_err(CallError::Wrong)?.unwrap_or_default();
        if lanes.get(lane).copied() == Some(u64::from(*added)) {
            return Ok(());
        }
        let message = format!("counter {number}: thread {lane} added {added} times and reads {lanes:?}");
        Err(CallError::Wrong(message))
    }
}

/// Bytes of a record with a private key, more or less.
fn record_bytes<S: Shape>() -> u64 {
    match S::NAME {
        "words" => 24,
        "fixed" => 88,
        _ => 250,
    }
}

fn config<S: Shape>(options: &BeyondMemoryOptions) -> FasterKvConfig {
    let records = options.log_memory_bytes * options.times / record_bytes::<S>();
    FasterKvConfig {
        // About four keys a bucket: chains of records on the device are short.
        table_size: (records / 4).next_power_of_two().max(1 << 10),
        log_memory_size: options.log_memory_bytes,
        read_cache: Some(ReadCacheConfig::default().with_mem_size(options.log_memory_bytes / 8)),
        ..FasterKvConfig::default()
    }
}

fn open<S: Stored>(config: &FasterKvConfig, path: &Path) -> Result<StoreOf<S>, String> {
    let device = FileSystemDisk::single_file(path).map_err(|error| format!("opening the file: {error}"))?;
    let store = FasterKv::open(config.clone(), device).map_err(|error| format!("open: {error}"))?;
    Ok(Arc::new(store))
}

fn fill<S: Stored>(store: &StoreOf<S>, options: &BeyondMemoryOptions) -> Result<Vec<Done>, String> {
    let threads = options.threads.clamp(1, LANES_MAX) as u64;
    let fitting = options.log_memory_bytes / record_bytes::<S>() / threads;
    let insertions = fitting * options.times;
    let every = (insertions * threads * 7 / COLD_OPERATIONS).max(16);
    let stop = Arc::new(AtomicBool::new(false));
    let mut running = Vec::new();
    for lane in 0..threads {
        let work = Lane::<S> {
            session: store.start_session().map_err(|error| format!("start_session: {error}"))?,
            store: Arc::clone(store),
            private: Private { lane, every, lag: fitting * 5 / 4 },
            prng: Prng::lane(options.seed, lane),
            inserted: 0,
            added: (0..COUNTERS).map(|_| 0).collect(),
            log_bytes: options.log_memory_bytes * options.times,
            stop: Arc::clone(&stop),
        };
        running.push(
            thread::spawn("judge-lane", move || work.run()).map_err(|error| format!("spawn: {error}"))?,
        );
    }
    let joined = running.into_iter().map(|handle| {
        handle.join().unwrap_or_else(|_| Err("a thread that fills the store panicked".to_owned()))
    });
    joined.collect::<Vec<_>>().into_iter().collect()
}

/// Checks every counter and up to `verify_max` private keys, evenly spread; returns how many keys were read.
fn verify<S: Stored>(store: &StoreOf<S>, done: &[Done], verify_max: u64) -> Result<u64, CallError> {
    let mut session = store.start_session()?;
    let mut read = 0;
    for number in 0..COUNTERS {
        let place = usize::try_from(number).unwrap_or(0);
        let mut counts = [0; LANES_MAX];
        for (count, lane) in counts.iter_mut().zip(done) {
            *count = lane.added.get(place).copied().map_or(0, u64::from);
        }
        let right = counts.iter().any(|&count| count > 0).then(|| S::of_lanes(counts));
        let found = session.read(&S::key(number))?;
        if found != right {
            let lanes = found.as_ref().map(S::lanes);
            return Err(CallError::Wrong(format!(
                "counter {number} is {lanes:?}, the threads added {counts:?}"
            )));
        }
        read += 1;
    }
    for lane in done {
        let stride = (lane.inserted * done.len() as u64).div_ceil(verify_max.max(1)).max(1);
        let numbers: Vec<u64> = (0..lane.inserted).filter(|n| n.is_multiple_of(stride)).collect();
        for batch in numbers.chunks(VERIFY_BATCH) {
            lane.private.verify::<S, _>(&mut session, batch, lane.inserted)?;
            read += batch.len() as u64;
        }
    }
    Ok(read)
}

fn judge_shape<S: Stored>(
    options: &BeyondMemoryOptions,
    report: &mut Report,
    progress: Progress<'_>,
) -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|error| format!("a temporary folder: {error}"))?;
    let path = folder.path().join("store.log");
    let config = config::<S>(options);
    let before = resident_bytes();
    let sampler = Sampler::start().map_err(|error| format!("spawn: {error}"))?;
    let store = open::<S>(&config, &path)?;
    let done = fill::<S>(&store, options)?;
    let statistics = store.stats();
    let inserted: u64 = done.iter().map(|lane| lane.inserted).sum();
    progress(&format!("{}: {inserted} keys, {} MiB of log; reading", S::NAME, statistics.log_bytes >> 20));
    let mut read = verify::<S>(&store, &done, options.verify_max).map_err(store_error("reading back"))?;
    store.close().map_err(|error| format!("close: {error}"))?;
    drop(store);
    let store = open::<S>(&config, &path)?;
    if store.recovery_report().created {
        return Err("the reopened store is a new one".to_owned());
    }
    read += verify::<S>(&store, &done, options.verify_max / 4)
        .map_err(store_error("reading back after a reopen"))?;
    let largest = sampler.stop();
    // DESIGN D5. What the judge itself holds for its threads is small: counters and batches.
    let bound = before.unwrap_or(0) + config.memory_plan().total_bytes() * 5 / 4 + (64 << 20);
    let note =
        |name: &str, value: u64, report: &mut Report| report.note(&format!("{}_{name}", S::NAME), value);
    note("keys", inserted, report);
    note("read_back", read, report);
    note("log_mib", statistics.log_bytes >> 20, report);
    note("pages_evicted", statistics.pages_evicted, report);
    note("device_reads", statistics.device_reads, report);
    note("resident_mib_max", largest >> 20, report);
    note("resident_mib_bound", bound >> 20, report);
    match largest <= bound {
        true => Ok(()),
        false => Err(format!("{} MiB were resident, the bound is {} MiB", largest >> 20, bound >> 20)),
    }
}

/// Runs the judge.
pub fn judge(options: &BeyondMemoryOptions, progress: Progress<'_>) -> Report {
    let mut report = Report::new("beyond-memory", options.seed);
    let shapes: [(&str, ShapeJudge); 3] = [
        (Words::NAME, judge_shape::<Words>),
        (Fixed::NAME, judge_shape::<Fixed>),
        (Varlen::NAME, judge_shape::<Varlen>),
    ];
    for (name, judge) in shapes {
        if let Err(message) = judge(options, &mut report, progress) {
            report.blame(format!("{name}: {message}"));
        }
    }
    report
}

/// Judges one shape.
type ShapeJudge = fn(&BeyondMemoryOptions, &mut Report, Progress<'_>) -> Result<(), String>;
