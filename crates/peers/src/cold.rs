//! Cold point reads: a data set larger than memory, one thread, many reads in flight.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use oxifaster::device::{FileOptions, FileSystemDisk};
use oxifaster::store::{FasterKv, FasterKvConfig};
use oxifaster_sim::workload::Prng;

use crate::bounds;

#[derive(clap::Args)]
pub struct Arguments {
    /// Folder for the store; removed afterwards.
    #[arg(long)]
    dir: PathBuf,
    /// Log memory in MiB; the data are four times as many bytes.
    #[arg(long, default_value_t = 64)]
    memory_mib: u64,
    /// Reads in flight.
    #[arg(long, default_value_t = 64)]
    depth: usize,
    /// Seconds per measurement.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Rounds.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Factor between data and memory.
    #[arg(long, default_value_t = 4)]
    factor: u64,
}

/// Processor time of this process so far, from the kernel's accounting in ticks of 10 ms.
fn cpu_seconds() -> Result<f64, Box<dyn std::error::Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The name in parentheses may hold blanks; user and system time are fields 14 and 15 of the line.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    Ok((fields[11].parse::<f64>()? + fields[12].parse::<f64>()?) / 100.0)
}

pub fn run(arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
    std::fs::create_dir_all(&arguments.dir)?;
    let path = arguments.dir.join("cold.log");
    let keys = (arguments.memory_mib << 20) * arguments.factor / 24;
    let config = FasterKvConfig {
        table_size: (keys / 4).next_power_of_two(),
        log_memory_size: arguments.memory_mib << 20,
        ..Default::default()
    };
    let options = FileOptions::default().with_workers(arguments.depth);
    let disk = FileSystemDisk::single_file_with_options(&path, options)?;
    let store = Arc::new(FasterKv::<u64, u64, _>::open(config, disk)?);
    let mut session = store.start_session()?;
    let start = Instant::now();
    for key in 0..keys {
        session.upsert(key, key)?;
    }
    store.flush()?;
    eprintln!("loaded {keys} keys in {:.1} s", start.elapsed().as_secs_f64());
    let mut prng = Prng::new(3);
    let mut rows = Vec::new();
    for _ in 0..arguments.rounds {
        let plain = bounds::random_reads(&path, arguments.depth, Duration::from_secs(arguments.seconds))?;
        let before = store.stats();
        let (start, cpu) = (Instant::now(), cpu_seconds()?);
        let mut read = 0_u64;
        while start.elapsed() < Duration::from_secs(arguments.seconds) {
            let batch: Vec<u64> = (0..arguments.depth * 16).map(|_| prng.below(keys)).collect();
            for (key, value) in batch.iter().zip(session.read_batch(&batch)?) {
                assert_eq!(value, Some(*key));
            }
            read += batch.len() as u64;
        }
        let seconds = start.elapsed().as_secs_f64();
        let reads = (store.stats().device_reads - before.device_reads) as f64;
        let cpu = cpu_seconds()? - cpu;
        rows.push((
            reads / seconds / plain,
            reads / seconds,
            plain,
            read as f64 / seconds,
            cpu / reads * 1e6,
        ));
    }
    rows.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (ratio, reads, plain, keys_per_second, cpu) = rows[rows.len() / 2];
    println!(
        "| device reads/s | plain reads/s at depth {} | ratio | keys/s | CPU per read |",
        arguments.depth
    );
    println!("|---|---|---|---|---|");
    println!("| {reads:.0} | {plain:.0} | {ratio:.2} | {keys_per_second:.0} | {cpu:.1} us |");
    drop(session);
    store.close()?;
    drop(store);
    std::fs::remove_file(&path)?;
    Ok(())
}
