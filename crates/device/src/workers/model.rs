//! loom models of the hand-over between workers, a queue's owner and the device's drop: the production code itself.
//!
//! Run: `RUSTFLAGS="--cfg loom" cargo test -p oxifaster-device --release --lib model`. With `--cfg canaries` too, workers
//! post without telling anybody; the first two models must then fail (loom finds the owner asleep for ever).

use std::sync::Arc;

use super::gate::Gate;
use super::{Backend, WorkerPool};
use crate::device::Geometry;
use crate::error::{DeviceError, DeviceErrorKind};
use crate::queue::{IoOperation, IoQueue, IoRequest, QueueOptions, Wait};
use crate::sync::atomic::{AtomicU64, Ordering};

/// Notes which requests it executed, without any ordering of its own: the mailbox must order it.
struct Notes {
    executed: AtomicU64,
}

impl Backend for Notes {
    fn execute(&self, offset: u64, _operation: &IoOperation) -> Result<usize, DeviceError> {
        self.executed.fetch_add(offset, Ordering::Relaxed);
        Ok(0)
    }
}

const GEOMETRY: Geometry = Geometry { reserved_bytes: 0, capacity_bytes: u64::MAX, persistent: false };

fn pool(workers: usize) -> (WorkerPool<Notes>, Arc<Notes>) {
    let backend = Arc::new(Notes { executed: AtomicU64::new(0) });
    (WorkerPool::new("model", workers, Arc::clone(&backend)), backend)
}

fn sync_request(tag: u64) -> IoRequest {
    IoRequest { tag, offset: 1 << tag, operation: IoOperation::Sync }
}

/// What a worker did before it posted is seen by the owner after it reaped, and no wake-up is lost.
#[test]
#[cfg_attr(canaries, should_panic)]
fn model_every_completion_arrives_once() {
    loom::model(|| {
        let (pool, backend) = pool(1);
        let mut queue = pool.open_queue(GEOMETRY, QueueOptions { depth: 8 }).unwrap();
        queue.submit(sync_request(0)).unwrap();
        queue.submit(sync_request(1)).unwrap();
        let mut completions = Vec::new();
        while queue.in_flight() > 0 {
            queue.reap(Wait::ForOne, &mut completions).unwrap();
        }
        let mut tags: Vec<u64> = completions.iter().map(|completion| completion.tag).collect();
        tags.sort_unstable();
        assert_eq!(tags, [0, 1]);
        assert_eq!(backend.executed.load(Ordering::Relaxed), 0b11);
    });
}

/// A queue that is dropped waits for its requests; the pool's drop after it joins an idle worker.
#[test]
#[cfg_attr(canaries, should_panic)]
fn model_drop_of_a_queue_waits() {
    loom::model(|| {
        let (pool, backend) = pool(1);
        let mut queue = pool.open_queue(GEOMETRY, QueueOptions { depth: 1 }).unwrap();
        queue.submit(sync_request(0)).unwrap();
        queue.kick().unwrap();
        drop(queue);
        assert_eq!(backend.executed.load(Ordering::Relaxed), 0b1);
    });
}

/// The owner waits for a request that waits for the owner: only the interrupt of a third lets both go on.
#[test]
#[cfg_attr(canaries, should_panic)]
fn model_an_interrupt_ends_a_wait() {
    loom::model(|| {
        let backend = Arc::new(Gate::new());
        let pool = WorkerPool::new("model", 1, Arc::clone(&backend));
        let mut queue = pool.open_queue(GEOMETRY, QueueOptions { depth: 1 }).unwrap();
        let interrupt = queue.interrupt().unwrap();
        queue.submit(sync_request(0)).unwrap();
        let other = crate::sync::thread::spawn("other", move || interrupt.raise()).unwrap();
        let mut completions = Vec::new();
        assert_eq!(queue.reap(Wait::ForOne, &mut completions).unwrap(), 0);
        backend.open();
        queue.reap(Wait::ForOne, &mut completions).unwrap();
        assert_eq!(completions.len(), 1);
        other.join().unwrap();
    });
}

/// A device that is dropped while another thread reaps: what was accepted is executed, the rest is `Closed`, nobody
/// hangs, and nobody holds the backend afterwards.
#[test]
fn model_drop_of_the_device_releases_the_backend() {
    loom::model(|| {
        let (pool, backend) = pool(1);
        let queue = pool.open_queue(GEOMETRY, QueueOptions { depth: 8 }).unwrap();
        let owner = crate::sync::thread::spawn("owner", move || {
            let mut queue = queue;
            queue.submit(sync_request(0)).unwrap();
            let mut completions = Vec::new();
            queue.reap(Wait::ForOne, &mut completions).unwrap();
            let completion = completions.pop().unwrap();
            match completion.result {
                Ok(_) => 1,
                Err(error) => {
                    assert_eq!(error.kind(), DeviceErrorKind::Closed);
                    0
                }
            }
        })
        .unwrap();
        drop(pool);
        assert_eq!(Arc::strong_count(&backend), 1, "a queue or a worker still holds the device");
        let executed = owner.join().unwrap();
        assert_eq!(backend.executed.load(Ordering::Relaxed), executed);
    });
}
