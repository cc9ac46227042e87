//! Operations as futures.
//!
//! An [`AsyncSession`] runs each operation on the polling thread as far as memory goes. Where the record is on the
//! device, or the log has no room, it hands the wait to the store's reactor threads and is woken when that is done: no
//! polling, and no particular executor. A batch does so for all of its operations together.

mod batch;
mod session;

pub use session::AsyncSession;
