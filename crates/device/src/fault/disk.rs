//! The disk under fault devices: what outlives a device that its store took, and who may open it.
//!
//! Callers: tests that give the only handle away, as an application does, and come back after the store is gone.
//!
//! A disk points at the state of the device made last from it. Lock order: the disk's pointer, then a device's state; nobody
//! takes them the other way round.

use std::sync::Arc;

use super::counts::{FaultCounts, Traffic};
use super::device::FaultDevice;
use super::plan::FaultPlan;
use super::state::{Life, State};
use crate::error::{DeviceError, DeviceErrorKind};
use crate::sync::Mutex;

/// What a fault device's bytes lie on. It keeps no device alive, so that dropping the last handle gives up the single
/// writer's lock, and it follows crashes and restarts.
///
/// # Examples
/// ```
/// use oxifaster_device::fault::FaultDevice;
/// use oxifaster_device::{DeviceErrorKind, MetadataSlot, StorageDevice};
/// # fn main() -> Result<(), oxifaster_device::DeviceError> {
/// let device = FaultDevice::new(1);
/// let disk = device.disk();
/// device.write_metadata(MetadataSlot::Odd, b"generation 1")?;
/// assert_eq!(disk.open().unwrap_err().kind(), DeviceErrorKind::Locked);
/// drop(device);
/// assert_eq!(&disk.open()?.metadata_bytes(MetadataSlot::Odd)[..12], b"generation 1");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct FaultDisk {
    current: Arc<Mutex<Arc<Mutex<State>>>>,
}

impl FaultDisk {
    pub(super) fn of_state(shared: &Arc<Mutex<State>>) -> Self {
        Self { current: Arc::new(Mutex::new(Arc::clone(shared))) }
    }

    fn state(&self) -> Arc<Mutex<State>> {
        Arc::clone(&self.current.lock())
    }

    /// Opens the disk again after its owner closed it or was dropped: see [`FaultDevice::reopen`].
    ///
    /// # Errors
    /// `Locked` while a device owns the disk: a handle is left and was not closed, or power was lost and no
    /// [`crash`](Self::crash) said what that left.
    pub fn open(&self) -> Result<FaultDevice, DeviceError> {
        let mut current = self.current.lock();
        let state = {
            let mut state = current.lock();
            let message = match state.life {
                Life::Closed => None,
                Life::Open => Some("another handle owns the disk"),
                Life::PowerLost => Some("power was lost on the disk: crash it"),
            };
            if let Some(message) = message {
                return Err(DeviceError::new(DeviceErrorKind::Locked, message));
            }
            state.reopen()
        };
        *current = Arc::new(Mutex::new(state));
        Ok(FaultDevice::on_disk(Arc::clone(&current), self.clone()))
    }

    /// Loses power under whoever owns the disk, or after the owner is gone: see [`FaultDevice::crash`].
    #[must_use]
    pub fn crash(&self, seed: u64) -> FaultDevice {
        let shared = self.state();
        self.replace(&shared, |state| state.crash(seed))
    }

    /// Makes a device of what `next` makes of `old`; the disk follows it.
    pub(super) fn replace(&self, old: &Mutex<State>, next: impl FnOnce(&mut State) -> State) -> FaultDevice {
        let mut current = self.current.lock();
        let state = next(&mut old.lock());
        *current = Arc::new(Mutex::new(state));
        FaultDevice::on_disk(Arc::clone(&current), self.clone())
    }

    /// Replaces the fault plan of the device that owns the disk.
    pub fn set_plan(&self, plan: FaultPlan) {
        self.state().lock().install(plan);
    }

    /// What was injected so far.
    #[must_use]
    pub fn counts(&self) -> FaultCounts {
        self.state().lock().counts
    }

    /// What was executed so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.state().lock().traffic
    }
}
