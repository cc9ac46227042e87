//! The parallel pass over the log's pages.

use oxifaster_core::Address;
use oxifaster_core::codec::{PersistKey, PersistValue};
use oxifaster_core::error::{Error, ErrorKind};
use oxifaster_core::hash::KeyHash;
use oxifaster_core::hlog::LogState;
use oxifaster_core::index::RaiseRefused;
use oxifaster_core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use oxifaster_core::sync::{Mutex, thread};
use oxifaster_device::IoQueue;
use oxifaster_device::local::with_local_queue;

use super::key_sketch::KeySketch;
use super::{RecoveryProgress, RecoveryReport, scan_page};
use crate::operations::Core;

/// Records whose buckets are asked for together: a pass over a large table would wait for each of them.
const GROUP: usize = 32;

/// Most bytes of the buffers that the threads of one recovery hold together, unless a single page is larger: they are no part of the
/// planned memory, and small beside what a process takes beyond it.
const BUFFER_BYTES_MAX: u64 = 32 << 20;

/// Threads that work, of those asked for: not more than there are pages, and not so many that their buffers, of a page each, take
/// more than they may.
fn threads_for(asked: usize, pages: u64, page_bytes: u64) -> usize {
    let at_most = pages.min(BUFFER_BYTES_MAX / page_bytes).max(1);
    asked.min(usize::try_from(at_most).unwrap_or(usize::MAX))
}

/// What the threads of one recovery share.
struct Pass<'a, K, V> {
    core: &'a Core<K, V>,
    from_page: u64,
    pages: u64,
    tail: Address,
    in_memory_from: Address,
    next: AtomicU64,
    done: AtomicU64,
    stop: AtomicBool,
    /// Overflow buckets that may be taken beyond the budget.
    beyond_buckets: u64,
    /// The index took no more entries: from now on keys are counted, nothing else.
    index_full: AtomicBool,
    keys: Mutex<KeySketch>,
    report: Mutex<RecoveryReport>,
    failure: Mutex<Option<Error>>,
    progress: &'a (dyn Fn(RecoveryProgress) + Sync),
}

/// How a pass ended.
#[derive(Debug)]
pub(crate) enum Rebuilt {
    /// Index and frames hold the log.
    Complete(RecoveryReport),
    /// The index is too small: about this many keys were met. Nothing of it is of use.
    IndexFull { keys: u64 },
}

/// Reads the log of `core` from `begin` to the consistent tail into index and frames, with at most `beyond_buckets` overflow
/// buckets beyond the budget.
///
/// # Errors
/// `Corruption` with the address; the device's errors.
pub(crate) fn rebuild<K: PersistKey, V: PersistValue>(
    core: &Core<K, V>,
    threads: usize,
    beyond_buckets: u64,
    report: RecoveryReport,
    progress: &(dyn Fn(RecoveryProgress) + Sync),
) -> Result<Rebuilt, Error> {
    let layout = core.log.layout();
    let (begin, tail) = (report.begin, report.consistent_tail);
    let from_page = layout.page_of(begin);
    let last = layout.page_of(tail) + u64::from(layout.offset_of(tail) > layout.first_word());
    let pass = Pass {
        core,
        from_page,
        pages: last.saturating_sub(from_page),
        tail,
        in_memory_from: core.log.ring().head(),
        next: AtomicU64::new(0),
        done: AtomicU64::new(0),
        stop: AtomicBool::new(false),
        beyond_buckets,
        index_full: AtomicBool::new(false),
        keys: Mutex::new(KeySketch::default()),
        report: Mutex::new(report),
        failure: Mutex::new(None),
        progress,
    };
    std::thread::scope(|scope| {
        for _ in 1..threads_for(threads, pass.pages, layout.page_bytes()) {
            // Fewer threads take longer and find the same.
            if let Err(error) = thread::spawn_scoped(scope, "oxi-recovery", || pass.work()) {
                tracing::warn!(%error, "a thread for recovery could not be started");
                break;
            }
        }
        pass.work();
    });
    if let Some(failure) = pass.failure.lock().take() {
        return Err(failure);
    }
    if pass.index_full.load(Ordering::Acquire) {
        return Ok(Rebuilt::IndexFull { keys: pass.keys.lock().estimate() });
    }
    let mut report = pass.report.lock().clone();
    report.overflow_beyond_budget = core.index.overflow_beyond_budget();
    Ok(Rebuilt::Complete(report))
}

impl<K: PersistKey, V: PersistValue> Pass<'_, K, V> {
    fn work(&self) {
        let worked = with_local_queue(self.core.log.device().as_ref(), |queue| self.pages(queue));
        if let Err(error) = worked.map_err(Error::from).and_then(|result| result) {
            self.stop.store(true, Ordering::Release);
            self.failure.lock().get_or_insert(error);
        }
    }

    fn pages(&self, queue: &mut dyn IoQueue) -> Result<(), Error> {
        let mut keys = KeySketch::default();
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.pages || self.stop.load(Ordering::Acquire) {
                self.keys.lock().merge(&keys);
                return Ok(());
            }
            self.page(queue, self.from_page + number, &mut keys)?;
            let pages_done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
            (self.progress)(RecoveryProgress { pages_done, pages_total: self.pages });
        }
    }

    fn page(&self, queue: &mut dyn IoQueue, page: u64, keys: &mut KeySketch) -> Result<(), Error> {
        let core = self.core;
        if core.log.state() == LogState::Closed {
            return Err(Error::new(ErrorKind::Closed, "the store was closed during recovery"));
        }
        let layout = core.log.layout();
        let start = layout.start_of(page);
        let into_frame = page >= layout.page_of(self.in_memory_from);
        let image = core.log.load_page(queue, page, self.tail, into_frame)?;
        let until = self.tail.words().saturating_sub(start.words()).min(layout.page_words());
        let (mut records, mut tombstones, mut invalid) = (0, 0, 0);
        let mut waiting = Vec::with_capacity(GROUP);
        let mut key = Vec::new();
        scan_page(page, layout, Core::<K, V>::LAYOUT, image.words(), until, |address, record| {
            records += 1;
            let info = record.info();
            if info.previous() >= address {
                let message = "a record's previous address is not below its own";
                return Err(Error::new(ErrorKind::Corruption, message).with_address(address));
            }
            if info.is_invalid() {
                invalid += 1;
                return Ok(());
            }
            tombstones += u64::from(info.is_tombstone());
            record.copy_key(&mut key);
            let hash = core.hash.hash(&key);
            keys.note(hash);
            core.index.prefetch(hash);
            waiting.push((hash, address));
            if waiting.len() < GROUP { Ok(()) } else { self.raise_all(&mut waiting) }
        })?;
        self.raise_all(&mut waiting)?;
        let mut report = self.report.lock();
        report.pages += 1;
        report.bytes += until * 8;
        report.records += records;
        report.tombstones += tombstones;
        report.invalid_records += invalid;
        report.pages_in_memory += u64::from(into_frame);
        Ok(())
    }

    /// Brings a group into the index. Any order is right: an entry keeps the highest address.
    fn raise_all(&self, waiting: &mut Vec<(KeyHash, Address)>) -> Result<(), Error> {
        waiting.drain(..).try_for_each(|(hash, address)| self.raise(hash, address))
    }

    fn raise(&self, hash: KeyHash, address: Address) -> Result<(), Error> {
        // Relaxed: whoever sees it late is refused, too.
        if self.index_full.load(Ordering::Relaxed) {
            return Ok(());
        }
        match self.core.index.raise(hash, address, self.beyond_buckets) {
            Ok(()) => Ok(()),
            Err(RaiseRefused::NoRoom) => {
                self.index_full.store(true, Ordering::Release);
                Ok(())
            }
            Err(RaiseRefused::Memory(error)) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{BUFFER_BYTES_MAX, threads_for};

    #[test]
    fn the_buffers_of_all_threads_stay_small() {
        assert_eq!(threads_for(8, 1000, 32 << 20), 1, "a page of the largest size is all there may be");
        assert_eq!(threads_for(8, 1000, 8 << 20), 4);
        assert_eq!(threads_for(8, 1000, 1 << 20), 8);
        assert_eq!((threads_for(8, 3, 1 << 16), threads_for(8, 0, 1 << 16)), (3, 1));
        for page_size_bits in 16..=25 {
            let threads = threads_for(1024, u64::MAX, 1 << page_size_bits);
            assert!((1..=BUFFER_BYTES_MAX >> page_size_bits).contains(&(threads as u64)));
        }
    }
}
