//! Histories of concurrent operations: recording them, and deciding whether a correct store could have given them.
//!
//! Callers: judges. Linearizability means that every operation seems to take effect at one moment between its call and
//! its answer. A store that passes under enough load, with enough overlap, loses no update, shows nothing stale,
//! half-written or deleted, whatever the reason might have been.
//!
//! | part | what it is |
//! |---|---|
//! | [`event`] | what a history consists of; what each operation does to a value |
//! | [`recorder`] | records while it happens; why the times can be trusted |
//! | [`frontier`] | the algorithm: all ways in which things may stand at a moment |
//! | [`checker`] | keys one by one, rounds one after the other |
//! | [`rejection`] | what is said about a history that is not accepted |
//!
//! # Crashes
//! A store that loses power returns to an earlier point, so its history ends there and a new one begins with the values that
//! were found. That these are allowed is checked by one more observation in the old history: a *read* of the found
//! value that overlaps the `flush` which made the point (called with it, answered with it). An operation that
//! the crash interrupted is [`Response::Lost`] at the time of the crash.

pub mod checker;
mod configurations;
pub mod event;
pub mod frontier;
pub mod recorder;
pub mod rejection;

pub use checker::{Checked, Checker};
pub use event::{Event, NEVER, Operation, Outcome, Response, State};
pub use frontier::{CONFIGURATIONS_MAX, Undecided};
pub use recorder::{Called, Order, Recorder};
pub use rejection::{Rejection, Violation};
