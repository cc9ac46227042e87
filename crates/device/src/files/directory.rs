//! Names in directories: making them, and making them durable.
//!
//! A file whose directory entry is not durable is gone after a power loss, however often it was synced itself; and one that was
//! deleted is back, with all it held, until the directory says durably that it is gone. So the first sync after opening, and
//! the first one after a file was made or deleted, syncs the directory too. The first after opening because an earlier
//! process may have made or deleted the file and died before its sync.

use std::path::{Path, PathBuf};

use crate::error::DeviceError;
use crate::os::file as os;
use crate::sync::atomic::{AtomicBool, Ordering};

/// The directory of a device's files.
pub(super) struct Directory {
    path: PathBuf,
    /// A name was made or deleted since the last sync. Release by who did it, acquire by the sync.
    unsynced: AtomicBool,
}

impl Directory {
    /// The directory that holds `file`.
    pub(super) fn of_file(file: &Path) -> Self {
        let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
        Self::existing(parent.unwrap_or_else(|| Path::new(".")))
    }

    fn existing(path: &Path) -> Self {
        Self { path: path.to_path_buf(), unsynced: AtomicBool::new(true) }
    }

    /// The directory `path`, made with its parents if it is missing; each of those is durable then.
    pub(super) fn made(path: &Path) -> Result<Self, DeviceError> {
        let missing: Vec<&Path> =
            path.ancestors().take_while(|part| !part.as_os_str().is_empty() && !part.exists()).collect();
        std::fs::create_dir_all(path)
            .map_err(|error| DeviceError::io("making a directory", error).at_path(path))?;
        for made in missing {
            Self::of_file(made).sync()?;
        }
        Ok(Self::existing(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Notes that a file was made here, before its first write completes, or was deleted, before the call that did it returns.
    pub(super) fn names_changed(&self) {
        self.unsynced.store(true, Ordering::Release);
    }

    /// Makes names durable that are not yet. One caller at a time.
    pub(super) fn sync(&self) -> Result<(), DeviceError> {
        // Cleared first: a name made or deleted during the sync is for the next one.
        if self.unsynced.swap(false, Ordering::AcqRel) {
            os::sync_directory(&self.path).map_err(|error| {
                self.unsynced.store(true, Ordering::Release);
                DeviceError::io("syncing a directory", error).at_path(&self.path)
            })?;
        }
        Ok(())
    }
}
