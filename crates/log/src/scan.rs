//! Reading entries: one by address, or many in order.
//!
//! A scan shows what was committed when it began. Each entry is verified; below the committed address one that does not verify is an
//! error, never an end.

use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use oxifaster_core::{Address, Error, ErrorKind};

use crate::faster_log::FasterLog;
use crate::shared::Shared;
use crate::standing::Standing;
use crate::walk::{Found, Step, Walk};
use crate::window::Window;

/// The content of an entry.
pub type Bytes = Vec<u8>;

/// Why a scan ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ScanEnd {
    /// The end of the range was reached; the log goes on.
    EndOfRange,
    /// Everything that was committed when the scan began was seen.
    EndOfLog,
    /// The same, and opening this log had cut off so many bytes there: appended, or half written, and never committed.
    TornTail {
        /// Bytes that were cut off.
        cut_off_bytes: u64,
    },
}

impl FasterLog {
    /// The entry at `address`, as [`append`](Self::append) returned it; committed or not. `None` below the begin, behind the tail, and
    /// where a suffix was cut off.
    ///
    /// # Errors
    /// `Corruption` when no entry verifies there: it is damaged, or `address` is not the address of one. I/O errors.
    pub fn read_entry(&self, address: Address) -> Result<Option<Bytes>, Error> {
        self.shared.read_entry(address.words())
    }

    /// The committed entries whose addresses lie in `range`. Where it begins an entry must begin, also when that one is excluded; below
    /// the begin of the log anything may be named.
    pub fn scan(&self, range: impl RangeBounds<Address>) -> LogScan {
        let torn = self.recovery_report().cut_off_bytes;
        let nothing_new = torn > 0 && self.shared.progress.committed() == self.recovered_until;
        self.shared.scan(range, nothing_new.then_some(torn))
    }

    /// All committed entries. Damage ends the iteration, is kept for [`finish`](ScanAll::finish), and logged if nobody asks.
    ///
    /// # Examples
    /// ```
    /// use oxifaster_device::NullDisk;
    /// use oxifaster_log::{FasterLog, FasterLogConfig};
    /// let log = FasterLog::open(FasterLogConfig::default(), NullDisk::new())?;
    /// log.append_batch(&["one", "two"])?;
    /// log.commit()?;
    /// let mut all = log.scan_all();
    /// assert_eq!(all.by_ref().map(|(_, entry)| entry.len()).sum::<usize>(), 6);
    /// all.finish()?; // an error, had damage ended it
    /// # Ok::<(), oxifaster_core::Error>(())
    /// ```
    pub fn scan_all(&self) -> ScanAll {
        ScanAll::new(self.scan(..))
    }
}

impl Shared {
    /// `torn`: bytes that opening has cut off at the end.
    pub(crate) fn scan(self: &Arc<Self>, range: impl RangeBounds<Address>, torn: Option<u64>) -> LogScan {
        // An entry is as long as it is: one that is left out has to be walked over.
        let (from, except) = match range.start_bound() {
            Bound::Included(address) => (address.words(), None),
            Bound::Excluded(address) => (address.words(), Some(address.words())),
            Bound::Unbounded => (0, None),
        };
        let until = match range.end_bound() {
            Bound::Included(address) => address.words() + 1,
            Bound::Excluded(address) => address.words(),
            Bound::Unbounded => u64::MAX,
        };
        let standing = self.progress.standing();
        let committed = standing.committed();
        let end = if until < committed {
            ScanEnd::EndOfRange
        } else {
            torn.map_or(ScanEnd::EndOfLog, |cut_off_bytes| ScanEnd::TornTail { cut_off_bytes })
        };
        let walk = self.walk(from.max(standing.begin), &standing);
        LogScan { log: Arc::clone(self), walk, except, until, end, failed: None }
    }

    /// A walk from `at` over what is committed.
    pub(crate) fn walk(self: &Arc<Self>, at: u64, standing: &Standing) -> Walk {
        self.walk_to(at, standing.committed(), standing)
    }

    /// A walk from `at` to `end`, under the time lines of `standing`.
    pub(crate) fn walk_to(self: &Arc<Self>, at: u64, end: u64, standing: &Standing) -> Walk {
        let window = Window::new(Arc::clone(&self.device), Some(Arc::clone(self)), at * 8, end * 8);
        Walk::new(window, Arc::clone(&standing.timeline), at, end)
    }

    pub(crate) fn read_entry(self: &Arc<Self>, address: u64) -> Result<Option<Bytes>, Error> {
        // The tail first: an entry is below it before its address is known to anybody.
        let tail = self.ring.tail();
        let standing = self.progress.standing();
        if address < standing.begin || address >= tail || standing.timeline.is_cut_off(address) {
            return Ok(None);
        }
        let committed = standing.committed();
        if address >= committed && self.follower.is_some() {
            return Ok(None);
        }
        let mut walk = self.walk_to(address, if address < committed { committed } else { tail }, &standing);
        match walk.step() {
            Ok(Step::Entry(found)) if found.is_user() => Ok(Some(walk.payload(found).to_vec())),
            Ok(Step::Broken) if address < committed => {
                let message = "no entry verifies here: it is damaged, or no entry begins at this address";
                let error = Error::new(ErrorKind::Corruption, message);
                self.unless_truncated(address, error.with_address(Address::from_low_bits(address)))
            }
            // Somebody is still copying it.
            Ok(Step::Entry(_) | Step::End | Step::Broken | Step::NotYet) => Ok(None),
            Err(error) => self.unless_truncated(address, error),
        }
    }

    /// What was truncated a moment ago is no error, but not there.
    fn unless_truncated(&self, address: u64, error: Error) -> Result<Option<Bytes>, Error> {
        let error = self.judged_walk(address, error);
        if address < self.begin() { Ok(None) } else { Err(error) }
    }
}

/// The entries of a range, in order.
///
/// # Examples
/// ```
/// use oxifaster_device::NullDisk;
/// use oxifaster_log::{FasterLog, FasterLogConfig, ScanEnd};
/// let log = FasterLog::open(FasterLogConfig::default(), NullDisk::new())?;
/// let first = log.append(b"one")?;
/// log.append(b"two")?;
/// log.commit()?;
/// let mut scan = log.scan(first..);
/// let (address, entry) = scan.next().expect("an entry")?;
/// assert_eq!((address, entry.as_slice()), (first, &b"one"[..]));
/// assert_eq!(scan.finish()?, ScanEnd::EndOfLog);
/// # Ok::<(), oxifaster_core::Error>(())
/// ```
#[derive(Debug)]
pub struct LogScan {
    log: Arc<Shared>,
    walk: Walk,
    /// The entry that the range begins behind.
    except: Option<u64>,
    until: u64,
    end: ScanEnd,
    failed: Option<Error>,
}

impl LogScan {
    /// The next entry without a copy of its own.
    ///
    /// # Errors
    /// `Corruption` when an entry does not verify; `InvalidInput` when it was truncated under the scan; I/O errors. The scan has ended then.
    ///
    /// # Examples
    /// ```
    /// use oxifaster_device::NullDisk;
    /// use oxifaster_log::{FasterLog, FasterLogConfig};
    /// let log = FasterLog::open(FasterLogConfig::default(), NullDisk::new())?;
    /// log.append_batch(&["one", "two"])?;
    /// log.commit()?;
    /// let (mut scan, mut bytes) = (log.scan(..), 0);
    /// while let Some((_, entry)) = scan.next_entry()? {
    ///     bytes += entry.len();
    /// }
    /// assert_eq!(bytes, 6);
    /// # Ok::<(), oxifaster_core::Error>(())
    /// ```
    pub fn next_entry(&mut self) -> Result<Option<(Address, &[u8])>, Error> {
        let found = self.next_found()?;
        Ok(found.map(|found| (Address::from_low_bits(found.address), self.walk.payload(found))))
    }

    fn next_found(&mut self) -> Result<Option<Found>, Error> {
        if let Some(error) = &self.failed {
            return Err(error.duplicate());
        }
        while self.walk.at() < self.until {
            match self.walk.step_committed() {
                Ok(Some(found)) if found.is_user() && self.except != Some(found.address) => {
                    return Ok(Some(found));
                }
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(error) => {
                    let error = self.log.judged_walk(self.walk.at(), error);
                    self.failed = Some(error.duplicate());
                    return Err(error);
                }
            }
        }
        Ok(None)
    }

    /// Where the scan stands: behind the entry that it returned last.
    #[must_use]
    pub fn position(&self) -> Address {
        Address::from_low_bits(self.walk.at())
    }

    /// Goes to the end of the range, verifying, and says why it ended.
    ///
    /// # Errors
    /// As [`next_entry`](Self::next_entry), also what ended the iteration before.
    pub fn finish(mut self) -> Result<ScanEnd, Error> {
        while self.next_found()?.is_some() {}
        Ok(self.end)
    }
}

impl Iterator for LogScan {
    type Item = Result<(Address, Bytes), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed.is_some() {
            return None;
        }
        match self.next_found() {
            Ok(found) => {
                let found = found?;
                Some(Ok((Address::from_low_bits(found.address), self.walk.payload(found).to_vec())))
            }
            Err(error) => Some(Err(error)),
        }
    }
}

/// All entries, as plain pairs.
#[derive(Debug)]
pub struct ScanAll {
    scan: Option<LogScan>,
}

impl ScanAll {
    pub(crate) fn new(scan: LogScan) -> Self {
        Self { scan: Some(scan) }
    }

    /// Goes to the end, verifying, and says why it ended.
    ///
    /// # Errors
    /// As [`LogScan::finish`].
    pub fn finish(mut self) -> Result<ScanEnd, Error> {
        self.scan.take().map_or(Ok(ScanEnd::EndOfLog), LogScan::finish)
    }
}

impl Iterator for ScanAll {
    type Item = (Address, Bytes);

    fn next(&mut self) -> Option<Self::Item> {
        self.scan.as_mut()?.next()?.ok()
    }
}

impl Drop for ScanAll {
    fn drop(&mut self) {
        if let Some(error) = self.scan.as_ref().and_then(|scan| scan.failed.as_ref()) {
            tracing::error!(%error, "a scan of a whole log ended early, and nobody asked why");
        }
    }
}
