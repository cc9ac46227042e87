//! The writing thread: walks over complete entries, places commits, writes blocks, releases memory.
//!
//! The only writer of blocks. One round:
//!
//! 1. Walk: from header to header, as far as entries are complete.
//! 2. When a commit is wanted: take the words for its record and padding at the tail; wait for the entries below, which are
//!    copies under way; fill in the record.
//! 3. Write whole blocks below what was walked, each once. A batch at a time; all of its requests are reaped before its memory is
//!    released or anything is handed on. While it is on its way, the memory of the batch before is zeroed and the next entries are
//!    walked: a fast device would wait for both.
//! 4. A commit whose blocks are all written goes to the syncer.
//!
//! Invariants:
//! 1. Below `walked` everything is complete, and the ring says so to readers before it gives up any of it. `written <= walked`, both rise.
//! 2. Between the reservation of a commit's words and their publication nothing fails: a hole would stop the log for ever.
//! 3. A batch is covered by one commit as a whole: it is one reservation, and a commit record lies behind whole reservations.

use std::sync::Arc;
use std::time::Instant;

use oxifaster_core::sync::atomic::Ordering;
use oxifaster_core::sync::{canary, clock};
use oxifaster_core::{Error, ErrorKind};
use oxifaster_device::{BLOCK_WORDS, IoBuffer};

use crate::commit_record::CommitRecord;
use crate::configuration::CommitPolicy;
use crate::entry::{EntryKind, Seed, entry_words};
use crate::facts::{KnownCommit, LogFacts};
use crate::frontier::Frontier;
use crate::requests::{Change, Cut, Goal, Placed, Sleep, Work};
use crate::ring::Refusal;
use crate::shared::{Shared, backoff};
use crate::transfer::{REQUEST_BYTES, write_all};

/// Words of a batch at most.
const BATCH_WORDS: u64 = 8 * REQUEST_BYTES / 8;

/// The thread's own state.
#[derive(Debug)]
pub(crate) struct Writer {
    log: Arc<Shared>,
    /// How far entries are complete.
    front: Frontier,
    written: u64,
    /// Words below `written` may be given up since the last time.
    unreleased: bool,
    /// The last commit that was placed.
    last: Arc<KnownCommit>,
    last_at: Instant,
    /// It is placed and not yet handed over.
    pending: Option<Placed>,
    /// Taken for the next commit.
    changes: Vec<Change>,
    /// The metadata say that the log is being written.
    begun: bool,
}

impl Writer {
    /// A writer of a log that ends at `last`.
    pub(crate) fn new(log: Arc<Shared>, last: Arc<KnownCommit>) -> Self {
        Self {
            front: Frontier { walked: last.until, entries: last.entries },
            written: last.until,
            unreleased: false,
            last,
            last_at: clock::now(),
            pending: None,
            changes: Vec::new(),
            begun: false,
            log,
        }
    }

    /// The thread's life.
    pub(crate) fn run(mut self) {
        loop {
            let sleep = self.sleep();
            let work = self.log.progress.wait_for_work(sleep);
            if work.stop {
                return;
            }
            if work.awake {
                // The interval begins with what came first.
                self.last_at = clock::now();
            }
            if let Some(address) = work.pass {
                self.front.pass(&self.log.ring, address);
                self.log.listeners.tell(&self.log.ring, &self.log.progress);
            }
            if !work.is_for_the_device() {
                continue;
            }
            if let Err(error) = self.round(work) {
                tracing::warn!(%error, "writing a log failed; the next request tries again");
                self.release_written();
                self.log.progress.fail(error);
            }
        }
    }

    /// How long it sleeps if nobody asks for anything: nothing wakes it for nothing.
    fn sleep(&self) -> Sleep {
        let CommitPolicy::Every(interval) = self.log.config.commit_policy else { return Sleep::Long };
        let progress = &self.log.progress;
        let nothing_new = |tail: u64| tail <= self.last.until && !progress.has_unplaced_changes();
        // The listening behind the look, so that an append costs nothing more when the log is not idle.
        let idle = nothing_new(self.log.ring.tail())
            && nothing_new(self.log.listeners.listen_for_writer(&self.log.ring));
        if idle {
            return Sleep::Idle;
        }
        // A time that no clock reaches is no deadline.
        self.last_at.checked_add(interval).map_or(Sleep::Long, Sleep::Until)
    }

    fn round(&mut self, work: Work) -> Result<(), Error> {
        if work.due {
            self.last_at = clock::now();
        }
        self.finish_pending()?;
        let wanted = self.policy_wants(&work);
        let by_policy = wanted && self.log.progress.may_place();
        if wanted && !by_policy {
            // Nobody says so again: what woke this thread is used up.
            self.log.progress.want(self.log.ring.tail());
        }
        if work.commit || by_policy {
            self.place()?;
            self.finish_pending()?;
        } else {
            self.front.advance(&self.log.ring);
            self.write_blocks()?;
        }
        if let Some(cut) = work.cut {
            self.cut(&cut)?;
        }
        self.end_round();
        Ok(())
    }

    /// Words are zeroed while the next blocks are written, or now when there are none to speak of: a device need not wait for that.
    fn end_round(&mut self) {
        if !self.log.persistent {
            return;
        }
        let go_on = self.front.walked - self.written >= (self.log.config.page_size / 8) as u64;
        if go_on {
            self.log.progress.nudge();
        } else {
            self.release_written();
        }
        self.log.progress.blocks_written();
    }

    fn policy_wants(&self, work: &Work) -> bool {
        let appended_bytes = self.log.ring.tail().saturating_sub(self.last.until) * 8;
        match self.log.config.commit_policy {
            CommitPolicy::OnDemand => false,
            CommitPolicy::Every(_) => {
                work.due && (appended_bytes > 0 || self.log.progress.has_unplaced_changes())
            }
            CommitPolicy::EveryBytes(bytes) => appended_bytes >= bytes,
        }
    }

    /// Step 2.
    fn place(&mut self) -> Result<(), Error> {
        let ticket = self.log.progress.take_changes(&mut self.changes);
        let mut next = KnownCommit::clone(&self.last);
        next.number += 1;
        for change in &self.changes {
            match change {
                Change::Cookie(cookie) => next.cookie.clone_from(cookie),
                Change::Position(name, Some(address)) => drop(next.positions.insert(name.clone(), *address)),
                Change::Position(name, None) => drop(next.positions.remove(name)),
            }
        }
        let (previous, earlier) = self.last.links.of_next(next.number);
        let durable = self.log.progress.committed();
        let mut record = CommitRecord {
            number: next.number,
            entries: 0,
            durable,
            previous,
            earlier,
            cookie: next.cookie.clone(),
            positions: next.positions.clone(),
        };
        let payload_bytes = record.encode().len();
        let place = self.reserve(entry_words(payload_bytes))?;

        // Nothing fails from here on (invariant 2).
        self.changes.clear();
        if !canary::armed("log_commit_over_open_append") {
            self.front.pass(&self.log.ring, place.start);
        }
        record.entries = self.front.entries;
        next.entries = self.front.entries;
        next.until = place.end;
        next.links.push(next.number, place.start);
        let seed = self.log.seed();
        let end_of_record = self.put(seed, place.start, EntryKind::Commit, &record.encode());
        if end_of_record < place.end {
            let zeros = usize::try_from((place.end - end_of_record - 1) * 8).unwrap_or(0);
            self.put(seed, end_of_record, EntryKind::Padding, &vec![0; zeros]);
        }
        self.front.walked = place.end;
        self.log.ring.completed(place.end);
        self.last = Arc::new(next);
        self.last_at = clock::now();
        let placed = Placed { commit: Arc::clone(&self.last), ticket };
        self.log.progress.placed(&placed);
        self.pending = Some(placed);
        Ok(())
    }

    /// Words at the tail for a commit; makes room first if it must.
    fn reserve(&mut self, words: u64) -> Result<std::ops::Range<u64>, Error> {
        let mut rounds = 0;
        loop {
            match self.log.ring.reserve_aligned(words, self.log.alignment()) {
                Ok(place) => return Ok(place),
                Err(Refusal::Sealed | Refusal::Full) if !self.log.persistent => {
                    return Err(memory_full());
                }
                Err(Refusal::Sealed | Refusal::Full) => {
                    let tail = self.log.ring.tail();
                    if tail + words + self.log.alignment() > self.log.address_end {
                        return Err(addresses_used_up(self.log.address_end));
                    }
                    let walked = self.front.advance(&self.log.ring);
                    let before = self.log.ring.limit();
                    self.write_blocks()?;
                    self.release(self.written, words + self.log.alignment());
                    self.log.progress.blocks_written();
                    if !walked && before == self.log.ring.limit() {
                        backoff(&mut rounds);
                    }
                }
            }
        }
    }

    fn put(&self, seed: Seed, at: u64, kind: EntryKind, payload: &[u8]) -> u64 {
        let header = seed.store(at, kind, payload, self.log.ring.room_for(at, payload.len()));
        self.log.ring.publish(at, header.encode());
        at + header.words()
    }

    /// Steps 3 and 4 for the commit that was placed.
    fn finish_pending(&mut self) -> Result<(), Error> {
        let Some(until) = self.pending.as_ref().map(|placed| placed.commit.until) else { return Ok(()) };
        self.write_until(until)?;
        if let Some(placed) = self.pending.take() {
            if self.log.persistent {
                self.log.progress.hand_over(placed);
            } else {
                self.log.progress.durable_now(placed, 1);
            }
        }
        Ok(())
    }

    /// Step 3 for whole blocks that are complete.
    fn write_blocks(&mut self) -> Result<(), Error> {
        let block = BLOCK_WORDS as u64;
        let end = if self.log.persistent { self.front.walked / block * block } else { self.front.walked };
        self.write_until(end)
    }

    fn write_until(&mut self, end: u64) -> Result<(), Error> {
        if !self.log.persistent {
            self.written = self.written.max(end);
            return Ok(());
        }
        if self.written < end {
            self.begin_writing()?;
        }
        while self.written < end {
            let batch_end = end.min(self.written + BATCH_WORDS);
            if canary::armed("log_release_unwritten") {
                self.release(self.front.walked, 0);
            }
            let device = Arc::clone(&self.log.device);
            let requests = self.requests(batch_end)?;
            let outcome = write_all(device.as_ref(), &requests, || self.meanwhile());
            match outcome {
                Err(error) if canary::armed("log_ignore_write_error") => drop(error),
                outcome => outcome.map_err(|error| self.log.judged(error))?,
            }
            self.written = batch_end;
            self.unreleased = true;
        }
        Ok(())
    }

    /// What is done while a batch is on its way, so that the next one finds the device idle for a moment only.
    fn meanwhile(&mut self) {
        if self.unreleased {
            self.release_written();
            self.log.progress.blocks_written();
        }
        self.front.advance(&self.log.ring);
    }

    fn release_written(&mut self) {
        if self.unreleased {
            self.release(self.written, 0);
            self.unreleased = false;
        }
    }

    /// The blocks from `written` to `end` as requests on the ring's memory.
    fn requests(&self, end: u64) -> Result<Vec<(u64, IoBuffer)>, Error> {
        let mut requests = Vec::new();
        let mut start = self.written;
        while start < end {
            let piece_end = end.min(self.log.ring.end_of_piece(start)).min(start + REQUEST_BYTES / 8);
            let (memory, words) = self.log.ring.memory_of(start..piece_end);
            requests.push((start * 8, IoBuffer::new(memory, words)?));
            start = piece_end;
        }
        Ok(requests)
    }

    /// Keeps half of the memory free, and what is written readable in the other half; more is free when `words` are wanted. Nothing from
    /// `written` on is given up.
    fn release(&self, written: u64, words: u64) {
        let capacity = self.log.ring.capacity();
        let free = (capacity / 2 + 2 * BLOCK_WORDS as u64).max(words);
        let wanted = (self.log.ring.tail() + free).saturating_sub(capacity);
        self.log.ring.release(wanted.min(written));
    }

    /// Before the first block since the log was opened: it does not end cleanly any more, and what lies behind its end belongs to a
    /// time line that is over.
    fn begin_writing(&mut self) -> Result<(), Error> {
        if self.begun {
            return Ok(());
        }
        let timeline = Arc::clone(&self.log.progress.standing().timeline);
        let change = |facts: &mut LogFacts| {
            facts.clean = false;
            if !canary::armed("log_keep_incarnation") {
                facts.timeline = timeline;
            }
        };
        self.log.publish(2, change, |written| written)?;
        self.begun = true;
        Ok(())
    }

    /// Drops everything from `cut.from` on, durably; the ring is sealed. The log goes on at the end of a last commit, so that no
    /// address and no block is used twice.
    fn cut(&mut self, cut: &Cut) -> Result<(), Error> {
        if self.log.ring.tail() > self.last.until {
            self.place()?;
            self.finish_pending()?;
        }
        let start = self.last.until;
        self.log.progress.wait_until_durable(Goal { until: start, ticket: 0 })?;
        let before = Arc::clone(&self.log.progress.standing().timeline);
        let after = Arc::new(before.with_cut(cut.from, start));
        let mut known = KnownCommit { entries: cut.entries, ..KnownCommit::clone(&self.last) };
        known.links.cut(cut.from, cut.last_commit);
        for position in known.positions.values_mut() {
            *position = (*position).min(cut.from);
        }
        let known = Arc::new(known);
        let change = |facts: &mut LogFacts| {
            facts.known = Arc::clone(&known);
            facts.timeline = Arc::clone(&after);
        };
        let install = |written: Result<(), Error>| match written {
            Ok(()) => {
                self.log.progress.cut_made(Arc::clone(&known), Arc::clone(&after));
                Ok(())
            }
            Err(error) => {
                // The new time line may be on the device or not: only opening it again tells.
                self.log.poison(error.duplicate());
                Err(error)
            }
        };
        self.log.publish(if self.log.persistent { 2 } else { 1 }, change, install)?;
        if !canary::armed("log_keep_incarnation") {
            // Before the ring is unsealed, by whoever waits for the cut.
            self.log.seed.store(after.seed_at(start).0, Ordering::Relaxed);
        }
        self.front.entries = cut.entries;
        self.last = known;
        self.log.progress.cut_done();
        Ok(())
    }
}

pub(crate) fn memory_full() -> Error {
    Error::new(
        ErrorKind::OutOfMemory,
        "the memory of a log without a device is full: truncate it, or configure more",
    )
}

pub(crate) fn addresses_used_up(end: u64) -> Error {
    Error::new(ErrorKind::OutOfSpace, format!("the device holds no more than {end:#x} words of log"))
}
