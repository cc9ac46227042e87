//! The power-loss judge of the log: threads append and commit on a device that fails, is killed and loses power; what was
//! acknowledged is there, nothing else was invented, and what opening has shown once stays.

use std::time::Duration;

use oxifaster_device::fault::{CrashFates, CrashPoint, FaultDevice, FaultPlan, Trigger};
use oxifaster_device::sync::atomic::{AtomicBool, Ordering};
use oxifaster_device::sync::thread;
use oxifaster_log::{CommitPolicy, FasterLog, FasterLogConfig};

use super::following::{Following, all_of};
use super::ledger::Ledger;
use super::life::{self, Acknowledged, Style};
use crate::judges::subject::unruly_plan;
use crate::judges::{Progress, Report};
use crate::workload::{Prng, mix};

/// How much to judge.
#[derive(Clone, Copy, Debug)]
pub struct PowerLossOptions {
    /// What everything is drawn from.
    pub seed: u64,
    /// Images of logs that ended without a close, at least.
    pub images: u64,
}

/// Lives of one log.
const LIVES: u64 = 6;

#[derive(Debug, Default)]
struct Counts {
    images: u64,
    entries: u64,
    acknowledged: u64,
    cut_off_bytes: u64,
    cut_off_entries: u64,
    unopened: u64,
    /// Entries that readers beside the writer were shown.
    followed: u64,
}

/// A log, its device, and what it has shown.
struct Scene {
    device: FaultDevice,
    ledger: Ledger,
    life: u64,
    prng: Prng,
    counts: Counts,
}

pub(super) fn config(prng: &mut Prng) -> FasterLogConfig {
    let pages = 8 << prng.below(3);
    let policy = match prng.below(4) {
        0 => CommitPolicy::Every(std::time::Duration::from_micros(200 + prng.below(2000))),
        1 => CommitPolicy::EveryBytes(1 + prng.below(20_000)),
        _ => CommitPolicy::OnDemand,
    };
    let mut config =
        FasterLogConfig::default().with_page_size(4096).with_memory_pages(pages).with_commit_policy(policy);
    config.commits_in_flight_max = 1 + usize::from(prng.chance(0.7)) * 3;
    config
}

pub(super) fn fates(prng: &mut Prng) -> CrashFates {
    match prng.below(4) {
        0 => CrashFates::DROP_ALL,
        1 => CrashFates::KEEP_ALL,
        2 => CrashFates { kept: 3, dropped: 2, torn: 0, zeroed: 0, scrambled: 0 },
        _ => CrashFates::default(),
    }
}

/// How a life ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    PowerLoss,
    Kill,
    Close,
}

impl Scene {
    fn new(seed: u64) -> Self {
        let mut prng = Prng::lane(seed, 7);
        let device = FaultDevice::new(prng.next_u64());
        Self { device, ledger: Ledger::default(), life: 0, prng, counts: Counts::default() }
    }

    fn plan(&mut self, end: End) -> FaultPlan {
        let prng = &mut self.prng;
        let mut plan = if prng.chance(0.5) { unruly_plan(prng) } else { FaultPlan::new() };
        plan = plan.crash_fates(fates(prng));
        if end == End::PowerLoss {
            plan = plan.crash_at(CrashPoint::AfterChanges(1 + prng.below(80)));
        }
        match prng.below(6) {
            0 => plan.fail_writes(Trigger::nth(1 + prng.below(30))),
            // Some files go on after a failed sync as if nothing had happened, and have lost what it was about.
            1 => plan.fail_syncs(Trigger::nth(1 + prng.below(20))).poison_on_failed_sync(prng.chance(0.5)),
            2 => plan.fail_metadata_writes(Trigger::nth(1 + prng.below(4))),
            _ => plan,
        }
    }

    /// Lives once, ends, and judges what is left.
    fn live(&mut self) -> Result<(), String> {
        let end = match self.prng.below(10) {
            0..=5 => End::PowerLoss,
            6..=8 => End::Kill,
            _ => End::Close,
        };
        let plan = self.plan(end);
        self.device.set_plan(plan);
        let acknowledged = Acknowledged::default();
        let lost_before = self.device.counts().lost_by_failed_sync;
        let config = config(&mut self.prng);
        // An error: the device fails already. Whether it may be damage is seen below, without faults.
        let log = FasterLog::open(config, self.device.clone()).ok();
        self.counts.unopened += u64::from(log.is_none());
        // A reader beside the writer is shown nothing that power loss takes back.
        let every = Duration::from_micros(100);
        let following = if log.is_some() && self.prng.chance(0.3) {
            Following::start(self.device.clone(), every).ok()
        } else {
            None
        };
        if let Some(log) = &log {
            self.use_log(log, end, &acknowledged);
        }
        let closed = match (&log, end) {
            (Some(log), End::Close) => log.close().is_ok(),
            _ => false,
        };
        let seed = self.prng.next_u64();
        // What a failed sync has lost is still read until power goes: no file that is read past a cache does that, and nobody
        // could tell (docs/format/log.md).
        let lies = self.device.counts().lost_by_failed_sync > lost_before;
        self.device = if end == End::PowerLoss || lies || (!closed && self.prng.chance(0.5)) {
            self.device.crash(seed)
        } else {
            self.device.reopen()
        };
        drop(log);
        self.counts.images += u64::from(!closed);
        let told = acknowledged.counts();
        self.counts.acknowledged += told.iter().sum::<u64>();
        let life = self.life;
        self.look(life, &told, following)
            .map_err(|message| format!("life {life} ended by {end:?}: {message}"))?;
        self.life += 1;
        Ok(())
    }

    fn use_log(&mut self, log: &FasterLog, end: End, acknowledged: &Acknowledged) {
        let style = match self.prng.below(4) {
            0 => Style::OneByOne,
            1 => Style::Batches,
            _ => Style::Mixed,
        };
        let (seed, entries_max) = (self.prng.next_u64(), 20 + self.prng.below(400));
        let (stop, device, life) = (AtomicBool::new(false), self.device.clone(), self.life);
        let patience = self.prng.below(3000);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                life::run(log, life, style, seed, entries_max, acknowledged, &stop);
                stop.store(true, Ordering::Relaxed);
            });
            if end == End::Kill {
                for _ in 0..patience {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    thread::yield_now();
                }
                // From here on nothing reaches the device any more; threads that are told so end.
                self.device = device.reopen();
            }
        });
    }

    /// Opens what is left, twice if power goes again at once, and cuts it now and then.
    fn look(&mut self, life: u64, told: &[u64], following: Option<Following>) -> Result<(), String> {
        let log = self.open()?;
        let report = log.recovery_report();
        self.counts.cut_off_bytes += report.cut_off_bytes;
        self.counts.cut_off_entries += report.cut_off_entries;
        self.counts.entries += self.ledger.check(&log, life, told)?;
        if let Some(following) = following {
            // Its device is gone.
            let (followed, _) = following.check(&[all_of(&log)?], true)?;
            self.counts.followed += followed;
        }
        if self.prng.chance(0.3) {
            // Opening wrote nothing that could be lost, and showed nothing that could be.
            let seed = self.prng.next_u64();
            self.device = self.device.crash(seed);
            drop(log);
            let log = self.open()?;
            let nothing_new = self.ledger.check(&log, life, &[])?;
            self.leave(log, nothing_new)
        } else {
            self.leave(log, 0)
        }
    }

    fn leave(&mut self, log: FasterLog, new: u64) -> Result<(), String> {
        if new != 0 {
            return Err(format!("{new} entries appeared out of nothing"));
        }
        let entries = self.ledger.shown().len();
        let explain = |error| format!("truncating: {error:?}");
        if entries > 0 && self.prng.chance(0.15) {
            let keep = usize::try_from(self.prng.below(entries as u64)).unwrap_or(0);
            if let Some((address, _)) = self.ledger.shown().get(keep).copied() {
                log.truncate_suffix(address).map_err(explain)?;
                self.ledger.cut(keep);
            }
        }
        let entries = self.ledger.shown().len();
        if entries > 0 && self.prng.chance(0.15) {
            let first = usize::try_from(self.prng.below(entries as u64)).unwrap_or(0);
            if let Some((address, _)) = self.ledger.shown().get(first).copied() {
                log.truncate_before(address).map_err(explain)?;
                self.ledger.truncated_before(first);
            }
        }
        // Left as a killed process leaves it: nothing below was ever promised to need a close.
        self.device = self.device.reopen();
        drop(log);
        Ok(())
    }

    fn open(&mut self) -> Result<FasterLog, String> {
        let plan = FaultPlan::new().crash_fates(fates(&mut self.prng));
        self.device.set_plan(plan);
        FasterLog::open(config(&mut self.prng), self.device.clone())
            .map_err(|error| format!("open: {error:?}"))
    }
}

/// Runs the judge.
pub fn judge(options: &PowerLossOptions, progress: Progress<'_>) -> Report {
    let mut report = Report::new("log-power-loss", options.seed);
    let mut sum = Counts::default();
    let mut logs = 0_u64;
    while sum.images < options.images && report.guilty().is_none() {
        // The first log is that of the seed itself, so that a printed seed replays with one image.
        let seed = if logs == 0 { options.seed } else { mix(options.seed).wrapping_add(logs) };
        logs += 1;
        let mut scene = Scene::new(seed);
        for _ in 0..LIVES {
            if let Err(message) = scene.live() {
                report.note("replay_seed", seed);
                report.blame(format!("seed {seed}: {message}"));
                break;
            }
        }
        let counts = scene.counts;
        sum.images += counts.images;
        sum.entries += counts.entries;
        sum.acknowledged += counts.acknowledged;
        sum.cut_off_bytes += counts.cut_off_bytes;
        sum.cut_off_entries += counts.cut_off_entries;
        sum.unopened += counts.unopened;
        sum.followed += counts.followed;
        if logs.is_multiple_of(100) {
            progress(&format!("{} of {} images", sum.images, options.images));
        }
    }
    report.note("logs", logs);
    report.note("images", sum.images);
    report.note("entries", sum.entries);
    report.note("acknowledged", sum.acknowledged);
    report.note("cut_off_bytes", sum.cut_off_bytes);
    report.note("cut_off_entries", sum.cut_off_entries);
    report.note("unopened", sum.unopened);
    report.note("followed", sum.followed);
    report
}
