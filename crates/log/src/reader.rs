//! The handle of a log that another process writes: everything that reads, nothing that writes.
//!
//! It is the log's own reading, scans and tails, over an empty ring, with commits that the [`follower`](crate::follower) reports in the
//! place of the writer's and the syncer's. One thread looks; whoever waits is woken by it.

use std::ops::RangeBounds;
use std::sync::Arc;
use std::time::Duration;

use oxifaster_core::sync::atomic::AtomicU32;
use oxifaster_core::sync::process::HomeProcess;
use oxifaster_core::sync::thread::{JoinHandle, spawn};
use oxifaster_core::sync::{Mutex, thread};
use oxifaster_core::{Address, Error, ErrorKind};
use oxifaster_device::{BLOCK_WORDS, StorageDevice};

use crate::checks::CheckReport;
use crate::configuration::FasterLogConfig;
use crate::faster_log::FasterLog;
use crate::follower::Follower;
use crate::listeners::Listeners;
use crate::progress::Progress;
use crate::requests::CommitInfo;
use crate::ring::LogRing;
use crate::scan::{Bytes, LogScan, ScanAll};
use crate::shared::{Published, Shared};
use crate::standing::Standing;
use crate::tail::LogTail;

/// Looks that fail one after the other before the reader gives up.
const FAILURES_MAX: u32 = 50;

/// Settings of a reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FasterLogReaderConfig {
    /// How often the reader looks for commits: more than zero. A look that finds nothing reads three blocks.
    pub poll_interval: Duration,
}

impl Default for FasterLogReaderConfig {
    /// Every 20 ms.
    fn default() -> Self {
        Self { poll_interval: Duration::from_millis(20) }
    }
}

impl FasterLogReaderConfig {
    /// With another interval.
    #[must_use]
    pub fn with_poll_interval(mut self, poll_interval: Duration) -> Self {
        self.poll_interval = poll_interval;
        self
    }
}

/// A log that another process writes, or nobody: it takes no lock, writes nothing, and shows what is committed.
///
/// Shown is what is *known to be durable*: an entry appears when a later commit, or the metadata that the writer brings up to date
/// when its log is idle (after half a second), says so; or, when the writer is gone, after the reader's own sync. So nothing that is
/// shown is ever taken back by a power failure. If the writer truncates entries that a tail has returned, the tail ends with an error.
///
/// The device is one opened for reading: [`FileSystemDisk::segmented_read_only`](oxifaster_device::FileSystemDisk::segmented_read_only),
/// [`single_file_read_only`](oxifaster_device::FileSystemDisk::single_file_read_only). The file system must be a local one.
///
/// # Examples
/// ```
/// use oxifaster_device::FileSystemDisk;
/// use oxifaster_log::{FasterLog, FasterLogConfig};
/// # let folder = tempfile::tempdir()?;
/// let path = folder.path().join("events.log");
/// let log = FasterLog::open(FasterLogConfig::default(), FileSystemDisk::single_file(&path)?)?;
/// let address = log.append(b"an event")?;
/// log.commit()?;
///
/// // In another process:
/// let reader = FasterLog::open_read_only(FileSystemDisk::single_file_read_only(&path)?)?;
/// assert_eq!(reader.read_entry(address)?.as_deref(), Some(&b"an event"[..]));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct FasterLogReader {
    shared: Arc<Shared>,
    looking: Option<JoinHandle<()>>,
    home: HomeProcess,
}

impl FasterLog {
    /// Opens a log for reading while another process may write it, as [`FasterLogReader::open`] with default settings.
    ///
    /// # Errors
    /// As there.
    pub fn open_read_only<D: StorageDevice>(device: D) -> Result<FasterLogReader, Error> {
        FasterLogReader::open(FasterLogReaderConfig::default(), device)
    }
}

impl FasterLogReader {
    /// Opens the log on `device`, which another process may have open. What a killed writer has committed is synced, not written.
    ///
    /// # Errors
    /// `InvalidInput` when there is no log; `InvalidConfiguration`; `IncompatibleFormat`; `Corruption` when something that was durable is
    /// damaged; `Unsupported` for a device that keeps nothing; I/O errors.
    pub fn open<D: StorageDevice>(config: FasterLogReaderConfig, device: D) -> Result<Self, Error> {
        if config.poll_interval.is_zero() {
            let message = "poll_interval is 0 s: it must be longer";
            return Err(Error::new(ErrorKind::InvalidConfiguration, message));
        }
        let shared = Arc::new(following(Arc::new(device))?);
        if let Some(follower) = &shared.follower {
            follower.lock().look_first(&shared)?;
        }
        let log = Arc::clone(&shared);
        let looking =
            spawn("oxf-log-look", move || look_on(&log, config.poll_interval)).map_err(|error| {
                Error::new(ErrorKind::Io, "a thread of the log could not be started").with_source(error)
            })?;
        Ok(Self { shared, looking: Some(looking), home: HomeProcess::here() })
    }

    /// Looks now, instead of after the interval, what was committed.
    ///
    /// # Errors
    /// I/O errors; `IncompatibleFormat` when another log was made in this place; why the reader has ended, if it has.
    pub fn refresh(&self) -> Result<CommitInfo, Error> {
        self.shared.look()?;
        self.shared.progress.ended().map_or_else(|| Ok(self.commit_info()), Err)
    }

    /// First address that exists.
    #[must_use]
    pub fn begin_address(&self) -> Address {
        Address::from_low_bits(self.shared.begin())
    }

    /// Everything below this address is durable, and can be read here.
    #[must_use]
    pub fn committed_address(&self) -> Address {
        Address::from_low_bits(self.shared.progress.committed())
    }

    /// The last commit that is shown.
    #[must_use]
    pub fn commit_info(&self) -> CommitInfo {
        self.shared.progress.info()
    }

    /// Number of the entry at the begin, counted from 0 since the log was made.
    #[must_use]
    pub fn first_entry_number(&self) -> u64 {
        self.shared.progress.standing().begin_entry
    }

    /// The address that the shown commit has under a name, as [`FasterLog::position`].
    #[must_use]
    pub fn position(&self, name: &str) -> Option<Address> {
        self.shared.position(name)
    }

    /// The entry at `address`; `None` where none is shown.
    ///
    /// # Errors
    /// As [`FasterLog::read_entry`].
    pub fn read_entry(&self, address: Address) -> Result<Option<Bytes>, Error> {
        self.shared.read_entry(address.words())
    }

    /// The entry with this number.
    ///
    /// # Errors
    /// As [`FasterLog::entry`].
    pub fn entry(&self, number: u64) -> Result<Option<Bytes>, Error> {
        self.shared.entry(number)
    }

    /// The address of the entry with this number.
    ///
    /// # Errors
    /// As [`FasterLog::address_of`].
    pub fn address_of(&self, number: u64) -> Result<Option<Address>, Error> {
        self.shared.address_of(number)
    }

    /// The entries whose addresses lie in `range`, up to the committed address of now.
    pub fn scan(&self, range: impl RangeBounds<Address>) -> LogScan {
        self.shared.scan(range, None)
    }

    /// All entries up to the committed address of now, as [`FasterLog::scan_all`].
    pub fn scan_all(&self) -> ScanAll {
        ScanAll::new(self.scan(..))
    }

    /// The entries from `from` on, and then each new one when it is shown. Goes on when the writer is closed, killed and started
    /// again; ends when the reader is dropped, and with an error when the writer truncates what was returned or not yet read.
    pub fn tail(&self, from: Address) -> LogTail {
        self.shared.tail(from, false)
    }

    /// Reads everything that is shown, as [`FasterLog::self_check`].
    ///
    /// # Errors
    /// As there.
    pub fn self_check(&self) -> Result<CheckReport, Error> {
        self.shared.self_check()
    }
}

impl Drop for FasterLogReader {
    fn drop(&mut self) {
        if !self.home.is_here() {
            return;
        }
        self.shared.end(Error::new(ErrorKind::Closed, "the reader was closed"));
        self.shared.progress.stop();
        if self.looking.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread of a log's reader panicked");
        }
    }
}

/// The thread's life.
fn look_on(log: &Shared, interval: Duration) {
    let mut failures = 0;
    // Nothing is ever handed over here: this waits for the interval, or for the end.
    while !matches!(log.progress.next_to_sync(Some(interval)), Ok(None)) && log.progress.ended().is_none() {
        let Err(error) = log.look() else {
            failures = 0;
            continue;
        };
        failures += 1;
        let passing = matches!(error.kind(), ErrorKind::Io | ErrorKind::Corruption);
        if !passing || failures >= FAILURES_MAX {
            tracing::warn!(%error, device = %log.device.describe(), "a reader of a log has ended");
            log.end(error);
            return;
        }
        thread::sleep(interval.min(Duration::from_millis(100)));
    }
}

/// The shared state of a log whose words are all on the device.
fn following(device: Arc<dyn StorageDevice>) -> Result<Shared, Error> {
    if !device.geometry().persistent {
        let message = "a device that keeps nothing has nothing for another process to read";
        return Err(Error::new(ErrorKind::Unsupported, message));
    }
    let (follower, area) = Follower::new(Arc::clone(&device))?;
    let facts = follower.facts().clone();
    let nowhere = Address::MAX.words().next_power_of_two();
    let ring = LogRing::new(BLOCK_WORDS as u64, nowhere, nowhere, 0)?;
    ring.seal();
    let config = FasterLogConfig::default();
    Ok(Shared {
        persistent: true,
        address_end: nowhere,
        nudge_shift: config.nudge_shift(),
        entry_bytes_max: config.entry_bytes_max(),
        ring,
        progress: Progress::new(
            Standing::new(&facts, Arc::clone(&facts.timeline)),
            config.commits_in_flight_max,
        ),
        listeners: Listeners::default(),
        seed: AtomicU32::new(0),
        facts: Mutex::new(Published { area, facts }),
        follower: Some(Mutex::new(follower)),
        commits: Mutex::default(),
        iterators: Mutex::default(),
        config,
        device,
    })
}
