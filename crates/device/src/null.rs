//! The device that keeps nothing: for stores that live in memory alone.
//!
//! Callers: `store` and `log` for memory-only use; tests. Writes and syncs complete at once. The two metadata slots are
//! kept in memory as long as the device lives, so that the code above needs no special case.
//!
//! Reading is where honesty is at stake (rule 5 says that bytes *never written* read as zeros). What was written here is
//! gone, and zeros in its place would be a silent loss. So a read that touches anything below the highest write is
//! refused with `Unsupported`; a read behind it gets the short count of 0, like on every device. A store over this device
//! keeps all of its log in memory and never reads.

use std::fmt;
use std::sync::{Arc, Weak};

use crate::BLOCK_BYTES;
use crate::device::{Geometry, METADATA_SLOT_BYTES, MetadataSlot, SpaceUse, StorageDevice};
use crate::error::{DeviceError, DeviceErrorKind};
use crate::identity::DeviceIdentity;
use crate::queue::{Completion, IoOperation, IoQueue, IoRequest, QueueOptions, Wait};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};

const GEOMETRY: Geometry =
    Geometry { reserved_bytes: 0, capacity_bytes: u64::MAX - (BLOCK_BYTES as u64 - 1), persistent: false };

/// Accepts every write and forgets it. The module header says what reads do.
///
/// # Examples
/// ```
/// use oxifaster_device::{NullDisk, StorageDevice};
/// let device = NullDisk::new();
/// assert!(!device.geometry().persistent);
/// ```
pub struct NullDisk {
    state: Arc<NullState>,
    identity: DeviceIdentity,
}

struct NullState {
    /// End of the highest write. A statistic: orders nothing.
    end_offset: AtomicU64,
    slots: Mutex<[Vec<u8>; 2]>,
}

impl NullDisk {
    /// A device that keeps nothing.
    #[must_use]
    pub fn new() -> Self {
        let state = NullState { end_offset: AtomicU64::new(0), slots: Mutex::new([Vec::new(), Vec::new()]) };
        Self { state: Arc::new(state), identity: DeviceIdentity::new() }
    }
}

impl Default for NullDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for NullDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NullDisk")
            .field("end_offset", &self.state.end_offset.load(Ordering::Relaxed))
            .finish()
    }
}

impl StorageDevice for NullDisk {
    fn describe(&self) -> String {
        "the null device".to_owned()
    }

    fn identity(&self) -> &DeviceIdentity {
        &self.identity
    }

    fn geometry(&self) -> Geometry {
        GEOMETRY
    }

    fn open_queue(&self, options: QueueOptions) -> Result<Box<dyn IoQueue>, DeviceError> {
        if options.depth == 0 {
            return Err(DeviceError::new(DeviceErrorKind::InvalidRequest, "a queue of depth zero"));
        }
        Ok(Box::new(NullQueue { state: Arc::downgrade(&self.state), finished: Vec::new() }))
    }

    fn read_metadata(&self, slot: MetadataSlot, buffer: &mut [u8]) -> Result<(), DeviceError> {
        let slots = self.state.slots.lock();
        let [even, odd] = &*slots;
        let kept = if slot == MetadataSlot::Even { even } else { odd };
        buffer.fill(0);
        buffer.iter_mut().zip(kept).for_each(|(to, from)| *to = *from);
        Ok(())
    }

    fn write_metadata(&self, slot: MetadataSlot, bytes: &[u8]) -> Result<(), DeviceError> {
        if bytes.len() > METADATA_SLOT_BYTES {
            return Err(DeviceError::new(
                DeviceErrorKind::InvalidRequest,
                format!("{} bytes do not fit a metadata slot of {METADATA_SLOT_BYTES}", bytes.len()),
            ));
        }
        let mut slots = self.state.slots.lock();
        let [even, odd] = &mut *slots;
        let kept = if slot == MetadataSlot::Even { even } else { odd };
        kept.clear();
        kept.extend_from_slice(bytes);
        Ok(())
    }

    fn truncate_before(&self, _offset: u64) -> Result<(), DeviceError> {
        Ok(())
    }

    fn truncate_after(&self, offset: u64) -> Result<(), DeviceError> {
        self.state.end_offset.fetch_min(offset, Ordering::Relaxed);
        Ok(())
    }

    fn space_use(&self) -> Result<SpaceUse, DeviceError> {
        Ok(SpaceUse { end_offset: self.state.end_offset.load(Ordering::Relaxed), allocated_bytes: 0 })
    }
}

/// Completes requests as they are submitted.
struct NullQueue {
    state: Weak<NullState>,
    finished: Vec<Completion>,
}

impl NullState {
    fn answer(&self, request: &IoRequest) -> Result<usize, DeviceError> {
        match &request.operation {
            IoOperation::Sync => Ok(0),
            IoOperation::Write(buffer) => {
                let end = request.offset.saturating_add(buffer.len_bytes() as u64);
                self.end_offset.fetch_max(end, Ordering::Relaxed);
                Ok(buffer.len_bytes())
            }
            IoOperation::Read(_) if request.offset >= self.end_offset.load(Ordering::Relaxed) => Ok(0),
            IoOperation::Read(_) => Err(DeviceError::new(
                DeviceErrorKind::Unsupported,
                "the null device keeps nothing: what was written to it can't be read back",
            )
            .at_offset(request.offset)),
        }
    }
}

impl IoQueue for NullQueue {
    fn submit(&mut self, request: IoRequest) -> Result<(), DeviceError> {
        request.check(&GEOMETRY)?;
        let result = match self.state.upgrade() {
            Some(state) => state.answer(&request),
            None => Err(DeviceError::new(DeviceErrorKind::Closed, "the device of this queue was closed")),
        };
        let IoRequest { tag, offset, operation } = request;
        self.finished.push(Completion { tag, offset, result, operation });
        Ok(())
    }

    fn kick(&mut self) -> Result<(), DeviceError> {
        Ok(())
    }

    fn reap(&mut self, _wait: Wait, completions: &mut Vec<Completion>) -> Result<usize, DeviceError> {
        let reaped = self.finished.len();
        completions.append(&mut self.finished);
        Ok(reaped)
    }

    fn in_flight(&self) -> usize {
        self.finished.len()
    }
}

impl fmt::Debug for NullQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NullQueue").field("finished", &self.finished.len()).finish_non_exhaustive()
    }
}
