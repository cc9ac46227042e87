//! What a fault device did: operations and injected faults, each kind with its own counter.
//!
//! Callers: tests, which fail a run that injected none of the kind it was made for. Written under the device's lock.

use std::ops::AddAssign;

/// Defines a struct of counters together with its sum, so that a new counter can't be forgotten in one of them.
macro_rules! counters {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct $name {
            $($(#[$field_doc])* pub $field: u64,)*
        }

        impl AddAssign for $name {
            fn add_assign(&mut self, other: Self) {
                $(self.$field += other.$field;)*
            }
        }
    };
}

counters! {
    /// Operations that a device executed, failed ones included.
    ///
    /// # Examples
    /// ```
    /// use oxifaster_device::fault::FaultDevice;
    /// use oxifaster_device::{MetadataSlot, StorageDevice};
    /// # fn main() -> Result<(), oxifaster_device::DeviceError> {
    /// let device = FaultDevice::new(1);
    /// device.write_metadata(MetadataSlot::Even, b"generation 2")?;
    /// assert_eq!(device.traffic().metadata_writes, 1);
    /// assert_eq!(device.traffic().changes, 1);
    /// # Ok(())
    /// # }
    /// ```
    Traffic {
        /// Block reads.
        reads,
        /// Block writes.
        writes,
        /// Syncs.
        syncs,
        /// Metadata slots read.
        metadata_reads,
        /// Metadata slots written.
        metadata_writes,
        /// Truncations at either end.
        truncations,
        /// Writes, syncs, metadata writes and truncations together: the numbering of
        /// [`CrashPoint::AfterChanges`](super::CrashPoint::AfterChanges).
        changes,
        /// Bytes that block reads moved.
        bytes_read,
        /// Bytes that block writes moved.
        bytes_written,
    }
}

counters! {
    /// Faults that a device injected, by kind. A device made by `crash` or `reopen` goes on counting where the old one
    /// stopped; several runs are summed with `+=`.
    ///
    /// # Examples
    /// ```
    /// use oxifaster_device::fault::{FaultDevice, FaultPlan, Trigger};
    /// use oxifaster_device::{MetadataSlot, StorageDevice};
    /// let device = FaultDevice::with_plan(1, FaultPlan::new().fail_metadata_writes(Trigger::nth(1)));
    /// assert!(device.write_metadata(MetadataSlot::Odd, b"generation 1").is_err());
    /// assert_eq!(device.counts().metadata_write_errors, 1);
    /// ```
    FaultCounts {
        /// Reads that failed with an I/O error.
        read_errors,
        /// Writes that failed with an I/O error.
        write_errors,
        /// Syncs that failed with an I/O error.
        sync_errors,
        /// Metadata reads that failed with an I/O error.
        metadata_read_errors,
        /// Metadata writes that failed with an I/O error.
        metadata_write_errors,
        /// Metadata writes whose sync failed.
        metadata_sync_errors,
        /// Metadata slots left torn by power loss during their write.
        metadata_torn,
        /// Writes that found no space.
        full_errors,
        /// Reads that moved fewer bytes than asked, other than at the end of the device.
        short_reads,
        /// Writes that moved fewer bytes than asked.
        short_writes,
        /// Batches executed or delivered in another order than they came in.
        reordered_batches,
        /// Requests delayed by a number of reaps or by time.
        delayed,
        /// Bits flipped in data as read.
        read_bits_flipped,
        /// Bits flipped in the image, metadata included.
        image_bits_flipped,
        /// Writes that a failed sync dropped: lost at the next crash.
        lost_by_failed_sync,
        /// Requests refused because a sync had failed before.
        poisoned_refusals,
        /// Requests refused because power was lost or the handle was closed.
        closed_refusals,
        /// Crash points reached.
        crash_points,
        /// Calls of `crash`.
        crashes,
        /// Unsynced changes that survived a crash.
        crash_kept,
        /// Unsynced changes that a crash dropped.
        crash_dropped,
        /// Unsynced writes of which a crash kept some sectors.
        crash_torn,
        /// Unsynced writes that a crash turned into zeros.
        crash_zeroed,
        /// Unsynced writes that a crash turned into noise.
        crash_scrambled,
    }
}
