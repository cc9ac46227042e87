//! A queue from one reader to several workers, numbered, without a limit of its own (permits limit it).

use std::collections::VecDeque;

use oxifaster_device::sync::{Condvar, Mutex};

/// Items with rising numbers from 0.
#[derive(Debug)]
pub struct ChunkQueue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<T> {
    items: VecDeque<(u64, T)>,
    pushed: u64,
    closed: bool,
}

impl<T> Default for ChunkQueue<T> {
    fn default() -> Self {
        let state = State { items: VecDeque::new(), pushed: 0, closed: false };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }
}

impl<T> ChunkQueue<T> {
    /// Adds an item; false, and the item is dropped, when the queue is closed.
    pub fn push(&self, item: T) -> bool {
        let mut state = self.state.lock();
        if state.closed {
            return false;
        }
        let number = state.pushed;
        state.pushed += 1;
        state.items.push_back((number, item));
        self.changed.notify_one();
        true
    }

    /// Takes the oldest item and its number; waits for one. `None` when the queue is closed and empty.
    pub fn pop(&self) -> Option<(u64, T)> {
        let mut state = self.state.lock();
        loop {
            if let Some(item) = state.items.pop_front() {
                return Some(item);
            }
            if state.closed {
                return None;
            }
            state = self.changed.wait(state);
        }
    }

    /// Takes no more items; says how many there were in all.
    pub fn close(&self) -> u64 {
        let mut state = self.state.lock();
        state.closed = true;
        self.changed.notify_all();
        state.pushed
    }
}

#[cfg(test)]
mod tests {
    use super::ChunkQueue;

    #[test]
    fn closing_keeps_what_was_pushed() {
        let queue = ChunkQueue::default();
        assert!(queue.push('a') && queue.push('b'));
        assert_eq!(queue.close(), 2);
        assert!(!queue.push('c'));
        assert_eq!(queue.close(), 2);
        assert_eq!((queue.pop(), queue.pop(), queue.pop()), (Some((0, 'a')), Some((1, 'b')), None));
    }
}
