//! The in-memory comparison.

use std::hint::black_box;
use std::time::Instant;

use oxifaster_sim::workload::{Distribution, Keys, Prng};

use crate::bounds;
use crate::engines::{Dashmap, Engine, Handle, Oxifaster, Papaya};

#[derive(clap::Args)]
pub struct Arguments {
    /// Keys, all of them present.
    #[arg(long, default_value_t = 20_000_000)]
    keys: u64,
    /// Operations per measurement and thread.
    #[arg(long, default_value_t = 4_000_000)]
    operations: usize,
    /// Rounds over all engines.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Threads.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Keys per batch.
    #[arg(long, default_value_t = 256)]
    batch: usize,
    /// One JSON object instead of a table.
    #[arg(long)]
    json: bool,
}

const WORKLOADS: [&str; 6] = ["read", "upsert", "rmw", "read batched", "upsert batched", "rmw batched"];

fn measure(handle: &mut dyn Handle, workload: &str, keys: &[u64], batch: usize) {
    let mut sum = 0_u64;
    match workload {
        "read" => keys.iter().for_each(|key| sum = sum.wrapping_add(handle.read(*key).unwrap_or(0))),
        "upsert" => keys.iter().for_each(|key| handle.upsert(*key, *key)),
        "rmw" => keys.iter().for_each(|key| handle.rmw(*key)),
        "read batched" => keys.chunks(batch).for_each(|keys| handle.read_batch(keys, &mut sum)),
        "upsert batched" => {
            let mut pairs = Vec::with_capacity(batch);
            for keys in keys.chunks(batch) {
                pairs.clear();
                pairs.extend(keys.iter().map(|key| (*key, *key)));
                handle.upsert_batch(&pairs);
            }
        }
        _ => keys.chunks(batch).for_each(|keys| handle.rmw_batch(keys)),
    }
    black_box(sum);
}

/// Million operations per second and thread.
fn rate(engine: &dyn Engine, workload: &str, keys: &[Vec<u64>], batch: usize) -> f64 {
    let start = Instant::now();
    std::thread::scope(|scope| {
        for keys in keys {
            scope.spawn(move || engine.handle()(&mut |handle| measure(handle, workload, keys, batch)));
        }
    });
    keys[0].len() as f64 / start.elapsed().as_secs_f64() / 1e6
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

pub fn run(arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let engines: [Box<dyn Engine>; 3] = [
        Box::new(Oxifaster::new(arguments.keys)),
        Box::new(Papaya::new(arguments.keys)),
        Box::new(Dashmap::new(arguments.keys)),
    ];
    let all: Vec<u64> = (0..arguments.keys).collect();
    for engine in &engines {
        let start = Instant::now();
        engine.handle()(&mut |handle| all.iter().for_each(|key| handle.upsert(*key, *key)));
        eprintln!("{}: loaded {} keys in {:.1} s", engine.name(), all.len(), start.elapsed().as_secs_f64());
    }
    drop(all);
    let bound =
        median((0..arguments.rounds).map(|_| bounds::random_lines(1 << 30, 20_000_000) / 2e6).collect());
    let mut rows = Vec::new();
    for (name, distribution) in
        [("uniform", Distribution::Uniform), ("zipfian 0.99", Distribution::Scrambled(0.99))]
    {
        let source = Keys::new(arguments.keys, distribution);
        let keys: Vec<Vec<u64>> = (0..arguments.threads)
            .map(|lane| {
                let mut prng = Prng::lane(7, lane as u64);
                (0..arguments.operations).map(|_| source.next(&mut prng)).collect()
            })
            .collect();
        for workload in WORKLOADS {
            let mut figures: Vec<Vec<f64>> = vec![Vec::new(); engines.len()];
            for _ in 0..arguments.rounds {
                for (engine, figures) in engines.iter().zip(&mut figures) {
                    figures.push(rate(engine.as_ref(), workload, &keys, arguments.batch));
                }
            }
            let ratios: Vec<f64> = (1..engines.len())
                .map(|peer| {
                    median(figures[0].iter().zip(&figures[peer]).map(|(ours, peer)| ours / peer).collect())
                })
                .collect();
            rows.push((name, workload, figures.into_iter().map(median).collect::<Vec<_>>(), ratios));
        }
    }
    if arguments.json {
        let rows: Vec<_> = rows
            .iter()
            .map(|(distribution, workload, rates, ratios)| {
                serde_json::json!({"distribution": distribution, "workload": workload, "oxifaster": rates[0],
                    "papaya": rates[1], "dashmap": rates[2], "ratio_papaya": ratios[0], "ratio_dashmap": ratios[1],
                    "ratio_bound": rates[0] / bound})
            })
            .collect();
        println!("{}", serde_json::json!({"bound": bound, "threads": arguments.threads, "rows": rows}));
        return Ok(());
    }
    println!(
        "million operations per second and thread; {} threads, {} keys",
        arguments.threads, arguments.keys
    );
    println!("bound (random line loads / 2): {bound:.1}");
    println!("| distribution | operation | oxifaster | papaya | dashmap | / papaya | / dashmap | / bound |");
    println!("|---|---|---|---|---|---|---|---|");
    for (distribution, workload, rates, ratios) in rows {
        println!(
            "| {distribution} | {workload} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} |",
            rates[0],
            rates[1],
            rates[2],
            ratios[0],
            ratios[1],
            rates[0] / bound
        );
    }
    Ok(())
}
