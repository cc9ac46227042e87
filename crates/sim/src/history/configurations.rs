//! The set of configurations that a frontier keeps: few as a rule, so a list; with an index once they are many.

use std::collections::HashSet;

use super::event::State;

/// One way in which things may stand: which of the open operations have taken effect already, and the value now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Configuration {
    /// Bit `s` is set when the operation in slot `s` has taken effect. Bits of empty slots are 0.
    pub(super) done: u128,
    /// The value.
    pub(super) state: State,
}

/// Up to this many, comparing with each is faster than hashing.
const LIST_MAX: usize = 24;

/// A set of configurations that remembers the order of insertion.
#[derive(Clone, Debug, Default)]
pub(super) struct Configurations {
    list: Vec<Configuration>,
    /// Every element of `list`, as soon as there are more than [`LIST_MAX`]; else empty.
    index: HashSet<Configuration>,
}

impl Configurations {
    /// Adds one; says whether it was new.
    pub(super) fn insert(&mut self, configuration: Configuration) -> bool {
        if self.list.len() < LIST_MAX {
            if self.list.contains(&configuration) {
                return false;
            }
        } else {
            if self.index.is_empty() {
                self.index.extend(self.list.iter().copied());
            }
            if !self.index.insert(configuration) {
                return false;
            }
        }
        self.list.push(configuration);
        true
    }

    /// The `n`-th one that was inserted.
    pub(super) fn get(&self, n: usize) -> Option<Configuration> {
        self.list.get(n).copied()
    }

    pub(super) fn as_slice(&self) -> &[Configuration] {
        &self.list
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn clear(&mut self) {
        self.list.clear();
        self.index.clear();
    }

    /// Replaces each by what `change` makes of it, and drops those for which that is nothing. What becomes equal is one.
    pub(super) fn change(&mut self, mut change: impl FnMut(Configuration) -> Option<Configuration>) {
        if let [only] = self.list.as_mut_slice() {
            match change(*only) {
                Some(changed) => *only = changed,
                None => self.list.clear(),
            }
            return;
        }
        self.index.clear();
        for configuration in std::mem::take(&mut self.list) {
            if let Some(changed) = change(configuration) {
                self.insert(changed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_ones_are_kept_once_in_the_list_and_in_the_index() {
        let mut set = Configurations::default();
        for round in 0..2 {
            for value in 0..100 {
                let new = set.insert(Configuration { done: 1, state: Some(value) });
                assert_eq!(new, round == 0, "{value}");
            }
        }
        assert_eq!(set.len(), 100);
        set.change(|configuration| {
            let value = configuration.state?;
            (value >= 10).then_some(Configuration { done: 0, state: Some(value / 2) })
        });
        assert_eq!(set.len(), 45);
        assert!(!set.insert(Configuration { done: 0, state: Some(5) }));
        assert!(set.insert(Configuration { done: 0, state: Some(4) }));
        set.clear();
        assert!(set.insert(Configuration { done: 0, state: Some(5) }));
        assert_eq!(set.get(0), Some(Configuration { done: 0, state: Some(5) }));
    }
}
