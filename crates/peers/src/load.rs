//! Loading beyond memory: records of 8 and 8 bytes into a store whose log memory holds a part of them, beside `fio`.
//!
//! Rounds alternate between the numbers of threads and `fio`, which writes the same device from beginning to end with requests of
//! 1 MiB. Each load goes into a new store. Its clock runs from the first record until the last one is in, and, for a second
//! rate, until everything is on the device. Making the index (memory that the kernel clears) is told by itself.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use oxifaster::device::{IoUringDevice, IoUringOptions, RingUse};
use oxifaster::store::{FasterKv, FasterKvConfig};

use crate::bounds::cpu_seconds;
use crate::memory::median;
use crate::stores::Failure;
use crate::wal::{fio, load_average};

const RECORD_BYTES: u64 = 24;
const SEGMENT_BYTES: u64 = 1 << 30;
/// Requests of `fio` between two syncs: one GiB.
const REQUESTS_PER_SYNC: u64 = 1024;

#[derive(clap::Args)]
pub struct Arguments {
    /// Folder on the device to measure; a folder made in it is removed afterwards.
    #[arg(long)]
    dir: std::path::PathBuf,
    /// Records.
    #[arg(long, default_value_t = 160_000_000, value_parser = clap::value_parser!(u64).range(1024..))]
    keys: u64,
    /// Log memory in MiB.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u64).range(8..))]
    log_memory_mib: u64,
    /// Keys for each bucket of the index, which is rounded up to a power of two of them.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=64))]
    keys_per_bucket: u64,
    /// Threads that load.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2])]
    threads: Vec<u64>,
    /// Records of a call.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    batch: u64,
    /// Rounds.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,
    /// Seconds of `fio`.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    fio_seconds: u64,
    /// The device with rings, or positioned writes.
    #[arg(long, value_enum, default_value_t = Rings::Yes)]
    rings: Rings,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Rings {
    Yes,
    No,
}

/// What one load reached.
#[derive(Clone, Copy)]
struct Reached {
    /// Seconds until the store was made, all records were in it, and they were on the device.
    made: f64,
    inserted: f64,
    flushed: f64,
    cpu: f64,
    overflow_buckets: u64,
    peak_bytes: u64,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let folder = tempfile::Builder::new().prefix("oxifaster-load-").tempdir_in(&arguments.dir)?;
    let before = load_average();
    let mut loads = vec![Vec::new(); arguments.threads.len()];
    let mut device = Vec::new();
    for _ in 0..arguments.rounds {
        for (threads, loads) in arguments.threads.iter().zip(&mut loads) {
            let place = folder.path().join("store");
            loads.push(load(arguments, *threads, &place)?);
            std::fs::remove_dir_all(&place)?;
        }
        let rates = fio::DEPTHS
            .map(|depth| fio::writes(folder.path(), depth, REQUESTS_PER_SYNC, arguments.fio_seconds));
        if let Some(rate) = rates.into_iter().flatten().reduce(f64::max) {
            device.push(rate);
        }
    }
    print(arguments, &loads, &device);
    println!("\nLoad of the machine: {before} before, {} after.", load_average());
    Ok(())
}

fn load(arguments: &Arguments, threads: u64, place: &Path) -> Result<Reached, Failure> {
    std::fs::create_dir_all(place)?;
    let rings = if arguments.rings == Rings::Yes { RingUse::Required } else { RingUse::Never };
    let options = IoUringOptions::default().with_rings(rings);
    let config = FasterKvConfig {
        table_size: arguments.keys.div_ceil(arguments.keys_per_bucket).next_power_of_two(),
        log_memory_size: arguments.log_memory_mib << 20,
        ..Default::default()
    };
    let start = Instant::now();
    let store = Arc::new(FasterKv::<u64, u64, _>::open(
        config,
        IoUringDevice::segmented_with_options(place, "store", SEGMENT_BYTES, options)?,
    )?);
    let made = start.elapsed().as_secs_f64();
    let (start, cpu) = (Instant::now(), cpu_seconds()?);
    std::thread::scope(|scope| -> Result<(), Failure> {
        let share = |lane: u64| arguments.keys / threads * lane + (arguments.keys % threads).min(lane);
        let lanes: Vec<_> = (0..threads)
            .map(|lane| {
                let store = &store;
                scope.spawn(move || insert(store, share(lane)..share(lane + 1), arguments.batch))
            })
            .collect();
        for lane in lanes {
            lane.join().map_err(|_| "a loading thread panicked")?.map_err(|error| error.to_string())?;
        }
        Ok(())
    })?;
    let inserted = start.elapsed().as_secs_f64();
    store.flush()?;
    let flushed = start.elapsed().as_secs_f64();
    let cpu = cpu_seconds()? - cpu;
    let statistics = store.stats();
    check(&store, arguments.keys)?;
    store.close()?;
    let reached = Reached {
        made,
        inserted,
        flushed,
        cpu,
        overflow_buckets: statistics.index_overflow_buckets,
        peak_bytes: resident_peak()?,
    };
    eprintln!("{threads} thread(s): {:.1} s, on the device after {:.1} s", reached.inserted, reached.flushed);
    Ok(reached)
}

fn insert(
    store: &Arc<FasterKv<u64, u64, IoUringDevice>>,
    keys: std::ops::Range<u64>,
    batch: u64,
) -> Result<(), oxifaster::error::Error> {
    let mut session = store.start_session()?;
    let mut pairs = Vec::with_capacity(batch as usize);
    for first in keys.clone().step_by(batch as usize) {
        pairs.clear();
        pairs.extend((first..keys.end.min(first + batch)).map(|key| (key, !key)));
        session.upsert_batch(&pairs)?;
    }
    Ok(())
}

/// Whether keys from all over the log are there.
fn check(store: &Arc<FasterKv<u64, u64, IoUringDevice>>, keys: u64) -> Result<(), Failure> {
    let mut session = store.start_session()?;
    let few: Vec<u64> = (0..keys).step_by(keys.div_ceil(10_000) as usize).collect();
    let values = session.read_batch(&few)?;
    match few.iter().zip(&values).find(|(key, value)| **value != Some(!**key)) {
        None => Ok(()),
        Some((key, value)) => Err(format!("key {key} has the value {value:?}").into()),
    }
}

/// The most bytes of memory that this process has had, which is that of its largest load so far.
fn resident_peak() -> Result<u64, Failure> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line =
        text.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM in /proc/self/status")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}

fn print(arguments: &Arguments, loads: &[Vec<Reached>], device: &[f64]) {
    let keys = arguments.keys as f64;
    println!(
        "{} records of 8 and 8 bytes, {} MiB of log memory, an index of 2^{} buckets, {} records in a call, {} rounds",
        arguments.keys,
        arguments.log_memory_mib,
        arguments.keys.div_ceil(arguments.keys_per_bucket).next_power_of_two().ilog2(),
        arguments.batch,
        arguments.rounds
    );
    println!(
        "\n| threads | million records/s | each thread | until on the device | MB/s of log | fio MB/s | / fio | processor ns per record | index made in | overflow buckets | peak memory |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    for (threads, loads) in arguments.threads.iter().zip(loads) {
        let of = |figure: &dyn Fn(&Reached) -> f64| median(loads.iter().map(figure).collect());
        let log = |load: &Reached| keys * RECORD_BYTES as f64 / load.flushed;
        let rate = of(&|load| keys / load.inserted / 1e6);
        let (fio, by_fio) = match device {
            [] => ("-".to_owned(), "-".to_owned()),
            _ => {
                let ratios = loads.iter().zip(device).map(|(load, fio)| log(load) / fio).collect();
                (format!("{:.0}", median(device.to_vec()) / 1e6), format!("{:.2}", median(ratios)))
            }
        };
        println!(
            "| {threads} | {rate:.2} | {:.2} | {:.2} | {:.0} | {fio} | {by_fio} | {:.0} | {:.1} s | {:.0} | {:.0} MiB |",
            rate / *threads as f64,
            of(&|load| keys / load.flushed / 1e6),
            of(&log) / 1e6,
            of(&|load| load.cpu / keys * 1e9),
            of(&|load| load.made),
            of(&|load| load.overflow_buckets as f64),
            of(&|load| load.peak_bytes as f64 / f64::from(1 << 20)),
        );
    }
}
