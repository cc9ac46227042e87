//! Which key next: the distributions that judges and benchmarks draw from.

use super::prng::Prng;
use super::zipfian::{YCSB_THETA, Zipfian};

/// How keys are chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Distribution {
    /// Each key equally likely.
    Uniform,
    /// Zipfian with this theta; key 0 is the most frequent.
    Zipfian(f64),
    /// YCSB's scrambled zipfian: ranks of ten thousand million items, each led to a key by FNV-1a and a remainder. So
    /// neighbours in frequency are not neighbours among the keys, and the frequencies do not depend on how many keys
    /// there are. As there, ranks share keys: every key gets about the same long tail besides its own rank.
    Scrambled(f64),
    /// Zipfian distance from the newest key: see [`Keys::grow`].
    Latest(f64),
    /// The part `operations` of the draws goes to the part `keys` of the keys (both from 0 to 1), the first ones; inside
    /// of each part every key is equally likely.
    HotSet {
        /// Part of the draws.
        operations: f64,
        /// Part of the keys.
        keys: f64,
    },
    /// Thread `lane` of `lanes` has every `lanes`-th key to itself, each equally likely.
    Private {
        /// This thread.
        lane: u64,
        /// All threads.
        lanes: u64,
    },
}

impl Distribution {
    /// What YCSB draws from by default.
    pub const YCSB: Distribution = Distribution::Scrambled(YCSB_THETA);
}

/// Items that YCSB's scrambled zipfian draws ranks of, whatever the number of keys is.
const SCRAMBLED_ITEMS: u64 = 10_000_000_000;

/// Draws keys from 0 (inclusive) to a count (exclusive).
#[derive(Clone, Debug)]
pub struct Keys {
    count: u64,
    distribution: Distribution,
    zipfian: Option<Zipfian>,
}

impl Keys {
    /// Keys below `count` (at least 1).
    ///
    /// # Panics
    /// When a theta is not between 0 and 1, or a lane not below the number of lanes.
    #[must_use]
    pub fn new(count: u64, distribution: Distribution) -> Self {
        let count = count.max(1);
        let zipfian = match distribution {
            Distribution::Zipfian(theta) | Distribution::Latest(theta) => Some(Zipfian::new(count, theta)),
            Distribution::Scrambled(theta) => Some(Zipfian::new(SCRAMBLED_ITEMS, theta)),
            Distribution::Private { lane, lanes } => {
                assert!(lane < lanes && lanes <= count, "lane {lane} of {lanes} with {count} keys");
                None
            }
            Distribution::Uniform | Distribution::HotSet { .. } => None,
        };
        Self { count, distribution, zipfian }
    }

    /// Keys that can be drawn.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Adds a newest key and returns it. The zipfian law stays that of the count at the start: with many keys the difference
    /// is small, and working it out anew is not.
    pub fn grow(&mut self) -> u64 {
        self.count += 1;
        self.count - 1
    }

    /// Says that the keys below `count` can be drawn now; never takes one back. The zipfian law stays, as in
    /// [`grow`](Self::grow).
    pub fn grow_to(&mut self, count: u64) {
        self.count = self.count.max(count);
    }

    /// The next key.
    #[inline]
    pub fn next(&self, prng: &mut Prng) -> u64 {
        let rank = |prng: &mut Prng| self.zipfian.as_ref().map_or(0, |zipfian| zipfian.next(prng));
        match self.distribution {
            Distribution::Uniform => prng.below(self.count),
            Distribution::Zipfian(_) => rank(prng),
            Distribution::Scrambled(_) => spread(rank(prng)) % self.count,
            Distribution::Latest(_) => self.count - 1 - rank(prng),
            Distribution::HotSet { operations, keys } => {
                let hot = hot_keys(self.count, keys);
                if prng.chance(operations) || hot == self.count {
                    prng.below(hot)
                } else {
                    hot + prng.below(self.count - hot)
                }
            }
            Distribution::Private { lane, lanes } => {
                let own = (self.count - lane).div_ceil(lanes);
                lane + lanes * prng.below(own)
            }
        }
    }
}

/// Keys in the hot set: at least one.
#[expect(clippy::cast_possible_truncation, reason = "a part of a count fits")]
fn hot_keys(count: u64, part: f64) -> u64 {
    ((count as f64 * part) as u64).clamp(1, count)
}

/// YCSB's hash of a number: FNV-1a over its eight bytes, lowest first, read as a signed number without its sign.
#[inline]
fn spread(number: u64) -> u64 {
    let hash = number.to_le_bytes().iter().fold(0xCBF2_9CE4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
    });
    hash.cast_signed().unsigned_abs()
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "the numbers of these tests are small")]
mod tests {
    use super::*;

    const DRAWS: u32 = 200_000;

    fn draw(count: u64, distribution: Distribution) -> Vec<u32> {
        let keys = Keys::new(count, distribution);
        let mut prng = Prng::new(9);
        let mut counts = vec![0; count as usize];
        (0..DRAWS).for_each(|_| counts[keys.next(&mut prng) as usize] += 1);
        counts
    }

    #[test]
    fn uniform_keys_are_uniform() {
        let counts = draw(1000, Distribution::Uniform);
        let expected = f64::from(DRAWS) / 1000.0;
        let chi: f64 = counts.iter().map(|&count| (f64::from(count) - expected).powi(2) / expected).sum();
        // 999 degrees of freedom: mean 999, standard deviation 44.7; six of them either way.
        assert!((731.0..1267.0).contains(&chi), "chi-square {chi}");
    }

    /// The names of the first keys that every YCSB load inserts.
    #[test]
    fn the_spreading_hash_is_that_of_ycsb() {
        assert_eq!((spread(0), spread(1)), (6_284_781_860_667_377_211, 8_517_097_267_634_966_620));
    }

    #[test]
    fn scrambled_keys_have_the_frequencies_of_ycsb() {
        let scrambled = draw(1000, Distribution::YCSB);
        // The hottest key has the first rank, at 1 / 26.469 of all draws (the zeta sum that YCSB's source states for
        // its ten thousand million items), and a thousandth of what is left, give or take the hot ranks that land there.
        let hottest = (0..1000).max_by_key(|&key| scrambled[key]).unwrap();
        assert_eq!(hottest as u64, spread(0) % 1000);
        let part = f64::from(scrambled[hottest]) / f64::from(DRAWS);
        let expected = 1.0 / 26.469_028;
        assert!((expected * 0.95..expected + 0.004).contains(&part), "{part}, expected {expected}");
        assert!(scrambled.iter().all(|&count| count > 0), "the tail reaches every key");
    }

    #[test]
    fn latest_keys_are_the_newest_ones() {
        let mut keys = Keys::new(1000, Distribution::Latest(YCSB_THETA));
        for newest in 1000..1100 {
            assert_eq!(keys.grow(), newest);
        }
        let mut prng = Prng::new(1);
        let draws: Vec<u64> = (0..10_000).map(|_| keys.next(&mut prng)).collect();
        assert!(draws.iter().all(|&key| (100..1100).contains(&key)));
        let newest = draws.iter().filter(|&&key| key == 1099).count() as f64 / 10_000.0;
        assert!((newest / Zipfian::new(1000, YCSB_THETA).probability(0) - 1.0).abs() < 0.15, "{newest}");
    }

    #[test]
    fn the_hot_set_gets_its_part() {
        let counts = draw(1000, Distribution::HotSet { operations: 0.9, keys: 0.1 });
        let hot: u32 = counts[..100].iter().sum();
        assert!((f64::from(hot) / f64::from(DRAWS) - 0.9).abs() < 0.01, "{hot}");
        assert!(counts.iter().all(|&count| count > 0));
        let everything = draw(10, Distribution::HotSet { operations: 0.5, keys: 1.0 });
        assert!(everything.iter().all(|&count| count > 0));
    }

    #[test]
    fn private_keys_are_shared_by_nobody_and_forgotten_by_nobody() {
        let (count, lanes) = (1003, 4);
        let mut owners = vec![None; count as usize];
        for lane in 0..lanes {
            for (key, &drawn) in draw(count, Distribution::Private { lane, lanes }).iter().enumerate() {
                if drawn > 0 {
                    assert_eq!(owners[key].replace(lane), None, "key {key}");
                }
            }
        }
        assert!(owners.iter().all(Option::is_some));
    }
}
