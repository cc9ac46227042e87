//! The handle of a fault device: construction, crash, reopen, setters at run time, raw access to the image; and the device
//! contract on top of `state`.
//!
//! Callers: tests. Handles are clones of one `Arc`; any thread may use any of them at any time, each call takes the one lock.
//! When the last handle is dropped the device closes; queues, which hold the state alone, then complete with `Closed`.

use std::ops::Range;
use std::sync::Arc;

use super::counts::{FaultCounts, Traffic};
use super::crash::Effect;
use super::disk::FaultDisk;
use super::plan::FaultPlan;
use super::queue::FaultQueue;
use super::state::{Life, State};
use crate::BLOCK_BYTES;
use crate::device::{Geometry, METADATA_SLOT_BYTES, MetadataSlot, SpaceUse, StorageDevice};
use crate::error::{DeviceError, DeviceErrorKind};
use crate::identity::DeviceIdentity;
use crate::queue::{IoQueue, QueueOptions};
use crate::sync::{Mutex, MutexGuard};

/// An in-memory device with crashes and faults. The module header of [`fault`](super) has the model.
///
/// A clone is another handle of the same device. Give a store one and keep one, to crash it under the store.
#[derive(Clone, Debug)]
pub struct FaultDevice {
    owner: Arc<Owner>,
}

/// What all handles of one device share, and no queue: who the device is, and that it still exists.
#[derive(Debug)]
struct Owner {
    identity: DeviceIdentity,
    shared: Arc<Mutex<State>>,
    disk: FaultDisk,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.lock().close();
    }
}

impl FaultDevice {
    /// An empty device without faults: no reserved bytes, capacity 2^62 bytes.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::with_plan(seed, FaultPlan::new())
    }

    /// An empty device with faults.
    #[must_use]
    pub fn with_plan(seed: u64, plan: FaultPlan) -> Self {
        Self::of_state(State::new(seed, plan))
    }

    /// The same device with its first `bytes` refused to block I/O. Call it before queues are opened.
    ///
    /// # Examples
    /// ```
    /// use oxifaster_device::StorageDevice;
    /// use oxifaster_device::fault::FaultDevice;
    /// let device = FaultDevice::new(1).with_reserved_bytes(8192).with_capacity_bytes(1 << 20);
    /// assert_eq!(device.geometry().reserved_bytes, 8192);
    /// assert_eq!(device.geometry().capacity_bytes, 1 << 20);
    /// ```
    #[must_use]
    pub fn with_reserved_bytes(self, bytes: u64) -> Self {
        self.lock().geometry.reserved_bytes = bytes;
        self
    }

    /// The same device with another capacity, in bytes: a write that ends behind it writes what fits and fails with `Full`.
    #[must_use]
    pub fn with_capacity_bytes(self, bytes: u64) -> Self {
        self.lock().geometry.capacity_bytes = bytes;
        self
    }

    fn of_state(state: State) -> Self {
        let shared = Arc::new(Mutex::new(state));
        let disk = FaultDisk::of_state(&shared);
        Self::on_disk(shared, disk)
    }

    pub(super) fn on_disk(shared: Arc<Mutex<State>>, disk: FaultDisk) -> Self {
        Self { owner: Arc::new(Owner { identity: DeviceIdentity::new(), shared, disk }) }
    }

    /// The disk that this device owns: it outlives the device.
    #[must_use]
    pub fn disk(&self) -> FaultDisk {
        self.owner.disk.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.owner.shared.lock()
    }

    /// Loses power: returns the device that is found afterwards. What was synced is there; every unsynced or in-flight
    /// change meets a fate drawn from `seed`, on its own. Old handles and queues fail with `Closed` from now on. The new
    /// device has no faults but keeps the space budget, the fates, the poisoning rule and the counts.
    ///
    /// Calling it again on the same closed device gives another possible outcome of the same power loss; the
    /// [`disk`](Self::disk) follows the outcome made last.
    #[must_use]
    pub fn crash(&self, seed: u64) -> FaultDevice {
        self.owner.disk.replace(&self.owner.shared, |state| state.crash(seed))
    }

    /// Ends the process without losing power: all executed writes are there, though no more durable than before, and
    /// requests in flight are gone. Old handles fail with `Closed`. The new device is not poisoned and has no faults.
    ///
    /// # Examples
    /// ```
    /// use oxifaster_device::fault::FaultDevice;
    /// use oxifaster_device::{DeviceErrorKind, MetadataSlot, StorageDevice};
    /// # fn main() -> Result<(), oxifaster_device::DeviceError> {
    /// let old = FaultDevice::new(1);
    /// old.write_metadata(MetadataSlot::Odd, b"generation 1")?;
    /// let new = old.reopen();
    /// assert_eq!(&new.metadata_bytes(MetadataSlot::Odd)[..12], b"generation 1");
    /// assert_eq!(old.space_use().unwrap_err().kind(), DeviceErrorKind::Closed);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn reopen(&self) -> FaultDevice {
        self.owner.disk.replace(&self.owner.shared, State::reopen)
    }

    /// Another device, on a disk of its own, that holds exactly what is durable now; this one goes on. Its counts start
    /// from zero.
    #[must_use]
    pub fn snapshot_durable(&self) -> FaultDevice {
        Self::of_state(self.lock().snapshot_durable())
    }

    /// Makes every handle fail with `Closed`. Nothing is synced.
    pub fn close(&self) {
        self.lock().close();
    }

    /// Whether a planned crash point was reached.
    #[must_use]
    pub fn power_is_lost(&self) -> bool {
        self.lock().life == Life::PowerLost
    }

    /// Replaces the fault plan; its operation numbers count from now.
    pub fn set_plan(&self, plan: FaultPlan) {
        self.lock().install(plan);
    }

    /// Changes the fault plan. Crash points count from now; triggers that `change` leaves alone go on counting.
    pub fn change_plan(&self, change: impl FnOnce(FaultPlan) -> FaultPlan) {
        let mut state = self.lock();
        let plan = change(state.plan.clone());
        state.install(plan);
    }

    /// What was injected so far, also before the crashes and restarts that led to this device.
    #[must_use]
    pub fn counts(&self) -> FaultCounts {
        self.lock().counts
    }

    /// What was executed so far, also before the crashes and restarts that led to this device.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.lock().traffic
    }

    /// Writes and truncations that no sync covers yet, in-flight ones included.
    #[must_use]
    pub fn unsynced_changes(&self) -> usize {
        self.lock().unsynced_changes()
    }

    /// The byte ranges that hold blocks, in order, neighbours joined, as a reader sees them now.
    #[must_use]
    pub fn written_ranges(&self) -> Vec<Range<u64>> {
        self.lock().newest().ranges()
    }

    /// Reads raw bytes, past every fault; what was never written is zero.
    ///
    /// # Examples
    /// Every bit of an image, one after the other:
    /// ```
    /// use oxifaster_device::fault::FaultDevice;
    /// let device = FaultDevice::new(1);
    /// device.overwrite(0, b"what a store wrote");
    /// for range in device.written_ranges() {
    ///     for offset in range.start..range.start + 18 {
    ///         for bit in 0..8 {
    ///             assert!(device.flip_bit(offset, bit));
    ///             // ... open a store on device.snapshot_durable() and judge it ...
    ///             device.flip_bit(offset, bit);
    ///         }
    ///     }
    /// }
    /// assert_eq!(device.read_bytes(0, 18), b"what a store wrote");
    /// ```
    #[must_use]
    pub fn read_bytes(&self, offset: u64, len_bytes: usize) -> Vec<u8> {
        let mut bytes = vec![0; len_bytes];
        self.lock().newest().read_bytes(offset, &mut bytes);
        bytes
    }

    /// Overwrites raw bytes of the newest and of the durable image, past every fault. Where an unsynced write covers them,
    /// its sync or a crash brings the written bytes back.
    pub fn overwrite(&self, offset: u64, bytes: &[u8]) {
        self.lock().overwrite(offset, bytes);
    }

    /// Flips bit `bit` (0 to 7) of the byte at `offset` in the newest and in the durable image, and says whether a block is
    /// there. Unsynced writes are not touched.
    pub fn flip_bit(&self, offset: u64, bit: u8) -> bool {
        self.lock().flip_bit(offset, bit)
    }

    /// Flips bit `bit` of the byte at `offset` in the next block read that covers it; the image stays as it is.
    pub fn flip_in_next_read(&self, offset: u64, bit: u8) {
        self.lock().flip_in_next_read(offset, bit);
    }

    /// The whole content of a metadata slot, past every fault.
    #[must_use]
    pub fn metadata_bytes(&self, slot: MetadataSlot) -> Vec<u8> {
        let mut bytes = self.lock().newest().slot(slot).to_vec();
        bytes.resize(METADATA_SLOT_BYTES, 0);
        bytes
    }

    /// Overwrites the front of a metadata slot, past every fault. Bytes beyond the slot are ignored.
    pub fn overwrite_metadata(&self, slot: MetadataSlot, bytes: &[u8]) {
        self.lock()
            .change_slot(slot, |content| content.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from));
    }

    /// Flips bit `bit` (0 to 7) of byte `index` of a metadata slot; says whether the slot has such a byte.
    pub fn flip_metadata_bit(&self, slot: MetadataSlot, index: usize, bit: u8) -> bool {
        let exists = index < METADATA_SLOT_BYTES;
        if exists {
            let mut state = self.lock();
            state.change_slot(slot, |content| {
                content.iter_mut().skip(index).take(1).for_each(|byte| *byte ^= 1 << (bit % 8));
            });
            state.counts.image_bits_flipped += 1;
        }
        exists
    }
}

impl StorageDevice for FaultDevice {
    fn describe(&self) -> String {
        "fault device in memory".to_owned()
    }

    fn identity(&self) -> &DeviceIdentity {
        &self.owner.identity
    }

    fn geometry(&self) -> Geometry {
        self.lock().geometry
    }

    fn open_queue(&self, options: QueueOptions) -> Result<Box<dyn IoQueue>, DeviceError> {
        if options.depth == 0 {
            return Err(DeviceError::new(DeviceErrorKind::InvalidRequest, "a queue of depth 0"));
        }
        let mut state = self.lock();
        state.check_open()?;
        Ok(Box::new(FaultQueue::new(Arc::clone(&self.owner.shared), state.geometry, options)))
    }

    fn read_metadata(&self, slot: MetadataSlot, buffer: &mut [u8]) -> Result<(), DeviceError> {
        check_slot_len(buffer.len(), buffer.len() <= METADATA_SLOT_BYTES)?;
        self.lock().read_metadata(slot, buffer)
    }

    fn write_metadata(&self, slot: MetadataSlot, bytes: &[u8]) -> Result<(), DeviceError> {
        check_slot_len(bytes.len(), bytes.len() <= METADATA_SLOT_BYTES)?;
        self.lock().write_metadata(slot, bytes)
    }

    fn truncate_before(&self, offset: u64) -> Result<(), DeviceError> {
        // A block that the offset cuts stays.
        self.lock().truncate(Effect::CutBefore(offset / BLOCK_BYTES as u64))
    }

    fn truncate_after(&self, offset: u64) -> Result<(), DeviceError> {
        if !offset.is_multiple_of(BLOCK_BYTES as u64) {
            let message = format!("the end must be a multiple of {BLOCK_BYTES} bytes");
            return Err(DeviceError::new(DeviceErrorKind::InvalidRequest, message).at_offset(offset));
        }
        self.lock().truncate(Effect::CutAfter(offset / BLOCK_BYTES as u64))
    }

    fn space_use(&self) -> Result<SpaceUse, DeviceError> {
        self.lock().space_use()
    }
}

fn check_slot_len(len_bytes: usize, fits: bool) -> Result<(), DeviceError> {
    if fits {
        return Ok(());
    }
    Err(DeviceError::new(
        DeviceErrorKind::InvalidRequest,
        format!("{len_bytes} bytes for a metadata slot of {METADATA_SLOT_BYTES}"),
    ))
}
