//! Sampled times of operations, in histograms.

use std::time::Duration;

use hdrhistogram::Histogram;
use oxifaster_workload::Operation;

use super::settings::Settings;

/// One single operation of so many is timed.
pub const SAMPLE_EVERY: usize = 32;
/// The percentiles that are told.
pub const PERCENTILES: [(&str, f64); 4] = [("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("p99.9", 99.9)];
/// Longer times count as this one, in nanoseconds: an hour.
const NANOSECONDS_MAX: u64 = 3_600_000_000_000;
/// Bytes of one histogram with three digits up to an hour.
const HISTOGRAM_BYTES: u64 = 300 << 10;

/// Times of one thread, or of all.
#[derive(Clone, Debug)]
pub struct Latencies {
    rows: Vec<(&'static str, Histogram<u64>)>,
}

impl Latencies {
    /// Empty histograms for what the settings run: one for each kind of single operations, or one for batches.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        let rows = names(settings).map(|name| (name, empty())).collect();
        Self { rows }
    }

    /// Bytes that they take.
    #[must_use]
    pub fn memory_bytes(settings: &Settings) -> u64 {
        names(settings).count() as u64 * HISTOGRAM_BYTES
    }

    /// Records the time of a single operation.
    pub fn record(&mut self, operation: Operation, time: Duration) {
        let name = operation.name();
        if let Some((_, histogram)) = self.rows.iter_mut().find(|(known, _)| *known == name) {
            record(histogram, time);
        }
    }

    /// Records the time of a batch.
    pub fn record_batch(&mut self, time: Duration) {
        if let Some((_, histogram)) = self.rows.first_mut() {
            record(histogram, time);
        }
    }

    /// Adds another thread's times of the same settings.
    pub fn add(&mut self, other: &Latencies) {
        for ((_, sum), (_, histogram)) in self.rows.iter_mut().zip(&other.rows) {
            // Both have the same bounds, so nothing is out of range.
            let added = sum.add(histogram);
            debug_assert!(added.is_ok(), "{added:?}");
        }
    }

    /// What was timed, with its histogram in nanoseconds.
    pub fn rows(&self) -> impl Iterator<Item = (&'static str, &Histogram<u64>)> {
        self.rows.iter().map(|(name, histogram)| (*name, histogram))
    }
}

fn names(settings: &Settings) -> Box<dyn Iterator<Item = &'static str>> {
    if settings.batch > 1 {
        return Box::new(std::iter::once("batch"));
    }
    let parts = Operation::ALL.into_iter().zip(settings.workload.percentages());
    Box::new(parts.filter(|(_, percent)| *percent > 0).map(|(operation, _)| operation.name()))
}

fn empty() -> Histogram<u64> {
    match Histogram::new_with_bounds(1, NANOSECONDS_MAX, 3) {
        Ok(histogram) => histogram,
        Err(error) => unreachable!("constant bounds: {error}"),
    }
}

fn record(histogram: &mut Histogram<u64>, time: Duration) {
    let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(NANOSECONDS_MAX);
    histogram.saturating_record(nanoseconds.max(1));
}

#[cfg(test)]
mod tests {
    use oxifaster_workload::{Distribution, Workload};

    use super::*;

    fn settings(workload: Workload, batch: usize) -> Settings {
        Settings {
            workload,
            distribution: Distribution::Uniform,
            keys: 10,
            value_bytes: 8,
            threads: 1,
            batch,
            window: Duration::from_secs(1),
            warm_up: Duration::ZERO,
            seed: 1,
        }
    }

    #[test]
    fn threads_add_up_and_kinds_stay_apart() {
        let mut sum = Latencies::new(&settings(Workload::A, 1));
        let mut other = sum.clone();
        sum.record(Operation::Read, Duration::from_nanos(100));
        other.record(Operation::Read, Duration::from_nanos(300));
        other.record(Operation::Upsert, Duration::from_secs(7200));
        sum.add(&other);
        let rows: Vec<_> = sum.rows().map(|(name, row)| (name, row.len(), row.max())).collect();
        assert_eq!((rows[0].0, rows[0].1), ("read", 2));
        assert!(rows[0].2.abs_diff(300) <= 1, "{rows:?}");
        assert_eq!((rows[1].0, rows[1].1), ("upsert", 1));
        assert!(rows[1].2.abs_diff(NANOSECONDS_MAX) < NANOSECONDS_MAX / 500, "{rows:?}");
    }

    #[test]
    fn batches_have_one_row_and_the_plan_knows_its_bytes() {
        let settings = settings(Workload::F, 16);
        let mut latencies = Latencies::new(&settings);
        latencies.record_batch(Duration::ZERO);
        let rows: Vec<_> = latencies.rows().collect();
        assert_eq!((rows.len(), rows[0].0, rows[0].1.len()), (1, "batch", 1));
        let bytes = rows[0].1.distinct_values() as u64 * 8;
        assert!((bytes..2 * bytes).contains(&Latencies::memory_bytes(&settings)), "{bytes}");
    }
}
