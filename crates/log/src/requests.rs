//! What is asked of the log's threads, and what they answer: plain values that `progress` hands around.

use std::sync::Arc;
use std::time::Instant;

use oxifaster_core::Address;

use crate::facts::KnownCommit;

/// A commit that is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommitInfo {
    /// Its number, from 1; 0 when nothing was ever committed.
    pub number: u64,
    /// Everything below this address is durable.
    pub until: Address,
    /// Entries below it since the log was made.
    pub entries: u64,
    /// The last cookie that a commit was given.
    pub cookie: Vec<u8>,
}

/// What somebody wants to be durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Goal {
    /// Everything below this address.
    pub(crate) until: u64,
    /// All changes up to this ticket.
    pub(crate) ticket: u64,
}

impl Goal {
    pub(crate) fn join(&mut self, other: Goal) {
        self.until = self.until.max(other.until);
        self.ticket = self.ticket.max(other.ticket);
    }

    pub(crate) fn is_reached_by(self, done: Goal) -> bool {
        self.until <= done.until && self.ticket <= done.ticket
    }
}

/// Something that the next commit carries besides entries.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Cookie(Vec<u8>),
    Position(String, Option<u64>),
}

/// A commit on its way.
#[derive(Clone, Debug)]
pub(crate) struct Placed {
    pub(crate) commit: Arc<KnownCommit>,
    pub(crate) ticket: u64,
}

impl Placed {
    pub(crate) fn reaches(&self) -> Goal {
        Goal { until: self.commit.until, ticket: self.ticket }
    }
}

/// Until when the writer sleeps when it finds nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sleep {
    /// Until somebody asks for something.
    Long,
    /// The same, or until something is appended, or changed that a commit carries.
    Idle,
    /// Until this moment.
    Until(Instant),
    /// It does not: requests are on their way. The moment is that of the policy.
    Not(Option<Instant>),
}

/// What the writer finds to do.
#[derive(Debug, Default)]
pub(crate) struct Work {
    /// A commit is wanted, and may be placed.
    pub(crate) commit: bool,
    /// Appenders have come far, or wait for room.
    pub(crate) flush: bool,
    /// The deadline has passed.
    pub(crate) due: bool,
    /// Something came that an idle log has to commit in time.
    pub(crate) awake: bool,
    /// A request came behind a failure.
    pub(crate) retry: bool,
    /// Pass this address, and tell those who wait for entries.
    pub(crate) pass: Option<u64>,
    /// Cut the log here.
    pub(crate) cut: Option<Cut>,
    /// End.
    pub(crate) stop: bool,
}

impl Work {
    /// Whether there is anything at all.
    pub(crate) fn is_any(&self) -> bool {
        self.is_for_the_device() || self.awake || self.pass.is_some() || self.stop
    }

    /// Whether there is more to do than to look at memory.
    pub(crate) fn is_for_the_device(&self) -> bool {
        self.commit || self.flush || self.due || self.retry || self.cut.is_some()
    }
}

/// A suffix to be cut off.
#[derive(Clone, Debug)]
pub(crate) struct Cut {
    /// First address that goes.
    pub(crate) from: u64,
    /// Entries below it.
    pub(crate) entries: u64,
    /// The last commit below it: number and address.
    pub(crate) last_commit: Option<(u64, u64)>,
}
