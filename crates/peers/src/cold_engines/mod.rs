//! Cold point reads of several stores with the same memory.
//!
//! ```text
//!  load (no limit)      forget what is cached     read (a process in a memory limit, anew for each store and round)
//!  ├── store A, B, … ───┼──────────────────────────┼── A: uniform, zipfian ──┼── B … ──┼── fio ──┼── A …
//! ```
//!
//! | part | what it is |
//! |---|---|
//! | [`limit`] | the memory limit: a control group of the kernel |
//! | [`process`] | one process: opens a store, loads or reads it |
//! | [`stores`] | the stores and how each is set up |
//! | [`table`] | medians and ratios, in Markdown |
//!
//! Why it is fair:
//! 1. The limit counts a store's own cache, its heap, and the pages it has in the page cache alike. When it can't be set, nothing is
//!    measured unless `--no-limit` says so, and then the output says it.
//! 2. A store is read by one thread and by many, and in batches where it has them; it is compared by its best way.
//! 3. Each process is new and starts with nothing cached, warms up, and counts what lies between two points in time.
//! 4. Every value that is read is compared with what it must be.

pub mod limit;
pub mod process;
mod stores;
mod table;

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::bounds::{self, ReadRate};
use crate::stores::Failure;
use limit::Limit;
use process::{Reached, Way};

#[derive(clap::Args)]
pub struct Arguments {
    /// Folder on the device to measure; a folder made in it is removed afterwards.
    #[arg(long)]
    dir: PathBuf,
    /// Memory of each store's process in MiB, page cache included.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u64).range(64..))]
    memory_mib: u64,
    /// Keys and values, in bytes and as oxifaster keeps them, are so many times the memory.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..))]
    factor: u64,
    /// Bytes of a value: 8 or 100.
    #[arg(long, default_value_t = 100)]
    value_bytes: usize,
    /// Ways to read, as THREADSxBATCH. Batches are left out for stores that have none.
    #[arg(long, value_delimiter = ',', default_value = "1x1,32x1,1x1024")]
    ways: Vec<Way>,
    /// Device reads in flight, for oxifaster's batches and for fio.
    #[arg(long, default_value_t = 128)]
    depth: usize,
    /// Seconds of a measurement.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Seconds of reading before the first measurement of a distribution.
    #[arg(long, default_value_t = 3.0)]
    warm_up: f64,
    /// Rounds over all stores.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,
    /// Stores, by the names of their cargo features. Default: all that were built in.
    #[arg(long, value_delimiter = ',')]
    stores: Option<Vec<String>>,
    /// The control group below which groups with the limit are made. Default: where the memory groups begin.
    #[arg(long)]
    group: Option<PathBuf>,
    /// Measure without the limit where there is no way to set one.
    #[arg(long)]
    no_limit: bool,
}

/// A store with its data on the device.
struct Loaded {
    key: &'static str,
    name: &'static str,
    folder: PathBuf,
    seconds: f64,
    disk_bytes: u64,
    /// Largest memory that a reading process had, by the count of its limit.
    peak_bytes: u64,
    rounds: Vec<Vec<Reached>>,
    /// Why it is not read any more.
    failure: Option<String>,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let folder = tempfile::Builder::new().prefix("oxifaster-cold-").tempdir_in(&arguments.dir)?;
    let known = stores::all();
    if let Some(unknown) =
        arguments.stores.iter().flatten().find(|name| known.iter().all(|(key, ..)| key != name))
    {
        let names: Vec<&str> = known.iter().map(|(key, ..)| *key).collect();
        return Err(format!("there is no store '{unknown}' in this build, but [{}]", names.join(", ")).into());
    }
    if !arguments.no_limit {
        // Before the long load, not after it, one learns that there is no limit.
        Limit::new(arguments.group.as_deref(), arguments.memory_bytes())?;
    }
    let load = crate::wal::load_average();
    let mut loaded = Vec::new();
    for (key, name, _) in known {
        if arguments.stores.as_ref().is_none_or(|names| names.iter().any(|wanted| wanted == key)) {
            loaded.push(arguments.load(key, name, &folder.path().join(key))?);
        }
    }
    let mut fio = Vec::new();
    for round in 0..arguments.rounds {
        // A store that its limit ended is told in the table, and the others are measured all the same.
        for store in loaded.iter_mut().filter(|store| store.failure.is_none()) {
            store.failure = arguments.read(store, round + 1).err().map(|error| error.to_string());
        }
        // The first is this repository's own unless it was left out: its file has no holes.
        if let Some(first) = loaded.first()
            && let Some(rate) = arguments.fio(&first.folder)?
        {
            fio.push(rate);
        }
    }
    table::print(arguments, &loaded, &fio, &load);
    match loaded.into_iter().find_map(|store| store.failure) {
        Some(failure) => Err(failure.into()),
        None => Ok(()),
    }
}

impl Arguments {
    fn memory_bytes(&self) -> u64 {
        self.memory_mib << 20
    }

    /// Keys whose records are so many times the memory: header, key and value, and a sequence for values that are no word.
    fn keys(&self) -> u64 {
        let record_bytes =
            if self.value_bytes == 8 { 24 } else { 24 + self.value_bytes.next_multiple_of(8) as u64 };
        self.memory_bytes() * self.factor / record_bytes
    }

    fn process(&self, store: &str, folder: &Path) -> Result<Command, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(["cold-process", "--store", store])
            .arg("--folder")
            .arg(folder)
            .arg(format!("--keys={}", self.keys()))
            .arg(format!("--value-bytes={}", self.value_bytes))
            .arg(format!("--memory-bytes={}", self.memory_bytes()))
            .arg(format!("--depth={}", self.depth))
            // The C library gives each thread a heap of its own, and the holes in 32 of them count as memory, too: RocksDB went beyond
            // its limit by them alone. One heap for all is its own advice where no other allocator is linked.
            .env("MALLOC_ARENA_MAX", "1");
        Ok(command)
    }

    fn load(&self, key: &'static str, name: &'static str, folder: &Path) -> Result<Loaded, Failure> {
        std::fs::create_dir_all(folder)?;
        let start = Instant::now();
        let mut command = self.process(key, folder)?;
        output(name, command.arg("--load"))?;
        limit::forget_cached(folder)?;
        let (seconds, disk_bytes) = (start.elapsed().as_secs_f64(), disk_bytes(folder)?);
        eprintln!("{name}: loaded {} keys in {seconds:.1} s, {} MiB", self.keys(), disk_bytes >> 20);
        Ok(Loaded {
            key,
            name,
            folder: folder.to_owned(),
            seconds,
            disk_bytes,
            peak_bytes: 0,
            rounds: Vec::new(),
            failure: None,
        })
    }

    fn read(&self, store: &mut Loaded, seed: u64) -> Result<(), Failure> {
        let mut command = self.process(store.key, &store.folder)?;
        let ways: Vec<String> = self.ways.iter().map(ToString::to_string).collect();
        command
            .arg(format!("--ways={}", ways.join(",")))
            .arg(format!("--seconds={}", self.seconds))
            .arg(format!("--warm-up={}", self.warm_up))
            .arg(format!("--seed={seed}"));
        let limit =
            if self.no_limit { None } else { Some(Limit::new(self.group.as_deref(), self.memory_bytes())?) };
        if let Some(limit) = &limit {
            command.arg("--group").arg(limit.folder());
        }
        let text = output(store.name, &mut command)?;
        if let Some(limit) = &limit {
            store.peak_bytes = store.peak_bytes.max(limit.peak_bytes()?);
        }
        store.rounds.push(serde_json::from_str(text.trim())?);
        limit::forget_cached(&store.folder)?;
        Ok(())
    }

    /// What the device can do, on a file of a store.
    fn fio(&self, folder: &Path) -> Result<Option<ReadRate>, Failure> {
        let Some(file) = largest_file(folder)? else { return Ok(None) };
        Ok(bounds::fio_reads(&file, self.depth, Duration::from_secs_f64(self.seconds.ceil())))
    }
}

/// What a process printed, when it ended well.
fn output(name: &str, command: &mut Command) -> Result<String, Failure> {
    let output = command.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("{name} ended with {} (a signal 9 is the memory limit's)", output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn files(folder: &Path) -> Result<Vec<(PathBuf, std::fs::Metadata)>, Failure> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            all.extend(files(&entry.path())?);
        } else {
            all.push((entry.path(), entry.metadata()?));
        }
    }
    Ok(all)
}

/// Bytes of the blocks that files take.
fn disk_bytes(folder: &Path) -> Result<u64, Failure> {
    Ok(files(folder)?.iter().map(|(_, metadata)| metadata.blocks() * 512).sum())
}

fn largest_file(folder: &Path) -> Result<Option<PathBuf>, Failure> {
    let largest = files(folder)?.into_iter().max_by_key(|(_, metadata)| metadata.blocks());
    Ok(largest.map(|(path, _)| path))
}
