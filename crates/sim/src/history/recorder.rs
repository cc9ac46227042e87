//! Records a history while it happens: one buffer per thread, and a shared counter as the clock.
//!
//! # Why the times can be trusted
//! The checker takes *a was answered before b was called* as fact, and blames the store if b did not see a. A clock that
//! gets this order wrong even once blames an innocent store. A processor's time stamp counter may: its read is ordered
//! neither with the stores before it, which can still wait in a store buffer, nor with the loads after it.
//!
//! So a time is the result of a `fetch_add` with acquire and release on one [`Order`]. The additions are totally ordered, each
//! reads from the one before it, and so each synchronizes with all later ones. With the call stamped before the
//! operation begins and the answer after it has ended:
//!
//! ```text
//!   thread 1:  upsert ── sequenced before ──► answered = fetch_add ─┐ synchronizes with (a smaller number was
//!                                                                   ▼ given out earlier)
//!   thread 2:                                     called = fetch_add ── sequenced before ──► read
//! ```
//!
//! the upsert *happens before* the read in the language's memory model, and a store in which the read may still miss it
//! is wrong by anybody's definition. The price: the counter's cache line travels between threads twice per operation,
//! and operations that do not overlap are ordered that would otherwise race more closely. Inside of an operation nothing is
//! added, and overlap, where the bugs are, stays.

use std::sync::Arc;

use oxifaster_device::sync::atomic::{AtomicU64, Ordering};

use super::event::{Event, NEVER, Operation, Outcome, Response};

/// The clock of a history: gives out numbers in the order in which things happened.
#[derive(Debug, Default)]
pub struct Order {
    next: AtomicU64,
}

impl Order {
    /// A clock at 0.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// The next time. Every time is given out once.
    #[inline]
    pub fn stamp(&self) -> u64 {
        // AcqRel pairs with the same operation of other threads: see the module header.
        self.next.fetch_add(1, Ordering::AcqRel)
    }
}

/// An operation that was called and is to be answered.
#[derive(Debug)]
#[must_use = "an operation that is never answered stays in the history as lost"]
pub struct Called {
    place: usize,
}

/// One thread's part of a history.
#[derive(Debug)]
pub struct Recorder {
    order: Arc<Order>,
    thread: u32,
    events: Vec<Event>,
}

impl Recorder {
    /// An empty part with room for `capacity` operations, so that nothing is allocated while they are recorded.
    #[must_use]
    pub fn new(order: &Arc<Order>, thread: u32, capacity: usize) -> Self {
        Self { order: Arc::clone(order), thread, events: Vec::with_capacity(capacity) }
    }

    /// Stamps a call, right before it is made. Until it is answered the history says that it may take effect at any time.
    #[inline]
    pub fn call(&mut self, key: u64, operation: Operation) -> Called {
        let place = self.events.len();
        self.events.push(Event {
            key,
            thread: self.thread,
            called: 0,
            operation,
            response: Response::Lost(NEVER),
        });
        // Stamped last: what the recorder itself does is not part of the operation.
        let called = self.order.stamp();
        if let Some(event) = self.events.last_mut() {
            event.called = called;
        }
        Called { place }
    }

    /// Stamps the answer, right after it came.
    #[inline]
    pub fn answer(&mut self, called: Called, outcome: Outcome) {
        let at = self.order.stamp();
        if let Some(event) = self.events.get_mut(called.place) {
            event.response = Response::Answered(at, outcome);
        }
    }

    /// Notes that no answer will come, and that from now on the operation can't take effect any more (the process that
    /// ran it is gone).
    pub fn lose(&mut self, called: Called) {
        let at = self.order.stamp();
        if let Some(event) = self.events.get_mut(called.place) {
            event.response = Response::Lost(at);
        }
    }

    /// Stamps, calls and answers.
    ///
    /// # Errors
    /// Those of `body`; the operation is in the history as one that was not answered.
    #[inline]
    pub fn record<T, E>(
        &mut self,
        key: u64,
        operation: Operation,
        body: impl FnOnce() -> Result<T, E>,
        outcome: impl FnOnce(&T) -> Outcome,
    ) -> Result<T, E> {
        let called = self.call(key, operation);
        let result = body()?;
        self.answer(called, Outcome::Done);
        // The outcome is worked out after the stamp: checking a value's bytes takes time.
        if let Some(Event { response: Response::Answered(_, recorded), .. }) = self.events.last_mut() {
            *recorded = outcome(&result);
        }
        Ok(result)
    }

    /// Operations recorded.
    #[must_use]
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether nothing was recorded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// The recorded events.
    #[must_use]
    pub fn into_events(self) -> Vec<Event> {
        self.events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_stamped_before_and_answers_after() {
        let order = Order::new();
        let mut recorder = Recorder::new(&order, 3, 4);
        let first = recorder.call(7, Operation::Upsert(1));
        let during = order.stamp();
        recorder.answer(first, Outcome::Done);
        let lost = recorder.call(7, Operation::Delete);
        recorder.lose(lost);
        let _never = recorder.call(8, Operation::Delete);
        let result: Result<u64, ()> =
            recorder.record(9, Operation::Read, || Ok(5), |&value| Outcome::Value(Some(value)));
        assert_eq!(result, Ok(5));
        assert_eq!(
            recorder.record(9, Operation::Delete, || Err::<(), _>("broken"), |_| Outcome::Done),
            Err("broken")
        );

        let events = recorder.into_events();
        assert!(events[0].called < during && during < events[0].ended());
        assert_eq!(events[0].outcome(), Some(Outcome::Done));
        assert_eq!((events[1].outcome(), events[1].ended() < events[2].called), (None, true));
        assert_eq!(events[2].response, Response::Lost(NEVER));
        assert_eq!(events[3].outcome(), Some(Outcome::Value(Some(5))));
        assert_eq!(events[4].response, Response::Lost(NEVER));
        assert!(events.iter().all(|event| event.is_well_formed() && event.thread == 3));
    }
}
