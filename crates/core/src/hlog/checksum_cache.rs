//! Checksums of pages on the device, kept in memory under a budget, so that reading one record verifies it without
//! reading the page's checksum blocks first.
//!
//! Filled by the flusher (a page's checksums are known when it leaves memory) and by read-back (after a miss). Only
//! reads from the device come here: a lock is fine. Eviction is second-chance over a ring of pages.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use oxifaster_device::sync::Mutex;

/// Verified checksums of one complete page, by data block.
pub(crate) type PageChecksums = Arc<[u32]>;

#[derive(Debug)]
struct Cached {
    checksums: PageChecksums,
    touched: bool,
}

#[derive(Debug, Default)]
struct Inside {
    pages: HashMap<u64, Cached>,
    ring: VecDeque<u64>,
    bytes: usize,
}

/// The cache. See the module header.
#[derive(Debug)]
pub(crate) struct ChecksumCache {
    budget_bytes: usize,
    inside: Mutex<Inside>,
}

/// Bookkeeping per page beside its checksums, for the budget.
const OVERHEAD_BYTES: usize = 96;

impl ChecksumCache {
    pub(crate) fn new(budget_bytes: usize) -> Self {
        Self { budget_bytes, inside: Mutex::new(Inside::default()) }
    }

    pub(crate) fn get(&self, page: u64) -> Option<PageChecksums> {
        let mut inside = self.inside.lock();
        let cached = inside.pages.get_mut(&page)?;
        cached.touched = true;
        Some(Arc::clone(&cached.checksums))
    }

    /// Remembers a page's checksums; the last page stays even if it alone exceeds the budget.
    pub(crate) fn insert(&self, page: u64, checksums: PageChecksums) {
        let mut guard = self.inside.lock();
        let inside = &mut *guard;
        let bytes = checksums.len() * 4 + OVERHEAD_BYTES;
        if inside.pages.insert(page, Cached { checksums, touched: false }).is_some() {
            return;
        }
        inside.bytes += bytes;
        while inside.bytes > self.budget_bytes {
            let Some(oldest) = inside.ring.pop_front() else { break };
            match inside.pages.get_mut(&oldest) {
                Some(cached) if cached.touched => {
                    cached.touched = false;
                    inside.ring.push_back(oldest);
                }
                Some(cached) => {
                    inside.bytes -= cached.checksums.len() * 4 + OVERHEAD_BYTES;
                    inside.pages.remove(&oldest);
                }
                None => {}
            }
        }
        inside.ring.push_back(page);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_holds_and_touched_pages_stay() {
        let cache = ChecksumCache::new(10 * (4 * 15 + OVERHEAD_BYTES));
        for page in 0..100 {
            cache.insert(page, vec![u32::try_from(page).unwrap(); 15].into());
            assert!(cache.get(0).is_some(), "a page in use was thrown out after {page}");
        }
        let kept = (0..100).filter(|page| cache.get(*page).is_some()).count();
        assert!((9..=10).contains(&kept), "{kept} pages");
        assert_eq!(cache.get(99).unwrap()[3], 99);
    }
}
