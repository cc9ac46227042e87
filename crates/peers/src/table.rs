//! The index against its load: the same keys in tables of different sizes.
//!
//! Half as many buckets mean half of the memory, longer chains and fewer lines that fit a cache. The table that this prints is
//! where the default of keys per bucket comes from.

use oxifaster_workload::{Distribution, Keys, Prng};

use crate::engines::{Engine, Oxifaster};
use crate::memory::{self, Work};

#[derive(clap::Args)]
pub struct Arguments {
    /// Keys, all of them present.
    #[arg(long, default_value_t = 20_000_000)]
    keys: u64,
    /// Operations per measurement.
    #[arg(long, default_value_t = 2_000_000)]
    operations: usize,
    /// Rounds over all tables.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Keys per batch.
    #[arg(long, default_value_t = 256)]
    batch: usize,
    /// Binary logarithms of the table sizes in buckets.
    #[arg(long, value_delimiter = ',', default_value = "20,21,22,23,24,25")]
    bits: Vec<u32>,
}

const WORKLOADS: [&str; 4] = ["read", "upsert", "read batched", "upsert batched"];

/// The rates of one table, by workload and round, in million operations per second.
type Rates = [Vec<f64>; WORKLOADS.len()];

pub fn run(arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let all: Vec<u64> = (0..arguments.keys).collect();
    let mut tables = Vec::new();
    for bits in &arguments.bits {
        // Overflow buckets for all keys, so that every key has its entry whatever the size of the table.
        let engine = Oxifaster::with_table(arguments.keys, 1 << bits, arguments.keys / 4);
        engine.run(&Work::new("upsert", &all, arguments.batch));
        eprintln!("loaded {} keys into a table of 2^{bits} buckets", all.len());
        tables.push((engine, Rates::default()));
    }
    drop(all);
    let (source, mut prng) = (Keys::new(arguments.keys, Distribution::Uniform), Prng::lane(7, 0));
    let keys: Vec<u64> = (0..arguments.operations).map(|_| source.next(&mut prng)).collect();
    for _ in 0..arguments.rounds {
        for (at, workload) in WORKLOADS.into_iter().enumerate() {
            for (engine, rates) in &mut tables {
                rates[at].push(memory::rate(engine, workload, std::slice::from_ref(&keys), arguments.batch));
            }
        }
    }
    println!("{} keys, one thread, uniform, million operations per second (medians)", arguments.keys);
    println!(
        "| buckets | keys per bucket | chain length in buckets | index bytes per key | {} |",
        WORKLOADS.join(" | ")
    );
    println!("|---|---|---|---|{}", "---|".repeat(WORKLOADS.len()));
    for (engine, rates) in tables {
        let statistics = engine.store().stats();
        let (buckets, overflow) = (statistics.index_buckets, statistics.index_overflow_buckets);
        let per_bucket = |count: u64| count as f64 / buckets as f64;
        let bytes = (buckets + overflow) as f64 * 64.0 / arguments.keys as f64;
        let rates = rates.map(|rates| format!("{:.2}", memory::median(rates)));
        println!(
            "| 2^{} | {:.2} | {:.2} | {bytes:.1} | {} |",
            buckets.ilog2(),
            per_bucket(arguments.keys),
            1.0 + per_bucket(overflow),
            rates.join(" | ")
        );
    }
    Ok(())
}
