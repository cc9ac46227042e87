//! The bit-rot judge: one flipped bit, anywhere, is detected or harmless.
//!
//! Three parts. *Closed*: a closed store is copied, one bit is flipped, the copy is opened and every key read. Every bit of the
//! metadata slots and of the checksum blocks has its turn, and one random bit of every other byte (all with `all_bits`).
//! *Flushed*: the same with the metadata of a store that lost power after a flush. *While open*: bits are flipped under a
//! store whose log is larger than its memory, and keys are read.
//!
//! | what happens | judged as |
//! |---|---|
//! | an error of kind corruption or incompatible format, at open or for a key | detected |
//! | all keys have their values | harmless |
//! | a wrong value, a missing key, the contents of an earlier flush, a panic in any thread | broken |

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use oxifaster_core::error::ErrorKind;
use oxifaster_device::fault::FaultDevice;
use oxifaster_device::metadata::COPY_BYTES;
use oxifaster_device::sync::thread;
use oxifaster_device::{BLOCK_BYTES, MetadataSlot};
use oxifaster_store::{FasterKv, FasterKvConfig};

use super::panics;
use super::report::{Progress, Report};
use super::stored::{CallError, SessionOf, Stored, call};
use crate::history::{Operation, Outcome, State};
use crate::model::Contents;
use crate::workload::{Prng, Shape, Varlen, Words, mix};

/// Bytes behind a metadata slot's content that are flipped, too.
const BEHIND_CONTENT_BYTES: usize = 64;

/// How much to judge.
#[derive(Clone, Copy, Debug)]
pub struct BitflipOptions {
    /// What everything is drawn from.
    pub seed: u64,
    /// Flips are made at every `stride`-th place (1 is all of them).
    pub stride: u64,
    /// Flip all eight bits of every byte, not only those of metadata and checksums.
    pub all_bits: bool,
    /// Flips under an open store.
    pub flips_while_open: u64,
}

/// Where a bit is.
#[derive(Clone, Copy, Debug)]
enum Place {
    Metadata(MetadataSlot, usize, u8),
    Block(u64, u8),
}

/// What flips came to.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    flips: u64,
    detected_at_open: u64,
    detected_at_read: u64,
    harmless: u64,
}

impl Counts {
    fn add(&mut self, other: Self) {
        self.flips += other.flips;
        self.detected_at_open += other.detected_at_open;
        self.detected_at_read += other.detected_at_read;
        self.harmless += other.harmless;
    }
}

fn config() -> FasterKvConfig {
    FasterKvConfig {
        table_size: 256,
        log_memory_size: 8 << 16,
        page_size_bits: 16,
        recovery_threads: Some(1),
        ..FasterKvConfig::default()
    }
}

type StoreOf<S> = Arc<FasterKv<<S as Shape>::Key, <S as Shape>::Value, FaultDevice>>;

/// How a sample ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Closed,
    /// Power was lost right after a flush.
    Flushed,
}

/// What a store left behind, and its contents.
struct Sample {
    device: FaultDevice,
    ending: Ending,
    keys: u64,
    contents: Contents,
}

fn open<S: Stored>(device: &FaultDevice) -> Result<(StoreOf<S>, SessionOf<S, FaultDevice>), CallError> {
    let store = Arc::new(FasterKv::open(config(), device.clone())?);
    let session = store.start_session()?;
    Ok((store, session))
}

/// Fills a store with `keys` keys, some updated, deleted and flushed on the way.
fn sample<S: Stored>(seed: u64, keys: u64, ending: Ending) -> Result<Sample, CallError> {
    let device = FaultDevice::new(seed);
    let mut contents = Contents::new();
    let (store, mut session) = open::<S>(&device)?;
    let mut prng = Prng::new(seed);
    for step in 0..keys * 5 / 4 {
        let key = if step < keys { step } else { prng.below(keys) };
        if prng.chance(0.1) {
            call::<S, _>(&mut session, key, Operation::Delete)?;
            contents.remove(&key);
        } else {
            call::<S, _>(&mut session, key, Operation::Upsert(mix(step)))?;
            contents.insert(key, mix(step));
        }
        if step % (keys / 3).max(1) == 0 {
            store.flush()?;
        }
    }
    let device = match ending {
        Ending::Closed => {
            store.close()?;
            device
        }
        Ending::Flushed => {
            store.flush()?;
            device.snapshot_durable()
        }
    };
    Ok(Sample { device, ending, keys, contents })
}

fn is_detection(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Corruption | ErrorKind::IncompatibleFormat)
}

/// Opens a damaged copy and reads every key.
fn examine<S: Stored>(sample: &Sample, device: &FaultDevice, counts: &mut Counts) -> Result<(), String> {
    let (store, mut session) = match open::<S>(device) {
        Ok(opened) => opened,
        Err(CallError::Store(error)) if is_detection(error.kind()) => {
            counts.detected_at_open += 1;
            return Ok(());
        }
        Err(error) => return Err(format!("open: {error}")),
    };
    let mut found: BTreeMap<u64, State> = BTreeMap::new();
    let mut detected = false;
    for key in 0..sample.keys {
        match call::<S, _>(&mut session, key, Operation::Read) {
            Ok(Outcome::Value(state)) => _ = found.insert(key, state),
            Ok(other) => return Err(format!("a read answered {other:?}")),
            Err(CallError::Store(error)) if is_detection(error.kind()) => detected = true,
            Err(error) => return Err(format!("reading key {key}: {error}")),
        }
    }
    let wrong = found.iter().find(|(key, state)| sample.contents.get(key).copied() != **state);
    if wrong.is_some() {
        let report = store.recovery_report();
        return Err(format!("wrong contents, for example {wrong:?}, and no error; {report:?}"));
    }
    if detected {
        counts.detected_at_read += 1;
    } else {
        counts.harmless += 1;
    }
    Ok(())
}

/// All places of a sample that have their turn.
fn places(sample: &Sample, options: &BitflipOptions, prng: &mut Prng) -> Vec<Place> {
    let mut places = Vec::new();
    for slot in MetadataSlot::ALL {
        let bytes = sample.device.metadata_bytes(slot);
        for (copy, bytes) in bytes.chunks(COPY_BYTES).enumerate() {
            let used = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
            let content = (0..used + BEHIND_CONTENT_BYTES).map(move |byte| copy * COPY_BYTES + byte);
            places.extend(content.flat_map(|byte| (0..8).map(move |bit| Place::Metadata(slot, byte, bit))));
        }
    }
    let blocks = if sample.ending == Ending::Closed { sample.device.written_ranges() } else { Vec::new() };
    for range in blocks {
        for offset in range {
            let in_checksum_block = (offset & 0xFFFF) < BLOCK_BYTES as u64;
            if in_checksum_block || options.all_bits {
                places.extend((0..8).map(|bit| Place::Block(offset, bit)));
            } else {
                places.push(Place::Block(offset, (prng.next_u64() % 8) as u8));
            }
        }
    }
    let start = prng.below(options.stride);
    let taken = (0_u64..).zip(places).filter(|(number, _)| number % options.stride.max(1) == start);
    taken.map(|(_, place)| place).collect()
}

/// Threads that flip.
const THREADS: usize = 2;

fn judge_at_open<S: Stored>(
    options: &BitflipOptions,
    keys: u64,
    ending: Ending,
    progress: Progress<'_>,
) -> Result<Counts, String> {
    let sample =
        sample::<S>(options.seed, keys, ending).map_err(|error| format!("building a store: {error}"))?;
    let mut counts = Counts::default();
    examine::<S>(&sample, &sample.device.snapshot_durable(), &mut counts)?;
    if counts.harmless != 1 {
        return Err(format!("an undamaged store does not open as it was left: {counts:?}"));
    }
    let mut prng = Prng::lane(options.seed, keys);
    let places = places(&sample, options, &mut prng);
    progress(&format!("{}, {ending:?}: {} places", S::NAME, places.len()));
    let sample = Arc::new(sample);
    let mut running = Vec::new();
    for share in places.chunks(places.len().div_ceil(THREADS).max(1)) {
        let (sample, share) = (Arc::clone(&sample), share.to_vec());
        let body = move || flip_each::<S>(&sample, &share);
        running.push(thread::spawn("judge-flips", body).map_err(|error| format!("spawn: {error}"))?);
    }
    let mut counts = Counts::default();
    for thread in running {
        counts.add(thread.join().map_err(|_| "a judging thread panicked".to_owned())??);
    }
    Ok(counts)
}

/// Flips one bit after the other, each in a copy of its own.
fn flip_each<S: Stored>(sample: &Sample, places: &[Place]) -> Result<Counts, String> {
    let mut counts = Counts::default();
    for &place in places {
        let damaged = sample.device.snapshot_durable();
        match place {
            Place::Metadata(slot, byte, bit) => _ = damaged.flip_metadata_bit(slot, byte, bit),
            Place::Block(offset, bit) => _ = damaged.flip_bit(offset, bit),
        }
        counts.flips += 1;
        let examined = catch_unwind(AssertUnwindSafe(|| examine::<S>(sample, &damaged, &mut counts)));
        let verdict = examined.unwrap_or_else(|_| Err("a panic".to_owned()));
        let panicked = panics::seen();
        let verdict = if panicked > 0 { Err(format!("{panicked} panics; {verdict:?}")) } else { verdict };
        verdict.map_err(|message| format!("{}, bit flipped at {place:?}: {message}", S::NAME))?;
    }
    Ok(counts)
}

/// Flips bits under an open store, a dozen at a time, and reads.
fn judge_while_open<S: Stored>(options: &BitflipOptions) -> Result<Counts, String> {
    const AT_ONCE: u64 = 12;
    let explain = |error: CallError| format!("while open: {error}");
    let sample = sample::<S>(options.seed, 8000, Ending::Closed).map_err(explain)?;
    let ranges = sample.device.written_ranges();
    let mut prng = Prng::lane(options.seed, 3);
    let mut counts = Counts::default();
    let (_store, mut session) = open::<S>(&sample.device).map_err(explain)?;
    while counts.flips < options.flips_while_open {
        let mut flipped = Vec::new();
        for _ in 0..AT_ONCE {
            let Some(range) = prng.pick(&ranges) else { return Err("nothing was written".to_owned()) };
            let place = (range.start + prng.below(range.end - range.start), (prng.next_u64() % 8) as u8);
            sample.device.flip_bit(place.0, place.1);
            flipped.push(place);
        }
        counts.flips += AT_ONCE;
        for _ in 0..200 {
            let key = prng.below(sample.keys);
            match call::<S, _>(&mut session, key, Operation::Read) {
                Ok(Outcome::Value(state)) if state == sample.contents.get(&key).copied() => {
                    counts.harmless += 1
                }
                Ok(other) => {
                    return Err(format!("while open: key {key} answered {other:?}, flipped {flipped:?}"));
                }
                Err(CallError::Store(error)) if is_detection(error.kind()) => counts.detected_at_read += 1,
                Err(error) => return Err(format!("while open: key {key}: {error}, flipped {flipped:?}")),
            }
        }
        for (offset, bit) in flipped {
            sample.device.flip_bit(offset, bit);
        }
    }
    Ok(counts)
}

/// Runs the judge.
pub fn judge(options: &BitflipOptions, progress: Progress<'_>) -> Report {
    let mut report = Report::new("bitflips", options.seed);
    panics::count();
    let words = judge_at_open::<Words>(options, 2_800, Ending::Closed, progress);
    let varlen = judge_at_open::<Varlen>(options, 300, Ending::Closed, progress);
    let flushed = judge_at_open::<Words>(options, 2_800, Ending::Flushed, progress);
    let open = judge_while_open::<Varlen>(options);
    for (name, counts) in [("words", words), ("varlen", varlen), ("flushed", flushed), ("while_open", open)] {
        match counts {
            Ok(counts) => {
                report.note(&format!("{name}_flips"), counts.flips);
                report.note(&format!("{name}_detected_at_open"), counts.detected_at_open);
                report.note(&format!("{name}_detected_at_read"), counts.detected_at_read);
                report.note(&format!("{name}_harmless"), counts.harmless);
            }
            Err(message) => report.blame(message),
        }
    }
    report
}
