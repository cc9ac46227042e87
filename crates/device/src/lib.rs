//! Where bytes live: the [`StorageDevice`] contract, its implementations, and the seams to the operating system.
//!
//! Layer 0. Callers: `core` (which owns logs), `store` and `log` (which own devices). This crate knows nothing of
//! addresses, records, pages or epochs: it moves blocks of 4096 bytes between memory and an offset space.
//!
//! | part | what it is |
//! |---|---|
//! | [`device`] | the contract: offsets, metadata slots, truncation |
//! | [`queue`] | the contract: submit with a tag, reap completions in batches |
//! | [`fault`] | an in-memory device with crashes and faults, for tests |
//! | [`memory`] | word memory that devices read from and write to |
//! | [`identity`] | who a device is within the process |
//! | [`error`] | what can go wrong, and what the caller should do |
//! | [`metadata`] | the checksummed envelope of the two metadata slots |
//! | [`null`] | the device that keeps nothing |
//! | `files` | the device on a file or a folder of segments |
//! | `uring` | the same device with reads through `io_uring` |
//! | `workers` | queues for devices whose calls block |
//! | [`local`] | a queue of the calling thread |
//! | [`conformance`] | the contract as checks, for every implementation |
//! | [`sync`] | atomics, clock, threads, randomness: std or loom |

#[cfg(not(loom))]
pub mod conformance;
pub mod device;
pub mod error;
pub mod fault;
#[cfg(not(loom))]
pub mod files;
pub mod identity;
pub mod local;
pub mod memory;
pub mod metadata;
pub mod null;
pub mod os;
pub mod queue;
pub mod sync;
#[cfg(not(loom))]
mod uring;
#[cfg_attr(loom, allow(dead_code, reason = "only the model uses it: files have no word memory under loom"))]
mod workers;

pub use device::{Geometry, MetadataSlot, SpaceUse, StorageDevice};
pub use error::{DeviceError, DeviceErrorKind};
#[cfg(not(loom))]
pub use files::{FileOptions, FileSystemDisk, Headroom};
pub use identity::{DeviceIdentity, DeviceWitness};
pub use local::{with_local_queue, with_local_queue_of};
pub use memory::Words;
pub use metadata::{ContentKind, Loaded, MetadataArea};
pub use null::NullDisk;
pub use queue::{Completion, Interrupt, IoBuffer, IoOperation, IoQueue, IoRequest, QueueOptions, Wait};
#[cfg(not(loom))]
pub use uring::{IoBackend, IoUringDevice, IoUringOptions, RingUse};

/// The unit of checking and of direct I/O, in bytes.
pub const BLOCK_BYTES: usize = 4096;

/// The unit of checking and of direct I/O, in words of 8 bytes.
pub const BLOCK_WORDS: usize = BLOCK_BYTES / 8;

#[cfg(not(target_endian = "little"))]
compile_error!(
    "oxifaster's format is little-endian words in memory and on the device: this target is not supported"
);
