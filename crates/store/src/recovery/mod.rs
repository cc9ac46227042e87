//! Rebuilding the index from the checked log, at open.
//!
//! Every page from `begin` to the consistent tail is read and verified, by several threads; each record raises its index
//! entry to its address. Because a record's previous address was written with it, and is lower than its own, the entry
//! only has to end at the highest address of its chain: the order in which threads get there does not matter.
//!
//! The index stays within what was planned, or a little more; how is in `index_room`.
//!
//! Pages that fit into memory are read into their frames and stay there. Damage ends recovery with an error that names
//! file and address: a store is never opened with a part of its data.

mod index_demand;
mod index_room;
mod key_sketch;
mod rebuild;
mod report;
mod scan_page;

pub use index_demand::{IndexDemand, TooManyKeys};
pub(crate) use index_room::IndexRoom;
pub(crate) use rebuild::{Rebuilt, rebuild};
pub use report::RecoveryReport;
pub use scan_page::scan_page;

/// How far recovery is, for whoever shows it. It starts over when the log has to be read again with a larger index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecoveryProgress {
    /// Pages read and verified.
    pub pages_done: u64,
    /// Pages to be read.
    pub pages_total: u64,
}
