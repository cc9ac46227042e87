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
    /// Zipfian ranks spread over the keys by a hash, as in YCSB: neighbours in frequency are not neighbours in the key
    /// space. As there, some ranks share a key and some keys are never drawn.
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
            Distribution::Zipfian(theta) | Distribution::Scrambled(theta) | Distribution::Latest(theta) => {
                Some(Zipfian::new(count, theta))
            }
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

    /// The next key.
    #[inline]
    pub fn next(&self, prng: &mut Prng) -> u64 {
        let rank = |prng: &mut Prng| self.zipfian.as_ref().map_or(0, |zipfian| zipfian.next(prng));
        match self.distribution {
            Distribution::Uniform => prng.below(self.count),
            Distribution::Zipfian(_) => rank(prng),
            Distribution::Scrambled(_) => {
                let spread = u128::from(fnv(rank(prng))) * u128::from(self.count);
                (spread >> 64) as u64
            }
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

/// FNV-1a over the eight bytes of a number.
#[inline]
fn fnv(number: u64) -> u64 {
    number.to_le_bytes().iter().fold(0xCBF2_9CE4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
    })
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

    #[test]
    fn scrambled_keys_have_the_same_frequencies_elsewhere() {
        let mut plain = draw(1000, Distribution::Zipfian(YCSB_THETA));
        let scrambled = draw(1000, Distribution::YCSB);
        assert!(plain.is_sorted_by_key(|_| 0) && plain[0] > plain[1] && plain[1] > plain[10]);
        let hottest = (0..1000).max_by_key(|&key| scrambled[key]).unwrap();
        assert_ne!(hottest, 0);
        // The hottest key has the hottest rank and at most some cold ones besides.
        plain.sort_unstable_by(|one, other| other.cmp(one));
        assert!(scrambled[hottest].abs_diff(plain[0]) < plain[0] / 5, "{} {}", scrambled[hottest], plain[0]);
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
