//! Every device of this crate keeps the contract.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a failed setup fails the test")]

use std::cell::RefCell;
use std::path::Path;

use oxifaster_device::conformance::Conformance;
use oxifaster_device::fault::{FaultDevice, FaultPlan, Trigger};
use oxifaster_device::{
    DeviceError, FileOptions, FileSystemDisk, IoUringDevice, IoUringOptions, NullDisk, RingUse, StorageDevice,
};

fn on_files<D: StorageDevice>(open: impl Fn(&Path) -> Result<D, DeviceError>) {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("device");
    let boxed = || Ok(Box::new(open(&place)?) as Box<dyn StorageDevice>);
    let create = || {
        if place.is_dir() {
            std::fs::remove_dir_all(&place).unwrap();
        } else if place.exists() {
            std::fs::remove_file(&place).unwrap();
        }
        boxed()
    };
    Conformance::new(&create).reopening(&boxed).run();
}

#[test]
fn null_disk() {
    Conformance::new(&|| Ok(Box::new(NullDisk::new()))).forgetting().run();
}

#[test]
fn single_file_direct() {
    on_files(|path| FileSystemDisk::single_file(path));
}

#[test]
fn single_file_buffered_with_one_worker() {
    let options = FileOptions::default().with_direct_io(false).with_workers(1).with_preallocate_bytes(0);
    on_files(|path| {
        let device = FileSystemDisk::single_file_with_options(path, options.clone())?;
        assert!(!device.io_is_direct());
        Ok(device)
    });
}

/// Segments of 16 blocks, of which two may be open: requests span segments and files are closed and opened again.
#[test]
fn segmented_direct() {
    let options = FileOptions::default().with_open_segments_max(2);
    on_files(|path| FileSystemDisk::segmented_with_options(path, "store", 16 * 4096, options.clone()));
}

#[test]
fn segmented_buffered_with_one_block_each() {
    let options = FileOptions::default().with_direct_io(false).with_capacity_bytes_max(1 << 30);
    on_files(|path| FileSystemDisk::segmented_with_options(path, "store", 4096, options.clone()));
}

#[test]
fn segmented_in_one_large_segment() {
    on_files(|path| FileSystemDisk::segmented(path, "store", 1 << 30));
}

#[test]
fn io_uring_single_file_direct() {
    on_files(|path| {
        let device = IoUringDevice::new(path)?;
        println!("reads go through {}", device.backend());
        Ok(device)
    });
}

#[test]
fn io_uring_single_file_buffered() {
    let files = FileOptions::default().with_direct_io(false);
    on_files(|path| IoUringDevice::with_options(path, IoUringOptions::default().with_files(files.clone())));
}

#[test]
fn io_uring_segmented_direct() {
    let options = IoUringOptions::default().with_files(FileOptions::default().with_open_segments_max(2));
    on_files(|path| IoUringDevice::segmented_with_options(path, "store", 16 * 4096, options.clone()));
}

#[test]
fn io_uring_without_rings() {
    let options = IoUringOptions::default().with_rings(RingUse::Never);
    on_files(|path| {
        let device = IoUringDevice::with_options(path, options.clone())?;
        assert!(!device.backend().is_ring());
        Ok(device)
    });
}

#[test]
fn fault_device() {
    let handle = RefCell::new(FaultDevice::new(1));
    let keep = |device: FaultDevice| {
        *handle.borrow_mut() = device.clone();
        Ok(Box::new(device) as Box<dyn StorageDevice>)
    };
    let create = || keep(FaultDevice::new(1).with_reserved_bytes(8192).with_capacity_bytes(1 << 30));
    let reopen = || {
        let reopened = handle.borrow().reopen();
        keep(reopened)
    };
    let failing_sync = || keep(FaultDevice::with_plan(1, FaultPlan::new().fail_syncs(Trigger::nth(1))));
    Conformance::new(&create).reopening(&reopen).failing_sync(&failing_sync).with_shared_handles().run();
}
