//! Permits: how many chunks may exist between the reader and the sessions, which bounds the memory of input.

use oxifaster_device::sync::{Arc, Condvar, Mutex};

/// A number of permits.
#[derive(Debug)]
pub struct InFlight {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    free: usize,
    closed: bool,
}

/// The right to hold one chunk; given back when dropped.
#[derive(Debug)]
pub struct Permit(Arc<InFlight>);

impl InFlight {
    /// `limit` permits, all free.
    #[must_use]
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State { free: limit.max(1), closed: false }),
            changed: Condvar::new(),
        })
    }

    /// Takes a permit; waits until one is free. `None` after [`InFlight::close`].
    pub fn acquire(self: &Arc<Self>) -> Option<Permit> {
        let mut state = self.state.lock();
        loop {
            if state.closed {
                return None;
            }
            if state.free != 0 {
                state.free -= 1;
                return Some(Permit(Arc::clone(self)));
            }
            state = self.changed.wait(state);
        }
    }

    /// Gives out no more permits and wakes whoever waits for one.
    pub fn close(&self) {
        self.state.lock().closed = true;
        self.changed.notify_all();
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.state.lock().free += 1;
        self.0.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use oxifaster_device::sync::{Arc, thread};

    use super::InFlight;

    #[test]
    fn a_dropped_permit_is_free_again_and_closing_wakes_waiters() {
        let permits = InFlight::new(1);
        let first = permits.acquire().unwrap();
        let waiter = {
            let permits = Arc::clone(&permits);
            thread::spawn("waiter", move || permits.acquire().is_some()).unwrap()
        };
        drop(first);
        assert!(waiter.join().unwrap());

        let held = permits.acquire().unwrap();
        let waiter = {
            let permits = Arc::clone(&permits);
            thread::spawn("waiter", move || permits.acquire().is_none()).unwrap()
        };
        permits.close();
        assert!(waiter.join().unwrap());
        drop(held);
        assert!(permits.acquire().is_none());
    }
}
