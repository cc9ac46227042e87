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
    /// Nanoseconds, with fractions.
    Nanoseconds(f64),
    /// A name.
    Text(String),
    /// Yes or no.
    Flag(bool),
}

impl Figure {
    fn to_json(&self) -> Value {
        match self {
            Figure::Count(number) | Figure::Bytes(number) => Value::from(*number),
            Figure::MaybeBytes(number) => Value::from(*number),
            Figure::Time(time) => Value::from(time.as_secs_f64()),
            Figure::Rate { count, time } => Value::from(per_second(*count, *time)),
            Figure::Nanoseconds(time) => Value::from(*time),
            Figure::Text(text) => Value::from(text.as_str()),
            Figure::Flag(flag) => Value::from(*flag),
        }
    }

    fn to_text(&self) -> String {
        match self {
            Figure::Count(number) => Grouped(*number).to_string(),
            Figure::Bytes(bytes) | Figure::MaybeBytes(Some(bytes)) => ByteSize(*bytes).to_string(),
            Figure::MaybeBytes(None) => "unknown".to_owned(),
            Figure::Time(time) => format!("{:.2} s", time.as_secs_f64()),
            Figure::Rate { count, time } => format!("{}/s", Grouped(whole(per_second(*count, *time)))),
            Figure::Nanoseconds(time) => format!("{time:.1} ns"),
            Figure::Text(text) => text.clone(),
            Figure::Flag(flag) => if *flag { "yes" } else { "no" }.to_owned(),
        }
    }

    /// Numbers stand right, so that their digits line up.
    fn is_number(&self) -> bool {
        !matches!(self, Figure::Text(_) | Figure::Flag(_))
    }
}

/// So many in a time, each second; 0 when there was no time.
#[must_use]
pub fn per_second(count: u64, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { count as f64 / time.as_secs_f64() }
}

/// The whole number nearest to a number that is not negative.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "it saturates, and figures are far below 2^64")]
pub fn whole(number: f64) -> u64 {
    number.round() as u64
}

/// A time as people write it, with three digits.
#[must_use]
pub fn time_text(nanoseconds: u64) -> String {
    const UNITS: [(&str, f64); 3] = [("s", 1e9), ("ms", 1e6), ("us", 1e3)];
    let time = nanoseconds as f64;
    for (unit, divisor) in UNITS {
        // Just below the unit, three digits would round up to it.
        if time >= divisor * 0.9995 {
            let value = time / divisor;
            let digits = if value >= 99.95 {
                0
            } else if value >= 9.995 {
                1
            } else {
                2
            };
            return format!("{value:.digits$} {unit}");
        }
    }
    format!("{nanoseconds} ns")
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

    use super::{Figure, Report, per_second, time_text, whole};

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
    fn times_have_three_digits_and_rates_no_division_by_zero() {
        let cases = [
            (0, "0 ns"),
            (999, "999 ns"),
            (1000, "1.00 us"),
            (12_345, "12.3 us"),
            (999_400, "999 us"),
            (999_999, "1.00 ms"),
            (99_960_000, "100 ms"),
            (3_600_000_000_000, "3600 s"),
        ];
        for (nanoseconds, text) in cases {
            assert_eq!(time_text(nanoseconds), text);
        }
        assert_eq!(
            (whole(per_second(10, Duration::ZERO)), whole(per_second(3, Duration::from_secs(2)))),
            (0, 2)
        );
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
