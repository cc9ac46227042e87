//! Entries by number, and places between entries: by the links of the commits.
//!
//! Each commit record says how many entries lie below it, and links to the one before and to one much earlier. So a number, or an
//! address, is found with reads in the order of the logarithm squared of the number of commits, and a walk over one commit's entries.

use std::sync::Arc;

use oxifaster_core::sync::atomic::Ordering;
use oxifaster_core::{Address, Error, ErrorKind};

use crate::commit_record::CommitRecord;
use crate::entry::EntryKind;
use crate::faster_log::FasterLog;
use crate::scan::Bytes;
use crate::shared::Shared;
use crate::walk::damaged;

/// A commit record and where it lies.
#[derive(Debug)]
struct Known {
    address: u64,
    record: CommitRecord,
}

/// A place between two entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Located {
    /// Entries below it.
    pub(crate) entries: u64,
    /// The last commit below it: number and address.
    pub(crate) last_commit: Option<(u64, u64)>,
}

impl FasterLog {
    /// The address of the entry with this number, counted from 0 since the log was made. `None` when it was truncated or is not
    /// committed.
    ///
    /// # Errors
    /// `Corruption` when something on the way is damaged; I/O errors.
    pub fn address_of(&self, number: u64) -> Result<Option<Address>, Error> {
        self.shared.address_of(number)
    }

    /// The entry with this number. `None` as in [`address_of`](Self::address_of).
    ///
    /// # Errors
    /// As `address_of`.
    pub fn entry(&self, number: u64) -> Result<Option<Bytes>, Error> {
        self.shared.entry(number)
    }
}

impl Shared {
    /// Number of the entry at the begin.
    pub(crate) fn first_entry_number(&self) -> u64 {
        self.begin_entry.load(Ordering::Acquire)
    }

    pub(crate) fn address_of(self: &Arc<Self>, number: u64) -> Result<Option<Address>, Error> {
        let durable = self.progress.durable();
        if number < self.first_entry_number() || number >= durable.entries {
            return Ok(None);
        }
        let commit = self.last_commit(|_, record| record.entries <= number)?;
        let (mut at, mut entries) = self.begin_and_entry();
        if let Some(commit) = commit {
            (at, entries) = (commit.address, commit.record.entries);
        }
        let mut walk = self.walk(at, durable.until);
        while let Some(found) = walk.step_committed()? {
            if found.is_user() {
                if entries == number {
                    return Ok(Some(Address::from_low_bits(found.address)));
                }
                entries += 1;
            }
        }
        Err(damaged(walk.at()).with_context("the log ends before the entries that its last commit counts"))
    }

    pub(crate) fn entry(self: &Arc<Self>, number: u64) -> Result<Option<Bytes>, Error> {
        match self.address_of(number)? {
            Some(address) => self.read_entry(address.words()),
            None => Ok(None),
        }
    }

    /// The last durable commit of which `is_below` is true, which is true of all commits before it, too.
    fn last_commit(
        self: &Arc<Self>,
        is_below: impl Fn(u64, &CommitRecord) -> bool,
    ) -> Result<Option<Known>, Error> {
        let durable = self.progress.durable();
        let Some(&(_, mut address)) = durable.links.0.last() else { return Ok(None) };
        loop {
            let Some(known) = self.commit_at(address, durable.until)? else { return Ok(None) };
            if is_below(known.address, &known.record) {
                return Ok(Some(known));
            }
            // Far back, as long as that is not too far.
            address = match self.commit_at(known.record.earlier, durable.until)? {
                Some(earlier) if !is_below(earlier.address, &earlier.record) => earlier.address,
                _ => known.record.previous,
            };
        }
    }

    fn commit_at(self: &Arc<Self>, address: u64, end: u64) -> Result<Option<Known>, Error> {
        if address < self.begin() {
            return Ok(None);
        }
        let mut walk = self.walk(address, end);
        match walk.step_committed()? {
            Some(found) if found.header.kind == EntryKind::Commit => {
                let record = CommitRecord::decode(walk.payload(found))?;
                Ok(Some(Known { address, record }))
            }
            _ => Err(damaged(address).with_context("a commit links to something else")),
        }
    }

    /// What lies below `address`, which must be a place between two committed entries.
    pub(crate) fn locate(self: &Arc<Self>, address: u64) -> Result<Located, Error> {
        let committed = self.progress.committed();
        let commit = self.last_commit(|place, _| place < address)?;
        let (mut at, mut entries) = self.begin_and_entry();
        if let Some(commit) = &commit {
            (at, entries) = (commit.address, commit.record.entries);
        }
        let mut walk = self.walk(at, committed);
        while walk.at() < address {
            match walk.step_committed()? {
                Some(found) => entries += u64::from(found.is_user()),
                None => break,
            }
        }
        if walk.at() != address {
            let message = "no entry begins at this address, so the log can't be cut there";
            return Err(
                Error::new(ErrorKind::InvalidInput, message).with_address(Address::from_low_bits(address))
            );
        }
        let last_commit = commit.map(|commit| (commit.record.number, commit.address));
        Ok(Located { entries, last_commit })
    }
}
