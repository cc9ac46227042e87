//! The judges run with small numbers on the real store; the program `judge` runs them with large ones.

use oxifaster_sim::judges::bitflips::{self, BitflipOptions};
use oxifaster_sim::judges::linearize::{self, LinearizeOptions};
use oxifaster_sim::judges::model::{self, ModelOptions};
use oxifaster_sim::log::cuts::{self, CutOptions};
use oxifaster_sim::log::damage::{self, DamageOptions};
use oxifaster_sim::log::io_errors::{self, IoErrorOptions};
use oxifaster_sim::log::kill::{self, KillOptions};
use oxifaster_sim::log::power_loss::{self, PowerLossOptions};

#[test]
fn model() {
    let options = ModelOptions { seed: 1, runs: 40, steps_max: 600, faults: true, minimizing_runs: 300 };
    let report = model::judge(&options, &mut |message| eprintln!("{message}"));
    assert_eq!(report.guilty(), None, "{report}");
    assert!(report.count("crashes_with_contents") > Some(100), "{report}");
}

fn histories(operations: u64, crash: bool) -> LinearizeOptions {
    LinearizeOptions { seed: 1, operations, operations_per_round: operations / 8, threads: 4, crash }
}

#[test]
fn linearize() {
    let report = linearize::judge(&histories(400_000, false), &mut |message| eprintln!("{message}"));
    assert_eq!(report.guilty(), None, "{report}");
    assert!(report.count("pages_evicted") > Some(10) && report.count("device_reads") > Some(10), "{report}");
    assert!(report.count("overlapping") > Some(100), "{report}");
}

#[test]
fn crash() {
    let report = linearize::judge(&histories(150_000, true), &mut |message| eprintln!("{message}"));
    assert_eq!(report.guilty(), None, "{report}");
    assert!(report.count("keys_found") > Some(100), "{report}");
}

#[test]
fn bitflips() {
    let options = BitflipOptions { seed: 1, stride: 300, all_bits: false, flips_while_open: 1200 };
    let report = bitflips::judge(&options, &mut |message| eprintln!("{message}"));
    assert_eq!(report.guilty(), None, "{report}");
    assert!(report.count("while_open_detected_at_read") > Some(10), "{report}");
    assert!(report.count("words_detected_at_open") > Some(100), "{report}");
}

#[test]
fn log_power_loss() {
    let options = PowerLossOptions { seed: 1, images: 300 };
    let report = power_loss::judge(&options, &mut |message| eprintln!("{message}"));
    assert_eq!(report.guilty(), None, "{report}");
    assert!(
        report.count("acknowledged") > Some(1_000) && report.count("cut_off_bytes") > Some(10_000),
        "{report}"
    );
}

#[test]
fn log_cuts() {
    let options = CutOptions { seed: 1, cuts_of_one_log: 60, logs: 12 };
    let report = cuts::judge(&options, &mut |message| eprintln!("{message}"));
    assert_eq!(report.guilty(), None, "{report}");
    assert!(report.count("cuts") > Some(150) && report.count("fronts") > Some(5), "{report}");
}

#[test]
fn log_damage() {
    let options = DamageOptions { seed: 1, log_bytes: 24 << 10, stride: 37, killed_stride: 37 };
    let report = damage::judge(&options, &mut |message| eprintln!("{message}"));
    assert_eq!(report.guilty(), None, "{report}");
    assert!(report.count("closed_flips_detected") > Some(1_000), "{report}");
    assert!(report.count("killed_flips_detected") > Some(1_000), "{report}");
    assert!(report.count("metadata_flips_survived") > Some(500), "{report}");
    assert!(report.count("Killed_zeroed_cut_off") > Some(50), "{report}");
    assert!(report.count("KilledAgain_shortened_told") > Some(2), "{report}");
}

#[test]
fn log_io_errors() {
    let options = IoErrorOptions { seed: 1, stride: 3 };
    let report = io_errors::judge(&options, &mut |message| eprintln!("{message}"));
    assert_eq!(report.guilty(), None, "{report}");
    for name in [
        "Made_Write_Once",
        "Made_Sync_ForEver",
        "Made_Read_Once",
        "AfterKill_Read_ForEver",
        "Made_Space_Once",
    ] {
        assert!(report.count(name) > Some(3), "{name}: {report}");
    }
    assert!(report.count("AfterClose_MetadataRead_Once") > Some(0), "{report}");
}

#[test]
fn log_kill() {
    let folder = tempfile::tempdir().unwrap();
    let options = KillOptions { seed: 1, kills: 6, folder: folder.path().to_owned() };
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_judge"));
    let report = kill::judge(program, &options, &mut |message| eprintln!("{message}"));
    assert_eq!(report.guilty(), None, "{report}");
    assert!(report.count("acknowledged") > Some(10), "{report}");
}
