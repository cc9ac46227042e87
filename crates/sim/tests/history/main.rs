#![expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test: its numbers are small, and an index outside is a failure of the test"
)]
//! The history checker accepts what a correct register gives and nothing else.
//!
//! | part | what it shows |
//! |---|---|
//! | [`known`] | histories of known bugs are rejected, and the message points at the spot |
//! | [`exhaustive`] | on small histories it says exactly what trying all orders says |
//! | [`mutated`] | on large histories nothing correct is rejected and no planted contradiction is missed |
//! | [`register`] | the correct register that gives histories, with overlap and interruptions |

mod exhaustive;
mod known;
mod mutated;
mod register;
