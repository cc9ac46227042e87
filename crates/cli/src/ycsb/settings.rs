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

/// Keys of a batch when loading is not what is measured, and bytes that such a batch holds at most.
const LOAD_BATCH: (usize, usize) = (256, 1 << 20);

impl Settings {
    /// What loads the keys: the workload itself when that is `load`, else batches.
    #[must_use]
    pub fn for_loading(&self) -> Settings {
        if self.workload == Workload::Load {
            return *self;
        }
        let (keys, bytes) = LOAD_BATCH;
        Settings { workload: Workload::Load, batch: (bytes / self.value_bytes).clamp(1, keys), ..*self }
    }

    /// Bytes that a thread's operations take at most, while they wait to be run.
    #[must_use]
    pub fn operations_bytes(&self) -> u64 {
        let values = self.batch.max(self.for_loading().batch) as u64 + 2;
        values * (64 + self.value_bytes as u64)
    }
}
