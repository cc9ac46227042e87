//! The program `judge`: runs one judge with the numbers of the command line and says in one line of JSON what it came to.
//!
//! Progress and what is wrong go to standard error, with the seed that replays it. The exit code is 0 when the promises were
//! kept, 1 when one was broken, 2 for a wrong command line, 3 when the judge found no end.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a program whose result is its output")]

use std::path::{Path, PathBuf};
use std::process::{ExitCode, exit};
use std::time::Duration;

use clap::{Parser, Subcommand};
use oxifaster_device::sync::{clock, random, thread};
use oxifaster_sim::judges::Report;
use oxifaster_sim::judges::beyond_memory::{self, BeyondMemoryOptions};
use oxifaster_sim::judges::bitflips::{self, BitflipOptions};
use oxifaster_sim::judges::canaries;
use oxifaster_sim::judges::linearize::{self, LinearizeOptions};
use oxifaster_sim::judges::model::{self, ModelOptions};
use oxifaster_sim::log::cuts::{self, CutOptions};
use oxifaster_sim::log::damage::{self, DamageOptions};
use oxifaster_sim::log::follow;
use oxifaster_sim::log::io_errors::{self, IoErrorOptions};
use oxifaster_sim::log::kill::{self, ChildOptions, KillOptions};
use oxifaster_sim::log::power_loss::{self, PowerLossOptions};

/// Judges whether oxifaster keeps its promises.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    judge: Judge,
    /// Run as long as before a release; explicit numbers still count.
    #[arg(long, global = true)]
    long: bool,
    /// What everything is drawn from; a random one is printed otherwise.
    #[arg(long, global = true)]
    seed: Option<u64>,
    /// After so many seconds without an end the judge counts as broken. 0 is never.
    #[arg(long, global = true)]
    timeout_seconds: Option<u64>,
    /// What was broken is written into this file, too, with the seed.
    #[arg(long, global = true)]
    blame: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Judge {
    /// Concurrent histories of all operations are linearizable.
    Linearize(Histories),
    /// The same with power loss: what is found is a consistent point of the history.
    Crash(Histories),
    /// Random plans with one session: every answer is right, every crash leads to the consistent point.
    Model {
        /// Plans for each of the three shapes.
        #[arg(long, alias = "iterations")]
        runs: Option<u64>,
        /// Steps of a plan at most.
        #[arg(long, default_value_t = 800)]
        steps: u64,
        /// No kills, no power loss, no failing requests.
        #[arg(long)]
        peaceful: bool,
    },
    /// One flipped bit anywhere is detected or harmless.
    Bitflips {
        /// Every so many places only.
        #[arg(long, default_value_t = 1)]
        stride: u64,
        /// All eight bits of every byte, not only of metadata and checksums.
        #[arg(long)]
        all_bits: bool,
    },
    /// Ten times as many bytes as memory: every key, exact sums, bounded memory.
    BeyondMemory {
        /// Log memory in MiB.
        #[arg(long, default_value_t = 64)]
        log_memory_mib: u64,
        /// Log bytes to write, in multiples of the memory.
        #[arg(long, default_value_t = 10)]
        times: u64,
        /// Threads, at most 4.
        #[arg(long, default_value_t = 4)]
        threads: usize,
    },
    /// FasterLog: power loss, kills and failing requests lose nothing that was acknowledged, and invent nothing.
    LogPowerLoss {
        /// Images of logs that ended without a close.
        #[arg(long)]
        images: Option<u64>,
    },
    /// FasterLog: suffixes and fronts go while threads append and commit, through power loss and kills.
    LogCuts {
        /// Logs.
        #[arg(long)]
        logs: Option<u64>,
        /// Cuts of the first log, at least.
        #[arg(long)]
        cuts: Option<u64>,
    },
    /// FasterLog: turned bits, truncations and replayed blocks are told.
    LogDamage {
        /// KiB of log.
        #[arg(long, default_value_t = 64)]
        log_kib: u64,
        /// Every so many bits only.
        #[arg(long)]
        stride: Option<u64>,
    },
    /// FasterLog: each single request that fails is told, and loses nothing that was acknowledged.
    LogIoErrors {
        /// Every so many requests only.
        #[arg(long, default_value_t = 1)]
        stride: u64,
    },
    /// FasterLog: a killed process keeps what it was told.
    LogKill {
        /// Processes that are killed.
        #[arg(long)]
        kills: Option<u64>,
        /// Where the files go.
        #[arg(long)]
        folder: Option<PathBuf>,
    },
    /// FasterLog: a reader in another process is shown what is committed, through kills and truncations, and nothing else.
    LogFollow {
        /// Processes that are killed.
        #[arg(long)]
        kills: Option<u64>,
        /// Where the files go.
        #[arg(long)]
        folder: Option<PathBuf>,
    },
    /// The process that `log-kill` and `log-follow` kill.
    #[command(hide = true)]
    LogKillChild {
        /// Folder of the log.
        #[arg(long)]
        folder: PathBuf,
        /// Number of its life.
        #[arg(long)]
        life: u64,
    },
    /// Every planted bug is caught by its judge (needs `--cfg canaries`).
    Canaries {
        /// Only those whose names contain this.
        #[arg(default_value = "")]
        only: String,
    },
}

#[derive(Debug, clap::Args)]
struct Histories {
    /// Operations in all.
    #[arg(long)]
    operations: Option<u64>,
    /// Operations of a round.
    #[arg(long)]
    round: Option<u64>,
    /// Threads.
    #[arg(long, default_value_t = 4)]
    threads: u32,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // What catches a planted bug should not be luck.
    let fixed_seed = matches!(arguments.judge, Judge::Canaries { .. }).then_some(1);
    let seed = arguments.seed.or(fixed_seed).unwrap_or_else(random_seed);
    let long = arguments.long || fixed_seed.is_some();
    let seconds = arguments.timeout_seconds.unwrap_or(if long { 7200 } else { 900 });
    watch(seconds, seed, arguments.blame.clone());
    eprintln!("seed {seed}");
    let started = clock::now();
    let report = run(&arguments, seed);
    if let Some(message) = report.guilty() {
        blame(arguments.blame.as_deref(), seed, message);
    }
    eprintln!("{:.1} seconds", started.elapsed().as_secs_f64());
    println!("{report}");
    if report.guilty().is_some() { ExitCode::from(1) } else { ExitCode::SUCCESS }
}

fn run(arguments: &Arguments, seed: u64) -> Report {
    let long = arguments.long;
    let mut progress = |message: &str| eprintln!("{message}");
    match &arguments.judge {
        Judge::Linearize(histories) => linearize::judge(&histories.options(seed, long, false), &mut progress),
        Judge::Crash(histories) => linearize::judge(&histories.options(seed, long, true), &mut progress),
        Judge::Model { runs, steps, peaceful } => {
            let runs = runs.unwrap_or(if long { 20_000 } else { 700 });
            // A planted bug need not be explained.
            let minimizing_runs = if cfg!(canaries) { 20 } else { 2000 };
            let options = ModelOptions { seed, runs, steps_max: *steps, faults: !peaceful, minimizing_runs };
            model::judge(&options, &mut progress)
        }
        Judge::Bitflips { stride, all_bits } => {
            let flips_while_open = if long { 50_000 } else { 5_000 };
            let options =
                BitflipOptions { seed, stride: *stride, all_bits: *all_bits || long, flips_while_open };
            bitflips::judge(&options, &mut progress)
        }
        Judge::BeyondMemory { log_memory_mib, times, threads } => {
            let options = BeyondMemoryOptions {
                seed,
                log_memory_bytes: log_memory_mib << 20,
                times: *times,
                threads: *threads,
                verify_max: if long { 4_000_000 } else { 400_000 },
            };
            beyond_memory::judge(&options, &mut progress)
        }
        Judge::Canaries { only } => {
            with_program("canaries", seed, |program| canaries::judge(program, seed, only, &mut progress))
        }
        log => run_log(log, seed, long),
    }
}

fn run_log(judge: &Judge, seed: u64, long: bool) -> Report {
    let mut progress = |message: &str| eprintln!("{message}");
    match judge {
        Judge::LogPowerLoss { images } => {
            let images = images.unwrap_or(if long { 100_000 } else { 5_000 });
            power_loss::judge(&PowerLossOptions { seed, images }, &mut progress)
        }
        Judge::LogCuts { logs, cuts } => {
            let logs = logs.unwrap_or(if long { 3_000 } else { 60 });
            let cuts_of_one_log = cuts.unwrap_or(if long { 20_000 } else { 3_000 });
            cuts::judge(&CutOptions { seed, cuts_of_one_log, logs }, &mut progress)
        }
        Judge::LogDamage { log_kib, stride } => {
            let stride = stride.unwrap_or(1).max(1);
            // Every bit of a log that was not closed takes minutes.
            let killed = stride * if long { 1 } else { DamageOptions::KILLED_STRIDE_SHORT };
            let options = DamageOptions { seed, log_bytes: log_kib << 10, stride, killed_stride: killed };
            damage::judge(&options, &mut progress)
        }
        Judge::LogIoErrors { stride } => {
            io_errors::judge(&IoErrorOptions { seed, stride: (*stride).max(1) }, &mut progress)
        }
        Judge::LogKill { kills, folder } => with_program("log-kill", seed, |program| {
            let folder = folder.clone().unwrap_or_else(std::env::temp_dir);
            let kills = kills.unwrap_or(if long { 5_000 } else { 200 });
            kill::judge(program, &KillOptions { seed, kills, folder }, &mut progress)
        }),
        Judge::LogFollow { kills, folder } => with_program("log-follow", seed, |program| {
            let folder = folder.clone().unwrap_or_else(std::env::temp_dir);
            let kills = kills.unwrap_or(if long { 1_000 } else { 64 });
            follow::judge(program, &KillOptions { seed, kills, folder }, &mut progress)
        }),
        Judge::LogKillChild { folder, life } => {
            let mut report = Report::new("log-kill-child", seed);
            if let Err(error) = kill::child(&ChildOptions { folder: folder.clone(), life: *life, seed }) {
                report.blame(format!("{error:?}"));
            }
            report
        }
        other => {
            let mut report = Report::new("log", seed);
            report.blame(format!("{other:?} is no judge of the log"));
            report
        }
    }
}

/// Runs a judge that starts processes of this program.
fn with_program(judge: &'static str, seed: u64, run: impl FnOnce(&Path) -> Report) -> Report {
    match std::env::current_exe() {
        Ok(program) => run(&program),
        Err(error) => {
            let mut report = Report::new(judge, seed);
            report.blame(format!("the path of this program: {error}"));
            report
        }
    }
}

impl Histories {
    fn options(&self, seed: u64, long: bool, crash: bool) -> LinearizeOptions {
        let (operations, round) = match (long, crash) {
            (false, false) => (5_000_000, 100_000),
            (true, false) => (50_000_000, 100_000),
            (false, true) => (1_000_000, 20_000),
            (true, true) => (20_000_000, 20_000),
        };
        LinearizeOptions {
            seed,
            operations: self.operations.unwrap_or(operations),
            operations_per_round: self.round.unwrap_or(round),
            threads: self.threads,
            crash,
        }
    }
}

fn random_seed() -> u64 {
    let id = random::random_id().unwrap_or_default();
    let (words, _) = id.as_chunks::<8>();
    words.iter().fold(0, |seed, &word| seed ^ u64::from_le_bytes(word)) >> 16
}

/// Says what is wrong, and writes it into the file that was asked for.
fn blame(file: Option<&Path>, seed: u64, message: &str) {
    eprintln!("{message}");
    if let Some(file) = file
        && let Err(error) = std::fs::write(file, format!("seed {seed}: {message}\n"))
    {
        eprintln!("could not write {}: {error}", file.display());
    }
}

/// Ends the process when the judge makes no end: something waits for ever.
fn watch(seconds: u64, seed: u64, file: Option<PathBuf>) {
    if seconds == 0 {
        return;
    }
    let watching = thread::spawn("judge-watch", move || {
        thread::sleep(Duration::from_secs(seconds));
        let message =
            format!("no end after {seconds} seconds: something waits for ever, or the machine is too slow");
        blame(file.as_deref(), seed, &message);
        println!("{{\"verdict\":\"hung\",\"seed\":{seed}}}");
        exit(i32::from(canaries::HUNG))
    });
    if let Err(error) = watching {
        eprintln!("running without a watch: {error}");
    }
}
