//! The hybrid log: the newest records in memory, updated in place; older ones immutable, then on a device.
//!
//! Layer 1. The address line is explained in `page_ring` and in ARCHITECTURE.md; formats in `docs/format/`.
//!
//! | file | part |
//! |---|---|
//! | `page_layout` | page arithmetic |
//! | `frames` | from an address to its words |
//! | `page_ring` | address line, allocation, shifts: the concurrent heart |
//! | `hybrid_log` | the whole: ring, device, waiting for room |
//! | `maintenance` | the background thread: write, evict, zero |
//! | `flush` | consistent points, close, time lines |
//! | `open`, `metadata` | creation and reopening |
//! | `checksum`, `checksum_cache`, `read_back` | verified reading |
//! | `buffer_pool` | memory of single reads, bounded |
//! | `record_cache` | records of the device that are read often, by address |
//! | `configuration` | how memory is divided |

mod buffer_pool;
pub mod checksum;
mod checksum_cache;
mod configuration;
mod flush;
mod frames;
mod hybrid_log;
mod maintenance;
pub mod metadata;
#[cfg(all(loom, test))]
mod model;
mod open;
mod page_layout;
mod page_ring;
mod read_back;
mod record_cache;
mod seized_tail;

pub use buffer_pool::Patience;
pub use configuration::{FRAMES_MIN, HybridLogConfig};
pub use frames::LEAD_WORDS;
pub use hybrid_log::{HybridLog, LogIo, LogState, NeedsRoom, backoff};
pub use metadata::OwnerFacts;
pub use open::OpenedLog;
pub use page_layout::{
    CHECKSUMS_PER_BLOCK, PAGE_SIZE_BITS_MAX, PAGE_SIZE_BITS_MIN, PageLayout, RECORD_WORDS_ALWAYS,
};
pub use page_ring::{AllocateRefusal, PageRing};
pub use read_back::{BlockRead, copy_words};
pub use record_cache::{RECORD_CACHE_BYTES_MIN, RecordCache, RecordCacheConfig, RecordCacheCounts};
pub use seized_tail::SeizedTail;
