//! A thread's queue: reads through its ring, everything else through the portable queue.
//!
//! Caller: `IoUringDevice`, for any thread that opens a queue. A request is in exactly one place:
//!
//! | place | what is there | leaves it |
//! |---|---|---|
//! | `backlog` | submitted, not started, in order | [`start`](UringQueue::start), as far as the depth allows |
//! | `ring` | reads in flight | its completion: a whole read is done, any other goes to `redo` |
//! | `redo` | reads that a ring can't do, or did not do entirely | the next reap, which executes them on this thread the portable way: it knows holes, ends of files, refusals of direct I/O, and what to say about an error |
//! | `portable` | writes, syncs, reads behind those | its own rules |
//!
//! Rules:
//! 1. Ring and portable queue are never both in use: a write or sync starts when the ring is empty, and while the portable
//!    queue has something, reads go there, too. So a waiting reap has one thing to wait for. (Nobody mixes them but for a
//!    moment: logs are written by one thread and read by others.)
//! 2. A reading file stays open at least until the kernel has it: the queue borrows the files while it starts reads, and the
//!    device's drop waits for the end of the borrow. Between calls the queue holds no file.
//! 3. A queue whose ring is refused or fails goes on with the portable queue alone, says so once, and counts it.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use super::options::IoBackend;
use super::ring::{ReadRing, Returned, RingSetup};
use crate::device::Geometry;
use crate::error::{DeviceError, DeviceErrorKind};
use crate::files::{BlockFile, FileStore};
use crate::queue::{Completion, Interrupt, IoOperation, IoQueue, IoRequest, QueueOptions, Wait};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::workers::WorkerQueue;

/// A waiting reap of many reads waits for this part of them, so that a thread is not woken for every one.
const WAKE_PART: usize = 16;
/// And for no more than so many.
const WAKE_MAX: usize = 8;

/// What a device knows of its rings.
#[derive(Debug)]
pub(super) struct RingReport {
    setup: RingSetup,
    without_ring: AtomicU64,
}

impl RingReport {
    pub(super) fn new(setup: RingSetup) -> Self {
        Self { setup, without_ring: AtomicU64::new(0) }
    }

    pub(super) fn backend(&self) -> IoBackend {
        let queues_without_ring = self.without_ring.load(Ordering::Relaxed);
        IoBackend::Ring { setup: self.setup.name(), queues_without_ring }
    }

    /// Counts a queue that goes on without a ring.
    fn lost(&self, error: &io::Error, what: &str) {
        self.without_ring.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(%error, "{what}; this queue takes the portable path");
    }
}

/// The queue. See the module header.
#[derive(Debug)]
pub(super) struct UringQueue {
    ring: Option<ReadRing>,
    portable: WorkerQueue<FileStore>,
    report: Arc<RingReport>,
    geometry: Geometry,
    backlog: VecDeque<IoRequest>,
    redo: Vec<IoRequest>,
    /// Done, and not reaped.
    ready: Vec<Completion>,
    /// Reads of which the kernel does not say what became: the queue is broken.
    lost: usize,
    /// Somebody may interrupt the owner: it must not be away in a plain read.
    interruptible: bool,
}

impl UringQueue {
    pub(super) fn new(
        portable: WorkerQueue<FileStore>,
        report: &Arc<RingReport>,
        geometry: Geometry,
        options: QueueOptions,
    ) -> Self {
        let ring = ReadRing::new(report.setup, options.depth)
            .inspect_err(|error| report.lost(error, "the kernel refuses another ring"))
            .ok();
        Self {
            ring,
            portable,
            report: Arc::clone(report),
            geometry,
            backlog: VecDeque::new(),
            redo: Vec::new(),
            ready: Vec::new(),
            lost: 0,
            interruptible: false,
        }
    }

    fn ring_in_flight(&self) -> usize {
        self.ring.as_ref().map_or(0, ReadRing::in_flight)
    }

    /// Starts what may be started, and if reads are in the ring may wait for some.
    fn start(&mut self, wait: Wait) {
        let mut device_gone = false;
        if self.portable.in_flight() == 0
            && let Some(ring) = &mut self.ring
            && (ring.in_flight() > 0 || self.backlog.front().is_some_and(is_read))
        {
            // Both kept until the kernel has the reads: a segment could be closed otherwise.
            let files = self.portable.borrow_backend();
            let mut reading: Vec<Arc<BlockFile>> = Vec::new();
            device_gone = files.is_none();
            while let Some(files) = &files
                && ring.has_room()
                && let Some(request) = self.backlog.pop_front_if(|request| is_read(request))
            {
                push(ring, &files.backend, request, &mut reading, &mut self.redo);
            }
            let wanted = match wait {
                // The bell counts like a read: it would not end a wait for several.
                Wait::ForOne if self.redo.is_empty() && self.interruptible => 1,
                Wait::ForOne if self.redo.is_empty() => ring.in_flight().div_ceil(WAKE_PART).min(WAKE_MAX),
                _ => 0,
            };
            let entered = ring.enter(wanted);
            drop(files);
            if let Err(error) = entered {
                self.lose_ring(&error);
            }
        }
        while self.ring_in_flight() == 0
            && let Some(request) = self.backlog.pop_front_if(|request| {
                device_gone || self.ring.is_none() || self.portable.in_flight() > 0 || !is_read(request)
            })
        {
            self.portable.accept(request);
        }
    }

    /// Goes on without the ring.
    fn lose_ring(&mut self, error: &io::Error) {
        let Some(ring) = self.ring.take() else { return };
        self.report.lost(error, "a ring failed");
        match ring.wind_up() {
            Ok(ended) => {
                self.redo.extend(ended.untaken);
                ended.returned.into_iter().for_each(|returned| self.finish(returned));
            }
            Err((error, reads)) => {
                tracing::error!(%error, reads, "the kernel does not say what became of reads");
                self.lost += reads;
            }
        }
    }

    /// A read that moved everything is done; whatever else happened to it, the portable way finds out.
    fn finish(&mut self, returned: Returned) {
        let Returned { request, result } = returned;
        match result {
            Ok(bytes) if bytes == len_bytes(&request) => {
                let IoRequest { tag, offset, operation } = request;
                self.ready.push(Completion { tag, offset, result: Ok(bytes), operation });
            }
            _ => self.redo.push(request),
        }
    }
}

/// Prepares a read, or puts it where the portable way does it. `reading` keeps the file open.
fn push(
    ring: &mut ReadRing,
    files: &FileStore,
    request: IoRequest,
    reading: &mut Vec<Arc<BlockFile>>,
    redo: &mut Vec<IoRequest>,
) {
    match files.place_of_read(request.offset, len_bytes(&request)) {
        Some((file, offset)) => {
            redo.extend(ring.push(request, &file, offset).err());
            reading.push(file);
        }
        None => redo.push(request),
    }
}

fn is_read(request: &IoRequest) -> bool {
    matches!(request.operation, IoOperation::Read(_))
}

fn len_bytes(request: &IoRequest) -> usize {
    match &request.operation {
        IoOperation::Read(buffer) | IoOperation::Write(buffer) => buffer.len_bytes(),
        IoOperation::Sync => 0,
    }
}

impl IoQueue for UringQueue {
    fn submit(&mut self, request: IoRequest) -> Result<(), DeviceError> {
        request.check(&self.geometry)?;
        self.backlog.push_back(request);
        Ok(())
    }

    fn kick(&mut self) -> Result<(), DeviceError> {
        self.start(Wait::No);
        self.portable.kick()
    }

    fn reap(&mut self, wait: Wait, completions: &mut Vec<Completion>) -> Result<usize, DeviceError> {
        // A blocking point read: nothing overlaps, so one plain call does it all.
        if wait == Wait::ForOne
            && self.in_flight() == 1
            && !self.interruptible
            && let Some(request) = self.backlog.pop_front()
        {
            completions.push(self.portable.execute_here(request));
            return Ok(1);
        }
        let before = completions.len();
        loop {
            self.start(wait);
            debug_assert!(self.ring_in_flight() == 0 || self.portable.in_flight() == 0, "rule 1");
            while let Some(returned) = self.ring.as_mut().and_then(ReadRing::collect) {
                self.finish(returned);
            }
            completions.append(&mut self.ready);
            completions.extend(self.redo.drain(..).map(|request| self.portable.execute_here(request)));
            if self.portable.in_flight() > 0 {
                let wait = if completions.len() > before { Wait::No } else { wait };
                self.portable.reap(wait, completions)?;
            }
            let reaped = completions.len() - before;
            if reaped > 0 || wait == Wait::No || self.in_flight() == 0 || self.interruptible {
                return Ok(reaped);
            }
            if self.in_flight() == self.lost {
                return Err(DeviceError::new(
                    DeviceErrorKind::Io,
                    format!("the kernel does not say what became of {} reads", self.lost),
                ));
            }
        }
    }

    fn in_flight(&self) -> usize {
        self.backlog.len()
            + self.ring_in_flight()
            + self.redo.len()
            + self.ready.len()
            + self.portable.in_flight()
            + self.lost
    }

    fn interrupt(&mut self) -> Option<Interrupt> {
        // Whichever of the two the owner waits for.
        let portable = self.portable.interrupt()?;
        let counter = match self.ring.as_mut().map(ReadRing::bell) {
            Some(Ok(counter)) => Some(counter),
            Some(Err(error)) => {
                tracing::debug!(%error, "a ring without a bell: its owner can't be interrupted");
                return None;
            }
            None => None,
        };
        self.interruptible = true;
        Some(Interrupt::new(move || {
            portable.raise();
            if let Some(counter) = &counter
                && let Err(error) = rustix::io::write(&**counter, &1_u64.to_le_bytes())
            {
                tracing::debug!(%error, "the bell of a ring was rung too often to be counted");
            }
        }))
    }
}

impl Drop for UringQueue {
    /// Starts what was submitted and waits for all of it (rule 6 of the device contract).
    fn drop(&mut self) {
        let mut completions = Vec::new();
        while self.in_flight() > 0 {
            if self.reap(Wait::ForOne, &mut completions).is_err() {
                // Told when it happened. The ring's own end keeps the memory.
                break;
            }
            completions.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use crate::queue::{IoBuffer, IoOperation, IoQueue, IoRequest, QueueOptions, Wait};
    use crate::sync::atomic::Ordering;
    use crate::uring::{IoBackend, IoUringDevice, Rings};
    use crate::{BLOCK_BYTES, StorageDevice};

    use super::UringQueue;

    fn read_of(block: u64) -> IoRequest {
        let offset = (1 << 20) + block * BLOCK_BYTES as u64;
        IoRequest { tag: block, offset, operation: IoOperation::Read(IoBuffer::zeroed(1).unwrap()) }
    }

    /// A ring that fails with reads in it, prepared and waiting: each completes once with its block, the queue goes on,
    /// and the device says that it has lost a ring.
    #[test]
    fn a_queue_that_loses_its_ring_loses_no_read() {
        let folder = tempfile::tempdir().unwrap();
        let device = IoUringDevice::new(folder.path().join("device")).unwrap();
        let Rings::Offered(report) = &device.rings else {
            println!("no rings here: {}", device.backend());
            return;
        };
        let options = QueueOptions { depth: 16 };
        let portable = device.disk.open_worker_queue(options).unwrap();
        let mut queue = UringQueue::new(portable, report, device.geometry(), options);
        for block in 0..40 {
            let IoRequest { tag, offset, operation: IoOperation::Read(buffer) } = read_of(block) else {
                return;
            };
            buffer.words().iter().for_each(|word| word.store(block + 1, Ordering::Relaxed));
            queue.submit(IoRequest { tag, offset, operation: IoOperation::Write(buffer) }).unwrap();
        }
        let mut completions = Vec::new();
        while queue.in_flight() > 0 {
            queue.reap(Wait::ForOne, &mut completions).unwrap();
        }
        completions.clear();
        (0..40).for_each(|block| queue.submit(read_of(block)).unwrap());
        queue.kick().unwrap();
        assert_eq!(queue.ring_in_flight(), 16);
        queue.reap(Wait::ForOne, &mut completions).unwrap();
        // One that the kernel has not taken.
        if let (Some(ring), Some(files), Some(request)) =
            (&mut queue.ring, queue.portable.borrow_backend(), queue.backlog.pop_front())
        {
            super::push(ring, &files.backend, request, &mut Vec::new(), &mut queue.redo);
        }
        queue.lose_ring(&io::Error::other("a test"));
        while queue.in_flight() > 0 {
            queue.reap(Wait::ForOne, &mut completions).unwrap();
        }
        let mut tags = Vec::new();
        for completion in completions {
            assert_eq!(completion.result.unwrap(), BLOCK_BYTES);
            let IoOperation::Read(buffer) = completion.operation else { panic!("another operation") };
            assert!(buffer.words().iter().all(|word| word.load(Ordering::Relaxed) == completion.tag + 1));
            tags.push(completion.tag);
        }
        tags.sort_unstable();
        assert_eq!(tags, (0..40).collect::<Vec<u64>>());
        assert!(matches!(device.backend(), IoBackend::Ring { queues_without_ring: 1, .. }));
    }
}
