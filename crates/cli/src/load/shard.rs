//! Shards: which session stores a key, and the thread that stores.

use xxhash_rust::xxh3::xxh3_64;

use super::{EndOnPanic, LoadRun};
use crate::failure::Failure;
use crate::input::RecordBatch;
use crate::pipeline::RunningWorker;

/// Where records go: a session of a store.
pub trait RecordSink {
    /// Stores all records of a batch, in order.
    ///
    /// # Errors
    /// What the store says. Records in front of the one that failed are stored.
    fn upsert_batch(&mut self, batch: &RecordBatch) -> Result<(), Failure>;
}

/// Sorts records by shard.
pub(super) struct Sharder {
    shards: Vec<RecordBatch>,
    content_bytes: usize,
}

impl Sharder {
    pub(super) fn new(shards: usize) -> Self {
        Self { shards: vec![RecordBatch::default(); shards.max(1)], content_bytes: 0 }
    }

    pub(super) fn add(&mut self, key: &[u8], value: &[u8]) {
        let shard = xxh3_64(key) % self.shards.len() as u64;
        let shard = usize::try_from(shard).unwrap_or(0);
        if let Some(batch) = self.shards.get_mut(shard) {
            batch.push(key, value);
            self.content_bytes += key.len() + value.len();
        }
    }

    pub(super) fn content_bytes(&self) -> usize {
        self.content_bytes
    }

    /// What was gathered; starts anew.
    pub(super) fn take(&mut self) -> Vec<RecordBatch> {
        self.content_bytes = 0;
        let empty = vec![RecordBatch::default(); self.shards.len()];
        std::mem::replace(&mut self.shards, empty)
    }
}

/// Stores the chunks of one shard, in order.
pub(super) fn store_shard<S: RecordSink>(
    shared: &LoadRun,
    shard: usize,
    mut sink: S,
    _running: RunningWorker,
) {
    let Some(inbox) = shared.inboxes.get(shard) else { return };
    let _on_panic = EndOnPanic(shared);
    while let Some(chunk) = inbox.take_next() {
        if let Err(failure) = sink.upsert_batch(&chunk.batch) {
            // A store that fails ends the run, whatever is in the input: it counts before any malformed line.
            shared.run.fail(0, failure);
            shared.end_before(0);
            return;
        }
        shared.run.progress.add(0, chunk.batch.len() as u64);
        if let Some(facts) = chunk.whole {
            shared.run.progress.add(facts.bytes, 0);
            let mut totals = shared.totals.lock();
            totals.skipped_lines += facts.skipped_lines;
            totals.first_skipped = totals.first_skipped.take().or(facts.first_skipped);
            totals.position = Some(facts.position);
        }
    }
}
