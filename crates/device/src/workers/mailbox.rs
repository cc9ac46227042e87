//! Where the finished requests of one queue wait for their owner, and the queue's hold on its device.
//!
//! | field | written by |
//! |---|---|
//! | `done` | workers add, the owner empties |
//! | `backend` | `Some` until the device's drop takes it |
//! | `inline` | the owner, while it executes a request itself; the device's drop waits for its end |
//! | `interrupted` | set by anybody, cleared by the owner's next wait, which it ends |
//! | `waiters` | whoever is about to wait, so that nobody pays for waking nobody |

use std::sync::Arc;

use crate::queue::Completion;
use crate::sync::{Condvar, Mutex, MutexGuard};

pub(super) struct Mailbox<B> {
    state: Mutex<MailboxState<B>>,
    changed: Condvar,
}

struct MailboxState<B> {
    done: Vec<Completion>,
    backend: Option<Arc<B>>,
    inline: bool,
    interrupted: bool,
    waiters: usize,
}

impl<B> Mailbox<B> {
    pub(super) fn new(backend: Arc<B>) -> Self {
        let state = MailboxState {
            done: Vec::new(),
            backend: Some(backend),
            inline: false,
            interrupted: false,
            waiters: 0,
        };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Hands a finished request over. The mutex orders everything the worker did before everything the owner does
    /// after [`take`](Self::take).
    pub(super) fn post(&self, completion: Completion) {
        let mut state = self.state.lock();
        state.done.push(completion);
        // The model's planted bug: nobody is told, and a waiting owner sleeps for ever.
        if cfg!(not(all(loom, canaries))) {
            self.wake(state);
        }
    }

    /// Moves what is finished to `completions`, waiting for at least one if told so, or for an interrupt. The caller knows
    /// that one is due.
    pub(super) fn take(&self, wait: bool, completions: &mut Vec<Completion>) -> usize {
        let mut state = self.state.lock();
        while wait && state.done.is_empty() && !state.interrupted {
            state = self.wait(state);
        }
        state.interrupted &= !wait;
        let taken = state.done.len();
        completions.append(&mut state.done);
        taken
    }

    /// Ends the owner's wait, or its next one.
    pub(super) fn interrupt(&self) {
        let mut state = self.state.lock();
        state.interrupted = true;
        // The model's planted bug, as in `post`.
        if cfg!(not(all(loom, canaries))) {
            self.wake(state);
        }
    }

    /// The backend, for the owner to execute a request itself; `None` when the device is gone. Pairs with
    /// [`end_inline`](Self::end_inline).
    pub(super) fn begin_inline(&self) -> Option<Arc<B>> {
        let mut state = self.state.lock();
        let backend = state.backend.clone()?;
        state.inline = true;
        Some(backend)
    }

    /// The owner has let go of the backend.
    pub(super) fn end_inline(&self) {
        let mut state = self.state.lock();
        state.inline = false;
        self.wake(state);
    }

    /// Takes the backend away, after the owner has finished what it executes itself. Called by the device's drop.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        while state.inline {
            state = self.wait(state);
        }
        let backend = state.backend.take();
        drop(state);
        // Outside of the lock: this may close files.
        drop(backend);
    }

    fn wait<'a>(&'a self, mut state: MutexGuard<'a, MailboxState<B>>) -> MutexGuard<'a, MailboxState<B>> {
        state.waiters += 1;
        let mut state = self.changed.wait(state);
        state.waiters -= 1;
        state
    }

    fn wake(&self, state: MutexGuard<'_, MailboxState<B>>) {
        let somebody_waits = state.waiters > 0;
        drop(state);
        if somebody_waits {
            self.changed.notify_all();
        }
    }
}
