//! The one public error: a kind that tells the caller what to do, and the context to understand why.
//!
//! Used by every layer above the devices, whose [`DeviceError`]s become sources here.

use std::error::Error as StdError;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use oxifaster_device::{DeviceError, DeviceErrorKind};

use crate::address::Address;

/// What a caller should do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The operating system failed a request: it may be tried again.
    Io,
    /// The device is full: free space, then try again.
    OutOfSpace,
    /// Memory is full: delete, configure more, or use a device.
    OutOfMemory,
    /// What was read is not what was written: restore from a copy.
    Corruption,
    /// Somebody else has the store open for writing.
    Locked,
    /// A sync failed: close, and reopen at the last consistent point.
    Poisoned,
    /// The store or session was closed.
    Closed,
    /// The configuration can't work: the message says which key and what would be right.
    InvalidConfiguration,
    /// The arguments can't be stored: too large, or not encodable.
    InvalidInput,
    /// The device holds something else: another format, version, hash or codec.
    IncompatibleFormat,
    /// The platform can't do this.
    Unsupported,
}

/// An error with kind, message, place and source. One word large, so that results stay small.
pub struct Error(Box<Inside>);

#[derive(Debug)]
struct Inside {
    kind: ErrorKind,
    message: String,
    path: Option<PathBuf>,
    address: Option<Address>,
    key_hash: Option<u64>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// A result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error of `kind`; the message is lower case, with numbers and units, and says what to do.
    #[cold]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let message = message.into();
        Self(Box::new(Inside { kind, message, path: None, address: None, key_hash: None, source: None }))
    }

    /// Adds the file concerned.
    #[must_use]
    pub fn with_path(mut self, path: impl AsRef<Path>) -> Self {
        self.0.path = Some(path.as_ref().to_path_buf());
        self
    }

    /// Adds the log address concerned, unless there is one already.
    #[must_use]
    pub fn with_address(mut self, address: Address) -> Self {
        self.0.address.get_or_insert(address);
        self
    }

    /// Adds the hash of the key concerned.
    #[must_use]
    pub fn with_key_hash(mut self, hash: u64) -> Self {
        self.0.key_hash = Some(hash);
        self
    }

    /// Adds what caused it.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(Arc::from(source.into()));
        self
    }

    /// Puts `context` in front of the message.
    #[must_use]
    pub fn with_context(mut self, context: &str) -> Self {
        self.0.message = format!("{context}: {}", self.0.message);
        self
    }

    /// What the caller should do.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The file concerned.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.0.path.as_deref()
    }

    /// The log address concerned.
    #[must_use]
    pub fn address(&self) -> Option<Address> {
        self.0.address
    }

    /// The hash of the key concerned.
    #[must_use]
    pub fn key_hash(&self) -> Option<u64> {
        self.0.key_hash
    }

    /// A copy for another waiter of the same failure; both share the source.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        let Inside { kind, message, path, address, key_hash, source } = &*self.0;
        Self(Box::new(Inside {
            kind: *kind,
            message: message.clone(),
            path: path.clone(),
            address: *address,
            key_hash: *key_hash,
            source: source.clone(),
        }))
    }
}

impl Error {
    /// The kind of the operating system's error at the bottom, if there is one.
    fn system_kind(&self) -> Option<std::io::ErrorKind> {
        let mut source = self.source();
        while let Some(error) = source {
            if let Some(error) = error.downcast_ref::<std::io::Error>() {
                return Some(error.kind());
            }
            source = error.source();
        }
        None
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        if let Some(path) = &self.0.path {
            write!(f, " ({})", path.display())?;
        }
        if let Some(address) = self.0.address {
            write!(f, " (address {address})")?;
        }
        if let Some(hash) = self.0.key_hash {
            write!(f, " (key hash {hash:#018x})")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)?;
        if let Some(source) = &self.0.source {
            write!(f, ": {source}")?;
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_ref().map(|source| &**source as &(dyn StdError + 'static))
    }
}

impl From<DeviceError> for Error {
    #[cold]
    fn from(error: DeviceError) -> Self {
        let kind = match error.kind() {
            DeviceErrorKind::Full => ErrorKind::OutOfSpace,
            DeviceErrorKind::Corrupt => ErrorKind::Corruption,
            DeviceErrorKind::Locked => ErrorKind::Locked,
            DeviceErrorKind::Poisoned => ErrorKind::Poisoned,
            DeviceErrorKind::Closed => ErrorKind::Closed,
            DeviceErrorKind::InvalidRequest => ErrorKind::InvalidInput,
            DeviceErrorKind::Unsupported => ErrorKind::Unsupported,
            _ => ErrorKind::Io,
        };
        // The message tells the path and place already.
        Self::new(kind, error.to_string()).with_source(error)
    }
}

impl From<Error> for std::io::Error {
    fn from(error: Error) -> Self {
        use std::io::ErrorKind as Io;
        let kind = match error.kind() {
            ErrorKind::Io => error.system_kind().unwrap_or(Io::Other),
            ErrorKind::Poisoned => Io::Other,
            ErrorKind::OutOfSpace => Io::StorageFull,
            ErrorKind::OutOfMemory => Io::OutOfMemory,
            ErrorKind::Corruption | ErrorKind::IncompatibleFormat => Io::InvalidData,
            ErrorKind::Locked => Io::ResourceBusy,
            ErrorKind::Closed => Io::BrokenPipe,
            ErrorKind::InvalidConfiguration | ErrorKind::InvalidInput => Io::InvalidInput,
            ErrorKind::Unsupported => Io::Unsupported,
        };
        Self::new(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_one_word() {
        assert_eq!(size_of::<Result<()>>(), size_of::<usize>());
    }

    #[test]
    fn kinds_map_to_io_errors_and_keep_the_text() {
        let error = Error::new(ErrorKind::OutOfSpace, "the device is full").with_address(Address::new(16));
        let io = std::io::Error::from(error.duplicate());
        assert_eq!(io.kind(), std::io::ErrorKind::StorageFull);
        assert_eq!(io.to_string(), "the device is full (address 0x10)");
        assert_eq!(error.duplicate().address(), Some(Address::new(16)));
    }

    #[test]
    fn device_errors_keep_their_meaning() {
        let full = DeviceError::io("writing", std::io::Error::from(std::io::ErrorKind::StorageFull));
        let error = Error::from(full);
        assert_eq!(error.kind(), ErrorKind::OutOfSpace);
        assert!(error.source().is_some());
    }
    #[test]
    fn the_kind_of_the_operating_system_survives_and_duplicates_share_the_source() {
        let denied = DeviceError::io("opening", std::io::Error::from(std::io::ErrorKind::PermissionDenied));
        let error = Error::from(denied);
        assert_eq!(error.kind(), ErrorKind::Io);
        let other = error.duplicate();
        assert!(other.source().is_some_and(|source| source.is::<DeviceError>()));
        assert_eq!(other.to_string(), error.to_string());
        assert_eq!(std::io::Error::from(other).kind(), std::io::ErrorKind::PermissionDenied);
    }
}
