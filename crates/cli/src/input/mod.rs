//! Input: from bytes of files to keys and values, or to words.
//!
//! Callers: the `load` and `count` pipelines, and fuzzing, which drives the pure functions directly. Nothing here knows a
//! store, a thread or a terminal.
//!
//! ```text
//!  file or standard input ──► ChunkReader ──► chunk (whole lines, first line number)
//!                                               │ LineParser::parse_line      tsv, json_lines
//!                                               │ words::NgramWindow          words
//!  CSV: quotes may hide line ends ──► csv_records::read_records (one thread)
//!                                               ▼
//!                                          RecordBatch of key and value bytes
//! ```
//!
//! Every parser is a pure function of one line (or of the bytes of one CSV file) and never panics, whatever the bytes.

pub mod chunk_reader;
pub mod csv_records;
pub mod format;
pub mod json_lines;
pub mod line_error;
pub mod record_batch;
pub mod record_stream;
pub mod source;
pub mod tsv;
pub mod words;

use std::borrow::Cow;

pub use chunk_reader::{ChunkReader, Cut, TextChunk};
pub use format::Format;
pub use line_error::LineError;
pub use record_batch::RecordBatch;
pub use source::Source;

/// Key and value of one record, borrowed from the line where that is possible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsedRecord<'line> {
    /// The key's bytes.
    pub key: Cow<'line, [u8]>,
    /// The value's bytes.
    pub value: Cow<'line, [u8]>,
}

/// A parser for formats in which a record is a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LineParser {
    /// Columns between separators.
    Tsv(tsv::TsvParser),
    /// One JSON object a line.
    JsonLines(json_lines::JsonLinesParser),
}

impl LineParser {
    /// Parses one line, given without its line end. A carriage return at its end is not part of it. `None` for a line
    /// that holds nothing but white space; a separator is not white space, and columns may be empty.
    ///
    /// # Errors
    /// What is wrong with the line; the caller adds where it is.
    pub fn parse_line<'line>(&self, line: &'line [u8]) -> Result<Option<ParsedRecord<'line>>, LineError> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let separator = match self {
            LineParser::Tsv(parser) => Some(parser.separator),
            LineParser::JsonLines(_) => None,
        };
        if line.iter().all(|byte| byte.is_ascii_whitespace() && Some(*byte) != separator) {
            return Ok(None);
        }
        match self {
            LineParser::Tsv(parser) => parser.parse_line(line).map(Some),
            LineParser::JsonLines(parser) => parser.parse_line(line).map(Some),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{LineParser, json_lines::JsonLinesParser, tsv::TsvParser};

    #[test]
    fn blank_lines_are_no_records_and_carriage_returns_no_content() {
        let parser = LineParser::Tsv(TsvParser { separator: b'\t', key: 0, value: None });
        assert_eq!(parser.parse_line(b""), Ok(None));
        assert_eq!(parser.parse_line(b"  \r"), Ok(None));
        let record = parser.parse_line(b"k\tv\r").unwrap().unwrap();
        assert_eq!((&*record.key, &*record.value), (&b"k"[..], &b"v"[..]));
    }

    #[test]
    fn a_line_of_separators_is_a_record_of_empty_columns() {
        for separator in [b'\t', b' ', b';'] {
            let parser = LineParser::Tsv(TsvParser { separator, key: 0, value: Some(1) });
            let line = [separator; 3];
            let record = parser.parse_line(&line).unwrap().unwrap();
            assert_eq!((&*record.key, &*record.value), (&b""[..], &b""[..]));
            assert_eq!(parser.parse_line(b"\r"), Ok(None));
        }
        let parser = LineParser::JsonLines(JsonLinesParser { key: "id".to_owned(), value: None });
        assert_eq!(parser.parse_line(b" \t "), Ok(None));
    }
}
