//! The maintenance thread: writes pages that became read-only, evicts pages that are durable, keeps frames ready.
//!
//! The only writer of log blocks, hence never two writes of one block in flight. One round:
//!
//! 1. Let `safe_read_only` follow finished shifts.
//! 2. Submit what lies between the last submission and `safe_read_only`, block checksums computed on the way.
//! 3. Give a waiting flush the checksums of its incomplete page (before step 5 could evict it).
//! 4. Reap completions; `flushed_until` follows over pages whose writes have all completed, in order.
//! 5. Shift `head` so that the planned number of frames is free; drain; zero the frames; wake the writers.
//!
//! A write that fails, or stays short for several rounds, is kept and reported; it is submitted again when a flush asks
//! or a pause has passed, so that a full disk heals when space returns. Pauses double from [`RETRY_AFTER`] to
//! [`RETRY_AFTER_MAX`] while nothing gets through, and only the first failure of a row is a warning. A queue that breaks is
//! replaced, with all it had counted as failed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use oxifaster_device::sync::atomic::Ordering;
use oxifaster_device::sync::{Condvar, Mutex, canary, clock, thread};
use oxifaster_device::{
    BLOCK_BYTES, BLOCK_WORDS, Completion, IoBuffer, IoOperation, IoQueue, IoRequest, QueueOptions, Wait,
};

use super::checksum::{BlockIdentity, packed_get, packed_index, packed_set};
use super::hybrid_log::HybridLog;
use super::page_layout::CHECKSUMS_PER_BLOCK;
use crate::address::Address;
use crate::epoch::Epoch;
use crate::error::{Error, ErrorKind};

/// Pause before a failed write is tried again by itself, the first time.
const RETRY_AFTER: Duration = Duration::from_millis(50);
/// And after many times.
const RETRY_AFTER_MAX: Duration = Duration::from_millis(1600);
/// Rounds in which a short write is submitted again at once.
const SHORT_WRITES_MAX: u32 = 8;
/// Largest single write.
const WRITE_BLOCKS_MAX: usize = 256;
/// Page writes in flight.
const PAGES_IN_FLIGHT_MAX: usize = 8;

/// What a flush waits for: everything below `address` written, and the checksums of its incomplete page.
#[derive(Debug)]
pub(crate) struct Goal {
    pub(crate) address: Address,
    pub(crate) checksums: Option<Vec<u32>>,
    /// The page was evicted before the goal was seen: its flush has to aim at the tail again.
    pub(crate) missed: bool,
}

/// Says that the maintenance thread has ended, however it ends: nobody must wait for it then.
struct EndNotice(Arc<HybridLog>);

impl Drop for EndNotice {
    fn drop(&mut self) {
        let mut progress = self.0.progress.lock();
        progress.ended = true;
        if !progress.stop && progress.write_error.is_none() {
            let message = "the thread that writes the log ended unexpectedly: close and reopen the store";
            progress.write_error = Some(Error::new(ErrorKind::Io, message));
        }
        self.0.progress_made.notify_all();
    }
}

/// A write request that has not completed.
#[derive(Debug)]
struct Part {
    tag: u64,
    offset: u64,
    buffer: IoBuffer,
    short_writes: u32,
    /// Failed, and waits to be submitted again.
    failed: bool,
}

/// The blocks of one page that were submitted together.
#[derive(Debug)]
struct PageWrite {
    page: u64,
    until: Address,
    complete_page: bool,
    parts: Vec<Part>,
}

struct Maintenance {
    log: Arc<HybridLog>,
    queue: Box<dyn IoQueue>,
    /// It does not give completions any more; the next try begins with another one.
    queue_broken: bool,
    identity: Option<Arc<BlockIdentity>>,
    submitted: Address,
    writes: VecDeque<PageWrite>,
    next_tag: u64,
    evicting: Option<(Address, Epoch)>,
    failed_at: Option<Instant>,
    /// Failures since the last write that got through.
    failures: u32,
    completions: Vec<Completion>,
}

impl HybridLog {
    /// Starts the maintenance thread of a log on a device. Returns when the thread has its queue: without one it could not
    /// even report errors, and whoever waits for a write would wait for ever.
    pub(crate) fn start_maintenance(self: &Arc<Self>) -> Result<(), Error> {
        let log = Arc::clone(self);
        let opened = Arc::new((Mutex::new(None), Condvar::new()));
        let tell = Arc::clone(&opened);
        let handle = thread::spawn("oxi-maintenance", move || {
            let _notice = EndNotice(Arc::clone(&log));
            let (queue, result) = match log.device.open_queue(QueueOptions::default()) {
                Ok(queue) => (Some(queue), Ok(())),
                Err(error) => (None, Err(error)),
            };
            *tell.0.lock() = Some(result);
            tell.1.notify_one();
            if let Some(queue) = queue {
                Maintenance::new(Arc::clone(&log), queue).run();
            }
        })
        .map_err(|error| Error::new(ErrorKind::Io, "starting the maintenance thread").with_source(error))?;
        let mut result = opened.0.lock();
        while result.is_none() {
            result = opened.1.wait(result);
        }
        if let Some(Err(error)) = result.take() {
            return Err(error.into());
        }
        *self.maintenance.lock() = Some(handle);
        Ok(())
    }

    /// Stops and joins the maintenance thread. What it has not written is not written.
    pub fn stop_maintenance(&self) {
        if !self.is_at_home() {
            return;
        }
        {
            let mut progress = self.progress.lock();
            progress.stop = true;
            self.work_arrived.notify_all();
        }
        let handle = self.maintenance.lock().take();
        if let Some(handle) = handle
            && handle.join().is_err()
        {
            tracing::error!("the maintenance thread panicked");
        }
    }

    pub(crate) fn report_write_error(&self, error: Error) {
        if error.kind() == ErrorKind::Poisoned {
            self.poison();
        }
        let mut progress = self.progress.lock();
        progress.errors_seen += 1;
        progress.write_error = Some(error);
        self.progress_made.notify_all();
    }
}

impl Maintenance {
    fn new(log: Arc<HybridLog>, queue: Box<dyn IoQueue>) -> Self {
        let submitted = log.ring.flushed_until();
        Self {
            log,
            queue,
            queue_broken: false,
            identity: None,
            submitted,
            writes: VecDeque::new(),
            next_tag: 0,
            evicting: None,
            failed_at: None,
            failures: 0,
            completions: Vec::new(),
        }
    }

    fn run(mut self) {
        while self.wait_for_work() {
            self.log.ring.complete_shifts();
            if let Err(error) = self.submit_writes() {
                self.fail(error);
            }
            self.serve_goal();
            if let Err(error) = self.reap() {
                self.fail(error);
            }
            self.evict();
        }
    }

    fn fail(&mut self, error: Error) {
        if self.failures == 0 {
            tracing::warn!(%error, "writing the log failed; it is tried again until it works");
        } else {
            tracing::debug!(%error, failures = self.failures, "writing the log failed again");
        }
        // Parts that fail together count once.
        if self.failed_at.is_none() {
            self.failures = self.failures.saturating_add(1);
        }
        self.failed_at = Some(clock::now());
        self.log.report_write_error(error);
    }

    /// The pause before the next try, after a failure.
    fn pause(&self) -> Option<Duration> {
        let doublings = self.failures.saturating_sub(1).min(16);
        self.failed_at.map(|_| RETRY_AFTER.saturating_mul(1 << doublings).min(RETRY_AFTER_MAX))
    }

    /// Takes another queue in place of one that is broken; what that had is to be written again.
    fn replace_queue(&mut self) -> Result<(), Error> {
        let queue = self.log.device.open_queue(QueueOptions::default())?;
        self.queue = queue;
        self.queue_broken = false;
        self.writes.iter_mut().flat_map(|write| &mut write.parts).for_each(|part| part.failed = true);
        Ok(())
    }

    /// Whether another round can move something without anybody's help.
    fn is_busy(&self) -> bool {
        self.evicting.is_some()
            || (self.queue.in_flight() > 0 && !self.queue_broken)
            || self.log.ring.safe_read_only() < self.log.ring.read_only()
            // More than may be in flight: all of that came back in one reap, and nobody calls for the rest.
            || (self.failed_at.is_none() && self.submitted < self.log.ring.safe_read_only())
    }

    /// Waits until there is work; false when it is time to stop.
    fn wait_for_work(&mut self) -> bool {
        let busy = self.is_busy();
        let log = Arc::clone(&self.log);
        let mut progress = log.progress.lock();
        if !busy && !progress.work && !progress.stop {
            progress = match self.pause() {
                Some(pause) => log.work_arrived.wait_timeout(progress, pause).0,
                None => log.work_arrived.wait(progress),
            };
        }
        progress.work = false;
        let pause = self.pause().unwrap_or_default();
        let due = self.failed_at.is_some_and(|failed_at| failed_at.elapsed() >= pause);
        let retry = std::mem::take(&mut progress.retry) || due;
        let stop = progress.stop;
        drop(progress);
        if retry && self.failed_at.is_some() {
            self.retry_failed();
        }
        if stop {
            return false;
        }
        if busy && self.queue.in_flight() == 0 {
            // Only guards are waited for: let their threads run.
            thread::yield_now();
        }
        true
    }

    fn submit_writes(&mut self) -> Result<(), Error> {
        if self.failed_at.is_some() || self.queue_broken {
            return Ok(());
        }
        let layout = self.log.layout();
        while self.writes.len() < PAGES_IN_FLIGHT_MAX && self.submitted < self.log.ring.safe_read_only() {
            if self.log.begin_again.swap(false, Ordering::AcqRel) {
                self.identity = None;
            }
            let identity = match &self.identity {
                Some(identity) => Arc::clone(identity),
                None => {
                    let identity = self.log.begin_writing()?;
                    self.identity = Some(Arc::clone(&identity));
                    identity
                }
            };
            let page = layout.page_of(self.submitted);
            let page_end = layout.start_of(page + 1);
            let until = self.log.ring.safe_read_only().min(page_end);
            self.seal_blocks(&identity, page, until);
            self.submit_page(page, until)?;
        }
        self.queue.kick()?;
        Ok(())
    }

    /// Computes the checksums of the data blocks from `submitted` to `until` into the frame's checksum blocks, and
    /// completes those when the page is complete.
    fn seal_blocks(&self, identity: &BlockIdentity, page: u64, until: Address) {
        let layout = self.log.layout();
        let start = layout.start_of(page);
        let Some(frame) = self.log.ring.memory().get(self.log.ring.frame_range(page)) else { return };
        let from_word = layout.offset_of(self.submitted).max(layout.first_word());
        let until_word = until.words() - start.words();
        let header_blocks = usize::try_from(layout.checksum_blocks()).unwrap_or(usize::MAX);
        for (number, block) in frame.chunks_exact(BLOCK_WORDS).enumerate() {
            let word = (number * BLOCK_WORDS) as u64;
            if word >= from_word && word < until_word {
                let offset = start.byte_offset() + (number * BLOCK_BYTES) as u64;
                packed_set(
                    frame,
                    packed_index(number - header_blocks),
                    identity.data_checksum(offset, block),
                );
            }
        }
        if until_word == layout.page_words() {
            let last_block = start.byte_offset() + layout.page_bytes() - BLOCK_BYTES as u64;
            for (number, block) in frame.chunks_exact(BLOCK_WORDS).take(header_blocks).enumerate() {
                let offset = start.byte_offset() + (number * BLOCK_BYTES) as u64;
                let bytes = super::checksum::block_bytes(block);
                let covered = bytes.get(..CHECKSUMS_PER_BLOCK * 4).unwrap_or_default();
                packed_set(block, CHECKSUMS_PER_BLOCK, identity.checksum(offset, last_block, covered));
            }
        }
    }

    fn submit_page(&mut self, page: u64, until: Address) -> Result<(), Error> {
        let layout = self.log.layout();
        let frame_start = self.log.ring.frame_range(page).start;
        let page_start = layout.start_of(page);
        let from = layout.offset_of(self.submitted).max(layout.first_word());
        let end = until.words() - page_start.words();
        let complete_page = end == layout.page_words();
        let mut spans = Vec::new();
        if complete_page && from == layout.first_word() {
            spans.push((0, end));
        } else {
            if end > from {
                spans.push((from, end));
            }
            if complete_page {
                spans.push((0, layout.first_word()));
            }
        }
        let mut parts = Vec::new();
        for (mut from, until) in spans {
            while from < until {
                let part_end = until.min(from + (WRITE_BLOCKS_MAX * BLOCK_WORDS) as u64);
                let range = frame_start + usize::try_from(from).unwrap_or(usize::MAX)
                    ..frame_start + usize::try_from(part_end).unwrap_or(usize::MAX);
                let buffer = IoBuffer::new(Arc::clone(self.log.ring.memory()), range)?;
                let offset = page_start.plus(from).byte_offset();
                parts.push(Part { tag: self.next_tag, offset, buffer, short_writes: 0, failed: false });
                self.next_tag += 1;
                from = part_end;
            }
        }
        // From here on the page counts as submitted, whatever the queue says: parts that it refuses are failed writes like
        // others. Submitting the page again would write blocks twice that are in flight.
        let mut refused = None;
        for part in &mut parts {
            if let Err(error) = self.queue.submit(part.request()) {
                part.failed = true;
                refused = Some(error);
            }
        }
        self.writes.push_back(PageWrite { page, until, complete_page, parts });
        self.submitted = until;
        refused.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Hands a flush the checksums of its incomplete page as soon as they are computed.
    fn serve_goal(&mut self) {
        let mut progress = self.log.progress.lock();
        let Some(goal) = &mut progress.goal else { return };
        if goal.checksums.is_some() || goal.missed || self.submitted < goal.address {
            return;
        }
        let layout = self.log.layout();
        let page = layout.page_of(goal.address);
        if page < layout.page_of(self.log.ring.safe_head()) {
            // Between the alignment of the tail and the goal others filled the whole ring.
            goal.missed = true;
            self.log.progress_made.notify_all();
            return;
        }
        let blocks = super::metadata::open_page_blocks(layout, goal.address);
        let frame = self.log.ring.memory().get(self.log.ring.frame_range(page)).unwrap_or_default();
        goal.checksums = Some((0..blocks).map(|block| packed_get(frame, packed_index(block))).collect());
        self.log.progress_made.notify_all();
    }

    fn reap(&mut self) -> Result<(), Error> {
        let wait =
            if self.queue.in_flight() > 0 && self.evicting.is_none() { Wait::ForOne } else { Wait::No };
        let mut completions = std::mem::take(&mut self.completions);
        let reaped = if self.queue_broken { Ok(0) } else { self.queue.reap(wait, &mut completions) };
        // Every completion is looked at, whatever the others say: a lost one would be waited for in vain.
        let mut failure = reaped.err().map(Error::from);
        self.queue_broken |= failure.is_some();
        for completion in completions.drain(..) {
            if let Err(error) = self.complete(completion) {
                failure.get_or_insert(error);
            }
        }
        self.completions = completions;
        self.advance_flushed();
        failure.map_or(Ok(()), Err)
    }

    fn complete(&mut self, completion: Completion) -> Result<(), Error> {
        let found = self.writes.iter_mut().find_map(|write| {
            let place = write.parts.iter().position(|part| part.tag == completion.tag)?;
            Some((write, place))
        });
        let Some((write, place)) = found else {
            return Err(Error::new(
                ErrorKind::Io,
                format!("the device completed an unknown write {}", completion.tag),
            ));
        };
        let Some(part) = write.parts.get_mut(place) else { return Ok(()) };
        match completion.result {
            Ok(bytes) if bytes == part.buffer.len_bytes() || canary::armed("ignore_short_write") => {
                self.log.counters.writes.fetch_add(1, Ordering::Relaxed);
                self.log.counters.bytes_written.fetch_add(bytes as u64, Ordering::Relaxed);
                self.failures = 0;
                write.parts.swap_remove(place);
            }
            Ok(_) if part.short_writes < SHORT_WRITES_MAX => {
                part.short_writes += 1;
                let request = part.request();
                if let Err(error) = self.queue.submit(request) {
                    part.failed = true;
                    return Err(error.into());
                }
            }
            Ok(bytes) => {
                part.failed = true;
                part.short_writes = 0;
                let error = Error::new(
                    ErrorKind::Io,
                    format!("the device keeps writing {bytes} of {} bytes", part.buffer.len_bytes()),
                );
                self.fail(error);
            }
            Err(error) if canary::armed("ignore_write_error") => {
                drop(error);
                write.parts.swap_remove(place);
            }
            Err(error) => {
                part.failed = true;
                self.fail(error.into());
            }
        }
        Ok(())
    }

    fn retry_failed(&mut self) {
        self.failed_at = None;
        if self.queue_broken
            && let Err(error) = self.replace_queue()
        {
            return self.fail(error);
        }
        let mut refused = None;
        for part in self.writes.iter_mut().flat_map(|write| write.parts.iter_mut()).filter(|part| part.failed)
        {
            match self.queue.submit(part.request()) {
                Ok(()) => part.failed = false,
                Err(error) => refused = Some(error),
            }
        }
        if let Some(error) = refused {
            self.fail(error.into());
        }
    }

    /// Lets `flushed_until` follow over page writes that are complete, in order.
    fn advance_flushed(&mut self) {
        let mut moved = false;
        while let Some(write) = self.writes.front()
            && write.parts.is_empty()
        {
            if write.complete_page {
                self.remember_checksums(write.page);
            }
            self.log.ring.set_flushed_until(write.until);
            self.writes.pop_front();
            moved = true;
        }
        if moved || self.is_settled() {
            let mut progress = self.log.progress.lock();
            if self.failed_at.is_none()
                && self.writes.iter().all(|write| write.parts.iter().all(|part| !part.failed))
            {
                progress.write_error = None;
            }
            if moved {
                self.log.progress_made.notify_all();
            }
        }
    }

    /// Everything that is to be written is written, and nothing fails: an error that is still told, of a queue that had nothing to
    /// do and was replaced, is over.
    fn is_settled(&self) -> bool {
        self.failed_at.is_none()
            && !self.log.has_failed_sync()
            && self.writes.is_empty()
            && self.submitted >= self.log.ring.safe_read_only()
    }

    fn remember_checksums(&self, page: u64) {
        let layout = self.log.layout();
        let frame = self.log.ring.memory().get(self.log.ring.frame_range(page)).unwrap_or_default();
        let data_blocks = usize::try_from(layout.blocks() - layout.checksum_blocks()).unwrap_or(0);
        let checksums = (0..data_blocks).map(|block| packed_get(frame, packed_index(block))).collect();
        self.log.checksums.insert(page, checksums);
    }

    fn evict(&mut self) {
        let ring = &self.log.ring;
        if let Some((head, epoch)) = self.evicting
            && (ring.epoch().is_safe(epoch) || canary::armed("skip_safe_head_drain"))
        {
            let pages = self.log.layout().page_of(head) - self.log.layout().page_of(ring.safe_head());
            ring.release_frames(head);
            self.log.counters.pages_evicted.fetch_add(pages, Ordering::Relaxed);
            self.evicting = None;
            let _progress = self.log.progress.lock();
            self.log.progress_made.notify_all();
        }
        if self.evicting.is_none() {
            let layout = self.log.layout();
            let tail_page = layout.page_of(ring.tail());
            let wanted = (tail_page + 1 + self.log.plan.free).saturating_sub(ring.frames());
            let target = layout.start_of(wanted.min(layout.page_of(ring.flushed_until())));
            self.evicting = ring.shift_head(target).map(|epoch| (target, epoch));
        }
    }
}

impl Part {
    fn request(&self) -> IoRequest {
        IoRequest { tag: self.tag, offset: self.offset, operation: IoOperation::Write(self.buffer.clone()) }
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
