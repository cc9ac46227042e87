#![expect(unsafe_code, reason = "the test makes a copy of its process; see below")]
#![cfg(all(target_os = "linux", target_env = "gnu"))]
//! A copy of the process drops its copy of a device: the owner keeps its lock and its space, and nobody waits for threads that
//! the copy does not have.
//!
//! # Soundness
//! 1. The copy of a process with several threads may use what glibc makes usable behind a fork (its memory allocator), and
//!    no lock that another thread may have held. It drops a device, whose files and memory are this thread's alone, and ends by
//!    `_exit`, which runs nothing else.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a failed setup fails the test")]

use std::time::Duration;

use oxifaster_device::sync::{clock, thread};
use oxifaster_device::{
    DeviceErrorKind, FileOptions, FileSystemDisk, IoBuffer, IoOperation, IoRequest, MetadataSlot,
    QueueOptions, StorageDevice, Wait,
};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

/// What the copy that runs `action` ends with.
fn in_a_copy(action: impl FnOnce()) -> i32 {
    // SAFETY: obligation 1.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        action();
        // SAFETY: obligation 1.
        unsafe { libc::_exit(0) }
    }
    let pid = Pid::from_raw(pid).expect("a copy was made");
    let since = clock::now();
    loop {
        if let Some((_, status)) = waitpid(Some(pid), WaitOptions::NOHANG).expect("the copy is ours") {
            return status.exit_status().expect("it ends by itself");
        }
        if since.elapsed() > Duration::from_secs(20) {
            kill_process(pid, Signal::KILL).expect("the copy is ours");
            waitpid(Some(pid), WaitOptions::empty()).expect("the copy is ours");
            panic!("the copy hangs");
        }
        thread::sleep(Duration::from_millis(5));
    }
}

fn write_block(device: &FileSystemDisk, offset: u64) {
    let mut queue = device.open_queue(QueueOptions::default()).unwrap();
    // Two at once, so that worker threads are started.
    for tag in 0..2 {
        let operation = IoOperation::Write(IoBuffer::zeroed(1).unwrap());
        queue.submit(IoRequest { tag, offset: offset + tag * 4096, operation }).unwrap();
    }
    let mut completions = Vec::new();
    while completions.len() < 2 {
        queue.reap(Wait::ForOne, &mut completions).unwrap();
    }
    assert!(completions.iter().all(|completion| matches!(completion.result, Ok(4096))));
}

#[test]
fn a_copy_of_the_process_takes_nothing_from_the_owner() {
    let folder = tempfile::tempdir().unwrap();
    let options = || FileOptions::default().with_preallocate_bytes(8 << 20);
    let single = || FileSystemDisk::single_file_with_options(folder.path().join("one"), options());
    let segmented = || FileSystemDisk::segmented_with_options(folder.path(), "many", 64 << 20, options());
    let open: [&dyn Fn() -> Result<FileSystemDisk, oxifaster_device::DeviceError>; 2] = [&single, &segmented];
    // A device that has workers, and one whose files nobody but the copy's own thread holds.
    for (open, workers) in open.into_iter().flat_map(|open| [(open, false), (open, true)]) {
        let mut device = Some(open().unwrap());
        match workers {
            true => write_block(device.as_ref().unwrap(), 262_144),
            false => device.as_ref().unwrap().write_metadata(MetadataSlot::Odd, b"ours").unwrap(),
        }
        let before = device.as_ref().unwrap().space_use().unwrap();
        assert_eq!(in_a_copy(|| drop(device.take())), 0);
        let device = device.as_ref().unwrap();
        assert_eq!(device.space_use().unwrap(), before, "{}", device.describe());
        assert_eq!(open().unwrap_err().kind(), DeviceErrorKind::Locked, "{}", device.describe());
        write_block(device, 1 << 20);
    }
}
