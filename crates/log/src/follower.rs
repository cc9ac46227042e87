//! Looking what another process has committed (`docs/design/0011-log-readers.md`).
//!
//! Callers: the reader's thread, and calls that want to know it now; one at a time, under a lock. It reads, and writes nothing.
//!
//! ```text
//!            known commit of the slot                tip                  at
//!   ---------------|---- whole commits -------------|---- entries -------|  does not verify: not written yet
//!                        waiting: verified, and nobody has said that they are durable
//! ```
//!
//! One look:
//!
//! 1. Walk from `at` over what verifies. A commit whose padding is there is the new tip, and waits.
//! 2. Look whether the metadata slots changed, *behind* the walk; if so, take them in and walk again. So nothing is shown of a time
//!    line that was over when the look began.
//! 3. Show waiting commits that a later commit record, or the slot, knows to be durable. One that nobody speaks of for
//!    [`SYNC_AFTER`] is synced from here: its writer is gone.
//!
//! Invariants, watched by the judge `log-follow` and `tests/readers.rs`:
//! 1. What is shown is durable, and a prefix of what every later open finds, unless a suffix is truncated.
//! 2. The committed address only rises.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use oxifaster_core::sync::{canary, clock, thread};
use oxifaster_core::{Address, Error, ErrorKind};
use oxifaster_device::{ContentKind, DeviceErrorKind, Loaded, MetadataArea};

use crate::commit_record::CommitRecord;
use crate::entry::EntryKind;
use crate::facts::{KnownCommit, LogFacts};
use crate::recovery::{commit_of, refuse_if_durable, refuse_if_short};
use crate::requests::Placed;
use crate::shared::Shared;
use crate::timeline::Timeline;
use crate::transfer::{AnyDevice, sync};
use crate::walk::{Step, Walk, damaged};
use crate::window::Window;

/// Twice as long as a writer lets its log lie idle before it says in the slot what is durable.
const SYNC_AFTER: Duration = Duration::from_secs(1);
/// Words that one walk goes at most.
const WALK_WORDS: u64 = (64 << 20) / 8;
/// Walks of one look, and looks of an open, at most.
const ROUNDS_MAX: usize = 16;
/// Attempts to read slots that are being written.
const SLOT_ATTEMPTS: u64 = 20;

/// See the module header.
#[derive(Debug)]
pub(crate) struct Follower {
    device: AnyDevice,
    /// What [`MetadataArea::peek`] said before the slots were read last.
    peeked: [u64; 2],
    generation: u64,
    facts: LogFacts,
    timeline: Arc<Timeline>,
    /// The last whole commit.
    tip: Arc<KnownCommit>,
    /// When it was found.
    tip_since: Instant,
    /// Whole commits, rising, the tip being the last; empty when it was shown.
    waiting: VecDeque<Arc<KnownCommit>>,
    /// Behind the last entry that verifies, or in front of a commit that is not whole.
    at: u64,
    /// Entries below `at`.
    entries: u64,
    /// Somebody who knows it has written that everything below is durable.
    durable: u64,
}

impl Follower {
    /// Reads the slots of a log that exists.
    pub(crate) fn new(device: AnyDevice) -> Result<(Self, MetadataArea), Error> {
        let peeked = MetadataArea::peek(device.as_ref())?;
        let Some((area, loaded)) = read_slots(&device, 0)? else {
            let message = format!("there is no log on {}", device.describe());
            return Err(Error::new(ErrorKind::InvalidInput, message));
        };
        let facts = LogFacts::decode(&loaded.payload)?;
        let known = Arc::clone(&facts.known);
        let follower = Self {
            device,
            peeked,
            generation: loaded.generation,
            timeline: Arc::clone(&facts.timeline),
            facts,
            tip_since: clock::now(),
            waiting: VecDeque::new(),
            at: known.until,
            entries: known.entries,
            durable: known.until,
            tip: known,
        };
        Ok((follower, area))
    }

    pub(crate) fn facts(&self) -> &LogFacts {
        &self.facts
    }

    /// Looks until the end is found, makes what is there durable, and refuses a log whose end is damaged.
    pub(crate) fn look_first(&mut self, shared: &Shared) -> Result<(), Error> {
        for _ in 0..ROUNDS_MAX {
            let before = self.at;
            self.look(shared)?;
            // (New metadata may have moved it back.)
            if self.at.saturating_sub(before) < WALK_WORDS {
                break;
            }
        }
        self.refuse_damage(shared)?;
        self.sync_waiting();
        self.show(shared);
        Ok(())
    }

    /// One look.
    pub(crate) fn look(&mut self, shared: &Shared) -> Result<(), Error> {
        for _ in 0..ROUNDS_MAX {
            let walked = self.walk();
            if !self.take_slots(shared)? {
                walked?;
                break;
            }
        }
        if !self.waiting.is_empty() && self.tip_since.elapsed() >= SYNC_AFTER {
            self.sync_waiting();
        }
        self.show(shared);
        Ok(())
    }

    /// Step 1.
    fn walk(&mut self) -> Result<(), Error> {
        let limit = self.at.saturating_add(WALK_WORDS).min(Address::MAX.words());
        // An entry may be longer than what is left of the limit.
        let window = Window::growing(Arc::clone(&self.device), self.at * 8, Address::MAX.words() * 8);
        let mut walk = Walk::new(window, Arc::clone(&self.timeline), self.at, Address::MAX.words());
        let mut entries = self.entries;
        let mut candidate: Option<KnownCommit> = None;
        while walk.at() < limit {
            let Step::Entry(found) = walk.step()? else { break };
            match found.header.kind {
                EntryKind::User => entries += 1,
                EntryKind::Padding => {}
                EntryKind::Commit => {
                    let record = CommitRecord::decode(walk.payload(found))?;
                    if record.number != self.tip.number + 1 || record.entries != entries {
                        return Err(
                            damaged(found.address).with_context("a commit contradicts the one before")
                        );
                    }
                    self.durable = self.durable.max(record.durable);
                    candidate = Some(commit_of(&self.tip, found, record));
                }
            }
            if let Some(commit) = candidate.take_if(|commit| commit.until <= walk.at()) {
                let commit = Arc::new(commit);
                self.tip = Arc::clone(&commit);
                self.tip_since = clock::now();
                self.waiting.push_back(commit);
            }
            if candidate.is_none() {
                (self.at, self.entries) = (walk.at(), entries);
            }
        }
        Ok(())
    }

    /// Step 2. Says whether there was anything new.
    fn take_slots(&mut self, shared: &Shared) -> Result<bool, Error> {
        let peeked = MetadataArea::peek(self.device.as_ref())?;
        if peeked == self.peeked || canary::armed("log_follow_old_slots") {
            return Ok(false);
        }
        let gone =
            || Error::new(ErrorKind::IncompatibleFormat, "another log was made in the place of this one");
        let (_, loaded) = read_slots(&self.device, self.generation)?.ok_or_else(gone)?;
        let facts = LogFacts::decode(&loaded.payload)?;
        if facts.timeline.log_id() != self.facts.timeline.log_id() {
            return Err(gone());
        }
        self.peeked = peeked;
        self.generation = loaded.generation;
        self.take(facts, shared);
        Ok(true)
    }

    fn take(&mut self, facts: LogFacts, shared: &Shared) {
        let known = Arc::clone(&facts.known);
        let other_line = facts.timeline.rows().last() != self.facts.timeline.rows().last();
        self.timeline = Arc::clone(&facts.timeline);
        self.durable = self.durable.max(known.until);
        if other_line || known.until > self.tip.until {
            self.tip = known;
            self.waiting.clear();
        }
        // Whatever lies behind the last whole commit may be of another life of the writer now.
        (self.at, self.entries) = (self.tip.until, self.tip.entries);
        shared.progress.follow(&facts, Arc::clone(&self.timeline), other_line);
        self.facts = facts;
    }

    /// Makes durable what a killed writer has left written.
    fn sync_waiting(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        match sync(self.device.as_ref()) {
            Ok(()) => self.durable = self.durable.max(self.tip.until),
            Err(error) => {
                // Then somebody else has to: the writer, or the next one.
                tracing::debug!(%error, device = %self.device.describe(), "the last commit of a log is not known to be durable");
                self.tip_since = clock::now();
            }
        }
    }

    /// Step 3.
    fn show(&mut self, shared: &Shared) {
        let mut shown = None;
        while let Some(commit) = self.waiting.pop_front_if(|commit| {
            commit.until <= self.durable || canary::armed("log_follow_unsynced_commit")
        }) {
            shown = Some(commit);
        }
        if let Some(commit) = shown.filter(|commit| commit.until > shared.progress.committed()) {
            shared.progress.durable_now(Placed { commit, ticket: 0 }, 0);
        }
    }

    /// A commit record behind the end found that knew more to be durable is a witness of damage, unless the writer has gone on
    /// meanwhile.
    fn refuse_damage(&mut self, shared: &Shared) -> Result<(), Error> {
        for _ in 0..ROUNDS_MAX {
            let (at, generation) = (self.at, self.generation);
            if let Err(damage) = refuse_if_short(&self.device, &self.facts) {
                self.look(shared)?;
                if self.generation == generation {
                    return Err(damage);
                }
                continue;
            }
            let end = self.device.space_use()?.end_offset / 8;
            if at >= end || self.facts.clean {
                return Ok(());
            }
            let from = self.tip.until;
            let window = Window::growing(Arc::clone(&self.device), from * 8, end * 8);
            let Err(damage) = refuse_if_durable(window, &self.timeline, from..end, at) else { return Ok(()) };
            self.look(shared)?;
            if (self.at, self.generation) == (at, generation) {
                return Err(damage);
            }
        }
        Ok(())
    }
}

/// Both slots, of which one or the other may be written just now: not less than generation `at_least`.
fn read_slots(device: &AnyDevice, at_least: u64) -> Result<Option<(MetadataArea, Loaded)>, Error> {
    for attempt in 1.. {
        let last = attempt >= SLOT_ATTEMPTS;
        match MetadataArea::open(device.as_ref(), ContentKind::FasterLog) {
            Ok((area, Some(loaded))) if loaded.generation >= at_least => return Ok(Some((area, loaded))),
            Ok((_, None)) if at_least == 0 || last => break,
            Ok(_) if last => {
                let message = "the metadata of the log are older than they were: it was replaced by a copy";
                return Err(Error::new(ErrorKind::IncompatibleFormat, message));
            }
            Err(error) if last || error.kind() != DeviceErrorKind::Corrupt => return Err(error.into()),
            _ => thread::sleep(Duration::from_millis(attempt)),
        }
    }
    Ok(None)
}
