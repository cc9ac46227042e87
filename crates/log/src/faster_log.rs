//! The handle of a log: opening, committing, closing, and where it stands.

use std::sync::Arc;

use oxifaster_core::sync::Mutex;
use oxifaster_core::sync::process::HomeProcess;
use oxifaster_core::sync::thread::{JoinHandle, spawn};
use oxifaster_core::{Address, Error, ErrorKind};
use oxifaster_device::StorageDevice;

use crate::commit_record::COOKIE_BYTES_MAX;
use crate::configuration::FasterLogConfig;
use crate::futures::CommitFuture;
use crate::recovery::{self, RecoveryReport};
use crate::requests::{Change, CommitInfo};
use crate::shared::Shared;
use crate::syncer;
use crate::writer::Writer;

/// A log. Any number of threads may use it through a shared reference; put it into an `Arc` to hand it around.
///
/// Dropping it closes it; errors of that are logged. Call [`close`](Self::close) to see them.
#[derive(Debug)]
pub struct FasterLog {
    pub(crate) shared: Arc<Shared>,
    report: RecoveryReport,
    /// Where the log ended when it was opened.
    pub(crate) recovered_until: u64,
    /// One truncation, cut or close at a time.
    pub(crate) exclusive: Mutex<Threads>,
    home: HomeProcess,
}

/// What [`FasterLog::close`] joins.
#[derive(Debug, Default)]
pub(crate) struct Threads {
    threads: Vec<JoinHandle<()>>,
    closed: bool,
}

impl FasterLog {
    /// Opens the log on `device`, at its last commit, or makes a new one. What was appended behind the last commit is cut off;
    /// [`recovery_report`](Self::recovery_report) says how much. Opening a log that exists writes nothing; one that was not closed
    /// is synced, and cut off on the device, too, if it has no room to remember the cut (see
    /// [`truncate_suffix`](Self::truncate_suffix)).
    ///
    /// # Errors
    /// `InvalidConfiguration`; `Locked`; `IncompatibleFormat` or `InvalidInput` when the device holds something else; `Corruption`
    /// when something that was durable is damaged; I/O errors.
    ///
    /// # Examples
    /// ```
    /// use oxifaster_device::FileSystemDisk;
    /// use oxifaster_log::{FasterLog, FasterLogConfig};
    /// # let folder = tempfile::tempdir()?;
    /// let path = folder.path().join("events.log");
    /// let log = FasterLog::open(FasterLogConfig::default(), FileSystemDisk::single_file(&path)?)?;
    /// let address = log.append_and_commit(b"an event")?;
    /// drop(log);
    ///
    /// let log = FasterLog::open(FasterLogConfig::default(), FileSystemDisk::single_file(&path)?)?;
    /// assert_eq!(log.recovery_report().cut_off_bytes, 0);
    /// assert_eq!(log.read_entry(address)?.as_deref(), Some(&b"an event"[..]));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn open<D: StorageDevice>(config: FasterLogConfig, device: D) -> Result<Self, Error> {
        let opened = recovery::open(config, Arc::new(device))?;
        let shared = Arc::new(opened.shared);
        let recovered_until = opened.last.until;
        let last = opened.last;
        let cannot =
            |error| Error::new(ErrorKind::Io, "a thread of the log could not be started").with_source(error);
        let life = Life::of(&shared, "writing");
        // Its queue belongs to the thread.
        let write = move || life.live(|log| Writer::new(Arc::clone(log), last).run());
        let mut threads = vec![spawn("oxf-log-write", write).map_err(cannot)?];
        let life = Life::of(&shared, "syncing");
        match spawn("oxf-log-sync", move || life.live(syncer::run)) {
            Ok(thread) => threads.push(thread),
            Err(error) => {
                shared.progress.stop();
                threads.into_iter().for_each(|thread| drop(thread.join()));
                return Err(cannot(error));
            }
        }
        if opened.report.cut_off_bytes > 0 || opened.report.damaged_metadata_slot {
            tracing::warn!(report = ?opened.report, device = %shared.device.describe(), "a log was recovered");
        }
        let exclusive = Mutex::new(Threads { threads, closed: false });
        let home = HomeProcess::here();
        Ok(Self { home, shared, report: opened.report, recovered_until, exclusive })
    }

    /// [`open`](Self::open) for programs that can't go on without their log.
    ///
    /// # Panics
    /// When `open` returns an error.
    #[must_use]
    pub fn new<D: StorageDevice>(config: FasterLogConfig, device: D) -> Self {
        match Self::open(config, device) {
            Ok(log) => log,
            Err(error) => panic!("the log could not be opened: {error}"),
        }
    }

    /// What opening found.
    #[must_use]
    pub fn recovery_report(&self) -> &RecoveryReport {
        &self.report
    }

    /// The configuration it was opened with.
    #[must_use]
    pub fn config(&self) -> &FasterLogConfig {
        &self.shared.config
    }

    /// First address that exists.
    #[must_use]
    pub fn begin_address(&self) -> Address {
        Address::from_low_bits(self.shared.begin())
    }

    /// Everything below this address is durable.
    #[must_use]
    pub fn committed_address(&self) -> Address {
        Address::from_low_bits(self.shared.progress.committed())
    }

    /// Where the next entry goes, if nobody else is faster.
    #[must_use]
    pub fn tail_address(&self) -> Address {
        Address::from_low_bits(self.shared.ring.tail())
    }

    /// The last durable commit.
    #[must_use]
    pub fn commit_info(&self) -> CommitInfo {
        self.shared.progress.info()
    }

    /// Makes everything that was appended before the call durable.
    ///
    /// # Durability
    /// When this returns `Ok`, all of it survives power loss, and so does everything below the returned address.
    ///
    /// # Errors
    /// The device's error, which leaves the entries in memory: a later commit tries again. `Poisoned` once a sync has failed, or a thread of
    /// the log has panicked; `Closed`.
    pub fn commit(&self) -> Result<CommitInfo, Error> {
        let (goal, failures) = self.shared.progress.request(self.shared.ring.tail(), None);
        self.shared.progress.wait(goal, failures)
    }

    /// [`commit`](Self::commit) with a cookie: bytes that the commit carries, and that every later one repeats until there is
    /// another. They come back with [`commit_info`](Self::commit_info), also after a restart.
    ///
    /// # Errors
    /// As `commit`; `InvalidInput` for a cookie of more than [`COOKIE_BYTES_MAX`] bytes.
    ///
    /// # Examples
    /// ```
    /// use oxifaster_device::NullDisk;
    /// use oxifaster_log::{FasterLog, FasterLogConfig};
    /// let log = FasterLog::open(FasterLogConfig::default(), NullDisk::new())?;
    /// log.append(b"up to offset 4711 of the source")?;
    /// log.commit_with_cookie(b"4711")?;
    /// log.append(b"more")?;
    /// log.commit()?; // carries it on
    /// assert_eq!(log.commit_info().cookie, b"4711");
    /// # Ok::<(), oxifaster_core::Error>(())
    /// ```
    pub fn commit_with_cookie(&self, cookie: &[u8]) -> Result<CommitInfo, Error> {
        if cookie.len() > COOKIE_BYTES_MAX || cookie.len() > self.shared.config.memory_bytes() / 16 {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                format!(
                    "a cookie of {} bytes: at most {COOKIE_BYTES_MAX}, and a sixteenth of the log's memory",
                    cookie.len()
                ),
            ));
        }
        let change = Change::Cookie(cookie.to_vec());
        let (goal, failures) = self.shared.progress.request(self.shared.ring.tail(), Some(change));
        self.shared.progress.wait(goal, failures)
    }

    /// [`commit`](Self::commit) as a future, which has asked for the commit when this returns.
    ///
    /// # Cancel safety
    /// Dropping the future does not take the request back.
    ///
    /// # Examples
    /// ```
    /// use oxifaster_device::NullDisk;
    /// use oxifaster_log::{FasterLog, FasterLogConfig};
    /// # pollster::block_on(async {
    /// let log = FasterLog::open(FasterLogConfig::default(), NullDisk::new())?;
    /// log.append(b"an event")?;
    /// let commit = log.commit_async(); // asked for
    /// log.append(b"not in it, or in it")?;
    /// assert!(commit.await?.entries >= 1);
    /// # Ok::<(), oxifaster_core::Error>(())
    /// # })?;
    /// # Ok::<(), oxifaster_core::Error>(())
    /// ```
    #[must_use = "the commit is durable when the future says so"]
    pub fn commit_async(&self) -> CommitFuture {
        let (goal, failures) = self.shared.progress.request(self.shared.ring.tail(), None);
        CommitFuture::new(Arc::clone(&self.shared), goal, failures)
    }

    /// Waits until the entry at `address` is durable. Asks for a commit if the log would not make one by itself.
    ///
    /// # Errors
    /// As [`commit`](Self::commit); `InvalidInput` when nothing was appended there.
    ///
    /// # Examples
    /// ```
    /// use oxifaster_device::NullDisk;
    /// use oxifaster_log::{FasterLog, FasterLogConfig};
    /// let log = FasterLog::open(FasterLogConfig::default(), NullDisk::new())?;
    /// let first = log.append(b"one")?;
    /// log.append(b"two")?;
    /// let commit = log.wait_for_commit(first)?;
    /// assert!(first < commit.until);
    /// # Ok::<(), oxifaster_core::Error>(())
    /// ```
    pub fn wait_for_commit(&self, address: Address) -> Result<CommitInfo, Error> {
        let until = self.end_of_wait(address)?;
        let (goal, failures) = self.shared.progress.request(until, None);
        self.shared.progress.wait(goal, failures)
    }

    /// [`wait_for_commit`](Self::wait_for_commit) as a future.
    ///
    /// # Errors
    /// `InvalidInput` when nothing was appended there.
    pub fn wait_for_commit_async(&self, address: Address) -> Result<CommitFuture, Error> {
        let until = self.end_of_wait(address)?;
        let (goal, failures) = self.shared.progress.request(until, None);
        Ok(CommitFuture::new(Arc::clone(&self.shared), goal, failures))
    }

    fn end_of_wait(&self, address: Address) -> Result<u64, Error> {
        if address.words() >= self.shared.ring.tail() {
            let message = format!(
                "nothing was appended yet where a commit is waited for; the tail is {}",
                self.tail_address()
            );
            return Err(Error::new(ErrorKind::InvalidInput, message).with_address(address));
        }
        Ok(address.words() + 1)
    }

    /// Appends an entry and makes it durable. Many threads share commits.
    ///
    /// # Durability
    /// As [`commit`](Self::commit).
    ///
    /// # Errors
    /// As [`append`](Self::append) and [`commit`](Self::commit). After an error of the commit the entry may be in the log or not.
    ///
    /// # Examples
    /// ```
    /// use oxifaster_device::NullDisk;
    /// use oxifaster_log::{FasterLog, FasterLogConfig};
    /// let log = FasterLog::open(FasterLogConfig::default(), NullDisk::new())?;
    /// let address = log.append_and_commit(b"an event")?;
    /// assert!(address < log.committed_address());
    /// # Ok::<(), oxifaster_core::Error>(())
    /// ```
    pub fn append_and_commit(&self, entry: &[u8]) -> Result<Address, Error> {
        let address = self.append(entry)?;
        self.wait_for_commit(address)?;
        Ok(address)
    }

    /// Keeps `address` under a name, or forgets the name; the next commit makes it durable. Readers keep their place so.
    ///
    /// # Errors
    /// `InvalidInput` for a name of more than 64 bytes, or when there are too many.
    ///
    /// # Examples
    /// ```
    /// use oxifaster_device::NullDisk;
    /// use oxifaster_log::{FasterLog, FasterLogConfig};
    /// let log = FasterLog::open(FasterLogConfig::default(), NullDisk::new())?;
    /// log.append(b"one")?;
    /// let two = log.append(b"two")?;
    /// log.set_position("applied", Some(two))?; // everything below it is
    /// assert_eq!(log.position("applied"), None);
    /// log.commit()?;
    /// assert_eq!(log.position("applied"), Some(two));
    /// # Ok::<(), oxifaster_core::Error>(())
    /// ```
    pub fn set_position(&self, name: &str, address: Option<Address>) -> Result<(), Error> {
        self.shared.set_position(name, address)
    }

    /// The durable address under a name; an address that was truncated since is moved to the begin.
    #[must_use]
    pub fn position(&self, name: &str) -> Option<Address> {
        self.shared.position(name)
    }

    /// Commits, marks the log as ended cleanly, and stops its threads. Later appends and commits return a `Closed` error; what is
    /// in the log can still be read as long as the handle lives. Closing twice is fine.
    ///
    /// # Errors
    /// As [`commit`](Self::commit). The log is closed in any case. `Closed`, and nothing is done, in a copy of the process that a fork
    /// made.
    pub fn close(&self) -> Result<(), Error> {
        if !self.home.is_here() {
            return Err(Error::new(ErrorKind::Closed, "the log belongs to the process that opened it"));
        }
        let mut threads = self.exclusive.lock();
        if threads.closed {
            return Ok(());
        }
        threads.closed = true;
        let tail = self.shared.ring.seal();
        let (goal, failures) = self.shared.progress.request(tail, None);
        let committed = self.shared.progress.wait(goal, failures);
        self.shared.end(Error::new(ErrorKind::Closed, "the log was closed"));
        self.shared.progress.stop();
        for thread in threads.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the log panicked");
            }
        }
        committed?;
        self.end_cleanly()
    }

    fn end_cleanly(&self) -> Result<(), Error> {
        let standing = self.shared.progress.standing();
        let (clean, known, ours) = {
            let published = self.shared.facts.lock();
            let facts = &published.facts;
            (facts.clean, facts.known.number, facts.timeline == standing.timeline)
        };
        // A log that was found unclean and not written stays as it was found (docs/design/0007).
        let nothing_new = clean && known == standing.commit.number;
        if !self.shared.persistent || !ours || nothing_new {
            return Ok(());
        }
        self.shared.publish(2, |facts| facts.clean = true, |written| written)
    }

    /// Whether appends and commits are over.
    pub(crate) fn check_open(&self) -> Result<(), Error> {
        self.shared.progress.ended().map_or(Ok(()), Err)
    }

    /// Number of the entry at the begin, counted from 0 since the log was made.
    #[must_use]
    pub fn first_entry_number(&self) -> u64 {
        self.shared.progress.standing().begin_entry
    }
}

/// The life of one of the log's threads. When it ends before it should, by a panic, nobody may wait for it.
struct Life {
    log: Arc<Shared>,
    work: &'static str,
    /// It has not begun, or has ended as it should.
    fine: bool,
}

impl Life {
    fn of(log: &Arc<Shared>, work: &'static str) -> Self {
        Self { log: Arc::clone(log), work, fine: true }
    }

    fn live(mut self, run: impl FnOnce(&Arc<Shared>)) {
        self.fine = false;
        run(&self.log);
        self.fine = true;
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        if !self.fine {
            let message = format!("the {} thread of the log panicked", self.work);
            self.log.poison(Error::new(ErrorKind::Io, message));
        }
    }
}

impl Drop for FasterLog {
    fn drop(&mut self) {
        if !self.home.is_here() {
            // A copy of the process has none of the threads that a close would wait for.
            return;
        }
        if let Err(error) = self.close() {
            tracing::error!(%error, "a log was dropped and could not be closed");
        }
    }
}
