//! One process of the cold comparison: opens one store, loads it or reads it, and prints what it reached as JSON.
//!
//! Before it opens anything it enters the control group it is told. Processor time and bytes read are the kernel's own count of this
//! process, background threads and the kernel's work for it included.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use oxifaster_workload::{Distribution, Keys, Prng};
use serde::{Deserialize, Serialize};

use super::limit;
use super::stores::{self, ColdStore, Demand};
use crate::bounds::cpu_seconds;
use crate::stores::Failure;

#[derive(clap::Args)]
pub struct Arguments {
    #[arg(long)]
    store: String,
    #[arg(long)]
    folder: PathBuf,
    #[arg(long)]
    keys: u64,
    #[arg(long)]
    value_bytes: usize,
    #[arg(long)]
    memory_bytes: u64,
    #[arg(long)]
    depth: usize,
    /// The control group to enter.
    #[arg(long)]
    group: Option<PathBuf>,
    /// Load instead of reading.
    #[arg(long)]
    load: bool,
    #[arg(long, value_delimiter = ',')]
    ways: Vec<Way>,
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    #[arg(long, default_value_t = 0.0)]
    warm_up: f64,
    /// What is drawn follows from it, differently for every way and thread: who reads the same keys once more reads what it has cached.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// How keys are read: by so many threads, so many keys in a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Way {
    pub threads: usize,
    pub batch: usize,
}

impl FromStr for Way {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text
            .split_once('x')
            .and_then(|(threads, batch)| Some((threads.parse().ok()?, batch.parse().ok()?)));
        match numbers {
            Some((threads @ 1..=1024, batch @ 1..=65536)) => Ok(Self { threads, batch }),
            _ => Err("it is THREADSxBATCH, 1x1 to 1024x65536".to_owned()),
        }
    }
}

impl std::fmt::Display for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}", self.threads, self.batch)
    }
}

/// What a way to read reached.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reached {
    pub distribution: String,
    pub way: Way,
    pub keys_per_second: f64,
    pub cpu_us_per_key: f64,
    pub device_bytes_per_key: f64,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    if let Some(group) = &arguments.group {
        limit::enter(group)?;
    }
    let known = stores::all();
    let (_, _, open) = known.iter().find(|(name, ..)| *name == arguments.store).ok_or("no such store")?;
    let demand = Demand {
        folder: &arguments.folder,
        keys: arguments.keys,
        value_bytes: arguments.value_bytes,
        memory_bytes: arguments.memory_bytes,
        depth: arguments.depth,
    };
    let store = open(demand)?;
    let mut reached = Vec::new();
    if arguments.load {
        store.load(demand)?;
    } else {
        for (name, distribution) in [("uniform", Distribution::Uniform), ("zipfian 0.99", Distribution::YCSB)]
        {
            let keys = Keys::new(arguments.keys, distribution);
            for (place, way) in
                arguments.ways.iter().filter(|way| way.batch == 1 || store.has_batches()).enumerate()
            {
                // The first way of a distribution fills the caches for all of them.
                let warm_up = if place == 0 { arguments.warm_up } else { arguments.warm_up.min(0.3) };
                let seed = arguments.seed << 16 | reached.len() as u64;
                reached.push(measure(
                    store.as_ref(),
                    (name, &keys),
                    *way,
                    Times { seed, warm_up, seconds: arguments.seconds },
                )?);
            }
        }
    }
    store.close()?;
    println!("{}", serde_json::to_string(&reached)?);
    Ok(())
}

/// What was done up to a point in time.
struct Moment {
    at: Instant,
    keys: u64,
    cpu: f64,
    device_bytes: u64,
}

impl Moment {
    fn now(counters: &[AtomicU64]) -> Result<Self, Failure> {
        let keys = counters.iter().map(|counter| counter.load(Ordering::Relaxed)).sum();
        Ok(Self { at: Instant::now(), keys, cpu: cpu_seconds()?, device_bytes: device_bytes()? })
    }
}

/// Bytes that this process had read from the device, directly, by the page cache, or by touching a mapped page.
fn device_bytes() -> Result<u64, Failure> {
    let text = std::fs::read_to_string("/proc/self/io")?;
    let line = text.lines().find_map(|line| line.strip_prefix("read_bytes: "));
    Ok(line.ok_or("no read_bytes in /proc/self/io")?.parse()?)
}

/// What is drawn, and for how long.
#[derive(Clone, Copy)]
struct Times {
    seed: u64,
    warm_up: f64,
    seconds: f64,
}

fn measure(
    store: &dyn ColdStore,
    (name, keys): (&str, &Keys),
    way: Way,
    times: Times,
) -> Result<Reached, Failure> {
    let is_over = AtomicBool::new(false);
    let counters: Vec<AtomicU64> = (0..way.threads).map(|_| AtomicU64::new(0)).collect();
    let (before, after) = std::thread::scope(|scope| -> Result<(Moment, Moment), Failure> {
        let threads: Vec<_> = counters
            .iter()
            .enumerate()
            .map(|(lane, counter)| {
                let mut prng = Prng::lane(times.seed, lane as u64);
                let draw = move || keys.next(&mut prng);
                let is_over = &is_over;
                scope.spawn(move || {
                    read(store, way.batch, draw, counter, is_over).map_err(|error| error.to_string())
                })
            })
            .collect();
        let moments = (|| {
            std::thread::sleep(Duration::from_secs_f64(times.warm_up));
            let before = Moment::now(&counters)?;
            std::thread::sleep(Duration::from_secs_f64(times.seconds));
            Ok((before, Moment::now(&counters)?))
        })();
        is_over.store(true, Ordering::Relaxed);
        for thread in threads {
            thread.join().map_err(|_| "a reading thread panicked")??;
        }
        moments
    })?;
    let read = (after.keys - before.keys) as f64;
    Ok(Reached {
        distribution: name.to_owned(),
        way,
        keys_per_second: read / (after.at - before.at).as_secs_f64(),
        cpu_us_per_key: (after.cpu - before.cpu) / read * 1e6,
        device_bytes_per_key: (after.device_bytes - before.device_bytes) as f64 / read,
    })
}

/// Reads keys until it is over; every one must be there.
fn read(
    store: &dyn ColdStore,
    batch: usize,
    mut draw: impl FnMut() -> u64,
    counter: &AtomicU64,
    is_over: &AtomicBool,
) -> Result<(), Failure> {
    let mut reader = store.reader()?;
    let mut keys = vec![0; batch];
    while !is_over.load(Ordering::Relaxed) {
        keys.iter_mut().for_each(|key| *key = draw());
        let found = match keys.as_slice() {
            [key] => usize::from(reader.read(*key)?),
            keys => reader.read_batch(keys)?,
        };
        if found != batch {
            return Err(format!("{found} of {batch} keys are there with their values").into());
        }
        counter.fetch_add(batch as u64, Ordering::Relaxed);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Way;

    #[test]
    fn ways_are_threads_by_keys_of_a_call() {
        assert_eq!("32x1".parse(), Ok(Way { threads: 32, batch: 1 }));
        assert!(["", "1", "0x1", "1x0", "x", "2000x1"].iter().all(|text| text.parse::<Way>().is_err()));
    }
}
