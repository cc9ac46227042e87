//! Cold point reads: a data set larger than memory, one thread, many reads in flight.
//!
//! Each device has a store of its own with the same keys; rounds alternate between them and the bounds: `fio`, and a bare
//! loop over the device's own queue, without a store. Reads per second are reads of the device.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use oxifaster::device::{FileOptions, IoUringDevice, IoUringOptions, RingUse};
use oxifaster::store::{FasterKv, FasterKvConfig, Session, Started};
use oxifaster_workload::Prng;

use crate::bounds::{self, ReadRate, cpu_seconds};

#[derive(clap::Args)]
pub struct Arguments {
    /// Folder for the stores; they are removed afterwards.
    #[arg(long)]
    dir: PathBuf,
    /// Log memory in MiB; the data are four times as many bytes.
    #[arg(long, default_value_t = 64)]
    memory_mib: u64,
    /// Reads in flight.
    #[arg(long, default_value_t = 128)]
    depth: usize,
    /// Keys of one batch.
    #[arg(long, default_value_t = 16384)]
    batch: usize,
    /// Seconds per measurement.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Rounds.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Factor between data and memory.
    #[arg(long, default_value_t = 4)]
    factor: u64,
    /// Devices to compare.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Device::IoUring, Device::File])]
    device: Vec<Device>,
    /// Ways to read.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Mode::Batch])]
    mode: Vec<Mode>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Device {
    /// Reads through a ring of the reading thread.
    #[value(name = "io_uring")]
    IoUring,
    /// Positioned reads on as many worker threads as reads in flight.
    File,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Mode {
    /// `read_batch`.
    Batch,
    /// `start_read` and `complete_pending`.
    Pending,
    /// `read`, one after the other.
    Single,
}

type Store = FasterKv<u64, u64, IoUringDevice>;

/// One store and how it is read.
struct Subject {
    device: Device,
    path: PathBuf,
    store: Arc<Store>,
    session: Session<u64, u64, IoUringDevice>,
}

/// What one round of one way to read reached.
struct Row {
    label: String,
    rate: ReadRate,
    keys: f64,
    fio: Option<ReadRate>,
    bare: ReadRate,
}

fn load(arguments: &Arguments, device: Device, keys: u64) -> Result<Subject, Box<dyn std::error::Error>> {
    let path = arguments.dir.join(format!("cold-{device:?}.log").to_lowercase());
    let config = FasterKvConfig {
        table_size: (keys / 4).next_power_of_two(),
        log_memory_size: arguments.memory_mib << 20,
        reads_in_flight: arguments.depth,
        ..Default::default()
    };
    let options = match device {
        Device::IoUring => IoUringOptions::default().with_rings(RingUse::Required),
        Device::File => IoUringOptions::default().with_rings(RingUse::Never),
    };
    let options = options.with_files(FileOptions::default().with_workers(arguments.depth));
    let store = Arc::new(Store::open(config, IoUringDevice::with_options(&path, options)?)?);
    let mut session = store.start_session()?;
    let start = Instant::now();
    for key in 0..keys {
        session.upsert(key, key)?;
    }
    store.flush()?;
    let seconds = start.elapsed().as_secs_f64();
    eprintln!("{}: loaded {keys} keys in {seconds:.1} s", store.device().backend());
    Ok(Subject { device, path, store, session })
}

impl Subject {
    /// Reads random keys for a while; returns how many.
    fn read(
        &mut self,
        mode: Mode,
        arguments: &Arguments,
        prng: &mut Prng,
        keys: u64,
    ) -> Result<u64, Box<dyn std::error::Error>> {
        let (start, duration) = (Instant::now(), Duration::from_secs(arguments.seconds));
        let mut read = 0_u64;
        let mut batch = vec![0; arguments.batch];
        while start.elapsed() < duration {
            match mode {
                Mode::Batch => {
                    batch.iter_mut().for_each(|key| *key = prng.below(keys));
                    for (key, value) in batch.iter().zip(self.session.read_batch(&batch)?) {
                        assert_eq!(value, Some(*key));
                    }
                    read += batch.len() as u64;
                }
                Mode::Pending => {
                    while self.session.pending_reads() < arguments.depth {
                        let key = prng.below(keys);
                        if let Started::Done(value) = self.session.start_read(&key)? {
                            assert_eq!(value, Some(key));
                        }
                        read += 1;
                    }
                    for completed in self.session.complete_pending(false) {
                        assert!(completed.result?.is_some());
                    }
                }
                Mode::Single => {
                    let key = prng.below(keys);
                    assert_eq!(self.session.read(&key)?, Some(key));
                    read += 1;
                }
            }
        }
        for completed in self.session.complete_pending(true) {
            assert!(completed.result?.is_some());
        }
        Ok(read)
    }

    fn measure(
        &mut self,
        mode: Mode,
        arguments: &Arguments,
        prng: &mut Prng,
        keys: u64,
    ) -> Result<Row, Box<dyn std::error::Error>> {
        let duration = Duration::from_secs(arguments.seconds);
        let depth = if mode == Mode::Single { 1 } else { arguments.depth };
        let fio = bounds::fio_reads(&self.path, depth, duration);
        let bare = bounds::queue_reads(self.store.device(), depth, duration)?;
        let before = self.store.stats();
        let (start, cpu) = (Instant::now(), cpu_seconds()?);
        let read = self.read(mode, arguments, prng, keys)?;
        let seconds = start.elapsed().as_secs_f64();
        let reads = (self.store.stats().device_reads - before.device_reads) as f64;
        let rate = ReadRate { reads: reads / seconds, cpu_us: (cpu_seconds()? - cpu) / reads * 1e6 };
        let device = match self.device {
            Device::IoUring => "io_uring",
            Device::File => "file",
        };
        let label = format!("{device} | {}, {depth}", format!("{mode:?}").to_lowercase());
        Ok(Row { label, rate, keys: read as f64 / seconds, fio, bare })
    }
}

fn median(rows: &[&Row], of: impl Fn(&Row) -> f64) -> f64 {
    let mut values: Vec<f64> = rows.iter().map(|row| of(row)).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn print(rows: &[Row]) {
    println!(
        "| device | way, in flight | reads/s | keys/s | CPU per read | fio reads/s | fio CPU | bare reads/s | bare CPU | / fio | / bare |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    let mut labels: Vec<&str> = rows.iter().map(|row| row.label.as_str()).collect();
    labels.sort_unstable();
    labels.dedup();
    for label in labels {
        let rows: Vec<&Row> = rows.iter().filter(|row| row.label == label).collect();
        let nothing = ReadRate { reads: f64::NAN, cpu_us: f64::NAN };
        println!(
            "| {label} | {:.0} | {:.0} | {:.1} us | {:.0} | {:.1} us | {:.0} | {:.1} us | {:.2} | {:.2} |",
            median(&rows, |row| row.rate.reads),
            median(&rows, |row| row.keys),
            median(&rows, |row| row.rate.cpu_us),
            median(&rows, |row| row.fio.unwrap_or(nothing).reads),
            median(&rows, |row| row.fio.unwrap_or(nothing).cpu_us),
            median(&rows, |row| row.bare.reads),
            median(&rows, |row| row.bare.cpu_us),
            median(&rows, |row| row.rate.reads / row.fio.unwrap_or(nothing).reads),
            median(&rows, |row| row.rate.reads / row.bare.reads),
        );
    }
}

fn remove(path: &Path) -> std::io::Result<()> {
    if path.exists() { std::fs::remove_file(path) } else { Ok(()) }
}

pub fn run(arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
    std::fs::create_dir_all(&arguments.dir)?;
    let keys = (arguments.memory_mib << 20) * arguments.factor / 24;
    let mut subjects = Vec::new();
    for device in &arguments.device {
        remove(&arguments.dir.join(format!("cold-{device:?}.log").to_lowercase()))?;
        subjects.push(load(arguments, *device, keys)?);
    }
    let mut prng = Prng::new(3);
    let mut rows = Vec::new();
    for _ in 0..arguments.rounds {
        for subject in &mut subjects {
            for mode in &arguments.mode {
                rows.push(subject.measure(*mode, arguments, &mut prng, keys)?);
            }
        }
    }
    print(&rows);
    for Subject { path, store, session, .. } in subjects {
        drop(session);
        store.close()?;
        drop(store);
        remove(&path)?;
    }
    Ok(())
}
