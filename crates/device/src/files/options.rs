//! How a [`FileSystemDisk`](super::FileSystemDisk) does its work.

/// Settings of a file device. They change speed and limits, never what is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileOptions {
    /// Threads that do I/O, at most; they start when there is work for them. At least 1.
    pub workers: usize,
    /// Bypass the page cache where the file system allows it. What is in force is told by
    /// [`io_is_direct`](super::FileSystemDisk::io_is_direct).
    pub direct_io: bool,
    /// Space is reserved ahead of the writes in steps of this many bytes, and given back when the device is dropped; 0
    /// reserves nothing. Reserved space is in `allocated_bytes` and not in the apparent size.
    pub preallocate_bytes: u64,
    /// Refuse writes that end above this offset with `Full`, on top of what the file system allows.
    pub capacity_bytes_max: Option<u64>,
    /// Segment files kept open, at most. (Those with unsynced writes stay open in any case.)
    pub open_segments_max: usize,
}

impl Default for FileOptions {
    /// 16 workers, direct I/O, reserving 16 MiB at a time, no limit of its own, 256 open segments.
    fn default() -> Self {
        Self {
            workers: 16,
            direct_io: true,
            preallocate_bytes: 16 << 20,
            capacity_bytes_max: None,
            open_segments_max: 256,
        }
    }
}

impl FileOptions {
    /// With at most this many threads.
    #[must_use]
    pub fn with_workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// With or without direct I/O.
    #[must_use]
    pub fn with_direct_io(mut self, direct_io: bool) -> Self {
        self.direct_io = direct_io;
        self
    }

    /// Reserving this many bytes at a time.
    #[must_use]
    pub fn with_preallocate_bytes(mut self, preallocate_bytes: u64) -> Self {
        self.preallocate_bytes = preallocate_bytes;
        self
    }

    /// Refusing writes that end above this offset.
    #[must_use]
    pub fn with_capacity_bytes_max(mut self, capacity_bytes_max: u64) -> Self {
        self.capacity_bytes_max = Some(capacity_bytes_max);
        self
    }

    /// Keeping at most this many segment files open.
    #[must_use]
    pub fn with_open_segments_max(mut self, open_segments_max: usize) -> Self {
        self.open_segments_max = open_segments_max;
        self
    }
}
