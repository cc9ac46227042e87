//! One life of a log: threads append and commit until something ends it, and write down what they were told.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use oxifaster_core::error::Error;
use oxifaster_device::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use oxifaster_device::sync::thread;
use oxifaster_log::FasterLog;

use super::entries::Mark;
use crate::workload::Prng;

/// Threads of a life at most.
pub const THREADS_MAX: usize = 3;

/// What each thread was told to be durable. With a file, each number is written there by a positioned write before the thread goes
/// on: pages of a file belong to the kernel, so that they outlive a killed process as a shared mapping does.
#[derive(Debug, Default)]
pub struct Acknowledged {
    counts: [AtomicU64; THREADS_MAX],
    file: Option<File>,
}

impl Acknowledged {
    /// In memory, or also in the file at `path`.
    ///
    /// # Errors
    /// When the file can't be made.
    pub fn new(path: Option<&Path>) -> std::io::Result<Self> {
        let file = match path {
            None => None,
            Some(path) => {
                let file = File::create(path)?;
                file.write_all_at(&[0; THREADS_MAX * 8], 0)?;
                Some(file)
            }
        };
        Ok(Self { counts: Default::default(), file })
    }

    fn note(&self, thread: usize, count: u64) {
        if let Some(file) = &self.file {
            let written = file.write_all_at(&count.to_le_bytes(), thread as u64 * 8);
            assert!(written.is_ok(), "the judge can't write down what it was told: {written:?}");
        }
        if let Some(place) = self.counts.get(thread) {
            place.store(count, Ordering::Relaxed);
        }
    }

    /// What was written down.
    #[must_use]
    pub fn counts(&self) -> Vec<u64> {
        self.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect()
    }

    /// What a process that is gone has written down.
    ///
    /// # Errors
    /// When the file can't be read.
    pub fn read(path: &Path) -> std::io::Result<Vec<u64>> {
        let bytes = std::fs::read(path)?;
        let (words, _) = bytes.as_chunks::<8>();
        Ok(words.iter().map(|word| u64::from_le_bytes(*word)).collect())
    }
}

/// How threads of a life use the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// One thread, one short entry for each commit: commits end on neighbouring blocks.
    OneByOne,
    /// Everything, with entries up to a third of the memory.
    Mixed,
    /// Long batches of short entries.
    Batches,
}

/// Runs `threads` threads until each has appended `entries_max` entries, an operation fails, or `stop` is set.
pub fn run(
    log: &FasterLog,
    life: u64,
    style: Style,
    seed: u64,
    entries_max: u64,
    acknowledged: &Acknowledged,
    stop: &AtomicBool,
) {
    let threads = if style == Style::OneByOne { 1 } else { THREADS_MAX };
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let prng = Prng::lane(seed, thread as u64);
            let mut worker = Worker { log, life, style, thread, number: 0, prng, acknowledged };
            scope.spawn(move || {
                while worker.number < entries_max && !stop.load(Ordering::Relaxed) {
                    // An error ends the thread: whether it is right is seen from what is there afterwards.
                    if worker.step().is_err() {
                        break;
                    }
                }
            });
        }
    });
}

#[derive(Debug)]
struct Worker<'l> {
    log: &'l FasterLog,
    life: u64,
    style: Style,
    thread: usize,
    number: u64,
    prng: Prng,
    acknowledged: &'l Acknowledged,
}

impl Worker<'_> {
    fn step(&mut self) -> Result<(), Error> {
        if self.style == Style::OneByOne {
            let mark = Mark::single(self.life, self.thread as u64, self.number);
            self.log.append_and_commit(&mark.bytes(0))?;
            self.number += 1;
            self.acknowledged.note(self.thread, self.number);
            return Ok(());
        }
        let batches = if self.style == Style::Batches { 0.6 } else { 0.1 };
        let last = if self.prng.chance(batches) { self.append_batch()? } else { self.append()? };
        // A few commits for many entries; sometimes the log is left to other threads.
        match self.prng.below(20) {
            0..=2 => drop(self.log.commit()?),
            3..=6 => drop(self.log.wait_for_commit(last)?),
            7 => {
                thread::yield_now();
                return Ok(());
            }
            _ => return Ok(()),
        }
        self.acknowledged.note(self.thread, self.number);
        Ok(())
    }

    fn append(&mut self) -> Result<oxifaster_core::Address, Error> {
        let mark = Mark::single(self.life, self.thread as u64, self.number);
        let filler = match self.prng.below(30) {
            0 => self.log.config().entry_bytes_max() as u64 / 2,
            1..=4 => 3000,
            _ => 200,
        };
        let address = self.log.append(&mark.bytes(filler))?;
        self.number += 1;
        Ok(address)
    }

    fn append_batch(&mut self) -> Result<oxifaster_core::Address, Error> {
        let most = (self.log.config().entry_bytes_max() as u64 / 80).min(300);
        let count = 2 + self.prng.below(if self.style == Style::Batches { most } else { 8 });
        let batch = u32::try_from(count).unwrap_or(1);
        let entries: Vec<Vec<u8>> = (0..batch)
            .map(|place| {
                let number = self.number + u64::from(place);
                Mark { place, batch, ..Mark::single(self.life, self.thread as u64, number) }.bytes(20)
            })
            .collect();
        let addresses = self.log.append_batch(&entries)?;
        self.number += count;
        Ok(addresses.last().copied().unwrap_or_default())
    }
}
