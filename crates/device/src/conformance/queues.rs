//! Checks of queues: what is refused, what comes back, who waits.

use std::sync::Arc;

use super::{BLOCK_BYTES, BLOCK_WORDS, Check, Conformance, base, block, is_filled, is_released};
use crate::error::DeviceErrorKind;
use crate::local::with_local_queue;
use crate::queue::{IoBuffer, IoOperation, IoRequest, QueueOptions, Wait};

pub(super) fn unaligned_requests_are_refused(suite: &Conformance<'_>, check: &Check) {
    let device = suite.device(check);
    let base = base(device.as_ref());
    let mut queue = check.queue(device.as_ref());
    let wrong = [base + 1, base + 512, base + BLOCK_BYTES as u64 - 8, u64::MAX - (BLOCK_BYTES as u64 - 1)];
    let reserved = (base > 0).then(|| base - BLOCK_BYTES as u64);
    for offset in wrong.into_iter().chain(reserved) {
        for operation in [IoOperation::Read(check.buffer(1)), IoOperation::Write(check.buffer(1))] {
            let request = IoRequest { tag: 0, offset, operation };
            check.refused(
                queue.submit(request),
                DeviceErrorKind::InvalidRequest,
                &format!("block I/O at {offset}"),
            );
        }
    }
    check.require(queue.in_flight() == 0, || "a refused request is in flight".to_owned());
    let memory = Arc::clone(check.buffer(2).memory());
    for range in [0..8, 8..BLOCK_WORDS + 8, 0..0, 0..3 * BLOCK_WORDS] {
        check.refused(
            IoBuffer::new(Arc::clone(&memory), range),
            DeviceErrorKind::InvalidRequest,
            "a buffer that is not whole blocks",
        );
    }
}

pub(super) fn completions_bring_everything_back(suite: &Conformance<'_>, check: &Check) {
    let device = suite.device(check);
    let base = base(device.as_ref());
    let mut queue = check.queue(device.as_ref());
    let mut lent = Vec::new();
    for tag in 0..9_usize {
        let memory = Arc::clone(check.buffer(4).memory());
        let buffer = check.ok(IoBuffer::new(memory, BLOCK_WORDS..2 * BLOCK_WORDS), "a buffer");
        check.submit(queue.as_mut(), tag as u64, block(base, tag), IoOperation::Write(buffer.clone()));
        lent.push(buffer);
    }
    check.submit(queue.as_mut(), 9, 0, IoOperation::Sync);
    check.require(queue.in_flight() == 10, || format!("10 submitted, {} in flight", queue.in_flight()));
    let mut completions = check.reap_all(queue.as_mut());
    completions.sort_by_key(|completion| completion.tag);
    check.require(completions.len() == 10, || format!("{} completions for 10 requests", completions.len()));
    for (tag, completion) in completions.into_iter().enumerate() {
        check.require(completion.tag == tag as u64, || format!("tag {} twice or never", completion.tag));
        let bytes = check.ok(completion.result, "a request");
        match (completion.operation, lent.get(tag)) {
            (IoOperation::Write(back), Some(buffer)) => {
                let same =
                    Arc::ptr_eq(back.memory(), buffer.memory()) && back.word_range() == buffer.word_range();
                check.require(same, || "the buffer that came back is not the one that was lent".to_owned());
                check
                    .require(completion.offset == block(base, tag), || "another offset came back".to_owned());
                check.require(bytes == BLOCK_BYTES, || format!("{bytes} bytes of a block moved"));
            }
            (IoOperation::Sync, None) => check.require(bytes == 0, || format!("a sync moved {bytes} bytes")),
            (other, _) => check.fail(&format!("request {tag} came back as {other:?}")),
        }
    }
    check.require(lent.iter().all(is_released), || "a buffer is still held after its completion".to_owned());
}

pub(super) fn more_requests_than_the_depth(suite: &Conformance<'_>, check: &Check) {
    let device = suite.device(check);
    let base = base(device.as_ref());
    let mut queue = check.ok(device.open_queue(QueueOptions { depth: 2 }), "opening a queue");
    for tag in 0..25_usize {
        check.submit(queue.as_mut(), tag as u64, block(base, tag), IoOperation::Write(check.filled(1, 7)));
        if tag % 5 == 0 {
            check.ok(queue.kick(), "a kick");
        }
    }
    let mut tags: Vec<u64> = check.reap_all(queue.as_mut()).iter().map(|completion| completion.tag).collect();
    tags.sort_unstable();
    check.require(tags == (0..25).collect::<Vec<u64>>(), || format!("the tags that came back: {tags:?}"));
}

pub(super) fn reaping_nothing_does_not_wait(suite: &Conformance<'_>, check: &Check) {
    let device = suite.device(check);
    let mut queue = check.queue(device.as_ref());
    let mut completions = Vec::new();
    for wait in [Wait::No, Wait::ForOne] {
        let reaped = check.ok(queue.reap(wait, &mut completions), "reaping");
        check.require(reaped == 0 && completions.is_empty(), || "a completion of nothing".to_owned());
    }
    // Never waiting must get there too.
    check.submit(queue.as_mut(), 5, base(device.as_ref()), IoOperation::Write(check.filled(1, 5)));
    while queue.in_flight() > 0 {
        check.ok(queue.reap(Wait::No, &mut completions), "reaping");
        crate::sync::thread::yield_now();
    }
    check.require(completions.len() == 1, || format!("{} completions for 1 request", completions.len()));
}

pub(super) fn dropping_a_queue_waits(suite: &Conformance<'_>, check: &Check) {
    const REQUESTS: usize = 40;
    let device = suite.device(check);
    let base = base(device.as_ref());
    let mut queue = check.ok(device.open_queue(QueueOptions { depth: 64 }), "opening a queue");
    let lent: Vec<IoBuffer> = (0..REQUESTS).map(|place| check.filled(1, place as u64)).collect();
    for (place, buffer) in lent.iter().enumerate() {
        check.submit(queue.as_mut(), 0, block(base, place), IoOperation::Write(buffer.clone()));
    }
    check.ok(queue.kick(), "a kick");
    drop(queue);
    check.require(lent.iter().all(is_released), || {
        "memory is still lent after the queue was dropped".to_owned()
    });
    if !suite.forgetting {
        let mut queue = check.queue(device.as_ref());
        for place in 0..REQUESTS {
            check.expect_blocks(queue.as_mut(), block(base, place), 1, place as u64);
        }
    }
}

pub(super) fn local_queues(suite: &Conformance<'_>, check: &Check) {
    let device = suite.device(check);
    let base = base(device.as_ref());
    let outer = with_local_queue(device.as_ref(), |outer| {
        check.submit(outer, 1, base, IoOperation::Write(check.filled(1, 1)));
        let inner = with_local_queue(device.as_ref(), |inner| {
            check.require(inner.in_flight() == 0, || "a nested call got a queue that is in use".to_owned());
            check.write(inner, block(base, 1), 1, 2);
        });
        check.ok(inner, "a nested local queue");
        check.require(outer.in_flight() == 1, || "a nested call took a completion".to_owned());
        check.reap_all(outer).len()
    });
    check.require(check.ok(outer, "a local queue") == 1, || "not one completion".to_owned());
    let left = with_local_queue(device.as_ref(), |queue| {
        check.submit(queue, 1, block(base, 2), IoOperation::Write(check.filled(1, 3)));
        check.ok(queue.kick(), "a kick");
    });
    check.ok(left, "a local queue");
    let read = with_local_queue(device.as_ref(), |queue| {
        check.require(queue.in_flight() == 0, || "a queue with requests in flight was kept".to_owned());
        (0..3_u64).all(|place| {
            let (_, buffer) = check.read(queue, base + place * BLOCK_BYTES as u64, 1);
            is_filled(&buffer, place + 1)
        })
    });
    check.require(check.ok(read, "a local queue"), || "what was written is not there".to_owned());
}
