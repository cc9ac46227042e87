//! What a file device occupies: never more than was written, given back when cut, and refused in time.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a failed setup fails the test")]

use oxifaster_device::{
    DeviceError, DeviceErrorKind, FileOptions, FileSystemDisk, IoBuffer, IoOperation, IoRequest,
    StorageDevice, Wait, with_local_queue,
};

const MIB: u64 = 1 << 20;

fn execute(device: &dyn StorageDevice, offset: u64, operation: IoOperation) -> Result<usize, DeviceError> {
    with_local_queue(device, |queue| {
        queue.submit(IoRequest { tag: 0, offset, operation }).unwrap();
        let mut completions = Vec::new();
        queue.reap(Wait::ForOne, &mut completions).unwrap();
        completions.pop().unwrap().result
    })
    .unwrap()
}

/// Writes `len_bytes` of ones from `offset` on, in MiB steps, and syncs.
fn fill(device: &dyn StorageDevice, offset: u64, len_bytes: u64) {
    let buffer = IoBuffer::zeroed(256).unwrap();
    buffer.store_bytes(&vec![0xFF; buffer.len_bytes()]);
    for start in (0..len_bytes).step_by(buffer.len_bytes()) {
        let written = execute(device, offset + start, IoOperation::Write(buffer.clone())).unwrap();
        assert_eq!(written, buffer.len_bytes());
    }
    execute(device, 0, IoOperation::Sync).unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn truncated_space_is_given_back() {
    let folder = tempfile::tempdir().unwrap();
    let devices = [
        FileSystemDisk::single_file(folder.path().join("one")).unwrap(),
        FileSystemDisk::segmented(folder.path(), "many", 2 * MIB).unwrap(),
    ];
    for device in devices {
        let base = device.geometry().reserved_bytes;
        fill(&device, base, 32 * MIB);
        let before = device.space_use().unwrap();
        assert_eq!(before.end_offset, base + 32 * MIB);
        assert!(before.allocated_bytes >= 32 * MIB, "{before:?}");
        device.truncate_before(base + 24 * MIB).unwrap();
        let after = device.space_use().unwrap();
        assert_eq!(after.end_offset, before.end_offset);
        assert!(after.allocated_bytes + 23 * MIB < before.allocated_bytes, "{before:?} to {after:?}");
        device.truncate_before(base + 32 * MIB).unwrap();
        let after = device.space_use().unwrap();
        assert!(after.allocated_bytes < 18 * MIB, "all but reserved space: {after:?}");
    }
}

#[test]
fn apparent_size_is_what_was_written_and_reserved_space_is_released() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let options = FileOptions::default().with_preallocate_bytes(8 * MIB);
    let device = FileSystemDisk::single_file_with_options(&path, options).unwrap();
    fill(&device, 262_144, MIB);
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 262_144 + MIB);
    let open = device.space_use().unwrap();
    #[cfg(target_os = "linux")]
    assert!(open.allocated_bytes >= 8 * MIB, "nothing was reserved: {open:?}");
    drop(device);
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 262_144 + MIB);
    let device = FileSystemDisk::single_file(&path).unwrap();
    let reopened = device.space_use().unwrap();
    assert!(reopened.allocated_bytes < 2 * MIB, "{open:?} became {reopened:?}");
}

#[test]
fn a_full_device_refuses_in_time_and_tells_its_headroom() {
    let folder = tempfile::tempdir().unwrap();
    let options = FileOptions::default().with_capacity_bytes_max(262_144 + 2 * MIB + 100);
    let device = FileSystemDisk::single_file_with_options(folder.path().join("s"), options).unwrap();
    assert_eq!(device.geometry().capacity_bytes, 262_144 + 2 * MIB);
    fill(&device, 262_144, MIB);
    let headroom = device.headroom().unwrap();
    assert_eq!(headroom.until_capacity_bytes, MIB);
    assert!(headroom.free_bytes > 0);
    let two_mib = IoBuffer::zeroed(512).unwrap();
    let error = execute(&device, 262_144 + MIB, IoOperation::Write(two_mib)).unwrap_err();
    assert_eq!(error.kind(), DeviceErrorKind::Full);
    assert!(error.to_string().contains("2359296 bytes at most"), "{error}");
    // Refused as a whole, and nothing else suffers.
    assert_eq!(device.space_use().unwrap().end_offset, 262_144 + MIB);
    fill(&device, 262_144 + MIB, MIB);
    assert_eq!(device.headroom().unwrap().until_capacity_bytes, 0);
}

/// A write behind the process's file-size limit would raise a signal that ends the process; so the device knows the limit.
#[cfg(target_os = "linux")]
#[test]
fn the_file_size_limit_of_the_system_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let device = FileSystemDisk::single_file(folder.path().join("s")).unwrap();
    let capacity_bytes = device.geometry().capacity_bytes;
    assert!(capacity_bytes > 1 << 30, "{capacity_bytes}");
    let offset = capacity_bytes.min(u64::MAX / 8192 * 4096);
    let error = execute(&device, offset, IoOperation::Write(IoBuffer::zeroed(1).unwrap())).unwrap_err();
    assert_eq!(error.kind(), DeviceErrorKind::Full);
    // The very last block can be written, and the one behind it never.
    let last = execute(&device, capacity_bytes - 4096, IoOperation::Write(IoBuffer::zeroed(1).unwrap()));
    assert_eq!(last.unwrap(), 4096);
}
