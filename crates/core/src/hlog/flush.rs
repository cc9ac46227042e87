//! Durability: consistent points, the start of a time line, closing.
//!
//! Called by the store. The order of a flush (`docs/format/page.md`): align the tail, make everything below it
//! read-only, wait until it is written, sync the device, write the metadata slot durably. Only then is the new tail
//! consistent, and only then does the caller hear of success.

use std::sync::Arc;
use std::time::Duration;

use oxifaster_device::local::with_local_queue;
use oxifaster_device::sync::atomic::{Ordering, fence};
use oxifaster_device::sync::canary;
use oxifaster_device::{Completion, DeviceError, IoOperation, IoQueue, IoRequest, Wait};

use super::checksum::BlockIdentity;
use super::hybrid_log::{HybridLog, LogState, backoff};
use super::maintenance::Goal;
use super::metadata::{LogMetadata, OpenPage, OwnerFacts};
use crate::address::Address;
use crate::error::{Error, ErrorKind};

/// How long a flush sleeps before it looks again by itself.
const WAIT_SLICE: Duration = Duration::from_millis(20);

impl HybridLog {
    /// Makes everything that was completed before the call durable, and the log up to the returned address its new
    /// consistent point. Call it without a guard.
    ///
    /// # Durability
    /// When this returns `Ok`, all of it survives power loss. On an error the last consistent point stands.
    ///
    /// # Errors
    /// The device's error; `Poisoned` once a sync has failed; `Closed`.
    pub fn flush(&self) -> Result<Address, Error> {
        let _flushing = self.flushing.lock();
        // Behind the lock: the flush before this one may have met a sync that failed.
        if self.state() != LogState::Open {
            return Err(self.state_error());
        }
        self.flush_exclusive(false)
    }

    /// Refuses all later operations, waits for those under way, flushes, marks the log as ended cleanly, and stops the
    /// maintenance thread. Closing twice is fine.
    ///
    /// # Errors
    /// As [`flush`](Self::flush). After a failed sync the log is closed all the same; after any other error (a full device) it
    /// is open as before, and may be flushed or closed again. Operations that come while a close is under way are refused
    /// in either case. `Closed`, and nothing is done, in a copy of the process that a fork made.
    pub fn close(&self) -> Result<(), Error> {
        if !self.is_at_home() {
            return Err(Error::new(ErrorKind::Closed, "the store belongs to the process that opened it"));
        }
        let _flushing = self.flushing.lock();
        match self.state() {
            LogState::Closed => return Ok(()),
            LogState::Poisoned => {
                let error = self.state_error();
                self.set_state(LogState::Closed);
                self.stop_maintenance();
                return Err(error);
            }
            LogState::Open => {}
        }
        self.set_state(LogState::Closed);
        self.drain_guards();
        let flushed = self.flush_exclusive(true);
        if flushed.is_err() && !self.has_failed_sync() {
            self.set_state(LogState::Open);
            // SeqCst pairs with the fence in `poison`: either it sees an open log, or its failed sync is seen here.
            fence(Ordering::SeqCst);
            if self.has_failed_sync() {
                self.poison();
            }
        } else {
            self.stop_maintenance();
        }
        flushed.map(|_| ())
    }

    /// Closes without a flush: what was acknowledged since the last consistent point is not part of the log. For owners that
    /// go away although [`close`](Self::close) failed.
    pub fn abandon(&self) {
        if !self.is_at_home() {
            return;
        }
        let _flushing = self.flushing.lock();
        self.set_state(LogState::Closed);
        self.drain_guards();
        self.stop_maintenance();
    }

    fn flush_exclusive(&self, closing: bool) -> Result<Address, Error> {
        if !self.persistent {
            return Ok(self.ring.tail());
        }
        let (target, checksums) = loop {
            let target = self.ring.align_tail();
            {
                let mut durable = self.durable.lock();
                // A tail at the very start of a page is behind its checksum blocks once the log was opened again.
                let layout = self.layout();
                let nothing_new =
                    layout.usable_from(durable.metadata.consistent_tail) == layout.usable_from(target);
                if nothing_new && (!closing || durable.metadata.clean || !durable.writing) {
                    // The point may be one that was read at open and never synced by who wrote it. A store that is only
                    // looked at writes nothing.
                    if !closing {
                        durable
                            .area
                            .confirm(self.device.as_ref())
                            .map_err(|error| self.slot_failed(error))?;
                    }
                    return Ok(target);
                }
            }
            if let Some(checksums) = self.write_until(target)? {
                break (target, checksums);
            }
        };
        self.sync_blocks()?;
        self.publish(|metadata| {
            metadata.consistent_tail = target;
            metadata.open_page = OpenPage { page: metadata.layout().page_of(target), checksums };
            metadata.clean = false;
        })?;
        if closing {
            // A second slot with the same tail: rot of either one leaves the other, and loses nothing.
            if let Err(error) = self.publish(|metadata| metadata.clean = true) {
                // The slot may be on the device and valid all the same, and the log is open again.
                self.begin_again.store(true, Ordering::Release);
                return Err(error);
            }
            self.durable.lock().writing = false;
        }
        Ok(target)
    }

    /// Waits until everything below `target`, the aligned tail, is written; returns the checksums of its page, or `None`
    /// when that page is in memory no more: then the tail is far ahead, and the flush aims again.
    fn write_until(&self, target: Address) -> Result<Option<Vec<u32>>, Error> {
        let errors_before = {
            let mut progress = self.progress.lock();
            progress.goal = Some(Goal { address: target, checksums: None, missed: false });
            progress.retry = true;
            progress.errors_seen
        };
        self.ring.shift_read_only(target);
        let mut rounds = 0;
        while self.ring.complete_shifts() < target {
            backoff(&mut rounds);
        }
        self.wake_maintenance();
        let mut progress = self.progress.lock();
        loop {
            if (progress.errors_seen != errors_before || progress.ended)
                && let Some(error) = &progress.write_error
            {
                let error = error.duplicate();
                progress.goal = None;
                return Err(error);
            }
            if self.ring.flushed_until() >= target
                && let Some(checksums) = progress.goal.as_mut().and_then(|goal| goal.checksums.take())
            {
                progress.goal = None;
                return Ok(Some(checksums));
            }
            if progress.goal.as_ref().is_some_and(|goal| goal.missed) {
                progress.goal = None;
                return Ok(None);
            }
            if progress.ended {
                progress.goal = None;
                return Err(Error::new(ErrorKind::Closed, "the thread that writes the log was stopped"));
            }
            progress = self.progress_made.wait_timeout(progress, WAIT_SLICE).0;
            self.work_arrived.notify_one();
        }
    }

    fn sync_blocks(&self) -> Result<(), Error> {
        if canary::armed("skip_flush_sync") {
            return Ok(());
        }
        let synced = with_local_queue(self.device.as_ref(), |queue| sync_through(queue));
        self.counters.syncs.fetch_add(1, Ordering::Relaxed);
        match synced.and_then(|synced| synced) {
            Ok(()) => Ok(()),
            Err(error) if canary::armed("ignore_sync_error") => {
                drop(error);
                Ok(())
            }
            Err(error) => {
                self.poison();
                let error = Error::from(error);
                self.report_write_error(error.duplicate());
                Err(error)
            }
        }
    }

    /// Changes the metadata durably; on an error nothing has changed here.
    fn publish(&self, change: impl FnOnce(&mut LogMetadata)) -> Result<(), Error> {
        let mut durable = self.durable.lock();
        let mut metadata = durable.metadata.clone();
        change(&mut metadata);
        let payload = metadata.encode();
        match durable.area.write_next(self.device.as_ref(), &payload) {
            Ok(_) => {
                durable.metadata = metadata;
                Ok(())
            }
            Err(error) => Err(self.slot_failed(error)),
        }
    }

    /// The error of a metadata write. One that failed at its sync is as final as a failed sync of the blocks.
    fn slot_failed(&self, error: DeviceError) -> Error {
        if error.is_failed_sync() {
            self.poison();
        }
        error.into()
    }

    /// Records facts of the layer above durably (a larger index table).
    ///
    /// # Errors
    /// The device's error; the old facts stand then.
    pub fn set_owner_facts(&self, owner: OwnerFacts) -> Result<(), Error> {
        self.publish(|metadata| metadata.owner = owner)
    }

    /// Before the first block is written since the open, or since a close that failed and may have said that the log ends cleanly:
    /// it does not any more, and if it was cut (or may look so), a new time line starts. Maintenance thread only.
    pub(crate) fn begin_writing(&self) -> Result<Arc<BlockIdentity>, Error> {
        let (clean, begin, tail) = {
            let durable = self.durable.lock();
            (durable.metadata.clean, durable.metadata.begin, durable.metadata.consistent_tail)
        };
        let mut identity = self.identity.lock();
        let mut next = BlockIdentity::clone(&identity);
        next.forget_before(self.layout().start_of(self.layout().page_of(begin)).byte_offset());
        if !clean && !canary::armed("keep_incarnation") {
            if next.is_full() {
                self.cut_behind(tail)?;
            } else {
                next.start_incarnation(tail.byte_offset());
            }
        }
        self.publish(|metadata| {
            metadata.clean = false;
            metadata.incarnations = next.incarnations().to_vec();
        })?;
        self.durable.lock().writing = true;
        *identity = Arc::new(next);
        Ok(Arc::clone(&identity))
    }
}

impl HybridLog {
    /// Leaves nothing behind `tail` on the device, durably: then no block of an abandoned time line can be taken for one of
    /// the newest, and that one goes on.
    fn cut_behind(&self, tail: Address) -> Result<(), Error> {
        let cut = self.device.truncate_after(tail.byte_offset());
        cut.map_err(|error| {
            Error::from(error).with_context(
                "the log was left without being closed so often that what lies behind its end must be cut off, and that failed; what was flushed is untouched",
            )
        })?;
        self.sync_blocks()
    }
}

fn sync_through(queue: &mut dyn IoQueue) -> Result<(), DeviceError> {
    queue.submit(IoRequest { tag: 0, offset: 0, operation: IoOperation::Sync })?;
    let mut completions: Vec<Completion> = Vec::with_capacity(1);
    while completions.is_empty() {
        queue.reap(Wait::ForOne, &mut completions)?;
    }
    completions.into_iter().try_for_each(|completion| completion.result.map(|_| ()))
}

/// The error of a log that has no metadata for what was asked.
pub(crate) fn unexpected(what: &str) -> Error {
    Error::new(ErrorKind::Corruption, what.to_owned())
}
