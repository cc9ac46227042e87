//! One round: a new store with a configuration of its own, threads that work on few keys, one that flushes, and an end.

use std::sync::Arc;
use std::time::Duration;

use oxifaster_device::StorageDevice;
use oxifaster_device::fault::{CrashPoint, FaultDevice};
use oxifaster_device::sync::atomic::{AtomicBool, Ordering};
use oxifaster_device::sync::thread;
use oxifaster_store::{FasterKv, FasterKvConfig};

use super::cut::{self, Point, READER};
use super::load::LoadCounts;
use super::threads::Threads;
use crate::history::{Checked, Checker, Event, NEVER, Operation, Order, Outcome, Response, State};
use crate::judges::stored::{CallError, Stored, call};
use crate::judges::subject::{small_config, unruly_plan};
use crate::workload::{Distribution, Keys, Prng, Shape};

/// How a round ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Every key is read.
    ReadAll,
    /// The store is closed and opened, and every key is read.
    Reopen,
    /// Power is lost when all threads have finished.
    LosePower,
    /// Power is lost while the threads work, after so many changes of the device.
    LosePowerAfter(u64),
}

/// What a round came to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RoundCounts {
    pub(super) checked: Checked,
    pub(super) flushes: u64,
    pub(super) pages_evicted: u64,
    pub(super) device_reads: u64,
    pub(super) read_cache_hits: u64,
    pub(super) read_cache_evictions: u64,
    pub(super) delayed: u64,
    pub(super) reordered: u64,
    pub(super) keys_found: u64,
    pub(super) load: LoadCounts,
    /// Pages that in-memory compaction has given back.
    pub(super) pages_reclaimed: u64,
    /// Operations of stores without a device.
    pub(super) in_memory: u64,
}

impl RoundCounts {
    /// Adds those of another round, but for what was checked.
    pub(super) fn add(&mut self, round: &Self) {
        self.flushes += round.flushes;
        self.pages_evicted += round.pages_evicted;
        self.device_reads += round.device_reads;
        self.read_cache_hits += round.read_cache_hits;
        self.read_cache_evictions += round.read_cache_evictions;
        self.delayed += round.delayed;
        self.reordered += round.reordered;
        self.keys_found += round.keys_found;
        self.load.by_futures += round.load.by_futures;
        self.load.dropped_futures += round.load.dropped_futures;
        self.in_memory += round.in_memory;
        self.pages_reclaimed += round.pages_reclaimed;
    }
}

type StoreOf<S> = FasterKv<<S as Shape>::Key, <S as Shape>::Value, FaultDevice>;

/// A flush that was called, and what became of it.
#[derive(Debug)]
struct Flushed {
    point: Point,
    error: Option<String>,
}

struct Round<S: Stored> {
    prng: Prng,
    config: FasterKvConfig,
    device: FaultDevice,
    store: Arc<StoreOf<S>>,
    order: Arc<Order>,
    keys: Arc<Keys>,
    end: End,
    counts: RoundCounts,
}

/// Bytes of a record of a shape, more or less.
pub(super) fn record_bytes<S: Stored>() -> u64 {
    match S::NAME {
        "words" => 24,
        "fixed" => 88,
        "varlen" => 250,
        _ => 4_000,
    }
}

/// Runs a round.
///
/// # Errors
/// The broken promise.
pub(super) fn run<S: Stored>(
    seed: u64,
    threads: u32,
    operations: usize,
    end: End,
) -> Result<RoundCounts, String> {
    let mut prng = Prng::new(seed);
    let mut config = small_config(&mut prng);
    config.table_size = 1 << (4 + prng.below(8));
    // In slow rounds the whole memory may be written anew while a single read is on its way.
    let (slow, delay_max) = match prng.chance(0.2) {
        true => (0.01, Duration::from_millis(60)),
        false => (prng.unit() / 50.0, Duration::from_micros(300)),
    };
    let plan = unruly_plan(&mut prng).delay_by_time(slow, delay_max);
    let device = FaultDevice::with_plan(prng.next_u64(), plan);
    let store = FasterKv::open(config.clone(), device.clone()).map_err(|error| format!("create: {error}"))?;
    // From a handful of keys to three times what fits in memory; half of the operations go to a few of them.
    let fitting = config.log_memory_size * 3 / record_bytes::<S>();
    let count = if prng.chance(0.2) { 8 } else { 64 + prng.below(fitting) };
    let distribution =
        Distribution::HotSet { operations: 0.3 + prng.unit() / 2.0, keys: 16.0 / count as f64 };
    let round = Round::<S> {
        keys: Arc::new(Keys::new(count, distribution)),
        store: Arc::new(store),
        order: Order::new(),
        counts: RoundCounts::default(),
        prng,
        config,
        device,
        end,
    };
    round.run(threads, operations)
}

impl<S: Stored> Round<S> {
    fn run(mut self, threads: u32, operations: usize) -> Result<RoundCounts, String> {
        let created = self.order.stamp();
        if let End::LosePowerAfter(changes) = self.end {
            self.device.change_plan(|plan| plan.crash_at(CrashPoint::AfterChanges(changes)));
        }
        let (mut events, flushes) = self.work(threads, operations)?;
        self.counts.flushes = flushes.iter().filter(|flushed| flushed.error.is_none()).count() as u64;
        let statistics = self.store.stats();
        self.counts.pages_evicted = statistics.pages_evicted;
        self.counts.device_reads = statistics.device_reads;
        self.counts.read_cache_hits = statistics.read_cache_hits;
        self.counts.read_cache_evictions = statistics.read_cache_evictions;
        let faults = self.device.counts();
        self.counts.delayed = faults.delayed;
        self.counts.reordered = faults.reordered_batches;
        match self.end {
            End::ReadAll => self.check_reading(events),
            End::Reopen => {
                self.store.close().map_err(|error| format!("close: {error}"))?;
                self.device = self.device.reopen();
                self.reopen()?;
                self.check_reading(events)
            }
            End::LosePower | End::LosePowerAfter(_) => {
                let crashed = self.order.stamp();
                for event in events.iter_mut().filter(|event| event.response == Response::Lost(NEVER)) {
                    event.response = Response::Lost(crashed);
                }
                self.device = self.device.crash(self.prng.next_u64());
                self.reopen()?;
                let points = points(created, crashed, &flushes);
                let found = read_all::<S, _>(&self.store, &self.keys)?;
                self.counts.keys_found = found.iter().filter(|(_, state)| state.is_some()).count() as u64;
                self.counts.checked += cut::check(&events, &points, &found)?;
                Ok(self.counts)
            }
        }
    }

    /// Runs the threads; returns what they recorded.
    fn work(&mut self, threads: u32, operations: usize) -> Result<(Vec<Event>, Vec<Flushed>), String> {
        let stop = Arc::new(AtomicBool::new(false));
        let flusher = self.start_flusher(&stop)?;
        let mut prng = Prng::new(self.prng.next_u64());
        let (store, order, keys, stop) = (&self.store, &self.order, &self.keys, &stop);
        let worked = Threads::<S, _> { store, order, keys, stop, count: threads, operations }
            .run(&mut prng, |error| self.unexplained(error));
        // Relaxed: joined below.
        stop.store(true, Ordering::Relaxed);
        let flushes = flusher.join().map_err(|_| "the flushing thread panicked".to_owned())?;
        let flush_error = flushes.iter().find_map(|flushed| flushed.error.clone());
        let flush_error = flush_error.filter(|_| !self.device.power_is_lost());
        let (events, counts) = worked?;
        self.counts.load = counts;
        flush_error.map_or(Ok((events, flushes)), Err)
    }

    /// The message of an error that a power loss does not explain.
    fn unexplained(&self, error: &CallError) -> Option<String> {
        let explained = matches!(error, CallError::Store(_)) && self.device.power_is_lost();
        (!explained).then(|| error.to_string())
    }

    fn start_flusher(&mut self, stop: &Arc<AtomicBool>) -> Result<thread::JoinHandle<Vec<Flushed>>, String> {
        let (store, order, stop) = (Arc::clone(&self.store), Arc::clone(&self.order), Arc::clone(stop));
        let mut prng = Prng::new(self.prng.next_u64());
        let pause_max_us = 1 + prng.below(20_000);
        let body = move || {
            let mut flushes = Vec::new();
            // Relaxed: as in the load.
            while !stop.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_micros(prng.below(pause_max_us)));
                let called = order.stamp();
                let result = store.flush();
                let point = Point { called, answered: order.stamp(), tail: result.as_ref().ok().copied() };
                let error = result.err().map(|error| format!("flush: {error}"));
                let failed = error.is_some();
                flushes.push(Flushed { point, error });
                if failed {
                    stop.store(true, Ordering::Relaxed);
                }
            }
            flushes
        };
        thread::spawn("judge-flush", body).map_err(|error| format!("spawn: {error}"))
    }

    fn reopen(&mut self) -> Result<(), String> {
        let store = FasterKv::open(self.config.clone(), self.device.clone());
        self.store = Arc::new(store.map_err(|error| format!("open after {:?}: {error}", self.end))?);
        match self.store.recovery_report() {
            report if report.created => Err(format!("opened as a new store: {report:?}")),
            _ => Ok(()),
        }
    }

    /// Reads every key after everything else, as part of the history.
    fn check_reading(mut self, events: Vec<Event>) -> Result<RoundCounts, String> {
        let (found, checked) = check_reading::<S, _>(&self.store, &self.order, &self.keys, events)?;
        self.counts.keys_found = found;
        self.counts.checked += checked;
        Ok(self.counts)
    }
}

/// The states of all keys, by number.
fn read_all<S: Stored, D: StorageDevice>(
    store: &Arc<FasterKv<S::Key, S::Value, D>>,
    keys: &Keys,
) -> Result<Vec<(u64, State)>, String> {
    let mut session = store.start_session().map_err(|error| format!("start_session: {error}"))?;
    let mut found = Vec::new();
    for key in 0..keys.count() {
        match call::<S, _>(&mut session, key, Operation::Read) {
            Ok(Outcome::Value(state)) => found.push((key, state)),
            Ok(other) => return Err(format!("a read answered {other:?}")),
            Err(error) => return Err(format!("reading key {key} at the end: {error}")),
        }
    }
    Ok(found)
}

/// Reads every key after everything else, as part of the history, and checks that. Returns how many keys there are.
pub(super) fn check_reading<S: Stored, D: StorageDevice>(
    store: &Arc<FasterKv<S::Key, S::Value, D>>,
    order: &Order,
    keys: &Keys,
    mut events: Vec<Event>,
) -> Result<(u64, Checked), String> {
    let called = order.stamp();
    let found = read_all::<S, D>(store, keys)?;
    let answered = order.stamp();
    let there = found.iter().filter(|(_, state)| state.is_some()).count() as u64;
    events.extend(found.into_iter().map(|(key, state)| Event {
        key,
        thread: READER,
        called,
        operation: Operation::Read,
        response: Response::Answered(answered, Outcome::Value(state)),
    }));
    let checked = Checker::new().check(events).map_err(|rejection| rejection.to_string())?;
    Ok((there, checked))
}

/// The last acknowledged point, and then those that were tried since and failed, until the crash.
fn points(created: u64, crashed: u64, flushes: &[Flushed]) -> Vec<Point> {
    let mut points = vec![Point { called: created, answered: created, tail: None }];
    for flushed in flushes {
        match flushed.error {
            None => points = vec![flushed.point],
            Some(_) => points.push(Point { answered: crashed, ..flushed.point }),
        }
    }
    points
}
