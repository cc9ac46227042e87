//! The largest counts, exactly, in bounded memory, from counts that only grow.
//!
//! Each worker offers every key with the count it has just made, keeps the best and forgets the rest; at the end the
//! workers' lists are merged.
//!
//! *Why that is exact.* Order keys by count, larger first, then by their bytes. The final count of a key is offered by the
//! worker that made its last increment. That worker forgets it only when `limit` other keys were offered with counts that
//! rank better; final counts are not smaller than offered ones, so at least `limit` keys rank better in the end, and the
//! key is not among the best. An offer with an older, smaller count of the same key loses against the final one in the
//! merge.

use std::collections::HashMap;

/// The keys with the largest counts.
#[derive(Debug)]
pub struct TopCounts {
    limit: usize,
    counts: HashMap<Box<[u8]>, u64>,
    /// Offers below this count rank behind `limit` kept ones.
    floor: u64,
}

impl TopCounts {
    /// Keeps the best `limit`.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, counts: HashMap::new(), floor: 0 }
    }

    /// Memory that the best `limit` keys of `key_bytes` take at most, in bytes.
    #[must_use]
    pub fn memory_bytes(limit: u64, key_bytes: u64) -> u64 {
        // Twice the limit is kept between prunings; 64 bytes a key for the map's slot, the box and its allocation.
        Self::kept(limit).saturating_mul(key_bytes + 64)
    }

    fn kept(limit: u64) -> u64 {
        limit.saturating_mul(2).saturating_add(64)
    }

    /// Offers a key with its count.
    pub fn offer(&mut self, key: &[u8], count: u64) {
        if self.limit == 0 || count < self.floor {
            return;
        }
        if let Some(known) = self.counts.get_mut(key) {
            *known = count.max(*known);
            return;
        }
        self.counts.insert(key.into(), count);
        if self.counts.len() as u64 > Self::kept(self.limit as u64) {
            self.prune();
        }
    }

    fn prune(&mut self) {
        let best = best_of(std::mem::take(&mut self.counts), self.limit);
        self.floor = best.last().map_or(0, |(_, count)| *count);
        self.counts = best.into_iter().collect();
    }

    /// Adds all that another worker has kept.
    pub fn merge(&mut self, other: TopCounts) {
        for (key, count) in other.counts {
            self.offer(&key, count);
        }
    }

    /// The best, the largest count first, equal counts in the order of their bytes.
    #[must_use]
    pub fn into_sorted(self) -> Vec<(Box<[u8]>, u64)> {
        best_of(self.counts, self.limit)
    }
}

fn best_of(counts: HashMap<Box<[u8]>, u64>, limit: usize) -> Vec<(Box<[u8]>, u64)> {
    let mut sorted: Vec<_> = counts.into_iter().collect();
    sorted.sort_unstable_by(|(key_a, count_a), (key_b, count_b)| {
        count_b.cmp(count_a).then_with(|| key_a.cmp(key_b))
    });
    sorted.truncate(limit);
    sorted
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::TopCounts;

    proptest! {
        /// Several workers, any order of increments, any limit: the same as sorting all counts.
        #[test]
        fn the_best_are_exact(
            increments in proptest::collection::vec((0_u32..300, 0_usize..3), 0..2000),
            limit in 0_usize..40,
        ) {
            let mut counts: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
            let mut workers: Vec<_> = (0..3).map(|_| TopCounts::new(limit)).collect();
            for (key, worker) in increments {
                let key = (key * key / 300).to_string().into_bytes();
                let count = counts.entry(key.clone()).or_default();
                *count += 1;
                workers[worker].offer(&key, *count);
            }
            let mut merged = TopCounts::new(limit);
            for worker in workers {
                merged.merge(worker);
            }
            let found: Vec<(Vec<u8>, u64)> =
                merged.into_sorted().into_iter().map(|(key, count)| (key.into_vec(), count)).collect();
            let mut expected: Vec<(Vec<u8>, u64)> = counts.into_iter().collect();
            expected.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
            expected.truncate(limit);
            prop_assert_eq!(found, expected);
        }
    }
}
