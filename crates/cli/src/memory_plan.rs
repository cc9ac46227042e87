//! How `--memory` is divided, and what that carries.
//!
//! `--memory` is the total of everything that grows with the work: log frames, index, buffers. The program's code, its
//! threads' stacks and the runtime come on top (some MiB). With `T` threads and `total` bytes:
//!
//! | part | bytes |
//! |---|---|
//! | device I/O buffers | what the store states for its engine, with device reads for a 16th of `total` in flight: 16 to 128 of them |
//! | best lists of `count` | `T` x (2 `--top` + 64) x 128 |
//! | input, for commands that read some | an eighth of the rest, at least 48 KiB and at most 3 MiB for each of the 2 `T` + 2 chunks in flight |
//! | index table | the largest power of two of 64-byte buckets that, with a quarter for its overflow, fits into half of the rest, but not more than a known number of keys needs, and at most 2^31; a store that exists keeps at least its own |
//! | index overflow | a quarter of the table; when the number of keys is not known, all that is left of the half, up to the size of the table |
//! | checksum cache | a 64th of the log, at least 64 KiB |
//! | log frames | all that is left, at least 8 pages of 64 KiB |
//!
//! Half for the index is much, and on purpose: a key without an entry of its own costs every later look-up of its neighbours one
//! device read more, while a record that is not in memory costs one when it is looked up itself. What was measured with other
//! shares is in docs/design/0006.
//!
//! A bucket holds seven entries. With five keys a bucket on average about one bucket in seven overflows, which a quarter
//! of the table carries; with ten, nine in ten do. What the overflow carries is what the plan calls *well*. More keys than that
//! are carried too: they share entries, chains of records get longer, and cold keys take more device reads each.

use crate::byte_size::ByteSize;
use crate::failure::Failure;

/// Bytes of an index bucket.
const BUCKET_BYTES: u64 = 64;
/// Keys that a bucket carries without many overflows.
const KEYS_PER_BUCKET: u64 = 5;
/// Further keys that three more buckets of overflow carry, beyond a quarter of the table.
const KEYS_PER_THREE_OVERFLOW_BUCKETS: u64 = 20;
/// Device reads in flight, fewest and most.
const READS_IN_FLIGHT: (u64, u64) = (16, 128);
/// The smallest log that is planned: 8 pages of 64 KiB.
const LOG_BYTES_MIN: u64 = 8 << 16;
/// Smallest and largest chunk of input.
const CHUNK_BYTES: (u64, u64) = (16 << 10, 1 << 20);
/// A chunk of input is held as text, as records, and while the next one is read behind it.
const CHUNK_COPIES: u64 = 3;
/// The smallest index, and the largest one that a store takes.
const BUCKETS_MIN: u64 = 1024;
const BUCKETS_MAX: u64 = 1 << 31;

/// What the memory has to carry besides the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    /// All memory, in bytes.
    pub total_bytes: u64,
    /// Threads with a session each.
    pub threads: u64,
    /// Bytes that the command needs for itself.
    pub command_bytes: u64,
    /// Bytes of the store's I/O buffers.
    pub io_bytes: u64,
    /// Whether input is read, in chunks.
    pub takes_input: bool,
    /// Keys, when their number is known: the table need not be larger than for these.
    pub keys: Option<u64>,
    /// What a store that exists dictates.
    pub existing: Option<Existing>,
}

/// What a store that exists dictates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Existing {
    /// Bytes of its pages.
    pub page_bytes: u64,
    /// The fewest pages that it works with.
    pub pages_min: u64,
    /// Buckets of the largest index table that it was used with: smaller ones can't join its chains.
    pub buckets: u64,
    /// Whether a larger table may be made for it, which it then keeps.
    pub table_may_grow: bool,
}

/// The memory, divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryPlan {
    /// What it was divided for.
    pub demand: Demand,
    /// Everything.
    pub total_bytes: u64,
    /// Log frames.
    pub log_bytes: u64,
    /// Index table.
    pub table_bytes: u64,
    /// Overflow buckets of the index.
    pub overflow_bytes: u64,
    /// Checksums of pages on the device.
    pub checksum_cache_bytes: u64,
    /// Device I/O buffers.
    pub io_bytes: u64,
    /// Input in flight.
    pub input_bytes: u64,
    /// What the command needs for itself.
    pub command_bytes: u64,
    /// About how many bytes of input are a chunk.
    pub chunk_bytes: u64,
    /// How many chunks may exist at a time.
    pub chunks_in_flight: u64,
}

impl MemoryPlan {
    /// Divides the memory.
    ///
    /// # Errors
    /// A usage failure that says the least total that works.
    pub fn new(demand: &Demand) -> Result<Self, Failure> {
        Self::divide(demand).ok_or_else(|| {
            let least = Self::least_total(demand);
            let store = demand.existing.map_or_else(String::new, |existing| {
                format!(
                    " for a store with pages of {} and an index table of {}",
                    ByteSize(existing.page_bytes),
                    ByteSize(existing.buckets * BUCKET_BYTES)
                )
            });
            Failure::usage(format_args!(
                "--memory {} is too little with {} thread(s){store}: the least is --memory {}K",
                ByteSize(demand.total_bytes),
                demand.threads,
                least.div_ceil(1024)
            ))
        })
    }

    /// Divides the memory, if it is enough.
    pub(crate) fn divide(demand: &Demand) -> Option<Self> {
        let chunks_in_flight = if demand.takes_input { 2 * demand.threads + 2 } else { 0 };
        let rest = demand.total_bytes.checked_sub(demand.io_bytes)?.checked_sub(demand.command_bytes)?;
        let (chunk_min, chunk_max) = CHUNK_BYTES;
        let chunk_bytes = (rest / 8 / (chunks_in_flight * CHUNK_COPIES).max(1)).clamp(chunk_min, chunk_max);
        let input_bytes = chunk_bytes * chunks_in_flight * CHUNK_COPIES;
        let rest = rest.checked_sub(input_bytes)?;
        // A table and its overflow take at least five quarters of the table's buckets.
        let fewest = demand.existing.map_or(0, |existing| existing.page_bytes * existing.pages_min);
        let log_min = LOG_BYTES_MIN.max(fewest);
        let share = (rest / 2).min(rest.saturating_sub(log_min / 64 * 65 + (128 << 10)));
        let most_buckets = (share / (BUCKET_BYTES * 5 / 4)).min(BUCKETS_MAX);
        let affordable = if most_buckets < BUCKETS_MIN { BUCKETS_MIN } else { 1 << most_buckets.ilog2() };
        let needed = demand.keys.map(|keys| keys.div_ceil(KEYS_PER_BUCKET).next_power_of_two());
        let planned = affordable.min(needed.map_or(u64::MAX, |buckets| buckets.max(BUCKETS_MIN)));
        let buckets = match demand.existing {
            None => planned,
            Some(existing) if existing.table_may_grow => planned.max(existing.buckets),
            Some(existing) => existing.buckets,
        };
        let table_bytes = buckets * BUCKET_BYTES;
        let left = share.saturating_sub(table_bytes) / BUCKET_BYTES * BUCKET_BYTES;
        let most_overflow = if needed.is_some() { 0 } else { table_bytes };
        let overflow_bytes = left.min(most_overflow).max(table_bytes / 4);
        let rest = rest.checked_sub(table_bytes + overflow_bytes)?;
        let (log_bytes, checksum_cache_bytes) = log_and_checksums(rest)?;
        if log_bytes < log_min {
            return None;
        }
        Some(Self {
            demand: *demand,
            total_bytes: demand.total_bytes,
            log_bytes,
            table_bytes,
            overflow_bytes,
            checksum_cache_bytes,
            io_bytes: demand.io_bytes,
            input_bytes,
            command_bytes: demand.command_bytes,
            chunk_bytes,
            chunks_in_flight,
        })
    }

    /// The least total, in KiB steps, that [`MemoryPlan::divide`] accepts: dividing is monotone in the total but for
    /// the steps of the table, so a doubling search with a bisection finds one.
    fn least_total(demand: &Demand) -> u64 {
        let works =
            |kibibytes: u64| Self::divide(&Demand { total_bytes: kibibytes << 10, ..*demand }).is_some();
        let mut high = 1;
        while !works(high) && high < 1 << 50 {
            high *= 2;
        }
        let mut low = high / 2;
        while low + 1 < high {
            let middle = low.midpoint(high);
            if works(middle) { high = middle } else { low = middle }
        }
        high << 10
    }

    /// Buckets of the index table.
    #[must_use]
    pub fn buckets(&self) -> u64 {
        self.table_bytes / BUCKET_BYTES
    }

    /// Overflow buckets of the index.
    #[must_use]
    pub fn overflow_buckets(&self) -> u64 {
        self.overflow_bytes / BUCKET_BYTES
    }

    /// How many keys the index carries well; more work too, with longer chains.
    #[must_use]
    pub fn keys_carried_well(&self) -> u64 {
        let further = self.overflow_buckets().saturating_sub(self.buckets() / 4);
        self.buckets() * KEYS_PER_BUCKET + further * KEYS_PER_THREE_OVERFLOW_BUCKETS / 3
    }

    /// The sum of all parts.
    #[must_use]
    pub fn sum_bytes(&self) -> u64 {
        self.log_bytes
            + self.table_bytes
            + self.overflow_bytes
            + self.checksum_cache_bytes
            + self.io_bytes
            + self.input_bytes
            + self.command_bytes
    }
}

/// How many device reads may be in flight with so much memory.
#[must_use]
pub fn reads_in_flight(total_bytes: u64) -> usize {
    let (fewest, most) = READS_IN_FLIGHT;
    usize::try_from((total_bytes / 16 / (16 << 10)).clamp(fewest, most)).unwrap_or_default()
}

/// Whole 64 KiB pages of log, and the checksum cache that the store adds to them.
fn log_and_checksums(rest: u64) -> Option<(u64, u64)> {
    let cache_of = |log: u64| (log / 64).max(64 << 10);
    // 64/65 of the rest leaves room for a 64th of the log.
    let log = (rest / 65 * 64).min(rest.checked_sub(64 << 10)?) >> 16 << 16;
    Some((log, cache_of(log)))
}

#[cfg(test)]
mod tests {
    use super::{Demand, Existing, LOG_BYTES_MIN, MemoryPlan};
    use crate::failure::FailureKind;
    use crate::store_access::store_config;

    const MIB: u64 = 1 << 20;

    fn demand(total_bytes: u64, threads: u64) -> Demand {
        Demand {
            total_bytes,
            threads,
            command_bytes: 0,
            io_bytes: 2 * MIB,
            takes_input: true,
            keys: None,
            existing: None,
        }
    }

    #[test]
    fn the_parts_never_exceed_the_whole_and_use_most_of_it() {
        for threads in [1, 2, 8, 64] {
            let least = MemoryPlan::least_total(&demand(0, threads));
            for total in (0..200).map(|step| least + step * 777_777).chain([1 << 30, 1 << 34, 1 << 40]) {
                let plan = MemoryPlan::new(&demand(total, threads)).unwrap();
                assert!(plan.sum_bytes() <= total, "{plan:?}");
                assert!(plan.sum_bytes() + (total / 32).max(256 << 10) >= total, "{plan:?} wastes memory");
                assert!(plan.buckets().is_power_of_two());
                assert!(plan.log_bytes >= LOG_BYTES_MIN);
                assert!(plan.log_bytes >= plan.table_bytes || total < 8 * MIB, "{plan:?}");
                assert!((plan.table_bytes / 4..=plan.table_bytes).contains(&plan.overflow_bytes));
            }
        }
    }

    #[test]
    fn very_much_memory_makes_no_larger_index_than_a_store_takes() {
        for total in [600, 690, 700, 1 << 10, 1 << 12, 1 << 15] {
            let plan = MemoryPlan::new(&demand(total << 30, 4)).unwrap();
            store_config(&plan).validate().unwrap();
            assert!(plan.buckets() >= 1 << 31 || total < 690, "{plan:?}");
        }
    }

    #[test]
    fn sixty_four_mebibytes_on_two_threads() {
        let plan = MemoryPlan::new(&demand(64 * MIB, 2)).unwrap();
        assert_eq!(plan.table_bytes, 16 * MIB);
        assert!(plan.overflow_bytes > 10 * MIB && plan.overflow_bytes < 12 * MIB, "{plan:?}");
        assert!(plan.keys_carried_well() > 2_000_000, "{}", plan.keys_carried_well());
        assert_eq!(plan.chunk_bytes, 62 * MIB / 8 / 18);
        assert!(plan.log_bytes > 26 * MIB, "{plan:?}");
    }

    #[test]
    fn a_known_number_of_keys_bounds_the_table_and_what_is_left_is_log() {
        let of =
            |keys| MemoryPlan::new(&Demand { keys, takes_input: false, ..demand(256 * MIB, 2) }).unwrap();
        let (unknown, few, many) = (of(None), of(Some(100_000)), of(Some(1 << 40)));
        assert_eq!((unknown.table_bytes, unknown.input_bytes), (many.table_bytes, 0));
        assert_eq!(many.overflow_bytes, many.table_bytes / 4);
        assert_eq!(few.buckets(), 32_768);
        assert!(
            few.keys_carried_well() >= 100_000 && few.log_bytes > unknown.log_bytes + 60 * MIB,
            "{few:?}"
        );
        assert_eq!(of(Some(1)).buckets(), 1024);
    }

    #[test]
    fn too_little_memory_names_the_least_that_works() {
        let failure = MemoryPlan::new(&demand(MIB, 2)).unwrap_err();
        assert_eq!(failure.kind(), FailureKind::Usage);
        let least = MemoryPlan::least_total(&demand(MIB, 2));
        assert!(
            failure.to_string().ends_with(&format!("the least is --memory {}K", least >> 10)),
            "{failure}"
        );
        assert!(MemoryPlan::new(&demand(least, 2)).is_ok());
        assert!(MemoryPlan::new(&demand(least - 1024, 2)).is_err());
    }

    #[test]
    fn a_store_that_exists_gets_its_fewest_pages_and_its_table() {
        let existing = Existing { page_bytes: 4 * MIB, pages_min: 6, buckets: 1 << 16, table_may_grow: true };
        let large = Demand { existing: Some(existing), ..demand(24 * MIB, 1) };
        let failure = MemoryPlan::new(&large).unwrap_err();
        assert!(failure.to_string().contains("pages of 4.0 MiB and an index table of 4.0 MiB"), "{failure}");
        let least = MemoryPlan::least_total(&large);
        let plan = MemoryPlan::new(&Demand { total_bytes: least, ..large }).unwrap();
        assert!(plan.log_bytes >= 24 * MIB && plan.table_bytes >= 4 * MIB, "{plan:?}");
        for (table_may_grow, larger) in [(true, true), (false, false)] {
            let existing = Some(Existing { table_may_grow, ..existing });
            let plan = MemoryPlan::new(&Demand { existing, ..demand(1 << 30, 1) }).unwrap();
            assert_eq!(plan.table_bytes > 4 * MIB, larger);
        }
    }
}
