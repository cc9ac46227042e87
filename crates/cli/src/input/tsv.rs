//! Lines of columns between separators, without quoting: tab-separated values and their relatives.
//!
//! Columns are bytes: nothing has to be UTF-8. The key is one column; the value is another one, or, by default, all of
//! the line but the key column.

use std::borrow::Cow;

use super::{LineError, ParsedRecord};

/// How to take a line apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TsvParser {
    /// The byte between columns.
    pub separator: u8,
    /// The key's column, from 0.
    pub key: usize,
    /// The value's column, from 0; `None` for all but the key's.
    pub value: Option<usize>,
}

impl TsvParser {
    /// Takes a line apart.
    ///
    /// # Errors
    /// [`LineError::NoColumn`] when a wanted column is not there.
    pub fn parse_line<'line>(&self, line: &'line [u8]) -> Result<ParsedRecord<'line>, LineError> {
        let key = self.column(line, self.key)?;
        let value = match self.value {
            Some(column) => Cow::Borrowed(self.column(line, column)?.bytes),
            None => self.all_but(line, &key),
        };
        Ok(ParsedRecord { key: Cow::Borrowed(key.bytes), value })
    }

    fn column<'line>(&self, line: &'line [u8], wanted: usize) -> Result<Column<'line>, LineError> {
        let mut start = 0;
        let mut rest = line;
        let mut index = 0;
        loop {
            let end = memchr::memchr(self.separator, rest).unwrap_or(rest.len());
            let (bytes, behind) = rest.split_at(end);
            if index == wanted {
                return Ok(Column { start, bytes });
            }
            index += 1;
            // Without a separator behind it this was the last column.
            let Some((_, next)) = behind.split_first() else {
                return Err(LineError::NoColumn { wanted: wanted + 1, found: index });
            };
            start += end + 1;
            rest = next;
        }
    }

    /// The line without the key's column and one of the separators beside it.
    fn all_but<'line>(&self, line: &'line [u8], key: &Column<'line>) -> Cow<'line, [u8]> {
        let (before, from_key) = line.split_at(key.start);
        let (_, behind) = from_key.split_at(key.bytes.len());
        if before.is_empty() {
            return Cow::Borrowed(behind.split_first().map_or(behind, |(_, columns)| columns));
        }
        if behind.is_empty() {
            return Cow::Borrowed(before.strip_suffix(&[self.separator]).unwrap_or(before));
        }
        // `before` ends with a separator and `behind` starts with one: the key's own goes.
        let mut joined = before.strip_suffix(&[self.separator]).unwrap_or(before).to_vec();
        joined.extend_from_slice(behind);
        Cow::Owned(joined)
    }
}

struct Column<'line> {
    start: usize,
    bytes: &'line [u8],
}

/// The columns of a header line, for looking up names.
pub fn columns(line: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    line.strip_suffix(b"\r").unwrap_or(line).split(move |byte| *byte == separator)
}

#[cfg(test)]
mod tests {
    use super::{LineError, TsvParser};

    fn parse(key: usize, value: Option<usize>, line: &str) -> Result<(String, String), LineError> {
        let parser = TsvParser { separator: b'\t', key, value };
        parser.parse_line(line.as_bytes()).map(|record| {
            (
                String::from_utf8(record.key.into_owned()).unwrap(),
                String::from_utf8(record.value.into_owned()).unwrap(),
            )
        })
    }

    fn pair(key: &str, value: &str) -> Result<(String, String), LineError> {
        Ok((key.to_owned(), value.to_owned()))
    }

    #[test]
    fn the_value_is_the_rest_of_the_line() {
        assert_eq!(parse(0, None, "k\ta\tb"), pair("k", "a\tb"));
        assert_eq!(parse(0, None, "k"), pair("k", ""));
        assert_eq!(parse(0, None, "k\t"), pair("k", ""));
        assert_eq!(parse(0, None, "\tv"), pair("", "v"));
        assert_eq!(parse(1, None, "a\tk\tb"), pair("k", "a\tb"));
        assert_eq!(parse(2, None, "a\tb\tk"), pair("k", "a\tb"));
        assert_eq!(parse(1, None, "\tk\t"), pair("k", "\t"));
        assert_eq!(parse(1, None, "\tk"), pair("k", ""));
    }

    #[test]
    fn the_value_is_a_column() {
        assert_eq!(parse(2, Some(0), "a\tb\tc"), pair("c", "a"));
        assert_eq!(parse(0, Some(0), "a\tb\tc"), pair("a", "a"));
        assert_eq!(parse(0, Some(2), "a\tb\t"), pair("a", ""));
    }

    #[test]
    fn a_missing_column_says_how_many_there_are() {
        assert_eq!(parse(2, None, "a\tb"), Err(LineError::NoColumn { wanted: 3, found: 2 }));
        assert_eq!(parse(0, Some(1), "a"), Err(LineError::NoColumn { wanted: 2, found: 1 }));
    }

    #[test]
    fn bytes_need_not_be_utf8() {
        let parser = TsvParser { separator: b'|', key: 0, value: None };
        let record = parser.parse_line(b"\xff\xfe|\x00\x80").unwrap();
        assert_eq!((&*record.key, &*record.value), (&b"\xff\xfe"[..], &b"\x00\x80"[..]));
    }
}
