//! The reader of `count`: cuts text at white space and gives every chunk the words before it.

use std::ops::ControlFlow;

use super::{CountRun, EndOnPanic, Work};
use crate::failure::Failure;
use crate::input::chunk_reader::ChunkError;
use crate::input::words::tail_words;
use crate::input::{ChunkReader, Cut, Source};

/// Text without any white space in so many bytes is refused.
const UNBROKEN_BYTES_MAX: usize = 16 << 20;

/// Reads all sources; closes the queue at the end, whatever the end is.
pub(super) fn read_sources(shared: &CountRun, sources: &[Source]) {
    let _on_panic = EndOnPanic(shared);
    for source in sources {
        match read_text(shared, source) {
            Ok(ControlFlow::Continue(())) => {}
            Ok(ControlFlow::Break(())) => break,
            Err(failure) => {
                let chunks = shared.queue.close();
                shared.run.fail(chunks, failure);
                break;
            }
        }
    }
    shared.end_of_input();
}

fn read_text(shared: &CountRun, source: &Source) -> Result<ControlFlow<()>, Failure> {
    let mut reader =
        ChunkReader::new(source.open()?, Cut::WhiteSpace, shared.options.chunk_bytes, UNBROKEN_BYTES_MAX);
    let mut context = Vec::new();
    loop {
        let Some(permit) = shared.permits.acquire() else { return Ok(ControlFlow::Break(())) };
        let chunk = reader.next_chunk().map_err(|error| match error {
            ChunkError::Io(error) => source.unreadable(&error),
            ChunkError::NoCut { line, limit_bytes } => Failure::input(format_args!(
                "{source}, line {line}: no white space within {limit_bytes} bytes: this is no text"
            )),
        })?;
        let Some(text) = chunk else { return Ok(ControlFlow::Continue(())) };
        let after = tail_words(&context, &text.bytes, shared.options.ngram_words.saturating_sub(1));
        let work = Work { text, context: std::mem::replace(&mut context, after), _permit: permit };
        if !shared.queue.push(work) {
            return Ok(ControlFlow::Break(()));
        }
    }
}
