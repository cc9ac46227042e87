//! The `load` pipeline: from files to sessions, in order, with as many threads as wanted.
//!
//! ```text
//!           whole lines            shards of a chunk by key hash
//!  reader ──────────────► parser ──────────────────────────────► inbox of shard s ──► session s
//!    │ (CSV: parsed here, for quotes may hide line ends)              ▲
//!    └────────────────────────────────────────────────────────────────┘ via the parsers too
//! ```
//!
//! What another observer may rely on:
//! 1. Of several lines with one key the last one wins, as if one thread had read all files: a key always belongs to one
//!    shard, and a shard stores chunk after chunk.
//! 2. When a line is malformed, or the user interrupts, exactly the lines before some line are stored, and
//!    [`LoadOutcome::position`] says which.
//! 3. Memory: at most `in_flight` chunks exist; each is held twice at most (as text and as shards).

mod parse;
mod read;
mod shard;

use std::path::PathBuf;

use oxifaster_device::sync::{Arc, Mutex};

use crate::failure::Failure;
use crate::input::{LineParser, RecordBatch, Source};
use crate::interrupt::Interrupt;
use crate::pipeline::{ChunkQueue, InFlight, NamedThread, OrderedInbox, Permit, Progress, RunState, watch};

pub use read::{InputOptions, ReadPlan};
pub use shard::RecordSink;

/// How the pipeline is dimensioned.
#[derive(Clone, Copy, Debug)]
pub struct PipelineSize {
    /// Parsers, when lines are parsed in parallel. As many as sinks is a good number.
    pub parsers: usize,
    /// About how many bytes of text are a chunk.
    pub chunk_bytes: usize,
    /// How many chunks may exist at a time.
    pub in_flight: usize,
    /// The largest key and value together, in bytes.
    pub record_bytes_max: usize,
}

/// A place in the input: everything up to and including this line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputPosition {
    /// The file.
    pub source: Arc<Source>,
    /// The line, from 1; 0 for "nothing of this file".
    pub line: u64,
}

/// How a load ended.
#[derive(Debug)]
pub struct LoadOutcome {
    /// Records stored.
    pub records: u64,
    /// Bytes of input stored, line ends included.
    pub bytes: u64,
    /// Malformed lines that were skipped because the user asked for it.
    pub skipped_lines: u64,
    /// The first one of them and what was wrong with it.
    pub first_skipped: Option<String>,
    /// What is stored: everything up to here.
    pub position: Option<InputPosition>,
    /// Whether the user interrupted.
    pub interrupted: bool,
    /// Why not everything is stored.
    pub failure: Option<Failure>,
}

/// A chunk on its way to a parser.
enum Work {
    /// Whole lines.
    Lines { source: Arc<Source>, parser: Arc<LineParser>, text: crate::input::TextChunk, permit: Permit },
    /// Records that the reader has parsed itself.
    Records { chunk: ParsedChunk, permit: Permit },
}

/// A chunk as records, by shard.
struct ParsedChunk {
    shards: Vec<RecordBatch>,
    /// Input bytes it was made of.
    bytes: u64,
    position: InputPosition,
    skipped_lines: u64,
    first_skipped: Option<String>,
}

/// One shard's part of a chunk.
struct ShardChunk {
    batch: RecordBatch,
    /// Given to shard 0 only: what the whole chunk adds to the outcome.
    whole: Option<ChunkFacts>,
    /// Free when all shards have stored their parts.
    _permit: Arc<Permit>,
}

/// What a chunk adds to the outcome, whichever shard its records are in.
struct ChunkFacts {
    bytes: u64,
    position: InputPosition,
    skipped_lines: u64,
    first_skipped: Option<String>,
}

/// What the threads of one load share.
struct LoadRun {
    run: Arc<RunState>,
    queue: ChunkQueue<Work>,
    permits: Arc<InFlight>,
    inboxes: Vec<OrderedInbox<ShardChunk>>,
    totals: Mutex<Totals>,
    size: PipelineSize,
    skip_malformed: bool,
}

#[derive(Default)]
struct Totals {
    skipped_lines: u64,
    first_skipped: Option<String>,
    position: Option<InputPosition>,
}

impl LoadRun {
    /// Chunks at and behind `end` are not stored; no more are read.
    fn end_before(&self, end: u64) {
        self.queue.close();
        self.permits.close();
        for inbox in &self.inboxes {
            inbox.end_before(end);
        }
    }

    /// The reader reads no more; what it has read is stored.
    fn end_of_input(&self) {
        let chunks = self.queue.close();
        self.end_before(chunks);
    }
}

/// A thread of the pipeline that panics ends the run: the others must not wait for its chunk for ever.
struct EndOnPanic<'run>(&'run LoadRun);

impl Drop for EndOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.run.fail(0, Failure::other("a thread of the load ended unexpectedly; this is a bug"));
            self.0.end_before(0);
        }
    }
}

/// Reads, parses and stores. Every sink gets its own thread; the number of sinks is the number of shards.
///
/// # Errors
/// Only when a thread can't be started: everything else is part of the outcome, because what was stored before counts.
pub fn load<S: RecordSink + Send + 'static>(
    plan: ReadPlan,
    size: PipelineSize,
    sinks: Vec<S>,
    interrupt: &Interrupt,
    on_tick: impl FnMut(&Progress),
) -> Result<LoadOutcome, Failure> {
    let shared = Arc::new(LoadRun {
        run: Arc::default(),
        queue: ChunkQueue::default(),
        permits: InFlight::new(size.in_flight),
        inboxes: sinks.iter().map(|_| OrderedInbox::default()).collect(),
        totals: Mutex::default(),
        size,
        skip_malformed: plan.options.skip_malformed,
    });
    let started = start_threads(plan, sinks, &shared);
    if let Err(failure) = started {
        // The threads that did start must not wait for the ones that did not.
        shared.end_before(0);
        return Err(failure);
    }
    let interrupted = watch(&shared.run, interrupt, on_tick, || shared.end_of_input());
    Ok(outcome(&shared, interrupted))
}

fn start_threads<S: RecordSink + Send + 'static>(
    plan: ReadPlan,
    sinks: Vec<S>,
    shared: &Arc<LoadRun>,
) -> Result<(), Failure> {
    let mut threads = Vec::new();
    for (index, sink) in sinks.into_iter().enumerate() {
        let (shared, worker) = (Arc::clone(shared), shared.run.worker());
        threads
            .push(NamedThread::new("load-store", move || shard::store_shard(&shared, index, sink, worker)));
    }
    for _ in 0..shared.size.parsers.max(1) {
        let (shared, worker) = (Arc::clone(shared), shared.run.worker());
        threads.push(NamedThread::new("load-parse", move || parse::parse_chunks(&shared, worker)));
    }
    // The reader is not counted as a worker: nobody waits for it.
    let reader = Arc::clone(shared);
    threads.push(NamedThread::new("load-read", move || read::read_sources(&reader, plan)));
    threads.into_iter().try_for_each(NamedThread::start)
}

fn outcome(shared: &LoadRun, interrupted: bool) -> LoadOutcome {
    use oxifaster_device::sync::atomic::Ordering;
    let totals = std::mem::take(&mut *shared.totals.lock());
    LoadOutcome {
        records: shared.run.progress.records.load(Ordering::Relaxed),
        bytes: shared.run.progress.bytes.load(Ordering::Relaxed),
        skipped_lines: totals.skipped_lines,
        first_skipped: totals.first_skipped,
        position: totals.position,
        interrupted,
        failure: shared.run.take_failure(),
    }
}

/// The files that `load` was given, checked and with everything that is needed to read them.
///
/// # Errors
/// Usage and input failures, before anything is stored.
pub fn plan(arguments: &[PathBuf], options: InputOptions) -> Result<ReadPlan, Failure> {
    ReadPlan::new(arguments, options)
}

#[cfg(test)]
mod tests;
