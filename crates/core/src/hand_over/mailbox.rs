//! A list that one thread waits for and others append to.
//!
//! A taker who has other things to wait for *listens*: it takes what is there, and when that is nothing, the next post tells
//! its caller to wake the taker in whichever way that takes.
//!
//! Invariants, watched by `model`: a job that was posted is taken exactly once or given back; after [`Mailbox::close`] nothing is
//! accepted, and the taker gets what was, then `None`. The state changes under its lock before anybody is woken, and the
//! taker looks at it under the same lock before it waits: so no wake-up is lost.

use std::fmt;

use oxifaster_device::sync::{Condvar, Mutex};

use crate::mutation::{Mutation, planted};

#[derive(Debug)]
struct State<T> {
    jobs: Vec<T>,
    closed: bool,
    /// The taker sleeps: nobody pays for waking nobody.
    waited_for: bool,
    /// The taker found nothing and waits elsewhere.
    listening: bool,
}

/// Jobs for one thread.
pub struct Mailbox<T> {
    state: Mutex<State<T>>,
    arrived: Condvar,
}

impl<T> Mailbox<T> {
    /// An open, empty mailbox.
    #[must_use]
    pub fn new() -> Self {
        Self {
            state: Mutex::new(State { jobs: Vec::new(), closed: false, waited_for: false, listening: false }),
            arrived: Condvar::new(),
        }
    }

    /// Appends a job and wakes the taker if it waits here. True: it waits elsewhere, and the caller is the one to wake it.
    ///
    /// # Errors
    /// Gives the job back when the mailbox is closed.
    pub fn post(&self, job: T) -> Result<bool, T> {
        let (waited_for, listening) = {
            let mut state = self.state.lock();
            if state.closed && !planted(Mutation::MailboxPostIgnoresClose) {
                return Err(job);
            }
            state.jobs.push(job);
            (state.waited_for, std::mem::take(&mut state.listening))
        };
        if waited_for && !planted(Mutation::MailboxPostWithoutNotify) {
            self.arrived.notify_one();
        }
        Ok(listening && !planted(Mutation::MailboxPostWithoutNotify))
    }

    /// Takes what is there; if that is nothing, the next post says that this taker is to be woken. `None`: closed, and
    /// nothing is left.
    #[must_use]
    pub fn take_or_listen(&self) -> Option<Vec<T>> {
        let mut state = self.state.lock();
        if planted(Mutation::MailboxWaitsWithoutLook) {
            let jobs = std::mem::take(&mut state.jobs);
            drop(state);
            state = self.state.lock();
            state.listening = jobs.is_empty();
            return Some(jobs);
        }
        if state.jobs.is_empty() && state.closed {
            return None;
        }
        state.listening = state.jobs.is_empty();
        Some(std::mem::take(&mut state.jobs))
    }

    /// Takes what is there; with `wait`, waits for something. `None`: closed, and nothing is left. For one thread at a
    /// time: a post wakes one.
    #[must_use]
    pub fn take(&self, wait: bool) -> Option<Vec<T>> {
        let mut state = self.state.lock();
        while wait && state.jobs.is_empty() && !state.closed {
            if planted(Mutation::MailboxWaitsWithoutLook) {
                drop(state);
                state = self.state.lock();
            }
            state.waited_for = true;
            state = self.arrived.wait(state);
            state.waited_for = false;
        }
        if state.jobs.is_empty() && state.closed {
            return None;
        }
        Some(std::mem::take(&mut state.jobs))
    }

    /// Refuses all later posts and wakes the taker.
    pub fn close(&self) {
        self.state.lock().closed = true;
        if !planted(Mutation::MailboxCloseWithoutNotify) {
            self.arrived.notify_all();
        }
    }
}

impl<T> Default for Mailbox<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for Mailbox<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox").finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::Mailbox;

    #[test]
    fn a_closed_mailbox_gives_up_what_it_has_and_takes_nothing() {
        let mailbox = Mailbox::new();
        assert_eq!(mailbox.post(1), Ok(false));
        assert_eq!(mailbox.post(2), Ok(false));
        assert_eq!(mailbox.take(false), Some(vec![1, 2]));
        assert_eq!(mailbox.take(false), Some(vec![]));
        assert_eq!(mailbox.post(3), Ok(false));
        mailbox.close();
        assert_eq!(mailbox.post(4), Err(4));
        assert_eq!(mailbox.take(true), Some(vec![3]));
        assert_eq!(mailbox.take(true), None);
    }
    #[test]
    fn only_the_first_post_behind_an_empty_look_says_that_somebody_listens() {
        let mailbox = Mailbox::new();
        assert_eq!(mailbox.take_or_listen(), Some(vec![]));
        assert_eq!(mailbox.post(1), Ok(true));
        assert_eq!(mailbox.post(2), Ok(false));
        assert_eq!(mailbox.take_or_listen(), Some(vec![1, 2]));
        assert_eq!(mailbox.post(3), Ok(false), "the taker is busy with what it got");
        mailbox.close();
        assert_eq!(mailbox.take_or_listen(), Some(vec![3]));
        assert_eq!(mailbox.take_or_listen(), None);
    }
}
