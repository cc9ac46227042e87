//! Who may open a file device: one owner, no stale lock, no two stores in one place, and nothing foreign is touched.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a failed setup fails the test")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use oxifaster_device::device::METADATA_SLOT_BYTES;
use oxifaster_device::metadata::COPY_BYTES;
use oxifaster_device::sync::{clock, thread};
use oxifaster_device::{
    ContentKind, DeviceErrorKind, FileSystemDisk, IoBuffer, IoOperation, IoRequest, MetadataArea,
    MetadataSlot, QueueOptions, StorageDevice, Wait, with_local_queue,
};

const HOLDER: &str = "OXIFASTER_TEST_HOLDS_DEVICE";

fn write_block(device: &dyn StorageDevice, offset: u64) {
    let request = IoRequest { tag: 0, offset, operation: IoOperation::Write(IoBuffer::zeroed(1).unwrap()) };
    let completion = with_local_queue(device, |queue| {
        queue.submit(request).unwrap();
        let mut completions = Vec::new();
        queue.reap(Wait::ForOne, &mut completions).unwrap();
        completions.pop().unwrap()
    });
    assert_eq!(completion.unwrap().result.unwrap(), 4096);
}

/// Not a test of its own: the process that `stale_lock_file` kills.
#[test]
fn holder_process() {
    let Some(path) = std::env::var_os(HOLDER) else { return };
    let _device = FileSystemDisk::single_file(Path::new(&path)).unwrap();
    loop {
        thread::sleep(Duration::from_secs(1));
    }
}

/// The story: a lock *file* stayed behind when a process was killed, and locked everybody out until somebody deleted it.
/// Our lock is the kernel's: it is held as long as the process lives, and the file that stays behind means nothing.
#[test]
fn stale_lock_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let mut holder = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "holder_process"])
        .env(HOLDER, &path)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let start = clock::now();
    while !path.exists() || FileSystemDisk::single_file(&path).is_ok() {
        assert!(start.elapsed() < Duration::from_secs(60), "the other process never opened the device");
        assert!(holder.try_wait().unwrap().is_none(), "the other process ended");
        thread::sleep(Duration::from_millis(5));
    }
    let error = FileSystemDisk::single_file(&path).unwrap_err();
    assert_eq!(error.kind(), DeviceErrorKind::Locked);
    assert!(error.to_string().contains("has this device open"), "{error}");
    assert!(error.to_string().contains("store"), "the path is missing: {error}");
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert!(path.exists());
    FileSystemDisk::single_file(&path).unwrap();
}

/// The story: two databases shared a log file and one returned the other's values.
#[test]
fn two_stores_one_folder() {
    let folder = tempfile::tempdir().unwrap();
    let first = FileSystemDisk::segmented(folder.path(), "a", 1 << 20).unwrap();
    let error = FileSystemDisk::segmented(folder.path(), "a", 1 << 20).unwrap_err();
    assert_eq!(error.kind(), DeviceErrorKind::Locked);
    let second = FileSystemDisk::segmented(folder.path(), "b", 1 << 20).unwrap();
    let error = FileSystemDisk::single_file(folder.path().join("a.meta")).unwrap_err();
    assert_eq!(error.kind(), DeviceErrorKind::Locked);
    write_block(&first, 0);
    assert_eq!(first.space_use().unwrap().end_offset, 4096);
    assert_eq!(second.space_use().unwrap().end_offset, 0);
    assert!(folder.path().join("a.000000.log").exists() && !folder.path().join("b.000000.log").exists());
    second.truncate_after(0).unwrap();
    drop(second);
    let second = FileSystemDisk::segmented(folder.path(), "b", 1 << 20).unwrap();
    assert_eq!(second.space_use().unwrap().end_offset, 0);
}

/// Between fork and exec a child shares every open file, locks included: closing must let go all the same.
#[cfg(unix)]
#[test]
fn a_child_about_to_become_another_program_does_not_keep_the_lock() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let children = thread::spawn("children", || {
        for _ in 0..200 {
            Command::new("true").status().unwrap();
        }
    })
    .unwrap();
    let mut locked = 0;
    while !children.is_finished() {
        locked += u32::from(FileSystemDisk::single_file(&path).is_err());
    }
    children.join().unwrap();
    assert_eq!(locked, 0, "opens that were refused");
}

/// The thread that asked keeps a queue in its cache, another keeps one by hand: neither keeps the lock.
#[test]
fn queues_do_not_keep_the_lock() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let mut kept = Vec::new();
    for round in 0..5 {
        let device = FileSystemDisk::single_file(&path).unwrap();
        write_block(&device, 262_144 + round * 4096);
        kept.push(device.open_queue(QueueOptions::default()).unwrap());
    }
    assert_eq!(kept.len(), 5);
}

#[test]
fn a_foreign_file_is_refused_and_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("letter.txt");
    // An odd size, so that direct I/O meets an end inside of a block.
    let letter = b"Dear reader, ".repeat(3000);
    std::fs::write(&path, &letter).unwrap();
    let before = std::fs::metadata(&path).unwrap();
    let device = FileSystemDisk::single_file(&path).unwrap();
    let error = MetadataArea::open(&device, ContentKind::FasterKv).unwrap_err();
    assert_eq!(error.kind(), DeviceErrorKind::InvalidRequest);
    assert!(error.to_string().contains("letter.txt") && error.to_string().contains("not an oxifaster store"));
    drop(device);
    assert_eq!(std::fs::read(&path).unwrap(), letter);
    let after = std::fs::metadata(&path).unwrap();
    assert_eq!(before.modified().unwrap(), after.modified().unwrap());

    let error = FileSystemDisk::single_file(folder.path()).unwrap_err();
    assert_eq!(error.kind(), DeviceErrorKind::InvalidRequest, "a folder: {error}");
}

#[test]
fn metadata_survives_on_both_layouts() {
    let folder = tempfile::tempdir().unwrap();
    let open: [&dyn Fn() -> FileSystemDisk; 2] =
        [&|| FileSystemDisk::single_file(folder.path().join("one")).unwrap(), &|| {
            FileSystemDisk::segmented(folder.path().join("many/deep"), "s", 8192).unwrap()
        }];
    for open in open {
        for generation in 1..=4_u64 {
            let device = open();
            let (mut area, loaded) = MetadataArea::open(&device, ContentKind::FasterLog).unwrap();
            let found = loaded.map_or(0, |loaded| {
                assert_eq!(loaded.payload, loaded.generation.to_le_bytes());
                loaded.generation
            });
            assert_eq!(found + 1, generation);
            assert_eq!(area.write_next(&device, &generation.to_le_bytes()).unwrap(), generation);
        }
    }
}

#[test]
fn another_segment_size_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let device = FileSystemDisk::segmented(folder.path(), "s", 8192).unwrap();
    write_block(&device, 0);
    drop(device);
    for other in [4096, 16_384] {
        let error = FileSystemDisk::segmented(folder.path(), "s", other).unwrap_err();
        assert_eq!(error.kind(), DeviceErrorKind::InvalidRequest);
        assert!(error.to_string().contains("segments of 8192 bytes"), "{error}");
    }
    for invalid in [0, 4095, 5000] {
        assert!(FileSystemDisk::segmented(folder.path(), "s", invalid).is_err());
    }
    std::fs::write(folder.path().join("t.000000.log"), [7; 4096]).unwrap();
    let error = FileSystemDisk::segmented(folder.path(), "t", 8192).unwrap_err();
    assert_eq!(error.kind(), DeviceErrorKind::Corrupt, "segments without metadata: {error}");
    assert!(!folder.path().join("t.meta").exists());
}

#[test]
fn a_damaged_slot_is_seen_through_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let device = FileSystemDisk::single_file(&path).unwrap();
    let (mut area, _) = MetadataArea::open(&device, ContentKind::FasterKv).unwrap();
    area.write_next(&device, b"first").unwrap();
    area.write_next(&device, b"second").unwrap();
    drop(device);
    let mut bytes = std::fs::read(&path).unwrap();
    let slot = MetadataSlot::Even.index() * METADATA_SLOT_BYTES;
    for (copy, generation) in [(COPY_BYTES, 2), (0, 1)] {
        *bytes.get_mut(slot + copy + 29).unwrap() ^= 0x10;
        std::fs::write(&path, &bytes).unwrap();
        let device = FileSystemDisk::single_file(&path).unwrap();
        let loaded = MetadataArea::read(&device, ContentKind::FasterKv).unwrap().unwrap();
        assert_eq!((loaded.generation, loaded.damaged_copy), (generation, true));
    }
}
