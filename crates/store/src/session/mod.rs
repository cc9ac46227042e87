//! A user's handle for operations: blocking, batched and pending.
//!
//! A session owns an epoch slot, a scratch buffer and a block of counters, so that operations share nothing but log and
//! index. It is `Send` and not `Sync`: it may move between threads, and serves one at a time. Between operations it
//! protects nothing, so an idle session holds up nobody.

mod batch;
mod batched;
mod blocking;
mod deferred;
mod groups;
mod pending;
mod view;
mod worker;

pub(crate) use batched::{Adds, Deletes, Inserts, Reads, Rmws, Upserts};
pub use blocking::Session;
pub(crate) use blocking::{add_decision, exchange_decision, insert_decision, remove_decision, rmw_decision};
pub(crate) use deferred::{Deferred, Resumed};
pub(crate) use groups::Batched;
pub use pending::{Completed, PendingId, Started};
pub use view::RecordView;
pub(crate) use worker::Worker;
