//! The kill judge of the log: a process appends and commits on real files, is killed without warning, and everything that its threads
//! were told to be durable is there, in order, whole, and nothing else.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use oxifaster_core::error::Error;
use oxifaster_device::FileSystemDisk;
use oxifaster_device::sync::atomic::AtomicBool;
use oxifaster_device::sync::thread;
use oxifaster_log::{CommitPolicy, FasterLog, FasterLogConfig};

use super::ledger::Ledger;
use super::life::{self, Acknowledged, Style};
use crate::judges::{Progress, Report};
use crate::workload::Prng;

/// How much to judge.
#[derive(Clone, Debug)]
pub struct KillOptions {
    /// What everything is drawn from.
    pub seed: u64,
    /// Processes that are killed.
    pub kills: u64,
    /// Where the files go; a folder of its own is made there.
    pub folder: PathBuf,
}

/// Lives of one log, before a new one is made.
const LIVES: u64 = 10;

/// What the child is told: its folder, the number of its life, and its seed.
#[derive(Clone, Debug)]
pub struct ChildOptions {
    /// Folder of the log.
    pub folder: PathBuf,
    /// Life of the log.
    pub life: u64,
    /// What its work is drawn from. Even seeds use segments, odd ones one file.
    pub seed: u64,
}

pub(super) fn open(folder: &Path, segmented: bool, prng: &mut Prng) -> Result<FasterLog, Error> {
    let policy = match prng.below(3) {
        0 => CommitPolicy::Every(Duration::from_millis(1 + prng.below(5))),
        1 => CommitPolicy::EveryBytes(1 + prng.below(100_000)),
        _ => CommitPolicy::OnDemand,
    };
    let config = FasterLogConfig::default()
        .with_page_size(1 << (12 + prng.below(5)))
        .with_memory_pages(8)
        .with_commit_policy(policy);
    let device = if segmented {
        FileSystemDisk::segmented(folder, "log", 256 << 10)?
    } else {
        FileSystemDisk::single_file(folder.join("log"))?
    };
    FasterLog::open(config, device)
}

fn acknowledgements(folder: &Path) -> PathBuf {
    folder.join("acknowledged")
}

/// The life of a child: works until it is killed.
///
/// # Errors
/// When the log can't be opened.
pub fn child(options: &ChildOptions) -> Result<(), Error> {
    let mut prng = Prng::lane(options.seed, options.life);
    let log = open(&options.folder, options.seed.is_multiple_of(2), &mut prng)?;
    let cannot = |error| Error::new(oxifaster_core::ErrorKind::Io, "the acknowledgements").with_source(error);
    let acknowledged = Acknowledged::new(Some(&acknowledgements(&options.folder))).map_err(cannot)?;
    let style = if prng.chance(0.3) { Style::Batches } else { Style::Mixed };
    life::run(&log, options.life, style, prng.next_u64(), u64::MAX, &acknowledged, &AtomicBool::new(false));
    Ok(())
}

/// Starts a child and kills it; returns what it had written down.
pub(super) fn killed(judge: &Path, options: &ChildOptions, after: Duration) -> Result<Vec<u64>, String> {
    let explain = |what: &str| format!("{what}, life {}", options.life);
    let path = acknowledgements(&options.folder);
    let _ = fs::remove_file(&path);
    let mut child = Command::new(judge)
        .args(["log-kill-child", "--folder"])
        .arg(&options.folder)
        .args(["--life", &options.life.to_string(), "--seed", &options.seed.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .map_err(|error| format!("starting {}: {error}", judge.display()))?;
    // It works from when it has opened the log.
    let mut waited = 0;
    while !path.exists() && waited < 20_000 {
        if let Ok(Some(status)) = child.try_wait() {
            return Err(explain(&format!("the child ended by itself: {status}")));
        }
        thread::sleep(Duration::from_millis(1));
        waited += 1;
    }
    thread::sleep(after);
    if let Ok(Some(status)) = child.try_wait() {
        return Err(explain(&format!("the child ended by itself: {status}")));
    }
    child.kill().map_err(|error| explain(&error.to_string()))?;
    child.wait().map_err(|error| explain(&error.to_string()))?;
    // Killed between the making of the file and its first bytes: it was told nothing.
    let mut told = Acknowledged::read(&path).map_err(|error| explain(&error.to_string()))?;
    told.resize(life::THREADS_MAX, 0);
    Ok(told)
}

#[derive(Debug, Default)]
struct Counts {
    entries: u64,
    told: u64,
    cut_off_bytes: u64,
}

/// One log, killed again and again.
fn judge_log(judge: &Path, folder: &Path, seed: u64, lives: u64, counts: &mut Counts) -> Result<(), String> {
    fs::create_dir_all(folder).map_err(|error| error.to_string())?;
    let mut prng = Prng::lane(seed, 99);
    let mut ledger = Ledger::default();
    for life in 0..lives {
        let options = ChildOptions { folder: folder.to_owned(), life, seed };
        let told = killed(judge, &options, Duration::from_micros(prng.below(60_000)))?;
        let log = open(folder, seed.is_multiple_of(2), &mut prng)
            .map_err(|error| format!("life {life}: open: {error:?}"))?;
        let broken = |message| format!("life {life}: {message}");
        counts.entries += ledger.check(&log, life, &told).map_err(broken)?;
        counts.told += told.iter().sum::<u64>();
        counts.cut_off_bytes += log.recovery_report().cut_off_bytes;
        if prng.chance(0.3)
            && let Some((address, _)) = ledger.shown().get(ledger.shown().len() / 2).copied()
        {
            let half = ledger.shown().len() / 2;
            log.truncate_before(address).map_err(|error| broken(format!("truncating: {error:?}")))?;
            ledger.truncated_before(half);
        }
    }
    fs::remove_dir_all(folder).map_err(|error| error.to_string())
}

/// Runs the judge; `judge` is the program that runs [`child`].
pub fn judge(judge: &Path, options: &KillOptions, progress: Progress<'_>) -> Report {
    let mut report = Report::new("log-kill", options.seed);
    let mut counts = Counts::default();
    let mut done = 0;
    let mut logs = 0;
    while done < options.kills && report.guilty().is_none() {
        let seed = options.seed.wrapping_add(logs);
        let folder = options.folder.join(format!("oxifaster-log-kill-{}-{logs}", std::process::id()));
        let lives = LIVES.min(options.kills - done);
        if let Err(message) = judge_log(judge, &folder, seed, lives, &mut counts) {
            report.note("replay_seed", seed);
            report.blame(format!("seed {seed}, {}: {message}", folder.display()));
        }
        done += lives;
        logs += 1;
        progress(&format!("{done} of {} kills", options.kills));
    }
    report.note("kills", done);
    report.note("entries", counts.entries);
    report.note("acknowledged", counts.told);
    report.note("cut_off_bytes", counts.cut_off_bytes);
    report
}
