//! oxifaster beside other in-memory maps and beside the machine's limits, in one run.
//!
//! Every engine holds the same keys and runs the same operations in rounds, one engine after the other, so that noise of
//! the machine meets all of them; a figure is the median over the rounds, a ratio the median of the rounds' ratios.
#![deny(unsafe_code)]

mod bounds;
mod cold;
mod cold_engines;
mod comparison;
mod engines;
mod external;
mod lines;
mod load;
mod memory;
mod probe;
mod scaling;
mod stores;
mod table;
mod wal;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Compares oxifaster with other engines and with the machine's limits")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Everything in memory: single operations and batches, uniform and zipfian, beside papaya, dashmap and scc.
    Memory(memory::Arguments),
    /// Values of 100 bytes beside the bound of the lines that they touch.
    Lines(lines::Arguments),
    /// The index at different loads: memory per key against speed.
    Table(table::Arguments),
    /// A simulation: what the lines that cores share would cost on machines with many of them.
    Scaling(scaling::Arguments),
    /// Stores with their data in memory and on a device: single operations and batches, uniform and zipfian.
    Engines(comparison::Arguments),
    /// Point reads of data larger than memory, beside a loop of plain reads of the same file.
    Cold(cold::Arguments),
    /// Records into a store whose log memory holds a part of them, beside fio's sequential writes.
    Load(load::Arguments),
    /// Point reads of data larger than memory beside RocksDB, fjall, redb and LMDB, each in a memory limit of the kernel.
    ColdEngines(cold_engines::Arguments),
    /// One process of `cold-engines`.
    #[command(hide = true)]
    ColdProcess(cold_engines::process::Arguments),
    /// `FasterLog` beside fio, RocksDB's and SQLite's write-ahead logs: appends, durable appends, scans.
    Log(wal::Arguments),
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    match Arguments::parse().command {
        Command::Memory(arguments) => with_load(arguments.json, || memory::run(&arguments)),
        Command::Lines(arguments) => with_load(false, || lines::run(&arguments)),
        Command::Table(arguments) => with_load(false, || table::run(&arguments)),
        Command::Scaling(arguments) => scaling::run(&arguments),
        Command::Engines(arguments) => with_load(arguments.json, || comparison::run(&arguments)),
        Command::Cold(arguments) => with_load(false, || cold::run(&arguments)),
        Command::Load(arguments) => load::run(&arguments),
        Command::ColdEngines(arguments) => cold_engines::run(&arguments),
        Command::ColdProcess(arguments) => cold_engines::process::run(&arguments),
        Command::Log(arguments) => wal::run(&arguments),
    }
}

/// Runs a command, and says how busy the machine was.
fn with_load(json: bool, run: impl FnOnce() -> Result<(), stores::Failure>) -> Result<(), stores::Failure> {
    let before = wal::load_average();
    run()?;
    let text = format!("\nLoad of the machine: {before} before, {} after.", wal::load_average());
    if json {
        eprintln!("{text}")
    } else {
        println!("{text}")
    }
    Ok(())
}
