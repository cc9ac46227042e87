//! Checking all of a log.

use std::sync::Arc;

use oxifaster_core::Error;

use crate::commit_record::CommitRecord;
use crate::entry::EntryKind;
use crate::faster_log::FasterLog;
use crate::shared::Shared;
use crate::standing::Standing;
use crate::walk::damaged;

/// What a check has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckReport {
    /// Entries that verified.
    pub entries: u64,
    /// Their bytes, without headers.
    pub payload_bytes: u64,
    /// Commit records that verified and agree with what lies below them.
    pub commits: u64,
}

impl FasterLog {
    /// Reads everything that is committed, verifies each entry, and compares each commit record with what lies below it.
    ///
    /// # Errors
    /// `Corruption` with the address of the first thing that is wrong; I/O errors.
    ///
    /// # Examples
    /// ```
    /// use oxifaster_device::NullDisk;
    /// use oxifaster_log::{FasterLog, FasterLogConfig};
    /// let log = FasterLog::open(FasterLogConfig::default(), NullDisk::new())?;
    /// log.append_batch(&["one", "two"])?;
    /// log.commit()?;
    /// let report = log.self_check()?;
    /// assert_eq!((report.entries, report.payload_bytes, report.commits), (2, 6, 1));
    /// # Ok::<(), oxifaster_core::Error>(())
    /// ```
    pub fn self_check(&self) -> Result<CheckReport, Error> {
        self.shared.self_check()
    }
}

impl Shared {
    pub(crate) fn self_check(self: &Arc<Self>) -> Result<CheckReport, Error> {
        self.search(|standing| self.check_all(standing))
    }

    fn check_all(self: &Arc<Self>, standing: &Standing) -> Result<CheckReport, Error> {
        let mut report = CheckReport::default();
        let first = standing.begin_entry;
        let mut last_number = 0;
        let mut walk = self.walk(standing.begin, standing);
        while let Some(found) = walk.step_committed()? {
            match found.header.kind {
                EntryKind::User => {
                    report.entries += 1;
                    report.payload_bytes += found.header.payload_bytes as u64;
                }
                EntryKind::Padding => {}
                EntryKind::Commit => {
                    let record = CommitRecord::decode(walk.payload(found))?;
                    if record.number <= last_number || record.entries != first + report.entries {
                        return Err(damaged(found.address).with_context(&format!(
                            "commit {} counts {} entries, there are {}",
                            record.number,
                            record.entries,
                            first + report.entries
                        )));
                    }
                    last_number = record.number;
                    report.commits += 1;
                }
            }
        }
        if first + report.entries != standing.commit.entries {
            return Err(damaged(walk.at()).with_context(&format!(
                "{} entries are committed, {} were found",
                standing.commit.entries,
                first + report.entries
            )));
        }
        Ok(report)
    }
}
