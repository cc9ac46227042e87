//! The phases of a benchmark, and the thread that looks at the counters.
//!
//! The looking thread sleeps between snapshots, ten a second, and never touches what the working threads write but by reading
//! their counters.

use std::time::Duration;

use oxifaster_core::error::Error;
use oxifaster_device::StorageDevice;
use oxifaster_device::sync::thread::JoinHandle;
use oxifaster_device::sync::{Arc, clock, thread};
use oxifaster_store::{FasterKv, Statistics};
use oxifaster_workload::Workload;

use super::counters::{Counters, Done, Snapshot};
use super::draw::Draw;
use super::lane::{Lane, Source, Stage};
use super::latency::Latencies;
use super::payload::Payload;
use super::settings::Settings;
use crate::failure::{Failure, FailureKind};
use crate::interrupt::Interrupt;
use crate::pipeline::RunState;

/// Time between two snapshots.
const TICK: Duration = Duration::from_millis(100);
/// Operations that are drawn to learn what drawing costs.
const DRAWS: u32 = 200_000;

/// What was completed between two snapshots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The second snapshot, counted from the beginning of the window.
    pub until: Duration,
    /// Time between the two.
    pub length: Duration,
    /// Operations completed between the two.
    pub operations: u64,
}

/// What the window showed.
#[derive(Debug)]
pub struct Measurement {
    /// From the first snapshot to the last.
    pub length: Duration,
    /// What was completed between them.
    pub done: Done,
    /// The same in steps.
    pub timeline: Vec<Sample>,
    /// Sampled times.
    pub latencies: Latencies,
    /// The store's statistics at the beginning of the window.
    pub before: Statistics,
    /// And at its end.
    pub after: Statistics,
    /// Whether it ran to its end.
    pub complete: bool,
}

/// How the keys were loaded, when that is not what is measured.
#[derive(Clone, Copy, Debug)]
pub struct LoadPhase {
    /// Keys.
    pub keys: u64,
    /// Time.
    pub time: Duration,
}

/// How far a phase is, for the person who waits.
#[derive(Clone, Copy, Debug)]
pub struct Tick {
    /// What the phase is called.
    pub phase: &'static str,
    /// Keys, or milliseconds, that are done.
    pub position: u64,
    /// Of so many.
    pub total: u64,
    /// Operations since the last tick.
    pub operations: u64,
    /// Time since the last tick.
    pub length: Duration,
}

/// When a phase ends.
#[derive(Clone, Copy, Debug)]
enum Until {
    /// When all these keys are inserted.
    Keys(u64),
    /// After a time.
    Time(Duration),
}

/// Loads the keys and runs the workload on them; for the workload `load`, loading is the workload.
///
/// # Errors
/// The store's errors, as `explain` tells them; `Interrupted` when the user ends the load phase before a window.
pub fn measure<V: Payload, D: StorageDevice>(
    store: &Arc<FasterKv<u64, V, D>>,
    settings: &Settings,
    interrupt: &Interrupt,
    explain: &dyn Fn(&Error) -> Failure,
    on_tick: &mut dyn FnMut(Tick),
) -> Result<(Option<LoadPhase>, Measurement), Failure> {
    let is_load = settings.workload == Workload::Load;
    let shares = shares(settings.keys, settings.threads);
    let sources = shares.into_iter().map(Source::Keys).collect();
    let until = Until::Keys(settings.keys);
    let loading = Phase::start(store, &settings.for_loading(), sources, explain)?;
    let loaded = loading.watch("load", until, true, interrupt, on_tick)?.finish(explain)?;
    if is_load {
        return Ok((None, loaded));
    }
    if !loaded.complete {
        return Err(Failure::new(
            FailureKind::Interrupted,
            "interrupted while loading: nothing was measured",
        ));
    }
    let load = LoadPhase { keys: settings.keys, time: loaded.length };
    let sources = (0..settings.threads).map(|lane| Source::Mix(Draw::new(settings, lane))).collect();
    let running = Phase::start(store, settings, sources, explain)?;
    let warmed = running.watch("warm-up", Until::Time(settings.warm_up), false, interrupt, on_tick)?;
    let measured = warmed.phase.watch("run", Until::Time(settings.window), true, interrupt, on_tick)?;
    Ok((Some(load), measured.finish(explain)?))
}

/// Nanoseconds that drawing an operation and its key takes, on one thread.
#[must_use]
pub fn drawing_nanoseconds(settings: &Settings) -> f64 {
    let mut draw = Draw::new(settings, 0);
    let mut sum = 0_u64;
    let start = clock::now();
    for _ in 0..DRAWS {
        let (operation, key) = draw.operation();
        sum = sum.wrapping_add(key ^ operation as u64);
    }
    std::hint::black_box(sum);
    start.elapsed().as_secs_f64() * 1e9 / f64::from(DRAWS)
}

/// The keys below `keys` in `threads` ranges.
fn shares(keys: u64, threads: usize) -> Vec<std::ops::Range<u64>> {
    let threads = threads as u64;
    let start = |lane: u64| {
        let product = u128::from(keys) * u128::from(lane) / u128::from(threads);
        u64::try_from(product).unwrap_or(keys)
    };
    (0..threads).map(|lane| start(lane)..start(lane + 1)).collect()
}

/// Threads at work on a store.
struct Phase<'s, V: Payload, D: StorageDevice> {
    store: &'s Arc<FasterKv<u64, V, D>>,
    settings: Settings,
    counters: Arc<Counters>,
    /// Before the first thread was started.
    started: Snapshot,
    stage: Arc<Stage>,
    run: Arc<RunState>,
    threads: Vec<JoinHandle<Result<Latencies, Error>>>,
}

/// A phase that was watched for a while.
struct Watched<'s, V: Payload, D: StorageDevice> {
    phase: Phase<'s, V, D>,
    first: Snapshot,
    last: Snapshot,
    timeline: Vec<Sample>,
    before: Statistics,
    after: Statistics,
    complete: bool,
}

impl<'s, V: Payload, D: StorageDevice> Phase<'s, V, D> {
    fn start(
        store: &'s Arc<FasterKv<u64, V, D>>,
        settings: &Settings,
        sources: Vec<Source>,
        explain: &dyn Fn(&Error) -> Failure,
    ) -> Result<Self, Failure> {
        let counters = Arc::new(Counters::new(settings.threads));
        let mut lanes = Vec::with_capacity(settings.threads);
        for (number, source) in sources.into_iter().enumerate() {
            let session = store.start_session().map_err(|error| explain(&error))?;
            lanes.push(Lane::new(session, source, settings, Arc::clone(&counters), number));
        }
        let mut phase = Self {
            store,
            settings: *settings,
            started: counters.snapshot(),
            counters,
            stage: Arc::default(),
            run: Arc::default(),
            threads: Vec::with_capacity(settings.threads),
        };
        if settings.workload == Workload::Load {
            phase.stage.begin_window();
        }
        // All are counted in before the first one runs.
        let lanes: Vec<_> = lanes.into_iter().map(|lane| (lane, phase.run.worker())).collect();
        for (lane, running) in lanes {
            let stage = Arc::clone(&phase.stage);
            let started = thread::spawn("ycsb", move || {
                let ended = lane.run(&stage);
                drop(running);
                ended
            });
            match started {
                Ok(thread) => phase.threads.push(thread),
                Err(error) => {
                    phase.stage.end();
                    return Err(Failure::other(format_args!("can't start a thread: {error}")));
                }
            }
        }
        Ok(phase)
    }

    /// Looks at the counters until the phase ends, or its threads do.
    fn watch(
        self,
        name: &'static str,
        until: Until,
        is_window: bool,
        interrupt: &Interrupt,
        on_tick: &mut dyn FnMut(Tick),
    ) -> Result<Watched<'s, V, D>, Failure> {
        if is_window {
            self.stage.begin_window();
        }
        let before = self.store.stats();
        // Loading is measured from before its first key, a mix from now.
        let first = match until {
            Until::Keys(_) => self.started,
            Until::Time(_) => self.counters.snapshot(),
        };
        let mut last = first;
        let mut timeline = Vec::new();
        let complete = loop {
            let elapsed = last.at - first.at;
            let next = next_tick(elapsed, until);
            let ended = self.run.wait_ended((first.at + next).saturating_duration_since(clock::now()));
            let now = self.counters.snapshot();
            let sample = Sample {
                until: now.at - first.at,
                length: now.at - last.at,
                operations: now.done.since(&last.done).total(),
            };
            timeline.push(sample);
            last = now;
            let (position, total) = match until {
                Until::Keys(keys) => (now.done.since(&first.done).total(), keys),
                Until::Time(time) => (milliseconds(sample.until), milliseconds(time)),
            };
            let (operations, length) = (sample.operations, sample.length);
            on_tick(Tick { phase: name, position, total, operations, length });
            match until {
                Until::Time(time) if sample.until >= time => break true,
                // Inserting ends by itself; a mix ends by itself only when a thread has failed.
                _ if ended => break matches!(until, Until::Keys(_)) && position == total,
                _ if interrupt.is_set() || self.stage.is_over() => break false,
                _ => {}
            }
        };
        let after = self.store.stats();
        Ok(Watched { phase: self, first, last, timeline, before, after, complete })
    }
}

impl<V: Payload, D: StorageDevice> Watched<'_, V, D> {
    /// Ends the threads and puts together what they recorded.
    fn finish(self, explain: &dyn Fn(&Error) -> Failure) -> Result<Measurement, Failure> {
        self.phase.stage.end();
        let mut latencies = Latencies::new(&self.phase.settings);
        let mut failure = None;
        for thread in self.phase.threads {
            match thread.join() {
                Ok(Ok(times)) => latencies.add(&times),
                Ok(Err(error)) => failure = Some(failure.unwrap_or_else(|| explain(&error))),
                Err(_) => {
                    failure =
                        Some(Failure::other("a thread of the benchmark panicked; its message stands above"));
                }
            }
        }
        if let Some(failure) = failure {
            return Err(failure);
        }
        Ok(Measurement {
            length: self.last.at - self.first.at,
            done: self.last.done.since(&self.first.done),
            timeline: self.timeline,
            latencies,
            before: self.before,
            after: self.after,
            complete: self.complete,
        })
    }
}

/// When the next snapshot is due, from the beginning: at the next tenth of a second, or at the end.
fn next_tick(elapsed: Duration, until: Until) -> Duration {
    let ticks = elapsed.as_millis() / TICK.as_millis() + 1;
    let next = u32::try_from(ticks).map_or(Duration::MAX, |ticks| TICK.saturating_mul(ticks));
    match until {
        Until::Time(time) => next.min(time),
        Until::Keys(_) => next,
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_all_keys_once() {
        for (keys, threads) in [(10, 3), (3, 7), (1, 1), (u64::MAX, 1000)] {
            let shares = shares(keys, threads);
            assert_eq!((shares[0].start, shares[threads - 1].end), (0, keys));
            assert!(shares.windows(2).all(|pair| pair[0].end == pair[1].start), "{keys} {threads}");
        }
    }

    #[test]
    fn ticks_that_were_missed_are_left_out() {
        let until = Until::Time(Duration::from_millis(250));
        for (elapsed, next) in [(0, 100), (99, 100), (100, 200), (130, 200), (201, 250), (249, 250)] {
            assert_eq!(next_tick(Duration::from_millis(elapsed), until), Duration::from_millis(next));
        }
        assert_eq!(next_tick(Duration::from_millis(901), Until::Keys(1)), Duration::from_secs(1));
    }
}
