//! A queue of the calling thread, for blocking and batched calls.
//!
//! Callers: `store` and `log`, for a call that submits, reaps everything and returns ([`with_local_queue`]). Opening a
//! queue costs an allocation, a registration, with io_uring a ring: so a thread keeps the queues of the devices it used last.
//!
//! Invariants:
//! 1. A cached queue has nothing in flight, and no completion in it.
//! 2. The cache holds a witness of the device, never the device. A queue does not keep a device's files open (rule 6 of
//!    the device contract), and queues of dropped devices are dropped at the thread's next call.
//! 3. While `body` runs its queue is not in the cache: a nested call gets another one, and a panic drops it.

use std::cell::RefCell;

use crate::device::StorageDevice;
use crate::error::DeviceError;
use crate::identity::DeviceWitness;
use crate::queue::{IoQueue, QueueOptions};

/// Devices whose queues a thread keeps (most recently used last). More are opened for each call.
const CACHED_MAX: usize = 8;

struct Cached {
    device: DeviceWitness,
    options: QueueOptions,
    queue: Box<dyn IoQueue>,
}

thread_local! {
    static CACHE: RefCell<Vec<Cached>> = const { RefCell::new(Vec::new()) };
}

/// Runs `body` with a queue of the calling thread on `device`. Whatever `body` submits it should reap; requests it leaves
/// behind are waited for, and their completions dropped.
///
/// # Errors
/// When no queue can be opened; `body` did not run then.
///
/// # Examples
/// ```
/// use oxifaster_device::{IoOperation, IoRequest, NullDisk, Wait, with_local_queue};
/// let device = NullDisk::new();
/// let reaped = with_local_queue(&device, |queue| {
///     let mut completions = Vec::new();
///     queue.submit(IoRequest { tag: 7, offset: 0, operation: IoOperation::Sync })?;
///     queue.reap(Wait::ForOne, &mut completions)
/// })??;
/// assert_eq!(reaped, 1);
/// # Ok::<(), oxifaster_device::DeviceError>(())
/// ```
pub fn with_local_queue<R>(
    device: &dyn StorageDevice,
    body: impl FnOnce(&mut dyn IoQueue) -> R,
) -> Result<R, DeviceError> {
    with_local_queue_of(device, QueueOptions::default(), body)
}

/// [`with_local_queue`] with a queue that has at least the depth of `options`.
///
/// # Errors
/// As there.
pub fn with_local_queue_of<R>(
    device: &dyn StorageDevice,
    options: QueueOptions,
    body: impl FnOnce(&mut dyn IoQueue) -> R,
) -> Result<R, DeviceError> {
    let mut cached = match take_cached(device) {
        Some(cached) if cached.options.depth >= options.depth => cached,
        // One that is too shallow goes, so that the thread has one ring for the device, not two.
        _ => {
            let queue = device.open_queue(options)?;
            Cached { device: device.identity().witness(), options, queue }
        }
    };
    let result = body(cached.queue.as_mut());
    if cached.queue.in_flight() == 0 {
        give_back(cached);
    }
    Ok(result)
}

fn take_cached(device: &dyn StorageDevice) -> Option<Cached> {
    let mut dead = Vec::new();
    let found = CACHE.try_with(|cache| {
        let mut cache = cache.borrow_mut();
        dead.extend(cache.extract_if(.., |cached| !cached.device.is_alive()));
        let place = cache.iter().position(|cached| cached.device.recognises(device.identity()))?;
        Some(cache.remove(place))
    });
    // Dropped with the cache released: a queue's drop is foreign code.
    drop(dead);
    // An error means that the thread is ending and its cache is gone.
    found.unwrap_or_default()
}

fn give_back(cached: Cached) {
    let mut offered = Some(cached);
    let evicted = CACHE.try_with(|cache| {
        let mut cache = cache.borrow_mut();
        let evicted = (cache.len() >= CACHED_MAX).then(|| cache.remove(0));
        cache.extend(offered.take());
        evicted
    });
    drop(evicted);
    drop(offered);
}
