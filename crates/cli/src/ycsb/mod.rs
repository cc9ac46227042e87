//! The benchmark: load keys, run a workload on them for a while, and say exactly what was done.
//!
//! ```text
//!  load phase          warm-up            window                              closed loop: a thread starts its next
//!  ├───────────────────┼──────────────────┼──────────────────────────────┤    operation when the last one is done
//!  all keys, batched   counted, not told  counted, timed, told
//! ```
//!
//! | part | what it is |
//! |---|---|
//! | [`settings`] | what is run |
//! | [`draw`] | a thread's next operations and their keys |
//! | [`payload`] | the two classes of values: a word, or bytes |
//! | [`counters`] | what every thread has done; snapshots of all threads |
//! | [`latency`] | sampled times, in histograms |
//! | [`lane`] | a thread: its session, its operations one by one or in batches |
//! | [`run`] | the phases, the window, the thread that looks at the counters |
//!
//! Why the figures are exact:
//! 1. An operation is counted when it has returned, by its own thread, in a cache line that only this thread writes. Nobody
//!    adds to anything shared.
//! 2. The window is what lies between two snapshots of all counters, and its length the time between them: operations
//!    that were under way at either end count where they completed. No thread needs to know when the window began.
//! 3. The time line is made of snapshots too, so its parts add up to the whole.
//! 4. Clocks cost as much as an operation. So one single operation in [`latency::SAMPLE_EVERY`] is timed, and every batch.
//! 5. A read of a key that is there must find it: a miss fails the run.
//!
//! What is in the figures and is not the store: drawing the operations, whose cost is measured and told, and one
//! clock call in the times.

pub mod counters;
pub mod draw;
pub mod lane;
pub mod latency;
pub mod payload;
pub mod run;
pub mod settings;

pub use payload::Payload;
pub use run::{LoadPhase, Measurement, Sample, measure};
pub use settings::Settings;
