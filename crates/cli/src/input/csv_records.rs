//! CSV: quoted fields may hold separators and line ends, so a file is read by one reader from front to back.
//!
//! All records of a file must have the same number of fields; the key is one of them. The value is another field as it
//! is (quotes removed), or, by default, the other fields written as one CSV line again.
//!
//! A quote that is never closed would make the rest of the file one field, which the `csv` crate hands out as a record like any
//! other. So the stream is watched ([`RecordStream`]): a record may take only so many bytes, and it must end before the stream does.

use std::io::Read;
use std::ops::ControlFlow;

use csv::{ByteRecord, ReaderBuilder};

use super::LineError;
use super::format::ColumnName;
use super::record_stream::RecordStream;

/// How to read a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CsvOptions {
    /// The byte between fields.
    pub separator: u8,
    /// Whether the first record names the columns.
    pub header: bool,
    /// The key's column.
    pub key: ColumnName,
    /// The value's column; `None` for all but the key's.
    pub value: Option<ColumnName>,
    /// The most bytes that a record may take in the file.
    pub record_bytes_max: usize,
}

/// Why reading stopped before the end.
#[derive(Debug, thiserror::Error)]
pub enum CsvError {
    /// The stream failed.
    #[error(transparent)]
    Io(std::io::Error),
    /// A record is malformed.
    #[error("line {line}: {error}")]
    Malformed {
        /// The line in which the record starts, from 1.
        line: u64,
        /// What is wrong with it.
        error: LineError,
    },
}

/// Reads a whole file; `on_record` gets the line in which each record starts, its key and its value, and may end the
/// reading early.
///
/// # Errors
/// When the stream fails or a record is malformed. All records before it were handed out.
pub fn read_records(
    stream: impl Read,
    options: &CsvOptions,
    mut on_record: impl FnMut(u64, &[u8], &[u8]) -> ControlFlow<()>,
) -> Result<(), CsvError> {
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .delimiter(options.separator)
        .buffer_capacity(1 << 17)
        .from_reader(RecordStream::new(stream, options.record_bytes_max));
    let mut record = ByteRecord::new();
    let mut columns = None;
    let mut encoder = LineEncoder::new(options.separator);
    loop {
        let start = reader.position().clone();
        reader.get_mut().begin_record(start.byte());
        let read = reader.read_byte_record(&mut record);
        // What is wrong with the stream explains what seems to be wrong with the record.
        if let Some(error) = reader.get_ref().refused(!matches!(read, Ok(false))) {
            return Err(CsvError::Malformed { line: start.line(), error });
        }
        let more = read.map_err(|error| refusal(start.line(), error))?;
        if !more {
            return Ok(());
        }
        let line = record.position().map_or(start.line(), csv::Position::line);
        let malformed = |error| CsvError::Malformed { line, error };
        if columns.is_none() {
            columns = Some(Columns::find(options, &record).map_err(malformed)?);
            if options.header {
                continue;
            }
        }
        let Some(columns) = &columns else { continue };
        let key = field(&record, columns.key).map_err(malformed)?;
        let value = match columns.value {
            Some(column) => field(&record, column).map_err(malformed)?,
            None => encoder.all_but(&record, columns.key).map_err(CsvError::Io)?,
        };
        if on_record(line, key, value).is_break() {
            return Ok(());
        }
    }
}

/// Column positions from 0.
struct Columns {
    key: usize,
    value: Option<usize>,
}

impl Columns {
    fn find(options: &CsvOptions, first: &ByteRecord) -> Result<Self, LineError> {
        let names = || first.iter();
        let key = options.key.position(options.header, names)?;
        let value = options.value.as_ref().map(|value| value.position(options.header, names)).transpose()?;
        Ok(Self { key, value })
    }
}

fn field(record: &ByteRecord, column: usize) -> Result<&[u8], LineError> {
    record.get(column).ok_or(LineError::NoColumn { wanted: column + 1, found: record.len() })
}

fn refusal(line_before: u64, error: csv::Error) -> CsvError {
    let line = error.position().map_or(line_before, csv::Position::line);
    match error.into_kind() {
        csv::ErrorKind::Io(error) => CsvError::Io(error),
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => CsvError::Malformed {
            line,
            error: LineError::NotCsv(format!("{len} fields, but the first record has {expected_len}")),
        },
        kind => CsvError::Malformed { line, error: LineError::NotCsv(format!("{kind:?}")) },
    }
}

/// Writes fields as a CSV line, in memory that is used again and again.
struct LineEncoder {
    separator: u8,
    line: Vec<u8>,
}

impl LineEncoder {
    fn new(separator: u8) -> Self {
        Self { separator, line: Vec::new() }
    }

    /// All fields but `left_out`, quoted where needed, without a line end.
    fn all_but(&mut self, record: &ByteRecord, left_out: usize) -> std::io::Result<&[u8]> {
        self.line.clear();
        let mut writer = csv::WriterBuilder::new()
            .delimiter(self.separator)
            .buffer_capacity(1 << 10)
            .from_writer(&mut self.line);
        let others = record.iter().enumerate().filter(|(column, _)| *column != left_out);
        writer.write_record(others.map(|(_, field)| field)).map_err(std::io::Error::other)?;
        writer.flush()?;
        drop(writer);
        Ok(self.line.strip_suffix(b"\n").unwrap_or(&self.line))
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use super::{CsvError, CsvOptions, read_records};
    use crate::input::format::ColumnName;

    fn read(
        header: bool,
        key: &str,
        value: Option<&str>,
        text: &str,
    ) -> (Vec<(u64, String, String)>, Option<String>) {
        let column = |name: &str| name.parse::<ColumnName>().unwrap();
        let options = CsvOptions {
            separator: b',',
            header,
            key: column(key),
            value: value.map(column),
            record_bytes_max: 1000,
        };
        let mut found = Vec::new();
        let result = read_records(text.as_bytes(), &options, |line, key, value| {
            found.push((
                line,
                String::from_utf8(key.to_vec()).unwrap(),
                String::from_utf8(value.to_vec()).unwrap(),
            ));
            ControlFlow::Continue(())
        });
        (found, result.err().map(|error| error.to_string()))
    }

    fn record(line: u64, key: &str, value: &str) -> (u64, String, String) {
        (line, key.to_owned(), value.to_owned())
    }

    #[test]
    fn quotes_hide_separators_and_line_ends() {
        let text = "id,text\n1,\"a, b\"\n2,\"two\nlines\"\n3,\"say \"\"hi\"\"\"\n";
        let (found, error) = read(true, "id", Some("text"), text);
        assert_eq!(error, None);
        assert_eq!(
            found,
            [record(2, "1", "a, b"), record(3, "2", "two\nlines"), record(5, "3", "say \"hi\"")]
        );
    }

    #[test]
    fn the_value_is_the_other_fields_as_a_line() {
        let (found, error) = read(false, "2", None, "a,k,\"x,y\"\n,k2,\n");
        assert_eq!(error, None);
        assert_eq!(found, [record(1, "k", "a,\"x,y\""), record(2, "k2", ",")]);
    }

    #[test]
    fn a_malformed_record_names_its_line_and_what_came_before_is_handed_out() {
        let (found, error) = read(true, "id", None, "id,v\n1,\"x\ny\"\n2\n3,z\n");
        assert_eq!(found, [record(2, "1", "\"x\ny\"")]);
        assert_eq!(error.as_deref(), Some("line 4: not valid CSV: 1 fields, but the first record has 2"));
    }

    #[test]
    fn a_quote_that_is_never_closed_is_told_and_hides_nothing() {
        let never =
            |line: u64| Some(format!("line {line}: a quote that opens in this record is never closed"));
        let (found, error) = read(true, "id", Some("v"), "id,v\n1,a\n3,\"oops\n4,x\n5,y\n");
        assert_eq!((found, error), (vec![record(2, "1", "a")], never(3)));
        for (text, line) in [("1,\"x", 1), ("1,a\n\"2,b\n3,c\n", 2), ("\"", 1), ("1,\"a\"\"\n2,b", 1)] {
            assert_eq!(read(false, "1", None, text).1, never(line), "{text}");
        }
        for text in
            ["", "\n", "1,a", "1,a\r", "1,a\r\n", "1,\"a\"", "1,\"\"", "1,\"a\"\"\"\n\n", "1,a\"b", "1,"]
        {
            assert_eq!(read(false, "1", None, text).1, None, "{text}");
        }
    }

    #[test]
    fn a_record_without_end_takes_no_more_memory_than_allowed() {
        let text = format!("id,v\n1,a\n\"2,{}", "x\n".repeat(10_000_000));
        let mut rest = text.as_bytes();
        let column = |name: &str| name.parse::<ColumnName>().unwrap();
        let options = CsvOptions {
            separator: b',',
            header: true,
            key: column("id"),
            value: None,
            record_bytes_max: 1000,
        };
        let result = read_records(&mut rest, &options, |_, _, _| ControlFlow::Continue(()));
        let text = result.unwrap_err().to_string();
        assert!(text.starts_with("line 3: the record does not end within 1000 bytes"), "{text}");
        assert!(rest.len() > 19_000_000, "{} bytes were left unread", rest.len());
    }

    #[test]
    fn blank_lines_are_not_part_of_a_record() {
        let text = format!("1,a\n{}2,b\n", "\r\n\n".repeat(200_000));
        let (found, error) = read(false, "1", None, &text);
        assert_eq!((found.len(), error), (2, None));
    }

    #[test]
    fn unknown_columns_are_refused() {
        let (_, error) = read(true, "key", None, "id,v\n1,2\n");
        assert_eq!(error.as_deref(), Some("line 1: there is no field 'key'"));
        let (_, error) = read(false, "3", None, "1,2\n");
        assert_eq!(error.as_deref(), Some("line 1: column 3 is wanted, but there are 2"));
    }

    #[test]
    fn reading_can_end_early() {
        let column = |name: &str| name.parse::<ColumnName>().unwrap();
        let options = CsvOptions {
            separator: b',',
            header: false,
            key: column("1"),
            value: None,
            record_bytes_max: 1000,
        };
        let mut count = 0;
        read_records(&b"a\nb\nc\n"[..], &options, |_, _, _| {
            count += 1;
            ControlFlow::Break(())
        })
        .unwrap();
        assert_eq!(count, 1);
    }

    #[test]
    fn a_failing_stream_is_not_a_malformed_line() {
        struct Failing;
        impl std::io::Read for Failing {
            fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
                Err(std::io::Error::other("the cable is out"))
            }
        }
        let column = |name: &str| name.parse::<ColumnName>().unwrap();
        let options = CsvOptions {
            separator: b',',
            header: false,
            key: column("1"),
            value: None,
            record_bytes_max: 1000,
        };
        let result = read_records(Failing, &options, |_, _, _| ControlFlow::Continue(()));
        assert!(matches!(result, Err(CsvError::Io(_))), "{result:?}");
    }
}
