//! What a log has shown, and what it must still show: the verdict of the log judges.

use oxifaster_core::Address;
use oxifaster_log::FasterLog;

use super::entries::Mark;

/// Everything that the log showed when it was opened last, in order.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    shown: Vec<(Address, Mark)>,
}

impl Ledger {
    /// What was shown.
    #[must_use]
    pub fn shown(&self) -> &[(Address, Mark)] {
        &self.shown
    }

    /// The front was truncated up to the entry `first`.
    pub fn truncated_before(&mut self, first: usize) {
        self.shown.drain(..first.min(self.shown.len()));
    }

    /// Everything from entry `keep` on was cut off.
    pub fn cut(&mut self, keep: usize) {
        self.shown.truncate(keep);
    }

    /// Compares the log with what was shown before and with what thread `t` of `life` was told to be durable: its first
    /// `acknowledged[t]` entries. Takes what is new into the ledger, and says how many entries that are.
    ///
    /// # Errors
    /// The broken promise.
    pub fn check(&mut self, log: &FasterLog, life: u64, acknowledged: &[u64]) -> Result<u64, String> {
        let mut found = Vec::new();
        for entry in log.scan(..) {
            let (address, bytes) =
                entry.map_err(|error| format!("a scan after {} entries: {error:?}", found.len()))?;
            found.push((address, Mark::read(&bytes).map_err(|message| format!("at {address}: {message}"))?));
        }
        for (place, known) in self.shown.iter().enumerate() {
            match found.get(place) {
                Some(here) if here == known => {}
                Some(here) => return Err(format!("entry {place} was {known:?} and is {here:?} now")),
                None => {
                    return Err(format!(
                        "{} of {} entries that were shown are gone",
                        self.shown.len() - place,
                        self.shown.len()
                    ));
                }
            }
        }
        let new = found.get(self.shown.len()..).unwrap_or_default();
        check_new(new, life, acknowledged)?;
        let check = log.self_check().map_err(|error| format!("self_check: {error:?}"))?;
        if check.entries != found.len() as u64 {
            return Err(format!("a scan found {} entries, the check {}", found.len(), check.entries));
        }
        let count = new.len() as u64;
        self.shown = found;
        Ok(count)
    }
}

/// Each thread's entries without gaps, at least what it was told, all of this life; batches whole.
fn check_new(new: &[(Address, Mark)], life: u64, acknowledged: &[u64]) -> Result<(), String> {
    let mut next = vec![0; acknowledged.len()];
    let mut open: Option<Mark> = None;
    for (address, mark) in new {
        if mark.life != life {
            return Err(format!("an abandoned entry came back at {address} in life {life}: {mark:?}"));
        }
        let expected = usize::try_from(mark.thread).ok().and_then(|thread| next.get_mut(thread));
        let Some(expected) = expected else { return Err(format!("an entry of no thread: {mark:?}")) };
        if mark.number != *expected {
            return Err(format!(
                "entry {expected} of thread {} is missing: {mark:?} at {address}",
                mark.thread
            ));
        }
        *expected += 1;
        let goes_on = open.is_none_or(|former| {
            (former.thread, former.place + 1, former.batch) == (mark.thread, mark.place, mark.batch)
        });
        if !goes_on || (open.is_none() && mark.place != 0) {
            return Err(format!("a batch is interrupted by {mark:?} behind {open:?}"));
        }
        open = (mark.place + 1 < mark.batch).then_some(*mark);
    }
    if let Some(mark) = open {
        return Err(format!("half of a batch is there: it ends with {mark:?}"));
    }
    for ((thread, found), told) in next.iter().enumerate().zip(acknowledged) {
        if found < told {
            return Err(format!(
                "thread {thread} was told that {told} entries are durable; {found} are there"
            ));
        }
    }
    Ok(())
}
