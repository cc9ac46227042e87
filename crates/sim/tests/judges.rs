//! The judges run with small numbers on the real store; the program `judge` runs them with large ones.
//!
//! They run side by side in one process, and some count the panics of all its threads: so a test here fails by what it returns
//! and does not panic itself, or one that failed would take others with it.

use oxifaster_sim::judges::Report;
use oxifaster_sim::judges::bitflips::{self, BitflipOptions};
use oxifaster_sim::judges::linearize::{self, LinearizeOptions};
use oxifaster_sim::judges::model::{self, ModelOptions};
use oxifaster_sim::log::cuts::{self, CutOptions};
use oxifaster_sim::log::damage::{self, DamageOptions};
use oxifaster_sim::log::io_errors::{self, IoErrorOptions};
use oxifaster_sim::log::kill::{self, KillOptions};
use oxifaster_sim::log::power_loss::{self, PowerLossOptions};

/// Fails for a verdict, and for a count that is not above what belongs to it here.
fn kept(report: &Report, counts: &[(&str, u64)]) -> Result<(), String> {
    if let Some(guilty) = report.guilty() {
        return Err(format!("{guilty}: {report}"));
    }
    match counts.iter().find(|&&(name, above)| report.count(name) <= Some(above)) {
        Some((name, above)) => Err(format!("{name} is not above {above}: {report}")),
        None => Ok(()),
    }
}

#[test]
fn model() -> Result<(), String> {
    let options = ModelOptions { seed: 1, runs: 40, steps_max: 600, faults: true, minimizing_runs: 300 };
    let report = model::judge(&options, &mut |message| eprintln!("{message}"));
    kept(&report, &[("crashes_with_contents", 100)])
}

fn histories(operations: u64, crash: bool) -> LinearizeOptions {
    LinearizeOptions { seed: 2, operations, operations_per_round: operations / 8, threads: 4, crash }
}

#[test]
fn linearize() -> Result<(), String> {
    let report = linearize::judge(&histories(400_000, false), &mut |message| eprintln!("{message}"));
    kept(
        &report,
        &[
            ("overlapping", 100),
            ("flushes", 10),
            ("pages_evicted", 10),
            ("device_reads", 10),
            ("reordered", 5),
            ("dropped_futures", 5),
            ("in_memory", 1_000),
            ("pages_reclaimed", 5),
        ],
    )
}

#[test]
fn crash() -> Result<(), String> {
    let report = linearize::judge(&histories(150_000, true), &mut |message| eprintln!("{message}"));
    kept(&report, &[("keys_found", 100)])
}

#[test]
fn bitflips() -> Result<(), String> {
    let options = BitflipOptions { seed: 1, stride: 300, all_bits: false, flips_while_open: 1200 };
    let report = bitflips::judge(&options, &mut |message| eprintln!("{message}"));
    kept(&report, &[("while_open_detected_at_read", 10), ("words_detected_at_open", 100)])
}

#[test]
fn log_power_loss() -> Result<(), String> {
    let options = PowerLossOptions { seed: 1, images: 300 };
    let report = power_loss::judge(&options, &mut |message| eprintln!("{message}"));
    kept(&report, &[("acknowledged", 1_000), ("cut_off_bytes", 10_000)])
}

#[test]
fn log_cuts() -> Result<(), String> {
    let options = CutOptions { seed: 1, cuts_of_one_log: 60, logs: 12 };
    let report = cuts::judge(&options, &mut |message| eprintln!("{message}"));
    kept(&report, &[("cuts", 150), ("fronts", 5)])
}

#[test]
fn log_damage() -> Result<(), String> {
    let options = DamageOptions { seed: 1, log_bytes: 24 << 10, stride: 37, killed_stride: 37 };
    let report = damage::judge(&options, &mut |message| eprintln!("{message}"));
    kept(
        &report,
        &[
            ("closed_flips_detected", 1_000),
            ("killed_flips_detected", 1_000),
            ("metadata_flips_survived", 500),
            ("Killed_zeroed_cut_off", 50),
            ("KilledAgain_shortened_told", 2),
        ],
    )
}

#[test]
fn log_io_errors() -> Result<(), String> {
    let options = IoErrorOptions { seed: 1, stride: 3 };
    let report = io_errors::judge(&options, &mut |message| eprintln!("{message}"));
    kept(
        &report,
        &[
            ("Made_Write_Once", 3),
            ("Made_Sync_ForEver", 3),
            ("Made_Read_Once", 3),
            ("AfterKill_Read_ForEver", 3),
            ("Made_Space_Once", 3),
            ("AfterClose_MetadataRead_Once", 0),
        ],
    )
}

#[test]
fn log_kill() -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let options = KillOptions { seed: 1, kills: 6, folder: folder.path().to_owned() };
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_judge"));
    let report = kill::judge(program, &options, &mut |message| eprintln!("{message}"));
    kept(&report, &[("acknowledged", 10)])
}
