//! What threads and cuts of a life wrote down, and what the log may therefore hold: the verdict of the judge of cuts.
//!
//! ```text
//!   from              before             after         addresses
//!    |-----------------|------------------|------- ..
//!        gone, surely       perhaps          there
//! ```
//!
//! A cut takes everything from `from` to where the log ended when appends were held; that lies between the tails before and after the
//! call. One that returned an error may have been made or not.

use std::collections::BTreeMap;

use oxifaster_core::Address;
use oxifaster_log::FasterLog;

use super::entries::Mark;

/// Entries with their addresses, in order.
pub type Shown = Vec<(Address, Mark)>;

/// A call that took entries away.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    /// First address that goes.
    pub from: Address,
    /// The tail before the call.
    pub before: Address,
    /// The tail after it; `None` when it returned an error.
    pub after: Option<Address>,
}

/// What one thread was told.
#[derive(Debug, Default)]
pub struct Notes {
    /// Its entries, in order.
    pub entries: Shown,
    /// So many of them were told to be durable.
    pub durable: usize,
    /// A lookup that was wrong.
    pub broken: Option<String>,
}

/// What a life was told.
#[derive(Debug, Default)]
pub struct Journal {
    /// By thread.
    pub notes: Vec<Notes>,
    /// In order.
    pub cuts: Vec<Cut>,
    /// Truncations of the front, in order: where to, and whether it is sure.
    pub fronts: Vec<(Address, bool)>,
    /// Cookies: durable, and asked for.
    pub cookie: (u64, u64),
    /// What the named iterator had completed when that was last told to be durable.
    pub completed: Option<Address>,
}

/// Whether an entry is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    There,
    Perhaps,
    Gone,
}

impl Journal {
    fn fate(&self, address: Address) -> Fate {
        let mut fate = Fate::There;
        for cut in self.cuts.iter().filter(|cut| cut.from <= address) {
            match cut.after {
                Some(_) if address < cut.before => return Fate::Gone,
                Some(after) if address >= after => {}
                _ => fate = Fate::Perhaps,
            }
        }
        fate
    }

    /// Compares a log with what it showed before this life, and with the life. Returns what it shows now.
    ///
    /// # Errors
    /// The broken promise.
    pub fn check(&self, log: &FasterLog, life: u64, before: &Shown) -> Result<Shown, String> {
        if let Some(message) = self.notes.iter().find_map(|notes| notes.broken.as_ref()) {
            return Err(message.clone());
        }
        let mut found = Shown::new();
        for entry in log.scan(..) {
            let (address, bytes) =
                entry.map_err(|error| format!("a scan after {} entries: {error:?}", found.len()))?;
            found.push((address, Mark::read(&bytes).map_err(|message| format!("at {address}: {message}"))?));
        }
        let begin = log.begin_address();
        let sure = self.fronts.iter().filter(|(_, sure)| *sure).map(|(to, _)| *to).max();
        if sure.is_some_and(|to| begin < to) {
            return Err(format!("the log begins at {begin}, and was truncated before {sure:?}"));
        }
        self.check_known(&found, begin, before)?;
        self.check_found(&found, life, before)?;
        check_batches(&found)?;
        self.check_counts(log, &found)?;
        Ok(found)
    }

    /// What was shown or told to be durable is there, and there is no hole.
    fn check_known(&self, found: &Shown, begin: Address, before: &Shown) -> Result<(), String> {
        let there: BTreeMap<Address, Mark> = found.iter().copied().collect();
        let last = found.last().map_or(begin, |(address, _)| *address);
        let told = self.notes.iter().flat_map(|notes| {
            notes.entries.iter().enumerate().map(|(place, entry)| (entry, place < notes.durable))
        });
        for ((address, mark), durable) in before.iter().map(|entry| (entry, true)).chain(told) {
            let needed = *address >= begin && (durable || *address < last);
            match (there.get(address), self.fate(*address)) {
                (None, Fate::There) if needed => {
                    return Err(format!("{mark:?} at {address} is gone, durable: {durable}"));
                }
                (Some(_), Fate::Gone) => {
                    return Err(format!("{mark:?} at {address} was dropped and is there"));
                }
                (Some(here), _) if here != mark => {
                    return Err(format!("{mark:?} at {address} is {here:?} now"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Nothing is there that nobody appended, or that was dropped.
    fn check_found(&self, found: &Shown, life: u64, before: &Shown) -> Result<(), String> {
        let known: BTreeMap<Address, Mark> =
            before.iter().chain(self.notes.iter().flat_map(|notes| &notes.entries)).copied().collect();
        for (address, mark) in found.iter().filter(|(address, _)| !known.contains_key(address)) {
            // The last call of a thread may have returned an error, or nothing.
            let thread = usize::try_from(mark.thread).ok().and_then(|thread| self.notes.get(thread));
            let unanswered = thread.is_some_and(|notes| {
                let next = notes.entries.last().map_or(0, |(_, last)| last.number + 1);
                mark.life == life && (next..next + u64::from(mark.batch)).contains(&mark.number)
            });
            if !unanswered || self.fate(*address) == Fate::Gone {
                return Err(format!("{mark:?} at {address} was never there, or was dropped, in life {life}"));
            }
        }
        Ok(())
    }

    fn check_counts(&self, log: &FasterLog, found: &Shown) -> Result<(), String> {
        let check = log.self_check().map_err(|error| format!("self_check: {error:?}"))?;
        let info = log.commit_info();
        let counted = info.entries - log.first_entry_number();
        if check.entries != found.len() as u64 || counted != check.entries {
            return Err(format!("{} entries, {check:?}, {counted} by number", found.len()));
        }
        let cookie = info.cookie.as_slice().try_into().map_or(0, u64::from_le_bytes);
        if !(self.cookie.0..=self.cookie.1).contains(&cookie) {
            return Err(format!("cookie {cookie}, and not one of {:?}", self.cookie));
        }
        self.check_consumer(log.position(super::cuts::CONSUMER), found)
    }

    /// Nothing that the named iterator has completed, durably, comes again. Where it goes on may be below that: a cut that took entries
    /// which it had completed moves its durable place to the cut, and itself only when it looks for the next entry.
    fn check_consumer(&self, place: Option<Address>, found: &Shown) -> Result<(), String> {
        let Some(completed) = self.completed else { return Ok(()) };
        let place = place.ok_or("a named iterator is gone")?;
        match found.iter().find(|(address, _)| (place..completed).contains(address)) {
            Some((again, _)) => {
                Err(format!("an iterator at {completed} went back to {place}, to see {again} again"))
            }
            None => Ok(()),
        }
    }
}

/// Each batch is whole.
fn check_batches(found: &Shown) -> Result<(), String> {
    let mut batches: BTreeMap<(u64, u64, u64), (u32, u32)> = BTreeMap::new();
    for (_, mark) in found {
        let first = mark.number - u64::from(mark.place);
        batches.entry((mark.life, mark.thread, first)).or_insert((mark.batch, 0)).1 += 1;
    }
    match batches.iter().find(|(_, (batch, there))| batch != there) {
        Some((which, (batch, there))) => Err(format!("{there} of {batch} entries of the batch {which:?}")),
        None => Ok(()),
    }
}
