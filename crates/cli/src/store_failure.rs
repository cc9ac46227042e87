//! What errors of devices and stores mean for the program: which exit code, and what to do about it in its own words.
//!
//! Callers: everything that opens or uses a store. The codes are those of `failure`.

use std::error::Error as _;
use std::io;
use std::path::Path;

use oxifaster_core::error::{Error, ErrorKind};
use oxifaster_device::DeviceError;
use oxifaster_store::{IndexDemand, TooManyKeys};

use crate::byte_size::{ByteSize, Grouped};
use crate::failure::{Failure, FailureKind};
use crate::memory_plan::{Existing, MemoryPlan};
use crate::reopening::least_mebibytes;

/// What an error of the device means for the program.
#[must_use]
pub fn device_failure(folder: &Path, error: &DeviceError) -> Failure {
    store_failure(folder, &Error::from(error.duplicate()))
}

/// What an error of the store means for the program.
#[must_use]
pub fn store_failure(folder: &Path, error: &Error) -> Failure {
    let folder = folder.display();
    match error.kind() {
        ErrorKind::Locked => Failure::new(
            FailureKind::Locked,
            format_args!("another process has the store in {folder} open: {error}"),
        ),
        ErrorKind::Corruption => {
            Failure::new(FailureKind::Damage, format_args!("the store in {folder} is damaged: {error}"))
        }
        ErrorKind::IncompatibleFormat => Failure::new(
            FailureKind::NotAStore,
            format_args!("{folder} holds no store of this program: {error}"),
        ),
        ErrorKind::InvalidConfiguration => {
            Failure::usage(format_args!("--memory does not suit the store in {folder}: {error}"))
        }
        _ => Failure::other(format_args!("the store in {folder} failed: {error}")),
    }
}

/// Whether a device was not opened because its files may not be written.
#[must_use]
pub fn is_write_refused(error: &DeviceError) -> bool {
    let system = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    system.is_some_and(|error| {
        matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
    })
}

/// About how many keys a store has, if it was not opened because they are too many.
#[must_use]
pub fn too_many_keys(error: &Error) -> Option<u64> {
    error.source()?.downcast_ref::<TooManyKeys>().map(|too_many| too_many.keys)
}

/// The failure to open a store whose index has no room in the memory, which names enough of it.
#[must_use]
pub fn too_little(folder: &Path, plan: &MemoryPlan, existing: &Existing, keys: u64) -> Failure {
    let index = IndexDemand { keys, table_size: existing.buckets, page_bytes: existing.page_bytes };
    Failure::usage(format_args!(
        "--memory {} is too little for the index of the store in {}, which holds about {} keys, deleted ones included: the \
         least is --memory {}M",
        ByteSize(plan.total_bytes),
        folder.display(),
        Grouped(keys),
        least_mebibytes(&plan.demand, &index)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_that_is_refused_is_a_wrong_argument() {
        let refused = Error::new(ErrorKind::InvalidConfiguration, "no");
        assert_eq!(store_failure(Path::new("db"), &refused).kind(), FailureKind::Usage);
    }
}
