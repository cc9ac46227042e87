//! The damage judge of the log: every single bit, every truncation of the last pages, and replayed blocks.
//!
//! | what is done to the image of a log | what is right |
//! |---|---|
//! | closed: one bit turned, anywhere | an error of kind corruption, or every entry is there |
//! | not closed: the same | the same; damage of the last commit alone may be reported as cut off |
//! | not closed: zero from any byte of the last two pages on, and cut at each block | a prefix that ends with a commit, and the rest is reported; or an error |
//! | closed: a block put into another place | corruption |

use std::panic::{AssertUnwindSafe, catch_unwind};

use oxifaster_core::Address;
use oxifaster_core::error::ErrorKind;
use oxifaster_device::fault::FaultDevice;
use oxifaster_device::{BLOCK_BYTES, StorageDevice};
use oxifaster_log::{FasterLog, FasterLogConfig};

use super::entries::Mark;
use crate::judges::{Progress, Report};
use crate::workload::Prng;

/// How much to judge.
#[derive(Clone, Copy, Debug)]
pub struct DamageOptions {
    /// What everything is drawn from.
    pub seed: u64,
    /// Bytes of the log.
    pub log_bytes: u64,
    /// Every so many bits, and places to cut at, only. At least 1.
    pub stride: u64,
}

const PAGE_BYTES: usize = 8192;

fn config() -> FasterLogConfig {
    FasterLogConfig::default().with_page_size(PAGE_BYTES).with_memory_pages(8)
}

/// A log and what it holds, with the number of entries below each commit.
struct Sample {
    device: FaultDevice,
    entries: Vec<(Address, Vec<u8>)>,
    commits: Vec<usize>,
    end: u64,
}

fn sample(seed: u64, log_bytes: u64, close: bool) -> Result<Sample, String> {
    let explain = |error| format!("making a log: {error:?}");
    let mut prng = Prng::lane(seed, 3);
    let device = FaultDevice::new(seed);
    let log = FasterLog::open(config(), device.clone()).map_err(explain)?;
    let mut sample = Sample { device: device.clone(), entries: Vec::new(), commits: vec![0], end: 0 };
    while log.tail_address().byte_offset() < log_bytes {
        let mark = Mark::single(0, 0, sample.entries.len() as u64);
        let filler = if prng.chance(0.05) { 9000 } else { 300 };
        let bytes = mark.bytes(filler);
        sample.entries.push((log.append(&bytes).map_err(explain)?, bytes));
        if prng.chance(0.12) {
            log.commit().map_err(explain)?;
            sample.commits.push(sample.entries.len());
        }
    }
    log.commit().map_err(explain)?;
    sample.commits.push(sample.entries.len());
    sample.commits.dedup();
    if close {
        log.close().map_err(explain)?;
    }
    sample.device = device.snapshot_durable();
    drop(log);
    sample.end = sample.device.space_use().map_err(|error| error.to_string())?.end_offset;
    Ok(sample)
}

/// How a message of [`examine`] ends when entries are missing without a word.
const NOTHING_SAID: &str = "and nothing is said";

/// What a damaged image came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// Everything is there.
    Harmless,
    Corruption,
    /// The first so many entries are there, and the rest was reported as cut off.
    CutOff(usize),
}

/// Opens the image and reads everything.
fn examine(image: FaultDevice, sample: &Sample) -> Result<Outcome, String> {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let log = match FasterLog::open(config(), image) {
            Ok(log) => log,
            Err(error) if error.kind() == ErrorKind::Corruption => return Ok(Outcome::Corruption),
            Err(error) => return Err(format!("an error of another kind: {error:?}")),
        };
        read_all(&log, sample)
    }));
    outcome.unwrap_or_else(|_| Err("a panic".to_owned()))
}

/// Reads all of a log.
fn read_all(log: &FasterLog, sample: &Sample) -> Result<Outcome, String> {
    let mut found = Vec::new();
    for entry in log.scan(..) {
        match entry {
            Ok(entry) => found.push(entry),
            Err(error) if error.kind() == ErrorKind::Corruption => {
                check_prefix(&found, sample)?;
                return Ok(Outcome::Corruption);
            }
            Err(error) => return Err(format!("an error of another kind: {error:?}")),
        }
    }
    check_prefix(&found, sample)?;
    if let Err(error) = log.self_check() {
        return if error.kind() == ErrorKind::Corruption {
            Ok(Outcome::Corruption)
        } else {
            Err(format!("{error:?}"))
        };
    }
    if found.len() == sample.entries.len() {
        return Ok(Outcome::Harmless);
    }
    if log.recovery_report().cut_off_bytes == 0 {
        return Err(format!("{} of {} entries, and nothing is said", found.len(), sample.entries.len()));
    }
    Ok(Outcome::CutOff(found.len()))
}

fn check_prefix(found: &[(Address, Vec<u8>)], sample: &Sample) -> Result<(), String> {
    for (place, entry) in found.iter().enumerate() {
        if sample.entries.get(place) != Some(entry) {
            return Err(format!("entry {place} at {} is not what was written", entry.0));
        }
    }
    Ok(())
}

/// Bits in a log that was closed: opening it reads none of it, so one open log reads all the damaged images.
fn flips_when_closed(options: &DamageOptions, report: &mut Report) -> Result<(), String> {
    let sample = sample(options.seed, options.log_bytes, true)?;
    let image = sample.device.snapshot_durable();
    let log = FasterLog::open(config(), image.clone()).map_err(|error| format!("{error:?}"))?;
    let mut detected = 0_u64;
    for bit in every(options.stride, &sample) {
        let turned = u8::try_from(bit % 8).unwrap_or(0);
        let told = format!("bit {turned} of byte {}", bit / 8);
        image.flip_bit(bit / 8, turned);
        let read = catch_unwind(AssertUnwindSafe(|| read_all(&log, &sample)))
            .unwrap_or_else(|_| Err("a panic".to_owned()));
        image.flip_bit(bit / 8, turned);
        match read.map_err(|message| format!("{told}: {message}"))? {
            Outcome::Corruption => detected += 1,
            other => return Err(format!("{told}: {other:?}")),
        }
    }
    report.note("closed_flips_detected", detected);
    Ok(())
}

/// Bits in a log that was not closed: opening it has to find its end.
fn flips_when_open(options: &DamageOptions, report: &mut Report) -> Result<(), String> {
    let sample = sample(options.seed, options.log_bytes, false)?;
    let (mut corrupt, mut cut) = (0_u64, 0_u64);
    // All but the last commit were followed by another one.
    let safe = sample.commits.iter().rev().nth(1).copied().unwrap_or(0);
    for bit in every(options.stride * OPEN_STRIDE, &sample) {
        let image = sample.device.snapshot_durable();
        let turned = u8::try_from(bit % 8).unwrap_or(0);
        image.flip_bit(bit / 8, turned);
        let told = format!("bit {turned} of byte {}", bit / 8);
        match examine(image, &sample).map_err(|message| format!("{told}: {message}"))? {
            Outcome::Corruption => corrupt += 1,
            Outcome::CutOff(entries) if entries >= safe => cut += 1,
            other => return Err(format!("{told}: {other:?} of {} entries", sample.entries.len())),
        }
    }
    report.note("open_flips_detected", corrupt);
    report.note("open_flips_cut_off", cut);
    Ok(())
}

/// Opening a log for every bit takes longer than reading one.
const OPEN_STRIDE: u64 = 61;

fn every(stride: u64, sample: &Sample) -> impl Iterator<Item = u64> + use<> {
    (BLOCK_BYTES as u64 * 8..sample.end * 8).step_by(usize::try_from(stride).unwrap_or(1).max(1))
}

fn truncations(options: &DamageOptions, report: &mut Report) -> Result<(), String> {
    let sample = sample(options.seed, options.log_bytes, false)?;
    let first = sample.end.saturating_sub(2 * PAGE_BYTES as u64);
    let mut cuts = 0_u64;
    // Every byte of the last two pages is the first one that is zero; sectors alone would miss what lies within them.
    for from in
        (first..sample.end).filter(|from| from % options.stride == 0 || from % BLOCK_BYTES as u64 == 0)
    {
        let image = sample.device.snapshot_durable();
        let zeros = vec![0; usize::try_from(sample.end - from).unwrap_or(0)];
        image.overwrite(from, &zeros);
        if from.is_multiple_of(BLOCK_BYTES as u64) {
            let shorter = image.snapshot_durable();
            shorter.truncate_after(from).map_err(|error| error.to_string())?;
            // A file that ends where a commit ends looks like a log that was never longer.
            match examine(shorter, &sample) {
                Ok(Outcome::CutOff(entries)) if sample.commits.contains(&entries) => {}
                Ok(Outcome::Corruption) => {}
                Err(message) if message.ends_with(NOTHING_SAID) => {}
                other => return Err(format!("shortened to byte {from}: {other:?}")),
            }
        }
        match examine(image, &sample).map_err(|message| format!("cut at byte {from}: {message}"))? {
            Outcome::Corruption => {}
            Outcome::Harmless => {
                // Nothing but zeros can have lain there.
                if !zeros_only(&sample, from) {
                    return Err(format!("cut at byte {from}: everything is still there"));
                }
            }
            Outcome::CutOff(entries) if sample.commits.contains(&entries) => cuts += 1,
            Outcome::CutOff(entries) => {
                return Err(format!("cut at byte {from}: {entries} entries are no commit"));
            }
        }
    }
    report.note("truncations", (sample.end - first) / options.stride);
    report.note("truncations_cut_off", cuts);
    Ok(())
}

fn zeros_only(sample: &Sample, from: u64) -> bool {
    let len = usize::try_from(sample.end - from).unwrap_or(0);
    sample.device.read_bytes(from, len).iter().all(|byte| *byte == 0)
}

fn replays(options: &DamageOptions, report: &mut Report) -> Result<(), String> {
    let sample = sample(options.seed, options.log_bytes, true)?;
    let block = BLOCK_BYTES as u64;
    let mut replays = 0_u64;
    for to in (block..sample.end).step_by(BLOCK_BYTES) {
        for from in (block..sample.end).step_by(BLOCK_BYTES).filter(|from| *from != to) {
            let bytes = sample.device.read_bytes(from, BLOCK_BYTES);
            if bytes == sample.device.read_bytes(to, BLOCK_BYTES) {
                continue;
            }
            let image = sample.device.snapshot_durable();
            image.overwrite(to, &bytes);
            replays += 1;
            match examine(image, &sample)? {
                Outcome::Corruption => {}
                other => return Err(format!("the block at {from} replayed at {to} came to {other:?}")),
            }
        }
    }
    report.note("replays", replays);
    Ok(())
}

/// Runs the judge.
pub fn judge(options: &DamageOptions, progress: Progress<'_>) -> Report {
    let mut report = Report::new("log-damage", options.seed);
    type Part = fn(&DamageOptions, &mut Report) -> Result<(), String>;
    let parts: [(&str, Part); 4] = [
        ("flips in a log that was not closed", flips_when_open),
        ("flips in a closed log", flips_when_closed),
        ("truncations", truncations),
        ("replays", replays),
    ];
    for (name, part) in parts {
        progress(name);
        if let Err(message) = part(options, &mut report) {
            report.blame(format!("{name}: {message}"));
        }
    }
    report
}
