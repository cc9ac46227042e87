//! Plans: what a run does, step by step, drawn from a seed.
//!
//! Each plan draws its own habits first (how many keys, which operations and how often, whether there are faults), so that
//! over many runs also the rare mixtures come up: nothing but deletes and flushes, or crashes on every third step.

use std::fmt;

use super::subject::Fault;
use crate::history::Operation;
use crate::workload::{Distribution, Keys, Prng};

/// One step. It means something at every place of a plan, so that plans can be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Reads a key.
    Read(u64),
    /// Sets a key.
    Upsert(u64, u64),
    /// Adds to a key through `rmw` (or `fetch_add`, where there is one, for even numbers).
    Add(u64, u64),
    /// Runs an `rmw` whose closure changes its copy and then declines.
    Decline(u64),
    /// Deletes a key.
    Delete(u64),
    /// Removes a key.
    Remove(u64),
    /// Sets a key if it is absent.
    InsertIfAbsent(u64, u64),
    /// Replaces a key's value, expecting what is there.
    Exchange(u64, u64),
    /// The same, expecting something else.
    ExchangeWrongly(u64, u64),
    /// Sets so many keys one after the other, from this one on, so that older ones leave memory.
    Burst {
        /// First key.
        key: u64,
        /// Keys.
        count: u64,
        /// Value of the first; each next one is higher by 1.
        number: u64,
    },
    /// One call for many keys, from this one on, in any order, some of them more than once.
    Batch {
        /// What is done to each; the number of each next one is higher by 1.
        operation: Operation,
        /// First key.
        key: u64,
        /// How many.
        count: u64,
    },
    /// Reads every key.
    ReadAll,
    /// Flushes.
    Flush,
    /// Closes and opens.
    Reopen,
    /// Ends the process and opens.
    Kill,
    /// Loses power (fates from this seed) and opens.
    LosePower(u64),
    /// Plants a fault.
    Plant(Fault),
}

/// A run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What it was drawn from.
    pub seed: u64,
    /// Keys are below this.
    pub keys: u64,
    /// What to do. At the end every key is read once more.
    pub steps: Vec<Step>,
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}, {} keys, {} steps:", self.seed, self.keys, self.steps.len())?;
        self.steps.iter().try_for_each(|step| writeln!(f, "  {step:?}"))
    }
}

/// Draws numbers for values: nearly all different, some extreme.
struct Numbers {
    next: u64,
}

impl Numbers {
    fn draw(&mut self, prng: &mut Prng) -> u64 {
        self.next += 1;
        match prng.below(50) {
            0 => 0,
            1 => u64::MAX,
            _ => self.next,
        }
    }
}

/// Kinds of steps with the weights that a plan draws for them.
const WEIGHTS_MAX: [u64; 16] = [
    300, // read
    300, // upsert
    200, // add
    20,  // decline
    100, // delete
    60,  // remove
    80,  // insert if absent
    60,  // exchange
    30,  // exchange wrongly
    6,   // burst
    12,  // batch
    2,   // read all
    20,  // flush
    4,   // reopen
    8,   // kill or power loss
    12,  // plant
];

impl Plan {
    /// The plan of `seed`, with at most `steps_max` steps. Without `faults` nothing fails, and nothing ends without a close.
    #[must_use]
    pub fn draw(seed: u64, steps_max: u64, faults: bool) -> Self {
        let mut prng = Prng::new(seed);
        let mut weights = WEIGHTS_MAX.map(|max| if prng.chance(0.25) { 0 } else { 1 + prng.below(max) });
        if !faults {
            for weight in weights.iter_mut().rev().take(2) {
                *weight = 0;
            }
        }
        let few = 1 + prng.below(40);
        let keys = if prng.chance(0.5) { few } else { few + prng.below(4000) };
        let distribution = match prng.below(3) {
            0 => Distribution::Uniform,
            1 => Distribution::Zipfian(0.9),
            _ => Distribution::HotSet { operations: 0.9, keys: 0.05 },
        };
        let chosen = Keys::new(keys, distribution);
        let count = 1 + prng.below(steps_max.max(1));
        let mut numbers = Numbers { next: 0 };
        let steps = (0..count).map(|_| draw_step(&mut prng, &weights, &chosen, &mut numbers)).collect();
        Self { seed, keys, steps }
    }
}

fn draw_step(prng: &mut Prng, weights: &[u64; 16], keys: &Keys, numbers: &mut Numbers) -> Step {
    let mut left = prng.below(weights.iter().sum());
    let kind = weights.iter().position(|&weight| {
        let hit = left < weight;
        left = left.saturating_sub(weight);
        hit
    });
    let key = keys.next(prng);
    match kind.unwrap_or(0) {
        0 => Step::Read(key),
        1 => Step::Upsert(key, numbers.draw(prng)),
        2 => Step::Add(key, 1 + prng.below(1000)),
        3 => Step::Decline(key),
        4 => Step::Delete(key),
        5 => Step::Remove(key),
        6 => Step::InsertIfAbsent(key, numbers.draw(prng)),
        7 => Step::Exchange(key, numbers.draw(prng)),
        8 => Step::ExchangeWrongly(key, numbers.draw(prng)),
        9 => {
            let count = 1 + prng.below(keys.count());
            let number = numbers.next + 1;
            numbers.next += count;
            Step::Burst { key, count, number }
        }
        10 => draw_batch(prng, key, numbers),
        11 => Step::ReadAll,
        12 => Step::Flush,
        13 => Step::Reopen,
        14 if prng.chance(0.3) => Step::Kill,
        14 => Step::LosePower(prng.next_u64()),
        _ => {
            let after = prng.below(30);
            Step::Plant(match prng.below(4) {
                0 => Fault::SyncFailsAfter(after / 4),
                1 => Fault::WriteFailsAfter(after / 2),
                _ => Fault::PowerLossAfter(after),
            })
        }
    }
}

/// Up to some groups of what the store does together.
fn draw_batch(prng: &mut Prng, key: u64, numbers: &mut Numbers) -> Step {
    let count = 1 + prng.below(100);
    let number = numbers.next + 1;
    numbers.next += count;
    let operation = match prng.below(6) {
        0 => Operation::Read,
        1 | 2 => Operation::Upsert(number),
        3 => Operation::Add(number),
        4 => Operation::InsertIfAbsent(number),
        _ => Operation::Delete,
    };
    Step::Batch { operation, key, count }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_seed_is_a_plan_and_every_kind_of_step_comes_up() {
        let mut kinds = HashSet::new();
        for seed in 0..200 {
            let plan = Plan::draw(seed, 500, true);
            assert_eq!(plan, Plan::draw(seed, 500, true));
            kinds.extend(plan.steps.iter().map(std::mem::discriminant));
            let peaceful = Plan::draw(seed, 500, false);
            assert!(
                !peaceful
                    .steps
                    .iter()
                    .any(|step| { matches!(step, Step::Kill | Step::LosePower(_) | Step::Plant(_)) })
            );
        }
        assert_eq!(kinds.len(), 17);
    }
}
