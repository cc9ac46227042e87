//! Lines of any bytes are taken apart without a panic: columns are those of the line, the rest of the line loses exactly
//! the key, and the words before a chunk are the last words of the text.
//!
//! Input: one byte that chooses a separator, one that chooses the key's column, then the text.

use std::ops::ControlFlow;

use oxifaster_cli::input::LineParser;
use oxifaster_cli::input::csv_records::{CsvOptions, read_records};
use oxifaster_cli::input::format::ColumnName;
use oxifaster_cli::input::json_lines::JsonLinesParser;
use oxifaster_cli::input::tsv::{TsvParser, columns};
use oxifaster_cli::input::words::{for_each_word, tail_words};

/// Takes a text apart in every way.
pub fn run(bytes: &[u8]) {
    let [choice, column, text @ ..] = bytes else { return };
    let separator = [b'\t', b',', b';', b'|'][usize::from(choice % 4)];
    let key = usize::from(column % 4);
    for line in text.split(|&byte| byte == b'\n') {
        tsv(line, separator, key);
        json(line);
    }
    csv(text, separator, key);
    words(text, usize::from(column % 5));
}

fn tsv(line: &[u8], separator: u8, key: usize) {
    let whole = LineParser::Tsv(TsvParser { separator, key, value: None });
    let Ok(Some(record)) = whole.parse_line(line) else { return };
    // `columns` takes the line with its carriage return, of which it drops one.
    assert_eq!(columns(line, separator).nth(key), Some(&*record.key));
    let content = line.strip_suffix(b"\r").unwrap_or(line);
    let between = usize::from(content.contains(&separator));
    assert_eq!(record.key.len() + between + record.value.len(), content.len());

    let value = key / 2;
    let picked = LineParser::Tsv(TsvParser { separator, key, value: Some(value) });
    let record = picked.parse_line(line).expect("the key's column is there").expect("the line is not empty");
    assert_eq!(columns(line, separator).nth(value), Some(&*record.value));
}

fn json(line: &[u8]) {
    let parser = |value: Option<&str>| {
        LineParser::JsonLines(JsonLinesParser { key: "k".into(), value: value.map(str::to_owned) })
    };
    if let Ok(Some(record)) = parser(None).parse_line(line) {
        assert_eq!(&*record.value, line.strip_suffix(b"\r").unwrap_or(line));
        assert!(std::str::from_utf8(&record.key).is_ok(), "JSON is text");
    }
    if let Ok(Some(record)) = parser(Some("v")).parse_line(line) {
        assert!(std::str::from_utf8(&record.value).is_ok(), "JSON is text");
    }
}

fn csv(text: &[u8], separator: u8, key: usize) {
    let options = CsvOptions {
        separator,
        header: false,
        key: ColumnName::Number(key + 1),
        value: None,
        record_bytes_max: 1 << 16,
    };
    let mut last = 0;
    // An error is a fine answer to such a text.
    let _ = read_records(text, &options, |line, key, _| {
        // A carriage return alone ends a record, but no line.
        assert!(line >= last, "a record starts on line {line}, the one before it on {last}");
        assert!(key.len() <= text.len());
        last = line;
        ControlFlow::Continue(())
    });
}

fn words(text: &[u8], count: usize) {
    let mut all = Vec::new();
    for_each_word(text, |word| all.push(word.to_owned()));
    assert!(all.iter().all(|word| !word.is_empty() && word.chars().all(char::is_alphanumeric)));
    let last = all.len().saturating_sub(count);
    assert_eq!(tail_words(&[], text, count), all[last..]);
}
