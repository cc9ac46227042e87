//! The model checker: random plans run on a store and on a map, with every kind of ending between.
//!
//! Callers: the model judge and the tests of the stores. One session, so that every answer has exactly one right value. What
//! is durable is exact, too: after a crash the store is at its last consistent point (what the last acknowledged `flush` or
//! `close` covered, all of it and nothing later), or at one whose `flush` was interrupted. Never between two, never
//! empty, never a value that nobody wrote.
//!
//! ```text
//!   seed ─► plan ─► run: each step on the subject ─► answer ─► oracle: is it right? ─► broken promise ─► minimize ─► report
//!                         crash ─► open ─► read all keys ────► oracle: is it a point?
//! ```
//!
//! | part | what it is |
//! |---|---|
//! | [`plan`] | the steps, drawn from a seed |
//! | [`subject`] | what a store must offer to be run |
//! | [`oracle`] | the map and the points |
//! | [`mod@run`] | both side by side |
//! | [`mod@minimize`] | shortens a failing plan |

pub mod minimize;
pub mod oracle;
pub mod plan;
pub mod run;
pub mod subject;

pub use minimize::minimize;
pub use oracle::{Contents, Oracle};
pub use plan::{Plan, Step};
pub use run::{Broken, Ran, run};
pub use subject::{Ending, Failure, Fault, Subject};
