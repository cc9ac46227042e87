//! The hybrid log: a page ring in memory, a device below it, and a maintenance thread that moves pages between them.
//!
//! Callers: `store` (and later `log` and `f2`). It knows neither keys nor the index. Who does what:
//!
//! | thread | does |
//! |---|---|
//! | operations | allocate, read and write words under a guard; without a guard: turn pages, wait for room |
//! | maintenance | shifts read-only, writes pages, evicts, zeroes frames; the only one that writes log blocks |
//! | whoever calls `flush` | aligns the tail, waits for the maintenance thread, syncs, writes the metadata |
//!
//! Nothing here waits while it holds a guard. A failed write is reported to everybody who waits for it and tried again
//! later; a failed sync poisons the log for good.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crossbeam_utils::CachePadded;
use oxifaster_device::metadata::MetadataArea;
use oxifaster_device::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};
use oxifaster_device::sync::process::HomeProcess;
use oxifaster_device::sync::thread::JoinHandle;
use oxifaster_device::sync::{Condvar, Mutex, clock};
use oxifaster_device::{StorageDevice, Words};

use super::buffer_pool::BufferPool;
use super::checksum::BlockIdentity;
use super::checksum_cache::ChecksumCache;
use super::configuration::{FramePlan, HybridLogConfig};
use super::maintenance::Goal;
use super::metadata::LogMetadata;
use super::page_layout::PageLayout;
use super::page_ring::{AllocateRefusal, PageRing, PageTurn};
use super::record_cache::RecordCache;
use super::seized_tail::SeizedTail;
use crate::address::Address;
use crate::epoch::{EpochGuard, LightEpoch};
use crate::error::{Error, ErrorKind};

/// How long a writer waits for a free frame without any progress before it reports the log as stalled.
const STALL_LIMIT: Duration = Duration::from_secs(60);
/// Frames that a log in memory alone keeps aside for compaction: one for the live records of a page, and one for what copies that
/// lost a race leave behind.
const SPARE_FRAMES: u64 = 2;
/// How long waiters sleep before they look again by themselves.
const WAIT_SLICE: Duration = Duration::from_millis(20);

/// What operations may do with a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum LogState {
    /// Everything.
    Open = 0,
    /// Nothing: it was closed.
    Closed = 1,
    /// Only reads: a sync failed, so nothing later can be promised.
    Poisoned = 2,
}

/// Counters of device I/O by the maintenance thread and by flushes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogIo {
    /// Write requests that completed.
    pub writes: u64,
    /// Bytes that they wrote.
    pub bytes_written: u64,
    /// Device syncs of log blocks.
    pub syncs: u64,
    /// Pages evicted from memory.
    pub pages_evicted: u64,
}

#[derive(Debug, Default)]
pub(crate) struct IoCounters {
    pub(crate) writes: AtomicU64,
    pub(crate) bytes_written: AtomicU64,
    pub(crate) syncs: AtomicU64,
    pub(crate) pages_evicted: AtomicU64,
}

/// What waiters and the maintenance thread tell each other.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Set by whoever wants the maintenance thread to look; cleared by it.
    pub(crate) work: bool,
    pub(crate) stop: bool,
    /// The maintenance thread runs no more (or never ran): `write_error` says why, unless it was told to stop.
    pub(crate) ended: bool,
    /// Write again what failed.
    pub(crate) retry: bool,
    /// The newest write error, until everything that failed was written after all.
    pub(crate) write_error: Option<Error>,
    /// Rises with every write error.
    pub(crate) errors_seen: u64,
    /// What a flush waits for.
    pub(crate) goal: Option<Goal>,
}

/// Durable state and how to write it.
#[derive(Debug)]
pub(crate) struct Durable {
    pub(crate) area: MetadataArea,
    pub(crate) metadata: LogMetadata,
    /// A block was (or may have been) written since the open, in the time line that is in force now. Only then may a
    /// close call the log clean: what an earlier, crashed writer left behind the tail belongs to an older time line.
    pub(crate) writing: bool,
}

/// The hybrid log. See the module header.
#[derive(Debug)]
pub struct HybridLog {
    pub(crate) ring: PageRing,
    pub(crate) device: Arc<dyn StorageDevice>,
    pub(crate) plan: FramePlan,
    pub(crate) persistent: bool,
    state: CachePadded<AtomicU32>,
    /// A sync of the device failed since the open.
    sync_failed: AtomicBool,
    pub(crate) progress: Mutex<Progress>,
    /// The maintenance thread waits here for work.
    pub(crate) work_arrived: Condvar,
    /// Everybody else waits here for the maintenance thread.
    pub(crate) progress_made: Condvar,
    pub(crate) durable: Mutex<Durable>,
    /// A close failed at the slot that says `clean`, so the device may say it: no block before `begin_writing` was called again. Set
    /// (release) before the log is open again; taken (acquire) by the maintenance thread, behind its look at `safe_read_only`.
    pub(crate) begin_again: AtomicBool,
    /// Time lines of the blocks, read by read-back; replaced when the first write starts a new one.
    pub(crate) identity: Mutex<Arc<BlockIdentity>>,
    pub(crate) checksums: ChecksumCache,
    pub(crate) buffers: Arc<BufferPool>,
    record_cache: OnceLock<RecordCache>,
    pub(crate) flushing: Mutex<()>,
    pub(crate) counters: IoCounters,
    pub(crate) maintenance: Mutex<Option<JoinHandle<()>>>,
    home: HomeProcess,
}

/// What [`HybridLog::allocate`] needs its caller to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct NeedsRoom;

impl HybridLog {
    /// Builds the log around what `metadata` says; nothing runs yet.
    pub(crate) fn assemble(
        config: &HybridLogConfig,
        device: Arc<dyn StorageDevice>,
        epoch: LightEpoch,
        durable: Durable,
        head: Address,
    ) -> Result<Self, Error> {
        let metadata = &durable.metadata;
        let layout = metadata.layout();
        let frames = config.memory_bytes / layout.page_bytes();
        let words = usize::try_from(PageRing::memory_words(layout, frames)).unwrap_or(usize::MAX);
        let memory = Arc::new(Words::zeroed(words)?);
        let identity = BlockIdentity::new(metadata.store_id, metadata.incarnations.clone());
        let ring = PageRing::new(layout, memory, epoch, metadata.begin, head, metadata.consistent_tail);
        Ok(Self {
            plan: FramePlan::new(frames, config.mutable_fraction),
            persistent: device.geometry().persistent,
            device,
            ring,
            state: CachePadded::new(AtomicU32::new(LogState::Open as u32)),
            sync_failed: AtomicBool::new(false),
            progress: Mutex::new(Progress::default()),
            work_arrived: Condvar::new(),
            progress_made: Condvar::new(),
            durable: Mutex::new(durable),
            begin_again: AtomicBool::new(false),
            identity: Mutex::new(Arc::new(identity)),
            checksums: ChecksumCache::new(usize::try_from(config.checksum_cache_bytes).unwrap_or(usize::MAX)),
            buffers: Arc::new(BufferPool::new(config.read_buffer_bytes)),
            record_cache: OnceLock::new(),
            flushing: Mutex::new(()),
            counters: IoCounters::default(),
            maintenance: Mutex::new(None),
            home: HomeProcess::here(),
        })
    }

    /// Frames and address line.
    #[inline]
    #[must_use]
    pub fn ring(&self) -> &PageRing {
        &self.ring
    }

    /// Page geometry.
    #[must_use]
    pub fn layout(&self) -> PageLayout {
        self.ring.layout()
    }

    /// The device below.
    #[must_use]
    pub fn device(&self) -> &Arc<dyn StorageDevice> {
        &self.device
    }

    /// The records of the device that are kept in memory, if any are.
    #[must_use]
    pub fn record_cache(&self) -> Option<&RecordCache> {
        self.record_cache.get()
    }

    /// Keeps records of the device in `cache` from now on.
    ///
    /// # Errors
    /// `InvalidConfiguration` when the log has a cache.
    pub fn set_record_cache(&self, cache: RecordCache) -> Result<(), Error> {
        self.record_cache.set(cache).map_err(|_| {
            Error::new(ErrorKind::InvalidConfiguration, "there is a read cache already: it can't be replaced")
        })
    }

    /// Whether this is the process that opened the log. In a copy of it, made by a fork, the log has no threads and owns nothing.
    #[must_use]
    pub fn is_at_home(&self) -> bool {
        self.home.is_here()
    }

    /// Whether the log survives the process.
    #[must_use]
    pub fn is_persistent(&self) -> bool {
        self.persistent
    }

    /// What operations may do. Load it under a guard: closing waits for all guards.
    #[inline]
    #[must_use]
    pub fn state(&self) -> LogState {
        // Acquire pairs with `set_state`: whoever sees a closed log sees why.
        match self.state.load(Ordering::Acquire) {
            0 => LogState::Open,
            1 => LogState::Closed,
            _ => LogState::Poisoned,
        }
    }

    pub(crate) fn set_state(&self, state: LogState) {
        self.state.store(state as u32, Ordering::Release);
        self.tell_the_ring();
    }

    fn tell_the_ring(&self) {
        self.ring.refuse(|| (self.state() == LogState::Closed, self.state() != LogState::Open));
    }

    /// Whether nothing later can be promised, whatever the state.
    pub(crate) fn has_failed_sync(&self) -> bool {
        // Acquire pairs with `poison`.
        self.sync_failed.load(Ordering::Acquire)
    }

    /// Only reads from now on, if the log is open. A closed log stays closed, for good.
    pub(crate) fn poison(&self) {
        // Release: before the state, for a close that is under way.
        self.sync_failed.store(true, Ordering::Release);
        // SeqCst pairs with the fence in `close`, which opens the log again.
        fence(Ordering::SeqCst);
        // Release: as in `set_state`.
        let (open, poisoned) = (LogState::Open as u32, LogState::Poisoned as u32);
        if self.state.compare_exchange(open, poisoned, Ordering::Release, Ordering::Relaxed).is_ok() {
            self.tell_the_ring();
            tracing::error!("the log is poisoned: a sync failed, nothing is acknowledged any more");
        }
    }

    /// The error of a state in which an update can't go on.
    #[must_use]
    pub fn state_error(&self) -> Error {
        match self.state() {
            LogState::Closed => Error::new(ErrorKind::Closed, "the store was closed"),
            _ => Error::new(
                ErrorKind::Poisoned,
                "a sync of the device failed earlier: what was written since the last flush may be lost; close and \
                 reopen the store",
            ),
        }
    }

    /// Takes space for a record; see [`PageRing::try_allocate`].
    ///
    /// # Errors
    /// [`NeedsRoom`]: leave the guard, call [`make_room`](Self::make_room), look everything up again.
    #[inline]
    pub fn allocate(&self, guard: &EpochGuard<'_>, size_words: u64) -> Result<Address, NeedsRoom> {
        self.ring.try_allocate(guard, size_words).map_err(|AllocateRefusal::PageFull| NeedsRoom)
    }

    /// Turns the page, waiting for a free frame if need be. Call it without a guard.
    ///
    /// # Errors
    /// The device's error when pages can't be written; `OutOfMemory` when the log lives in memory alone and is full;
    /// `Closed`, `Poisoned`; `Io` when nothing moved for a minute.
    pub fn make_room(&self, size_words: u64) -> Result<(), Error> {
        while let Some(page) = self.turn_page(size_words)? {
            self.wait_for_frame(page)?;
        }
        Ok(())
    }

    /// [`make_room`](Self::make_room) as far as it needs no waiting; false if it does: no frame is free.
    ///
    /// # Errors
    /// As there.
    pub fn try_make_room(&self, size_words: u64) -> Result<bool, Error> {
        Ok(self.turn_page(size_words)?.is_none())
    }

    /// Turns the page; the page that has no frame yet, if that is in the way.
    fn turn_page(&self, size_words: u64) -> Result<Option<u64>, Error> {
        if self.state() != LogState::Open {
            return Err(self.state_error());
        }
        let spare = if self.persistent { 0 } else { SPARE_FRAMES };
        match self.ring.turn_page(size_words, spare) {
            PageTurn::Turned => {
                self.after_page_turn();
                Ok(None)
            }
            PageTurn::NoFrame(page) if self.persistent => Ok(Some(page)),
            PageTurn::NoFrame(_) => Err(self.memory_is_full()),
            PageTurn::EndOfLog => {
                Err(Error::new(ErrorKind::OutOfSpace, "the log has used all of its 48-bit addresses"))
            }
        }
    }

    /// The error of a log in memory alone that has no free frame.
    #[must_use]
    pub fn memory_is_full(&self) -> Error {
        Error::new(
            ErrorKind::OutOfMemory,
            format!(
                "the store lives in memory alone and its {} bytes of log memory are full: delete keys, raise \
                 log_memory_size, or use a device",
                self.ring.frames() * self.layout().page_bytes()
            ),
        )
    }

    /// Takes the tail from everybody, for the copies of in-memory compaction: they may use the frames that are kept aside.
    /// Call it without a guard, one thread at a time.
    pub fn seize_tail(&self) -> SeizedTail<'_> {
        self.ring.seize_tail()
    }

    /// Whether a writer of `size_words` could go on if the seized tail were given back now.
    #[must_use]
    pub fn has_room_behind(&self, tail: &SeizedTail<'_>, size_words: u64) -> bool {
        tail.has_room(size_words, SPARE_FRAMES)
    }

    /// Forgets all pages below `page` of a log that lives in memory alone: every live record in them was copied and
    /// published. Waits for the operations that may still look at them. Call it without a guard, one thread at a time.
    ///
    /// # Panics
    /// When the log is on a device.
    pub fn forget_pages_below(&self, page: u64) {
        assert!(!self.persistent, "pages of a log on a device are evicted, not forgotten");
        let to = self.layout().start_of(page);
        let epoch = self.ring.shift_begin_in_memory(to);
        self.ring.epoch().wait_until_safe(epoch);
        self.ring.release_frames(to);
    }

    /// Keeps the mutable region at its planned size.
    fn after_page_turn(&self) {
        if self.persistent {
            let tail_page = self.layout().page_of(self.ring.tail());
            let first_mutable = (tail_page + 1).saturating_sub(self.plan.mutable);
            self.ring.shift_read_only(self.layout().start_of(first_mutable));
            self.wake_maintenance();
        }
    }

    pub(crate) fn wake_maintenance(&self) {
        let mut progress = self.progress.lock();
        if !progress.work {
            progress.work = true;
            self.work_arrived.notify_one();
        }
    }

    fn wait_for_frame(&self, page: u64) -> Result<(), Error> {
        let mut waiting_since = clock::now();
        // A large page on a slow device takes longer than the limit; its parts tell that the device works.
        let moved = || (self.ring.ready_pages(), self.counters.writes.load(Ordering::Relaxed));
        let mut moved_before = moved();
        loop {
            self.ring.complete_shifts();
            self.wake_maintenance();
            let progress = self.progress.lock();
            if self.ring.ready_pages() > page || self.state() != LogState::Open {
                return Ok(());
            }
            if let Some(error) = &progress.write_error {
                return Err(error.duplicate());
            }
            drop(self.progress_made.wait_timeout(progress, WAIT_SLICE));
            let moved_now = moved();
            if moved_now != moved_before {
                (moved_before, waiting_since) = (moved_now, clock::now());
            } else if waiting_since.elapsed() > STALL_LIMIT {
                return Err(Error::new(
                    ErrorKind::Io,
                    format!(
                        "no page of the log became free, and no write completed, for {} seconds: the device hangs",
                        STALL_LIMIT.as_secs()
                    ),
                ));
            }
        }
    }

    /// Waits until records at `address` are either mutable for everybody or read-only for everybody. Call it without a
    /// guard; it helps the shift that is under way.
    pub fn leave_fuzzy_region(&self, address: Address) {
        let mut rounds = 0_u32;
        while self.ring.complete_shifts() <= address && self.ring.read_only() > address {
            backoff(&mut rounds);
        }
    }

    /// Waits until no guard that is held now is held any more. Call it without a guard.
    pub fn drain_guards(&self) {
        let epoch = self.ring.epoch().bump();
        self.ring.epoch().wait_until_safe(epoch);
    }

    /// Counters of device I/O.
    #[must_use]
    pub fn io(&self) -> LogIo {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        LogIo {
            writes: load(&self.counters.writes),
            bytes_written: load(&self.counters.bytes_written),
            syncs: load(&self.counters.syncs),
            pages_evicted: load(&self.counters.pages_evicted),
        }
    }

    /// A copy of what is durably known about the log.
    #[must_use]
    pub fn metadata(&self) -> LogMetadata {
        self.durable.lock().metadata.clone()
    }
}

/// Spins, then yields, then sleeps: for waits that others end within microseconds unless they are descheduled.
pub fn backoff(rounds: &mut u32) {
    use oxifaster_device::sync::thread;
    match *rounds {
        0..6 => (0..1 << *rounds).for_each(|_| thread::spin_hint()),
        6..200 => thread::yield_now(),
        _ => thread::sleep(Duration::from_micros(50)),
    }
    *rounds = rounds.saturating_add(1);
}
