//! Checks of contents: blocks come back as they were written, and zeros where nothing was.

use std::sync::Arc;

use super::{BLOCK_BYTES, Check, Conformance, base, block, content, is_filled, is_zero};
use crate::device::StorageDevice;
use crate::error::DeviceErrorKind;
use crate::queue::IoOperation;
use crate::sync::atomic::Ordering;
use crate::sync::thread::spawn;

pub(super) fn what_was_written_is_read(suite: &Conformance<'_>, check: &Check) {
    let device = suite.device(check);
    let base = base(device.as_ref());
    let mut queue = check.queue(device.as_ref());
    // Lengths around powers of two: whatever a device divides its space into, some request crosses it.
    let mut at = 0;
    let mut written = Vec::new();
    for (seed, blocks) in [1_usize, 2, 15, 16, 17, 33, 64, 130].into_iter().enumerate() {
        check.write(queue.as_mut(), block(base, at), blocks, seed as u64);
        written.push((at, blocks, seed as u64));
        at += blocks;
    }
    for (at, blocks, seed) in written.iter().rev() {
        check.expect_blocks(queue.as_mut(), block(base, *at), *blocks, *seed);
    }
    check.write(queue.as_mut(), block(base, 1), 2, 99);
    check.sync(queue.as_mut());
    check.expect_blocks(queue.as_mut(), block(base, 1), 2, 99);
    check.expect_blocks(queue.as_mut(), block(base, 0), 1, 0);
    let end_offset = check.ok(device.space_use(), "space_use").end_offset;
    let expected = block(base, at);
    check.require(end_offset == expected, || format!("the end is said to be {end_offset}, not {expected}"));
}

pub(super) fn unwritten_bytes_are_zero(suite: &Conformance<'_>, check: &Check) {
    let device = suite.device(check);
    let base = base(device.as_ref());
    let mut queue = check.queue(device.as_ref());
    let (bytes, _) = check.read(queue.as_mut(), base, 1);
    check.require(bytes == 0, || format!("{bytes} bytes were read from an empty device"));
    // A hole of 300 blocks, then 3 blocks.
    check.write(queue.as_mut(), block(base, 300), 3, 1);
    for (at, blocks) in [(0, 300), (7, 1), (299, 1)] {
        let (bytes, buffer) = check.read(queue.as_mut(), block(base, at), blocks);
        check.require(bytes == blocks * BLOCK_BYTES, || {
            format!("{blocks} blocks of a hole gave {bytes} bytes")
        });
        check.require(is_zero(&buffer, bytes), || {
            format!("block {at} and on were never written and are not zero")
        });
    }
    let (bytes, buffer) = check.read(queue.as_mut(), block(base, 302), 4);
    check.require(bytes == BLOCK_BYTES, || {
        format!("a read of 4 blocks, one before the end, gave {bytes} bytes")
    });
    let last = buffer.words().first().map(|word| word.load(Ordering::Relaxed));
    let expected = content(1, 2 * (BLOCK_BYTES as u64 / 8));
    check.require(last == Some(expected), || "the last block is not what was written".to_owned());
    for behind in
        [block(base, 303), block(base, 1 << 20), u64::MAX / BLOCK_BYTES as u64 / 2 * BLOCK_BYTES as u64]
    {
        let (bytes, _) = check.read(queue.as_mut(), behind, 2);
        check.require(bytes == 0, || format!("{bytes} bytes were read behind the end, at {behind}"));
    }
}

pub(super) fn capacity_is_respected(suite: &Conformance<'_>, check: &Check) {
    let device = suite.device(check);
    let capacity_bytes = device.geometry().capacity_bytes;
    let block_bytes = BLOCK_BYTES as u64;
    check.require(capacity_bytes.is_multiple_of(block_bytes), || {
        format!("a capacity of {capacity_bytes} bytes is not whole blocks")
    });
    if capacity_bytes > u64::MAX - 2 * block_bytes {
        return;
    }
    let mut queue = check.queue(device.as_ref());
    let completion = check.one(queue.as_mut(), capacity_bytes, IoOperation::Write(check.buffer(1)));
    check.refused(completion.result, DeviceErrorKind::Full, "a write behind the capacity");
    let across = IoOperation::Write(check.buffer(2));
    let completion = check.one(queue.as_mut(), capacity_bytes - block_bytes, across);
    check.refused(completion.result, DeviceErrorKind::Full, "a write across the capacity");
}

pub(super) fn many_queues_against_a_model(suite: &Conformance<'_>, check: &Check) {
    const THREADS: usize = 4;
    let device: Arc<dyn StorageDevice> = Arc::from(suite.device(check));
    let threads: Vec<_> = (0..THREADS)
        .map(|place| {
            let device = Arc::clone(&device);
            let check = Check { name: check.name };
            spawn("conformance", move || model_thread(&check, device.as_ref(), place))
        })
        .collect();
    for thread in threads {
        match thread.map(std::thread::JoinHandle::join) {
            Ok(Ok(())) => {}
            Ok(Err(panic)) => std::panic::resume_unwind(panic),
            Err(error) => check.fail(&format!("no thread: {error}")),
        }
    }
}

/// Random extents of the thread's own region, several in flight; every read is compared with a model.
fn model_thread(check: &Check, device: &dyn StorageDevice, place: usize) {
    const REGION_BLOCKS: usize = 96;
    const ROUNDS: usize = 60;
    let region = block(base(device), place * REGION_BLOCKS);
    let mut random = Random(place as u64 + 1);
    let mut queue = check.queue(device);
    // The seed of each block; `None` was never written.
    let mut model: Vec<Option<u64>> = vec![None; REGION_BLOCKS];
    // A last block, so that reads of the region never reach the device's end.
    check.write(queue.as_mut(), block(region, REGION_BLOCKS - 1), 1, 0);
    if let Some(last) = model.last_mut() {
        *last = Some(0);
    }
    for round in 0..ROUNDS {
        // Extents of one round do not overlap: requests have no order among each other.
        let mut at = random.below(8);
        while at < REGION_BLOCKS {
            if random.below(2) == 0 {
                let seed = random.next();
                let operation = IoOperation::Write(check.filled(1, seed));
                check.submit(queue.as_mut(), at as u64, block(region, at), operation);
                model.iter_mut().skip(at).take(1).for_each(|known| *known = Some(seed));
            } else {
                check.submit(
                    queue.as_mut(),
                    at as u64,
                    block(region, at),
                    IoOperation::Read(check.filled(1, 0)),
                );
            }
            at += 1 + random.below(6);
        }
        if round % 16 == 3 {
            check.submit(queue.as_mut(), u64::MAX, 0, IoOperation::Sync);
        }
        for completion in check.reap_all(queue.as_mut()) {
            let bytes = check.ok(completion.result, "a request");
            let IoOperation::Read(buffer) = completion.operation else { continue };
            let known = usize::try_from(completion.tag).ok().and_then(|at| model.get(at).copied()).flatten();
            let right = known.map_or_else(|| is_zero(&buffer, bytes), |seed| is_filled(&buffer, seed));
            check.require(right && bytes == BLOCK_BYTES, || {
                format!("thread {place}, round {round}, block {}: not what the model has", completion.tag)
            });
        }
    }
}

/// A generator whose seed is its first state: splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> usize {
        usize::try_from(self.next() % limit).unwrap_or_default()
    }
}
