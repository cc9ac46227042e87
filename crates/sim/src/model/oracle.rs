//! What must be there: the plainest store imaginable, and the points to which a crash may return.

use std::collections::BTreeMap;

use crate::history::{Operation, Outcome, State};

/// All present keys with their values.
pub type Contents = BTreeMap<u64, u64>;

/// Differences that a message shows.
const SHOWN_MAX: usize = 5;

/// A map, and what of it is durable.
#[derive(Clone, Debug)]
pub struct Oracle {
    now: Contents,
    /// Where a crash may lead: the last point that was acknowledged, and then those that were tried since and failed, whose
    /// fate is unknown.
    points: Vec<Contents>,
}

impl Default for Oracle {
    /// An empty store that was created durably.
    fn default() -> Self {
        Self { now: Contents::new(), points: vec![Contents::new()] }
    }
}

impl Oracle {
    /// The value of a key.
    #[must_use]
    pub fn state(&self, key: u64) -> State {
        self.now.get(&key).copied()
    }

    /// All present keys.
    #[must_use]
    pub fn contents(&self) -> &Contents {
        &self.now
    }

    /// Applies an operation that was answered.
    ///
    /// # Errors
    /// What the answer should have been.
    pub fn answered(&mut self, key: u64, operation: Operation, outcome: Outcome) -> Result<(), String> {
        let state = self.state(key);
        match operation.apply(state, Some(outcome)) {
            Some(Some(value)) => _ = self.now.insert(key, value),
            Some(None) => _ = self.now.remove(&key),
            None => return Err(format!("key {key} is {state:?}, and {operation:?} answered {outcome:?}")),
        }
        Ok(())
    }

    /// A flush or a close was acknowledged: this and nothing else is the point.
    pub fn point_acknowledged(&mut self) {
        self.points.clear();
        self.points.push(self.now.clone());
    }

    /// A flush or a close failed: its point may have been made.
    pub fn point_uncertain(&mut self) {
        self.points.push(self.now.clone());
    }

    /// A crash, after which `found` was there.
    ///
    /// # Errors
    /// When that is none of the possible points: what differs from each.
    pub fn crashed(&mut self, found: Contents) -> Result<(), String> {
        if self.points.contains(&found) {
            self.now = found;
            // What was found is not more certain than before, but it is what there is: another crash finds the same.
            self.point_acknowledged();
            return Ok(());
        }
        let mut message = String::from("after a crash the store is at no consistent point");
        if found.is_empty() {
            message.push_str(": it is empty");
        }
        for (place, point) in self.points.iter().enumerate() {
            let what = if place == 0 { "the last acknowledged one" } else { "one that was not acknowledged" };
            message.push_str(&format!("\n  {what}: {}", difference(point, &found)));
        }
        Err(message)
    }

    /// Compares with what is there now.
    ///
    /// # Errors
    /// What differs.
    pub fn compare(&self, found: &Contents) -> Result<(), String> {
        match *found == self.now {
            true => Ok(()),
            false => Err(difference(&self.now, found)),
        }
    }
}

/// The first keys that differ.
fn difference(expected: &Contents, found: &Contents) -> String {
    let keys = expected.keys().chain(found.keys().filter(|key| !expected.contains_key(key)));
    let differing: Vec<&u64> = keys.filter(|key| expected.get(key) != found.get(key)).collect();
    let shown: Vec<String> = differing
        .iter()
        .take(SHOWN_MAX)
        .map(|key| format!("key {key} is {:?}, expected {:?}", found.get(key), expected.get(key)))
        .collect();
    format!("{} keys differ: {}", differing.len(), shown.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn oracle_at(numbers: &[u64]) -> Oracle {
        let mut oracle = Oracle::default();
        for &number in numbers {
            oracle.answered(1, Operation::Upsert(number), Outcome::Done).unwrap();
            oracle.answered(number, Operation::Upsert(number), Outcome::Done).unwrap();
            oracle.point_acknowledged();
        }
        oracle
    }

    #[test]
    fn a_crash_leads_to_the_last_point_and_to_no_other() {
        let mut oracle = oracle_at(&[5, 6]);
        oracle.answered(6, Operation::Delete, Outcome::Done).unwrap();
        let point = Contents::from([(1, 6), (5, 5), (6, 6)]);
        for wrong in [
            Contents::new(),
            Contents::from([(1, 5), (5, 5)]),
            Contents::from([(1, 6), (5, 5)]),
            Contents::from([(1, 5), (5, 5), (6, 6)]),
        ] {
            let message = oracle.clone().crashed(wrong).unwrap_err();
            assert!(message.contains("differ"), "{message}");
        }
        oracle.crashed(point.clone()).unwrap();
        assert_eq!(oracle.contents(), &point);
        oracle.crashed(point).unwrap();
    }

    #[test]
    fn a_point_that_was_tried_may_be_there_until_the_next_is_acknowledged() {
        let mut oracle = oracle_at(&[5]);
        oracle.answered(1, Operation::Upsert(7), Outcome::Done).unwrap();
        oracle.point_uncertain();
        let (old, new) = (Contents::from([(1, 5), (5, 5)]), Contents::from([(1, 7), (5, 5)]));
        oracle.clone().crashed(old.clone()).unwrap();
        let mut certain = oracle.clone();
        certain.crashed(new.clone()).unwrap();
        certain.clone().crashed(old.clone()).unwrap_err();
        oracle.point_acknowledged();
        oracle.crashed(old).unwrap_err();
    }

    #[test]
    fn wrong_answers_are_told() {
        let mut oracle = oracle_at(&[5]);
        for (operation, outcome) in [
            (Operation::Read, Outcome::Value(None)),
            (Operation::Remove, Outcome::Value(Some(6))),
            (Operation::InsertIfAbsent(1), Outcome::Inserted(true)),
            (Operation::Add(1), Outcome::Sum(7)),
            (Operation::Add(1), Outcome::Inserted(true)),
        ] {
            let message = oracle.answered(1, operation, outcome).unwrap_err();
            assert!(message.contains("key 1 is Some(5)"), "{message}");
        }
        oracle.compare(&Contents::from([(1, 5), (5, 5)])).unwrap();
        oracle.compare(&Contents::from([(1, 5)])).unwrap_err();
    }
}
