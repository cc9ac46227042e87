//! What the store promises when power is lost, the device fails, bytes rot, or the process is killed: DESIGN D6 and D10.
//!
//! | file | what it is about |
//! |---|---|
//! | `scene` | what the tests share: stores of every value class, a model of their content, a watchdog |
//! | `crash` | power loss at every change of the device; time lines that were cut off |
//! | `faults` | failing reads, writes, syncs and metadata; a full device |
//! | `rot` | flipped bits |
//! | `reopening` | other configurations, foreign and damaged files, recovery reports |
//! | `recorder` | a device that watches the order of writes |
//! | `process_kill` | a killed process |

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::cast_possible_truncation,
    reason = "a panic here is a failed test, also in the functions that tests share; tests wait in real time"
)]

mod crash;
mod faults;
mod process_kill;
mod recorder;
mod reopening;
mod rot;
mod scene;
