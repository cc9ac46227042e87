//! An inbox that hands items out in the order of their numbers, in whatever order they come.
//!
//! One session stores all records of a key, chunk after chunk: so of two lines with one key the later one wins, as if one
//! thread had read the file.

use std::collections::BTreeMap;

use oxifaster_device::sync::{Condvar, Mutex};

/// Items by number.
#[derive(Debug)]
pub struct OrderedInbox<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<T> {
    items: BTreeMap<u64, T>,
    next: u64,
    /// Items of this number and above are never handed out.
    end: u64,
}

impl<T> Default for OrderedInbox<T> {
    fn default() -> Self {
        let state = State { items: BTreeMap::new(), next: 0, end: u64::MAX };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }
}

impl<T> OrderedInbox<T> {
    /// Adds item `number`, each number once; dropped when it lies at or behind the end.
    pub fn insert(&self, number: u64, item: T) {
        let mut state = self.state.lock();
        if number < state.end {
            state.items.insert(number, item);
            self.changed.notify_one();
        }
    }

    /// Only items below `end` are handed out. The lowest end of several calls counts.
    pub fn end_before(&self, end: u64) {
        let mut state = self.state.lock();
        state.end = state.end.min(end);
        // What lies behind goes at once: it may hold permits.
        let _behind = state.items.split_off(&end);
        self.changed.notify_all();
    }

    /// The next item in order; waits for it. `None` at the end.
    pub fn take_next(&self) -> Option<T> {
        let mut state = self.state.lock();
        loop {
            if state.next >= state.end {
                return None;
            }
            let next = state.next;
            if let Some(item) = state.items.remove(&next) {
                state.next += 1;
                return Some(item);
            }
            state = self.changed.wait(state);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::OrderedInbox;

    #[test]
    fn items_come_in_order_up_to_the_end() {
        let inbox = OrderedInbox::default();
        inbox.insert(2, 'c');
        inbox.insert(0, 'a');
        inbox.insert(1, 'b');
        assert_eq!((inbox.take_next(), inbox.take_next()), (Some('a'), Some('b')));
        inbox.end_before(3);
        inbox.insert(3, 'd');
        assert_eq!((inbox.take_next(), inbox.take_next()), (Some('c'), None));
    }

    #[test]
    fn the_lowest_end_counts() {
        let inbox = OrderedInbox::default();
        inbox.insert(0, 'a');
        inbox.insert(1, 'b');
        inbox.end_before(1);
        inbox.end_before(5);
        assert_eq!((inbox.take_next(), inbox.take_next()), (Some('a'), None));
    }
}
