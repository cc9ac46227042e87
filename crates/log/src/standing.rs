//! What a log is at one moment: the facts that belong together, in one value that never changes.
//!
//! Held by [`progress`](crate::progress), under its lock; whoever needs two of these facts takes the whole value once
//! (`Progress::standing`) and asks it. (`docs/design/0008-log-commits.md`, "One value for what belongs together".)
//!
//! | what changes | who makes the new value | on the device before |
//! |---|---|---|
//! | `commit` | the syncer, when a commit is durable | the commit |
//! | `commit`, `timeline`, `cuts` | the writer, when a suffix was dropped | the metadata, under the lock of `Shared::facts` |
//! | `begin`, `begin_entry`, `timeline` | truncation of the front | the same |
//! | all | the follower, from a metadata slot | the slot |
//!
//! Invariant, watched by `model_metadata_against_cut`: metadata are made and written under the lock of `Shared::facts`, and the value that they brought about is in force before
//! that lock is let go. So nobody writes a part of one value beside a part of another.

use std::sync::Arc;

use oxifaster_core::sync::Mutex;
use oxifaster_core::{Error, ErrorKind};

use crate::facts::{KnownCommit, LogFacts};
use crate::mutation::{Mutation, planted};
use crate::progress::Progress;
use crate::timeline::Timeline;

/// See the module header.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    /// The last durable commit.
    pub(crate) commit: Arc<KnownCommit>,
    pub(crate) timeline: Arc<Timeline>,
    /// First address that exists.
    pub(crate) begin: u64,
    /// Number of the entry there.
    pub(crate) begin_entry: u64,
    /// How often a suffix was dropped since the log was opened here.
    pub(crate) cuts: u64,
}

impl Standing {
    /// What metadata say, under `timeline`: the one that will be written, when that is newer.
    pub(crate) fn new(facts: &LogFacts, timeline: Arc<Timeline>) -> Self {
        Self {
            commit: Arc::clone(&facts.known),
            timeline,
            begin: facts.begin,
            begin_entry: facts.begin_entry,
            cuts: 0,
        }
    }

    /// Everything below is durable.
    pub(crate) fn committed(&self) -> u64 {
        self.commit.until
    }

    /// Whether what `earlier` had is still there: neither end was truncated since.
    pub(crate) fn keeps_all_of(&self, earlier: &Self) -> bool {
        self.begin == earlier.begin && self.cuts == earlier.cuts
    }
}

/// Writes metadata, with the durable commit of now, and has `install` make of the log what was written, which is told whether it was:
/// all under the lock of the metadata.
pub(crate) fn publish<P>(
    published: &Mutex<P>,
    progress: &Progress,
    write: impl FnOnce(&mut P, &Arc<KnownCommit>) -> Result<(), Error>,
    install: impl FnOnce(Result<(), Error>) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut published = published.lock();
    if let Some(ended) = progress.ended().filter(|ended| ended.kind() == ErrorKind::Poisoned) {
        // A cut may be there by half.
        return Err(ended);
    }
    let written = write(&mut published, &progress.standing().commit);
    if planted(Mutation::InstalledBehindLock) {
        drop(published);
        return install(written);
    }
    install(written)
}

#[cfg(test)]
impl Standing {
    /// A log that ends with `commit` and was never cut.
    pub(crate) fn of_commit(commit: KnownCommit) -> Self {
        let row = crate::timeline::Incarnation { number: 1, start: 1, before_ends: 1 };
        let timeline = Arc::new(Timeline::new([0; 16], vec![row]));
        Self { commit: Arc::new(commit), timeline, begin: 1, begin_entry: 0, cuts: 0 }
    }
}
