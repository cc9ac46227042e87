//! The in-memory comparison.

use std::hint::black_box;
use std::time::Instant;

use oxifaster_workload::{Distribution, Keys, Prng};

use crate::bounds;
use crate::engines::{Dashmap, Engine, Handle, Oxifaster, Papaya, Scc};
use crate::probe::Probe;

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
    /// Without the other maps: the store beside the bare probe.
    #[arg(long)]
    alone: bool,
    /// One JSON object instead of a table.
    #[arg(long)]
    pub json: bool,
}

const WORKLOADS: [&str; 6] = ["read", "upsert", "rmw", "read batched", "upsert batched", "rmw batched"];

/// Operations of one kind on many keys.
pub struct Work<'k> {
    workload: &'static str,
    keys: &'k [u64],
    batch: usize,
}

impl<'k> Work<'k> {
    pub fn new(workload: &'static str, keys: &'k [u64], batch: usize) -> Self {
        Self { workload, keys, batch }
    }

    /// Does the work. One copy of these loops is compiled per engine, with its operations inlined as in an application.
    #[inline(never)]
    pub fn on<H: Handle>(&self, handle: &mut H) {
        let Self { workload, keys, batch } = *self;
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
}

/// Million operations per second and thread.
pub fn rate(engine: &dyn Engine, workload: &'static str, keys: &[Vec<u64>], batch: usize) -> f64 {
    let start = Instant::now();
    std::thread::scope(|scope| {
        for keys in keys {
            scope.spawn(move || engine.run(&Work::new(workload, keys, batch)));
        }
    });
    keys[0].len() as f64 / start.elapsed().as_secs_f64() / 1e6
}

pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

pub fn run(arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let keys = arguments.keys;
    let mut engines: Vec<Box<dyn Engine>> = vec![Box::new(Oxifaster::new(keys))];
    if !arguments.alone {
        engines.extend([
            Box::new(Papaya::new(keys)) as Box<dyn Engine>,
            Box::new(Dashmap::new(keys)),
            Box::new(Scc::new(keys)),
        ]);
    }
    let all: Vec<u64> = (0..keys).collect();
    for engine in &engines {
        let start = Instant::now();
        engine.run(&Work::new("upsert", &all, arguments.batch));
        eprintln!("{}: loaded {} keys in {:.1} s", engine.name(), all.len(), start.elapsed().as_secs_f64());
    }
    drop(all);
    engines.push(Box::new(Probe::new(keys)));
    let mut rows = Vec::new();
    for (name, distribution) in
        [("uniform", Distribution::Uniform), ("zipfian 0.99", Distribution::Scrambled(0.99))]
    {
        let source = Keys::new(keys, distribution);
        let keys: Vec<Vec<u64>> = (0..arguments.threads)
            .map(|lane| {
                let mut prng = Prng::lane(7, lane as u64);
                (0..arguments.operations).map(|_| source.next(&mut prng)).collect()
            })
            .collect();
        for workload in WORKLOADS {
            rows.push((name, workload, Rounds::run(arguments, &engines, workload, &keys)));
        }
    }
    if arguments.json {
        let rows: Vec<_> = rows
            .iter()
            .map(|(distribution, workload, rounds)| {
                let rates: serde_json::Map<_, _> =
                    engines.iter().zip(rounds.medians()).map(|(engine, rate)| (engine.name().into(), rate.into())).collect();
                serde_json::json!({"distribution": distribution, "workload": workload, "bound": median(rounds.bounds.clone()),
                    "rates": rates})
            })
            .collect();
        println!("{}", serde_json::json!({"threads": arguments.threads, "rows": rows}));
        return Ok(());
    }
    print(arguments, &engines, &rows);
    Ok(())
}

/// The figures of one workload, round by round.
struct Rounds {
    /// Million operations per second that two independent random line loads each would allow.
    bounds: Vec<f64>,
    /// Million operations per second, by engine.
    rates: Vec<Vec<f64>>,
}

impl Rounds {
    fn run(
        arguments: &Arguments,
        engines: &[Box<dyn Engine>],
        workload: &'static str,
        keys: &[Vec<u64>],
    ) -> Self {
        let mut rounds = Self { bounds: Vec::new(), rates: vec![Vec::new(); engines.len()] };
        for _ in 0..arguments.rounds {
            rounds.bounds.push(bounds::random_lines(1 << 30, 10_000_000) / 2e6);
            for (engine, rates) in engines.iter().zip(&mut rounds.rates) {
                rates.push(rate(engine.as_ref(), workload, keys, arguments.batch));
            }
        }
        rounds
    }

    fn medians(&self) -> impl Iterator<Item = f64> {
        self.rates.iter().cloned().map(median)
    }

    /// The median over the rounds of the first engine's rate by another figure of the same round.
    fn ratio(&self, by: &[f64]) -> f64 {
        median(self.rates[0].iter().zip(by).map(|(ours, theirs)| ours / theirs).collect())
    }
}

fn print(arguments: &Arguments, engines: &[Box<dyn Engine>], rows: &[(&str, &str, Rounds)]) {
    let names: Vec<_> = engines.iter().map(|engine| engine.name()).collect();
    println!(
        "million operations per second and thread; {} threads, {} keys",
        arguments.threads, arguments.keys
    );
    println!(
        "| distribution | operation | {} | bound | / {} | / bound |",
        names.join(" | "),
        names[1..].join(" | / ")
    );
    println!("|---|---|{}---|---|", "---|".repeat(2 * names.len() - 1));
    for (distribution, workload, rounds) in rows {
        let rates = rounds.medians().map(|rate| format!("{rate:.2}")).collect::<Vec<_>>().join(" | ");
        let ratios =
            rounds.rates[1..].iter().chain([&rounds.bounds]).map(|by| format!("{:.2}", rounds.ratio(by)));
        let bound = median(rounds.bounds.clone());
        println!(
            "| {distribution} | {workload} | {rates} | {bound:.1} | {} |",
            ratios.collect::<Vec<_>>().join(" | ")
        );
    }
}
