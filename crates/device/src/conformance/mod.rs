//! The device contract as checks, for every implementation: ours, and yours.
//!
//! Callers: tests of devices. A check panics with its name and what it saw.
//!
//! | module | rules of the contract it checks |
//! |---|---|
//! | `queues` | 1 alignment, 3 completions, 6 drops, depth, waiting |
//! | `blocks` | 2 syncs, 5 zeros, contents against a model on many threads, capacity |
//! | `space` | truncation at both ends, metadata slots |
//! | `ownership` | 4 poison, 6 queues that outlive, 7 one owner, reopening |

mod blocks;
mod ownership;
mod queues;
mod space;

use std::fmt;
use std::sync::Arc;

use crate::device::StorageDevice;
use crate::error::{DeviceError, DeviceErrorKind};
use crate::queue::{Completion, IoBuffer, IoOperation, IoQueue, IoRequest, QueueOptions, Wait};
use crate::sync::atomic::Ordering;
use crate::{BLOCK_BYTES, BLOCK_WORDS};

/// Makes a device, or says why not.
pub type OpenDevice<'a> = dyn Fn() -> Result<Box<dyn StorageDevice>, DeviceError> + 'a;

/// The suite and how it gets devices.
///
/// # Examples
/// ```
/// use oxifaster_device::{FileSystemDisk, conformance::Conformance};
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("device");
/// let open = || Ok(Box::new(FileSystemDisk::single_file(&path)?) as _);
/// let create = || {
///     let _ = std::fs::remove_file(&path);
///     open()
/// };
/// Conformance::new(&create).reopening(&open).run();
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Conformance<'a> {
    create: &'a OpenDevice<'a>,
    reopen: Option<&'a OpenDevice<'a>>,
    failing_sync: Option<&'a OpenDevice<'a>>,
    forgetting: bool,
    shared_handles: bool,
}

impl fmt::Debug for Conformance<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conformance").field("reopens", &self.reopen.is_some()).finish_non_exhaustive()
    }
}

type CheckBody = fn(&Conformance<'_>, &Check);

impl<'a> Conformance<'a> {
    /// The suite for devices that `create` makes: a new and empty one with every call. At most one exists at a time.
    #[must_use]
    pub fn new(create: &'a OpenDevice<'a>) -> Self {
        Self { create, reopen: None, failing_sync: None, forgetting: false, shared_handles: false }
    }

    /// `reopen` opens what the last call of `create` made. Must be given for devices that say they are persistent.
    #[must_use]
    pub fn reopening(mut self, reopen: &'a OpenDevice<'a>) -> Self {
        self.reopen = Some(reopen);
        self
    }

    /// `failing` makes a new device whose first sync fails, to check rule 4.
    #[must_use]
    pub fn failing_sync(mut self, failing: &'a OpenDevice<'a>) -> Self {
        self.failing_sync = Some(failing);
        self
    }

    /// The device keeps no blocks and refuses to read what was written: checks that read are left out.
    #[must_use]
    pub fn forgetting(mut self) -> Self {
        self.forgetting = true;
        self
    }

    /// What `create` makes is one of several handles of a thing that lives on, without a lock: checks of the end of a
    /// device and of its one owner are left out.
    #[must_use]
    pub fn with_shared_handles(mut self) -> Self {
        self.shared_handles = true;
        self
    }

    /// Runs every check that applies.
    ///
    /// # Panics
    /// When the device breaks the contract.
    pub fn run(&self) {
        let always: [(&'static str, CheckBody); 7] = [
            ("unaligned requests are refused", queues::unaligned_requests_are_refused),
            ("completions bring everything back", queues::completions_bring_everything_back),
            ("more requests than the depth", queues::more_requests_than_the_depth),
            ("reaping nothing does not wait", queues::reaping_nothing_does_not_wait),
            ("dropping a queue waits", queues::dropping_a_queue_waits),
            ("capacity is respected", blocks::capacity_is_respected),
            ("metadata slots", space::metadata_slots),
        ];
        let keeping: [(&'static str, CheckBody); 6] = [
            ("what was written is read", blocks::what_was_written_is_read),
            ("unwritten bytes are zero", blocks::unwritten_bytes_are_zero),
            ("many queues against a model", blocks::many_queues_against_a_model),
            ("truncation before", space::truncation_before),
            ("truncation after", space::truncation_after),
            ("local queues", queues::local_queues),
        ];
        let mut checks = always.to_vec();
        if !self.forgetting {
            checks.extend(keeping);
        }
        if self.reopen.is_some() {
            checks.push(("content survives reopening", ownership::content_survives_reopening));
        }
        if !self.shared_handles {
            checks.push(("a queue outlives its device", ownership::a_queue_outlives_its_device));
        }
        if self.reopen.is_some() && !self.shared_handles {
            checks.push(("one owner at a time", ownership::one_owner_at_a_time));
        }
        if self.failing_sync.is_some() {
            checks.push(("a failed sync poisons", ownership::a_failed_sync_poisons));
        }
        for (name, body) in checks {
            body(self, &Check { name });
        }
        let says_persistent = self.device(&Check { name: "geometry" }).geometry().persistent;
        assert!(
            !says_persistent || self.reopen.is_some(),
            "device conformance: the device says it is persistent, so `reopening` must be given"
        );
    }

    fn device(&self, check: &Check) -> Box<dyn StorageDevice> {
        check.ok((self.create)(), "making a device")
    }

    fn reopened(&self, check: &Check) -> Box<dyn StorageDevice> {
        match self.reopen {
            Some(reopen) => check.ok(reopen(), "reopening the device"),
            None => check.fail("no way to reopen was given"),
        }
    }
}

/// A running check: how it says what it saw.
struct Check {
    name: &'static str,
}

impl Check {
    fn fail(&self, saw: &str) -> ! {
        panic!("device conformance, {:?}: {saw}", self.name)
    }

    fn require(&self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds {
            self.fail(&otherwise());
        }
    }

    fn ok<T>(&self, result: Result<T, DeviceError>, what: &str) -> T {
        result.unwrap_or_else(|error| self.fail(&format!("{what} failed: {error}")))
    }

    fn refused<T>(&self, result: Result<T, DeviceError>, kind: DeviceErrorKind, what: &str) {
        match result {
            Ok(_) => self.fail(&format!("{what} was accepted; expected {kind:?}")),
            Err(error) => self.require(error.kind() == kind, || {
                format!("{what} was refused as {:?} ({error}); expected {kind:?}", error.kind())
            }),
        }
    }

    fn queue(&self, device: &dyn StorageDevice) -> Box<dyn IoQueue> {
        self.ok(device.open_queue(QueueOptions::default()), "opening a queue")
    }

    fn submit(&self, queue: &mut dyn IoQueue, tag: u64, offset: u64, operation: IoOperation) {
        self.ok(queue.submit(IoRequest { tag, offset, operation }), "submitting a request");
    }

    /// Reaps until nothing is in flight.
    fn reap_all(&self, queue: &mut dyn IoQueue) -> Vec<Completion> {
        let mut completions = Vec::new();
        while queue.in_flight() > 0 {
            let before = completions.len();
            let reaped = self.ok(queue.reap(Wait::ForOne, &mut completions), "reaping");
            self.require(reaped > 0, || "reap waited for one and returned none".to_owned());
            self.require(completions.len() == before + reaped, || {
                format!("reap said {reaped} and appended {}", completions.len() - before)
            });
        }
        completions
    }

    /// One request, from submission to its completion.
    fn one(&self, queue: &mut dyn IoQueue, offset: u64, operation: IoOperation) -> Completion {
        self.submit(queue, 1, offset, operation);
        match self.reap_all(queue).pop() {
            Some(completion) => completion,
            None => self.fail("a request without completion"),
        }
    }

    /// Writes blocks filled from `seed`, all of them.
    fn write(&self, queue: &mut dyn IoQueue, offset: u64, blocks: usize, seed: u64) {
        let completion = self.one(queue, offset, IoOperation::Write(self.filled(blocks, seed)));
        let bytes = self.ok(completion.result, "a write");
        self.require(bytes == blocks * BLOCK_BYTES, || {
            format!("a write of {blocks} blocks moved {bytes} bytes")
        });
    }

    fn sync(&self, queue: &mut dyn IoQueue) {
        self.ok(self.one(queue, 0, IoOperation::Sync).result, "a sync");
    }

    /// Reads blocks; bytes behind the count are left at all ones.
    fn read(&self, queue: &mut dyn IoQueue, offset: u64, blocks: usize) -> (usize, IoBuffer) {
        let buffer = self.filled(blocks, 0);
        buffer.words().iter().for_each(|word| word.store(u64::MAX, Ordering::Relaxed));
        let completion = self.one(queue, offset, IoOperation::Read(buffer.clone()));
        (self.ok(completion.result, "a read"), buffer)
    }

    fn expect_blocks(&self, queue: &mut dyn IoQueue, offset: u64, blocks: usize, seed: u64) {
        let (bytes, buffer) = self.read(queue, offset, blocks);
        self.require(bytes == blocks * BLOCK_BYTES, || {
            format!("reading {blocks} blocks at {offset} gave {bytes} bytes")
        });
        self.require(is_filled(&buffer, seed), || {
            format!("the blocks at {offset} are not what was written there")
        });
    }

    fn buffer(&self, blocks: usize) -> IoBuffer {
        self.ok(IoBuffer::zeroed(blocks), "memory")
    }

    fn filled(&self, blocks: usize, seed: u64) -> IoBuffer {
        let buffer = self.buffer(blocks);
        for (place, word) in buffer.words().iter().enumerate() {
            word.store(content(seed, place as u64), Ordering::Relaxed);
        }
        buffer
    }
}

/// The word at `place` of what `seed` fills; never zero.
fn content(seed: u64, place: u64) -> u64 {
    let mixed = (seed ^ place.rotate_left(32)).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed ^ (mixed >> 29)) | 1
}

fn is_filled(buffer: &IoBuffer, seed: u64) -> bool {
    let words = buffer.words().iter().enumerate();
    words.into_iter().all(|(place, word)| word.load(Ordering::Relaxed) == content(seed, place as u64))
}

fn is_zero(buffer: &IoBuffer, bytes: usize) -> bool {
    buffer.words().iter().take(bytes / 8).all(|word| word.load(Ordering::Relaxed) == 0)
}

/// The first offset for blocks.
fn base(device: &dyn StorageDevice) -> u64 {
    device.geometry().reserved_bytes.next_multiple_of(BLOCK_BYTES as u64)
}

/// Offset of the block number `block` behind `base`.
fn block(base: u64, block: usize) -> u64 {
    base + (block * BLOCK_BYTES) as u64
}

/// Whether nobody but the caller holds the buffer's memory.
fn is_released(buffer: &IoBuffer) -> bool {
    Arc::strong_count(buffer.memory()) == 1
}
