//! What can be wrong with one line of input. The pipeline adds the file and the line number.

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LineError {
    /// The line has fewer columns than the one that is wanted.
    #[error("column {wanted} is wanted, but there are {found}")]
    NoColumn {
        /// The column that is wanted, from 1.
        wanted: usize,
        /// How many columns there are.
        found: usize,
    },
    /// The line is not valid JSON.
    #[error("not valid JSON: {0}")]
    NotJson(String),
    /// The line is valid JSON, but not an object.
    #[error("not a JSON object")]
    NotAnObject,
    /// The object has no such field.
    #[error("there is no field '{0}'")]
    NoField(String),
    /// The field is there, but is no string, number or truth value.
    #[error("field '{0}' is neither a string, a number nor a truth value")]
    FieldNotScalar(String),
    /// The CSV reader refused the record.
    #[error("not valid CSV: {0}")]
    NotCsv(String),
    /// Key and value together are larger than the store takes.
    #[error(
        "key and value are {found_bytes} bytes together, but the largest record has {limit_bytes}; more --memory \
         makes pages, and so records, larger"
    )]
    RecordTooLarge {
        /// Key and value together.
        found_bytes: usize,
        /// The largest sum that fits.
        limit_bytes: usize,
    },
    /// A quote of a CSV record is open at the end of the file.
    #[error("a quote that opens in this record is never closed")]
    QuoteNeverClosed,
    /// A CSV record does not end within the largest length.
    #[error("the record does not end within {limit_bytes} bytes; a quote may be open")]
    RecordTooLong {
        /// The largest length.
        limit_bytes: usize,
    },
    /// The line does not end within the largest length.
    #[error("the line is longer than {limit_bytes} bytes")]
    LineTooLong {
        /// The largest length.
        limit_bytes: usize,
    },
}
