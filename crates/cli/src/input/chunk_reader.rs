//! Cuts a stream of bytes into chunks at line ends or at white space, so that several threads can parse them.
//!
//! Callers: the reader threads of the pipelines. A chunk ends right behind a line end (or a white space byte), except
//! the last one; nothing is lost, doubled or reordered: the chunks together are the stream. Bytes behind the last cut
//! are carried into the next chunk.

use std::io::{self, Read};

/// Where a stream may be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Behind a line end.
    Line,
    /// Behind an ASCII white space byte.
    WhiteSpace,
}

impl Cut {
    /// Length of the longest front of `bytes` that ends behind a cut.
    fn last(self, bytes: &[u8]) -> Option<usize> {
        let position = match self {
            Cut::Line => memchr::memrchr(b'\n', bytes),
            Cut::WhiteSpace => bytes.iter().rposition(u8::is_ascii_whitespace),
        };
        position.map(|position| position + 1)
    }
}

/// A part of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextChunk {
    /// The bytes, line ends included.
    pub bytes: Vec<u8>,
    /// The number of the line in which the first byte lies, from 1.
    pub first_line: u64,
}

impl TextChunk {
    /// How many line ends there are inside.
    #[must_use]
    pub fn line_ends(&self) -> u64 {
        memchr::memchr_iter(b'\n', &self.bytes).count() as u64
    }
}

/// Why there is no next chunk.
#[derive(Debug, thiserror::Error)]
pub enum ChunkError {
    /// The stream failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// No place to cut was found within the largest length.
    #[error("line {line} has no place to cut within {limit_bytes} bytes")]
    NoCut {
        /// The line in which the chunk would start.
        line: u64,
        /// The largest length of a chunk.
        limit_bytes: usize,
    },
}

/// Cuts a stream into chunks.
#[derive(Debug)]
pub struct ChunkReader<R> {
    stream: R,
    cut: Cut,
    chunk_bytes: usize,
    limit_bytes: usize,
    carried: Vec<u8>,
    next_line: u64,
    at_end: bool,
}

impl<R: Read> ChunkReader<R> {
    /// Chunks of about `chunk_bytes`, and at most `limit_bytes` where there is no place to cut.
    pub fn new(stream: R, cut: Cut, chunk_bytes: usize, limit_bytes: usize) -> Self {
        let chunk_bytes = chunk_bytes.max(1);
        let limit_bytes = limit_bytes.max(chunk_bytes);
        Self { stream, cut, chunk_bytes, limit_bytes, carried: Vec::new(), next_line: 1, at_end: false }
    }

    /// The next chunk, or `None` at the end of the stream.
    ///
    /// # Errors
    /// When the stream fails, or has no place to cut within the limit.
    pub fn next_chunk(&mut self) -> Result<Option<TextChunk>, ChunkError> {
        let mut bytes = std::mem::take(&mut self.carried);
        let mut wanted = self.chunk_bytes;
        let cut = loop {
            self.fill(&mut bytes, wanted)?;
            if self.at_end {
                break bytes.len();
            }
            if let Some(cut) = self.cut.last(&bytes) {
                break cut;
            }
            if bytes.len() >= self.limit_bytes {
                return Err(ChunkError::NoCut { line: self.next_line, limit_bytes: self.limit_bytes });
            }
            wanted = (bytes.len() * 2).min(self.limit_bytes);
        };
        self.carried = bytes.split_off(cut);
        if bytes.is_empty() {
            return Ok(None);
        }
        let chunk = TextChunk { bytes, first_line: self.next_line };
        self.next_line += chunk.line_ends();
        Ok(Some(chunk))
    }

    /// Reads until `bytes` holds `wanted` bytes or the stream ends.
    fn fill(&mut self, bytes: &mut Vec<u8>, wanted: usize) -> io::Result<()> {
        let missing = wanted.saturating_sub(bytes.len());
        bytes.reserve_exact(missing);
        if !self.at_end && missing != 0 {
            let read = self.stream.by_ref().take(missing as u64).read_to_end(bytes)?;
            self.at_end = read < missing;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use proptest::prelude::*;

    use super::{ChunkError, ChunkReader, Cut, TextChunk};

    fn chunks(text: &[u8], cut: Cut, chunk_bytes: usize) -> Vec<TextChunk> {
        let mut reader = ChunkReader::new(Dribble(text), cut, chunk_bytes, 1 << 20);
        std::iter::from_fn(|| reader.next_chunk().unwrap()).collect()
    }

    /// A stream that hands out at most three bytes at a time, as pipes may.
    struct Dribble<'a>(&'a [u8]);

    impl Read for Dribble<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let count = buffer.len().min(3).min(self.0.len());
            let (now, later) = self.0.split_at(count);
            buffer[..count].copy_from_slice(now);
            self.0 = later;
            Ok(count)
        }
    }

    #[test]
    fn chunks_know_their_first_line() {
        let found = chunks(b"1\n2\n3\n4444\n5\n6", Cut::Line, 5);
        let expected = [("1\n2\n", 1), ("3\n", 3), ("4444\n", 4), ("5\n6", 5)];
        let expected = expected.map(|(bytes, first_line)| TextChunk { bytes: bytes.into(), first_line });
        assert_eq!(found, expected);
    }

    #[test]
    fn a_line_longer_than_a_chunk_is_kept_whole() {
        let found = chunks(b"a\n0123456789012345\nb\n", Cut::Line, 4);
        let starts: Vec<_> = found.iter().map(|chunk| (chunk.bytes.as_slice(), chunk.first_line)).collect();
        assert_eq!(starts, [(&b"a\n"[..], 1), (&b"0123456789012345\nb\n"[..], 2)]);
    }

    #[test]
    fn a_line_without_end_is_refused_with_its_number() {
        let text = [&b"1\n2\n"[..], &[b'x'; 100]].concat();
        let mut reader = ChunkReader::new(&text[..], Cut::Line, 8, 32);
        assert_eq!(reader.next_chunk().unwrap().map(|chunk| chunk.bytes), Some(b"1\n2\n".to_vec()));
        let refused = reader.next_chunk();
        assert!(matches!(refused, Err(ChunkError::NoCut { line: 3, limit_bytes: 32 })), "{refused:?}");
    }

    #[test]
    fn an_empty_stream_has_no_chunks() {
        assert_eq!(chunks(b"", Cut::Line, 8), []);
    }

    proptest! {
        #[test]
        fn chunks_are_the_stream(
            text in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b' '), any::<u8>()], 0..400),
            chunk_bytes in 1_usize..50,
            at_lines: bool,
        ) {
            let cut = if at_lines { Cut::Line } else { Cut::WhiteSpace };
            let found = chunks(&text, cut, chunk_bytes);
            let joined: Vec<u8> = found.iter().flat_map(|chunk| chunk.bytes.clone()).collect();
            prop_assert_eq!(&joined, &text);
            let mut line = 1;
            for (index, chunk) in found.iter().enumerate() {
                prop_assert_eq!(chunk.first_line, line);
                line += chunk.line_ends();
                if index + 1 < found.len() {
                    let last = *chunk.bytes.last().unwrap();
                    let is_cut = if at_lines { last == b'\n' } else { last.is_ascii_whitespace() };
                    prop_assert!(is_cut);
                }
            }
        }
    }
}
