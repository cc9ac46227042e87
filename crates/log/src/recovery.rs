//! Finding the end of a log, and opening it (`docs/format/log.md`, Opening).
//!
//! Opening writes nothing to a log that exists: what must be written is written before the first block. (When the table of incarnations
//! is full, the device is truncated behind the end instead.)

use std::sync::Arc;

use oxifaster_core::sync::atomic::AtomicU32;
use oxifaster_core::sync::{Mutex, canary, random};
use oxifaster_core::{Address, Error, ErrorKind};
use oxifaster_device::{BLOCK_BYTES, BLOCK_WORDS, ContentKind, MetadataArea};

use crate::commit_record::CommitRecord;
use crate::configuration::FasterLogConfig;
use crate::entry::{EntryKind, Header};
use crate::facts::{KnownCommit, LogFacts};
use crate::listeners::Listeners;
use crate::progress::Progress;
use crate::ring::LogRing;
use crate::shared::{Published, Shared};
use crate::standing::Standing;
use crate::timeline::{Incarnation, Timeline};
use crate::transfer::{AnyDevice, sync};
use crate::walk::{Found, Step, Walk, damaged};
use crate::window::Window;

/// What opening a log found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecoveryReport {
    /// The device was empty: the log is new.
    pub created: bool,
    /// The log was closed, and nothing lies behind its end.
    pub clean: bool,
    /// Bytes behind the last commit, whatever they are. They are cut off by the first write.
    pub cut_off_bytes: u64,
    /// Entries among them that verify: appended, and never committed.
    pub cut_off_entries: u64,
    /// Entries that were read to find the end.
    pub entries_walked: u64,
    /// One of the two metadata slots is damaged, by a torn write or by rot. The other one has everything.
    pub damaged_metadata_slot: bool,
}

/// An open log, before its threads start.
pub(crate) struct Opened {
    pub(crate) shared: Shared,
    pub(crate) last: Arc<KnownCommit>,
    pub(crate) report: RecoveryReport,
}

/// Opens the log on `device`, or makes one.
pub(crate) fn open(config: FasterLogConfig, device: AnyDevice) -> Result<Opened, Error> {
    config.validate()?;
    let geometry = device.geometry();
    let (mut area, loaded) = MetadataArea::open(device.as_ref(), ContentKind::FasterLog)?;
    let mut report = RecoveryReport::default();
    let (facts, timeline) = match loaded {
        None => {
            report.created = true;
            let facts = new_facts(geometry.reserved_bytes)?;
            for _ in 0..2 {
                area.write_next(device.as_ref(), &facts.encode())?;
            }
            let timeline = Arc::clone(&facts.timeline);
            (facts, timeline)
        }
        Some(loaded) => {
            report.damaged_metadata_slot = loaded.damaged_copy;
            let mut facts = LogFacts::decode(&loaded.payload)?;
            report.clean = facts.clean;
            refuse_if_short(&device, &facts)?;
            let timeline = find_end(&device, &mut facts, &mut report)?;
            (facts, timeline)
        }
    };
    let last = Arc::clone(&facts.known);
    let seed = AtomicU32::new(timeline.seed_at(last.until).0);
    let capacity = config.memory_bytes() as u64 / 8;
    let address_end = (geometry.capacity_bytes / 8).min(Address::MAX.words());
    let slack = if geometry.persistent { 0 } else { capacity / 8 };
    let shared = Shared {
        persistent: geometry.persistent,
        address_end,
        nudge_shift: config.nudge_shift(),
        entry_bytes_max: config.entry_bytes_max(),
        ring: LogRing::new(capacity, last.until, address_end, slack)?,
        progress: Progress::new(Standing::new(&facts, timeline), config.commits_in_flight_max),
        listeners: Listeners::default(),
        seed,
        facts: Mutex::new(Published { area, facts }),
        follower: None,
        commits: Mutex::default(),
        iterators: Mutex::default(),
        config,
        device,
    };
    Ok(Opened { shared, last, report })
}

fn new_facts(reserved_bytes: u64) -> Result<LogFacts, Error> {
    // Address 0 is no entry.
    let start = reserved_bytes.next_multiple_of(BLOCK_BYTES as u64).max(BLOCK_BYTES as u64) / 8;
    let row = Incarnation { number: 1, start, before_ends: start };
    Ok(LogFacts {
        clean: true,
        begin: start,
        begin_entry: 0,
        known: Arc::new(KnownCommit { until: start, ..KnownCommit::default() }),
        timeline: Arc::new(Timeline::new(random::random_id()?, vec![row])),
    })
}

/// Moves `facts.known` to the last commit, and returns the time lines of what will be written.
fn find_end(
    device: &AnyDevice,
    facts: &mut LogFacts,
    report: &mut RecoveryReport,
) -> Result<Arc<Timeline>, Error> {
    if facts.clean {
        return Ok(Arc::clone(&facts.timeline));
    }
    let block = BLOCK_BYTES as u64;
    let device_end = device.space_use()?.end_offset / block * block / 8;
    let timeline = Arc::clone(&facts.timeline);
    let window = |start: u64| Window::new(Arc::clone(device), None, start * 8, device_end * 8);
    let start = facts.known.until;
    let walk = Walk::new(window(start), Arc::clone(&timeline), start, device_end);
    let stopped = walk_to_end(walk, &mut facts.known, report)?;
    let end = facts.known.until;
    report.cut_off_bytes = device_end.saturating_sub(end) * 8;
    if stopped < device_end && !canary::armed("log_cut_without_witness") {
        refuse_if_durable(window(end), &timeline, end..device_end, stopped)?;
    }
    // What a killed process wrote may be in no medium yet, and from now on it counts as committed.
    if !canary::armed("log_trust_unsynced_commit") {
        sync(device.as_ref())?;
    }
    if !timeline.has_room_for_cut(end) {
        device.truncate_after(end * 8)?;
        sync(device.as_ref())?;
        return Ok(timeline);
    }
    Ok(Arc::new(timeline.with_cut(end, end)))
}

/// A known commit ends with a block, and a device that ends below it has lost it.
pub(crate) fn refuse_if_short(device: &AnyDevice, facts: &LogFacts) -> Result<(), Error> {
    let end_offset = device.space_use()?.end_offset;
    let until = facts.known.until;
    if !until.is_multiple_of(BLOCK_WORDS as u64) && device.geometry().persistent {
        let message = "the log's metadata are malformed: the known commit does not end with a block";
        return Err(Error::new(ErrorKind::Corruption, message).with_address(Address::from_low_bits(until)));
    }
    // Without entries there may be no block at all.
    if facts.begin >= until || end_offset / 8 >= until || !device.geometry().persistent {
        return Ok(());
    }
    let message = format!(
        "the device ends at byte {end_offset:#x}, and the log was durable below byte {:#x}: its end is missing",
        until * 8
    );
    Err(Error::new(ErrorKind::Corruption, message).with_address(Address::from_low_bits(end_offset / 8)))
}

/// Step 3: over everything that verifies. Returns where it stopped.
fn walk_to_end(
    mut walk: Walk,
    known: &mut Arc<KnownCommit>,
    report: &mut RecoveryReport,
) -> Result<u64, Error> {
    let mut entries = known.entries;
    // A commit counts when its padding is there, too.
    let mut candidate: Option<KnownCommit> = None;
    loop {
        let Step::Entry(found) = walk.step()? else { break };
        match found.header.kind {
            EntryKind::User => {
                entries += 1;
                report.entries_walked += 1;
            }
            EntryKind::Padding => {}
            EntryKind::Commit => match CommitRecord::decode(walk.payload(found)) {
                Ok(record) if record.number == known.number + 1 && record.entries == entries => {
                    candidate = Some(commit_of(known, found, record));
                }
                // It verifies and contradicts what is below it: not what was written.
                _ => return Err(damaged(found.address)),
            },
        }
        if let Some(commit) = candidate.take_if(|commit| commit.until <= walk.at()) {
            *known = Arc::new(commit);
        }
    }
    report.cut_off_entries = entries - known.entries;
    Ok(walk.at())
}

pub(crate) fn commit_of(before: &KnownCommit, found: Found, record: CommitRecord) -> KnownCommit {
    let mut links = before.links.clone();
    links.push(record.number, found.address);
    KnownCommit {
        until: (found.address + found.header.words()).next_multiple_of(BLOCK_WORDS as u64),
        number: record.number,
        entries: record.entries,
        cookie: record.cookie,
        positions: record.positions,
        links,
    }
}

/// Step 4: a commit record in `range` that knew more to be durable than was found says that `broken` is damage.
pub(crate) fn refuse_if_durable(
    mut window: Window,
    timeline: &Timeline,
    range: std::ops::Range<u64>,
    broken: u64,
) -> Result<(), Error> {
    let seed = timeline.seed_at(range.start);
    for address in range.clone() {
        if !window.covers(address * 8, 8)? {
            return Ok(());
        }
        let word = window.get(address * 8, 8).try_into().map_or(0, u64::from_le_bytes);
        let Some(header) = Header::decode(word).filter(|header| header.kind == EntryKind::Commit) else {
            continue;
        };
        if header.payload_bytes > RECORD_BYTES_MAX || !window.covers(address * 8, header.words() * 8)? {
            continue;
        }
        let bytes = window.get(address * 8, header.words() * 8);
        if !seed.verifies(address, header, bytes) {
            continue;
        }
        let payload = bytes.get(8..8 + header.payload_bytes).unwrap_or_default();
        if CommitRecord::decode(payload)?.durable > range.start {
            return Err(damaged(broken).with_context(&format!(
                "commit at {} was written when everything below was durable",
                Address::from_low_bits(address)
            )));
        }
    }
    Ok(())
}

/// No commit record is longer.
const RECORD_BYTES_MAX: usize = 64 << 10;
