#![expect(unsafe_code, reason = "lends memory to the kernel for as long as a read is in flight")]
//! One thread's ring for reads, and the buffers that are lent to the kernel through it.
//!
//! Caller: `queue`. A request is in a slot from [`ReadRing::push`] until its completion is collected; the slot's number is
//! what the kernel sends back. *Prepared* entries are those that the kernel has not taken yet.
//!
//! ```text
//!   push ──► slot, prepared ──enter──► in the kernel ──► completion queue ──collect──► caller
//! ```
//!
//! # Soundness
//! 1. An entry names exactly the memory of the buffer in its slot: the kernel writes to nothing else on its behalf.
//! 2. A slot keeps its buffer, and so the mapping below it, until the completion of its one entry was collected: after it
//!    the kernel does not touch the buffer any more. A read completes once: no multi-shot operation is used.
//! 3. The end of a ring waits for what the kernel has taken. If the kernel refuses even that, the slots are leaked: their
//!    memory stays mapped for ever.
//! 4. Entries that were prepared and not taken never reach the kernel once no more `enter` is made: without a
//!    submission thread, which is not used, only `enter` takes entries.
//! 5. The kernel's writes count as another thread's atomic accesses ([`Words`](crate::Words)); collecting a completion
//!    loads the queue's tail with acquire, so whoever collected it sees what was read.
//! 6. A ring belongs to the thread that made it: `ReadRing` is not `Send`. (The kernel checks it, too: single issuer.)

use std::collections::VecDeque;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use io_uring::{IoUring, Probe, opcode, types};

use crate::files::BlockFile;
use crate::queue::{IoBuffer, IoOperation, IoRequest};

/// Rings have no more entries than this.
const ENTRIES_MAX: usize = 4096;
/// Calls in a row in which the kernel may take nothing of what is prepared.
const FRUITLESS_MAX: u32 = 1000;
/// `IORING_ENTER_GETEVENTS`: wait, and work off what has returned.
const GETEVENTS: u32 = 1;

/// How rings are set up on this kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RingSetup {
    /// One thread submits; completions are worked off when it waits (Linux 6.1).
    Deferred,
    /// Completions are worked off when the thread is in the kernel anyway (Linux 5.19).
    Cooperative,
    /// What every `io_uring` can (Linux 5.6 for the read operation).
    Plain,
}

impl RingSetup {
    /// The best that this kernel offers.
    ///
    /// # Errors
    /// When it offers nothing that is enough.
    pub(super) fn probe() -> io::Result<Self> {
        let mut refusal = io::Error::from(io::ErrorKind::Unsupported);
        for setup in [Self::Deferred, Self::Cooperative, Self::Plain] {
            match setup.build(8) {
                Ok(ring) => return check(&ring).map(|()| setup),
                Err(error) => refusal = error,
            }
        }
        Err(refusal)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Deferred => "single issuer, deferred",
            Self::Cooperative => "cooperative",
            Self::Plain => "plain",
        }
    }

    fn build(self, entries: u32) -> io::Result<IoUring> {
        let mut builder = IoUring::builder();
        // A forked child must not share our rings.
        builder.dontfork();
        match self {
            Self::Deferred => builder.setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag(),
            Self::Cooperative => builder.setup_coop_taskrun().setup_taskrun_flag(),
            Self::Plain => &mut builder,
        };
        builder.build(entries)
    }
}

/// Whether a ring can do what is needed.
fn check(ring: &IoUring) -> io::Result<()> {
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe)?;
    if probe.is_supported(opcode::Read::CODE) && ring.params().is_feature_nodrop() {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::Unsupported, "it has no read operation, or loses completions"))
}

/// A read that has come back.
#[derive(Debug)]
pub(super) struct Returned {
    pub(super) request: IoRequest,
    /// Bytes, or the kernel's error.
    pub(super) result: io::Result<usize>,
}

/// What another thread makes readable to end a wait: an event counter that the ring polls while it waits.
struct Bell {
    counter: Arc<OwnedFd>,
    /// The kernel polls it, or has answered.
    polled: bool,
}

/// The number of the poll among those of the slots.
const BELL: u64 = u64::MAX;

/// A ring and what is lent to it. See the module header.
pub(super) struct ReadRing {
    // First: the ring is closed before the slots go. (`drop` has waited for both.)
    ring: IoUring,
    slots: Vec<Option<IoRequest>>,
    free: Vec<usize>,
    /// Taken by the kernel and not collected.
    in_kernel: usize,
    /// Pushed, and not taken by the kernel, oldest first. `None` is the poll of the bell.
    prepared: VecDeque<Option<usize>>,
    /// Those of them that are reads.
    prepared_reads: usize,
    deferred: bool,
    bell: Option<Bell>,
    /// Collected while the ring was waited out.
    early: VecDeque<Returned>,
    of_one_thread: PhantomData<*const ()>,
}

impl ReadRing {
    /// A ring of the calling thread for `depth` reads at once.
    pub(super) fn new(setup: RingSetup, depth: usize) -> io::Result<Self> {
        // One more, for the bell.
        let entries = (depth.clamp(1, ENTRIES_MAX) + 1).next_power_of_two();
        let ring = setup.build(u32::try_from(entries).unwrap_or(u32::MAX))?;
        let room = depth.clamp(1, ENTRIES_MAX);
        Ok(Self {
            ring,
            slots: (0..room).map(|_| None).collect(),
            free: (0..room).rev().collect(),
            in_kernel: 0,
            prepared: VecDeque::with_capacity(room + 1),
            prepared_reads: 0,
            deferred: setup != RingSetup::Plain,
            bell: None,
            early: VecDeque::new(),
            of_one_thread: PhantomData,
        })
    }

    /// The counter that ends waits of this ring when somebody adds to it.
    pub(super) fn bell(&mut self) -> io::Result<Arc<OwnedFd>> {
        if let Some(bell) = &self.bell {
            return Ok(Arc::clone(&bell.counter));
        }
        let flags = rustix::event::EventfdFlags::CLOEXEC | rustix::event::EventfdFlags::NONBLOCK;
        let counter = Arc::new(rustix::event::eventfd(0, flags)?);
        self.bell = Some(Bell { counter: Arc::clone(&counter), polled: false });
        Ok(counter)
    }

    /// Has the kernel look at the bell, if it does not already.
    fn poll_bell(&mut self) {
        let Some(bell) = self.bell.as_mut().filter(|bell| !bell.polled) else { return };
        let counter = types::Fd(bell.counter.as_raw_fd());
        let entry = opcode::PollAdd::new(counter, libc::POLLIN.unsigned_abs().into()).build().user_data(BELL);
        // SAFETY: obligation 1: a poll names no memory.
        if unsafe { self.ring.submission().push(&entry) }.is_ok() {
            bell.polled = true;
            self.prepared.push_back(None);
        }
    }

    /// Whether another read can be pushed.
    pub(super) fn has_room(&self) -> bool {
        !self.free.is_empty()
    }

    /// Reads pushed and not collected.
    pub(super) fn in_flight(&self) -> usize {
        self.in_kernel + self.prepared_reads
    }

    /// Prepares a read of `file` at `offset`, to be started by the next [`enter`](Self::enter), until which `file` must stay
    /// open: afterwards the kernel keeps it open itself.
    ///
    /// # Errors
    /// Gives back a request that is no read, is too long for one entry, or for which there is no room.
    pub(super) fn push(
        &mut self,
        request: IoRequest,
        file: &BlockFile,
        offset: u64,
    ) -> Result<(), IoRequest> {
        let IoOperation::Read(buffer) = &request.operation else { return Err(request) };
        let Ok(len_bytes) = u32::try_from(buffer.len_bytes()) else { return Err(request) };
        let Some(number) = self.free.pop() else { return Err(request) };
        let fd = types::Fd(file.file().as_raw_fd());
        let entry = opcode::Read::new(fd, first_byte(buffer), len_bytes)
            .offset(offset)
            .build()
            .user_data(number as u64);
        // SAFETY: obligations 1 and 2: the entry names the memory of the request's buffer, and the kernel can't take it
        // before the next `enter`: by then the request is in its slot.
        let pushed = unsafe { self.ring.submission().push(&entry) };
        match (pushed, self.slots.get_mut(number)) {
            (Ok(()), Some(slot)) => {
                *slot = Some(request);
                self.prepared.push_back(Some(number));
                self.prepared_reads += 1;
                Ok(())
            }
            // There are no fewer entries than slots, and nothing is pushed after a refusal: not to be seen.
            _ => {
                self.free.push(number);
                Err(request)
            }
        }
    }

    /// Starts what is prepared, and with `wait` waits until so many reads have returned; a signal or the bell may end the
    /// wait when at least one has, or none.
    ///
    /// # Errors
    /// The kernel's refusal: what it has taken is in flight, the rest still prepared.
    pub(super) fn enter(&mut self, wait: usize) -> io::Result<()> {
        let wait = wait.min(self.in_flight());
        if wait > 0 {
            self.poll_bell();
        }
        let mut fruitless = 0;
        loop {
            let must_wait = wait > 0 && self.ring.completion().is_empty();
            let has_work = self.deferred && self.ring.submission().taskrun();
            if self.prepared.is_empty() && !must_wait && !has_work {
                return Ok(());
            }
            match self.ring.submitter().submit_and_wait(if must_wait { wait } else { 0 }) {
                Ok(taken) => {
                    let taken = taken.min(self.prepared.len());
                    let reads = self.prepared.drain(..taken).flatten().count();
                    self.prepared_reads -= reads;
                    self.in_kernel += reads;
                    fruitless = if taken == 0 { fruitless + 1 } else { 0 };
                    if self.prepared.is_empty() && (wait == 0 || !self.ring.completion().is_empty()) {
                        return Ok(());
                    }
                    if fruitless > FRUITLESS_MAX && !self.prepared.is_empty() {
                        return Err(io::Error::other("the kernel does not take what is submitted"));
                    }
                }
                // A signal; nothing was taken.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes a read that has returned.
    pub(super) fn collect(&mut self) -> Option<Returned> {
        self.early.pop_front().or_else(|| self.next_completion())
    }

    fn next_completion(&mut self) -> Option<Returned> {
        let mut entry = self.ring.completion().next()?;
        if entry.user_data() == BELL {
            self.answer_bell();
            entry = self.ring.completion().next()?;
        }
        let number = usize::try_from(entry.user_data()).unwrap_or(usize::MAX);
        let request = self.slots.get_mut(number)?.take()?;
        self.in_kernel -= 1;
        self.free.push(number);
        let result =
            usize::try_from(entry.result()).map_err(|_| io::Error::from_raw_os_error(-entry.result()));
        Some(Returned { request, result })
    }

    /// The bell was rung, once or more often; it is polled again by the next wait.
    fn answer_bell(&mut self) {
        if let Some(bell) = &mut self.bell {
            bell.polled = false;
            let mut rung = [0_u8; 8];
            if let Err(error) = rustix::io::read(&*bell.counter, &mut rung) {
                // The next wait ends at once, then: nothing is lost.
                tracing::debug!(%error, "the bell of a ring does not say how often it was rung");
            }
        }
    }

    /// The end of a ring that refuses to [`enter`](Self::enter): waits for what the kernel has.
    ///
    /// # Errors
    /// When the kernel refuses to wait, too: the reads that it has are lost, and how many, is told.
    pub(super) fn wind_up(mut self) -> Result<WoundUp, (io::Error, usize)> {
        self.wait_out().map_err(|error| (error, self.in_kernel))?;
        let returned = std::iter::from_fn(|| self.collect()).collect();
        let untaken = self.prepared.iter().flatten().filter_map(|number| self.slots.get_mut(*number)?.take());
        Ok(WoundUp { returned, untaken: untaken.collect() })
    }

    /// Waits until everything that the kernel has taken has returned. Prepared entries stay prepared.
    fn wait_out(&mut self) -> io::Result<()> {
        loop {
            while let Some(returned) = self.next_completion() {
                self.early.push_back(returned);
            }
            if self.in_kernel == 0 {
                return Ok(());
            }
            // SAFETY: obligation 4: nothing is submitted, so prepared entries stay where they are; no argument is passed.
            let waited = unsafe { self.ring.submitter().enter::<libc::sigset_t>(0, 1, GETEVENTS, None) };
            match waited {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
        }
    }
}

/// What was in a ring when it ended.
#[derive(Debug)]
pub(super) struct WoundUp {
    pub(super) returned: Vec<Returned>,
    /// Never reached the kernel.
    pub(super) untaken: Vec<IoRequest>,
}

/// Address of a buffer's first byte.
fn first_byte(buffer: &IoBuffer) -> *mut u8 {
    // SAFETY: obligation 1: the range of a buffer lies inside of its memory.
    unsafe { buffer.memory().as_ptr().add(buffer.word_range().start) }.cast()
}

impl Drop for ReadRing {
    /// Obligation 3.
    fn drop(&mut self) {
        if let Err(error) = self.wait_out() {
            tracing::error!(%error, reads = self.in_kernel, "a ring does not say when its reads end: their memory is kept");
            std::mem::forget(std::mem::take(&mut self.slots));
        }
    }
}

impl std::fmt::Debug for ReadRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReadRing")
            .field("in_kernel", &self.in_kernel)
            .field("prepared", &self.prepared.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;
    use std::time::Duration;

    use super::{ReadRing, RingSetup};
    use crate::files::BlockFile;
    use crate::queue::{IoBuffer, IoOperation, IoRequest};
    use crate::sync::thread;

    /// A read of an empty pipe does not return before somebody writes: the bell ends the wait for it, again and again, and
    /// the read is still there.
    #[test]
    fn the_bell_ends_a_wait_and_no_read() {
        let Ok(best) = RingSetup::probe() else { return println!("no rings here") };
        for setup in [best, RingSetup::Plain] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("pipe");
            let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
            rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
            let pipe = BlockFile::open(&path, false, false).unwrap();
            let mut ring = ReadRing::new(setup, 4).unwrap();
            let bell = ring.bell().unwrap();
            let request =
                IoRequest { tag: 3, offset: 0, operation: IoOperation::Read(IoBuffer::zeroed(1).unwrap()) };
            ring.push(request, &pipe, 0).unwrap();
            for round in 0..3 {
                let rope = Arc::clone(&bell);
                let ringer = thread::spawn("ringer", move || {
                    if round > 0 {
                        thread::sleep(Duration::from_millis(10));
                    }
                    // More than once counts as once.
                    for _ in 0..=round {
                        rustix::io::write(&*rope, &1_u64.to_le_bytes()).unwrap();
                    }
                });
                ring.enter(1).unwrap();
                ringer.unwrap().join().unwrap();
                assert!(ring.collect().is_none(), "{setup:?}, round {round}");
                assert_eq!(ring.in_flight(), 1);
                // What was rung behind the answer would end the next wait.
                let mut rest = [0_u8; 8];
                let _ = rustix::io::read(&*bell, &mut rest);
            }
            pipe.file().write_all(&[7; 4096]).unwrap();
            let mut returned = None;
            while returned.is_none() {
                ring.enter(1).unwrap();
                returned = ring.collect();
            }
            let returned = returned.unwrap();
            assert_eq!((returned.request.tag, returned.result.unwrap()), (3, 4096));
            assert_eq!(ring.in_flight(), 0);
        }
    }
}
