//! What a sync covers, told by the files that the system was asked to sync.
#![expect(clippy::unwrap_used, reason = "a file that can't be used fails the test")]

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::{FileOptions, SegmentedFiles};
use crate::device::MetadataSlot;
use crate::files::layout::Layout;
use crate::os::file::synced;
use crate::{BLOCK_BYTES, IoBuffer};

const SEGMENT_BYTES: u64 = 16 * BLOCK_BYTES as u64;

fn open(folder: &Path) -> SegmentedFiles {
    // Two open files at most, so that idle ones are closed.
    let options = FileOptions { open_segments_max: 2, ..FileOptions::default() };
    SegmentedFiles::open(folder, "s", SEGMENT_BYTES, &options).unwrap()
}

/// A device with five whole segments, all durable, that was opened again and whose first sync is over.
fn settled(folder: &Path) -> SegmentedFiles {
    let files = open(folder);
    let buffer = IoBuffer::zeroed(5 * 16).unwrap();
    assert_eq!(files.write(0, buffer.memory(), buffer.word_range()).unwrap(), buffer.len_bytes());
    files.write_slot(MetadataSlot::Odd, b"generation 1").unwrap();
    files.sync_slots().unwrap();
    files.sync().unwrap();
    drop(files);
    let files = open(folder);
    files.sync().unwrap();
    synced::take();
    files
}

fn inode(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().ino()
}

fn segment(folder: &Path, index: u64) -> u64 {
    inode(&folder.join(format!("s.{index:06}.log")))
}

/// What the next sync covers. The one behind it has nothing left to do.
fn covered(files: &SegmentedFiles) -> Vec<u64> {
    files.sync().unwrap();
    let mut covered = synced::take();
    covered.sort_unstable();
    files.sync().unwrap();
    assert_eq!(synced::take(), [], "nothing has changed in between");
    covered
}

fn sorted(mut inodes: Vec<u64>) -> Vec<u64> {
    inodes.sort_unstable();
    inodes
}

#[test]
fn a_sync_covers_what_was_written_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let files = settled(folder.path());
    let buffer = IoBuffer::zeroed(1).unwrap();
    files.write(SEGMENT_BYTES, buffer.memory(), buffer.word_range()).unwrap();
    assert_eq!(covered(&files), [segment(folder.path(), 1)]);
    files.write(7 * SEGMENT_BYTES, buffer.memory(), buffer.word_range()).unwrap();
    assert_eq!(covered(&files), sorted(vec![segment(folder.path(), 7), inode(folder.path())]));
}

/// The deleted segments come back with their directory entries, and the shortened one with its length.
#[test]
fn a_sync_makes_a_truncation_of_the_end_durable() {
    let folder = tempfile::tempdir().unwrap();
    let files = settled(folder.path());
    files.truncate_after(2 * SEGMENT_BYTES + BLOCK_BYTES as u64).unwrap();
    // Other files come and go in between: the shortened one must stay open until it is synced.
    let buffer = IoBuffer::zeroed(1).unwrap();
    files.read(0, buffer.memory(), buffer.word_range()).unwrap();
    files.read(SEGMENT_BYTES, buffer.memory(), buffer.word_range()).unwrap();
    assert_eq!(covered(&files), sorted(vec![segment(folder.path(), 2), inode(folder.path())]));
}

/// A metadata write syncs the directory, too; what is deleted behind it needs another one.
#[test]
fn a_truncation_behind_a_metadata_write_is_still_made_durable() {
    let folder = tempfile::tempdir().unwrap();
    let files = settled(folder.path());
    files.write_slot(MetadataSlot::Even, b"generation 2").unwrap();
    files.sync_slots().unwrap();
    synced::take();
    files.truncate_after(3 * SEGMENT_BYTES).unwrap();
    assert_eq!(covered(&files), [inode(folder.path())]);
}

#[test]
fn a_sync_makes_a_truncation_of_the_front_durable() {
    let folder = tempfile::tempdir().unwrap();
    let files = settled(folder.path());
    files.truncate_before(2 * SEGMENT_BYTES).unwrap();
    assert_eq!(covered(&files), [inode(folder.path())]);
    // The last segment is emptied in place.
    files.truncate_before(5 * SEGMENT_BYTES).unwrap();
    assert_eq!(covered(&files), sorted(vec![segment(folder.path(), 4), inode(folder.path())]));
}
