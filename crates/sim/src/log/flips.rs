//! One bit, or one bit of both copies of a metadata slot, turned in the image of a log.

use oxifaster_device::fault::FaultDevice;
use oxifaster_device::metadata::COPY_BYTES;
use oxifaster_device::{BLOCK_BYTES, MetadataSlot};
use oxifaster_log::FasterLog;

use super::damage::DamageOptions;
use super::sample::{Ending, Examined, Outcome, Sample, config, no_panic};
use crate::judges::Report;

/// Threads that turn bits.
const THREADS: usize = 2;

/// Bytes behind the envelope of a metadata slot that are turned, too.
const BEHIND_ENVELOPE_BYTES: usize = 64;

/// Counts by outcome.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) corrupt: u64,
    pub(super) cut_off: u64,
    pub(super) harmless: u64,
}

impl Counts {
    fn add(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Corruption => self.corrupt += 1,
            Outcome::CutOff(_) => self.cut_off += 1,
            Outcome::Harmless | Outcome::Short(_) => self.harmless += 1,
        }
    }
}

/// Judges each of `places` on one of [`THREADS`] threads.
pub(super) fn judge_each<P: Copy + Send + Sync>(
    places: &[P],
    judge: impl Fn(P) -> Result<Outcome, String> + Sync,
) -> Result<Counts, String> {
    let one = |share: &[P]| -> Result<Counts, String> {
        let mut counts = Counts::default();
        for place in share {
            counts.add(judge(*place)?);
        }
        Ok(counts)
    };
    let mut sum = Counts::default();
    std::thread::scope(|scope| {
        let shares = places.chunks(places.len().div_ceil(THREADS).max(1));
        let running: Vec<_> = shares.map(|share| scope.spawn(|| one(share))).collect();
        for thread in running {
            let counts = thread.join().map_err(|_| "a judging thread panicked".to_owned())??;
            sum.corrupt += counts.corrupt;
            sum.cut_off += counts.cut_off;
            sum.harmless += counts.harmless;
        }
        Ok(sum)
    })
}

/// Every `stride`-th bit of the log's blocks.
fn bits(stride: u64, sample: &Sample) -> Vec<u64> {
    let stride = usize::try_from(stride).unwrap_or(1).max(1);
    (BLOCK_BYTES as u64 * 8..sample.end * 8).step_by(stride).collect()
}

fn turn(image: &FaultDevice, bit: u64) -> String {
    let in_byte = u8::try_from(bit % 8).unwrap_or(0);
    image.flip_bit(bit / 8, in_byte);
    format!("bit {in_byte} of byte {}", bit / 8)
}

/// Bits in a log that was closed. Opening it reads none of it, so one open log reads all the damaged images.
pub(super) fn closed(options: &DamageOptions, report: &mut Report) -> Result<(), String> {
    let sample = Sample::new(options.seed, options.log_bytes, Ending::Closed)?;
    let image = sample.device.snapshot_durable();
    let log = FasterLog::open(config(), image.clone()).map_err(|error| format!("{error:?}"))?;
    let mut detected = 0_u64;
    for bit in bits(options.stride, &sample) {
        let told = turn(&image, bit);
        let read = no_panic(sample.read_all(&log));
        turn(&image, bit);
        match read.map_err(|message| format!("{told}: {message}"))? {
            Outcome::Corruption => detected += 1,
            other => return Err(format!("{told}: {other:?}")),
        }
    }
    report.note("closed_flips_detected", detected);
    Ok(())
}

/// Bits in a log that was not closed: opening it has to find its end.
pub(super) fn killed(options: &DamageOptions, report: &mut Report) -> Result<(), String> {
    let sample = Sample::new(options.seed, options.log_bytes, Ending::Killed)?;
    // All but the last commit were followed by another one, which says so.
    let safe = sample.commits.iter().rev().nth(1).map_or(0, |(_, entries)| *entries);
    let counts = judge_each(&bits(options.killed_stride, &sample), |bit| {
        let image = sample.device.snapshot_durable();
        let told = turn(&image, bit);
        match sample.examine(image).map_err(|message| format!("{told}: {message}"))?.outcome {
            outcome @ Outcome::Corruption => Ok(outcome),
            outcome @ Outcome::CutOff(entries) if entries >= safe => Ok(outcome),
            other => Err(format!("{told}: {other:?} of {} entries", sample.entries.len())),
        }
    })?;
    report.note("killed_stride", options.killed_stride);
    report.note("killed_flips_detected", counts.corrupt);
    report.note("killed_flips_cut_off", counts.cut_off);
    Ok(())
}

/// A bit of a metadata slot.
#[derive(Clone, Copy, Debug)]
struct SlotBit {
    slot: MetadataSlot,
    /// In the first copy.
    byte: usize,
    bit: u8,
    copies: Copies,
    in_envelope: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Copies {
    First,
    Second,
    /// The slot is lost.
    Both,
}

impl SlotBit {
    fn turn(self, image: &FaultDevice) {
        if self.copies != Copies::Second {
            image.flip_metadata_bit(self.slot, self.byte, self.bit);
        }
        if self.copies != Copies::First {
            image.flip_metadata_bit(self.slot, self.byte + COPY_BYTES, self.bit);
        }
    }

    /// All bits of both slots as far as they mean something, and some behind.
    fn all(device: &FaultDevice, stride: u64) -> Vec<Self> {
        let mut all = Vec::new();
        for slot in MetadataSlot::ALL {
            let bytes = device.metadata_bytes(slot);
            // Magic, version, kind and generation; then the length, the payload, and the checksum.
            let length =
                bytes.get(24..28).and_then(|length| length.try_into().ok()).map_or(0, u32::from_le_bytes);
            let envelope = 28 + usize::try_from(length).unwrap_or(0) + 4;
            for byte in 0..envelope + BEHIND_ENVELOPE_BYTES {
                for bit in 0..8 {
                    for copies in [Copies::First, Copies::Second, Copies::Both] {
                        all.push(Self { slot, byte, bit, copies, in_envelope: byte < envelope });
                    }
                }
            }
        }
        all.into_iter().step_by(usize::try_from(stride).unwrap_or(1).max(1)).collect()
    }
}

/// Bits in the metadata slots. Each envelope is there twice in a slot, and each slot that matters was written twice, so nothing is
/// lost by a bit, nor by a slot; and what is damaged is reported.
pub(super) fn metadata(options: &DamageOptions, report: &mut Report) -> Result<(), String> {
    let mut judged = 0;
    for ending in [Ending::Closed, Ending::Killed, Ending::KilledAgain] {
        let sample = Sample::new(options.seed, options.log_bytes, ending)?;
        let counts = judge_each(&SlotBit::all(&sample.device, options.stride), |bit| {
            let image = sample.device.snapshot_durable();
            bit.turn(&image);
            let examined =
                sample.examine(image).map_err(|message| format!("{ending:?}, {bit:?}: {message}"))?;
            let right = Examined { outcome: Outcome::Harmless, damaged_slot: bit.in_envelope };
            if examined == right {
                Ok(examined.outcome)
            } else {
                Err(format!("{ending:?}, {bit:?}: {examined:?}, and not {right:?}"))
            }
        })?;
        judged += counts.harmless;
    }
    report.note("metadata_flips_survived", judged);
    Ok(())
}
