//! Logs in one run: appends beside `fio` and a memory copy, durable appends beside other engines' write-ahead logs, and scans beside `fio`.
//!
//! | file | what is measured |
//! |---|---|
//! | `append` | entries that a commit makes durable every few milliseconds, beside the device's and the memory's bounds |
//! | `durable` | many writers that each wait for their own entry; `ours`, `rocks` and `sqlite` are who takes part |
//! | `scan` | a log that no memory holds, read from end to end and verified |
//! | `fio` | what `fio` reaches at the same place |
//!
//! Rounds alternate between all that is compared, so that noise of the machine meets all; a figure is the median over the rounds, a
//! ratio the median of the rounds' ratios. Each table is Markdown, with the machine's load before and after it.

mod append;
mod durable;
pub mod fio;
mod ours;
#[cfg(feature = "rocksdb")]
mod rocks;
mod scan;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::path::{Path, PathBuf};

use oxifaster::device::FileSystemDisk;
use oxifaster::log::{FasterLog, FasterLogConfig};

use crate::stores::Failure;

#[derive(clap::Args)]
pub struct Arguments {
    /// Folder on the file system to measure; a folder made in it is removed afterwards.
    #[arg(long)]
    dir: PathBuf,
    /// What to measure.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Part::Append, Part::Durable, Part::Scan])]
    parts: Vec<Part>,
    /// Seconds of a measurement.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Rounds.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,
    /// Bytes of an entry that is appended.
    #[arg(long, default_value_t = 100)]
    entry_bytes: usize,
    /// Threads that append without waiting.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2])]
    threads: Vec<usize>,
    /// Writers that wait for their entries.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..))]
    writers: u64,
    /// GiB of log to scan.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..))]
    scan_gib: u64,
    /// Bytes of an entry in the logs that are scanned.
    #[arg(long, value_delimiter = ',', default_values_t = [100, 4000])]
    scan_entry_bytes: Vec<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Appends with a commit every 5 ms.
    Append,
    /// Durable appends of many writers.
    Durable,
    /// A cold scan.
    Scan,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let folder = tempfile::Builder::new().prefix("oxifaster-peers-").tempdir_in(&arguments.dir)?;
    for part in &arguments.parts {
        let before = load_average();
        match part {
            Part::Append => append::run(arguments, folder.path())?,
            Part::Durable => durable::run(arguments, folder.path())?,
            Part::Scan => scan::run(arguments, folder.path())?,
        }
        println!("\nLoad of the machine: {before} before, {} after.\n", load_average());
    }
    Ok(())
}

/// Processes that want a core, over the last minute.
pub fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().unwrap_or("unknown").to_owned()
}

/// A log of its own in a folder that is made, in segments as the program makes them.
fn open_log(folder: &Path, config: FasterLogConfig) -> Result<FasterLog, Failure> {
    std::fs::create_dir_all(folder)?;
    Ok(FasterLog::open(config, FileSystemDisk::segmented(folder, "log", 256 << 20)?)?)
}

fn median(figures: &[f64]) -> f64 {
    let mut figures = figures.to_vec();
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The median of what one was in the other, round by round.
fn ratio(ours: &[f64], theirs: &[f64]) -> f64 {
    median(&ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect::<Vec<_>>())
}

/// Bytes per second of one request at a time, and of eight, round by round; `None` where there is no `fio`.
type DeviceRates = [Vec<Option<f64>>; fio::DEPTHS.len()];

/// The rates of the depth with the better median. (The better one of each round would be the device's luck twice over.)
fn better_depth(rates: &DeviceRates) -> Vec<f64> {
    let complete = rates.iter().filter_map(|rates| rates.iter().copied().collect::<Option<Vec<f64>>>());
    complete.max_by(|one, other| median(one).total_cmp(&median(other))).unwrap_or_default()
}
