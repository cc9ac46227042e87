//! Values of 100 bytes beside the bound of their own lines.
//!
//! A record of header, sequence, 8-byte key and 100-byte value has 128 bytes and begins at any multiple of eight, so it lies on
//! two lines when it begins a line and on three otherwise; the bucket is one line more. The bound is that many independent random
//! line loads.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use oxifaster::device::NullDisk;
use oxifaster::store::{FasterKv, FasterKvConfig, Session};
use oxifaster_workload::{Distribution, Keys, Prng};

use crate::bounds;
use crate::memory::median;

const VALUE_BYTES: usize = 100;
const LINE_BYTES: u64 = 64;

type Value = [u8; VALUE_BYTES];
type OurSession = Session<u64, Value, NullDisk>;

#[derive(clap::Args)]
pub struct Arguments {
    /// Keys, all of them present.
    #[arg(long, default_value_t = 10_000_000)]
    keys: u64,
    /// Operations per measurement.
    #[arg(long, default_value_t = 2_000_000)]
    operations: usize,
    /// Rounds.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Keys per batch.
    #[arg(long, default_value_t = 256)]
    batch: usize,
}

/// A workload on many keys.
type Run = fn(&mut OurSession, &[u64], usize);

const WORKLOADS: [(&str, Run); 4] = [
    ("read", |session, keys, _| {
        for key in keys {
            black_box(session.read(key).expect("read"));
        }
    }),
    ("read batched", |session, keys, batch| {
        for keys in keys.chunks(batch) {
            black_box(session.read_batch(keys).expect("read_batch"));
        }
    }),
    ("upsert", |session, keys, _| {
        for key in keys {
            session.upsert(*key, value_of(*key)).expect("upsert");
        }
    }),
    ("upsert batched", |session, keys, batch| {
        let mut pairs = Vec::with_capacity(batch);
        for keys in keys.chunks(batch) {
            pairs.clear();
            pairs.extend(keys.iter().map(|key| (*key, value_of(*key))));
            session.upsert_batch(&pairs).expect("upsert_batch");
        }
    }),
];

fn value_of(key: u64) -> Value {
    [key as u8; VALUE_BYTES]
}

/// Lines of a bucket and of a record of so many bytes at any multiple of eight, on average.
fn lines_per_operation(record_bytes: u64) -> f64 {
    let starts = (0..LINE_BYTES).step_by(8);
    let lines: u64 = starts.clone().map(|start| (start + record_bytes).div_ceil(LINE_BYTES)).sum();
    1.0 + lines as f64 / starts.count() as f64
}

pub fn run(arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let record_bytes = 8 + 8 + 8 + (VALUE_BYTES as u64).next_multiple_of(8);
    let config = FasterKvConfig {
        table_size: (arguments.keys / 4).next_power_of_two(),
        log_memory_size: arguments.keys * record_bytes * 5 / 4 + (64 << 20),
        ..Default::default()
    };
    let store = Arc::new(FasterKv::<u64, Value, _>::open(config, NullDisk::new())?);
    let mut session = store.start_session()?;
    for key in 0..arguments.keys {
        session.upsert(key, value_of(key))?;
    }
    assert_eq!(store.stats().appended_bytes, arguments.keys * record_bytes, "the records' size");
    let (source, mut prng) = (Keys::new(arguments.keys, Distribution::Uniform), Prng::lane(7, 0));
    let keys: Vec<u64> = (0..arguments.operations).map(|_| source.next(&mut prng)).collect();
    let lines = lines_per_operation(record_bytes);
    println!(
        "{} keys, values of {VALUE_BYTES} bytes, {lines:.3} lines per operation, one thread",
        arguments.keys
    );
    println!("| operation | million per second | bound | / bound |");
    println!("|---|---|---|---|");
    for (name, run) in WORKLOADS {
        let (mut rates, mut bounds, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..arguments.rounds {
            let bound = bounds::random_lines(1 << 30, 10_000_000) / lines / 1e6;
            let start = Instant::now();
            run(&mut session, &keys, arguments.batch);
            let rate = keys.len() as f64 / start.elapsed().as_secs_f64() / 1e6;
            rates.push(rate);
            bounds.push(bound);
            ratios.push(rate / bound);
        }
        println!("| {name} | {:.2} | {:.2} | {:.2} |", median(rates), median(bounds), median(ratios));
    }
    Ok(())
}
