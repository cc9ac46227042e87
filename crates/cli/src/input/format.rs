//! Which format a file has, and how columns are named.

use std::path::Path;
use std::str::FromStr;

use super::LineError;

/// The formats that `load` reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Columns between tabs (or another separator), one record a line, no quoting.
    Tsv,
    /// Comma-separated values with quoting.
    Csv,
    /// One JSON object a line.
    Jsonl,
}

impl Format {
    /// The format that a file's name tells.
    #[must_use]
    pub fn of_path(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "tsv" | "tab" => Some(Format::Tsv),
            "csv" => Some(Format::Csv),
            "jsonl" | "ndjson" | "json" => Some(Format::Jsonl),
            _ => None,
        }
    }
}

/// A column as the user names it: by its number from 1, or by its name in the header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ColumnName {
    /// The number, from 1.
    Number(usize),
    /// The name in the header (for JSON: the field).
    Name(String),
}

impl FromStr for ColumnName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse::<usize>() {
            Ok(0) => Err("columns are numbered from 1".to_owned()),
            Ok(number) => Ok(ColumnName::Number(number)),
            Err(_) if text.is_empty() => Err("a column has a number or a name".to_owned()),
            Err(_) => Ok(ColumnName::Name(text.to_owned())),
        }
    }
}

impl ColumnName {
    /// As it was written: JSON fields may be called `1`.
    #[must_use]
    pub fn as_field(&self) -> String {
        match self {
            ColumnName::Number(number) => number.to_string(),
            ColumnName::Name(name) => name.clone(),
        }
    }

    /// Position from 0 among the columns of the first record. With a header a name is looked up first, so that a
    /// column may be called `1`.
    ///
    /// # Errors
    /// When there is no such column.
    pub fn position<'names, I: Iterator<Item = &'names [u8]>>(
        &self,
        header: bool,
        names: impl Fn() -> I,
    ) -> Result<usize, LineError> {
        let text = self.as_field();
        let by_name = || names().position(|name| name == text.as_bytes());
        let found = names().count();
        match self {
            _ if header && by_name().is_some() => by_name().ok_or(LineError::NoField(text)),
            ColumnName::Number(number) if *number <= found => Ok(number - 1),
            ColumnName::Number(number) => Err(LineError::NoColumn { wanted: *number, found }),
            ColumnName::Name(name) => Err(LineError::NoField(name.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{ColumnName, Format, LineError};

    #[test]
    fn names_tell_formats() {
        for (name, format) in [
            ("a.tsv", Some(Format::Tsv)),
            ("dir/a.CSV", Some(Format::Csv)),
            ("a.jsonl", Some(Format::Jsonl)),
            ("a.ndjson", Some(Format::Jsonl)),
            ("a.txt", None),
            ("tsv", None),
        ] {
            assert_eq!(Format::of_path(Path::new(name)), format, "{name}");
        }
    }

    #[test]
    fn columns_are_found_by_name_and_number() {
        let names = || [&b"id"[..], b"1", b"name"].into_iter();
        let column = |text: &str| text.parse::<ColumnName>().unwrap();
        assert_eq!(column("name").position(true, names), Ok(2));
        assert_eq!(column("1").position(true, names), Ok(1));
        assert_eq!(column("1").position(false, names), Ok(0));
        assert_eq!(column("3").position(true, names), Ok(2));
        assert_eq!(column("4").position(true, names), Err(LineError::NoColumn { wanted: 4, found: 3 }));
        assert_eq!(column("x").position(true, names), Err(LineError::NoField("x".to_owned())));
        assert!("0".parse::<ColumnName>().is_err());
        assert!("".parse::<ColumnName>().is_err());
    }
}
