//! Whether what a crash left is a consistent point of the history before it.
//!
//! The value that a key has after the crash must be the one that a read would have told while the `flush` ran that made the point.
//! So that read is written into the history, and the checker decides.

use oxifaster_core::Address;

use crate::history::{Checked, Checker, Event, Operation, Outcome, Rejection, Response, State};

/// A point that the store may return to: made between these times. A creation has both equal, before everything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Point {
    pub(super) called: u64,
    pub(super) answered: u64,
    /// The consistent tail, where it is known.
    pub(super) tail: Option<Address>,
}

/// The thread that reads after a crash or a reopen, in messages.
pub(super) const READER: u32 = 1000;

/// Checks a round that ended in a crash. `points` are the last acknowledged one and then those that were tried since.
///
/// # Errors
/// The rejection of the history itself, or else what contradicts the last acknowledged point, if no point fits.
pub(super) fn check(events: &[Event], points: &[Point], found: &[(u64, State)]) -> Result<Checked, String> {
    let plain = Checker::new()
        .check(events.to_vec())
        .map_err(|rejection| format!("before the crash: {rejection}"))?;
    let mut complaint = None;
    for point in points {
        let reads = found.iter().map(|&(key, state)| Event {
            key,
            thread: READER,
            called: point.called,
            operation: Operation::Read,
            response: Response::Answered(point.answered, Outcome::Value(state)),
        });
        match Checker::new().check(events.iter().copied().chain(reads).collect()) {
            Ok(_) => return Ok(plain),
            Err(rejection) => _ = complaint.get_or_insert(rejection),
        }
    }
    let complaint = complaint.map_or_else(String::new, |rejection| explain(&rejection));
    Err(format!("after the crash the store is at none of its points {points:?}: {complaint}"))
}

fn explain(rejection: &Rejection) -> String {
    format!(
        "what thread {READER} read after the crash, as if it had read it when the point was made: {rejection}"
    )
}
