//! The damage judge of the log: every single bit, every truncation of the last pages, and replayed blocks.
//!
//! | what is done to the image of a log | what is right |
//! |---|---|
//! | closed: one bit turned, anywhere in the log | corruption |
//! | not closed: the same | corruption; damage of the last commit alone may be reported as cut off |
//! | any: one bit of a metadata slot turned, or the same bit of both copies in it | every entry is there, and the slot is reported |
//! | closed: zero from any byte of the last two pages on | corruption |
//! | not closed: the same | corruption, or a prefix that ends with a commit, and the rest is reported |
//! | any: shortened at each block below what the metadata knows to be committed | corruption |
//! | not closed: shortened behind that | the same as zeros; or, exactly at the end of a commit, the log as it was then |
//! | closed: a block put into another place | corruption |
//!
//! No thread panics, whatever is done.
//!
//! The program `judge` turns every bit, but for the log that was not closed, where each costs an opening: every 17th there, and all of
//! them with `--long`. The report says which (`killed_stride`).

use oxifaster_device::BLOCK_BYTES;
use oxifaster_device::sync::clock;

use super::sample::{Ending, Outcome, Sample};
use super::{flips, truncations};
use crate::judges::{Progress, Report, panics};

/// How much to judge.
#[derive(Clone, Copy, Debug)]
pub struct DamageOptions {
    /// What everything is drawn from.
    pub seed: u64,
    /// Bytes of the log.
    pub log_bytes: u64,
    /// Every so many bits, and places to cut at, only. At least 1.
    pub stride: u64,
    /// Every so many bits only of the log that was not closed, where a bit costs an opening. At least 1.
    pub killed_stride: u64,
}

impl DamageOptions {
    /// What the short form takes for [`killed_stride`](Self::killed_stride): odd, so that each bit of a byte has its turn.
    pub const KILLED_STRIDE_SHORT: u64 = 17;
}

fn replays(options: &DamageOptions, report: &mut Report) -> Result<(), String> {
    let sample = Sample::new(options.seed, options.log_bytes, Ending::Closed)?;
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
            match sample.examine(image)?.outcome {
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
    panics::count();
    type Part = fn(&DamageOptions, &mut Report) -> Result<(), String>;
    let parts: [(&str, Part); 5] = [
        ("flips in a log that was not closed", flips::killed),
        ("flips in a closed log", flips::closed),
        ("flips in the metadata", flips::metadata),
        ("truncations", truncations::judge),
        ("replays", replays),
    ];
    for (name, part) in parts {
        let started = clock::now();
        if let Err(message) = part(options, &mut report) {
            report.blame(format!("{name}: {message}"));
        }
        progress(&format!("{name}: {:.1} seconds", started.elapsed().as_secs_f64()));
    }
    report
}
