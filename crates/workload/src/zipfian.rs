//! Zipfian ranks: rank r is drawn with a probability proportional to 1 / (r + 1)^theta.
//!
//! The generator of Gray et al. ("Quickly generating billion-record synthetic databases", SIGMOD 1994), the one that YCSB
//! uses. It is exact for the two most frequent ranks and close for the others.

use super::prng::Prng;

/// Theta of YCSB's default.
pub const YCSB_THETA: f64 = 0.99;

/// Terms of the zeta sum that are added one by one; the rest is integrated.
const ZETA_TERMS: u64 = 100_000;

/// The zeta sum: 1/1^theta + .. + 1/n^theta.
fn zeta(n: u64, theta: f64) -> f64 {
    let exact = n.min(ZETA_TERMS);
    let sum: f64 = (1..=exact).map(|term| (term as f64).powf(-theta)).sum();
    if n == exact {
        return sum;
    }
    // Euler-Maclaurin: the integral and the half end terms. What is left out is below 1e-6.
    let (from, to) = (exact as f64, n as f64);
    let integral = (to.powf(1.0 - theta) - from.powf(1.0 - theta)) / (1.0 - theta);
    sum + integral + (to.powf(-theta) - from.powf(-theta)) / 2.0
}

/// Draws ranks from 0 (the most frequent) to `items - 1`.
#[derive(Clone, Debug)]
pub struct Zipfian {
    items: u64,
    theta: f64,
    alpha: f64,
    zeta_n: f64,
    eta: f64,
    /// `alpha` where it is a whole number, as for YCSB's theta: multiplying is several times faster than a power.
    whole_alpha: Option<i32>,
}

impl Zipfian {
    /// Ranks below `items` (at least 1), with `theta` above 0 and below 1.
    ///
    /// # Panics
    /// When `theta` is out of its range: the generator is not defined there.
    #[must_use]
    pub fn new(items: u64, theta: f64) -> Self {
        assert!(theta > 0.0 && theta < 1.0, "theta is {theta}, it must be above 0 and below 1");
        let items = items.max(1);
        let zeta_n = zeta(items, theta);
        let eta = (1.0 - (2.0 / items as f64).powf(1.0 - theta)) / (1.0 - zeta(2, theta) / zeta_n);
        let alpha = 1.0 / (1.0 - theta);
        let whole_alpha = (1..=100).find(|&whole| (alpha - f64::from(whole)).abs() < 1e-9);
        Self { items, theta, alpha, zeta_n, eta, whole_alpha }
    }

    /// The next rank.
    #[inline]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the float is not negative, and the result is bounded below"
    )]
    pub fn next(&self, prng: &mut Prng) -> u64 {
        let unit = prng.unit();
        let scaled = unit * self.zeta_n;
        if scaled < 1.0 {
            return 0;
        }
        if scaled < 1.0 + 0.5_f64.powf(self.theta) {
            return 1.min(self.items - 1);
        }
        let base = self.eta * unit - self.eta + 1.0;
        let power = match self.whole_alpha {
            Some(alpha) => base.powi(alpha),
            None => base.powf(self.alpha),
        };
        let rank = self.items as f64 * power;
        (rank as u64).min(self.items - 1)
    }

    /// The probability of a rank.
    #[must_use]
    pub fn probability(&self, rank: u64) -> f64 {
        ((rank + 1) as f64).powf(-self.theta) / self.zeta_n
    }
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "the numbers of these tests are small")]
mod tests {
    use super::*;

    #[test]
    fn zeta_is_the_same_added_and_integrated() {
        for theta in [0.5, 0.9, 0.99] {
            let added: f64 = (1..=1_000_000_u64).map(|term| (term as f64).powf(-theta)).sum();
            assert!((zeta(1_000_000, theta) - added).abs() < 1e-6, "theta {theta}");
        }
    }

    #[test]
    fn frequencies_follow_the_law() {
        let (items, draws) = (1_000_000, 400_000);
        let zipfian = Zipfian::new(items, YCSB_THETA);
        let mut prng = Prng::new(3);
        let mut counts = vec![0_u32; 1000];
        let mut beyond = 0_u32;
        for _ in 0..draws {
            match counts.get_mut(zipfian.next(&mut prng) as usize) {
                Some(count) => *count += 1,
                None => beyond += 1,
            }
        }
        let drawn = |count: u32| f64::from(count) / f64::from(draws);
        for (rank, &count) in (0..2).zip(&counts) {
            let (drawn, expected) = (drawn(count), zipfian.probability(rank));
            assert!((drawn / expected - 1.0).abs() < 0.04, "rank {rank}: {drawn}, expected {expected}");
        }
        // The generator approximates the other ranks: their sums are close.
        let head: f64 = counts.iter().map(|&count| drawn(count)).sum();
        let expected: f64 = (0..1000).map(|rank| zipfian.probability(rank)).sum();
        assert!((head / expected - 1.0).abs() < 0.03, "first 1000 ranks: {head}, expected {expected}");
        assert!((drawn(beyond) + head - 1.0).abs() < 1e-9);
        assert!((0.06..0.07).contains(&zipfian.probability(0)), "{}", zipfian.probability(0));
    }

    #[test]
    fn powers_by_multiplying_are_the_same_powers() {
        let fast = Zipfian::new(1 << 40, YCSB_THETA);
        assert_eq!(fast.whole_alpha, Some(100));
        let slow = Zipfian { whole_alpha: None, ..fast.clone() };
        let (mut one, mut other) = (Prng::new(8), Prng::new(8));
        for _ in 0..10_000 {
            let (fast, slow) = (fast.next(&mut one), slow.next(&mut other));
            assert!(fast.abs_diff(slow) as f64 <= 1.0 + slow as f64 * 1e-10, "{fast} {slow}");
        }
        assert_eq!(Zipfian::new(1000, 0.7).whole_alpha, None);
        // The sum that YCSB's source states for the items of its scrambled generator.
        assert!((zeta(10_000_000_000, YCSB_THETA) - 26.469_028_201_783_02).abs() < 1e-6);
    }

    #[test]
    fn few_items_are_no_special_case() {
        let mut prng = Prng::new(4);
        for items in 1..5 {
            let zipfian = Zipfian::new(items, YCSB_THETA);
            let mut seen = vec![0_u32; items as usize];
            (0..10_000).for_each(|_| seen[zipfian.next(&mut prng) as usize] += 1);
            assert!(seen.iter().all(|&count| count > 0), "{items} items: {seen:?}");
            assert!(seen.is_sorted_by(|more, fewer| more >= fewer), "{items} items: {seen:?}");
        }
    }
}
