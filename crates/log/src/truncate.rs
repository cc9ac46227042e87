//! Truncation at both ends.

use std::sync::Arc;

use oxifaster_core::{Address, Error, ErrorKind};
use oxifaster_device::BLOCK_BYTES;

use crate::facts::LogFacts;
use crate::faster_log::FasterLog;
use crate::requests::Cut;

impl FasterLog {
    /// Forgets all entries below `address`, and gives their space back as far as the device can: whole segments, or blocks.
    ///
    /// # Durability
    /// The new begin survives power loss when this returns `Ok`.
    ///
    /// # Errors
    /// `InvalidInput` when `address` is not committed, or no entry begins there; the device's errors. After an error from giving back space
    /// the entries are gone all the same.
    ///
    /// # Examples
    /// ```
    /// use oxifaster_device::NullDisk;
    /// use oxifaster_log::{FasterLog, FasterLogConfig};
    /// let log = FasterLog::open(FasterLogConfig::default(), NullDisk::new())?;
    /// let addresses = log.append_batch(&["done", "to do"])?;
    /// log.commit()?;
    /// log.truncate_before(addresses[1])?;
    /// assert_eq!(log.begin_address(), addresses[1]);
    /// assert_eq!(log.read_entry(addresses[0])?, None);
    /// assert_eq!(log.first_entry_number(), 1);
    /// # Ok::<(), oxifaster_core::Error>(())
    /// ```
    pub fn truncate_before(&self, address: Address) -> Result<(), Error> {
        let _exclusive = self.exclusive.lock();
        self.check_open()?;
        let shared = &self.shared;
        let to = address.words();
        if to <= shared.begin() {
            return Ok(());
        }
        if to > shared.progress.committed() {
            let message = format!(
                "only committed entries can be truncated; the committed address is {}",
                self.committed_address()
            );
            return Err(Error::new(ErrorKind::InvalidInput, message).with_address(address));
        }
        let located = shared.locate(to)?;
        let timeline = Arc::new(shared.progress.standing().timeline.without_before(to));
        let change = |facts: &mut LogFacts| {
            (facts.begin, facts.begin_entry) = (to, located.entries);
            facts.timeline = Arc::new(facts.timeline.without_before(to));
        };
        let install = |written: Result<(), Error>| {
            written.map(|()| shared.progress.begin_moved(to, located.entries, timeline))
        };
        shared.publish(2, change, install)?;
        if shared.persistent {
            let block = BLOCK_BYTES as u64;
            shared.device.truncate_before(to * 8 / block * block)?;
        } else {
            shared.ring.release(to);
        }
        shared.progress.room_made();
        Ok(())
    }

    /// Drops the entry at `address` and everything behind it, committed or not: what a consensus log needs. Everything that was appended
    /// before is committed on the way; appends from other threads wait while the log is cut. Addresses that were dropped are never used
    /// again.
    ///
    /// A log remembers each stretch between two cuts that still has entries, 1,499 cuts at most; what
    /// [`truncate_before`](Self::truncate_before) or a deeper cut drops need not be remembered.
    ///
    /// # Durability
    /// When this returns `Ok`, what was dropped never comes back, whatever happens.
    ///
    /// # Errors
    /// `InvalidInput` when no entry begins there; `OutOfSpace` when there are too many stretches to remember; the device's errors; nothing
    /// was dropped then. `Poisoned` when it is unknown whether it was.
    ///
    /// # Examples
    /// ```
    /// use oxifaster_device::NullDisk;
    /// use oxifaster_log::{FasterLog, FasterLogConfig};
    /// let log = FasterLog::open(FasterLogConfig::default(), NullDisk::new())?;
    /// log.append(b"agreed on")?;
    /// let refused = log.append(b"of a leader that lost")?;
    /// log.truncate_suffix(refused)?;
    /// let instead = log.append(b"of its successor")?;
    /// log.commit()?;
    /// assert!(instead > refused, "no address is used twice");
    /// assert_eq!(log.entry(1)?.as_deref(), Some(&b"of its successor"[..]));
    /// # Ok::<(), oxifaster_core::Error>(())
    /// ```
    pub fn truncate_suffix(&self, address: Address) -> Result<(), Error> {
        let _exclusive = self.exclusive.lock();
        self.check_open()?;
        let shared = &self.shared;
        let (from, tail) = (address.words(), shared.ring.tail());
        self.check_cut(from, tail).map_err(|error| error.with_address(address))?;
        let (goal, failures) = shared.progress.request(tail, None);
        shared.progress.wait(goal, failures)?;
        if from >= tail {
            return Ok(());
        }
        // Appends go on meanwhile: this may read much of a log.
        let located = shared.locate(from)?;
        let cut = Cut { from, entries: located.entries, last_commit: located.last_commit };
        let tail = shared.ring.seal();
        let (goal, failures) = shared.progress.request(tail, None);
        let outcome = shared.progress.wait(goal, failures).and_then(|_| shared.progress.cut(cut));
        shared.unseal();
        shared.progress.room_made();
        outcome
    }

    /// Whether the log can be cut at `from`, asked before anything is changed. Nobody else cuts meanwhile.
    fn check_cut(&self, from: u64, tail: u64) -> Result<(), Error> {
        let standing = self.shared.progress.standing();
        if from < standing.begin || from > tail {
            let message = format!("the log lies from {} to {}", self.begin_address(), self.tail_address());
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        if standing.timeline.is_cut_off(from) {
            return Err(Error::new(ErrorKind::InvalidInput, "this address was cut off before"));
        }
        if from < tail && !standing.timeline.has_room_for_cut(from) {
            let message = format!(
                "the log has {} stretches between cuts, and can't remember more: truncate its front first",
                standing.timeline.rows().len()
            );
            return Err(Error::new(ErrorKind::OutOfSpace, message));
        }
        Ok(())
    }
}
