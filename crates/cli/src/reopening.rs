//! How much memory opening a store takes again.
//!
//! A store that runs carries any number of keys: those without an index entry share one. A store that is opened needs an entry for
//! each chain that exists, so the memory that filled it may be too little to open it. Callers: opening, which names the least
//! memory when it was refused, and `load` and `count`, which say it before.

use oxifaster_core::hlog::FRAMES_MIN;
use oxifaster_store::IndexDemand;

use crate::memory_plan::{Demand, Existing, MemoryPlan};
use crate::store_access::{io_bytes, store_config};

/// The least `--memory`, in MiB, with which a command that demands `demand` opens a store whose index has `index` to carry, and opens
/// it again with the index that it then has.
#[must_use]
pub fn least_mebibytes(demand: &Demand, index: &IndexDemand) -> u64 {
    let works = |mebibytes: u64| opens(demand, index, mebibytes << 20);
    let mut high = 1;
    while !works(high) && high < 1 << 30 {
        high *= 2;
    }
    let mut low = high / 2;
    while low + 1 < high {
        let middle = low.midpoint(high);
        if works(middle) { high = middle } else { low = middle }
    }
    high
}

fn opens(demand: &Demand, index: &IndexDemand, total_bytes: u64) -> bool {
    let Some(table) = table(demand, index, total_bytes) else { return false };
    let kept = IndexDemand { table_size: table.max(index.table_size), ..*index };
    table <= index.table_size || self::table(demand, &kept, total_bytes).is_some()
}

/// Buckets of the table with which the store is opened, if it is.
fn table(demand: &Demand, index: &IndexDemand, total_bytes: u64) -> Option<u64> {
    let existing = Existing {
        page_bytes: index.page_bytes,
        pages_min: FRAMES_MIN,
        buckets: index.table_size,
        table_may_grow: demand.existing.is_none_or(|existing| existing.table_may_grow),
    };
    let demand = Demand { total_bytes, io_bytes: io_bytes(total_bytes), existing: Some(existing), ..*demand };
    index.table_with(&store_config(&MemoryPlan::divide(&demand)?))
}
