//! Checks of truncation at both ends, and of the metadata slots that it never touches.

use super::{BLOCK_BYTES, Check, Conformance, base, block, is_zero};
use crate::device::{METADATA_SLOT_BYTES, MetadataSlot, StorageDevice};
use crate::error::DeviceErrorKind;

pub(super) fn metadata_slots(suite: &Conformance<'_>, check: &Check) {
    let device = suite.device(check);
    let mut buffer = vec![1; METADATA_SLOT_BYTES];
    for slot in MetadataSlot::ALL {
        check.ok(device.read_metadata(slot, &mut buffer), "reading a new slot");
        check.require(buffer.iter().all(|byte| *byte == 0), || format!("the new slot {slot:?} is not zero"));
        buffer.fill(1);
    }
    let long = vec![0xA5; METADATA_SLOT_BYTES];
    check.ok(device.write_metadata(MetadataSlot::Odd, &long), "writing a whole slot");
    check.ok(device.write_metadata(MetadataSlot::Even, b"short"), "writing five bytes");
    expect_slots(check, device.as_ref(), b"short", &long);
    check.ok(device.write_metadata(MetadataSlot::Odd, b"over"), "overwriting a slot's front");
    expect_slots(check, device.as_ref(), b"short", b"over");
    let too_long = vec![0; METADATA_SLOT_BYTES + 1];
    check.refused(
        device.write_metadata(MetadataSlot::Even, &too_long),
        DeviceErrorKind::InvalidRequest,
        "a slot with one byte too many",
    );
    expect_slots(check, device.as_ref(), b"short", b"over");
}

pub(super) fn expect_slots(check: &Check, device: &dyn StorageDevice, even: &[u8], odd: &[u8]) {
    for (slot, expected) in [(MetadataSlot::Even, even), (MetadataSlot::Odd, odd)] {
        let mut buffer = vec![0; METADATA_SLOT_BYTES];
        check.ok(device.read_metadata(slot, &mut buffer), "reading a slot");
        check.require(buffer.starts_with(expected), || format!("the slot {slot:?} is not what was written"));
        let mut front = [0; BLOCK_BYTES];
        check.ok(device.read_metadata(slot, &mut front), "reading the front of a slot");
        check.require(buffer.starts_with(&front), || {
            format!("the front of the slot {slot:?} is something else")
        });
    }
}

pub(super) fn truncation_before(suite: &Conformance<'_>, check: &Check) {
    const BLOCKS: usize = 200;
    let device = suite.device(check);
    let base = base(device.as_ref());
    let mut queue = check.queue(device.as_ref());
    check.ok(device.write_metadata(MetadataSlot::Even, b"even"), "writing a slot");
    check.ok(device.write_metadata(MetadataSlot::Odd, b"odd"), "writing a slot");
    for at in 0..BLOCKS {
        check.write(queue.as_mut(), block(base, at), 1, at as u64);
    }
    check.sync(queue.as_mut());
    for first in [0, 1, 77, 128, 199, 200] {
        check.ok(device.truncate_before(block(base, first)), "truncate_before");
        for at in first..BLOCKS {
            check.expect_blocks(queue.as_mut(), block(base, at), 1, at as u64);
        }
        expect_slots(check, device.as_ref(), b"even", b"odd");
        let end_offset = check.ok(device.space_use(), "space_use").end_offset;
        check.require(end_offset == block(base, BLOCKS), || {
            format!("truncation of the front moved the end to {end_offset}")
        });
    }
    check.write(queue.as_mut(), block(base, BLOCKS), 1, 1234);
    check.expect_blocks(queue.as_mut(), block(base, BLOCKS), 1, 1234);
}

pub(super) fn truncation_after(suite: &Conformance<'_>, check: &Check) {
    const BLOCKS: usize = 200;
    let device = suite.device(check);
    let base = base(device.as_ref());
    let mut queue = check.queue(device.as_ref());
    check.ok(device.write_metadata(MetadataSlot::Even, b"even"), "writing a slot");
    check.ok(device.write_metadata(MetadataSlot::Odd, b"odd"), "writing a slot");
    check.write(queue.as_mut(), base, BLOCKS, 5);
    for at in [0, 100, 149] {
        check.write(queue.as_mut(), block(base, at), 1, at as u64);
    }
    check.ok(device.truncate_after(block(base, BLOCKS + 9)), "truncate_after behind the end");
    let end_offset = check.ok(device.space_use(), "space_use").end_offset;
    check.require(end_offset == block(base, BLOCKS), || {
        format!("cutting nothing moved the end to {end_offset}")
    });
    check.ok(device.truncate_after(block(base, 150)), "truncate_after");
    let end_offset = check.ok(device.space_use(), "space_use").end_offset;
    check.require(end_offset <= block(base, 150), || format!("after the cut the end is {end_offset}"));
    let (bytes, _) = check.read(queue.as_mut(), block(base, 150), 4);
    check.require(bytes == 0, || format!("{bytes} bytes were read behind the cut"));
    // What is written behind a gap must not bring back what was cut off.
    check.write(queue.as_mut(), block(base, 180), 1, 180);
    let (bytes, buffer) = check.read(queue.as_mut(), block(base, 150), 30);
    check.require(bytes == 30 * BLOCK_BYTES && is_zero(&buffer, bytes), || {
        "cut-off blocks came back".to_owned()
    });
    for at in [0, 100, 149, 180] {
        check.expect_blocks(queue.as_mut(), block(base, at), 1, at as u64);
    }
    check.ok(device.truncate_after(base), "cutting everything");
    let (bytes, _) = check.read(queue.as_mut(), base, 1);
    check.require(bytes == 0, || "blocks are left after everything was cut".to_owned());
    expect_slots(check, device.as_ref(), b"even", b"odd");
}
