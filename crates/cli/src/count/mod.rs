//! The `count` pipeline: from text to n-grams to sessions that add one.
//!
//! ```text
//!  reader ──► chunk + the last n-1 words before it ──► worker with a session: add 1 for each n-gram, many at a time, keep the best
//! ```
//!
//! Order does not matter here, so every worker takes the next chunk. An n-gram that crosses the border of two chunks is
//! counted with the second one ([`crate::input::words`]).

mod key_batch;
mod read;
mod top;

use oxifaster_device::sync::{Arc, Mutex};

use crate::failure::Failure;
use crate::input::words::{NgramWindow, for_each_word};
use crate::input::{Source, TextChunk};
use crate::interrupt::Interrupt;
use crate::pipeline::{ChunkQueue, InFlight, NamedThread, Permit, Progress, RunState, RunningWorker, watch};

pub use key_batch::KeyBatch;
pub use top::TopCounts;

/// What is counted, and how the pipeline is dimensioned.
#[derive(Clone, Copy, Debug)]
pub struct CountOptions {
    /// Words of an n-gram; 1 counts words.
    pub ngram_words: usize,
    /// Whether words are made lower case first.
    pub lowercase: bool,
    /// How many of the largest counts are kept.
    pub top: usize,
    /// N-grams of more bytes are not counted, but reported.
    pub key_bytes_max: usize,
    /// About how many bytes of text are a chunk.
    pub chunk_bytes: usize,
    /// How many chunks may exist at a time.
    pub in_flight: usize,
}

/// Where counts are kept: a session of a store.
pub trait CountSink {
    /// Adds one to the count of each key, which starts at 0; says what each is then, in the order of the keys.
    ///
    /// # Errors
    /// What the store says. Some of the keys may have been counted.
    fn add_one_each(&mut self, keys: &KeyBatch) -> Result<Vec<u64>, Failure>;
}

/// How a count ended.
#[derive(Debug)]
pub struct CountOutcome {
    /// N-grams counted.
    pub ngrams: u64,
    /// N-grams whose count became 1: those not in the store before.
    pub new_ngrams: u64,
    /// N-grams left out because they are too long.
    pub too_long: u64,
    /// Bytes of text.
    pub bytes: u64,
    /// The largest counts, among the n-grams that this run met.
    pub top: Vec<(Box<[u8]>, u64)>,
    /// Whether the user interrupted.
    pub interrupted: bool,
    /// Why not everything is counted.
    pub failure: Option<Failure>,
}

/// A chunk on its way to a worker.
struct Work {
    text: TextChunk,
    /// The last words before the chunk, in the same file.
    context: Vec<String>,
    _permit: Permit,
}

/// What the threads of one count share.
struct CountRun {
    run: Arc<RunState>,
    queue: ChunkQueue<Work>,
    permits: Arc<InFlight>,
    totals: Mutex<Totals>,
    options: CountOptions,
}

struct Totals {
    new_ngrams: u64,
    too_long: u64,
    top: TopCounts,
}

impl CountRun {
    fn end_of_input(&self) {
        self.queue.close();
        self.permits.close();
    }

    /// Ends the run: what waits in the queue is not counted.
    fn fail(&self, number: u64, failure: Failure) {
        self.run.fail(number, failure);
        self.end_of_input();
        while self.queue.pop().is_some() {}
    }
}

/// A thread of the pipeline that panics ends the run.
struct EndOnPanic<'run>(&'run CountRun);

impl Drop for EndOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail(0, Failure::other("a thread of the count ended unexpectedly; this is a bug"));
        }
    }
}

/// Counts the n-grams of all sources. Every sink gets its own thread.
///
/// # Errors
/// Only when a thread can't be started: everything else is part of the outcome.
pub fn count<S: CountSink + Send + 'static>(
    sources: Vec<Source>,
    options: CountOptions,
    sinks: Vec<S>,
    interrupt: &Interrupt,
    on_tick: impl FnMut(&Progress),
) -> Result<CountOutcome, Failure> {
    let shared = Arc::new(CountRun {
        run: Arc::default(),
        queue: ChunkQueue::default(),
        permits: InFlight::new(options.in_flight),
        totals: Mutex::new(Totals { new_ngrams: 0, too_long: 0, top: TopCounts::new(options.top) }),
        options,
    });
    if let Err(failure) = start_threads(sources, sinks, &shared) {
        // The threads that did start must not wait for the ones that did not.
        shared.end_of_input();
        return Err(failure);
    }
    let interrupted = watch(&shared.run, interrupt, on_tick, || shared.end_of_input());
    Ok(outcome(&shared, interrupted))
}

fn start_threads<S: CountSink + Send + 'static>(
    sources: Vec<Source>,
    sinks: Vec<S>,
    shared: &Arc<CountRun>,
) -> Result<(), Failure> {
    let mut threads = Vec::new();
    for sink in sinks {
        let (shared, worker) = (Arc::clone(shared), shared.run.worker());
        threads.push(NamedThread::new("count-add", move || count_chunks(&shared, sink, worker)));
    }
    // The reader is not counted as a worker: nobody waits for it.
    let reader = Arc::clone(shared);
    threads.push(NamedThread::new("count-read", move || read::read_sources(&reader, &sources)));
    threads.into_iter().try_for_each(NamedThread::start)
}

/// Counts chunks until the queue ends.
fn count_chunks<S: CountSink>(shared: &CountRun, mut sink: S, _running: RunningWorker) {
    let _on_panic = EndOnPanic(shared);
    let options = &shared.options;
    let mut window = NgramWindow::new(options.ngram_words, options.lowercase);
    let mut totals = Totals { new_ngrams: 0, too_long: 0, top: TopCounts::new(options.top) };
    while let Some((number, work)) = shared.queue.pop() {
        match count_chunk(&work, options, &mut window, &mut sink, &mut totals) {
            Ok(ngrams) => shared.run.progress.add(work.text.bytes.len() as u64, ngrams),
            Err(failure) => {
                shared.fail(number, failure);
                break;
            }
        }
    }
    let mut sum = shared.totals.lock();
    sum.new_ngrams += totals.new_ngrams;
    sum.too_long += totals.too_long;
    sum.top.merge(totals.top);
}

fn count_chunk<S: CountSink>(
    work: &Work,
    options: &CountOptions,
    window: &mut NgramWindow,
    sink: &mut S,
    totals: &mut Totals,
) -> Result<u64, Failure> {
    window.clear();
    for word in &work.context {
        window.push(word);
    }
    let mut counted = Counted { keys: KeyBatch::default(), sink, totals, ngrams: 0, failure: None };
    for_each_word(&work.text.bytes, |word| {
        if counted.failure.is_some() {
            return;
        }
        let Some(ngram) = window.push(word) else { return };
        if ngram.len() > options.key_bytes_max {
            counted.totals.too_long += 1;
            return;
        }
        counted.keys.push(ngram.as_bytes());
        if counted.keys.len() == KEYS_OF_A_CALL {
            counted.count();
        }
    });
    counted.count();
    counted.failure.map_or(Ok(counted.ngrams), Err)
}

/// Keys that are counted by one call to the store: it reads those that are on the device together.
const KEYS_OF_A_CALL: usize = 1024;

/// The n-grams of one chunk on their way into the store.
struct Counted<'c, S> {
    keys: KeyBatch,
    sink: &'c mut S,
    totals: &'c mut Totals,
    ngrams: u64,
    failure: Option<Failure>,
}

impl<S: CountSink> Counted<'_, S> {
    /// Counts the keys that were gathered, unless the store has failed.
    fn count(&mut self) {
        if self.failure.is_some() || self.keys.is_empty() {
            return;
        }
        match self.sink.add_one_each(&self.keys) {
            Ok(counts) => {
                self.ngrams += counts.len() as u64;
                for (key, count) in self.keys.iter().zip(counts) {
                    self.totals.new_ngrams += u64::from(count == 1);
                    self.totals.top.offer(key, count);
                }
            }
            Err(failure) => self.failure = Some(failure),
        }
        self.keys.clear();
    }
}

fn outcome(shared: &CountRun, interrupted: bool) -> CountOutcome {
    use oxifaster_device::sync::atomic::Ordering;
    let mut totals = shared.totals.lock();
    let top = std::mem::replace(&mut totals.top, TopCounts::new(0));
    CountOutcome {
        ngrams: shared.run.progress.records.load(Ordering::Relaxed),
        new_ngrams: totals.new_ngrams,
        too_long: totals.too_long,
        bytes: shared.run.progress.bytes.load(Ordering::Relaxed),
        top: top.into_sorted(),
        interrupted,
        failure: shared.run.take_failure(),
    }
}

#[cfg(test)]
mod tests;
