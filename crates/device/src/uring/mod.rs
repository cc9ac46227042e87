//! The device on files whose reads go through `io_uring`, and through the portable path where that is not offered.
//!
//! Callers: whoever opens a store or a log. It keeps the files of `files` (same layout, same lock, same bytes: a store
//! may be opened with either device) and changes only how reads get to the kernel.
//!
//! ```text
//!   thread A: queue A ── ring A ──┐                       reads: one system call for a whole batch, no other thread
//!   thread B: queue B ── ring B ──┼──► files
//!                 └──── workers ──┘                       writes, syncs, and reads that need more than a transfer
//! ```
//!
//! | file | what it is |
//! |---|---|
//! | `options` | what may be chosen, and what the device says it uses |
//! | `ring` | one ring and the buffers lent to it: all unsafe code of this folder |
//! | `queue` | a queue: ring or workers, redoing by the portable path what a ring did not do entirely |
//!
//! Why writes and syncs do not go through rings, why files are not registered with them, and who owns what:
//! `docs/design/0009-rings.md`.

mod options;
#[cfg(all(feature = "io_uring", target_os = "linux"))]
mod queue;
#[cfg(all(feature = "io_uring", target_os = "linux"))]
mod ring;

use std::fmt;
use std::path::Path;
#[cfg(all(feature = "io_uring", target_os = "linux"))]
use std::sync::Arc;

use crate::device::{Geometry, MetadataSlot, SpaceUse, StorageDevice};
use crate::error::{DeviceError, DeviceErrorKind};
use crate::files::{FileSystemDisk, Headroom};
use crate::identity::DeviceIdentity;
use crate::queue::{IoQueue, QueueOptions};

pub use options::{IoBackend, IoUringOptions, RingUse};

/// A device on one file or on a folder of segment files whose reads go through `io_uring`.
///
/// Where the kernel, the platform or a sandbox does not offer `io_uring`, it does what [`FileSystemDisk`] does;
/// [`backend`](Self::backend) says which, and the log says why. Both devices read and write the same files.
///
/// # Durability
/// As [`FileSystemDisk`].
///
/// # Examples
/// ```
/// use oxifaster_device::{IoUringDevice, MetadataSlot, StorageDevice};
/// let folder = tempfile::tempdir()?;
/// let device = IoUringDevice::new(folder.path().join("store.oxf"))?;
/// device.write_metadata(MetadataSlot::Odd, b"survives power loss")?;
/// println!("reads go through {}", device.backend());
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct IoUringDevice {
    disk: FileSystemDisk,
    rings: Rings,
}

/// What the device knows of rings.
enum Rings {
    /// Threads get rings of this kind.
    #[cfg(all(feature = "io_uring", target_os = "linux"))]
    Offered(Arc<queue::RingReport>),
    /// There are none, and why.
    Refused(String),
}

impl IoUringDevice {
    /// The device in the file at `path`, as [`FileSystemDisk::single_file`].
    ///
    /// # Errors
    /// As there. A kernel without `io_uring` is no error.
    pub fn new(path: impl AsRef<Path>) -> Result<Self, DeviceError> {
        Self::with_options(path, IoUringOptions::default())
    }

    /// [`new`](Self::new) with settings.
    ///
    /// # Errors
    /// As [`new`](Self::new); `Unsupported` where rings are required and not offered.
    ///
    /// # Examples
    /// ```
    /// use oxifaster_device::{IoUringDevice, IoUringOptions, RingUse};
    /// let folder = tempfile::tempdir()?;
    /// let options = IoUringOptions::default().with_rings(RingUse::Never);
    /// let device = IoUringDevice::with_options(folder.path().join("store.oxf"), options)?;
    /// assert!(!device.backend().is_ring());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn with_options(path: impl AsRef<Path>, options: IoUringOptions) -> Result<Self, DeviceError> {
        let rings = Rings::offered(options.rings)?;
        Ok(Self::on(FileSystemDisk::single_file_with_options(path, options.files)?, rings))
    }

    /// The device in a folder of segment files, as [`FileSystemDisk::segmented`].
    ///
    /// # Errors
    /// As there. A kernel without `io_uring` is no error.
    pub fn segmented(
        directory: impl AsRef<Path>,
        prefix: &str,
        segment_bytes: u64,
    ) -> Result<Self, DeviceError> {
        Self::segmented_with_options(directory, prefix, segment_bytes, IoUringOptions::default())
    }

    /// [`segmented`](Self::segmented) with settings.
    ///
    /// # Errors
    /// As [`segmented`](Self::segmented); `Unsupported` where rings are required and not offered.
    pub fn segmented_with_options(
        directory: impl AsRef<Path>,
        prefix: &str,
        segment_bytes: u64,
        options: IoUringOptions,
    ) -> Result<Self, DeviceError> {
        let rings = Rings::offered(options.rings)?;
        let disk = FileSystemDisk::segmented_with_options(directory, prefix, segment_bytes, options.files)?;
        Ok(Self::on(disk, rings))
    }

    /// The device in the file at `path`, for reading only, as [`FileSystemDisk::single_file_read_only`].
    ///
    /// # Errors
    /// As there; `Unsupported` where rings are required and not offered.
    ///
    /// # Examples
    /// ```
    /// use oxifaster_device::{IoUringDevice, IoUringOptions};
    /// let folder = tempfile::tempdir()?;
    /// let owner = IoUringDevice::new(folder.path().join("events.log"))?;
    /// let reader = IoUringDevice::read_only(folder.path().join("events.log"), IoUringOptions::default())?;
    /// # drop((owner, reader));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn read_only(path: impl AsRef<Path>, options: IoUringOptions) -> Result<Self, DeviceError> {
        let rings = Rings::offered(options.rings)?;
        Ok(Self::on(FileSystemDisk::single_file_read_only_with_options(path, options.files)?, rings))
    }

    /// The device in a folder of segment files, for reading only, as [`FileSystemDisk::segmented_read_only`].
    ///
    /// # Errors
    /// As there; `Unsupported` where rings are required and not offered.
    pub fn segmented_read_only(
        directory: impl AsRef<Path>,
        prefix: &str,
        options: IoUringOptions,
    ) -> Result<Self, DeviceError> {
        let rings = Rings::offered(options.rings)?;
        let disk = FileSystemDisk::segmented_read_only_with_options(directory, prefix, options.files)?;
        Ok(Self::on(disk, rings))
    }

    fn on(disk: FileSystemDisk, rings: Rings) -> Self {
        let device = Self { disk, rings };
        match device.backend() {
            IoBackend::Portable { reason } => {
                tracing::warn!(path = %device.describe(), %reason, "io_uring is not used; reads take the portable path");
            }
            backend @ IoBackend::Ring { .. } => {
                tracing::info!(path = %device.describe(), %backend, "opened an io_uring device");
            }
        }
        device
    }

    /// What performs the reads: rings, or the portable path and why.
    #[must_use]
    pub fn backend(&self) -> IoBackend {
        match &self.rings {
            #[cfg(all(feature = "io_uring", target_os = "linux"))]
            Rings::Offered(report) => report.backend(),
            Rings::Refused(reason) => IoBackend::Portable { reason: reason.clone() },
        }
    }

    /// Whether I/O bypasses the page cache, as [`FileSystemDisk::io_is_direct`].
    #[must_use]
    pub fn io_is_direct(&self) -> bool {
        self.disk.io_is_direct()
    }

    /// How much more the device can take, as [`FileSystemDisk::headroom`].
    ///
    /// # Errors
    /// I/O errors.
    pub fn headroom(&self) -> Result<Headroom, DeviceError> {
        self.disk.headroom()
    }
}

impl Rings {
    fn offered(wanted: RingUse) -> Result<Self, DeviceError> {
        let found = match wanted {
            RingUse::Never => return Ok(Self::Refused("rings were switched off".to_owned())),
            RingUse::IfOffered | RingUse::Required => Self::probe(),
        };
        match found {
            Self::Refused(reason) if wanted == RingUse::Required => Err(DeviceError::new(
                DeviceErrorKind::Unsupported,
                format!("io_uring is required and not offered: {reason}"),
            )),
            found => Ok(found),
        }
    }

    #[cfg(all(feature = "io_uring", target_os = "linux"))]
    fn probe() -> Self {
        match ring::RingSetup::probe() {
            Ok(setup) => Self::Offered(Arc::new(queue::RingReport::new(setup))),
            Err(error) => Self::Refused(format!("the kernel refuses a ring: {error}")),
        }
    }

    #[cfg(not(all(feature = "io_uring", target_os = "linux")))]
    fn probe() -> Self {
        let reason = if cfg!(target_os = "linux") {
            "this program was built without the feature io_uring"
        } else {
            "this platform has no io_uring"
        };
        Self::Refused(reason.to_owned())
    }
}

impl StorageDevice for IoUringDevice {
    fn describe(&self) -> String {
        self.disk.describe()
    }

    fn identity(&self) -> &DeviceIdentity {
        self.disk.identity()
    }

    fn geometry(&self) -> Geometry {
        self.disk.geometry()
    }

    fn open_queue(&self, options: QueueOptions) -> Result<Box<dyn IoQueue>, DeviceError> {
        match &self.rings {
            #[cfg(all(feature = "io_uring", target_os = "linux"))]
            Rings::Offered(report) => {
                let portable = self.disk.open_worker_queue(options)?;
                Ok(Box::new(queue::UringQueue::new(portable, report, self.geometry(), options)))
            }
            Rings::Refused(_) => self.disk.open_queue(options),
        }
    }

    fn read_metadata(&self, slot: MetadataSlot, buffer: &mut [u8]) -> Result<(), DeviceError> {
        self.disk.read_metadata(slot, buffer)
    }

    fn write_metadata(&self, slot: MetadataSlot, bytes: &[u8]) -> Result<(), DeviceError> {
        self.disk.write_metadata(slot, bytes)
    }

    fn truncate_before(&self, offset: u64) -> Result<(), DeviceError> {
        self.disk.truncate_before(offset)
    }

    fn truncate_after(&self, offset: u64) -> Result<(), DeviceError> {
        self.disk.truncate_after(offset)
    }

    fn space_use(&self) -> Result<SpaceUse, DeviceError> {
        self.disk.space_use()
    }
}

impl fmt::Debug for IoUringDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IoUringDevice").field("disk", &self.disk).field("backend", &self.backend()).finish()
    }
}
