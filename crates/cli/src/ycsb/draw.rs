//! A thread's next operations and their keys.
//!
//! Keys below the number of loaded ones are there. New keys of workload d are dealt out in turns: thread `n` of `t` inserts
//! the `n`-th, the `n + t`-th, ..; so no counter of new keys is shared. What may be read of them is what all threads have
//! counted (YCSB calls it acknowledged), looked up once a block.

use oxifaster_workload::{Distribution, Keys, Operation, Prng, Workload};

use super::counters::Counters;
use super::settings::Settings;

/// Draws one thread's operations.
#[derive(Clone, Debug)]
pub struct Draw {
    workload: Workload,
    keys: Keys,
    prng: Prng,
    loaded: u64,
    lane: u64,
    lanes: u64,
    inserted: u64,
}

impl Draw {
    /// Operations of thread `lane`.
    #[must_use]
    pub fn new(settings: &Settings, lane: usize) -> Self {
        Self {
            workload: settings.workload,
            keys: Keys::new(settings.keys, settings.distribution),
            prng: Prng::lane(settings.seed, lane as u64),
            loaded: settings.keys,
            lane: lane as u64,
            lanes: settings.threads as u64,
            inserted: 0,
        }
    }

    /// Lets what all threads have inserted be drawn.
    #[inline]
    pub fn look_at(&mut self, counters: &Counters) {
        if self.workload == Workload::D {
            self.keys.grow_to(self.loaded + self.lanes * counters.inserted_by_all());
        }
    }

    /// The next operation and its key.
    #[inline]
    pub fn operation(&mut self) -> (Operation, u64) {
        let operation = self.workload.next(&mut self.prng);
        if operation == Operation::Insert {
            let key = self.loaded + self.lane + self.lanes * self.inserted;
            self.inserted += 1;
            return (operation, key);
        }
        (operation, self.keys.next(&mut self.prng))
    }

    /// A number below `bound`, for what else is random.
    #[inline]
    pub fn below(&mut self, bound: u64) -> u64 {
        self.prng.below(bound)
    }
}

/// What a distribution is called in reports.
#[must_use]
pub fn distribution_name(distribution: Distribution) -> &'static str {
    match distribution {
        Distribution::Uniform => "uniform",
        Distribution::Zipfian(_) | Distribution::Scrambled(_) => "zipfian",
        Distribution::Latest(_) => "latest",
        Distribution::HotSet { .. } => "hot",
        Distribution::Private { .. } => "private",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use oxifaster_workload::YCSB_THETA;

    use super::*;

    fn settings(workload: Workload) -> Settings {
        Settings {
            workload,
            distribution: Distribution::Latest(YCSB_THETA),
            keys: 1000,
            value_bytes: 8,
            threads: 3,
            batch: 1,
            window: Duration::from_secs(1),
            warm_up: Duration::ZERO,
            seed: 1,
        }
    }

    #[test]
    fn new_keys_are_dealt_out_and_read_once_all_threads_have_them() {
        let settings = settings(Workload::D);
        let counters = Counters::new(settings.threads);
        let mut draws: Vec<Draw> = (0..settings.threads).map(|lane| Draw::new(&settings, lane)).collect();
        let mut inserted = BTreeSet::new();
        let mut newest_read = 0;
        for round in 0..20_000 {
            for (lane, draw) in draws.iter_mut().enumerate() {
                draw.look_at(&counters);
                let (operation, key) = draw.operation();
                match operation {
                    Operation::Insert => {
                        assert!(inserted.insert(key), "round {round}: key {key} twice");
                        counters.lane(lane).unwrap().add(operation, 1);
                    }
                    _ => {
                        assert!(
                            key < 1000 || inserted.contains(&key),
                            "round {round}: key {key} is not there"
                        );
                        newest_read = newest_read.max(key);
                    }
                }
            }
        }
        // A twentieth of 60,000 operations are inserts, with keys that leave no gap but at the end.
        assert!((2500..3500).contains(&inserted.len()), "{}", inserted.len());
        let everywhere = 1000 + 3 * counters.inserted_by_all();
        assert!((1000..everywhere).all(|key| inserted.contains(&key)));
        assert!(newest_read + 100 > everywhere, "{newest_read} of {everywhere}");
    }

    #[test]
    fn threads_draw_different_keys_and_a_seed_the_same_ones() {
        let settings = Settings { distribution: Distribution::Uniform, ..settings(Workload::C) };
        let draw = |lane| {
            let mut draw = Draw::new(&settings, lane);
            (0..10).map(|_| draw.operation().1).collect::<Vec<_>>()
        };
        assert_eq!(draw(0), draw(0));
        assert_ne!(draw(0), draw(1));
    }
}
