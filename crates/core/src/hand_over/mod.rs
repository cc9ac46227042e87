//! Handing work to a thread, and a result back to a future.
//!
//! Callers: the reactor and the asynchronous sessions of `store`. Both halves are plain locks around plain values, small
//! enough that loom runs them as they are (`model`); no lock is held while anybody is woken.
//!
//! | type | from | to | waits by |
//! |---|---|---|---|
//! | [`Mailbox`] | any thread | one thread | condition variable |
//! | [`channel`] | any thread | one future | waker |
//! | [`Replies`] | many senders | one future | waker |

mod mailbox;
#[cfg(all(loom, test))]
mod model;
mod replies;
mod reply;

pub use mailbox::Mailbox;
pub use replies::{Replies, RepliesSender};
pub use reply::{Abandoned, Reply, Sender, channel};
