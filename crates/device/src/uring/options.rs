//! How an [`IoUringDevice`](super::IoUringDevice) is opened, and what it says it uses.

use std::fmt;

use crate::files::FileOptions;

/// Whether a device may, must or must not use `io_uring`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RingUse {
    /// Use it where the kernel offers it, else the portable path: see [`IoUringDevice::backend`](super::IoUringDevice::backend).
    #[default]
    IfOffered,
    /// Fail to open where the kernel does not offer it.
    Required,
    /// The portable path only, as [`FileSystemDisk`](crate::FileSystemDisk).
    Never,
}

/// Settings of an [`IoUringDevice`](super::IoUringDevice). They change speed and limits, never what is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct IoUringOptions {
    /// Settings of the files below, which are those of a [`FileSystemDisk`](crate::FileSystemDisk).
    pub files: FileOptions,
    /// Whether rings may, must or must not be used.
    pub rings: RingUse,
}

impl IoUringOptions {
    /// With these settings of the files below.
    #[must_use]
    pub fn with_files(mut self, files: FileOptions) -> Self {
        self.files = files;
        self
    }

    /// With, without, or if possible with rings.
    #[must_use]
    pub fn with_rings(mut self, rings: RingUse) -> Self {
        self.rings = rings;
        self
    }
}

/// What performs the reads of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IoBackend {
    /// `io_uring`: every thread that reads has a ring of its own.
    Ring {
        /// How the rings are set up, as the kernel allows it: `single issuer, deferred` is the best.
        setup: &'static str,
        /// Queues that got no ring, or lost theirs, and use the portable path. Why is in the log.
        queues_without_ring: u64,
    },
    /// Positioned reads: on the calling thread when there is one, on worker threads when there are many.
    Portable {
        /// Why there are no rings.
        reason: String,
    },
}

impl IoBackend {
    /// Whether reads go through rings.
    #[must_use]
    pub fn is_ring(&self) -> bool {
        matches!(self, IoBackend::Ring { .. })
    }
}

impl fmt::Display for IoBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IoBackend::Ring { setup, queues_without_ring: 0 } => write!(f, "io_uring ({setup})"),
            IoBackend::Ring { setup, queues_without_ring } => {
                write!(f, "io_uring ({setup}; {queues_without_ring} queues without a ring)")
            }
            IoBackend::Portable { reason } => write!(f, "portable ({reason})"),
        }
    }
}
