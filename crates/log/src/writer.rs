//! The writing thread: walks over complete entries, places commits, writes blocks, releases memory.
//!
//! The only writer of blocks. One round:
//!
//! 1. Walk: from header to header, as far as entries are complete.
//! 2. When a commit is wanted: take the words for its record and padding at the tail; wait for the entries below, which are
//!    copies under way; fill in the record.
//! 3. Submit whole blocks below what was walked, each once ([`Outgoing`]). While they are on their way, the memory of those before is
//!    zeroed and the next entries are walked: a fast device would wait for both. A round may end with requests on their way.
//! 4. A commit whose blocks are all written goes to the syncer.
//!
//! Invariants:
//! 1. Below `walked` everything is complete, and the ring says so to readers before it gives up any of it. What is written ends at or
//!    before it, and memory is given up below what is written. All of them rise.
//! 2. Between the reservation of a commit's words and their publication nothing fails: a hole would stop the log for ever.
//! 3. A batch is covered by one commit as a whole: it is one reservation, and a commit record lies behind whole reservations.

use std::sync::Arc;
use std::time::Instant;

use oxifaster_core::sync::atomic::Ordering;
use oxifaster_core::sync::{canary, clock};
use oxifaster_core::{Error, ErrorKind};
use oxifaster_device::{BLOCK_WORDS, Wait};

use crate::commit_record::CommitRecord;
use crate::configuration::CommitPolicy;
use crate::entry::{EntryKind, Seed, entry_words};
use crate::facts::{KnownCommit, LogFacts};
use crate::frontier::Frontier;
use crate::outgoing::Outgoing;
use crate::requests::{Change, Cut, Goal, Placed, Sleep, Work};
use crate::ring::Refusal;
use crate::shared::{Shared, backoff};
use crate::transfer::REQUEST_BYTES;

/// The thread's own state.
#[derive(Debug)]
pub(crate) struct Writer {
    log: Arc<Shared>,
    /// How far entries are complete.
    front: Frontier,
    outgoing: Outgoing,
    /// What was written when memory was given up last.
    released: u64,
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
    /// A writer of a log that ends at `last`, for the thread that makes it.
    pub(crate) fn new(log: Arc<Shared>, last: Arc<KnownCommit>) -> Self {
        Self {
            front: Frontier { walked: last.until, entries: last.entries },
            outgoing: Outgoing::new(Arc::clone(&log.device), last.until),
            released: last.until,
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
                return self.stop();
            }
            if work.awake {
                // The interval begins with what came first.
                self.last_at = clock::now();
            }
            if let Some(address) = work.pass {
                self.front.pass(&self.log.ring, address);
                self.log.listeners.tell(&self.log.ring, &self.log.progress);
            }
            if let Err(error) = self.round(work) {
                tracing::warn!(%error, "writing a log failed; the next request tries again");
                self.release_written();
                self.log.progress.fail(error);
            }
        }
    }

    /// Nothing is on its way when the thread has ended.
    fn stop(&mut self) {
        if let Err(error) = self.outgoing.finish(&self.log.ring).map_err(|error| self.log.judged(error)) {
            tracing::warn!(%error, "writing a log failed when it was closed");
            self.log.progress.fail(error);
        }
    }

    /// How long it sleeps if nobody asks for anything: nothing wakes it for nothing.
    fn sleep(&self) -> Sleep {
        let mut until = None;
        if let CommitPolicy::Every(interval) = self.log.config.commit_policy {
            if self.outgoing.is_idle() && self.has_nothing_new() {
                return Sleep::Idle;
            }
            // A time that no clock reaches is no deadline.
            until = self.last_at.checked_add(interval);
        }
        if !self.outgoing.is_idle() {
            return Sleep::Not(until);
        }
        until.map_or(Sleep::Long, Sleep::Until)
    }

    /// Whether there is nothing for a policy to commit. Then the next append says that it is there.
    fn has_nothing_new(&self) -> bool {
        let nothing_new = |tail: u64| tail <= self.last.until && !self.log.progress.has_unplaced_changes();
        // The listening behind the looks, so that an append costs nothing more when the log is not idle.
        self.pending.is_none()
            && nothing_new(self.log.ring.tail())
            && nothing_new(self.log.listeners.listen_for_writer(&self.log.ring))
    }

    fn round(&mut self, work: Work) -> Result<(), Error> {
        if !work.is_for_the_device() {
            return self.go_on();
        }
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
            // Whoever asks again and again must not keep this thread from taking what has completed.
            self.reap(if self.outgoing.is_full() { Wait::ForOne } else { Wait::No })?;
            let least = if self.outgoing.is_idle() { BLOCK_WORDS as u64 } else { self.words_of_request() };
            self.write_blocks(least)?;
        }
        if let Some(cut) = work.cut {
            self.cut(&cut)?;
        }
        self.make_room();
        Ok(())
    }

    /// Nothing was asked for: waits for a request that is on its way, if there is one, and lets more follow it.
    fn go_on(&mut self) -> Result<(), Error> {
        if self.outgoing.is_idle() {
            return Ok(());
        }
        self.reap(Wait::ForOne)?;
        self.write_blocks(self.words_of_request())?;
        self.make_room();
        Ok(())
    }

    /// Zeroes and gives up what was written meanwhile, and says so.
    fn make_room(&mut self) {
        if self.release_written() {
            self.log.progress.blocks_written();
        }
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
                    let (walked, limit) = (self.front.walked, self.log.ring.limit());
                    self.write_blocks(BLOCK_WORDS as u64)?;
                    self.reap(Wait::ForOne)?;
                    self.release(words + self.log.alignment());
                    if limit < self.log.ring.limit() {
                        self.log.progress.blocks_written();
                    } else if walked == self.front.walked {
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
        if let Err(error) = self.write_until(until) {
            if self.outgoing.written() < until {
                return Err(error);
            }
            // What lies behind the commit is submitted again; if that fails, too, whoever wants it is told.
            tracing::warn!(%error, "writing a log failed behind a commit; it is tried again");
            self.log.progress.nudge();
        }
        if let Some(placed) = self.pending.take() {
            if self.log.persistent {
                self.log.progress.hand_over(placed);
            } else {
                // A commit found room: a failure before it is over.
                self.log.progress.blocks_written();
                self.log.progress.durable_now(placed, 1);
            }
        }
        Ok(())
    }

    /// Step 3 until everything below `end` is written. What lies behind it follows, as far as it is worth requests.
    fn write_until(&mut self, end: u64) -> Result<(), Error> {
        if !self.log.persistent {
            self.outgoing.skip_to(end);
            return Ok(());
        }
        while self.outgoing.written() < end {
            self.fill(end, true)?;
            self.front.advance(&self.log.ring);
            self.fill_requests(self.words_of_request(), true)?;
            self.reap(Wait::ForOne)?;
            if self.outgoing.written() < end {
                self.make_room();
            }
        }
        Ok(())
    }

    /// Step 3 for whole blocks that are complete, `least` words of them. Waits for nothing.
    fn write_blocks(&mut self, least: u64) -> Result<(), Error> {
        self.front.advance(&self.log.ring);
        if !self.log.persistent {
            self.outgoing.skip_to(self.front.walked);
            return Ok(());
        }
        self.fill_requests(least, false)
    }

    fn fill_requests(&mut self, least: u64, waits: bool) -> Result<(), Error> {
        let block = BLOCK_WORDS as u64;
        let end = self.front.walked / block * block;
        if end.saturating_sub(self.outgoing.submitted()) < least {
            return Ok(());
        }
        self.fill(end, waits)
    }

    /// Words that are worth a request while others are on their way.
    fn words_of_request(&self) -> u64 {
        REQUEST_BYTES.min(self.log.config.page_size as u64) / 8
    }

    fn fill(&mut self, end: u64, waits: bool) -> Result<(), Error> {
        if self.outgoing.submitted() < end {
            self.begin_writing()?;
        }
        if canary::armed("log_release_unwritten") {
            self.log.ring.release(self.front.walked);
        }
        let outcome = self.outgoing.fill(&self.log.ring, end, waits);
        outcome.map_err(|error| self.log.judged(error))
    }

    fn reap(&mut self, wait: Wait) -> Result<(), Error> {
        let outcome = self.outgoing.reap(&self.log.ring, wait);
        outcome.map_err(|error| self.log.judged(error))
    }

    /// Gives up what was written since the last time; says whether anything was. The memory of a log without a device is all that
    /// there is of it.
    fn release_written(&mut self) -> bool {
        let anything = self.log.persistent && self.released < self.outgoing.written();
        if anything {
            self.release(0);
        }
        anything
    }

    /// Keeps half of the memory free, and what is written readable in the other half; more is free when `words` are wanted.
    fn release(&mut self, words: u64) {
        self.released = self.outgoing.written();
        let capacity = self.log.ring.capacity();
        let free = (capacity / 2 + 2 * BLOCK_WORDS as u64).max(words);
        let wanted = (self.log.ring.tail() + free).saturating_sub(capacity);
        self.log.ring.release(wanted.min(self.released));
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
