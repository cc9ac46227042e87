//! A small log to be damaged, and what is left of it when it is opened and read.

use std::panic::{AssertUnwindSafe, catch_unwind};

use oxifaster_core::Address;
use oxifaster_core::error::{Error, ErrorKind};
use oxifaster_device::StorageDevice;
use oxifaster_device::fault::FaultDevice;
use oxifaster_log::{FasterLog, FasterLogConfig};

use super::entries::Mark;
use crate::judges::panics;
use crate::workload::Prng;

/// Pages of the sample; half of what may be lost without a word lies in the last two.
pub const PAGE_BYTES: usize = 8192;

/// How a sample was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It was closed: the metadata says where it ends.
    Closed,
    /// It was killed after a commit; the metadata knows of no commit at all.
    Killed,
    /// It was opened again half-way, and killed after a commit: the metadata knows half of the commits.
    KilledAgain,
}

/// A log and what it holds.
#[derive(Debug)]
pub struct Sample {
    /// What it lies on. Damage copies of it ([`FaultDevice::snapshot_durable`]).
    pub device: FaultDevice,
    /// Its entries in order.
    pub entries: Vec<(Address, Vec<u8>)>,
    /// For each commit: where it ends, in bytes of the device, and the entries below it. The first one is none: the begin.
    pub commits: Vec<(u64, usize)>,
    /// Where the device ends, in bytes.
    pub end: u64,
    /// Below this byte everything is known to the metadata to be committed; 0 if that is nothing.
    pub known: u64,
}

/// What a damaged image came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything is there.
    Harmless,
    /// An error of kind corruption, from opening or from reading; what was read before it was right.
    Corruption,
    /// The first so many entries are there, and the rest was reported as cut off.
    CutOff(usize),
    /// The first so many entries are there, and nothing was said.
    Short(usize),
}

/// What opening and reading an image showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Examined {
    /// What it came to.
    pub outcome: Outcome,
    /// Whether opening reported a damaged metadata slot.
    pub damaged_slot: bool,
}

/// The configuration of all samples.
#[must_use]
pub fn config() -> FasterLogConfig {
    FasterLogConfig::default().with_page_size(PAGE_BYTES).with_memory_pages(8)
}

impl Sample {
    /// Makes a log of at least `log_bytes` bytes.
    ///
    /// # Errors
    /// What went wrong, as a text.
    pub fn new(seed: u64, log_bytes: u64, ending: Ending) -> Result<Self, String> {
        let explain = |error| format!("making a log: {error:?}");
        let mut prng = Prng::lane(seed, 3);
        let mut device = FaultDevice::new(seed);
        let mut log = FasterLog::open(config(), device.clone()).map_err(explain)?;
        let start = log.committed_address().byte_offset();
        let (entries, commits) = (Vec::new(), vec![(start, 0)]);
        let mut sample = Self { device: device.clone(), entries, commits, end: 0, known: 0 };
        sample.fill(
            &log,
            &mut prng,
            if ending == Ending::KilledAgain { log_bytes / 2 } else { log_bytes },
        )?;
        if ending == Ending::KilledAgain {
            log.close().map_err(explain)?;
            sample.known = log.committed_address().byte_offset();
            drop(log);
            device = device.reopen();
            log = FasterLog::open(config(), device.clone()).map_err(explain)?;
            sample.fill(&log, &mut prng, log_bytes)?;
        }
        if ending == Ending::Closed {
            log.close().map_err(explain)?;
            sample.known = log.committed_address().byte_offset();
        }
        sample.device = device.snapshot_durable();
        drop(log);
        sample.end = sample.device.space_use().map_err(|error| error.to_string())?.end_offset;
        Ok(sample)
    }

    /// Appends up to so many bytes of log, and commits at the end.
    fn fill(&mut self, log: &FasterLog, prng: &mut Prng, log_bytes: u64) -> Result<(), String> {
        let explain = |error| format!("filling a log: {error:?}");
        while log.tail_address().byte_offset() < log_bytes {
            let mark = Mark::single(0, 0, self.entries.len() as u64);
            let bytes = mark.bytes(if prng.chance(0.05) { 9000 } else { 300 });
            self.entries.push((log.append(&bytes).map_err(explain)?, bytes));
            if prng.chance(0.12) {
                self.commit(log).map_err(explain)?;
            }
        }
        self.commit(log).map_err(explain)
    }

    fn commit(&mut self, log: &FasterLog) -> Result<(), Error> {
        let end = log.commit()?.until.byte_offset();
        if self.commits.last().is_none_or(|(last, _)| *last < end) {
            self.commits.push((end, self.entries.len()));
        }
        Ok(())
    }

    /// Opens the image and reads everything.
    ///
    /// # Errors
    /// Anything but an [`Outcome`]: a wrong entry, an error of another kind, a panic in any thread.
    pub fn examine(&self, image: FaultDevice) -> Result<Examined, String> {
        let judged = catch_unwind(AssertUnwindSafe(|| {
            let log = match FasterLog::open(config(), image) {
                Ok(log) => log,
                Err(error) if error.kind() == ErrorKind::Corruption => {
                    return Ok(Examined { outcome: Outcome::Corruption, damaged_slot: false });
                }
                Err(error) => return Err(format!("opening fails with another error: {error:?}")),
            };
            let damaged_slot = log.recovery_report().damaged_metadata_slot;
            Ok(Examined { outcome: self.read_all(&log)?, damaged_slot })
        }));
        no_panic(judged.unwrap_or_else(|_| Err("a panic".to_owned())))
    }

    /// Reads all of a log.
    ///
    /// # Errors
    /// As [`examine`](Self::examine).
    pub fn read_all(&self, log: &FasterLog) -> Result<Outcome, String> {
        let mut found = 0;
        for entry in log.scan(..) {
            match entry {
                Ok(entry) if self.entries.get(found) == Some(&entry) => found += 1,
                Ok(entry) => return Err(format!("entry {found} at {} is not what was written", entry.0)),
                Err(error) if error.kind() == ErrorKind::Corruption => return Ok(Outcome::Corruption),
                Err(error) => return Err(format!("a scan fails with another error: {error:?}")),
            }
        }
        match log.self_check() {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Corruption => return Ok(Outcome::Corruption),
            Err(error) => return Err(format!("a check fails with another error: {error:?}")),
        }
        Ok(if found == self.entries.len() {
            Outcome::Harmless
        } else if log.recovery_report().cut_off_bytes > 0 {
            Outcome::CutOff(found)
        } else {
            Outcome::Short(found)
        })
    }

    /// Whether a commit has exactly so many entries below it.
    #[must_use]
    pub fn has_commit_of(&self, entries: usize) -> bool {
        self.commits.iter().any(|(_, below)| *below == entries)
    }
}

/// Turns a verdict into an error when any thread has panicked.
///
/// # Errors
/// The verdict's own; a panic.
pub fn no_panic<T: std::fmt::Debug>(verdict: Result<T, String>) -> Result<T, String> {
    match panics::seen() {
        0 => verdict,
        seen => Err(format!("{seen} panics; {verdict:?}")),
    }
}
