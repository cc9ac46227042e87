//! Reading a device that somebody else has open: no lock, no change, and what is new is seen.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a failed setup fails the test")]

use std::path::Path;

use oxifaster_device::{
    BLOCK_BYTES, DeviceErrorKind, FileSystemDisk, IoBuffer, IoOperation, IoRequest, MetadataArea,
    MetadataSlot, StorageDevice, Wait, with_local_queue,
};

fn run(device: &dyn StorageDevice, offset: u64, operation: IoOperation) -> Result<usize, DeviceErrorKind> {
    with_local_queue(device, |queue| {
        queue.submit(IoRequest { tag: 0, offset, operation }).unwrap();
        let mut completions = Vec::new();
        queue.reap(Wait::ForOne, &mut completions).unwrap();
        completions.pop().unwrap().result.map_err(|error| error.kind())
    })
    .unwrap()
}

fn write(device: &dyn StorageDevice, offset: u64, byte: u8) {
    let buffer = IoBuffer::zeroed(1).unwrap();
    buffer.store_bytes(&[byte; BLOCK_BYTES]);
    assert_eq!(run(device, offset, IoOperation::Write(buffer)), Ok(BLOCK_BYTES));
}

/// The first byte of a block, if there is such a block.
fn read(device: &dyn StorageDevice, offset: u64) -> Option<u8> {
    let buffer = IoBuffer::zeroed(1).unwrap();
    let moved = run(device, offset, IoOperation::Read(buffer.clone())).unwrap();
    let mut bytes = [0; BLOCK_BYTES];
    buffer.load_bytes(&mut bytes);
    (moved == BLOCK_BYTES).then_some(bytes[0])
}

fn follows(owner: &FileSystemDisk, reader: &FileSystemDisk, start: u64) {
    let block = BLOCK_BYTES as u64;
    assert_eq!(read(reader, start), None);
    for number in 0..9 {
        write(owner, start + number * block, 7 + u8::try_from(number).unwrap());
        assert_eq!(read(reader, start + number * block), Some(7 + u8::try_from(number).unwrap()));
    }
    assert_eq!(run(reader, 0, IoOperation::Sync), Ok(0));
    let generations = MetadataArea::peek(reader).unwrap();
    owner.write_metadata(MetadataSlot::Odd, &[9; 100]).unwrap();
    assert_ne!(MetadataArea::peek(reader).unwrap(), generations);
    owner.truncate_before(start + 4 * block).unwrap();
    assert_eq!(read(reader, start + 8 * block), Some(15));
    assert_eq!(reader.space_use().unwrap().end_offset, owner.space_use().unwrap().end_offset);

    let refused = Err(DeviceErrorKind::InvalidRequest);
    assert_eq!(run(reader, start, IoOperation::Write(IoBuffer::zeroed(1).unwrap())), refused);
    assert!(reader.write_metadata(MetadataSlot::Even, b"no").is_err());
    assert!(reader.truncate_before(start + 8 * block).is_err() && reader.truncate_after(start).is_err());
    assert_eq!(read(owner, start + 8 * block), Some(15));
}

fn listing(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_file_that_is_in_use_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events");
    assert!(FileSystemDisk::single_file_read_only(&path).is_err());
    assert_eq!(listing(folder.path()), Vec::<String>::new());
    let owner = FileSystemDisk::single_file(&path).unwrap();
    let reader = FileSystemDisk::single_file_read_only(&path).unwrap();
    follows(&owner, &reader, owner.geometry().reserved_bytes);
    // A reader keeps no owner out, and lets go of nobody's lock.
    drop(reader);
    assert_eq!(FileSystemDisk::single_file(&path).unwrap_err().kind(), DeviceErrorKind::Locked);
    let reader = FileSystemDisk::single_file_read_only(&path).unwrap();
    drop(owner);
    drop(FileSystemDisk::single_file(&path).unwrap());
    drop(reader);
}

#[test]
fn segments_that_are_in_use_are_read() {
    let folder = tempfile::tempdir().unwrap();
    assert!(FileSystemDisk::segmented_read_only(folder.path(), "events").is_err());
    assert_eq!(listing(folder.path()), Vec::<String>::new());
    let owner = FileSystemDisk::segmented(folder.path(), "events", 2 * BLOCK_BYTES as u64).unwrap();
    let error = FileSystemDisk::segmented_read_only(folder.path(), "events").unwrap_err();
    assert_eq!(error.kind(), DeviceErrorKind::InvalidRequest, "its segments have no size yet");
    owner.write_metadata(MetadataSlot::Even, b"first").unwrap();
    let reader = FileSystemDisk::segmented_read_only(folder.path(), "events").unwrap();
    follows(&owner, &reader, 0);
    assert_eq!(
        listing(folder.path()),
        ["events.000002.log", "events.000003.log", "events.000004.log", "events.meta"]
    );
}
