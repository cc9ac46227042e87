//! What the conformance suite can't see of the `io_uring` device: which backend runs, and what is in flight when it ends.
#![cfg(target_os = "linux")]
#![expect(clippy::print_stdout, reason = "which backend ran is part of the result")]
#![expect(clippy::unwrap_used, reason = "helpers of tests: a failed setup fails the test")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use oxifaster_device::{
    BLOCK_BYTES, Completion, DeviceErrorKind, FileOptions, IoBackend, IoBuffer, IoOperation, IoQueue,
    IoRequest, IoUringDevice, IoUringOptions, QueueOptions, RingUse, StorageDevice, Wait, with_local_queue,
};

/// Whether this kernel lets this process use `io_uring`, by its own word, not by trying.
fn kernel_offers_rings() -> bool {
    let switched_on = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled")
        .is_ok_and(|disabled| disabled.trim() == "0");
    let unfiltered = std::fs::read_to_string("/proc/self/status")
        .is_ok_and(|status| status.lines().any(|line| line.split_whitespace().eq(["Seccomp:", "0"])));
    cfg!(feature = "io_uring") && switched_on && unfiltered
}

/// The device, with rings if the kernel says that it has them: a silent fall-back fails every test here.
fn open(path: &Path) -> IoUringDevice {
    let device = IoUringDevice::new(path).unwrap();
    println!("reads go through {}", device.backend());
    assert!(
        device.backend().is_ring() || !kernel_offers_rings(),
        "the kernel offers io_uring and it is not used: {}",
        device.backend()
    );
    device
}

fn request(tag: u64, offset: u64, operation: IoOperation) -> IoRequest {
    IoRequest { tag, offset, operation }
}

fn offset_of(device: &IoUringDevice, block: usize) -> u64 {
    device.geometry().reserved_bytes + (block * BLOCK_BYTES) as u64
}

fn reap_all(queue: &mut dyn IoQueue) -> Vec<Completion> {
    let mut completions = Vec::new();
    while queue.in_flight() > 0 {
        queue.reap(Wait::ForOne, &mut completions).unwrap();
    }
    completions
}

/// Writes `blocks` blocks, each word of which is its block's number plus one.
fn fill(device: &IoUringDevice, blocks: usize) {
    let buffer = IoBuffer::zeroed(blocks).unwrap();
    for (number, block) in buffer.words().chunks(BLOCK_BYTES / 8).enumerate() {
        block.iter().for_each(|word| word.store(number as u64 + 1, Ordering::Relaxed));
    }
    let mut queue = device.open_queue(QueueOptions::default()).unwrap();
    queue.submit(request(0, offset_of(device, 0), IoOperation::Write(buffer))).unwrap();
    for completion in reap_all(queue.as_mut()) {
        assert_eq!(completion.result.unwrap(), blocks * BLOCK_BYTES);
    }
}

fn is_block(buffer: &IoBuffer, number: u64) -> bool {
    buffer.words().iter().all(|word| word.load(Ordering::Relaxed) == number + 1)
}

/// Submits a read of each block and starts them.
fn start_reads(device: &IoUringDevice, queue: &mut dyn IoQueue, blocks: usize) -> Vec<IoBuffer> {
    let buffers: Vec<IoBuffer> = (0..blocks).map(|_| IoBuffer::zeroed(1).unwrap()).collect();
    for (number, buffer) in buffers.iter().enumerate() {
        let read = IoOperation::Read(buffer.clone());
        queue.submit(request(number as u64, offset_of(device, number), read)).unwrap();
    }
    queue.kick().unwrap();
    buffers
}

#[test]
fn rings_are_used_where_the_kernel_offers_them() {
    let folder = tempfile::tempdir().unwrap();
    let device = open(&folder.path().join("device"));
    fill(&device, 8);
    let mut queue = device.open_queue(QueueOptions::default()).unwrap();
    start_reads(&device, queue.as_mut(), 8);
    assert_eq!(reap_all(queue.as_mut()).len(), 8);
    if kernel_offers_rings() {
        assert!(matches!(device.backend(), IoBackend::Ring { queues_without_ring: 0, .. }), "{device:?}");
    }
}

#[test]
fn rings_can_be_required_and_switched_off() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("device");
    let required = IoUringOptions::default().with_rings(RingUse::Required);
    match IoUringDevice::with_options(&path, required) {
        Ok(device) => assert!(device.backend().is_ring()),
        Err(error) => {
            assert!(!kernel_offers_rings(), "{error}");
            assert_eq!(error.kind(), DeviceErrorKind::Unsupported);
        }
    }
    let without = IoUringOptions::default().with_rings(RingUse::Never);
    let device = IoUringDevice::with_options(&path, without).unwrap();
    let IoBackend::Portable { reason } = device.backend() else { panic!("{device:?}") };
    assert!(reason.contains("switched off"), "{reason}");
    fill(&device, 2);
    let read = with_local_queue(&device, |queue| {
        let buffers = start_reads(&device, queue, 2);
        assert_eq!(reap_all(queue).len(), 2);
        buffers.iter().zip(0..).all(|(buffer, number)| is_block(buffer, number))
    });
    assert!(read.unwrap());
}

/// Memory that is lent to the kernel is released when the queue is gone, and holds what was read by then.
#[test]
fn a_queue_that_is_dropped_waits_for_its_reads() {
    const BLOCKS: usize = 256;
    let folder = tempfile::tempdir().unwrap();
    let device = open(&folder.path().join("device"));
    fill(&device, BLOCKS);
    for depth in [1, 7, 64, 512] {
        let mut queue = device.open_queue(QueueOptions { depth }).unwrap();
        let buffers = start_reads(&device, queue.as_mut(), BLOCKS);
        drop(queue);
        for (number, buffer) in buffers.iter().enumerate() {
            assert!(is_block(buffer, number as u64), "depth {depth}, block {number}");
            assert_eq!(Arc::strong_count(buffer.memory()), 1, "depth {depth}, block {number}: still lent");
        }
    }
}

/// The kernel keeps a file open for as long as it reads from it, also behind the end of the device: the lock must not
/// depend on that.
#[test]
fn a_device_that_is_dropped_while_reads_are_in_flight_lets_go_of_its_lock() {
    const BLOCKS: usize = 256;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("device");
    for depth in [16, BLOCKS] {
        let device = open(&path);
        fill(&device, BLOCKS);
        let mut queue = device.open_queue(QueueOptions { depth }).unwrap();
        start_reads(&device, queue.as_mut(), BLOCKS);
        drop(device);
        let device = open(&path);
        let completions = reap_all(queue.as_mut());
        assert_eq!(completions.len(), BLOCKS);
        for completion in completions {
            // Started before the end of the device, or after it.
            match completion.result {
                Ok(bytes) => assert_eq!(bytes, BLOCK_BYTES),
                Err(error) => assert_eq!(error.kind(), DeviceErrorKind::Closed),
            }
        }
        drop(device);
    }
}

/// Reads around ends and holes, in flight together: short counts and zeros as the contract has them.
#[test]
fn reads_that_a_ring_does_not_do_entirely_are_done_the_portable_way() {
    let folder = tempfile::tempdir().unwrap();
    let segment_bytes = 8 * BLOCK_BYTES as u64;
    let device = IoUringDevice::segmented(folder.path(), "store", segment_bytes).unwrap();
    let mut queue = device.open_queue(QueueOptions { depth: 16 }).unwrap();
    let written = [0, 1, 20];
    for number in written {
        let buffer = IoBuffer::zeroed(1).unwrap();
        buffer.words().iter().for_each(|word| word.store(number + 1, Ordering::Relaxed));
        queue.submit(request(number, number * BLOCK_BYTES as u64, IoOperation::Write(buffer))).unwrap();
    }
    reap_all(queue.as_mut());
    // Block, length in blocks, blocks that must come. Segment 0 ends behind block 1, segment 1 does not exist.
    let reads = [
        (0, 1, 1),
        (1, 1, 1),
        (1, 3, 3),
        (5, 1, 1),
        (6, 4, 4),
        (12, 1, 1),
        (20, 1, 1),
        (20, 2, 1),
        (25, 1, 0),
    ];
    for (tag, (block, blocks, _)) in (0..).zip(reads) {
        let buffer = IoBuffer::zeroed(blocks).unwrap();
        buffer.words().iter().for_each(|word| word.store(77, Ordering::Relaxed));
        queue.submit(request(tag, (block * BLOCK_BYTES) as u64, IoOperation::Read(buffer))).unwrap();
    }
    let mut completions = reap_all(queue.as_mut());
    completions.sort_by_key(|completion| completion.tag);
    assert_eq!(completions.len(), reads.len());
    for (completion, (block, blocks, expected)) in completions.into_iter().zip(reads) {
        assert_eq!(completion.result.unwrap(), expected * BLOCK_BYTES, "{blocks} blocks at {block}");
        let IoOperation::Read(buffer) = completion.operation else { panic!("another operation") };
        for (words, number) in buffer.words().chunks(BLOCK_BYTES / 8).take(expected).zip(block as u64..) {
            let content = if written.contains(&number) { number + 1 } else { 0 };
            assert!(words.iter().all(|word| word.load(Ordering::Relaxed) == content), "block {number}");
        }
    }
}

/// Reads, writes and syncs of one queue in flight together: nothing is lost, whatever waits for what.
#[test]
fn a_queue_of_mixed_requests_completes_each_once() {
    let folder = tempfile::tempdir().unwrap();
    let device = open(&folder.path().join("device"));
    fill(&device, 64);
    let mut queue = device.open_queue(QueueOptions { depth: 4 }).unwrap();
    let mut completions = Vec::new();
    for tag in 0..400_u64 {
        let operation = match tag % 7 {
            3 => IoOperation::Write(IoBuffer::zeroed(1).unwrap()),
            5 if tag % 3 == 0 => IoOperation::Sync,
            _ => IoOperation::Read(IoBuffer::zeroed(1).unwrap()),
        };
        let block = usize::try_from(tag % 64).unwrap();
        queue.submit(request(tag, offset_of(&device, block), operation)).unwrap();
        if tag % 50 == 0 {
            let wait = if tag % 100 == 0 { Wait::No } else { Wait::ForOne };
            queue.reap(wait, &mut completions).unwrap();
        }
    }
    completions.extend(reap_all(queue.as_mut()));
    assert!(completions.iter().all(|completion| completion.result.is_ok()));
    let mut tags: Vec<u64> = completions.iter().map(|completion| completion.tag).collect();
    tags.sort_unstable();
    assert_eq!(tags, (0..400).collect::<Vec<u64>>());
}

#[test]
fn the_settings_of_the_files_hold() {
    let folder = tempfile::tempdir().unwrap();
    let files = FileOptions::default().with_direct_io(false).with_capacity_bytes_max(1 << 20);
    let options = IoUringOptions::default().with_files(files);
    let device = IoUringDevice::with_options(folder.path().join("device"), options).unwrap();
    assert!(!device.io_is_direct());
    assert_eq!(device.geometry().capacity_bytes, 1 << 20);
    assert!(device.headroom().unwrap().until_capacity_bytes <= 1 << 20);
}
