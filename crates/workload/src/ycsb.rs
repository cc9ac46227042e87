//! YCSB's mixes of operations.
//!
//! | workload | reads | upserts | inserts | read-modify-writes |
//! |---|---|---|---|---|
//! | a | 50 % | 50 % | | |
//! | b | 95 % | 5 % | | |
//! | c | 100 % | | | |
//! | d | 95 %, of the newest keys | | 5 % | |
//! | f | 50 % | | | 50 % |
//! | upsert | | 100 % | | |
//! | rmw | | | | 100 % |
//! | load | | | 100 % | |
//!
//! The first five are those of the YCSB paper (Cooper et al., 2010), with an update that writes the whole value; e, which
//! scans ranges, has no counterpart in a hash store. The last three are what FASTER is measured with.

use std::fmt;

use crate::prng::Prng;

/// What is done to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Read a key that is there.
    Read,
    /// Write a whole new value to a key that is there.
    Upsert,
    /// Write a key that is not there yet.
    Insert,
    /// Change the value of a key that is there.
    Rmw,
}

impl Operation {
    /// All of them; each is at the place of its number.
    pub const ALL: [Operation; 4] = [Operation::Read, Operation::Upsert, Operation::Insert, Operation::Rmw];

    /// What reports call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Operation::Read => "read",
            Operation::Upsert => "upsert",
            Operation::Insert => "insert",
            Operation::Rmw => "rmw",
        }
    }
}

/// A mix of operations: see the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// Update heavy.
    A,
    /// Read mostly.
    B,
    /// Read only.
    C,
    /// Read the newest.
    D,
    /// Read-modify-write.
    F,
    /// Upserts only.
    Upsert,
    /// Read-modify-writes only.
    Rmw,
    /// Inserts only.
    Load,
}

impl Workload {
    /// All of them.
    pub const ALL: [Workload; 8] = [
        Workload::A,
        Workload::B,
        Workload::C,
        Workload::D,
        Workload::F,
        Workload::Upsert,
        Workload::Rmw,
        Workload::Load,
    ];

    /// What it is called on the command line and in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Workload::A => "a",
            Workload::B => "b",
            Workload::C => "c",
            Workload::D => "d",
            Workload::F => "f",
            Workload::Upsert => "upsert",
            Workload::Rmw => "rmw",
            Workload::Load => "load",
        }
    }

    /// Parts of the operations in a hundred, in the order of [`Operation::ALL`].
    #[must_use]
    pub fn percentages(self) -> [u64; 4] {
        match self {
            Workload::A => [50, 50, 0, 0],
            Workload::B => [95, 5, 0, 0],
            Workload::C => [100, 0, 0, 0],
            Workload::D => [95, 0, 5, 0],
            Workload::F => [50, 0, 0, 50],
            Workload::Upsert => [0, 100, 0, 0],
            Workload::Rmw => [0, 0, 0, 100],
            Workload::Load => [0, 0, 100, 0],
        }
    }

    /// The next operation.
    #[inline]
    pub fn next(self, prng: &mut Prng) -> Operation {
        let [reads, upserts, inserts, _] = self.percentages();
        // A workload of one kind needs no random number.
        match self {
            Workload::C => return Operation::Read,
            Workload::Upsert => return Operation::Upsert,
            Workload::Rmw => return Operation::Rmw,
            Workload::Load => return Operation::Insert,
            _ => {}
        }
        match prng.below(100) {
            drawn if drawn < reads => Operation::Read,
            drawn if drawn < reads + upserts => Operation::Upsert,
            drawn if drawn < reads + upserts + inserts => Operation::Insert,
            _ => Operation::Rmw,
        }
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mix_has_its_parts() {
        const DRAWS: u64 = 200_000;
        for workload in Workload::ALL {
            let mut prng = Prng::new(5);
            let mut counts = [0_u64; 4];
            (0..DRAWS).for_each(|_| counts[workload.next(&mut prng) as usize] += 1);
            for (operation, (count, percent)) in
                Operation::ALL.into_iter().zip(counts.into_iter().zip(workload.percentages()))
            {
                let expected = DRAWS / 100 * percent;
                // Five standard deviations of a binomial count; none where the part is nothing or all.
                let part = percent as f64 / 100.0;
                let slack = 5.0 * (DRAWS as f64 * part * (1.0 - part)).sqrt();
                assert!(
                    (count as f64 - expected as f64).abs() <= slack,
                    "{workload}: {count} {}s, expected {expected}",
                    operation.name()
                );
            }
            assert_eq!(workload.percentages().iter().sum::<u64>(), 100, "{workload}");
        }
    }

    #[test]
    fn operations_stand_at_their_numbers() {
        for (place, operation) in Operation::ALL.into_iter().enumerate() {
            assert_eq!(operation as usize, place);
        }
    }
}
