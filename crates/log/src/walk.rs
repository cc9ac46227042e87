//! Walking from entry to entry, each one verified.
//!
//! Callers: recovery, scans, truncation, numbering, checks. The one place that decides whether bytes are an entry.

use std::sync::Arc;
use std::task::Waker;

use oxifaster_core::sync::canary;
use oxifaster_core::{Address, Error, ErrorKind};

use crate::entry::{EntryKind, Header, Seed};
use crate::timeline::Timeline;
use crate::window::{Cover, Window};

/// What lies at the walk's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// An entry that verifies. The walk stands behind it.
    Entry(Found),
    /// The end that the walk was given.
    End,
    /// Nothing that verifies. The walk stays.
    Broken,
    /// It is being read; whoever set a waker is woken. The walk stays.
    NotYet,
}

/// An entry that verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) address: u64,
    pub(crate) header: Header,
}

/// A place between two entries.
#[derive(Debug)]
pub(crate) struct Walk {
    window: Window,
    timeline: Arc<Timeline>,
    at: u64,
    end: u64,
    seed: Seed,
    /// Where the stretch of `at` ends, and where the log goes on.
    cut: Option<(u64, u64)>,
}

impl Walk {
    /// A walk over `[at, end)`.
    pub(crate) fn new(window: Window, timeline: Arc<Timeline>, at: u64, end: u64) -> Self {
        let at = timeline.skip_cuts(at);
        let (seed, cut) = (timeline.seed_at(at), timeline.next_cut(at));
        Self { window, timeline, at, end, seed, cut }
    }

    /// Where the walk stands; never in what was cut off.
    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    /// Lets the walk go on to a new end, under a newer table of time lines.
    pub(crate) fn extend(&mut self, end: u64, timeline: Arc<Timeline>) {
        self.window.set_limit(end.saturating_mul(8));
        self.end = end;
        self.timeline = timeline;
        self.enter_stretch(self.at);
    }

    /// Instead of waiting for the device, say [`Step::NotYet`] and wake; without a waker, wait.
    pub(crate) fn set_waker(&mut self, waker: Option<&Waker>) {
        self.window.set_waker(waker);
    }

    fn enter_stretch(&mut self, at: u64) {
        self.at = self.timeline.skip_cuts(at);
        self.seed = self.timeline.seed_at(self.at);
        self.cut = self.timeline.next_cut(self.at);
    }

    /// The next entry.
    pub(crate) fn step(&mut self) -> Result<Step, Error> {
        if self.at >= self.end {
            return Ok(Step::End);
        }
        match self.window.cover(self.at * 8, 8)? {
            Cover::Yes => {}
            Cover::No => return Ok(Step::Broken),
            Cover::NotYet => return Ok(Step::NotYet),
        }
        let word = self.window.get(self.at * 8, 8).try_into().map_or(0, u64::from_le_bytes);
        let Some(header) = Header::decode(word) else { return Ok(Step::Broken) };
        let fits = header.words() <= self.end.min(self.cut.map_or(u64::MAX, |(ends, _)| ends)) - self.at;
        if !fits {
            return Ok(Step::Broken);
        }
        match self.window.cover(self.at * 8, header.words() * 8)? {
            Cover::Yes => {}
            Cover::No => return Ok(Step::Broken),
            Cover::NotYet => return Ok(Step::NotYet),
        }
        let bytes = self.window.get(self.at * 8, header.words() * 8);
        if !self.seed.verifies(self.at, header, bytes) && !canary::armed("log_skip_entry_verification") {
            return Ok(Step::Broken);
        }
        let found = Found { address: self.at, header };
        self.at += header.words();
        if let Some((ends, start)) = self.cut
            && self.at >= ends
        {
            self.enter_stretch(start);
        }
        Ok(Step::Entry(found))
    }

    /// The same below a commit, where everything must verify.
    pub(crate) fn step_committed(&mut self) -> Result<Option<Found>, Error> {
        match self.step()? {
            Step::Entry(found) => Ok(Some(found)),
            // Without a waker nothing is left for later.
            Step::End | Step::NotYet => Ok(None),
            Step::Broken => Err(damaged(self.at)),
        }
    }

    /// The payload of the entry that was found last.
    pub(crate) fn payload(&self, found: Found) -> &[u8] {
        self.window.get((found.address + 1) * 8, found.header.payload_bytes as u64)
    }
}

/// The error of an entry below the committed address that does not verify.
#[cold]
pub(crate) fn damaged(address: u64) -> Error {
    Error::new(
        ErrorKind::Corruption,
        "the log is damaged below its committed address: no entry verifies here",
    )
    .with_address(Address::from_low_bits(address))
}

impl Found {
    pub(crate) fn is_user(&self) -> bool {
        self.header.kind == EntryKind::User
    }
}
