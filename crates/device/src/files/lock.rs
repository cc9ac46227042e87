//! One writer: the kernel-held lock of a device.
//!
//! The lock belongs to the open file, so a second open in the same process is refused as well, and the kernel lets go of
//! it when the process ends, however it ends. The file's existence means nothing: one that is left over locks nobody out.

use std::fs::TryLockError;

use super::block_file::BlockFile;
use crate::error::{DeviceError, DeviceErrorKind};

/// Takes the lock for as long as the file stays open.
pub(super) fn lock(file: &BlockFile) -> Result<(), DeviceError> {
    match file.file().try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(DeviceError::new(
            DeviceErrorKind::Locked,
            "another process, or another store of this process, has this device open: a device has one owner at a time",
        )
        .at_path(file.path())),
        Err(TryLockError::Error(error)) if error.kind() == std::io::ErrorKind::Unsupported => {
            Err(DeviceError::new(
                DeviceErrorKind::Unsupported,
                "this file system has no file locks: two owners could not be told apart",
            )
            .at_path(file.path()))
        }
        Err(TryLockError::Error(error)) => Err(file.failed("locking a file", error)),
    }
}

/// Lets go of the lock, if this file has it. Closing alone would not do: a child process that was forked a moment ago, and
/// has not yet become its own program, shares the open file and keeps the lock until then.
pub(super) fn unlock(file: &BlockFile) {
    if let Err(error) = file.file().unlock() {
        // The kernel lets go when the last copy of the open file is closed.
        tracing::warn!(path = %file.path().display(), %error, "a file was not unlocked");
    }
}
