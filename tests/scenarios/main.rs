#![expect(clippy::cast_possible_truncation, reason = "tests cast small numbers that they made themselves")]
//! Scenario tests of store and log: what went wrong for users of earlier implementations of this design. A test is called
//! what its scenario is called; `tests/tidy/scenarios.rs` has the table. One program, so that it is linked once.
//!
//! | part | what its tests are about |
//! |---|---|
//! | [`stores`] | the stores that all of them use: in memory, and larger than memory on a file |
//! | [`samples`] | values of every class that show when they are torn |
//! | [`gate`] | a device that holds requests back for as long as a test wants |
//! | [`updates`] | no update is lost, none is done by halves |
//! | [`values`] | what is read is what was written, at every size |
//! | [`cold`] | operations whose records are on the device |
//! | [`futures`] | the same as futures, also dropped ones |
//! | [`sessions`] | sessions hold up nobody, and there is no limit to their number |
//! | [`chains`] | many records that share a chain of the index |
//! | [`files`] | closing, opening, owning, size |
//! | [`recovery`] | opening with other sizes of memory and table |
//! | [`latency`] | what operations do not wait for |
//! | [`memory`] | a store that lives in memory alone |
//! | [`faster_log`] | the log: commits, cuts, damage, back-pressure |

#[cfg(test)]
mod chains;
#[cfg(test)]
mod cold;
#[cfg(test)]
mod faster_log;
#[cfg(test)]
mod files;
#[cfg(test)]
mod futures;
#[cfg(test)]
mod gate;
#[cfg(test)]
mod latency;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod recovery;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod sessions;
#[cfg(test)]
mod stores;
#[cfg(test)]
mod updates;
#[cfg(test)]
mod values;
