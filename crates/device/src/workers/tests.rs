//! What the conformance suite can't see from outside: who executes what, and what a panic does.

#![expect(clippy::unwrap_used, reason = "a failed request fails the test")]

use std::sync::Arc;
use std::thread::{ThreadId, current};

use super::gate::Gate;
use super::{Backend, WorkerPool};
use crate::device::Geometry;
use crate::error::{DeviceError, DeviceErrorKind};
use crate::queue::{Completion, IoOperation, IoQueue, IoRequest, QueueOptions, Wait};
use crate::sync::{Mutex, thread};

const GEOMETRY: Geometry = Geometry { reserved_bytes: 0, capacity_bytes: u64::MAX, persistent: false };

/// Notes the threads; panics at offset 4096 (of a sync the offset means nothing, so it can say that).
#[derive(Default)]
struct Witness {
    threads: Mutex<Vec<ThreadId>>,
}

impl Backend for Witness {
    fn execute(&self, offset: u64, _operation: &IoOperation) -> Result<usize, DeviceError> {
        self.threads.lock().push(current().id());
        assert_ne!(offset, 4096, "asked to panic");
        Ok(0)
    }
}

fn reap(queue: &mut dyn IoQueue, offsets: &[u64]) -> Vec<Completion> {
    for (tag, offset) in offsets.iter().enumerate() {
        let request = IoRequest { tag: tag as u64, offset: *offset, operation: IoOperation::Sync };
        queue.submit(request).unwrap();
    }
    let mut completions = Vec::new();
    while queue.in_flight() > 0 {
        queue.reap(Wait::ForOne, &mut completions).unwrap();
    }
    completions
}

#[test]
fn a_single_blocking_request_stays_on_its_thread() {
    let backend = Arc::new(Witness::default());
    let pool = WorkerPool::new("test", 4, Arc::clone(&backend));
    let mut queue = pool.open_queue(GEOMETRY, QueueOptions::default()).unwrap();
    for _ in 0..3 {
        assert_eq!(reap(&mut queue, &[0]).len(), 1);
    }
    assert_eq!(*backend.threads.lock(), [current().id(); 3]);
    backend.threads.lock().clear();
    assert_eq!(reap(&mut queue, &[0; 20]).len(), 20);
    let threads = backend.threads.lock().clone();
    assert!(threads.len() == 20 && !threads.contains(&current().id()));
}

#[test]
fn a_panic_is_an_error_completion_and_the_worker_lives_on() {
    let backend = Arc::new(Witness::default());
    let pool = WorkerPool::new("test", 1, Arc::clone(&backend));
    let mut queue = pool.open_queue(GEOMETRY, QueueOptions::default()).unwrap();
    for offsets in [&[0, 4096, 0, 4096, 0][..], &[4096], &[4096, 0]] {
        for completion in reap(&mut queue, offsets) {
            match (completion.offset, completion.result) {
                (0, Ok(0)) => {}
                (4096, Err(error)) => {
                    assert_eq!(error.kind(), DeviceErrorKind::Io);
                    assert!(error.to_string().contains("asked to panic"), "{error}");
                }
                (offset, other) => panic!("offset {offset}: {other:?}"),
            }
        }
    }
    drop(pool);
    assert_eq!(Arc::strong_count(&backend), 1);
}

#[test]
fn an_interrupt_ends_a_wait_and_no_request() {
    let backend = Arc::new(Gate::new());
    let pool = WorkerPool::new("test", 2, Arc::clone(&backend));
    let mut queue = pool.open_queue(GEOMETRY, QueueOptions::default()).unwrap();
    let interrupt = queue.interrupt().unwrap();
    // A single request would be executed by its owner, who could not be interrupted then.
    queue.submit(IoRequest { tag: 0, offset: 0, operation: IoOperation::Sync }).unwrap();
    let mut completions = Vec::new();
    for _ in 0..3 {
        let interrupt = interrupt.clone();
        let other = thread::spawn("interrupts", move || interrupt.raise()).unwrap();
        assert_eq!(queue.reap(Wait::ForOne, &mut completions).unwrap(), 0);
        other.join().unwrap();
    }
    backend.open();
    assert_eq!(queue.reap(Wait::ForOne, &mut completions).unwrap(), 1);
    drop(queue);
    interrupt.raise();
}
