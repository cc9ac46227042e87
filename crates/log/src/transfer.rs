//! Reads and syncs of the calling thread: all submitted together, all reaped, every byte count looked at.
//!
//! Callers: syncer, open, reads. Memory lent to a request is in use until its completion is reaped: so nothing here
//! returns before the last one, whatever failed first.

use std::sync::Arc;

use oxifaster_device::{
    DeviceError, DeviceErrorKind, IoBuffer, IoOperation, IoQueue, IoRequest, StorageDevice, Wait,
    with_local_queue,
};

/// Bytes of one request at most.
pub(crate) const REQUEST_BYTES: u64 = 1 << 20;

/// A request that moved fewer bytes than asked is submitted again, so many times.
pub(crate) const ROUNDS_MAX: usize = 8;

/// Reads all of `parts`; what lies behind the end of the device is an error.
pub(crate) fn read_all(device: &dyn StorageDevice, parts: &[(u64, IoBuffer)]) -> Result<(), DeviceError> {
    let mut missing: Vec<usize> = (0..parts.len()).collect();
    let mut moved = 0;
    for _ in 0..ROUNDS_MAX {
        let short = with_local_queue(device, |queue| {
            let submitted = submit(queue, parts, &missing);
            reap(queue, submitted, &mut moved)
        })??;
        missing = short.into_iter().map(|(place, _)| place).collect();
        if missing.is_empty() {
            return Ok(());
        }
    }
    let offset = missing.first().and_then(|place| parts.get(*place)).map_or(0, |(offset, _)| *offset);
    Err(moves_too_little(moved).at_offset(offset))
}

/// The error of a request that was submitted [`ROUNDS_MAX`] times and moved `bytes` the last time.
pub(crate) fn moves_too_little(bytes: usize) -> DeviceError {
    let message = format!("the device moves only {bytes} bytes of a request, again and again");
    DeviceError::new(DeviceErrorKind::Io, message)
}

/// Reads `parts`, which follow each other, as far as the device has them now. Returns how many bytes that are: somebody else may
/// be writing there.
pub(crate) fn read_some(device: &dyn StorageDevice, parts: &[(u64, IoBuffer)]) -> Result<usize, DeviceError> {
    let mut moved = 0;
    let wanted: Vec<usize> = (0..parts.len()).collect();
    let mut short = with_local_queue(device, |queue| {
        let submitted = submit(queue, parts, &wanted);
        reap(queue, submitted, &mut moved)
    })??;
    short.sort_unstable();
    Ok(short.first().map_or(usize::MAX, |(place, bytes)| {
        parts.iter().take(*place).map(|(_, buffer)| buffer.len_bytes()).sum::<usize>() + bytes
    }))
}

/// Makes durable what was written.
pub(crate) fn sync(device: &dyn StorageDevice) -> Result<(), DeviceError> {
    with_local_queue(device, |queue| {
        queue.submit(IoRequest { tag: 0, offset: 0, operation: IoOperation::Sync })?;
        let mut completions = Vec::with_capacity(1);
        while completions.is_empty() {
            queue.reap(Wait::ForOne, &mut completions)?;
        }
        completions.into_iter().try_for_each(|completion| completion.result.map(|_| ()))
    })?
}

/// Starts the parts named by `wanted`, up to the first that is refused. Returns how many, and why no more.
fn submit(
    queue: &mut dyn IoQueue,
    parts: &[(u64, IoBuffer)],
    wanted: &[usize],
) -> (usize, Option<DeviceError>) {
    let mut submitted = 0;
    for place in wanted {
        let Some((offset, buffer)) = parts.get(*place) else { continue };
        let request =
            IoRequest { tag: *place as u64, offset: *offset, operation: IoOperation::Read(buffer.clone()) };
        match queue.submit(request) {
            Ok(()) => submitted += 1,
            Err(error) => return (submitted, Some(error)),
        }
    }
    // One alone is done by the thread that reaps it. What a broken queue says here, its reaps say again.
    let kicked = if submitted > 1 { queue.kick() } else { Ok(()) };
    (submitted, kicked.err())
}

/// Waits for all that was started. Returns the parts that came up short, with the bytes that moved.
fn reap(
    queue: &mut dyn IoQueue,
    (mut submitted, mut failure): (usize, Option<DeviceError>),
    moved: &mut usize,
) -> Result<Vec<(usize, usize)>, DeviceError> {
    let mut short = Vec::new();
    let mut completions = Vec::with_capacity(submitted);
    while submitted > 0 {
        queue.reap(Wait::ForOne, &mut completions)?;
        for completion in completions.drain(..) {
            submitted -= 1;
            let IoOperation::Read(buffer) = &completion.operation else { continue };
            match completion.result {
                Ok(bytes) if bytes == buffer.len_bytes() => {}
                Ok(bytes) => {
                    *moved = bytes;
                    short.extend(usize::try_from(completion.tag).ok().map(|place| (place, bytes)));
                }
                Err(error) => failure = failure.or(Some(error)),
            }
        }
    }
    failure.map_or(Ok(short), Err)
}

/// The device of a log.
pub(crate) type AnyDevice = Arc<dyn StorageDevice>;
