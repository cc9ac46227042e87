//! The random generator of workloads and judges: `xoshiro256++`, seeded through `SplitMix64`.
//!
//! Deterministic on every platform, so that a printed seed replays a run. Not for secrets.

/// One round of `SplitMix64`: a bijection that mixes all bits. Also the way to derive independent seeds.
#[inline]
#[must_use]
pub fn mix(mut value: u64) -> u64 {
    value = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

/// A sequence of pseudo-random numbers that a seed determines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prng {
    state: [u64; 4],
}

impl Prng {
    /// The sequence of `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
        let part = |n: u64| mix(seed.wrapping_add(STEP.wrapping_mul(n)));
        Self { state: [part(0), part(1), part(2), part(3)] }
    }

    /// The sequence of the `lane`-th thread or part of what `seed` determines.
    #[must_use]
    pub fn lane(seed: u64, lane: u64) -> Self {
        Self::new(mix(seed) ^ mix(lane.wrapping_add(1)).rotate_left(32))
    }

    /// The next 64 bits.
    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        let [a, b, c, d] = self.state;
        let result = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let (c, d) = (c ^ a, d ^ b);
        self.state = [a ^ d, b ^ c, c ^ (b << 17), d.rotate_left(45)];
        result
    }

    /// A number below `bound`, each equally likely; 0 when `bound` is 0.
    #[inline]
    pub fn below(&mut self, bound: u64) -> u64 {
        loop {
            let product = u128::from(self.next_u64()) * u128::from(bound);
            let (high, low) = ((product >> 64) as u64, product & u128::from(u64::MAX));
            // The first 2^64 mod bound low halves would make some results more likely than others.
            if low >= u128::from(bound.wrapping_neg().checked_rem(bound).unwrap_or(0)) {
                return high;
            }
        }
    }

    /// A number from 0 (inclusive) to 1 (exclusive), in steps of 2^-53.
    #[inline]
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// True with this probability.
    #[inline]
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// One of `items`; `None` when there is none.
    pub fn pick<'t, T>(&mut self, items: &'t [T]) -> Option<&'t T> {
        let place = usize::try_from(self.below(items.len() as u64)).ok()?;
        items.get(place)
    }
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "the numbers of these tests are small")]
mod tests {
    use super::*;

    #[test]
    fn the_published_test_vectors_come_out() {
        // SplitMix64 of seed 1234567: its first three outputs.
        let step = 0x9E37_79B9_7F4A_7C15_u64;
        let outputs: Vec<u64> =
            (0..3).map(|n| mix(1_234_567_u64.wrapping_add(step.wrapping_mul(n)))).collect();
        assert_eq!(
            outputs,
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
        // xoshiro256++ from the state 1, 2, 3, 4.
        let mut prng = Prng { state: [1, 2, 3, 4] };
        let outputs: Vec<u64> = (0..4).map(|_| prng.next_u64()).collect();
        assert_eq!(outputs, [41_943_041, 58_720_359, 3_588_806_011_781_223, 3_591_011_842_654_386]);
    }

    #[test]
    fn every_bit_and_every_remainder_is_fair() {
        let mut prng = Prng::new(1);
        let draws = 100_000_u32;
        let mut ones = [0_u32; 64];
        let mut counts = [0_u32; 7];
        for _ in 0..draws {
            let number = prng.next_u64();
            for (bit, count) in ones.iter_mut().enumerate() {
                *count += (number >> bit & 1) as u32;
            }
            counts[prng.below(7) as usize] += 1;
        }
        // Six standard deviations of a fair coin: 6 * sqrt(draws) / 2.
        assert!(ones.iter().all(|&count| count.abs_diff(draws / 2) < 949), "{ones:?}");
        let expected = f64::from(draws) / 7.0;
        let chi: f64 = counts.iter().map(|&count| (f64::from(count) - expected).powi(2) / expected).sum();
        assert!(chi < 35.0, "chi-square {chi} with 6 degrees of freedom: {counts:?}");
    }

    #[test]
    fn bounds_hold_at_their_ends() {
        let mut prng = Prng::new(2);
        assert_eq!(prng.below(0), 0);
        assert!((0..1000).all(|_| prng.below(1) == 0));
        assert!((0..1000).all(|_| prng.below(1 << 63) < 1 << 63));
        assert!((0..1000).all(|_| !prng.chance(0.0) && prng.chance(1.0)));
        assert_eq!(prng.pick::<u8>(&[]), None);
        assert_ne!(Prng::lane(1, 0), Prng::lane(1, 1));
        assert_ne!(Prng::lane(0, 1), Prng::lane(1, 0));
    }
}
