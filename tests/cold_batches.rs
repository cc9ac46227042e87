//! Batches whose records are on the device: their reads are in flight together, whatever the operation, and the results are
//! those of a map to which the operations are applied one after the other; also while other sessions fill the log,
//! so that what was found is evicted once more, and when single reads fail.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a failed setup fails the test")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Waker};
use std::time::Duration;

use oxifaster::device::fault::{FaultDevice, FaultPlan};
use oxifaster::device::{
    Completion, DeviceError, DeviceIdentity, Geometry, Interrupt, IoOperation, IoQueue, IoRequest,
    MetadataSlot, QueueOptions, SpaceUse, Wait,
};
use oxifaster::prelude::*;

/// Reads that one queue had in flight together at most.
#[derive(Clone, Debug, Default)]
struct Depth(Arc<AtomicUsize>);

/// A fault device that notes how many reads are in flight.
#[derive(Debug)]
struct Watched {
    below: FaultDevice,
    depth: Depth,
}

#[derive(Debug)]
struct WatchedQueue {
    below: Box<dyn IoQueue>,
    depth: Depth,
    reads: usize,
}

impl IoQueue for WatchedQueue {
    fn submit(&mut self, request: IoRequest) -> Result<(), DeviceError> {
        self.reads += usize::from(matches!(request.operation, IoOperation::Read(_)));
        self.depth.0.fetch_max(self.reads, SeqCst);
        self.below.submit(request)
    }

    fn kick(&mut self) -> Result<(), DeviceError> {
        self.below.kick()
    }

    fn reap(&mut self, wait: Wait, completions: &mut Vec<Completion>) -> Result<usize, DeviceError> {
        let before = completions.len();
        let reaped = self.below.reap(wait, completions)?;
        let reads = completions.iter().skip(before);
        self.reads -= reads.filter(|done| matches!(done.operation, IoOperation::Read(_))).count();
        Ok(reaped)
    }

    fn in_flight(&self) -> usize {
        self.below.in_flight()
    }

    fn interrupt(&mut self) -> Option<Interrupt> {
        self.below.interrupt()
    }
}

impl StorageDevice for Watched {
    fn describe(&self) -> String {
        self.below.describe()
    }

    fn identity(&self) -> &DeviceIdentity {
        self.below.identity()
    }

    fn geometry(&self) -> Geometry {
        self.below.geometry()
    }

    fn open_queue(&self, options: QueueOptions) -> Result<Box<dyn IoQueue>, DeviceError> {
        let below = self.below.open_queue(options)?;
        Ok(Box::new(WatchedQueue { below, depth: self.depth.clone(), reads: 0 }))
    }

    fn read_metadata(&self, slot: MetadataSlot, buffer: &mut [u8]) -> Result<(), DeviceError> {
        self.below.read_metadata(slot, buffer)
    }

    fn write_metadata(&self, slot: MetadataSlot, bytes: &[u8]) -> Result<(), DeviceError> {
        self.below.write_metadata(slot, bytes)
    }

    fn truncate_before(&self, offset: u64) -> Result<(), DeviceError> {
        self.below.truncate_before(offset)
    }

    fn truncate_after(&self, offset: u64) -> Result<(), DeviceError> {
        self.below.truncate_after(offset)
    }

    fn space_use(&self) -> Result<SpaceUse, DeviceError> {
        self.below.space_use()
    }
}

type Store = Arc<FasterKv<u64, u64, Watched>>;

const IN_FLIGHT: usize = 64;
const KEYS: u64 = 12_000;
/// Keys of their own, that push all others out of memory.
const OTHERS: u64 = 1 << 40;

/// A store with `KEYS` keys on the device whose values are their numbers. Buckets are so few, and their overflow buckets so
/// scarce, that many keys share a chain.
fn cold_store() -> (Store, FaultDevice, Depth) {
    let below = FaultDevice::new(11);
    let depth = Depth::default();
    let config = FasterKvConfig {
        table_size: 1 << 12,
        overflow_buckets: Some(16),
        log_memory_size: 512 << 10,
        page_size_bits: 16,
        reads_in_flight: IN_FLIGHT,
        ..Default::default()
    };
    let device = Watched { below: below.clone(), depth: depth.clone() };
    let store = Arc::new(FasterKv::open(config, device).unwrap());
    let mut session = store.start_session().unwrap();
    for key in 0..KEYS {
        session.upsert(key, key).unwrap();
    }
    for key in 0..30_000 {
        session.upsert(OTHERS + key, key).unwrap();
    }
    below.set_plan(FaultPlan::new().reorder(0.5).delay_by_reaps(0.5, 4));
    (store, below, depth)
}

/// So many keys from `first` on, none of them twice.
fn keys(first: u64, count: u64) -> Vec<u64> {
    (0..count).map(|number| first + number * 37).collect()
}

#[test]
fn cold_batches_read_the_device_together() {
    let (store, _, depth) = cold_store();
    let mut session = store.start_session().unwrap();
    let expect_depth = |name: &str, run: &mut dyn FnMut()| {
        depth.0.store(0, SeqCst);
        let reads = store.stats().device_reads;
        run();
        let most = depth.0.load(SeqCst);
        assert!(store.stats().device_reads - reads >= 300, "{name} read nothing");
        // A record may need the header of its page, too.
        assert!((IN_FLIGHT..=2 * IN_FLIGHT).contains(&most), "{name}: {most} reads in flight together");
    };
    let pairs = |first| keys(first, 300).into_iter().map(|key| (key, 5)).collect::<Vec<_>>();
    expect_depth("read_batch", &mut || {
        let expected: Vec<_> = keys(0, 300).into_iter().map(Some).collect();
        assert_eq!(session.read_batch(&keys(0, 300)).unwrap(), expected);
    });
    expect_depth("fetch_add_batch", &mut || {
        assert_eq!(session.fetch_add_batch(&pairs(1)).unwrap(), keys(1, 300));
        assert_eq!(session.fetch_add_batch(&pairs(1)).unwrap()[7], keys(1, 300)[7] + 5);
    });
    expect_depth("rmw_batch", &mut || {
        let add_place = |place, value: &mut u64| {
            *value += place as u64;
            place % 3 != 0
        };
        for (place, outcome) in session.rmw_batch(&keys(2, 300), add_place).unwrap().into_iter().enumerate() {
            let expected = if place % 3 == 0 { RmwOutcome::Unchanged } else { RmwOutcome::Updated };
            assert_eq!(outcome, expected);
        }
        for (place, value) in session.read_batch(&keys(2, 300)).unwrap().into_iter().enumerate() {
            let added = if place % 3 == 0 { 0 } else { place as u64 };
            assert_eq!(value, Some(keys(2, 300)[place] + added));
        }
    });
    expect_depth("insert_if_absent_batch", &mut || {
        assert!(session.insert_if_absent_batch(&pairs(3)).unwrap().iter().all(|inserted| !inserted));
    });
}

/// A small generator, so that runs repeat.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// The batches of a session, blocking or as futures.
trait Batches {
    fn read_batch(&mut self, keys: &[u64]) -> Result<Vec<Option<u64>>, Error>;
    fn upsert_batch(&mut self, pairs: &[(u64, u64)]) -> Result<(), Error>;
    fn delete_batch(&mut self, keys: &[u64]) -> Result<(), Error>;
    fn insert_if_absent_batch(&mut self, pairs: &[(u64, u64)]) -> Result<Vec<bool>, Error>;
    fn fetch_add_batch(&mut self, deltas: &[(u64, u64)]) -> Result<Vec<u64>, Error>;
    fn rmw_batch(
        &mut self,
        keys: &[u64],
        modify: impl FnMut(usize, &mut u64) -> bool,
    ) -> Result<Vec<RmwOutcome>, Error>;
}

impl Batches for Session<u64, u64, Watched> {
    fn read_batch(&mut self, keys: &[u64]) -> Result<Vec<Option<u64>>, Error> {
        Session::read_batch(self, keys)
    }

    fn upsert_batch(&mut self, pairs: &[(u64, u64)]) -> Result<(), Error> {
        Session::upsert_batch(self, pairs)
    }

    fn delete_batch(&mut self, keys: &[u64]) -> Result<(), Error> {
        Session::delete_batch(self, keys)
    }

    fn insert_if_absent_batch(&mut self, pairs: &[(u64, u64)]) -> Result<Vec<bool>, Error> {
        Session::insert_if_absent_batch(self, pairs)
    }

    fn fetch_add_batch(&mut self, deltas: &[(u64, u64)]) -> Result<Vec<u64>, Error> {
        Session::fetch_add_batch(self, deltas)
    }

    fn rmw_batch(
        &mut self,
        keys: &[u64],
        modify: impl FnMut(usize, &mut u64) -> bool,
    ) -> Result<Vec<RmwOutcome>, Error> {
        Session::rmw_batch(self, keys, modify)
    }
}

/// A session whose batches are futures, each run to its end.
struct Futures(AsyncSession<u64, u64, Watched>);

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

impl Batches for Futures {
    fn read_batch(&mut self, keys: &[u64]) -> Result<Vec<Option<u64>>, Error> {
        block_on(self.0.read_batch(keys))
    }

    fn upsert_batch(&mut self, pairs: &[(u64, u64)]) -> Result<(), Error> {
        block_on(self.0.upsert_batch(pairs))
    }

    fn delete_batch(&mut self, keys: &[u64]) -> Result<(), Error> {
        block_on(self.0.delete_batch(keys))
    }

    fn insert_if_absent_batch(&mut self, pairs: &[(u64, u64)]) -> Result<Vec<bool>, Error> {
        block_on(self.0.insert_if_absent_batch(pairs))
    }

    fn fetch_add_batch(&mut self, deltas: &[(u64, u64)]) -> Result<Vec<u64>, Error> {
        block_on(self.0.fetch_add_batch(deltas))
    }

    fn rmw_batch(
        &mut self,
        keys: &[u64],
        modify: impl FnMut(usize, &mut u64) -> bool,
    ) -> Result<Vec<RmwOutcome>, Error> {
        block_on(self.0.rmw_batch(keys, modify))
    }
}

/// One random batch, on the store and on the map.
fn one_batch(session: &mut impl Batches, map: &mut BTreeMap<u64, u64>, random: &mut Random, round: usize) {
    let len = 1 + random.below(400);
    // Few keys, so that many are twice in a batch, or one many times.
    let spread = match random.below(4) {
        0 => 3,
        1 => 40,
        2 => 1_000,
        _ => KEYS,
    };
    let items: Vec<(u64, u64)> =
        (0..len).map(|_| (random.below(spread) * (KEYS / spread), random.below(1_000))).collect();
    let keys: Vec<u64> = items.iter().map(|(key, _)| *key).collect();
    match random.below(6) {
        0 => {
            let expected: Vec<_> = keys.iter().map(|key| map.get(key).copied()).collect();
            assert_eq!(session.read_batch(&keys).unwrap(), expected, "round {round}");
        }
        1 => {
            session.upsert_batch(&items).unwrap();
            map.extend(items);
        }
        2 => {
            session.delete_batch(&keys).unwrap();
            map.retain(|key, _| !keys.contains(key));
        }
        3 => {
            let expected: Vec<_> = items
                .iter()
                .map(|(key, value)| match map.contains_key(key) {
                    true => false,
                    false => map.insert(*key, *value).is_none(),
                })
                .collect();
            assert_eq!(session.insert_if_absent_batch(&items).unwrap(), expected, "round {round}");
        }
        4 => {
            let mut add = |(key, delta): &(u64, u64)| {
                let value = map.entry(*key).or_default();
                std::mem::replace(value, *value + *delta)
            };
            let expected: Vec<_> = items.iter().map(&mut add).collect();
            assert_eq!(session.fetch_add_batch(&items).unwrap(), expected, "round {round}");
        }
        _ => {
            // What an operation does depends on what those before it did to the same key.
            let modify = |place: usize, value: &mut u64| {
                let (_, delta) = items.get(place).unwrap();
                *value = *value * 3 + delta;
                !delta.is_multiple_of(4)
            };
            let expected: Vec<_> = keys
                .iter()
                .enumerate()
                .map(|(place, key)| {
                    let mut value = map.get(key).copied().unwrap_or(0) % (1 << 40);
                    match (modify(place, &mut value), map.contains_key(key)) {
                        (false, _) => RmwOutcome::Unchanged,
                        (true, true) => map.insert(*key, value).map(|_| RmwOutcome::Updated).unwrap(),
                        (true, false) => {
                            map.insert(*key, value);
                            RmwOutcome::Created
                        }
                    }
                })
                .collect();
            let modify = |place: usize, value: &mut u64| {
                *value %= 1 << 40;
                modify(place, value)
            };
            assert_eq!(session.rmw_batch(&keys, modify).unwrap(), expected, "round {round}");
        }
    }
}

/// Random batches, while another thread fills the log. Every one is as on a map.
fn expect_exact<B: Batches>(store: &Store, start: impl FnOnce() -> B) {
    let (rounds, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        // Fills a page of the log in every round: what a search passed in memory is evicted before its operation runs.
        scope.spawn(|| {
            let mut session = store.start_session().unwrap();
            let mut written = 0;
            while !stop.load(SeqCst) {
                if written < rounds.load(SeqCst) as u64 * 3_000 {
                    written += 1;
                    session.upsert(OTHERS + written % 30_000, written).unwrap();
                } else {
                    std::thread::yield_now();
                }
            }
        });
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut session = start();
            let mut map: BTreeMap<u64, u64> = (0..KEYS).map(|key| (key, key)).collect();
            let mut random = Random(0x9E37_79B9_7F4A_7C15);
            for round in 0..60 {
                rounds.store(round, SeqCst);
                one_batch(&mut session, &mut map, &mut random, round);
            }
            let keys: Vec<u64> = (0..KEYS).collect();
            let expected: Vec<_> = keys.iter().map(|key| map.get(key).copied()).collect();
            assert_eq!(session.read_batch(&keys).unwrap(), expected);
        }));
        stop.store(true, SeqCst);
        ended.unwrap();
    });
    assert!(store.stats().device_reads > 2_000, "{:?}", store.stats());
}

#[test]
fn cold_batches_are_as_exact_as_single_operations() {
    let (store, _, _) = cold_store();
    expect_exact(&store, || store.start_session().unwrap());
}

#[test]
fn cold_batches_of_futures_are_as_exact_as_single_operations() {
    let (store, _, depth) = cold_store();
    depth.0.store(0, SeqCst);
    expect_exact(&store, || Futures(store.start_async_session().unwrap()));
    assert!(depth.0.load(SeqCst) >= IN_FLIGHT, "their reads are not in flight together");
}

/// A batch that is larger than memory waits for room as a future does: what else the executor has goes on meanwhile.
#[test]
fn a_batch_of_futures_holds_up_nobody() {
    let (store, below, _) = cold_store();
    // Slower than the slowest processor appends, so that there is no room now and then.
    below.change_plan(|plan| plan.delay_by_time(1.0, Duration::from_millis(20)));
    let pairs: Vec<(u64, u64)> = (0..60_000).map(|key| (2 * OTHERS + key, key)).collect();
    let (turns, written) = (AtomicUsize::new(0), AtomicBool::new(false));
    block_on(async {
        let session = store.start_async_session().unwrap();
        let batch = async {
            session.upsert_batch(&pairs).await.unwrap();
            written.store(true, SeqCst);
        };
        let other = async {
            while !written.load(SeqCst) {
                turns.fetch_add(1, SeqCst);
                tokio::task::yield_now().await;
            }
        };
        let (mut batch, mut other) = (std::pin::pin!(batch), std::pin::pin!(other));
        // Both are polled in each turn of the task; the other one ends when the batch has ended.
        std::future::poll_fn(|context| {
            if !written.load(SeqCst) {
                _ = batch.as_mut().poll(context);
            }
            other.as_mut().poll(context)
        })
        .await;
        assert_eq!(session.serial_num(), 60_000);
        let keys: Vec<u64> = pairs.iter().map(|(key, _)| *key).collect();
        let expected: Vec<_> = pairs.iter().map(|(_, value)| Some(*value)).collect();
        assert_eq!(session.read_batch(&keys).await.unwrap(), expected);
    });
    // Every 512 operations at least; and often while there is no room.
    assert!(turns.load(SeqCst) > 200, "{} turns", turns.load(SeqCst));
}

/// Batches that are dropped after so many polls: of each key the first operations have taken effect, with their serial numbers,
/// and no other ever does.
#[test]
fn a_dropped_batch_has_done_the_first_operations_of_each_key() {
    let (store, below, _) = cold_store();
    below.change_plan(|plan| plan.delay_by_time(0.5, Duration::from_millis(3)));
    let session = store.start_async_session().unwrap();
    let mut by_halves = 0;
    for round in 0..36_u64 {
        let of_round = keys(round, 200);
        let deltas: Vec<(u64, u64)> = [1 << 30, 1 << 31, 1 << 32]
            .iter()
            .flat_map(|delta| of_round.iter().map(|key| (*key, *delta)))
            .collect();
        let before = session.serial_num();
        let mut polls = 0;
        {
            let mut batch = std::pin::pin!(session.fetch_add_batch(&deltas));
            let mut context = Context::from_waker(Waker::noop());
            while polls < 1 + round * 2 && batch.as_mut().poll(&mut context).is_pending() {
                polls += 1;
                oxifaster_device::sync::thread::sleep(Duration::from_micros(50));
            }
        }
        let taken = session.serial_num() - before;
        // What the dropped one has in flight ends meanwhile, and changes nothing.
        oxifaster_device::sync::thread::sleep(Duration::from_millis(2));
        let values = block_on(session.read_batch(&of_round)).unwrap();
        let mut found = 0;
        for (key, value) in of_round.iter().zip(values) {
            let applied = (value.unwrap() - key) >> 30;
            assert!([0, 1, 3, 7].contains(&applied), "round {round}, key {key}: {applied:b}");
            found += u64::from(applied.count_ones());
        }
        assert_eq!((found, session.serial_num() - before), (taken, taken), "round {round}");
        by_halves += u64::from((1..600).contains(&taken));
    }
    assert!(by_halves > 3, "only {by_halves} batches were dropped on their way");
}

/// Sessions add to the same keys, and each pushes out of memory what the others have added, while those wait for what they
/// found before. Every addition counts, and each value before one is handed out once.
#[test]
fn cold_batches_of_several_sessions_lose_nothing() {
    const THREADS: u64 = 3;
    const ROUNDS: u64 = 12;
    let (store, below, _) = cold_store();
    below.change_plan(|plan| plan.delay_by_time(0.2, Duration::from_millis(4)));
    let ones: Vec<(u64, u64)> = keys(5, 300).into_iter().map(|key| (key, 1)).collect();
    let seen: Vec<Vec<u64>> = std::thread::scope(|scope| {
        let work = |thread: u64| {
            let mut session = store.start_session().unwrap();
            let mut seen = Vec::new();
            for round in 0..ROUNDS {
                seen.extend(session.fetch_add_batch(&ones).unwrap());
                for key in 0..25_000 {
                    session.upsert(OTHERS + thread * 50_000 + key, round).unwrap();
                }
            }
            seen
        };
        let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || work(thread))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    below.change_plan(|plan| plan.delay_by_time(0.0, Duration::ZERO));
    for (place, (key, _)) in ones.iter().enumerate() {
        let mut before: Vec<u64> =
            seen.iter().flat_map(|seen| seen.iter().skip(place).step_by(ones.len())).copied().collect();
        before.sort_unstable();
        let expected: Vec<u64> = (*key..key + THREADS * ROUNDS).collect();
        assert_eq!(before, expected, "key {key}");
    }
}

/// A damaged record ends the batch with its error. Operations before the first one that needed it took effect; of the others
/// those on one key took effect in their order, as far as they did.
#[test]
fn a_damaged_record_ends_a_batch_where_it_says() {
    let (store, below, _) = cold_store();
    let mut session = store.start_session().unwrap();
    for round in 0..10 {
        // Every key three times; powers of two tell which of its operations took effect.
        let of_round = keys(round, 300);
        let deltas: Vec<(u64, u64)> = [1 << 30, 1 << 31, 1 << 32]
            .iter()
            .flat_map(|delta| of_round.iter().map(|key| (*key, *delta)))
            .collect();
        // Records of 24 bytes, loaded in the order of the keys: one block of the first pages.
        let damaged = (5 + round * 6) * 4096 + 1000;
        assert!(below.flip_bit(damaged, 1));
        let error = session.fetch_add_batch(&deltas).map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corruption, "{error}");
        let values: Vec<Option<u64>> = of_round
            .iter()
            .map(|key| session.read(key).ok().flatten().map(|value| (value - key) >> 30))
            .collect();
        let failed = values.iter().position(Option::is_none).unwrap();
        assert!(failed > 10, "a place in the middle");
        for (place, applied) in
            values.into_iter().enumerate().filter_map(|(place, value)| Some((place, value?)))
        {
            assert!([0, 1, 3, 7].contains(&applied), "not in their order: {applied:b}");
            assert!(place > failed || applied & 1 == 1, "place {place} comes before {failed}");
        }
        assert!(below.flip_bit(damaged, 1));
    }
}
