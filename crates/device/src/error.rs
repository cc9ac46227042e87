//! What can go wrong at a device.
//!
//! The kind tells the caller what to do; the message says what happened, with numbers and units; path, offset and
//! source say where. Nothing here is `Clone`-shared state: an error belongs to whoever got it.

use std::path::{Path, PathBuf};

/// What a caller should do about a [`DeviceError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeviceErrorKind {
    /// The operating system failed a request; it may be tried again unless it was a sync.
    Io,
    /// No space is left, or a size limit of the file system or the configuration was reached.
    Full,
    /// What was read is not what was written.
    Corrupt,
    /// Another process, or another store in this one, owns the device.
    Locked,
    /// A sync failed before: what was written since the last good sync may be lost. Close and reopen.
    Poisoned,
    /// The device or queue was closed.
    Closed,
    /// The request breaks the contract: alignment, length, a range outside of the device.
    InvalidRequest,
    /// The platform or file system can't do this.
    Unsupported,
}

/// An error of a device: kind, message, place and source.
#[derive(Debug, thiserror::Error)]
#[error("{message}{}", self.place())]
pub struct DeviceError {
    kind: DeviceErrorKind,
    message: String,
    path: Option<PathBuf>,
    offset: Option<u64>,
    failed_sync: bool,
    #[source]
    source: Option<std::io::Error>,
}

impl DeviceError {
    /// An error of `kind`; `message` is lower case and says what was tried.
    pub fn new(kind: DeviceErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), path: None, offset: None, failed_sync: false, source: None }
    }

    /// Wraps an operating-system error. Kinds that mean "no space" become [`DeviceErrorKind::Full`].
    pub fn io(message: impl Into<String>, source: std::io::Error) -> Self {
        use std::io::ErrorKind;
        let kind = match source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                DeviceErrorKind::Full
            }
            ErrorKind::Unsupported => DeviceErrorKind::Unsupported,
            _ => DeviceErrorKind::Io,
        };
        Self {
            kind,
            message: message.into(),
            path: None,
            offset: None,
            failed_sync: false,
            source: Some(source),
        }
    }

    /// Adds the file that was touched.
    #[must_use]
    pub fn at_path(mut self, path: impl AsRef<Path>) -> Self {
        self.path = Some(path.as_ref().to_path_buf());
        self
    }

    /// Adds the byte offset that was touched.
    #[must_use]
    pub fn at_offset(mut self, offset: u64) -> Self {
        self.offset = Some(offset);
        self
    }

    /// The same error as that of a sync, or of the sync in a metadata write: see [`is_failed_sync`](Self::is_failed_sync). A full
    /// device becomes an I/O error, because space that comes back does not bring back what the sync has lost.
    #[must_use]
    pub fn of_sync(mut self) -> Self {
        self.failed_sync = true;
        if self.kind == DeviceErrorKind::Full {
            self.kind = DeviceErrorKind::Io;
        }
        self
    }

    /// Whether a sync failed, now or (kind `Poisoned`) earlier: what was written since the last good one may be lost, and no
    /// later sync can say that it is not.
    #[must_use]
    pub fn is_failed_sync(&self) -> bool {
        self.failed_sync || self.kind == DeviceErrorKind::Poisoned
    }

    /// What the caller should do.
    pub fn kind(&self) -> DeviceErrorKind {
        self.kind
    }

    /// The file concerned, if there is one.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The byte offset concerned, if there is one.
    pub fn offset(&self) -> Option<u64> {
        self.offset
    }

    /// A copy for another waiter of the same failure. The source is kept as its kind and text.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Self {
            kind: self.kind,
            message: self.message.clone(),
            path: self.path.clone(),
            offset: self.offset,
            failed_sync: self.failed_sync,
            source: self.source.as_ref().map(|source| std::io::Error::new(source.kind(), source.to_string())),
        }
    }

    fn place(&self) -> String {
        let mut place = String::new();
        if let Some(path) = &self.path {
            place.push_str(&format!(" ({}", path.display()));
            if let Some(offset) = self.offset {
                place.push_str(&format!(" at byte {offset}"));
            }
            place.push(')');
        } else if let Some(offset) = self.offset {
            place.push_str(&format!(" (at byte {offset})"));
        }
        if let Some(source) = &self.source {
            place.push_str(&format!(": {source}"));
        }
        place
    }
}

impl From<DeviceError> for std::io::Error {
    fn from(error: DeviceError) -> Self {
        use std::io::ErrorKind;
        let kind = match error.kind {
            DeviceErrorKind::Io => error.source.as_ref().map_or(ErrorKind::Other, std::io::Error::kind),
            DeviceErrorKind::Full => ErrorKind::StorageFull,
            DeviceErrorKind::Corrupt => ErrorKind::InvalidData,
            DeviceErrorKind::Locked => ErrorKind::ResourceBusy,
            DeviceErrorKind::Poisoned => ErrorKind::Other,
            DeviceErrorKind::Closed => ErrorKind::BrokenPipe,
            DeviceErrorKind::InvalidRequest => ErrorKind::InvalidInput,
            DeviceErrorKind::Unsupported => ErrorKind::Unsupported,
        };
        std::io::Error::new(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use super::{DeviceError, DeviceErrorKind};

    /// "Make space and try again" is the wrong advice after a sync, whatever the system said.
    #[test]
    fn a_failed_sync_is_never_a_full_device() {
        let full = || DeviceError::io("syncing a file", std::io::ErrorKind::StorageFull.into());
        assert_eq!((full().kind(), full().is_failed_sync()), (DeviceErrorKind::Full, false));
        for failed in [full().of_sync(), full().of_sync().duplicate()] {
            assert_eq!((failed.kind(), failed.is_failed_sync()), (DeviceErrorKind::Io, true));
        }
        assert!(DeviceError::new(DeviceErrorKind::Poisoned, "").is_failed_sync());
    }
}
