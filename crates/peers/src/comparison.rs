//! The comparison of stores: all have memory for all data, and keep it on a device besides.
//!
//! Every store is open in this process and holds the same keys. A round measures each of them once, one after the other, so
//! that noise of the machine meets all; a figure is the median over the rounds, a ratio the median of the rounds' ratios. Keys are
//! drawn before. Every measurement takes the same time.
//!
//! Beside the time on the wall stands the processor time of the whole process, background threads included: on a machine that
//! others use too it says more, since it does not count who waits for a core. What a store still does in the background after its
//! turn is waited for, up to [`IDLE_MOST`], so that it disturbs nobody else, and counts as its processor time.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use oxifaster_workload::{Distribution, Keys, Operation, Prng};

use crate::bounds;
use crate::external::External;
use crate::stores::{self, Demand, Done, Failure, Job, Ours, Store};

/// The longest time that a store's background work is waited for.
const IDLE_MOST: Duration = Duration::from_secs(3);

#[derive(clap::Args)]
pub struct Arguments {
    /// Keys, all of them present; values have 8 bytes.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1024..))]
    pub keys: u64,
    /// Keys that are drawn for each thread, and used again and again.
    #[arg(long, default_value_t = 2_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    drawn: u64,
    /// Seconds of a measurement.
    #[arg(long, default_value_t = 1.0)]
    pub seconds: f64,
    /// Rounds over all stores.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,
    /// Threads.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub threads: u64,
    /// Keys of a batch.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u64).range(2..))]
    batch: u64,
    /// Folder in which the stores' folders are made; they are removed afterwards. Default: that of temporary files.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Stores to compare with, by the names of their cargo features. Default: all that were built in.
    #[arg(long, value_delimiter = ',')]
    stores: Option<Vec<String>>,
    /// A program that prints a rate, as NAME=COMMAND; see src/external.rs for its environment. May be repeated.
    #[arg(long, value_name = "NAME=COMMAND")]
    external: Vec<External>,
    /// One JSON object instead of a table.
    #[arg(long)]
    pub json: bool,
}

/// What is measured in a row of the table.
pub struct Row {
    distribution: Distribution,
    pub operation: Operation,
    pub batch: usize,
}

impl Row {
    pub fn distribution_name(&self) -> &'static str {
        if self.distribution == Distribution::Uniform { "uniform" } else { "zipfian" }
    }
}

/// Operations per second of all stores and programs in the rounds of a row, ours first.
struct Rates(Vec<Vec<f64>>);

/// The rates of a row.
struct Measured {
    /// By the clock on the wall.
    wall: Rates,
    /// By the processor time of the process; none for programs besides.
    processor: Rates,
}

impl Rates {
    fn medians(&self) -> Vec<f64> {
        self.0.iter().cloned().map(median).collect()
    }

    /// How many times a peer's rate ours is.
    fn ratios(&self) -> Vec<f64> {
        let [ours, peers @ ..] = self.0.as_slice() else { return Vec::new() };
        let ratio = |peer: &Vec<f64>| median(ours.iter().zip(peer).map(|(ours, peer)| ours / peer).collect());
        peers.iter().map(ratio).collect()
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// What the machine reached in this run.
struct Bounds {
    /// Random cache lines loaded per second, by one core.
    lines: f64,
    /// Bytes copied per second, by one core.
    copy: f64,
    /// Random blocks of 4 KiB read from the store's device per second, with 64 in flight.
    reads: f64,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let parent = arguments.dir.clone().unwrap_or_else(std::env::temp_dir);
    let folder = tempfile::Builder::new().prefix("oxifaster-peers-").tempdir_in(parent)?;
    let demand = Demand { folder: folder.path(), keys: arguments.keys };
    let ours = Ours::open(demand)?;
    let peers = open_peers(arguments, demand)?;
    let stores: Vec<&dyn Store> =
        std::iter::once(&ours as &dyn Store).chain(peers.iter().map(Box::as_ref)).collect();
    let all: Vec<u64> = (0..arguments.keys).collect();
    let loads = stores.iter().map(|store| load(*store, &all)).collect::<Result<Vec<f64>, _>>()?;
    drop(all);
    let mut bounds: [Vec<f64>; 3] = Default::default();
    let mut table = Vec::new();
    for distribution in [Distribution::Uniform, Distribution::YCSB] {
        let keys = draw(arguments, distribution);
        for operation in [Operation::Read, Operation::Upsert, Operation::Rmw] {
            for batch in [1, arguments.batch as usize] {
                let row = Row { distribution, operation, batch };
                let rates = measure(arguments, &stores, &row, &keys)?;
                table.push((row, rates));
            }
        }
        let device = ours.flushed_device()?;
        for _ in 0..arguments.rounds {
            let depth = 64;
            let [lines, copy, reads] = &mut bounds;
            lines.push(bounds::random_lines(1 << 30, 10_000_000));
            copy.push(bounds::sequential_copy(256 << 20));
            reads.push(bounds::queue_reads(device, depth, Duration::from_secs_f64(arguments.seconds))?.reads);
        }
    }
    let [lines, copy, reads] = bounds.map(median);
    let bounds = Bounds { lines, copy, reads };
    let mut names: Vec<&str> = stores.iter().map(|store| store.name()).collect();
    names.extend(arguments.external.iter().map(|external| external.name.as_str()));
    if arguments.json {
        println!("{}", to_json(arguments, &names, &loads, &table, &bounds));
    } else {
        print_loads(&names, &loads);
        print(arguments, &names, &table, &bounds);
    }
    Ok(())
}

fn open_peers(arguments: &Arguments, demand: Demand<'_>) -> Result<Vec<Box<dyn Store>>, Failure> {
    let known = stores::peers();
    if let Some(wanted) = &arguments.stores
        && let Some(unknown) = wanted.iter().find(|name| known.iter().all(|(known, _)| known != name))
    {
        let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        return Err(format!(
            "there is no store '{unknown}' in this build, but [{}]: see its features",
            names.join(", ")
        )
        .into());
    }
    let is_wanted =
        |name: &str| arguments.stores.as_ref().is_none_or(|names| names.iter().any(|wanted| wanted == name));
    known.into_iter().filter(|(name, _)| is_wanted(name)).map(|(_, open)| open(demand)).collect()
}

/// Loads a store, and looks whether it has what it was given and does what it is told; the seconds that loading took.
fn load(store: &dyn Store, all: &[u64]) -> Result<f64, Failure> {
    let start = Instant::now();
    store.load(all);
    let seconds = start.elapsed().as_secs_f64();
    eprintln!("{}: loaded {} keys in {seconds:.1} s", store.name(), all.len());
    let run = |operation, keys: &[u64], batch| store.run(&Job { operation, keys, batch, time: None });
    let few: Vec<u64> = all.iter().step_by(all.len().div_ceil(1000)).copied().collect();
    let mut expected: u64 = few.iter().sum();
    for batch in [1, 128] {
        for operation in [Operation::Read, Operation::Rmw, Operation::Read, Operation::Upsert] {
            let done = run(operation, &few, batch);
            let is_read = operation == Operation::Read;
            if done.operations != few.len() || (is_read && done.sum != expected) {
                return Err(format!("{} does not return what it was given", store.name()).into());
            }
            match operation {
                Operation::Rmw => expected += few.len() as u64,
                Operation::Upsert => expected = few.iter().sum(),
                _ => {}
            }
        }
    }
    bounds::wait_idle(Duration::from_secs(30))?;
    Ok(seconds)
}

fn draw(arguments: &Arguments, distribution: Distribution) -> Vec<Vec<u64>> {
    let source = Keys::new(arguments.keys, distribution);
    let lane = |lane| {
        let mut prng = Prng::lane(7, lane);
        (0..arguments.drawn).map(|_| source.next(&mut prng)).collect()
    };
    (0..arguments.threads).map(lane).collect()
}

fn measure(
    arguments: &Arguments,
    stores: &[&dyn Store],
    row: &Row,
    keys: &[Vec<u64>],
) -> Result<Measured, Failure> {
    let mut wall = vec![Vec::new(); stores.len() + arguments.external.len()];
    let mut processor = vec![Vec::new(); stores.len()];
    let time = Some(Duration::from_secs_f64(arguments.seconds));
    for _ in 0..arguments.rounds {
        for (place, store) in stores.iter().enumerate() {
            let before = bounds::cpu_seconds()?;
            let done: Vec<Done> = std::thread::scope(|scope| {
                let job = |keys| Job { operation: row.operation, keys, batch: row.batch, time };
                let threads: Vec<_> =
                    keys.iter().map(|keys| scope.spawn(move || store.run(&job(keys)))).collect();
                threads.into_iter().map(|thread| thread.join().expect("a measuring thread")).collect()
            });
            bounds::wait_idle(IDLE_MOST)?;
            // The kernel counts in steps of 10 ms: a measurement of which less is left is too short.
            let seconds = (bounds::cpu_seconds()? - before).max(0.01);
            wall[place].push(done.iter().map(Done::per_second).sum());
            processor[place].push(done.iter().map(|done| done.operations as f64).sum::<f64>() / seconds);
        }
        for (external, rates) in arguments.external.iter().zip(wall.iter_mut().skip(stores.len())) {
            rates.push(external.run(arguments, row)?);
        }
    }
    Ok(Measured { wall: Rates(wall), processor: Rates(processor) })
}

fn print_loads(names: &[&str], loads: &[f64]) {
    println!(
        "Seconds that loading took, in each store's fastest way for keys that come in their order, compaction included:\n"
    );
    println!("| {} |", names[..loads.len()].join(" | "));
    println!("|{}", "---|".repeat(loads.len()));
    let cells: Vec<String> = loads.iter().map(|seconds| format!("{seconds:.1}")).collect();
    println!("| {} |\n", cells.join(" | "));
}

fn print(arguments: &Arguments, names: &[&str], table: &[(Row, Measured)], bounds: &Bounds) {
    let Arguments { keys, threads, rounds, .. } = arguments;
    println!(
        "{keys} keys, {threads} thread(s), {rounds} rounds of {} s. Bounds of the same run:",
        arguments.seconds
    );
    println!(
        "{:.1} million random cache lines and {:.1} GB/s copied by one core, {:.0} thousand device reads of 4 KiB",
        bounds.lines / 1e6,
        bounds.copy / 1e9,
        bounds.reads / 1e3
    );
    println!("a second with 64 in flight. Million operations per second:\n");
    println!("| keys | operation | {} | / bound |", names.join(" | "));
    println!("|---|---|{}---|", "---|".repeat(names.len()));
    for (row, measured) in table {
        let rates = measured.wall.medians();
        let cells: Vec<String> = rates.iter().map(|rate| million(*rate)).collect();
        let of_bound = rates[0] / *threads as f64 / (bounds.lines / 2.0);
        println!("| {} | {} | {of_bound:.2} |", label(row), cells.join(" | "));
    }
    println!(
        "\nThe bound is two independent random cache lines an operation. How many times as fast oxifaster is, by"
    );
    println!("the clock on the wall / by processor time, background threads included:\n");
    println!("| keys | operation | {} |", names[1..].join(" | "));
    println!("|---|---|{}", "---|".repeat(names.len() - 1));
    for (row, measured) in table {
        let processor = measured.processor.ratios();
        let cell = |(place, wall): (usize, &f64)| match processor.get(place) {
            Some(processor) => format!("{} / {}", times(*wall), times(*processor)),
            None => times(*wall),
        };
        let cells: Vec<String> = measured.wall.ratios().iter().enumerate().map(cell).collect();
        println!("| {} | {} |", label(row), cells.join(" | "));
    }
}

fn times(ratio: f64) -> String {
    if ratio < 10.0 { format!("{ratio:.1}") } else { format!("{ratio:.0}") }
}

fn label(row: &Row) -> String {
    let batched = if row.batch == 1 { String::new() } else { format!(", batches of {}", row.batch) };
    format!("{} | {}{batched}", row.distribution_name(), row.operation.name())
}

fn million(rate: f64) -> String {
    if rate < 1e5 { format!("{:.4}", rate / 1e6) } else { format!("{:.2}", rate / 1e6) }
}

fn to_json(
    arguments: &Arguments,
    names: &[&str],
    loads: &[f64],
    table: &[(Row, Measured)],
    bounds: &Bounds,
) -> serde_json::Value {
    let by_name = |rates: &Rates| -> serde_json::Map<_, _> {
        names.iter().zip(&rates.0).map(|(name, rates)| ((*name).to_owned(), rates.clone().into())).collect()
    };
    let rows = table.iter().map(|(row, measured)| {
        serde_json::json!({"distribution": row.distribution_name(), "operation": row.operation.name(),
            "batch": row.batch, "operations_per_second": by_name(&measured.wall),
            "operations_per_processor_second": by_name(&measured.processor)})
    });
    let loads: serde_json::Map<_, _> =
        names.iter().zip(loads).map(|(name, seconds)| ((*name).to_owned(), (*seconds).into())).collect();
    serde_json::json!({"keys": arguments.keys, "load_seconds": loads, "threads": arguments.threads, "rows": rows.collect::<Vec<_>>(),
        "random_lines_per_second": bounds.lines, "copied_bytes_per_second": bounds.copy,
        "device_reads_per_second": bounds.reads})
}

#[cfg(test)]
mod tests {
    use super::Rates;

    #[test]
    fn ratios_are_taken_round_by_round() {
        // The machine was three times slower in the second round: the ratio does not see it.
        let rates = Rates(vec![vec![6.0, 2.0, 8.0], vec![3.0, 1.0, 4.0]]);
        assert_eq!((rates.medians(), rates.ratios()), (vec![6.0, 3.0], vec![2.0]));
    }
}
