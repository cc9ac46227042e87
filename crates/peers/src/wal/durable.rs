//! Durable appends: many writers, each of which appends an entry, waits until it survives power loss, and appends the next.
//!
//! Everybody writes the same bytes at the same place. The first row is the device's: a block written and synced, one after the
//! other. How each engine is set up, and why, stands at the top of its file.

use std::path::Path;
use std::time::{Duration, Instant};

use oxifaster::device::{FileSystemDisk, IoBuffer, IoOperation, IoRequest, QueueOptions, StorageDevice};

use super::append::finish;
use super::{Arguments, median, ours, ratio};
use crate::stores::Failure;

/// How much is written, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub writers: usize,
    pub entry_bytes: usize,
    pub time: Duration,
}

/// What takes part.
pub trait Subject {
    fn name(&self) -> String;

    /// Runs the load; the time of each append.
    fn run(&self, load: Load) -> Result<Vec<Duration>, Failure>;
}

/// Opens all that this build has, in a folder.
fn subjects(folder: &Path) -> Result<Vec<Box<dyn Subject>>, Failure> {
    Ok(vec![
        Box::new(ours::Tasks::open(&folder.join("tasks"))?),
        Box::new(ours::Threads::open(&folder.join("threads"))?),
        Box::new(ours::OneByOne::open(&folder.join("one-by-one"))?),
        #[cfg(feature = "rocksdb")]
        Box::new(super::rocks::Rocks::open(&folder.join("rocksdb"))?),
        #[cfg(feature = "sqlite")]
        Box::new(super::sqlite::Connections::open(&folder.join("sqlite"))?),
        #[cfg(feature = "sqlite")]
        Box::new(super::sqlite::OneWriter::open(&folder.join("sqlite-one"))?),
        Box::new(Bare::open(&folder.join("bare.bin"))?),
    ])
}

/// What the rounds of a subject reached.
#[derive(Default)]
struct Row {
    rates: Vec<f64>,
    /// In microseconds.
    quantiles: [Vec<f64>; 3],
}

pub fn run(arguments: &Arguments, folder: &Path) -> Result<(), Failure> {
    let subjects = subjects(folder)?;
    let load = Load {
        writers: usize::try_from(arguments.writers)?,
        entry_bytes: arguments.entry_bytes,
        time: Duration::from_secs(arguments.seconds),
    };
    let mut rows: Vec<Row> = subjects.iter().map(|_| Row::default()).collect();
    for round in 0..arguments.rounds {
        for (row, subject) in rows.iter_mut().zip(&subjects) {
            eprintln!("durable: round {round}, {}", subject.name());
            let start = Instant::now();
            let mut times = subject.run(load)?;
            row.rates.push(times.len() as f64 / start.elapsed().as_secs_f64());
            times.sort_unstable();
            for (quantile, thousandth) in row.quantiles.iter_mut().zip([500, 990, 999]) {
                let place = (times.len() * thousandth / 1000).min(times.len().saturating_sub(1));
                quantile.push(times.get(place).map_or(f64::NAN, |time| time.as_secs_f64() * 1e6));
            }
        }
    }
    println!("### Durable appends: {} writers, entries of {} bytes\n", load.writers, load.entry_bytes);
    println!("| who | entries/s | p50 us | p99 us | p99.9 us | first row / this |");
    println!("|---|---|---|---|---|---|");
    for (row, subject) in rows.iter().zip(&subjects) {
        let [p50, p99, p999] = row.quantiles.each_ref().map(|quantile| median(quantile));
        println!(
            "| {} | {:.0} | {p50:.0} | {p99:.0} | {p999:.0} | {:.1} |",
            subject.name(),
            median(&row.rates),
            rows.first().map_or(f64::NAN, |first| ratio(&first.rates, &row.rates)),
        );
    }
    Ok(())
}

/// Runs what `writer` makes for each thread, over and over until the time is up.
pub fn on_threads<A>(
    load: Load,
    writer: impl Fn(usize) -> Result<A, Failure> + Sync,
) -> Result<Vec<Duration>, Failure>
where
    A: FnMut(&[u8]) -> Result<(), Failure>,
{
    let end = Instant::now() + load.time;
    let one = |number| -> Result<Vec<Duration>, String> {
        let mut append = writer(number).map_err(|error| error.to_string())?;
        let entry = vec![0x5A; load.entry_bytes];
        let mut times = Vec::new();
        loop {
            let start = Instant::now();
            if start >= end {
                return Ok(times);
            }
            append(&entry).map_err(|error| error.to_string())?;
            times.push(start.elapsed());
        }
    };
    let one = &one;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..load.writers).map(|number| scope.spawn(move || one(number))).collect();
        let mut all = Vec::new();
        for thread in threads {
            all.extend(thread.join().expect("a writer")?);
        }
        Ok(all)
    })
}

/// The device: one block at a time, written and synced.
struct Bare(FileSystemDisk);

impl Bare {
    fn open(path: &Path) -> Result<Self, Failure> {
        Ok(Self(FileSystemDisk::single_file(path)?))
    }
}

impl Subject for Bare {
    fn name(&self) -> String {
        "a block written and synced, one after the other".to_owned()
    }

    fn run(&self, load: Load) -> Result<Vec<Duration>, Failure> {
        let mut queue = self.0.open_queue(QueueOptions { depth: 1 })?;
        let buffer = IoBuffer::zeroed(1)?;
        let mut offset = self.0.space_use()?.end_offset.max(self.0.geometry().reserved_bytes);
        on_this_thread(load, || {
            let operation = IoOperation::Write(buffer.clone());
            queue.submit(IoRequest { tag: 0, offset, operation })?;
            finish(queue.as_mut(), 1)?;
            queue.submit(IoRequest { tag: 0, offset: 0, operation: IoOperation::Sync })?;
            offset += 4096;
            finish(queue.as_mut(), 1)
        })
    }
}

fn on_this_thread(
    load: Load,
    mut append: impl FnMut() -> Result<(), Failure>,
) -> Result<Vec<Duration>, Failure> {
    let end = Instant::now() + load.time;
    let mut times = Vec::new();
    loop {
        let start = Instant::now();
        if start >= end {
            return Ok(times);
        }
        append()?;
        times.push(start.elapsed());
    }
}
