//! How large the index of a store that exists becomes, and what the log gives for it.
//!
//! Called at open. What a configuration plans is a promise (DESIGN D5), but the keys of a store are known only when its log
//! has been read, and recovery needs an entry for each chain of records that exists: two can't be joined. So:
//!
//! 1. The table is the one asked for, or the largest one used since the log began. That is known beforehand, and the log's memory
//!    pays for the difference as far as it can; a store is not refused for it.
//! 2. Overflow buckets may exceed their budget by the *allowance*: an eighth of the planned memory, at least 8 MiB. Together
//!    with everything else a process does not plan, that stays within 1.25 times the plan plus 64 MiB. But not by more than
//!    four times the table: chains of buckets would get long, and a larger table is what the keys need.
//! 3. If that is not enough, the table is raised to what the keys need, and the log's memory pays for it, down to the fewest
//!    pages it works with. What it can't pay may come out of the allowance.
//! 4. If that is not enough either, opening is refused, with sizes that work.

use oxifaster_core::error::{Error, ErrorKind};
use oxifaster_core::hlog::FRAMES_MIN;

use super::TooManyKeys;
use crate::configuration::{FasterKvConfig, MemoryPlan};

const BUCKET_BYTES: u64 = 64;
/// Keys for each bucket of a table whose quarter of overflow buckets then suffices: about a sixth of a table overflows.
const KEYS_PER_BUCKET: u64 = 5;
const ALLOWANCE_BYTES_MIN: u64 = 8 << 20;
/// Most overflow buckets beyond the budget, for each bucket of the table.
const BEYOND_PER_BUCKET: u64 = 4;

/// Sizes that a store is opened with.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct IndexRoom {
    /// What was asked for, with the table, its overflow and the log's memory as they are used.
    pub(crate) config: FasterKvConfig,
    /// Overflow buckets that recovery may take beyond the budget.
    pub(crate) beyond_buckets: u64,
    allowance_bytes: u64,
    log_bytes_min: u64,
}

impl IndexRoom {
    /// What is tried first.
    pub(crate) fn new(asked: &FasterKvConfig, recorded_table_bits: u8, page_bytes: u64) -> Self {
        let log_bytes_min = page_bytes * FRAMES_MIN;
        let table_size = asked.table_size.max(1 << recorded_table_bits);
        let raised = FasterKvConfig { table_size, ..asked.clone() };
        let more_bytes = index_bytes(&raised) - index_bytes(asked);
        let paid_by_log = more_bytes.min(asked.log_memory_size.saturating_sub(log_bytes_min));
        let config = FasterKvConfig { log_memory_size: asked.log_memory_size - paid_by_log, ..raised };
        let allowance_bytes = (config.memory_plan().total_bytes() / 8).max(ALLOWANCE_BYTES_MIN);
        let beyond_buckets = (allowance_bytes / BUCKET_BYTES).min(table_size * BEYOND_PER_BUCKET);
        Self { config, beyond_buckets, allowance_bytes, log_bytes_min }
    }

    /// What carries about `keys` keys, for which this was not enough.
    ///
    /// # Errors
    /// `InvalidConfiguration`, with sizes that would be right.
    pub(crate) fn for_keys(&self, keys: u64) -> Result<Self, Error> {
        let (buckets, overflow) = (self.config.table_size, self.config.overflow_budget());
        // The estimate of the keys has an error of a few hundredths.
        let needed = (keys + keys / 20).div_ceil(KEYS_PER_BUCKET).max(1).next_power_of_two();
        let quarter = needed.max(buckets) / 4;
        // With a table that would do, the buckets of its overflow were too few.
        let table_size =
            if needed > buckets || quarter <= overflow { needed.max(buckets * 2) } else { buckets };
        let overflow_buckets = overflow.max(table_size / 4);
        let more_bytes = (table_size + overflow_buckets - buckets - overflow).saturating_mul(BUCKET_BYTES);
        let paid_by_log = more_bytes.min(self.config.log_memory_size.saturating_sub(self.log_bytes_min));
        let missing = more_bytes - paid_by_log;
        if missing > self.allowance_bytes {
            let log_bytes = self.config.log_memory_size + (missing - self.allowance_bytes);
            return Err(Error::new(
                ErrorKind::InvalidConfiguration,
                format!(
                    "the store holds about {keys} keys, deleted ones included, too many for an index of {buckets} \
                     buckets, and the memory configured has no room for a larger one: give table_size {table_size}, or a \
                     log_memory_size of at least {log_bytes} bytes"
                ),
            )
            .with_source(TooManyKeys { keys }));
        }
        let config = FasterKvConfig {
            table_size,
            overflow_buckets: Some(overflow_buckets),
            log_memory_size: self.config.log_memory_size - paid_by_log,
            ..self.config.clone()
        };
        let allowance_bytes = self.allowance_bytes - missing;
        let beyond_buckets = (allowance_bytes / BUCKET_BYTES).min(table_size * BEYOND_PER_BUCKET);
        Ok(Self { config, beyond_buckets, allowance_bytes, ..*self })
    }

    /// The memory that is really used; what recovery takes beyond the budget comes on top.
    pub(crate) fn plan(&self) -> MemoryPlan {
        self.config.memory_plan()
    }
}

/// Bytes of a table and its overflow buckets.
fn index_bytes(config: &FasterKvConfig) -> u64 {
    config.table_size.saturating_add(config.overflow_budget()).saturating_mul(BUCKET_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: u64 = 1 << 20;

    fn config(table_size: u64, log_memory_size: u64) -> FasterKvConfig {
        FasterKvConfig { table_size, log_memory_size, ..Default::default() }
    }

    #[test]
    fn a_recorded_table_counts_and_its_overflow_with_it() {
        let room = IndexRoom::new(&config(1 << 10, 64 << 20), 14, PAGE);
        assert_eq!((room.config.table_size, room.config.overflow_budget()), (1 << 14, 1 << 12));
        assert_eq!(room.config.log_memory_size + index_bytes(&room.config), (64 << 20) + (64 << 10) * 5 / 4);
        let poor = IndexRoom::new(&config(1 << 10, PAGE * FRAMES_MIN), 14, PAGE);
        assert_eq!(poor.config.log_memory_size, PAGE * FRAMES_MIN, "no less than it works with");
        assert_eq!(room.beyond_buckets, 4 << 14);
        let large = IndexRoom::new(&config(1 << 16, 64 << 20), 0, PAGE);
        assert_eq!(large.beyond_buckets, large.plan().total_bytes() / 8 / 64);
        assert_eq!(IndexRoom::new(&config(1 << 15, 64 << 20), 14, PAGE).config.table_size, 1 << 15);
    }

    #[test]
    fn the_log_pays_for_a_larger_table_and_the_sum_stays() {
        let first = IndexRoom::new(&config(1 << 10, 256 << 20), 0, PAGE);
        let room = first.for_keys(4_000_000).unwrap();
        assert_eq!((room.config.table_size, room.config.overflow_budget()), (1 << 20, 1 << 18));
        assert!(room.plan().total_bytes() <= first.plan().total_bytes(), "{:?}", room.plan());
        assert!(room.config.log_memory_size < 180 << 20);
        room.config.validate().unwrap();
        let again = room.for_keys(4_000_000).unwrap();
        assert_eq!(again.config.table_size, 1 << 21, "what was not enough is not tried again");
    }

    #[test]
    fn a_small_overflow_grows_before_the_table_does() {
        let few = FasterKvConfig { overflow_buckets: Some(0), ..config(1 << 16, 256 << 20) };
        let room = IndexRoom::new(&few, 0, PAGE).for_keys(300_000).unwrap();
        assert_eq!((room.config.table_size, room.config.overflow_budget()), (1 << 16, 1 << 14));
    }

    #[test]
    fn what_has_no_room_is_refused_with_sizes_that_work() {
        let first = IndexRoom::new(&config(1 << 10, 32 << 20), 0, PAGE);
        let error = first.for_keys(10_000_000).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
        let text = error.to_string();
        assert!(text.contains("about 10000000 keys") && text.contains("table_size 4194304"), "{text}");
        let bytes = text.split("at least ").nth(1).and_then(|rest| rest.split(' ').next());
        let least: u64 = bytes.unwrap().parse().unwrap();
        let enough = IndexRoom::new(&config(1 << 10, least), 0, PAGE).for_keys(10_000_000).unwrap();
        assert!(enough.config.log_memory_size >= PAGE * FRAMES_MIN);
        assert!(IndexRoom::new(&config(1 << 10, least / 2), 0, PAGE).for_keys(10_000_000).is_err());
    }
}
