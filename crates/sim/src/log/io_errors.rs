//! The judge of single failing requests: a small life of a log is lived once to count its requests of each kind, then again with each
//! single one failing, once and from there on for ever; and with a device that is full at each block.
//!
//! | what | is judged |
//! |---|---|
//! | every call | returns: right, or an error that is not about damage; nothing panics, nothing hangs |
//! | the same handle afterwards | shows no entry that was not appended, and none out of order |
//! | after a power failure, on a device that works | everything acknowledged is there, nothing that was dropped, nothing invented; the log goes on |
//!
//! A life has three parts, each of which has its turn at failing: making a log and using it in every way; opening one that a killed
//! process left, and using it; opening one that was closed, and reading it.

use oxifaster_core::Address;
use oxifaster_core::error::{Error, ErrorKind};
use oxifaster_device::fault::{FaultDevice, FaultPlan, Trigger};
use oxifaster_device::sync::clock;
use oxifaster_log::{FasterLog, FasterLogConfig};

use super::entries::Mark;
use super::sample::no_panic;
use crate::judges::{Progress, Report, panics};

/// How much to judge.
#[derive(Clone, Copy, Debug)]
pub struct IoErrorOptions {
    /// What everything is drawn from.
    pub seed: u64,
    /// Every so many requests only. At least 1.
    pub stride: u64,
}

/// Kinds of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Read,
    Write,
    Sync,
    /// The same, on a device that goes on after a failed sync as if nothing had happened.
    SyncWithoutPoison,
    MetadataRead,
    MetadataWrite,
    MetadataSync,
    /// Blocks of space; the number is how many there are.
    Space,
}

const KINDS: [Kind; 8] = [
    Kind::Read,
    Kind::Write,
    Kind::Sync,
    Kind::SyncWithoutPoison,
    Kind::MetadataRead,
    Kind::MetadataWrite,
    Kind::MetadataSync,
    Kind::Space,
];

impl Kind {
    fn plan(self, trigger: Trigger, number: u64) -> FaultPlan {
        let plan = FaultPlan::new();
        match self {
            Kind::Read => plan.fail_reads(trigger),
            Kind::Write => plan.fail_writes(trigger),
            Kind::Sync => plan.fail_syncs(trigger),
            Kind::SyncWithoutPoison => plan.fail_syncs(trigger).poison_on_failed_sync(false),
            Kind::MetadataRead => plan.fail_metadata_reads(trigger),
            Kind::MetadataWrite => plan.fail_metadata_writes(trigger),
            Kind::MetadataSync => plan.fail_metadata_syncs(trigger),
            Kind::Space => plan.space_budget_bytes((number - 1) * 4096),
        }
    }

    /// Faults of this kind that a device has injected.
    fn injected(self, device: &FaultDevice) -> u64 {
        let counts = device.counts();
        match self {
            Kind::Read => counts.read_errors,
            Kind::Write => counts.write_errors,
            Kind::Sync | Kind::SyncWithoutPoison => counts.sync_errors,
            Kind::MetadataRead => counts.metadata_read_errors,
            Kind::MetadataWrite => counts.metadata_write_errors,
            Kind::MetadataSync => counts.metadata_sync_errors,
            Kind::Space => counts.full_errors,
        }
    }
}

/// Whether a fault is over after it was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lasting {
    Once,
    ForEver,
}

/// Which part of a life fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Made,
    AfterKill,
    AfterClose,
}

/// 32 KiB of memory: most reads go to the device.
fn config() -> FasterLogConfig {
    FasterLogConfig::default().with_page_size(4096).with_memory_pages(8)
}

/// What the log may hold.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Version {
    /// Its first entries that are gone.
    begin: usize,
    entries: Vec<(Address, u64)>,
    /// So many are durable.
    durable: usize,
}

/// What the judge was told, and what may therefore be found.
#[derive(Debug)]
struct Story {
    /// More than one when a call failed that may or may not have done its work.
    versions: Vec<Version>,
    appended: u64,
    /// Cookies: the last one that is durable, and the last one that was asked for.
    cookie: (u64, u64),
    /// Requests may fail now.
    fails: bool,
}

impl Story {
    fn new() -> Self {
        let version = Version { begin: 0, entries: Vec::new(), durable: 0 };
        Self { versions: vec![version], appended: 0, cookie: (0, 0), fails: false }
    }

    /// The answer, or `None` for an error that may be. One that blames damage may not, as nothing is damaged.
    fn told<T>(&self, answer: Result<T, Error>) -> Result<Option<T>, String> {
        match answer {
            Ok(value) => Ok(Some(value)),
            Err(error) if !self.fails => Err(format!("on a device that works: {error:?}")),
            Err(error) if matches!(error.kind(), ErrorKind::Corruption | ErrorKind::IncompatibleFormat) => {
                Err(format!("a request that failed is told as damage: {error:?}"))
            }
            Err(_) => Ok(None),
        }
    }

    fn bytes(number: u64) -> Vec<u8> {
        Mark::single(0, 0, number).bytes(if number % 11 == 7 { 3000 } else { 250 })
    }

    fn append(&mut self, log: &FasterLog, batch: u64) -> Result<(), String> {
        let entries: Vec<_> = (self.appended..self.appended + batch).map(Self::bytes).collect();
        let addresses = match entries.as_slice() {
            [entry] => log.append(entry).map(|address| vec![address]),
            entries => log.append_batch(entries),
        };
        let Some(addresses) = self.told(addresses)? else { return Ok(()) };
        for address in addresses {
            let number = self.appended;
            self.appended += 1;
            self.versions.iter_mut().for_each(|version| version.entries.push((address, number)));
        }
        Ok(())
    }

    fn commit(&mut self, log: &FasterLog, with_cookie: bool) -> Result<(), String> {
        let committed = if with_cookie {
            self.cookie.1 += 1;
            log.commit_with_cookie(&self.cookie.1.to_le_bytes())
        } else {
            log.commit()
        };
        if self.told(committed)?.is_some() {
            self.committed();
            if with_cookie {
                self.cookie.0 = self.cookie.1;
            }
        }
        Ok(())
    }

    fn committed(&mut self) {
        self.versions.iter_mut().for_each(|version| version.durable = version.entries.len());
    }

    /// Drops everything from the entry `back` before the last one on. An error that is not poison says that nothing was dropped.
    fn cut(&mut self, log: &FasterLog, back: usize) -> Result<(), String> {
        let Some(version) = self.versions.last() else { return Ok(()) };
        let keep = version.entries.len().saturating_sub(back).max(version.begin);
        let Some((address, _)) = version.entries.get(keep).copied() else { return Ok(()) };
        let cut = |version: &Version| {
            let keep = version.entries.partition_point(|(place, _)| *place < address);
            let entries = version.entries.iter().take(keep).copied().collect();
            // Everything below the cut is committed on the way.
            Version { begin: version.begin, entries, durable: keep }
        };
        let after: Vec<_> = self.versions.iter().map(cut).collect();
        match log.truncate_suffix(address) {
            Ok(()) => self.versions = after,
            Err(error) if error.kind() == ErrorKind::Poisoned => {
                self.told::<()>(Err(error))?;
                self.cookie.1 += 1;
                if log.append(b"").is_ok() || log.commit_with_cookie(&self.cookie.1.to_le_bytes()).is_ok() {
                    return Err("a poisoned log goes on".to_owned());
                }
                self.versions.extend(after);
            }
            Err(error) => _ = self.told::<()>(Err(error))?,
        }
        Ok(())
    }

    fn truncate(&mut self, log: &FasterLog, by: usize) -> Result<(), String> {
        let Some(version) = self.versions.last() else { return Ok(()) };
        let Some((address, _)) = version.entries.get(version.begin + by).copied() else { return Ok(()) };
        let truncated = |version: &Version| {
            let begin = version.entries.partition_point(|(place, _)| *place < address);
            Version { begin: begin.max(version.begin), ..version.clone() }
        };
        let after: Vec<_> = self.versions.iter().map(truncated).collect();
        match log.truncate_before(address) {
            Ok(()) => self.versions = after,
            Err(error) => {
                self.told::<()>(Err(error))?;
                self.versions.extend(after);
            }
        }
        Ok(())
    }

    /// Reads in every way while requests may fail: right, or an error that says so.
    fn read(&self, log: &FasterLog) -> Result<(), String> {
        let mut found = Vec::new();
        for entry in log.scan(..) {
            let Some(entry) = self.told(entry)? else { break };
            found.push(entry);
        }
        self.part_of_a_version(&found)?;
        self.told(log.self_check())?;
        let first = log.first_entry_number();
        let entries = log.commit_info().entries;
        for number in (first..entries).step_by(7) {
            let (Some(address), Some(entry)) =
                (self.told(log.address_of(number))?, self.told(log.entry(number))?)
            else {
                continue;
            };
            let (Some(address), Some(entry)) = (address, entry) else {
                return Err(format!("entry {number} of {first} to {entries} is not found"));
            };
            self.part_of_a_version(&[(address, entry)])?;
            if let Some(read) = self.told(log.read_entry(address))? {
                self.part_of_a_version(&[(address, read.ok_or("an entry is not found by its address")?)])?;
            }
        }
        Ok(())
    }

    /// Whether `found` are neighbours in a version.
    fn part_of_a_version(&self, found: &[(Address, Vec<u8>)]) -> Result<(), String> {
        let Some((first, _)) = found.first() else { return Ok(()) };
        let fits = |version: &Version| {
            let start = version.entries.partition_point(|(place, _)| place < first);
            let part = version.entries.get(start..start + found.len()).unwrap_or_default();
            part.len() == found.len()
                && part.iter().zip(found).all(|((place, number), (address, bytes))| {
                    place == address && Self::bytes(*number) == *bytes
                })
        };
        if self.versions.iter().any(fits) {
            return Ok(());
        }
        Err(format!("{} entries from {first} on that were never there so", found.len()))
    }

    /// What is there on a device that works; it is the only version from then on.
    fn settle(&mut self, log: &FasterLog) -> Result<(), String> {
        let mut found = Vec::new();
        for entry in log.scan(..) {
            let (address, bytes) = entry.map_err(|error| format!("a scan afterwards: {error:?}"))?;
            found.push((
                address,
                Mark::read(&bytes).map_err(|message| format!("at {address}: {message}"))?.number,
            ));
        }
        log.self_check().map_err(|error| format!("a check afterwards: {error:?}"))?;
        let fits = |version: &&Version| {
            let behind = version.begin + found.len();
            behind >= version.durable && version.entries.get(version.begin..behind) == Some(found.as_slice())
        };
        let Some(version) = self.versions.iter().find(fits) else {
            let versions: Vec<_> = self
                .versions
                .iter()
                .map(|version| (version.begin, version.durable, version.entries.len()))
                .collect();
            let (first, last) = (found.first(), found.last());
            return Err(format!(
                "{} entries, {first:?} to {last:?}, are none of what may be there: (begin, durable, appended) {versions:?}",
                found.len()
            ));
        };
        let (begin, durable) = (version.begin, version.begin + found.len());
        let entries = version.entries.iter().take(durable).copied().collect();
        self.versions = vec![Version { begin, entries, durable }];
        let cookie = log.commit_info().cookie.try_into().map_or(0, u64::from_le_bytes);
        if !(self.cookie.0..=self.cookie.1).contains(&cookie) {
            return Err(format!("cookie {cookie}, and not one of {:?}", self.cookie));
        }
        Ok(())
    }

    /// Everything that a log can be asked for.
    fn work(&mut self, log: &FasterLog) -> Result<(), String> {
        for round in 0..12 {
            for step in 0..5 {
                self.append(log, if step == 3 { 3 } else { 1 })?;
            }
            self.commit(log, round % 3 == 1)?;
            match round {
                4 => self.truncate(log, 9)?,
                6 => self.cut(log, 5)?,
                8 => {
                    // Uncommitted entries, too.
                    self.append(log, 1)?;
                    self.cut(log, 12)?;
                }
                _ => {}
            }
        }
        self.append(log, 3)?;
        self.read(log)
    }
}

/// A life with a plan for one of its parts. Returns how many requests it injected faults into.
fn live(seed: u64, part: Part, kind: Kind, plan: &FaultPlan, lasting: Lasting) -> Result<u64, String> {
    let mut device = FaultDevice::new(seed);
    let mut story = Story::new();
    for now in [Part::Made, Part::AfterKill, Part::AfterClose] {
        if now == part {
            device.set_plan(plan.clone());
            story.fails = true;
            let before = kind.injected(&device);
            let log = use_once(&mut story, now, &device)?;
            if let Some(log) = &log
                && kind == Kind::Space
                && lasting == Lasting::Once
                && part != Part::AfterKill
            {
                // There is room again.
                device.change_plan(FaultPlan::space_unlimited);
                log.commit().map_err(|error| format!("a commit, when there is room again: {error:?}"))?;
                story.committed();
            }
            let injected = kind.injected(&device) - before;
            let next = device.crash(seed);
            drop(log);
            story.fails = false;
            go_on(&mut story, &next)?;
            return Ok(injected);
        }
        let log = use_once(&mut story, now, &device)?;
        // Killed, if it was not closed: nothing that is done from here on reaches the device.
        device = device.reopen();
        drop(log);
        story.settle(&open(&device)?)?;
        device = device.reopen();
    }
    Ok(0)
}

fn open(device: &FaultDevice) -> Result<FasterLog, String> {
    FasterLog::open(config(), device.clone())
        .map_err(|error| format!("opening on a device that works: {error:?}"))
}

/// Opens the log and uses it; one that was killed before is closed.
fn use_once(story: &mut Story, part: Part, device: &FaultDevice) -> Result<Option<FasterLog>, String> {
    let Some(log) = story.told(FasterLog::open(config(), device.clone()))? else { return Ok(None) };
    story.work(&log)?;
    if part == Part::AfterKill && story.told(log.close())?.is_some() {
        story.committed();
    }
    Ok(Some(log))
}

/// What is left is right, and can be used.
fn go_on(story: &mut Story, device: &FaultDevice) -> Result<(), String> {
    device.set_plan(FaultPlan::new());
    let log = open(device)?;
    story.settle(&log)?;
    story.work(&log)?;
    log.close().map_err(|error| format!("closing afterwards: {error:?}"))?;
    story.committed();
    drop(log);
    let log = open(&device.reopen())?;
    story.settle(&log)
}

/// Runs the judge.
pub fn judge(options: &IoErrorOptions, progress: Progress<'_>) -> Report {
    let mut report = Report::new("log-io-errors", options.seed);
    panics::count();
    for part in [Part::Made, Part::AfterKill, Part::AfterClose] {
        for kind in KINDS {
            let started = clock::now();
            for lasting in [Lasting::Once, Lasting::ForEver] {
                let name = format!("{part:?}_{kind:?}_{lasting:?}");
                match each(options, part, kind, lasting) {
                    Ok(failed) => report.note(&name, failed),
                    Err(message) => report.blame(format!("{name}: {message}")),
                }
            }
            progress(&format!("{part:?}, {kind:?}: {:.1} seconds", started.elapsed().as_secs_f64()));
        }
    }
    report
}

/// Each request of a kind in turn, until a life meets no fault any more. Returns how many lives did.
fn each(options: &IoErrorOptions, part: Part, kind: Kind, lasting: Lasting) -> Result<u64, String> {
    let mut lives = 0;
    let mut number = 1;
    loop {
        let trigger = match lasting {
            Lasting::Once => Trigger::nth(number),
            Lasting::ForEver => Trigger::from_nth(number),
        };
        let lived = live(options.seed, part, kind, &kind.plan(trigger, number), lasting);
        match no_panic(lived).map_err(|message| format!("request {number}: {message}"))? {
            0 => return Ok(lives),
            _ => lives += 1,
        }
        number += options.stride;
    }
}
