//! What is in an index: an iterator over its slots, and counts.
//!
//! Callers: `store` statistics, recovery reports, clean-up of entries whose records are gone. All of it may run beside
//! operations; it sees each word at some moment during the call.

use oxifaster_device::sync::atomic::{AtomicU64, Ordering};

use super::chain::Chain;
use super::entry::{ADDRESS_MASK, Overflow, TENTATIVE, overflow_in};
use super::slot::IndexSlot;
use super::table::HashIndex;

/// Counts of one pass over an index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct IndexStatistics {
    /// Buckets of the table.
    pub buckets: u64,
    /// Final entries, with or without a record.
    pub entries: u64,
    /// Overflow buckets in chains, those beyond the budget included.
    pub overflow_buckets: u64,
    /// Overflow buckets that the budget allows.
    pub overflow_budget: u64,
    /// Overflow buckets taken beyond the budget, by recovery only.
    pub overflow_beyond_budget: u64,
    /// Chains of buckets that were full when the budget was spent: their other tags share the entries that they have.
    pub closed_chains: u64,
    /// At position `n`: how many chains have `n` overflow buckets.
    pub chain_lengths: Vec<u64>,
}

impl IndexStatistics {
    pub(super) fn of(index: &HashIndex) -> Self {
        let mut statistics = Self {
            buckets: index.buckets(),
            overflow_budget: index.overflow().budget(),
            overflow_beyond_budget: index.overflow_beyond_budget(),
            ..Self::default()
        };
        for chain in index.chains() {
            let mut overflow_buckets = 0;
            for (bucket, overflow_word) in chain.buckets() {
                let [entries @ .., _] = bucket;
                let entries = entries.iter().filter(|entry| final_entry(entry).is_some()).count();
                statistics.entries += entries as u64;
                match overflow_in(overflow_word) {
                    Overflow::Link(_) => overflow_buckets += 1,
                    Overflow::Closed => statistics.closed_chains += 1,
                    Overflow::End => {}
                }
            }
            statistics.overflow_buckets += overflow_buckets as u64;
            if statistics.chain_lengths.len() <= overflow_buckets {
                statistics.chain_lengths.resize(overflow_buckets + 1, 0);
            }
            if let Some(chains) = statistics.chain_lengths.get_mut(overflow_buckets) {
                *chains += 1;
            }
        }
        statistics
    }
}

fn final_entry(entry: &AtomicU64) -> Option<IndexSlot<'_>> {
    // Pairs with the release of compare_exchange: the slot's address may be followed.
    let word = entry.load(Ordering::Acquire);
    (word & ADDRESS_MASK != 0 && word & TENTATIVE == 0).then(|| IndexSlot::entry(entry, word))
}

/// The slots of an index: its final entries.
pub struct Entries<'index>(Box<dyn Iterator<Item = IndexSlot<'index>> + 'index>);

impl<'index> Entries<'index> {
    pub(super) fn of(index: &'index HashIndex) -> Self {
        Self(Box::new(index.chains().flat_map(Chain::buckets).flat_map(|(bucket, _)| {
            let [entries @ .., _] = bucket;
            entries.iter().filter_map(final_entry)
        })))
    }
}

impl<'index> Iterator for Entries<'index> {
    type Item = IndexSlot<'index>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}

impl std::fmt::Debug for Entries<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Entries")
    }
}
