//! Checks of who owns a device and for how long, and of what a failed sync means.

use std::sync::Arc;

use super::space::expect_slots;
use super::{Check, Conformance, base, block};
use crate::device::{MetadataSlot, StorageDevice};
use crate::error::DeviceErrorKind;
use crate::local::with_local_queue;
use crate::queue::IoOperation;

pub(super) fn content_survives_reopening(suite: &Conformance<'_>, check: &Check) {
    let device = suite.device(check);
    let geometry = device.geometry();
    let base = base(device.as_ref());
    let mut queue = check.queue(device.as_ref());
    check.write(queue.as_mut(), base, 100, 42);
    check.write(queue.as_mut(), block(base, 150), 1, 43);
    check.write(queue.as_mut(), block(base, 151), 49, 44);
    check.sync(queue.as_mut());
    check.ok(device.truncate_after(block(base, 151)), "truncate_after");
    check.sync(queue.as_mut());
    check.ok(device.write_metadata(MetadataSlot::Odd, b"generation"), "writing a slot");
    drop(queue);
    drop(device);
    for round in 0..2 {
        let device = suite.reopened(check);
        let found = device.geometry();
        check.require(found == geometry, || format!("{geometry:?} became {found:?}"));
        expect_slots(check, device.as_ref(), &[0; 64], b"generation");
        let mut queue = check.queue(device.as_ref());
        check.expect_blocks(queue.as_mut(), base, 100, 42);
        check.expect_blocks(queue.as_mut(), block(base, 150), 1, 43);
        let end_offset = check.ok(device.space_use(), "space_use").end_offset;
        check.require(end_offset == block(base, 151), || format!("round {round}: the end is {end_offset}"));
    }
}

pub(super) fn one_owner_at_a_time(suite: &Conformance<'_>, check: &Check) {
    let Some(reopen) = suite.reopen else { return };
    let device = suite.device(check);
    check.refused(reopen(), DeviceErrorKind::Locked, "a second owner");
    let mut kept = check.queue(device.as_ref());
    check.write(kept.as_mut(), base(device.as_ref()), 1, 1);
    let written = with_local_queue(device.as_ref(), |queue| {
        check.write(queue, block(base(device.as_ref()), 1), 1, 2);
    });
    check.ok(written, "a local queue");
    check.refused(reopen(), DeviceErrorKind::Locked, "a second owner");
    // Neither the queue that was kept nor the one that this thread has cached owns anything.
    let witness = device.identity().witness();
    drop(device);
    check.require(!witness.is_alive(), || "a dropped device's identity is alive".to_owned());
    let device = suite.reopened(check);
    check.require(!witness.recognises(device.identity()), || "two devices, one identity".to_owned());
    let read = with_local_queue(device.as_ref(), |queue| {
        check.expect_blocks(queue, base(device.as_ref()), 1, 1);
        check.expect_blocks(queue, block(base(device.as_ref()), 1), 1, 2);
    });
    check.ok(read, "a local queue after reopening");
    drop(kept);
}

pub(super) fn a_queue_outlives_its_device(suite: &Conformance<'_>, check: &Check) {
    let device = suite.device(check);
    let base = base(device.as_ref());
    let mut queue = check.queue(device.as_ref());
    let buffer = check.filled(1, 1);
    check.submit(queue.as_mut(), 1, base, IoOperation::Write(buffer.clone()));
    check.ok(queue.kick(), "a kick");
    drop(device);
    let completions = check.reap_all(queue.as_mut());
    check.require(completions.len() == 1, || "a request was lost when the device was dropped".to_owned());
    for operation in
        [IoOperation::Write(buffer.clone()), IoOperation::Read(buffer.clone()), IoOperation::Sync]
    {
        let completion = check.one(queue.as_mut(), base, operation);
        check.refused(completion.result, DeviceErrorKind::Closed, "a request to a device that is gone");
    }
    // Several at once take another way.
    for tag in 0..3 {
        check.submit(queue.as_mut(), tag, base, IoOperation::Write(buffer.clone()));
    }
    for completion in check.reap_all(queue.as_mut()) {
        check.refused(completion.result, DeviceErrorKind::Closed, "one of several to a device that is gone");
    }
    drop(completions);
    check.require(super::is_released(&buffer), || "memory is held by a closed queue".to_owned());
}

pub(super) fn a_failed_sync_poisons(suite: &Conformance<'_>, check: &Check) {
    let Some(failing) = suite.failing_sync else { return };
    let device: Arc<dyn StorageDevice> =
        Arc::from(check.ok(failing(), "making a device with a failing sync"));
    let base = base(device.as_ref());
    let mut queue = check.queue(device.as_ref());
    check.write(queue.as_mut(), base, 1, 1);
    let failed = check.one(queue.as_mut(), 0, IoOperation::Sync);
    match failed.result {
        Ok(_) => check.fail("the sync that was to fail did not"),
        Err(error) => check.require(error.is_failed_sync(), || {
            format!("the error of a failed sync does not say that it is one: {error}")
        }),
    }
    let mut other = check.queue(device.as_ref());
    for queue in [queue.as_mut(), other.as_mut()] {
        for operation in [IoOperation::Sync, IoOperation::Write(check.filled(1, 2))] {
            let completion = check.one(queue, base, operation);
            check.refused(
                completion.result,
                DeviceErrorKind::Poisoned,
                "a write or sync after a failed sync",
            );
        }
    }
    check.refused(
        device.write_metadata(MetadataSlot::Even, b"x"),
        DeviceErrorKind::Poisoned,
        "metadata after a failed sync",
    );
    // Reads still work; what was not synced may read as it was before.
    let _ = check.read(queue.as_mut(), base, 1);
}
