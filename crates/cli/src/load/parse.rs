//! The parsers: from whole lines to records by shard.

use oxifaster_device::sync::Arc;

use super::read::malformed;
use super::shard::Sharder;
use super::{ChunkFacts, EndOnPanic, InputPosition, LoadRun, ParsedChunk, ShardChunk, Work};
use crate::failure::Failure;
use crate::input::{LineError, LineParser, Source, TextChunk};
use crate::pipeline::{Permit, RunningWorker};

impl LoadRun {
    /// Whether a record fits into a page.
    pub(super) fn check_size(&self, key: &[u8], value: &[u8]) -> Result<(), LineError> {
        let found_bytes = key.len() + value.len();
        let limit_bytes = self.size.record_bytes_max;
        if found_bytes > limit_bytes {
            return Err(LineError::RecordTooLarge { found_bytes, limit_bytes });
        }
        Ok(())
    }
}

/// Parses chunks until the queue ends.
pub(super) fn parse_chunks(shared: &LoadRun, _running: RunningWorker) {
    let _on_panic = EndOnPanic(shared);
    let mut sharder = Sharder::new(shared.inboxes.len());
    while let Some((number, work)) = shared.queue.pop() {
        match work {
            Work::Records { chunk, permit } => deliver(shared, number, chunk, permit),
            Work::Lines { source, parser, text, permit } => {
                let (chunk, failure) = parse_lines(shared, &source, &parser, text, &mut sharder);
                if let Some(failure) = failure {
                    // First the end, then the lines before it: no shard goes on behind this chunk.
                    shared.run.fail(number, failure);
                    shared.end_before(number + 1);
                }
                deliver(shared, number, chunk, permit);
            }
        }
    }
}

/// Parses the lines of a chunk up to its end or to the first malformed one.
fn parse_lines(
    shared: &LoadRun,
    source: &Arc<Source>,
    parser: &LineParser,
    text: TextChunk,
    sharder: &mut Sharder,
) -> (ParsedChunk, Option<Failure>) {
    let mut line_number = text.first_line;
    let (mut bytes, mut skipped_lines, mut first_skipped, mut failure) = (0, 0, None, None);
    for line_with_end in text.bytes.split_inclusive(|byte| *byte == b'\n') {
        let line = line_with_end.strip_suffix(b"\n").unwrap_or(line_with_end);
        let parsed = parser.parse_line(line).and_then(|record| {
            if let Some(record) = record {
                shared.check_size(&record.key, &record.value)?;
                sharder.add(&record.key, &record.value);
            }
            Ok(())
        });
        match parsed {
            Ok(()) => {}
            Err(error) if shared.skip_malformed => {
                skipped_lines += 1;
                first_skipped.get_or_insert_with(|| malformed(source, line_number, &error).to_string());
            }
            Err(error) => {
                failure = Some(malformed(source, line_number, &error));
                break;
            }
        }
        line_number += 1;
        bytes += line_with_end.len() as u64;
    }
    let position = InputPosition { source: Arc::clone(source), line: line_number - 1 };
    (ParsedChunk { shards: sharder.take(), bytes, position, skipped_lines, first_skipped }, failure)
}

/// Hands a chunk to the shards.
fn deliver(shared: &LoadRun, number: u64, chunk: ParsedChunk, permit: Permit) {
    let permit = Arc::new(permit);
    let mut whole = Some(ChunkFacts {
        bytes: chunk.bytes,
        position: chunk.position,
        skipped_lines: chunk.skipped_lines,
        first_skipped: chunk.first_skipped,
    });
    for (inbox, batch) in shared.inboxes.iter().zip(chunk.shards) {
        inbox.insert(number, ShardChunk { batch, whole: whole.take(), _permit: Arc::clone(&permit) });
    }
}
