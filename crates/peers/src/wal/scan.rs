//! A scan of a log that no memory holds, beside `fio` on the same file.
//!
//! The log lies in one file, which both read past the cache of the operating system (direct I/O); it is opened anew for each scan, so
//! that nothing of it is in memory. Every entry is verified, counted, and its bytes are looked at. `fio` reads 1 MiB at a time,
//! one request or eight at once, whichever is faster over all rounds.

use std::path::Path;
use std::time::Instant;

use oxifaster::device::FileSystemDisk;
use oxifaster::log::{FasterLog, FasterLogConfig};

use super::{Arguments, DeviceRates, better_depth, fio, median, ratio};
use crate::bounds::cpu_seconds;
use crate::stores::Failure;

/// What the rounds of one entry size reached.
#[derive(Default)]
struct Row {
    /// Bytes of log per second.
    scan: Vec<f64>,
    /// Nanoseconds of processor time per KiB of log.
    cpu: Vec<f64>,
    fio: DeviceRates,
}

pub fn run(arguments: &Arguments, folder: &Path) -> Result<(), Failure> {
    println!("### Scan of a cold log of {} GiB\n", arguments.scan_gib);
    println!(
        "| bytes of an entry | entries | million entries/s | MB/s | CPU ns per KiB | fio MB/s | scan / fio |"
    );
    println!("|---|---|---|---|---|---|---|");
    let path = folder.join("scan.log");
    for entry_bytes in &arguments.scan_entry_bytes {
        let entries = make(&path, *entry_bytes, arguments.scan_gib << 30)?;
        let mut row = Row::default();
        for round in 0..arguments.rounds {
            eprintln!("scan: round {round}, entries of {entry_bytes} bytes");
            scan(&path, *entry_bytes, entries, &mut row)?;
            for (rates, depth) in row.fio.iter_mut().zip(fio::DEPTHS) {
                rates.push(fio::reads(&path, depth));
            }
        }
        let fio = better_depth(&row.fio);
        let bytes = (8 + entry_bytes.next_multiple_of(8)) as f64;
        println!(
            "| {entry_bytes} | {entries} | {:.2} | {:.0} | {:.0} | {:.0} | {:.2} |",
            median(&row.scan) / bytes / 1e6,
            median(&row.scan) / 1e6,
            median(&row.cpu),
            median(&fio) / 1e6,
            ratio(&row.scan, &fio),
        );
        std::fs::remove_file(&path)?;
    }
    Ok(())
}

/// Writes a log; says how many entries it has.
fn make(path: &Path, entry_bytes: usize, log_bytes: u64) -> Result<u64, Failure> {
    let log = FasterLog::open(FasterLogConfig::default(), FileSystemDisk::single_file(path)?)?;
    let entry = vec![0x5A; entry_bytes];
    let mut entries = 0;
    while log.tail_address().byte_offset() < log_bytes {
        for _ in 0..64 {
            log.append(&entry)?;
        }
        entries += 64;
    }
    log.close()?;
    Ok(entries)
}

fn scan(path: &Path, entry_bytes: usize, expected: u64, row: &mut Row) -> Result<(), Failure> {
    let log = FasterLog::open(FasterLogConfig::default(), FileSystemDisk::single_file(path)?)?;
    let bytes = (log.committed_address().byte_offset() - log.begin_address().byte_offset()) as f64;
    let (start, cpu) = (Instant::now(), cpu_seconds()?);
    let mut scan = log.scan(..);
    let mut entries = 0;
    while let Some((_, entry)) = scan.next_entry()? {
        if entry.len() != entry_bytes || entry.last().is_some_and(|last| *last != 0x5A) {
            return Err("a scan returned something else than was appended".into());
        }
        entries += 1;
    }
    let seconds = start.elapsed().as_secs_f64();
    if entries != expected {
        return Err(format!("a scan returned {entries} of {expected} entries").into());
    }
    row.scan.push(bytes / seconds);
    row.cpu.push((cpu_seconds()? - cpu) / bytes * 1024.0 * 1e9);
    Ok(())
}
