//! The seeded generator behind every decision of the fault device (the `SplitMix64` step).
//!
//! Callers: `state`, `crash`, `queue`, always under the device's lock, so that one thread sees one sequence.

/// A sequence of numbers that a seed determines.
#[derive(Clone, Debug)]
pub(super) struct Random {
    state: u64,
}

impl Random {
    /// The sequence of `seed`.
    pub(super) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next 64 bits.
    pub(super) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 when `bound` is 0. The bias of the remainder does not matter for faults.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next().checked_rem(bound).unwrap_or(0)
    }

    /// An index below `len`.
    pub(super) fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap_or(0)
    }

    /// True with probability `probability`. 0 and 1 draw nothing, so that an unused fault does not shift the sequence.
    pub(super) fn chance(&mut self, probability: f64) -> bool {
        if probability <= 0.0 {
            return false;
        }
        probability >= 1.0 || ((self.next() >> 11) as f64) < probability * (1_u64 << 53) as f64
    }

    /// Puts `items` into a random order and says whether that moved anything.
    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) -> bool {
        let mut moved = false;
        for last in (1..items.len()).rev() {
            let other = self.index(last + 1);
            moved |= other != last;
            items.swap(last, other);
        }
        moved
    }

    /// Which of `sectors` sectors of a torn write are new. With two sectors or more at least one is new and one is old.
    pub(super) fn tear(&mut self, sectors: usize) -> Vec<bool> {
        let mut new: Vec<bool> = (0..sectors).map(|_| self.next() & 1 == 1).collect();
        let all_equal = new.iter().all(|&sector| sector) || new.iter().all(|&sector| !sector);
        if sectors >= 2 && all_equal {
            let index = self.index(sectors);
            if let Some(sector) = new.get_mut(index) {
                *sector = !*sector;
            }
        }
        new
    }
}
