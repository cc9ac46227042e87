//! Status: how an operation ended, in one byte.
//!
//! Callers: users of pending reads, who sort results by it, and later the second API, which returns nothing else. An
//! [`Error`] says more; its [`ErrorKind`] maps to one status, and several kinds may share one.

use crate::error::{Error, ErrorKind};

/// How an operation ended. The numbers are stable: `Ok`, `Pending` and `NotFound` are those of C++ FASTER.
///
/// ```
/// use oxifaster_core::error::{Error, ErrorKind};
/// use oxifaster_core::status::Status;
///
/// assert_eq!(Status::of::<u64>(&Ok(None)), Status::NotFound);
/// let damaged: Result<Option<u64>, _> = Err(Error::new(ErrorKind::Corruption, "a flipped bit"));
/// assert_eq!(Status::of(&damaged), Status::Corruption);
/// assert!(Status::Corruption.is_error() && !Status::NotFound.is_error());
/// assert_eq!(size_of::<Status>(), 1);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum Status {
    /// Done; a read found the key.
    Ok = 0,
    /// Started; the device is asked.
    Pending = 1,
    /// Done; there is no such key.
    NotFound = 2,
    /// Memory or device is full.
    OutOfMemory = 3,
    /// The device failed.
    IoError = 4,
    /// What was read is not what was written.
    Corruption = 5,
    /// Refused: the store is closed, locked or poisoned, or the arguments can't be stored.
    Aborted = 6,
}

/// [`Status`], under the name of the earlier ports.
pub use self::Status as OperationStatus;

impl Status {
    /// The status of a finished look-up.
    #[must_use]
    pub fn of<T>(result: &Result<Option<T>, Error>) -> Self {
        match result {
            Ok(Some(_)) => Status::Ok,
            Ok(None) => Status::NotFound,
            Err(error) => error.kind().into(),
        }
    }

    /// Whether the operation failed. Pending is no failure, and neither is a key that is not there.
    #[must_use]
    pub fn is_error(self) -> bool {
        !matches!(self, Status::Ok | Status::Pending | Status::NotFound)
    }
}

impl From<ErrorKind> for Status {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::OutOfMemory | ErrorKind::OutOfSpace => Status::OutOfMemory,
            ErrorKind::Io => Status::IoError,
            ErrorKind::Corruption | ErrorKind::IncompatibleFormat => Status::Corruption,
            ErrorKind::Locked
            | ErrorKind::Poisoned
            | ErrorKind::Closed
            | ErrorKind::InvalidConfiguration
            | ErrorKind::InvalidInput
            | ErrorKind::Unsupported => Status::Aborted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Status;
    use crate::error::{Error, ErrorKind};

    #[test]
    fn numbers_are_stable_and_kinds_map_to_failures() {
        let numbers = [Status::Ok, Status::Pending, Status::NotFound, Status::OutOfMemory, Status::IoError];
        assert_eq!(numbers.map(|status| status as u8), [0, 1, 2, 3, 4]);
        assert_eq!((Status::Corruption as u8, Status::Aborted as u8), (5, 6));
        for (kind, status) in [
            (ErrorKind::Io, Status::IoError),
            (ErrorKind::OutOfSpace, Status::OutOfMemory),
            (ErrorKind::Corruption, Status::Corruption),
            (ErrorKind::Poisoned, Status::Aborted),
        ] {
            let failed: Result<Option<u64>, Error> = Err(Error::new(kind, "made up"));
            assert_eq!(Status::of(&failed), status);
            assert!(status.is_error());
        }
        assert_eq!(Status::of(&Ok(Some(1))), Status::Ok);
    }
}
