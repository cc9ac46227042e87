//! The linearizability judge and, with power loss, the crash judge.
//!
//! Round after round: a new store with the smallest possible memory on a device that delays, reorders and cuts short; several
//! threads that fight for few keys with all operations, single, batched, pending and as futures, of which some are dropped, while
//! records turn read-only, leave memory and come back; one more that flushes. Then the history is checked. A round of the
//! crash judge loses power, and what is found must be the last consistent point, or one whose flush was interrupted, and the
//! same one for all keys. Without power loss, some rounds have no device: there in-memory compaction moves the records.
//!
//! | part | what it is |
//! |---|---|
//! | `load`, `futures` | a thread's operations |
//! | `threads` | the threads of a round |
//! | `round` | a round from creation to verdict |
//! | `in_memory` | a round without a device |
//! | `cut` | whether what a crash left is a point of the history |

mod cut;
mod futures;
mod in_memory;
mod load;
mod round;
mod threads;

use self::round::{End, RoundCounts, run};
use super::report::{Progress, Report};
use crate::history::Checked;
use crate::workload::{Bulky, Fixed, Prng, Shape, Varlen, Words, mix};

/// How much to judge.
#[derive(Clone, Copy, Debug)]
pub struct LinearizeOptions {
    /// What everything is drawn from.
    pub seed: u64,
    /// Operations in all.
    pub operations: u64,
    /// Operations of a round.
    pub operations_per_round: u64,
    /// Threads, besides the one that flushes.
    pub threads: u32,
    /// Whether every round ends with a power loss.
    pub crash: bool,
}

/// Runs a round of a shape: seed, threads, operations of each, end.
type RunRound = fn(u64, u32, usize, End) -> Result<RoundCounts, String>;

fn draw_end(prng: &mut Prng, crash: bool) -> End {
    let changes_max = if prng.chance(0.5) { 20 } else { 300 };
    match (crash, prng.below(3)) {
        (false, 0) => End::Reopen,
        (false, _) => End::ReadAll,
        (true, 0) => End::LosePower,
        (true, _) => End::LosePowerAfter(prng.below(changes_max)),
    }
}

/// Part of the rounds that have no device, unless they are to lose power.
const IN_MEMORY: f64 = 0.15;

fn draw_shape(prng: &mut Prng, in_memory: bool) -> (&'static str, RunRound) {
    match (prng.below(4), in_memory) {
        (0, false) => (Words::NAME, run::<Words>),
        (0, true) => (Words::NAME, in_memory::run::<Words>),
        (1, false) => (Fixed::NAME, run::<Fixed>),
        (1, true) => (Fixed::NAME, in_memory::run::<Fixed>),
        (2, false) => (Varlen::NAME, run::<Varlen>),
        (2, true) => (Varlen::NAME, in_memory::run::<Varlen>),
        (_, false) => (Bulky::NAME, run::<Bulky>),
        (_, true) => (Bulky::NAME, in_memory::run::<Bulky>),
    }
}

/// So many operations must meet everything that rounds can hold.
const ENOUGH_OPERATIONS: u64 = 1_000_000;

/// Runs the judge.
pub fn judge(options: &LinearizeOptions, progress: Progress<'_>) -> Report {
    let name = if options.crash { "crash" } else { "linearize" };
    let mut report = Report::new(name, options.seed);
    let mut checked = Checked::default();
    let mut sum = RoundCounts::default();
    let mut rounds = 0;
    let per_thread = usize::try_from(options.operations_per_round / u64::from(options.threads.max(1)));
    let per_thread = per_thread.unwrap_or(usize::MAX).max(1);
    while checked.operations < options.operations && report.guilty().is_none() {
        // The first round is that of the seed itself, so that a printed seed replays with one round.
        let seed = if rounds == 0 { options.seed } else { mix(options.seed).wrapping_add(rounds) };
        let mut prng = Prng::lane(seed, 0);
        let end = draw_end(&mut prng, options.crash);
        let in_memory = !options.crash && prng.chance(IN_MEMORY);
        let (shape, run) = draw_shape(&mut prng, in_memory);
        rounds += 1;
        match run(seed, options.threads, per_thread, end) {
            Ok(counts) => {
                checked += counts.checked;
                sum.add(&counts);
            }
            Err(message) => {
                report.note("replay_seed", seed);
                let place = if in_memory { "in memory" } else { "on a device" };
                report.blame(format!("round {rounds} of seed {seed}, {shape} {place}, {end:?}: {message}"));
            }
        }
        // A round that lost power at once has few operations: many of them must not look like a standstill.
        if rounds % 20 == 0 {
            progress(&format!("{name}: {rounds} rounds, {} operations", checked.operations));
        }
    }
    report.note("rounds", rounds);
    report.note("operations", checked.operations);
    report.note("overlapping", checked.overlapping);
    report.note("configurations_max", checked.configurations_max);
    report.note("flushes", sum.flushes);
    report.note("pages_evicted", sum.pages_evicted);
    report.note("device_reads", sum.device_reads);
    report.note("read_cache_hits", sum.read_cache_hits);
    report.note("read_cache_evictions", sum.read_cache_evictions);
    report.note("delayed", sum.delayed);
    report.note("reordered", sum.reordered);
    report.note("keys_found", sum.keys_found);
    report.note("by_futures", sum.load.by_futures);
    report.note("dropped_futures", sum.load.dropped_futures);
    report.note("in_memory", sum.in_memory);
    report.note("pages_reclaimed", sum.pages_reclaimed);
    if report.guilty().is_none() && checked.operations >= ENOUGH_OPERATIONS {
        report.require(&[
            "overlapping",
            "flushes",
            "pages_evicted",
            "device_reads",
            "read_cache_hits",
            "read_cache_evictions",
            "delayed",
            "reordered",
        ]);
        report.require(&["by_futures", "dropped_futures"]);
        report.require(if options.crash { &["keys_found"] } else { &["in_memory", "pages_reclaimed"] });
    }
    report
}
