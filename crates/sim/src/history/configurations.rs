//! The set of configurations that a frontier keeps: few as a rule, so a list; with an index once they are many.
//!
//! Two configurations that agree in everything but in the observations that were seen need not both be kept when one has seen
//! all that the other has: whatever continues the lesser one also continues the greater. So of each group (equal effects,
//! equal value) only the greatest are live.

use std::collections::HashMap;

use super::event::State;

/// One way in which things may stand: which of the open operations have taken effect already, and the value now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Configuration {
    /// Bit `s` is set when the operation in slot `s`, which may change the value, has taken effect. Other bits are 0.
    pub(super) done: u128,
    /// Bit `s` is set when the observation in slot `s` has been seen. Other bits are 0.
    pub(super) seen: u128,
    /// The value.
    pub(super) state: State,
}

impl Configuration {
    /// Whether `other` is of the same group and this has seen all that it has.
    fn covers(&self, other: &Self) -> bool {
        self.done == other.done && self.state == other.state && self.seen & other.seen == other.seen
    }
}

/// Up to this many, comparing with each is faster than hashing.
const LIST_MAX: usize = 24;

/// A set of configurations that remembers the order of insertion.
#[derive(Clone, Debug, Default)]
pub(super) struct Configurations {
    /// Those that were inserted; `None` for one that another one covers since.
    list: Vec<Option<Configuration>>,
    live: usize,
    /// Places in `list` by group, as soon as there are more than [`LIST_MAX`]; else empty.
    index: HashMap<(u128, State), Vec<usize>>,
}

impl Configurations {
    /// Adds one unless it is covered; drops those that it covers.
    pub(super) fn insert(&mut self, new: Configuration) {
        if self.list.len() < LIST_MAX {
            let mut live = self.list.iter().flatten();
            if live.any(|found| found.covers(&new)) {
                return;
            }
            for place in &mut self.list {
                drop_covered(place, &new, &mut self.live);
            }
        } else {
            if self.index.is_empty() {
                for (place, found) in self.list.iter().enumerate() {
                    let Some(found) = found else { continue };
                    self.index.entry((found.done, found.state)).or_default().push(place);
                }
            }
            let group = self.index.entry((new.done, new.state)).or_default();
            let list = &mut self.list;
            let found = |place: &usize| list.get(*place).copied().flatten();
            if group.iter().filter_map(found).any(|found| found.covers(&new)) {
                return;
            }
            group.retain(|&place| {
                let Some(found) = list.get_mut(place) else { return false };
                drop_covered(found, &new, &mut self.live);
                found.is_some()
            });
            group.push(self.list.len());
        }
        self.list.push(Some(new));
        self.live += 1;
    }

    /// Places that were given out: see [`get`](Self::get).
    pub(super) fn places(&self) -> usize {
        self.list.len()
    }

    /// The configuration at a place, counted in the order of insertion, unless another one covers it.
    pub(super) fn get(&self, place: usize) -> Option<Configuration> {
        self.list.get(place).copied().flatten()
    }

    /// All that are live.
    pub(super) fn iter(&self) -> impl Iterator<Item = Configuration> {
        self.list.iter().flatten().copied()
    }

    /// Number of live ones.
    pub(super) fn len(&self) -> usize {
        self.live
    }

    pub(super) fn clear(&mut self) {
        self.list.clear();
        self.index.clear();
        self.live = 0;
    }

    /// Replaces each by what `change` makes of it, and drops those for which that is nothing. What becomes equal is one.
    pub(super) fn change(&mut self, mut change: impl FnMut(Configuration) -> Option<Configuration>) {
        if let [Some(only)] = self.list.as_mut_slice() {
            match change(*only) {
                Some(changed) => *only = changed,
                None => self.clear(),
            }
            return;
        }
        let list = std::mem::take(&mut self.list);
        self.clear();
        list.into_iter().flatten().filter_map(change).for_each(|changed| self.insert(changed));
    }
}

/// Empties a place whose configuration `new` covers.
fn drop_covered(place: &mut Option<Configuration>, new: &Configuration, live: &mut usize) {
    if place.as_ref().is_some_and(|found| new.covers(found)) {
        *place = None;
        *live -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(done: u128, seen: u128, value: u64) -> Configuration {
        Configuration { done, seen, state: Some(value) }
    }

    #[test]
    fn equal_ones_are_kept_once_in_the_list_and_in_the_index() {
        let mut set = Configurations::default();
        for _ in 0..2 {
            (0..100).for_each(|value| set.insert(of(1, 0, value)));
        }
        assert_eq!((set.len(), set.places()), (100, 100));
        set.change(|found| {
            let value = found.state?;
            (value >= 10).then_some(of(0, 0, value / 2))
        });
        assert_eq!(set.len(), 45);
        set.insert(of(0, 0, 5));
        assert_eq!(set.len(), 45);
        set.insert(of(0, 0, 4));
        assert_eq!(set.len(), 46);
        set.clear();
        set.insert(of(0, 0, 5));
        assert_eq!((set.len(), set.get(0)), (1, Some(of(0, 0, 5))));
    }

    #[test]
    fn what_has_seen_more_covers_what_has_seen_less() {
        for others in [0, 100] {
            let mut set = Configurations::default();
            (0..others).for_each(|value| set.insert(of(8, 0, value)));
            for seen in [0b001, 0b010, 0b011, 0b001, 0b100, 0b011] {
                set.insert(of(1, seen, 7));
            }
            let live: Vec<u128> =
                set.iter().filter(|found| found.done == 1).map(|found| found.seen).collect();
            assert_eq!(live, [0b011, 0b100]);
            assert_eq!(set.len() as u64, others + 2);
            // Other effects and other values are other groups.
            set.insert(of(3, 0b001, 7));
            set.insert(of(1, 0b001, 9));
            assert_eq!(set.len() as u64, others + 4);
        }
    }
}
