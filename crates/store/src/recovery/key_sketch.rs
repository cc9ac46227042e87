//! About how many different keys were met, in four kilobytes: `HyperLogLog` over the hashes of keys.
//!
//! Called by the rebuilding of the index, which needs a number when its index turns out to be too small. The standard
//! error is 1.04 / sqrt(4096), 1.6 %.

use oxifaster_core::hash::KeyHash;

const REGISTER_BITS: u32 = 12;
const REGISTERS: usize = 1 << REGISTER_BITS;

/// See the module header.
#[derive(Clone, Debug)]
pub(super) struct KeySketch {
    /// For each group of hashes the longest run of leading zeros met, plus one.
    registers: Box<[u8]>,
}

impl Default for KeySketch {
    fn default() -> Self {
        Self { registers: vec![0; REGISTERS].into() }
    }
}

impl KeySketch {
    #[inline]
    pub(super) fn note(&mut self, hash: KeyHash) {
        let place = usize::try_from(hash.0 >> (64 - REGISTER_BITS)).unwrap_or_default();
        let rest = hash.0 << REGISTER_BITS | 1 << (REGISTER_BITS - 1);
        let rank = u8::try_from(rest.leading_zeros() + 1).unwrap_or(u8::MAX);
        if let Some(register) = self.registers.get_mut(place) {
            *register = rank.max(*register);
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (register, others) in self.registers.iter_mut().zip(&other.registers) {
            *register = (*others).max(*register);
        }
    }

    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an estimate, positive and far below 2^52"
    )]
    pub(super) fn estimate(&self) -> u64 {
        let registers = REGISTERS as f64;
        let sum: f64 = self.registers.iter().map(|rank| (-f64::from(*rank)).exp2()).sum();
        let raw = 0.7213 / (1.0 + 1.079 / registers) * registers * registers / sum;
        let empty = self.registers.iter().filter(|rank| **rank == 0).count();
        if raw <= 2.5 * registers && empty > 0 {
            return (registers * (registers / empty as f64).ln()) as u64;
        }
        raw as u64
    }
}

#[cfg(test)]
mod tests {
    use oxifaster_core::hash::HashKind;

    use super::*;

    #[test]
    fn estimates_are_close_whoever_met_a_key_and_how_often() {
        for keys in [0, 1, 100, 5000, 20_000, 1_000_000] {
            let mut parts = [KeySketch::default(), KeySketch::default()];
            for key in (0..keys).chain(0..keys / 2) {
                let hash = HashKind::Xxh3.hash(&u64::to_le_bytes(key));
                parts[usize::from(key % 3 == 0)].note(hash);
            }
            let [mut sketch, other] = parts;
            sketch.merge(&other);
            let (estimate, allowed) = (sketch.estimate(), keys / 20 + 1);
            assert!(estimate.abs_diff(keys) <= allowed, "{estimate} for {keys}");
        }
    }
}
