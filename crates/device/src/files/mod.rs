//! The device on files: one file, or a folder of segments.
//!
//! Callers: whoever opens a store or a log. Not known here: what blocks and metadata mean.
//!
//! | file | what it is |
//! |---|---|
//! | `layout` | how the offset space lies in files; `single` and `segmented` are the two ways |
//! | `segment_reader` | segments that somebody else writes |
//! | `store` | capacity, poison, execution of one request |
//! | `segment_names`, `segment_size` | what a segmented device's files are called, and how long they are |
//! | `block_file` | one open file: transfers, reserved space, direct I/O |
//! | `sync_gate`, `directory`, `lock` | durability and ownership |
//!
//! Invariants:
//! 1. A constructor changes no byte of a file that exists: whether it is ours is for the layer above to find out.
//! 2. The apparent size never exceeds the highest written block; reserved space is behind it and released on drop.
//! 3. A device that was opened for reading takes no lock, makes no file and changes no byte.
//! 4. A copy of the process, made by a fork, changes nothing by dropping its copy of the device.
//! 5. The lock outlives every other file of the device (a segmented device closes its segments first).

mod block_file;
mod directory;
mod layout;
mod lock;
mod options;
mod segment_names;
mod segment_reader;
mod segment_size;
mod segmented;
mod single;
mod store;
mod sync_gate;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::device::{Geometry, MetadataSlot, SpaceUse, StorageDevice};
use crate::error::DeviceError;
use crate::identity::DeviceIdentity;
use crate::queue::{IoQueue, QueueOptions};
use crate::workers::{WorkerPool, WorkerQueue};

#[cfg(all(feature = "io_uring", target_os = "linux"))]
pub(crate) use block_file::BlockFile;
use layout::Layout;
use segment_reader::SegmentReader;
use segmented::SegmentedFiles;
use single::SingleFile;
pub(crate) use store::FileStore;

pub use options::FileOptions;

/// A device on one file or on a folder of segment files, with blocking I/O on worker threads.
///
/// # Durability
/// A write is durable after a later sync completed, a metadata slot when the call returns. Dropping the device syncs nothing.
///
/// # Examples
/// ```
/// use oxifaster_device::{FileSystemDisk, MetadataSlot, StorageDevice};
/// let folder = tempfile::tempdir()?;
/// let device = FileSystemDisk::single_file(folder.path().join("store.oxf"))?;
/// device.write_metadata(MetadataSlot::Odd, b"survives power loss")?;
/// assert!(FileSystemDisk::single_file(folder.path().join("store.oxf")).is_err(), "one owner at a time");
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct FileSystemDisk {
    // Dropped in this order: the pool joins its threads and takes the store from every queue; then the files close.
    pool: WorkerPool<FileStore>,
    store: Arc<FileStore>,
    identity: DeviceIdentity,
}

/// How much more a device can take, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headroom {
    /// From the end of the device to its capacity (file-size limit or configuration).
    pub until_capacity_bytes: u64,
    /// What the file system can still allocate, for everybody who writes to it.
    pub free_bytes: u64,
}

impl FileSystemDisk {
    /// The device in the file at `path`, which is made if it is missing. The file's first 262,144 bytes are for metadata.
    ///
    /// # Errors
    /// `Locked` when somebody has it open as a device; `InvalidRequest` when `path` is no ordinary file; I/O errors.
    ///
    /// # Examples
    /// ```
    /// use oxifaster_device::FileSystemDisk;
    ///
    /// let folder = tempfile::tempdir()?;
    /// let device = FileSystemDisk::single_file(folder.path().join("store.log"))?;
    /// assert!(device.headroom()?.free_bytes > 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn single_file(path: impl AsRef<Path>) -> Result<Self, DeviceError> {
        Self::single_file_with_options(path, FileOptions::default())
    }

    /// [`single_file`](Self::single_file) with settings.
    ///
    /// # Errors
    /// As [`single_file`](Self::single_file).
    ///
    /// # Examples
    /// ```
    /// use oxifaster_device::{FileOptions, FileSystemDisk, StorageDevice};
    ///
    /// let folder = tempfile::tempdir()?;
    /// let options = FileOptions::default().with_capacity_bytes_max(1 << 30);
    /// let device = FileSystemDisk::single_file_with_options(folder.path().join("store.log"), options)?;
    /// assert_eq!(device.geometry().capacity_bytes, 1 << 30);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn single_file_with_options(
        path: impl AsRef<Path>,
        options: FileOptions,
    ) -> Result<Self, DeviceError> {
        let layout = SingleFile::open(path.as_ref(), &options)?;
        Ok(Self::on(Box::new(layout), &options, false))
    }

    /// The device in the files `{prefix}.meta` and `{prefix}.{index}.log` of a folder, each of the latter holding
    /// `segment_bytes` of the offset space. The folder is made if it is missing. Devices of different prefixes can share it.
    ///
    /// # Errors
    /// `Locked` when somebody has it open as a device; `InvalidRequest` when the prefix is no plain file name or
    /// `segment_bytes` is not a positive multiple of 4096, fits no file, or is not what the device was made with;
    /// `Corrupt` when there are segments and no `{prefix}.meta`; I/O errors.
    ///
    /// # Examples
    /// ```
    /// use oxifaster_device::{FileSystemDisk, StorageDevice};
    ///
    /// let folder = tempfile::tempdir()?;
    /// let device = FileSystemDisk::segmented(folder.path(), "store", 64 << 20)?;
    /// assert!(device.geometry().persistent);
    /// assert!(folder.path().join("store.meta").exists());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn segmented(
        directory: impl AsRef<Path>,
        prefix: &str,
        segment_bytes: u64,
    ) -> Result<Self, DeviceError> {
        Self::segmented_with_options(directory, prefix, segment_bytes, FileOptions::default())
    }

    /// [`segmented`](Self::segmented) with settings.
    ///
    /// # Errors
    /// As [`segmented`](Self::segmented).
    pub fn segmented_with_options(
        directory: impl AsRef<Path>,
        prefix: &str,
        segment_bytes: u64,
        options: FileOptions,
    ) -> Result<Self, DeviceError> {
        let layout = SegmentedFiles::open(directory.as_ref(), prefix, segment_bytes, &options)?;
        Ok(Self::on(Box::new(layout), &options, false))
    }

    /// The device in the file at `path`, for reading only, while somebody else may have it open and write it. It takes no lock and
    /// changes nothing: writes, metadata writes and truncation are refused. A sync makes durable what the *owner* wrote.
    ///
    /// What its owner writes at the same time may be read half: who reads checks what it reads.
    ///
    /// # Errors
    /// I/O errors, also when there is no such file.
    ///
    /// # Examples
    /// ```
    /// use oxifaster_device::{FileSystemDisk, MetadataSlot, StorageDevice};
    ///
    /// let folder = tempfile::tempdir()?;
    /// let owner = FileSystemDisk::single_file(folder.path().join("events.log"))?;
    /// owner.write_metadata(MetadataSlot::Odd, b"news")?;
    /// let reader = FileSystemDisk::single_file_read_only(folder.path().join("events.log"))?;
    /// let mut front = [0; 4];
    /// reader.read_metadata(MetadataSlot::Odd, &mut front)?;
    /// assert_eq!(&front, b"news");
    /// assert!(reader.write_metadata(MetadataSlot::Even, b"no").is_err());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn single_file_read_only(path: impl AsRef<Path>) -> Result<Self, DeviceError> {
        Self::single_file_read_only_with_options(path, FileOptions::default())
    }

    /// [`single_file_read_only`](Self::single_file_read_only) with settings.
    ///
    /// # Errors
    /// As there.
    pub fn single_file_read_only_with_options(
        path: impl AsRef<Path>,
        options: FileOptions,
    ) -> Result<Self, DeviceError> {
        let layout = SingleFile::open_to_read(path.as_ref(), &options)?;
        Ok(Self::on(Box::new(layout), &options, true))
    }

    /// The device in the segments of a folder, for reading only, as [`single_file_read_only`](Self::single_file_read_only). The size of
    /// the segments is the recorded one; segments that the owner makes or deletes appear and vanish here.
    ///
    /// # Errors
    /// I/O errors, also when there is no `{prefix}.meta`; `InvalidRequest` when nothing was ever written to the device.
    ///
    /// # Examples
    /// ```
    /// use oxifaster_device::{FileSystemDisk, MetadataSlot, StorageDevice};
    ///
    /// let folder = tempfile::tempdir()?;
    /// let owner = FileSystemDisk::segmented(folder.path(), "events", 64 << 20)?;
    /// owner.write_metadata(MetadataSlot::Odd, b"news")?;
    /// let reader = FileSystemDisk::segmented_read_only(folder.path(), "events")?;
    /// assert_eq!(reader.space_use()?.end_offset, 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn segmented_read_only(directory: impl AsRef<Path>, prefix: &str) -> Result<Self, DeviceError> {
        Self::segmented_read_only_with_options(directory, prefix, FileOptions::default())
    }

    /// [`segmented_read_only`](Self::segmented_read_only) with settings.
    ///
    /// # Errors
    /// As there.
    pub fn segmented_read_only_with_options(
        directory: impl AsRef<Path>,
        prefix: &str,
        options: FileOptions,
    ) -> Result<Self, DeviceError> {
        let layout = SegmentReader::open(directory.as_ref(), prefix, &options)?;
        Ok(Self::on(Box::new(layout), &options, true))
    }

    fn on(layout: Box<dyn Layout>, options: &FileOptions, read_only: bool) -> Self {
        let store = Arc::new(FileStore::new(layout, options.capacity_bytes_max, read_only));
        tracing::info!(
            path = %store.layout().path().display(),
            direct_io = store.layout().is_direct(),
            capacity_bytes = store.capacity_bytes(),
            read_only,
            "opened a file device"
        );
        let pool = WorkerPool::new("oxf-file-io", options.workers, Arc::clone(&store));
        Self { pool, store, identity: DeviceIdentity::new() }
    }

    /// A queue of the portable kind, by its own type.
    pub(crate) fn open_worker_queue(
        &self,
        options: QueueOptions,
    ) -> Result<WorkerQueue<FileStore>, DeviceError> {
        self.pool.open_queue(self.geometry(), options)
    }

    /// Whether I/O bypasses the page cache. It turns false for good when the file system refuses a direct request.
    #[must_use]
    pub fn io_is_direct(&self) -> bool {
        self.store.layout().is_direct()
    }

    /// How much more the device can take.
    ///
    /// # Errors
    /// I/O errors.
    pub fn headroom(&self) -> Result<Headroom, DeviceError> {
        let end_offset = self.store.layout().space_use()?.end_offset;
        Ok(Headroom {
            until_capacity_bytes: self.store.capacity_bytes().saturating_sub(end_offset),
            free_bytes: self.store.layout().free_bytes()?,
        })
    }
}

impl StorageDevice for FileSystemDisk {
    fn describe(&self) -> String {
        self.store.layout().path().display().to_string()
    }

    fn identity(&self) -> &DeviceIdentity {
        &self.identity
    }

    fn geometry(&self) -> Geometry {
        Geometry {
            reserved_bytes: self.store.layout().reserved_bytes(),
            capacity_bytes: self.store.capacity_bytes(),
            persistent: true,
        }
    }

    fn open_queue(&self, options: QueueOptions) -> Result<Box<dyn IoQueue>, DeviceError> {
        Ok(Box::new(self.open_worker_queue(options)?))
    }

    fn read_metadata(&self, slot: MetadataSlot, buffer: &mut [u8]) -> Result<(), DeviceError> {
        self.store.layout().read_slot(slot, buffer)
    }

    fn write_metadata(&self, slot: MetadataSlot, bytes: &[u8]) -> Result<(), DeviceError> {
        self.store.write_metadata(slot, bytes)
    }

    fn truncate_before(&self, offset: u64) -> Result<(), DeviceError> {
        self.store.check_writable()?;
        self.store.layout().truncate_before(offset)
    }

    fn truncate_after(&self, offset: u64) -> Result<(), DeviceError> {
        self.store.check_writable()?;
        self.store.layout().truncate_after(offset)
    }

    fn space_use(&self) -> Result<SpaceUse, DeviceError> {
        self.store.layout().space_use()
    }
}

impl fmt::Debug for FileSystemDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileSystemDisk")
            .field("path", &self.store.layout().path())
            .field("pool", &self.pool)
            .finish_non_exhaustive()
    }
}
