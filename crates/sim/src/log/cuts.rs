//! The judge of cuts: threads append and commit while another one drops suffixes, truncates the front, commits cookies and moves a
//! named iterator, until power goes or the process is killed. What was dropped stays dropped, what was acknowledged and not dropped is
//! there, batches are whole, nothing waits for ever, and no lookup takes truncation for damage.

use std::time::Duration;

use oxifaster_core::Address;
use oxifaster_core::error::{Error, ErrorKind};
use oxifaster_device::fault::{CrashPoint, FaultDevice, FaultPlan};
use oxifaster_device::sync::atomic::{AtomicBool, Ordering};
use oxifaster_device::sync::thread;
use oxifaster_log::{CommitPolicy, FasterLog, NamedIterator};

use super::entries::Mark;
use super::journal::{Cut, Journal, Notes, Shown};
use super::power_loss::{config, fates};
use crate::judges::subject::unruly_plan;
use crate::judges::{Progress, Report};
use crate::workload::{Prng, mix};

/// How much to judge.
#[derive(Clone, Copy, Debug)]
pub struct CutOptions {
    /// What everything is drawn from.
    pub seed: u64,
    /// Cuts of the first log, at least. Its front is truncated only when it can't remember more of them.
    pub cuts_of_one_log: u64,
    /// Logs; each but the first has `LIVES` lives.
    pub logs: u64,
}

/// Lives of a log.
const LIVES: u64 = 6;
/// Threads that append; the one that cuts comes behind them.
const APPENDERS: usize = 2;
/// The named iterator.
pub(super) const CONSUMER: &str = "consumer";

#[derive(Debug, Default)]
struct Counts {
    lives: u64,
    cuts: u64,
    fronts: u64,
    refused: u64,
    entries: u64,
    durable: u64,
}

struct Scene {
    device: FaultDevice,
    shown: Shown,
    cookie: (u64, u64),
    life: u64,
    truncates: bool,
    prng: Prng,
    counts: Counts,
}

/// Runs the judge.
pub fn judge(options: &CutOptions, progress: Progress<'_>) -> Report {
    let mut report = Report::new("log-cuts", options.seed);
    let mut sum = Counts::default();
    for number in 0..options.logs {
        let seed = if number == 0 { options.seed } else { mix(options.seed).wrapping_add(number) };
        let mut prng = Prng::lane(seed, 11);
        let device = FaultDevice::new(prng.next_u64());
        let counts = Counts::default();
        let (shown, truncates) = (Shown::new(), number > 0);
        let mut scene = Scene { device, shown, cookie: (0, 0), life: 0, truncates, prng, counts };
        let cuts = if number == 0 { options.cuts_of_one_log } else { 0 };
        while scene.life < LIVES || scene.counts.cuts < cuts {
            if let Err(message) = scene.live() {
                report.note("replay_seed", seed);
                report.blame(format!("seed {seed}, life {}: {message}", scene.life));
                return report;
            }
            scene.life += 1;
        }
        let counts = scene.counts;
        sum.lives += scene.life;
        sum.cuts += counts.cuts;
        sum.fronts += counts.fronts;
        sum.refused += counts.refused;
        sum.entries += counts.entries;
        sum.durable += counts.durable;
        if number.is_multiple_of(50) {
            progress(&format!("{number} of {} logs, {} cuts", options.logs, sum.cuts));
        }
    }
    report.note("lives", sum.lives);
    report.note("cuts", sum.cuts);
    report.note("fronts", sum.fronts);
    report.note("cuts_refused", sum.refused);
    report.note("entries", sum.entries);
    report.note("durable", sum.durable);
    report
}

impl Scene {
    /// Lives once, ends, and judges what is left.
    fn live(&mut self) -> Result<(), String> {
        let crash = self.prng.chance(0.6);
        let plan = if self.prng.chance(0.3) { unruly_plan(&mut self.prng) } else { FaultPlan::new() };
        let mut plan = plan.crash_fates(fates(&mut self.prng));
        if crash {
            plan = plan.crash_at(CrashPoint::AfterChanges(
                1 + self.prng.below(if self.truncates { 400 } else { 4000 }),
            ));
        }
        self.device.set_plan(plan);
        let mut journal = Journal { cookie: self.cookie, ..Journal::default() };
        let opened = FasterLog::open(config(&mut self.prng), self.device.clone());
        if let Ok(log) = &opened {
            self.use_log(log, &mut journal)?;
        }
        if !crash {
            // Such a device is slow and moves less than it is asked to; nothing fails.
            let log = opened.as_ref().map_err(|error| format!("open, without a crash: {error:?}"))?;
            log.append_batch::<&[u8]>(&[])
                .map_err(|error| format!("a log has ended, without a crash: {error:?}"))?;
            policy_is_kept(log)?;
        }
        let seed = self.prng.next_u64();
        let next =
            if crash || self.prng.chance(0.5) { self.device.crash(seed) } else { self.device.reopen() };
        drop(opened);
        self.device = next;
        self.device.set_plan(FaultPlan::new().crash_fates(fates(&mut self.prng)));
        let log = FasterLog::open(config(&mut self.prng), self.device.clone())
            .map_err(|error| format!("open: {error:?}"))?;
        self.counts.durable += journal.notes.iter().map(|notes| notes.durable as u64).sum::<u64>();
        self.counts.entries += journal.notes.iter().map(|notes| notes.entries.len() as u64).sum::<u64>();
        self.counts.cuts += journal.cuts.len() as u64;
        self.counts.fronts += journal.fronts.len() as u64;
        self.shown = journal.check(&log, self.life, &self.shown)?;
        let cookie = log.commit_info().cookie.as_slice().try_into().map_or(0, u64::from_le_bytes);
        self.cookie = (cookie, journal.cookie.1);
        self.device = self.device.reopen();
        drop(log);
        Ok(())
    }

    fn use_log(&mut self, log: &FasterLog, journal: &mut Journal) -> Result<(), String> {
        let (life, seed) = (self.life, self.prng.next_u64());
        // Looking at a log with many cuts takes long.
        let rounds = if self.truncates { 5 + self.prng.below(60) } else { 300 };
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let appenders: Vec<_> = (0..APPENDERS)
                .map(|thread| {
                    let mut appender = Appender::new(log, life, thread as u64, seed);
                    let stop = &stop;
                    scope.spawn(move || {
                        // An error ends the thread: whether it is right is seen from what is there afterwards.
                        while !stop.load(Ordering::Relaxed) && appender.step().is_ok() {}
                        appender.notes
                    })
                })
                .collect();
            let mut cutter =
                Appender { truncates: self.truncates, ..Appender::new(log, life, APPENDERS as u64, seed) };
            let mut consumer = log.named_iterator(CONSUMER).ok();
            for _ in 0..rounds {
                if cutter.cut_once(journal, consumer.as_mut(), &mut self.counts.refused).is_err() {
                    break;
                }
            }
            stop.store(true, Ordering::Relaxed);
            for appender in appenders {
                journal.notes.push(appender.join().map_err(|_| "an appending thread panicked".to_owned())?);
            }
            journal.notes.push(cutter.notes);
            Ok(())
        })
    }
}

/// Under a policy of bytes no more than those stay uncommitted.
fn policy_is_kept(log: &FasterLog) -> Result<(), String> {
    let CommitPolicy::EveryBytes(bytes) = log.config().commit_policy else { return Ok(()) };
    let left = || log.tail_address().byte_offset().saturating_sub(log.committed_address().byte_offset());
    for _ in 0..5000 {
        if left() <= bytes {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(1));
    }
    Err(format!("{} bytes stay uncommitted under {:?}", left(), log.config().commit_policy))
}

#[derive(Debug)]
struct Appender<'l> {
    log: &'l FasterLog,
    life: u64,
    thread: u64,
    next: u64,
    /// The front goes now and then, not only when cuts are refused.
    truncates: bool,
    prng: Prng,
    notes: Notes,
}

impl<'l> Appender<'l> {
    fn new(log: &'l FasterLog, life: u64, thread: u64, seed: u64) -> Self {
        let (prng, notes) = (Prng::lane(seed, thread), Notes::default());
        Self { log, life, thread, next: 0, truncates: false, prng, notes }
    }

    fn step(&mut self) -> Result<(), Error> {
        let batch = if self.prng.chance(0.2) { 2 + self.prng.below(6) } else { 1 };
        let last = self.append(u32::try_from(batch).unwrap_or(1))?;
        match self.prng.below(20) {
            0..=3 => drop(self.log.commit()?),
            4..=8 => drop(self.log.wait_for_commit(last)?),
            9 => {
                let number = self.log.first_entry_number() + self.prng.below(50);
                let answer = match self.prng.below(10) {
                    0 => self.log.self_check().map(drop),
                    _ => self.log.entry(number).map(drop),
                };
                return self.look_at(answer);
            }
            _ => return Ok(()),
        }
        self.notes.durable = self.notes.entries.len();
        Ok(())
    }

    /// Nothing is damaged here.
    fn look_at(&mut self, answer: Result<(), Error>) -> Result<(), Error> {
        if let Err(error) = &answer
            && error.kind() == ErrorKind::Corruption
        {
            self.notes.broken = Some(format!("a lookup beside truncation: {error:?}"));
        }
        answer
    }

    fn append(&mut self, batch: u32) -> Result<Address, Error> {
        let mark = |place: u32| Mark {
            place,
            batch,
            ..Mark::single(self.life, self.thread, self.next + u64::from(place))
        };
        let entries: Vec<Vec<u8>> = (0..batch).map(|place| mark(place).bytes(200)).collect();
        let addresses = match entries.as_slice() {
            [entry] => vec![self.log.append(entry)?],
            entries => self.log.append_batch(entries)?,
        };
        self.notes.entries.extend(addresses.iter().copied().zip((0..batch).map(mark)));
        self.next += u64::from(batch);
        Ok(addresses.last().copied().unwrap_or_default())
    }

    /// Some of what only this thread does.
    fn cut_once(
        &mut self,
        journal: &mut Journal,
        consumer: Option<&mut NamedIterator>,
        refused: &mut u64,
    ) -> Result<(), Error> {
        if !self.truncates {
            // Something stays between the cuts, so that each of them has to be remembered.
            self.append(1)?;
        }
        let anchor = self.append(1)?;
        for _ in 0..self.prng.below(30) {
            thread::yield_now();
        }
        let mut completed = None;
        if let Some(consumer) = consumer {
            for _ in 0..self.prng.below(6) {
                let next = consumer.try_next();
                if next?.is_none() {
                    break;
                }
            }
            consumer.complete()?;
            completed = Some(consumer.completed());
        }
        if self.prng.chance(0.3) {
            journal.cookie.1 += 1;
            self.log.commit_with_cookie(&journal.cookie.1.to_le_bytes())?;
            journal.cookie.0 = journal.cookie.1;
            journal.completed = completed;
            self.notes.durable = self.notes.entries.len();
        }
        if self.prng.chance(0.7) {
            self.cut(journal, anchor, refused)?;
        }
        if self.truncates && self.prng.chance(0.03) {
            self.truncate(journal)?;
        }
        Ok(())
    }

    fn cut(&mut self, journal: &mut Journal, from: Address, refused: &mut u64) -> Result<(), Error> {
        let before = self.log.tail_address();
        let outcome = self.log.truncate_suffix(from);
        if outcome.as_ref().is_err_and(|error| error.kind() == ErrorKind::OutOfSpace) {
            // Too many stretches to remember. Nothing was changed.
            *refused += 1;
            return self.truncate(journal);
        }
        let after = outcome.is_ok().then(|| self.log.tail_address());
        journal.cuts.push(Cut { from, before, after });
        journal.completed = journal.completed.map(|completed| completed.min(from));
        outcome
    }

    fn truncate(&mut self, journal: &mut Journal) -> Result<(), Error> {
        let to = self.append(1)?;
        self.log.wait_for_commit(to)?;
        self.notes.durable = self.notes.entries.len();
        let outcome = self.log.truncate_before(to);
        journal.fronts.push((to, outcome.is_ok()));
        outcome
    }
}
