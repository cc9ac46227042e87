//! A thread of the benchmark: its session, and its operations one by one or in batches.
//!
//! A block is as many operations as a batch has, or, for single operations, as many as one of is timed. A block is drawn first,
//! then run, so that drawing neither is in the times nor waits for the store's memory.

use std::ops::Range;

use oxifaster_core::error::Error;
use oxifaster_device::StorageDevice;
use oxifaster_device::sync::Arc;
use oxifaster_device::sync::atomic::{AtomicU32, Ordering};
use oxifaster_device::sync::clock;
use oxifaster_store::Session;
use oxifaster_workload::Operation;

use super::counters::{Counters, LaneCounters};
use super::draw::Draw;
use super::latency::{Latencies, SAMPLE_EVERY};
use super::payload::{Payload, ValueSource};
use super::settings::Settings;

/// What all threads of a phase look at. One thread writes it twice a phase, so its cache line is shared for reading.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Stage(AtomicU32);

impl Stage {
    const WARM_UP: u32 = 0;
    const WINDOW: u32 = 1;
    const OVER: u32 = 2;

    /// Begins the window, unless the phase is over already. A statistic begins with it, nothing else: relaxed.
    pub fn begin_window(&self) {
        let (from, to) = (Self::WARM_UP, Self::WINDOW);
        // Refused means that it has begun, or that a thread has failed meanwhile: both stand.
        let _ = self.0.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Lets all threads end after their block.
    pub fn end(&self) {
        self.0.store(Self::OVER, Ordering::Relaxed);
    }

    /// Whether threads should end.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.0.load(Ordering::Relaxed) == Self::OVER
    }

    fn in_window(&self) -> bool {
        self.0.load(Ordering::Relaxed) == Self::WINDOW
    }
}

/// Where a thread's operations come from.
#[derive(Debug)]
pub enum Source {
    /// A workload, without end.
    Mix(Draw),
    /// Inserts of these keys.
    Keys(Range<u64>),
}

impl Source {
    /// The next `count` operations, fewer at the end.
    fn fill(&mut self, block: &mut Vec<(Operation, u64)>, count: usize, counters: &Counters) {
        block.clear();
        match self {
            Source::Mix(draw) => {
                draw.look_at(counters);
                block.extend((0..count).map(|_| draw.operation()));
            }
            Source::Keys(keys) => block.extend(keys.take(count).map(|key| (Operation::Insert, key))),
        }
    }

    /// Which operation of a block is timed.
    fn timed(&mut self, block: usize) -> usize {
        match self {
            Source::Mix(draw) => usize::try_from(draw.below(block as u64)).unwrap_or(0),
            Source::Keys(_) => block / 2,
        }
    }
}

/// A thread of the benchmark.
#[derive(Debug)]
pub struct Lane<V: Payload, D: StorageDevice> {
    session: Session<u64, V, D>,
    source: Source,
    values: ValueSource,
    counters: Arc<Counters>,
    number: usize,
    batch: usize,
    latencies: Latencies,
    block: Vec<(Operation, u64)>,
    value: V,
    scratch: Vec<u8>,
    reads: Vec<u64>,
    rmws: Vec<u64>,
    pairs: Vec<(u64, V)>,
}

impl<V: Payload, D: StorageDevice> Lane<V, D> {
    /// Thread `number` of a phase.
    #[must_use]
    pub fn new(
        session: Session<u64, V, D>,
        source: Source,
        settings: &Settings,
        counters: Arc<Counters>,
        number: usize,
    ) -> Self {
        Self {
            session,
            source,
            values: ValueSource::new(settings.value_bytes, settings.seed ^ number as u64),
            counters,
            number,
            batch: settings.batch,
            latencies: Latencies::new(settings),
            block: Vec::new(),
            value: V::default(),
            scratch: Vec::new(),
            reads: Vec::new(),
            rmws: Vec::new(),
            pairs: Vec::new(),
        }
    }

    /// Runs until the source or the stage ends.
    ///
    /// # Errors
    /// The store's errors; the stage ends with them.
    pub fn run(mut self, stage: &Stage) -> Result<Latencies, Error> {
        let ended = self.run_blocks(stage);
        if ended.is_err() {
            stage.end();
        }
        ended.map(|()| self.latencies)
    }

    fn run_blocks(&mut self, stage: &Stage) -> Result<(), Error> {
        let counters = Arc::clone(&self.counters);
        let Some(own) = counters.lane(self.number) else { return Ok(()) };
        let count = if self.batch == 1 { SAMPLE_EVERY } else { self.batch };
        let mut block = std::mem::take(&mut self.block);
        while !stage.is_over() {
            self.source.fill(&mut block, count, &counters);
            if block.is_empty() {
                break;
            }
            if self.batch == 1 {
                self.run_singles(&block, stage, own)?;
            } else {
                let in_window = stage.in_window();
                let start = clock::now();
                self.run_batch(&block, own)?;
                let time = start.elapsed();
                if in_window && stage.in_window() {
                    self.latencies.record_batch(time);
                }
            }
        }
        Ok(())
    }

    fn run_singles(
        &mut self,
        block: &[(Operation, u64)],
        stage: &Stage,
        own: &LaneCounters,
    ) -> Result<(), Error> {
        let timed = self.source.timed(block.len());
        for (place, &(operation, key)) in block.iter().enumerate() {
            if place != timed {
                self.run_single(operation, key, own)?;
                continue;
            }
            let in_window = stage.in_window();
            let start = clock::now();
            self.run_single(operation, key, own)?;
            let time = start.elapsed();
            if in_window && stage.in_window() {
                self.latencies.record(operation, time);
            }
        }
        Ok(())
    }

    #[inline]
    fn run_single(&mut self, operation: Operation, key: u64, own: &LaneCounters) -> Result<(), Error> {
        match operation {
            Operation::Read => {
                if !V::read(&mut self.session, key, &mut self.scratch)? {
                    own.add_not_found(1);
                }
            }
            Operation::Upsert | Operation::Insert => {
                self.value.renew(&mut self.values);
                self.session.upsert(key, &self.value)?;
            }
            Operation::Rmw => {
                self.session.rmw(key, |value: &mut V| {
                    value.change();
                    true
                })?;
            }
        }
        own.add(operation, 1);
        Ok(())
    }

    /// One batched call for each kind of operation in the block.
    fn run_batch(&mut self, block: &[(Operation, u64)], own: &LaneCounters) -> Result<(), Error> {
        self.reads.clear();
        self.rmws.clear();
        let (mut written, mut inserted) = (0, 0);
        for &(operation, key) in block {
            match operation {
                Operation::Read => self.reads.push(key),
                Operation::Rmw => self.rmws.push(key),
                Operation::Upsert | Operation::Insert => {
                    if written == self.pairs.len() {
                        self.pairs.push((0, V::default()));
                    }
                    if let Some((place, value)) = self.pairs.get_mut(written) {
                        *place = key;
                        value.renew(&mut self.values);
                    }
                    written += 1;
                    inserted += u64::from(operation == Operation::Insert);
                }
            }
        }
        if !self.reads.is_empty() {
            let values = self.session.read_batch(&self.reads)?;
            let not_found = values.iter().filter(|value| value.is_none()).count();
            if not_found > 0 {
                own.add_not_found(not_found as u64);
            }
            own.add(Operation::Read, values.len() as u64);
        }
        if let Some(pairs) = self.pairs.get(..written)
            && written > 0
        {
            self.session.upsert_batch(pairs)?;
            own.add(Operation::Upsert, written as u64 - inserted);
            own.add(Operation::Insert, inserted);
        }
        if !self.rmws.is_empty() {
            self.session.rmw_batch(&self.rmws, |_, value| {
                value.change();
                true
            })?;
            own.add(Operation::Rmw, self.rmws.len() as u64);
        }
        Ok(())
    }
}
