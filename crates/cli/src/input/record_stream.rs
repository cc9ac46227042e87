//! A stream of CSV records that notices when one of them does not end.
//!
//! Caller: `csv_records`, which puts it below the `csv` reader and says where each record begins. That reader asks for more
//! bytes only when it has used up what it got and the record has not ended. So
//!
//! 1. what was handed out since the record began belongs to it, and is bounded;
//! 2. a record that is still open when the stream ends, behind a line end that is added, has an open quote: nothing else hides
//!    line ends.
//!
//! Line ends before a record are no part of it: a file may have any number of blank lines.

use std::io::{self, Read};

use super::LineError;

/// Bytes of records, watched.
#[derive(Debug)]
pub struct RecordStream<R> {
    stream: R,
    record_bytes_max: usize,
    /// Bytes handed out so far, and up to the last of them that is no line end.
    handed_out: u64,
    content_end: u64,
    record_start: u64,
    line_end_added: bool,
    at_end: bool,
    too_long: bool,
}

impl<R> RecordStream<R> {
    /// Watches `stream`, in which a record takes at most about `record_bytes_max` bytes.
    pub fn new(stream: R, record_bytes_max: usize) -> Self {
        Self {
            stream,
            record_bytes_max,
            handed_out: 0,
            content_end: 0,
            record_start: 0,
            line_end_added: false,
            at_end: false,
            too_long: false,
        }
    }

    /// A record begins at this byte, from 0.
    pub fn begin_record(&mut self, byte: u64) {
        self.record_start = byte;
    }

    /// Why the record that was begun last is none; `found` is whether the reader took it for one, malformed or not.
    pub fn refused(&self, found: bool) -> Option<LineError> {
        match (self.too_long, self.at_end && found) {
            (true, _) => Some(LineError::RecordTooLong { limit_bytes: self.record_bytes_max }),
            (false, true) => Some(LineError::QuoteNeverClosed),
            (false, false) => None,
        }
    }
}

impl<R: Read> Read for RecordStream<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.content_end <= self.record_start {
            self.record_start = self.handed_out;
        }
        if self.handed_out.saturating_sub(self.record_start) >= self.record_bytes_max as u64 {
            self.too_long = true;
            return Err(io::Error::other("a record does not end"));
        }
        let mut read = self.stream.read(buffer)?;
        if read == 0
            && let Some(first) = buffer.first_mut()
        {
            if self.line_end_added {
                self.at_end = true;
            } else {
                self.line_end_added = true;
                *first = b'\n';
                read = 1;
            }
        }
        let bytes = buffer.get(..read).unwrap_or_default();
        if let Some(last) = bytes.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r')) {
            self.content_end = self.handed_out + last as u64 + 1;
        }
        self.handed_out += read as u64;
        Ok(read)
    }
}
