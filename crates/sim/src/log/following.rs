//! A reader that follows a log and writes down what it is shown, in runs: what one tail returned without an error.

use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use oxifaster_core::Address;
use oxifaster_core::error::{Error, ErrorKind};
use oxifaster_device::StorageDevice;
use oxifaster_device::sync::atomic::{AtomicBool, Ordering};
use oxifaster_device::sync::{Mutex, thread};
use oxifaster_log::{FasterLog, FasterLogReader, FasterLogReaderConfig};

use super::entries::Mark;

/// Entries with their addresses, in order.
pub type Shown = Vec<(Address, Mark)>;

#[derive(Debug, Default)]
struct Seen {
    runs: Vec<Shown>,
    /// Ends that a truncation explains.
    truncated: u64,
    /// Any other end.
    failed: Option<Error>,
    /// An entry that nobody wrote.
    broken: Option<String>,
}

/// A thread with a tail.
#[derive(Debug)]
pub struct Following {
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Following {
    /// Follows the log on `device` from its begin.
    ///
    /// # Errors
    /// When it can't be opened.
    pub fn start<D: StorageDevice>(device: D, every: Duration) -> Result<Self, Error> {
        let config = FasterLogReaderConfig::default().with_poll_interval(every);
        let reader = FasterLogReader::open(config, device)?;
        let seen = Arc::new(Mutex::new(Seen::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let (notes, ended) = (Arc::clone(&seen), Arc::clone(&stop));
        let thread = Builder::new()
            .name("judge-follow".to_owned())
            .spawn(move || while !ended.load(Ordering::Relaxed) && follow(&reader, &notes, &ended) {});
        let thread = thread.map_err(|error| Error::new(ErrorKind::Io, "a thread").with_source(error))?;
        Ok(Self { seen, stop, thread: Some(thread) })
    }

    /// Compares all that was shown with what the log has ever held: one version for each time line, the last one being in force. Forgets
    /// all runs but the last. Says how many entries that one has, and how many runs a truncation has ended.
    ///
    /// # Errors
    /// What should not have been shown, or an end that nothing explains; `lenient`: the device fails, so a reader may.
    pub fn check(&self, versions: &[Shown], lenient: bool) -> Result<(u64, u64), String> {
        let mut seen = self.seen.lock();
        if let Some(message) = &seen.broken {
            return Err(format!("a follower was shown {message}"));
        }
        if let Some(error) = seen.failed.as_ref().filter(|_| !lenient) {
            return Err(format!("a follower ended: {error:?}"));
        }
        for run in &seen.runs {
            if !versions.iter().any(|version| is_part(run, version)) {
                let first =
                    run.iter().find(|entry| versions.last().is_none_or(|version| !version.contains(entry)));
                return Err(format!(
                    "a follower was shown {} entries that the log never held so; it does not hold {first:?}",
                    run.len()
                ));
            }
        }
        let last = seen.runs.pop().unwrap_or_default();
        let count = last.len() as u64;
        seen.runs = vec![last];
        Ok((count, seen.truncated))
    }

    /// Whether the last entry shown is `last`, within a time.
    #[must_use]
    pub fn reaches(&self, last: Option<&(Address, Mark)>, patience: Duration) -> bool {
        for _ in 0..patience.as_millis() {
            if self.seen.lock().runs.last().and_then(|run| run.last()) == last {
                return true;
            }
            thread::sleep(Duration::from_millis(1));
        }
        last.is_none()
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Whether `run` lies in `all` without a gap.
fn is_part(run: &Shown, all: &Shown) -> bool {
    let Some((first, _)) = run.first() else { return true };
    let start = all.partition_point(|(address, _)| address < first);
    all.get(start..start + run.len()).is_some_and(|part| part == run)
}

/// One run, from the begin, or from where the last one ended. False: there is no next one.
fn follow(reader: &FasterLogReader, seen: &Mutex<Seen>, stop: &AtomicBool) -> bool {
    let from = reader.begin_address();
    seen.lock().runs.push(Vec::new());
    let mut tail = reader.tail(from);
    while !stop.load(Ordering::Relaxed) {
        let mut ended = false;
        match tail.try_next() {
            Ok(Some((address, bytes))) => {
                let mut seen = seen.lock();
                match Mark::read(&bytes) {
                    Ok(mark) => seen.runs.last_mut().into_iter().for_each(|run| run.push((address, mark))),
                    Err(message) => {
                        seen.broken = Some(message);
                        ended = true;
                    }
                }
            }
            Ok(None) => thread::sleep(Duration::from_millis(1)),
            Err(error) if error.kind() == ErrorKind::InvalidInput => {
                seen.lock().truncated += 1;
                return true;
            }
            Err(error) => {
                seen.lock().failed = Some(error);
                ended = true;
            }
        }
        if ended {
            return false;
        }
    }
    false
}

/// All that a log holds.
///
/// # Errors
/// As a scan, and for an entry that nobody wrote.
pub fn all_of(log: &FasterLog) -> Result<Shown, String> {
    let mut all = Vec::new();
    for entry in log.scan(..) {
        let (address, bytes) = entry.map_err(|error| format!("a scan: {error:?}"))?;
        all.push((address, Mark::read(&bytes)?));
    }
    Ok(all)
}
