//! Entries by number, and places between entries: by the links of the commits.
//!
//! Each commit record says how many entries lie below it, and links to the one before and to one much earlier. So a number, or an
//! address, is found with reads in the order of the logarithm squared of the number of commits, fewer when lookups before met the same
//! commits, and a walk over one commit's entries.

use std::sync::Arc;

use oxifaster_core::{Address, Error, ErrorKind};

use crate::commit_record::CommitRecord;
use crate::entry::EntryKind;
use crate::faster_log::FasterLog;
use crate::scan::Bytes;
use crate::shared::Shared;
use crate::standing::Standing;
use crate::walk::damaged;

/// What lookups need of a commit record, and where it lies.
#[derive(Clone, Copy, Debug)]
struct Known {
    address: u64,
    number: u64,
    entries: u64,
    previous: u64,
    earlier: u64,
}

/// Commits that lookups have met, by address. An address is never used twice, so what is here stays true; whether a commit still exists
/// is asked before.
#[derive(Debug, Default)]
pub(crate) struct CommitCache {
    slots: Vec<Option<Known>>,
}

/// log2 of the commits that are remembered: 48 KiB, once something was looked up.
const CACHE_BITS: u32 = 10;

impl CommitCache {
    fn place(address: u64) -> usize {
        // Fibonacci hashing: commits lie at all distances.
        usize::try_from(address.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - CACHE_BITS)).unwrap_or(0)
    }

    fn get(&self, address: u64) -> Option<Known> {
        self.slots.get(Self::place(address)).copied().flatten().filter(|known| known.address == address)
    }

    fn put(&mut self, known: Known) {
        if self.slots.is_empty() {
            self.slots = vec![None; 1 << CACHE_BITS];
        }
        if let Some(slot) = self.slots.get_mut(Self::place(known.address)) {
            *slot = Some(known);
        }
    }
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
    ///
    /// # Examples
    /// ```
    /// use oxifaster_device::NullDisk;
    /// use oxifaster_log::{FasterLog, FasterLogConfig};
    /// let log = FasterLog::open(FasterLogConfig::default(), NullDisk::new())?;
    /// let addresses = log.append_batch(&["one", "two"])?;
    /// log.commit()?;
    /// assert_eq!(log.address_of(1)?, Some(addresses[1]));
    /// assert_eq!(log.address_of(2)?, None);
    /// # Ok::<(), oxifaster_core::Error>(())
    /// ```
    pub fn address_of(&self, number: u64) -> Result<Option<Address>, Error> {
        self.shared.address_of(number)
    }

    /// The entry with this number. `None` as in [`address_of`](Self::address_of).
    ///
    /// # Errors
    /// As `address_of`.
    ///
    /// # Examples
    /// ```
    /// use oxifaster_device::NullDisk;
    /// use oxifaster_log::{FasterLog, FasterLogConfig};
    /// let log = FasterLog::open(FasterLogConfig::default(), NullDisk::new())?;
    /// log.append_batch(&["one", "two"])?;
    /// log.commit()?;
    /// assert_eq!(log.entry(1)?.as_deref(), Some(&b"two"[..]));
    /// # Ok::<(), oxifaster_core::Error>(())
    /// ```
    pub fn entry(&self, number: u64) -> Result<Option<Bytes>, Error> {
        self.shared.entry(number)
    }
}

impl Shared {
    pub(crate) fn address_of(self: &Arc<Self>, number: u64) -> Result<Option<Address>, Error> {
        self.search(|standing| self.address_in(standing, number))
    }

    fn address_in(self: &Arc<Self>, standing: &Standing, number: u64) -> Result<Option<Address>, Error> {
        if number < standing.begin_entry || number >= standing.commit.entries {
            return Ok(None);
        }
        let commit = self.last_commit(standing, |known| known.entries <= number)?;
        let (at, mut entries) =
            commit.map_or((standing.begin, standing.begin_entry), |commit| (commit.address, commit.entries));
        let mut walk = self.walk(at, standing);
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

    /// Searches what the log is now, and again when something that the search needed was truncated meanwhile.
    pub(crate) fn search<T>(&self, find: impl Fn(&Standing) -> Result<T, Error>) -> Result<T, Error> {
        let mut standing = self.progress.standing();
        loop {
            let error = match find(&standing) {
                Ok(found) => return Ok(found),
                Err(error) => error,
            };
            // Another process may have truncated it a moment ago.
            self.look_again();
            let now = self.progress.standing();
            if now.keeps_all_of(&standing) {
                return Err(error);
            }
            standing = now;
        }
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
        standing: &Standing,
        is_below: impl Fn(&Known) -> bool,
    ) -> Result<Option<Known>, Error> {
        let Some(&(_, mut address)) = standing.commit.links.0.last() else { return Ok(None) };
        loop {
            let Some(known) = self.commit_at(address, standing)? else { return Ok(None) };
            if is_below(&known) {
                return Ok(Some(known));
            }
            // Far back, as long as that is not too far.
            address = match self.commit_at(known.earlier, standing)? {
                Some(earlier) if !is_below(&earlier) => earlier.address,
                _ => known.previous,
            };
        }
    }

    fn commit_at(self: &Arc<Self>, address: u64, standing: &Standing) -> Result<Option<Known>, Error> {
        if address < standing.begin {
            return Ok(None);
        }
        if let Some(known) = self.commits.lock().get(address) {
            return Ok(Some(known));
        }
        let mut walk = self.walk(address, standing);
        match walk.step_committed()? {
            Some(found) if found.header.kind == EntryKind::Commit => {
                let CommitRecord { number, entries, previous, earlier, .. } =
                    CommitRecord::decode(walk.payload(found))?;
                if previous >= address || earlier >= address {
                    return Err(damaged(address).with_context("a commit links to what lies behind it"));
                }
                let known = Known { address, number, entries, previous, earlier };
                self.commits.lock().put(known);
                Ok(Some(known))
            }
            _ => Err(damaged(address).with_context("a commit links to something else")),
        }
    }

    /// What lies below `address`, which must be a place between two committed entries.
    pub(crate) fn locate(self: &Arc<Self>, address: u64) -> Result<Located, Error> {
        self.search(|standing| self.locate_in(standing, address))
    }

    fn locate_in(self: &Arc<Self>, standing: &Standing, address: u64) -> Result<Located, Error> {
        let commit = self.last_commit(standing, |known| known.address < address)?;
        let (at, mut entries) = commit
            .as_ref()
            .map_or((standing.begin, standing.begin_entry), |commit| (commit.address, commit.entries));
        let mut walk = self.walk(at, standing);
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
        let last_commit = commit.map(|commit| (commit.number, commit.address));
        Ok(Located { entries, last_commit })
    }
}
