//! What is run, once the arguments make sense.

use std::time::Duration;

use oxifaster_workload::{Distribution, Workload};

/// What is run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Mix of operations.
    pub workload: Workload,
    /// How existing keys are chosen.
    pub distribution: Distribution,
    /// Keys that are loaded.
    pub keys: u64,
    /// Bytes of a value; 8 are a word.
    pub value_bytes: usize,
    /// Threads, each with a session.
    pub threads: usize,
    /// Operations in a batch; 1 are single operations.
    pub batch: usize,
    /// Length of the window.
    pub window: Duration,
    /// What is run before it, without being told.
    pub warm_up: Duration,
    /// Everything random follows from it.
    pub seed: u64,
}
