//! Truncation at both ends.

use std::sync::Arc;

use oxifaster_core::{Address, Error, ErrorKind};
use oxifaster_device::BLOCK_BYTES;

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
        shared.publish(2, |facts| {
            facts.begin = to;
            facts.begin_entry = located.entries;
            facts.timeline = facts.timeline.without_before(to);
        })?;
        shared.set_begin(Arc::new(shared.timeline().without_before(to)), to, located.entries);
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
    /// before is committed on the way; appends from other threads wait meanwhile. Addresses that were dropped are never used again.
    ///
    /// # Durability
    /// When this returns `Ok`, what was dropped never comes back, whatever happens.
    ///
    /// # Errors
    /// `InvalidInput` when no entry begins there; the device's errors, with nothing dropped; `Poisoned` when it is unknown whether it was.
    pub fn truncate_suffix(&self, address: Address) -> Result<(), Error> {
        let _exclusive = self.exclusive.lock();
        self.check_open()?;
        let shared = &self.shared;
        if address.words() < shared.begin() || address.words() > shared.ring.tail() {
            let message = format!("the log lies from {} to {}", self.begin_address(), self.tail_address());
            return Err(Error::new(ErrorKind::InvalidInput, message).with_address(address));
        }
        let tail = shared.ring.seal();
        let outcome = self.cut_sealed(address.words(), tail);
        if shared.progress.ended().is_none() {
            shared.ring.unseal();
            // Poisoned in between: whoever did that sealed before it said so.
            if shared.progress.ended().is_some() {
                shared.ring.seal();
            }
        }
        shared.progress.room_made();
        outcome
    }

    fn cut_sealed(&self, from: u64, tail: u64) -> Result<(), Error> {
        let shared = &self.shared;
        if shared.timeline().is_cut_off(from) {
            let message = "this address was cut off before";
            return Err(
                Error::new(ErrorKind::InvalidInput, message).with_address(Address::from_low_bits(from))
            );
        }
        let (goal, failures) = shared.progress.request(tail, None);
        shared.progress.wait(goal, failures)?;
        if from >= tail {
            return Ok(());
        }
        let located = shared.locate(from)?;
        shared.progress.cut(Cut { from, entries: located.entries, last_commit: located.last_commit })
    }
}
