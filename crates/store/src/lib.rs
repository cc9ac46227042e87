//! FasterKv: a concurrent key-value store for point operations on state larger than memory.
//!
//! Layer 2. It is where the hash index and the hybrid log of `core` meet: an operation finds its chain through the
//! index, walks it in memory or on the device, and changes it in place or at the tail. Callers: users through the facade
//! crate, `f2`, the program.
//!
//! | folder | what it is |
//! |---|---|
//! | [`session`](Session) | a user's handle for operations: blocking, batched, pending |
//! | `asynchronous` | the same operations as futures |
//! | `operations` | what each operation does in each region of the log |
//! | `pending` | records on the device: searches, and who drives them |
//! | `read_cache` | memory for records on the device that are read again and again |
//! | `reclaim` | in-memory compaction of a store without a device |
//! | `recovery` | rebuilding the index from the checked log |
//! | `statistics` | counters |
//!
//! Checkpoints, compaction, index growth and scans are not here yet.
#![forbid(unsafe_code)]

mod asynchronous;
mod configuration;
mod faster_kv;
mod log_view;
mod opening;
mod operations;
mod pending;
mod read_cache;
mod reclaim;
mod recovery;
mod session;
mod statistics;

pub use asynchronous::AsyncSession;
pub use configuration::{FasterKvConfig, MemoryPlan, PAGES_WANTED};
pub use faster_kv::{FasterKv, FasterKvBuilder};
pub use log_view::LogView;
pub use operations::RmwOutcome;
pub use read_cache::ReadCacheConfig;
pub use recovery::{IndexDemand, RecoveryProgress, RecoveryReport, TooManyKeys, scan_page};
pub use session::{Completed, PendingId, RecordView, Session, Started};
pub use statistics::{Operations, Statistics};
