//! The judge of readers in another process: a process that appends is killed, again and again, on real files; this process follows its
//! log through all lives, and must be shown what every later open holds, in order, nothing else, and in the end all of it.
//!
//! Between two lives the judge truncates the log now and then, at both ends.

use std::fs;
use std::path::Path;
use std::time::Duration;

use oxifaster_core::Address;
use oxifaster_core::error::Error;
use oxifaster_device::FileSystemDisk;

use super::entries::Mark;
use super::following::{Following, Shown, all_of};
use super::kill::{self, ChildOptions, KillOptions};
use super::ledger::Ledger;
use crate::judges::{Progress, Report};
use crate::workload::Prng;

/// Lives of one log.
const LIVES: u64 = 8;

/// How long a follower may take to catch up with a log that nobody writes.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, Default)]
struct Counts {
    entries: u64,
    truncations: u64,
    followed: u64,
}

struct Scene<'j> {
    judge: &'j Path,
    folder: &'j Path,
    seed: u64,
    prng: Prng,
    ledger: Ledger,
    /// Everything that the log has held, truncated fronts included: one version for each time line, the last one in force.
    versions: Vec<Shown>,
    /// The last entry that it holds now.
    last: Option<(Address, Mark)>,
    truncations: u64,
}

fn device(folder: &Path, segmented: bool) -> Result<FileSystemDisk, Error> {
    Ok(if segmented {
        FileSystemDisk::segmented_read_only(folder, "log")?
    } else {
        FileSystemDisk::single_file_read_only(folder.join("log"))?
    })
}

impl Scene<'_> {
    fn segmented(&self) -> bool {
        self.seed.is_multiple_of(2)
    }

    /// One life of the writer, under a follower.
    fn live(&mut self, life: u64, following: &Following, counts: &mut Counts) -> Result<(), String> {
        let options = ChildOptions { folder: self.folder.to_owned(), life, seed: self.seed };
        let told = kill::killed(self.judge, &options, Duration::from_micros(self.prng.below(80_000)))?;
        let log = kill::open(self.folder, self.segmented(), &mut self.prng)
            .map_err(|error| format!("open: {error:?}"))?;
        counts.entries += self.ledger.check(&log, life, &told)?;
        let now = all_of(&log)?;
        let mut history = self.versions.pop().unwrap_or_default();
        if let Some((first, _)) = now.first() {
            history.retain(|(address, _)| address < first);
            history.extend(&now);
        }
        self.versions.push(history.clone());
        let (_, ends) = following.check(&self.versions, false)?;
        if ends > self.truncations {
            return Err(format!("{ends} runs were ended by {} truncations", self.truncations));
        }
        let explain = |error| format!("truncating: {error:?}");
        let entries = now.len();
        if entries > 0 && self.prng.chance(0.3) {
            let keep = usize::try_from(self.prng.below(entries as u64)).unwrap_or(0);
            if let Some((address, _)) = now.get(keep).copied() {
                log.truncate_suffix(address).map_err(explain)?;
                self.ledger.cut(keep);
                history.truncate(history.len() - (entries - keep));
                self.versions.push(history);
                self.truncations += 1;
            }
        }
        let entries = self.ledger.shown().len();
        if entries > 0 && self.prng.chance(0.3) {
            let first = usize::try_from(self.prng.below(entries as u64)).unwrap_or(0);
            if let Some((address, _)) = self.ledger.shown().get(first).copied() {
                log.truncate_before(address).map_err(explain)?;
                self.ledger.truncated_before(first);
                self.truncations += 1;
            }
        }
        self.last = self.ledger.shown().last().copied();
        if self.prng.chance(0.5) {
            log.close().map_err(|error| format!("close: {error:?}"))?;
        }
        Ok(())
    }

    /// One log, killed again and again.
    fn judge_log(&mut self, lives: u64, counts: &mut Counts) -> Result<(), String> {
        fs::create_dir_all(self.folder).map_err(|error| error.to_string())?;
        let made = kill::open(self.folder, self.segmented(), &mut self.prng);
        drop(made.map_err(|error| format!("making a log: {error:?}"))?);
        let every = Duration::from_millis(1 + self.prng.below(10));
        let following = device(self.folder, self.segmented())
            .and_then(|device| Following::start(device, every))
            .map_err(|error| format!("a reader can't open it: {error:?}"))?;
        for life in 0..lives {
            self.live(life, &following, counts).map_err(|message| format!("life {life}: {message}"))?;
            // Some lives begin before the follower is where the last one ended.
            if self.prng.chance(0.3) && !following.reaches(self.last.as_ref(), PATIENCE) {
                return Err(format!("life {life}: the follower does not catch up"));
            }
        }
        if !following.reaches(self.last.as_ref(), PATIENCE) {
            return Err("the follower does not catch up in the end".to_owned());
        }
        let (followed, _) = following.check(&self.versions, false)?;
        counts.followed += followed;
        counts.truncations += self.truncations;
        drop(following);
        fs::remove_dir_all(self.folder).map_err(|error| error.to_string())
    }
}

/// Runs the judge; `judge` is the program that runs [`kill::child`].
pub fn judge(judge: &Path, options: &KillOptions, progress: Progress<'_>) -> Report {
    let mut report = Report::new("log-follow", options.seed);
    let mut counts = Counts::default();
    let (mut done, mut logs) = (0, 0);
    while done < options.kills && report.guilty().is_none() {
        let seed = options.seed.wrapping_add(logs);
        let folder = options.folder.join(format!("oxifaster-log-follow-{}-{logs}", std::process::id()));
        let lives = LIVES.min(options.kills - done);
        let mut scene = Scene {
            judge,
            folder: &folder,
            seed,
            prng: Prng::lane(seed, 98),
            ledger: Ledger::default(),
            versions: Vec::new(),
            last: None,
            truncations: 0,
        };
        if let Err(message) = scene.judge_log(lives, &mut counts) {
            report.note("replay_seed", seed);
            report.blame(format!("seed {seed}, {}: {message}", folder.display()));
        }
        done += lives;
        logs += 1;
        progress(&format!("{done} of {} kills", options.kills));
    }
    report.note("kills", done);
    report.note("entries", counts.entries);
    report.note("truncations", counts.truncations);
    report.note("followed_to_the_end", counts.followed);
    report
}
