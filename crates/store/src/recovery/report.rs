//! What opening a store found and did.

use std::time::Duration;

use oxifaster_core::Address;

/// What opening a store found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// The device held no store: this one was created.
    pub created: bool,
    /// First address of the log.
    pub begin: Address,
    /// The consistent point that the store was opened at.
    pub consistent_tail: Address,
    /// The store had been closed; nothing lay behind the consistent point.
    pub was_closed: bool,
    /// Pages read and verified.
    pub pages: u64,
    /// Bytes read and verified.
    pub bytes: u64,
    /// Records met, older versions and tombstones included.
    pub records: u64,
    /// Tombstones among them.
    pub tombstones: u64,
    /// Records that never became reachable.
    pub invalid_records: u64,
    /// Pages whose content was kept in memory.
    pub pages_in_memory: u64,
    /// Complete, verified pages behind the consistent point: written after the last flush, not part of the store. The
    /// first write cuts them off. At most 64 are counted.
    pub pages_behind: u64,
    /// One of the two metadata slots was damaged; the other one was used.
    pub damaged_metadata_slot: bool,
    /// The index table that was asked for was smaller than the largest one used since the log began, or too small for the
    /// keys of the store, and was raised to this many buckets.
    pub table_raised_to: Option<u64>,
    /// The memory of the log was lowered to this many bytes, to make room for a table that the keys need.
    pub log_memory_lowered_to: Option<u64>,
    /// Overflow buckets beyond the budget that were needed to keep all chains apart: at most an eighth of the planned
    /// memory, or 8 MiB.
    pub overflow_beyond_budget: u64,
    /// How long it took.
    pub duration: Duration,
}
