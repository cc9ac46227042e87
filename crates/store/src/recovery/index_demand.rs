//! Which index a configuration has room for, for the keys of a store, asked without opening it.
//!
//! Called by programs that name their users a size that works: after a refused opening, or while they still have the store open.
//! The rules are those of [`IndexRoom`]; what they can't foresee is how the keys spread over the buckets, which is taken from
//! the Poisson distribution, with a margin.

use std::error::Error as StdError;
use std::fmt;

use oxifaster_core::index::BUCKET_ENTRIES;

use super::IndexRoom;
use crate::configuration::FasterKvConfig;

/// Keys for each bucket beyond which nearly every chain is as long as the average: the distribution is not needed any more.
const CROWDED: u32 = 500;

/// What the index of a store that exists has to carry.
///
/// # Examples
/// ```
/// use oxifaster_store::{FasterKvConfig, IndexDemand};
///
/// let demand = IndexDemand { keys: 100_000_000, table_size: 1 << 16, page_bytes: 4 << 20 };
/// let small = FasterKvConfig::default().with_log_memory_size(64 << 20);
/// assert_eq!(demand.table_with(&small), None);
/// assert_eq!(demand.table_with(&small.with_table_size(1 << 25)), Some(1 << 25));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexDemand {
    /// Keys, deleted ones included.
    pub keys: u64,
    /// Buckets of the largest table that the store was used with.
    pub table_size: u64,
    /// Bytes of its pages.
    pub page_bytes: u64,
}

impl IndexDemand {
    /// Buckets of the table that a store with this demand gets when it is opened with `config`, and keeps; `None`: it is not opened. Near
    /// the limit the answer may be larger, or `None`, although less would do.
    #[must_use]
    pub fn table_with(&self, config: &FasterKvConfig) -> Option<u64> {
        let bits = u8::try_from(self.table_size.max(1).ilog2()).unwrap_or(u8::MAX);
        let room = IndexRoom::new(config, bits, self.page_bytes);
        let (table_size, overflow) = (room.config.table_size, room.config.overflow_budget());
        // Estimated numbers of keys have an error of a few hundredths.
        let keys = self.keys.saturating_add(self.keys / 20);
        if overflow_needed(keys, table_size) <= overflow.saturating_add(room.beyond_buckets) as f64 {
            return Some(table_size);
        }
        room.for_keys(self.keys).ok().map(|room| room.config.table_size)
    }
}

/// Overflow buckets that so many keys need in a table, rarely more.
fn overflow_needed(keys: u64, table_size: u64) -> f64 {
    let buckets = table_size as f64;
    let mean = keys as f64 / buckets;
    if mean > f64::from(CROWDED) {
        return buckets * mean / BUCKET_ENTRIES as f64;
    }
    // A chain of k keys has a bucket of overflow for each multiple of the entries in a bucket, from the first one on, that is less than k.
    let (mut probability, mut up_to, mut expected) = ((-mean).exp(), 0.0, 0.0);
    for k in 0..2 * CROWDED {
        up_to += probability;
        if k > 0 && (k as usize).is_multiple_of(BUCKET_ENTRIES) {
            expected += f64::max(1.0 - up_to, 0.0);
        }
        probability *= mean / f64::from(k + 1);
    }
    // The standard deviation of a bucket's overflow is below one.
    buckets * expected + 4.0 * buckets.sqrt()
}

/// Why a store was not opened: its keys are too many for any index that the memory has room for. The source of an
/// `InvalidConfiguration` error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyKeys {
    /// About how many there are, deleted ones included.
    pub keys: u64,
}

impl fmt::Display for TooManyKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the store holds about {} keys, deleted ones included", self.keys)
    }
}

impl StdError for TooManyKeys {}

#[cfg(test)]
mod tests {
    use oxifaster_core::hlog::FRAMES_MIN;

    use super::*;

    const PAGE: u64 = 64 << 10;

    #[test]
    fn the_overflow_is_that_of_evenly_hashed_keys() {
        for (keys, table_size) in
            [(5 << 12, 1 << 12), (12 << 12, 1 << 12), (60 << 10, 1 << 10), (600 << 6, 1 << 6)]
        {
            let mut chains = vec![0_u64; usize::try_from(table_size).unwrap()];
            let mut state = 1_u64;
            for _ in 0..keys {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                chains[usize::try_from((state >> 32) % table_size).unwrap()] += 1;
            }
            let overflow: u64 = chains.iter().map(|keys| keys.div_ceil(7).saturating_sub(1)).sum();
            let (found, expected) = (overflow as f64, overflow_needed(keys, table_size));
            let slack = 8.0 * (table_size as f64).sqrt() + found / 100.0;
            assert!(expected >= found && expected <= found + slack, "{keys} keys: {found}, not {expected}");
        }
        assert!(overflow_needed(0, 1 << 10) < 200.0);
    }

    #[test]
    fn the_table_is_the_one_that_opening_would_take() {
        let config =
            |log_memory_size| FasterKvConfig { table_size: 1 << 14, log_memory_size, ..Default::default() };
        let least = config(PAGE * FRAMES_MIN);
        let demand = |keys| IndexDemand { keys, table_size: 1 << 14, page_bytes: PAGE };
        // Table, a quarter of overflow and four times the table beyond it hold 602,112 entries.
        assert_eq!(demand(400_000).table_with(&least), Some(1 << 14));
        assert_eq!(demand(700_000).table_with(&least), None);
        assert_eq!(demand(700_000).table_with(&config(64 << 20)), Some(1 << 18), "the log pays");
        assert_eq!(demand(700_000).table_with(&least.clone().with_table_size(1 << 18)), Some(1 << 18));
        let grown = IndexDemand { table_size: 1 << 18, ..demand(700_000) };
        assert_eq!(grown.table_with(&least), Some(1 << 18), "the table that it had counts");
    }
}
