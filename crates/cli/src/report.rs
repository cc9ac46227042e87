//! Reports: one set of figures, as an aligned table for people or as one JSON object for programs.
//!
//! Callers: the commands. A figure's JSON key says its unit (`log_bytes`, `seconds`); the table writes the unit beside the
//! number. A figure that could not be measured is `null` in JSON and "unknown" in the table: never a made-up zero.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::byte_size::{ByteSize, Grouped};

/// A number or a word, with its unit.
#[derive(Clone, Debug, PartialEq)]
pub enum Figure {
    /// How many.
    Count(u64),
    /// Bytes.
    Bytes(u64),
    /// Bytes, where they can be measured.
    MaybeBytes(Option<u64>),
    /// Seconds.
    Time(Duration),
    /// So many in a time, each second.
    Rate {
        /// How many.
        count: u64,
        /// In what time.
        time: Duration,
    },
    /// A name.
    Text(String),
    /// Yes or no.
    Flag(bool),
}

impl Figure {
    #[expect(clippy::cast_precision_loss, reason = "rates are for people: a rounded rate is right")]
    fn rate(count: u64, time: Duration) -> f64 {
        if time.is_zero() { 0.0 } else { count as f64 / time.as_secs_f64() }
    }

    fn to_json(&self) -> Value {
        match self {
            Figure::Count(number) | Figure::Bytes(number) => Value::from(*number),
            Figure::MaybeBytes(number) => Value::from(*number),
            Figure::Time(time) => Value::from(time.as_secs_f64()),
            Figure::Rate { count, time } => Value::from(Self::rate(*count, *time)),
            Figure::Text(text) => Value::from(text.as_str()),
            Figure::Flag(flag) => Value::from(*flag),
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate is positive and far below 2^64; the fraction is dropped on purpose"
    )]
    fn to_text(&self) -> String {
        match self {
            Figure::Count(number) => Grouped(*number).to_string(),
            Figure::Bytes(bytes) | Figure::MaybeBytes(Some(bytes)) => ByteSize(*bytes).to_string(),
            Figure::MaybeBytes(None) => "unknown".to_owned(),
            Figure::Time(time) => format!("{:.2} s", time.as_secs_f64()),
            Figure::Rate { count, time } => {
                format!("{}/s", Grouped(Self::rate(*count, *time).round() as u64))
            }
            Figure::Text(text) => text.clone(),
            Figure::Flag(flag) => if *flag { "yes" } else { "no" }.to_owned(),
        }
    }

    /// Numbers stand right, so that their digits line up.
    fn is_number(&self) -> bool {
        !matches!(self, Figure::Text(_) | Figure::Flag(_))
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Row {
    Figure { label: &'static str, key: &'static str, figure: Figure },
    Section { label: &'static str, key: &'static str },
}

/// Figures in order, in sections.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    rows: Vec<Row>,
}

impl Report {
    /// Adds a figure to the section begun last: what people read, what programs read, and the figure.
    pub fn add(&mut self, label: &'static str, key: &'static str, figure: Figure) -> &mut Self {
        self.rows.push(Row::Figure { label, key, figure });
        self
    }

    /// Begins a section: a headline for people, an object for programs.
    pub fn section(&mut self, label: &'static str, key: &'static str) -> &mut Self {
        self.rows.push(Row::Section { label, key });
        self
    }

    /// The JSON object; figures in front of the first section are at its top.
    #[must_use]
    pub fn to_json(&self) -> Map<String, Value> {
        let mut top = Map::new();
        let mut inside: Option<(&'static str, Map<String, Value>)> = None;
        for row in &self.rows {
            match row {
                Row::Figure { key, figure, .. } => {
                    let object = inside.as_mut().map_or(&mut top, |(_, object)| object);
                    object.insert((*key).to_owned(), figure.to_json());
                }
                Row::Section { key, .. } => {
                    if let Some((name, object)) = inside.replace((key, Map::new())) {
                        top.insert(name.to_owned(), Value::Object(object));
                    }
                }
            }
        }
        if let Some((name, object)) = inside {
            top.insert(name.to_owned(), Value::Object(object));
        }
        top
    }

    /// The table.
    #[must_use]
    pub fn to_text(&self) -> String {
        let figures = || {
            self.rows.iter().filter_map(|row| match row {
                Row::Figure { label, figure, .. } => Some((label, figure)),
                Row::Section { .. } => None,
            })
        };
        let label_width = figures().map(|(label, _)| label.chars().count()).max().unwrap_or(0);
        let numbers = figures().filter(|(_, figure)| figure.is_number());
        let number_width = numbers.map(|(_, figure)| figure.to_text().chars().count()).max().unwrap_or(0);
        let mut text = String::new();
        for row in &self.rows {
            let written = match row {
                Row::Section { label, .. } => writeln!(text, "\n{label}"),
                Row::Figure { label, figure, .. } if figure.is_number() => {
                    writeln!(text, "  {label:<label_width$}  {:>number_width$}", figure.to_text())
                }
                Row::Figure { label, figure, .. } => {
                    writeln!(text, "  {label:<label_width$}  {}", figure.to_text())
                }
            };
            debug_assert!(written.is_ok(), "writing to a String can't fail");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Figure, Report};

    fn sample() -> Report {
        let mut report = Report::default();
        report
            .add("records", "records", Figure::Count(1_234_567))
            .add("rate", "records_per_second", Figure::Rate { count: 10, time: Duration::from_millis(2500) })
            .section("Store", "store")
            .add("folder", "folder", Figure::Text("a/b".to_owned()))
            .add("peak memory", "peak_memory_bytes", Figure::MaybeBytes(None))
            .section("Device", "device")
            .add("disk", "disk_bytes", Figure::Bytes(2048));
        report
    }

    #[test]
    fn tables_are_aligned() {
        let expected = "  records      1,234,567\n  rate               4/s\n\nStore\n  folder       a/b\n  peak memory    \
                        unknown\n\nDevice\n  disk           2.0 KiB\n";
        assert_eq!(sample().to_text(), expected);
    }

    #[test]
    fn objects_are_nested() {
        let json = serde_json::to_string(&sample().to_json()).unwrap();
        let expected = r#"{"records":1234567,"records_per_second":4.0,"store":{"folder":"a/b","peak_memory_bytes":null},"device":{"disk_bytes":2048}}"#;
        assert_eq!(json, expected);
    }
}
