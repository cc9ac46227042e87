//! The storage device contract: an offset space of blocks, two metadata slots, truncation at both ends.
//!
//! A device is shared (`&self`, `Sync`); requests go through queues that it opens ([`StorageDevice::open_queue`]), each
//! used by one thread. Rules that every implementation keeps and the conformance suite checks:
//!
//! 1. Offsets and lengths of block I/O are multiples of [`BLOCK_BYTES`](crate::BLOCK_BYTES).
//! 2. Requests of one or several queues have no order among each other. A sync makes durable the writes whose
//!    completions had been *reaped or were reapable* before the sync was submitted, and the truncations that had returned
//!    by then; no more is promised.
//! 3. A completion says how many bytes moved. Fewer than asked is not an error of the device: the caller submits the
//!    whole request again (reads and writes are idempotent) and gives up after a few rounds.
//! 4. After a sync has failed the device is poisoned: every later write and sync fails with
//!    [`DeviceErrorKind::Poisoned`](crate::DeviceErrorKind::Poisoned). Reads still work. The error of the failed sync itself,
//!    which may be the one inside of a metadata write, says what it is: [`DeviceError::of_sync`].
//! 5. Reading bytes that were never written gives zeros up to the end of the device, and a short count beyond it.
//! 6. Dropping a device never syncs. Dropping a queue waits for what is in flight, so that memory outlives I/O. A queue
//!    may outlive its device but keeps no file open and no lock: what it is asked for afterwards completes as `Closed`.
//! 7. One writer: a constructor takes a kernel-held lock and fails with `Locked` when somebody else has it. The lock
//!    goes away with the process, however it ends. A copy of the process that a fork makes is not the owner: dropping the
//!    device there lets go of nothing, changes nothing and waits for nobody. Anything else is not supported there.

use std::fmt;

use crate::error::DeviceError;
use crate::identity::DeviceIdentity;
use crate::queue::{IoQueue, QueueOptions};

/// Size of one metadata slot in bytes.
pub const METADATA_SLOT_BYTES: usize = 131_072;

/// One of the two places for metadata generations (`docs/format/metadata.md`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetadataSlot {
    /// Even generations.
    Even,
    /// Odd generations.
    Odd,
}

impl MetadataSlot {
    /// Both slots.
    pub const ALL: [MetadataSlot; 2] = [MetadataSlot::Even, MetadataSlot::Odd];

    /// The slot of a generation.
    #[must_use]
    pub fn of_generation(generation: u64) -> Self {
        if generation.is_multiple_of(2) { MetadataSlot::Even } else { MetadataSlot::Odd }
    }

    /// 0 for even, 1 for odd: the slot's place in the area.
    #[must_use]
    pub fn index(self) -> usize {
        match self {
            MetadataSlot::Even => 0,
            MetadataSlot::Odd => 1,
        }
    }
}

/// Fixed facts about a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Bytes at the start of the offset space that belong to the device itself; block I/O there is refused.
    pub reserved_bytes: u64,
    /// Largest offset (exclusive) the device can ever hold, in bytes, as far as it knows.
    pub capacity_bytes: u64,
    /// False for a device that forgets everything: the log then lives in memory alone.
    pub persistent: bool,
}

/// What a device occupies, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpaceUse {
    /// End of the highest block ever written and not cut off (the apparent size).
    pub end_offset: u64,
    /// Bytes that the file system has really allocated.
    pub allocated_bytes: u64,
}

/// A place for the blocks of one log and its metadata. The module header has the rules.
pub trait StorageDevice: Send + Sync + fmt::Debug + 'static {
    /// How messages name this device: a path, or what it is.
    fn describe(&self) -> String;

    /// Who this device is within the process. One value per constructed device, owned by it and dropped with it:
    /// per-thread caches recognise the device by it and notice its end.
    fn identity(&self) -> &DeviceIdentity;

    /// Fixed facts.
    fn geometry(&self) -> Geometry;

    /// Opens a queue for the calling thread. The queue is not `Send`: rings belong to their thread.
    ///
    /// # Errors
    /// When the operating system refuses threads, memory or a ring.
    fn open_queue(&self, options: QueueOptions) -> Result<Box<dyn IoQueue>, DeviceError>;

    /// Reads the front of a metadata slot into `buffer`, which has at most [`METADATA_SLOT_BYTES`] bytes. A slot that was never
    /// written reads as zeros.
    ///
    /// # Errors
    /// I/O errors; a short read inside of what exists is an error too.
    fn read_metadata(&self, slot: MetadataSlot, buffer: &mut [u8]) -> Result<(), DeviceError>;

    /// Writes the front of a metadata slot and makes it durable, together with the existence of the files it lives in.
    /// Every block write that completed before the call is *not* covered: sync those first through a queue.
    ///
    /// # Durability
    /// When this returns `Ok`, the slot survives power loss.
    ///
    /// # Errors
    /// I/O errors. A failed sync poisons the device, and its error is a [failed sync](DeviceError::is_failed_sync); a failed write
    /// does neither, and the call may be repeated.
    fn write_metadata(&self, slot: MetadataSlot, bytes: &[u8]) -> Result<(), DeviceError>;

    /// Gives the space of all blocks below `offset` back to the file system, as far as its granularity allows. Later
    /// reads there are errors or zeros.
    ///
    /// # Durability
    /// As that of a write: when a sync that is submitted after this returned has completed, it survives power loss. Until then
    /// any part of it may be undone.
    ///
    /// # Errors
    /// I/O errors. Nothing above `offset` is touched in any case.
    fn truncate_before(&self, offset: u64) -> Result<(), DeviceError>;

    /// Cuts off all blocks at and above `offset`.
    ///
    /// # Durability
    /// As that of [`truncate_before`](Self::truncate_before): before the next sync power loss may bring back any of the blocks.
    /// A metadata write is no such sync.
    ///
    /// # Errors
    /// I/O errors.
    fn truncate_after(&self, offset: u64) -> Result<(), DeviceError>;

    /// What the device occupies now.
    ///
    /// # Errors
    /// I/O errors.
    fn space_use(&self) -> Result<SpaceUse, DeviceError>;
}
