//! The pipeline with sinks in memory: order, exact prefixes, failures.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use oxifaster_device::sync::{Arc, Mutex};

use super::{InputOptions, LoadOutcome, PipelineSize, RecordSink, load, plan};
use crate::failure::{Failure, FailureKind};
use crate::input::RecordBatch;
use crate::input::format::ColumnName;
use crate::interrupt::Interrupt;

type Content = BTreeMap<String, String>;

/// A sink that fails on request and never sees a key of another shard.
#[derive(Clone)]
struct MapSink {
    content: Arc<Mutex<BTreeMap<String, (usize, String)>>>,
    shard: usize,
    fails_at: Option<String>,
}

impl RecordSink for MapSink {
    fn upsert_batch(&mut self, batch: &RecordBatch) -> Result<(), Failure> {
        for (key, value) in batch.iter() {
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            if self.fails_at.as_deref() == Some(&text(key)) {
                return Err(Failure::other("the device is full"));
            }
            let before = self.content.lock().insert(text(key), (self.shard, text(value)));
            assert!(before.is_none_or(|(shard, _)| shard == self.shard), "a key moved to another shard");
        }
        Ok(())
    }
}

const SIZE: PipelineSize = PipelineSize { parsers: 3, chunk_bytes: 64, in_flight: 4, record_bytes_max: 200 };

fn run(files: &[PathBuf], options: InputOptions, fails_at: Option<&str>) -> (LoadOutcome, Content) {
    let content = Arc::default();
    let sinks = (0..3)
        .map(|shard| MapSink { content: Arc::clone(&content), shard, fails_at: fails_at.map(str::to_owned) })
        .collect();
    let plan = plan(files, options).unwrap();
    let outcome = load(plan, SIZE, sinks, &Interrupt::default(), |_| {}).unwrap();
    let stored = content.lock().iter().map(|(key, (_, value))| (key.clone(), value.clone())).collect();
    (outcome, stored)
}

fn file(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
    path
}

#[test]
fn of_several_lines_with_one_key_the_last_wins() {
    let folder = tempfile::tempdir().unwrap();
    let lines: String = (0..5000).map(|line| format!("key{}\tvalue {line}\n", line % 7)).collect();
    let first = file(folder.path(), "a.tsv", &lines);
    let second = file(folder.path(), "b.tsv", "key3\tfrom the second file");
    let (outcome, stored) = run(&[first, second], InputOptions::default(), None);
    assert_eq!(outcome.failure, None);
    assert_eq!(outcome.records, 5001);
    assert_eq!(outcome.bytes, lines.len() as u64 + 25);
    let expected: Content = (0..7)
        .map(|key| {
            let last = (0..5000).rev().find(|line| line % 7 == key).unwrap();
            let value = if key == 3 { "from the second file".to_owned() } else { format!("value {last}") };
            (format!("key{key}"), value)
        })
        .collect();
    assert_eq!(stored, expected);
}

#[test]
fn a_malformed_line_ends_the_load_at_exactly_that_line() {
    let folder = tempfile::tempdir().unwrap();
    for bad_line in [1, 2, 57, 500] {
        let lines: String = (1..=500)
            .map(
                |line| {
                    if line == bad_line { "{\"id\":}\n".to_owned() } else { format!("{{\"id\":{line}}}\n") }
                },
            )
            .collect();
        let path = file(folder.path(), "a.jsonl", &lines);
        let options = InputOptions { key: Some(ColumnName::Name("id".into())), ..InputOptions::default() };
        let (outcome, stored) = run(&[path], options, None);
        let failure = outcome.failure.unwrap();
        assert_eq!(failure.kind(), FailureKind::Input);
        assert!(
            failure.to_string().contains(&format!("a.jsonl, line {bad_line}: not valid JSON")),
            "{failure}"
        );
        let mut keys: Vec<usize> = stored.keys().map(|key| key.parse().unwrap()).collect();
        keys.sort_unstable();
        assert_eq!(keys, (1..bad_line).collect::<Vec<_>>());
        assert_eq!(outcome.position.unwrap().line, bad_line as u64 - 1);
    }
}

#[test]
fn malformed_lines_are_skipped_on_request() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), "a.tsv", "a\t1\nbad\nb\t2\n\nworse\nc\t3\n");
    let options =
        InputOptions { value: Some(ColumnName::Number(2)), skip_malformed: true, ..InputOptions::default() };
    let (outcome, stored) = run(&[path], options, None);
    assert_eq!((outcome.failure, outcome.records, outcome.skipped_lines), (None, 3, 2));
    assert!(outcome.first_skipped.unwrap().contains("line 2: column 2 is wanted"));
    assert_eq!(stored.keys().collect::<Vec<_>>(), ["a", "b", "c"]);
}

#[test]
fn headers_name_columns_in_tsv_and_csv() {
    let folder = tempfile::tempdir().unwrap();
    let name = |name: &str| Some(ColumnName::Name(name.to_owned()));
    let tsv = file(folder.path(), "a.tsv", "\u{feff}id\tname\n1\tone\n2\ttwo\n");
    let options =
        InputOptions { header: Some(true), key: name("name"), value: name("id"), ..InputOptions::default() };
    let (outcome, stored) = run(&[tsv], options.clone(), None);
    assert_eq!(outcome.failure, None);
    assert_eq!(stored, Content::from([("one".into(), "1".into()), ("two".into(), "2".into())]));
    assert_eq!(outcome.position.unwrap().line, 3, "the header is line 1");

    let records: String = (0..300).map(|id| format!("{id},\"name\n{id}\"\n")).collect();
    let csv = file(folder.path(), "a.csv", &format!("\u{feff}id,name\n{records}"));
    let (outcome, stored) = run(&[csv], options, None);
    assert_eq!((outcome.failure, outcome.records), (None, 300));
    assert_eq!(stored.get("name\n299").map(String::as_str), Some("299"));
    // The last record starts in line 600: every record takes two lines, the header one.
    assert_eq!(outcome.position.unwrap().line, 600);
}

#[test]
fn records_that_do_not_fit_are_told_with_their_line() {
    let folder = tempfile::tempdir().unwrap();
    let long = "x".repeat(200);
    for (name, text) in [("a.tsv", format!("a\t1\nb\t{long}\n")), ("a.csv", format!("k,v\nb,{long}\n"))] {
        let path = file(folder.path(), name, &text);
        let (outcome, _) = run(&[path], InputOptions::default(), None);
        let failure = outcome.failure.unwrap().to_string();
        assert!(failure.contains(", line 2: key and value are 201 bytes together"), "{failure}");
    }
    let endless = file(folder.path(), "b.tsv", &format!("a\t1\n{}", "y".repeat(10_000)));
    let (outcome, _) = run(&[endless], InputOptions::default(), None);
    let failure = outcome.failure.unwrap().to_string();
    assert!(failure.contains("b.tsv, line 2: the line is longer than 800 bytes"), "{failure}");
}

/// An open quote must not hide the records behind it, whichever column it is in.
#[test]
fn an_open_quote_in_csv_ends_the_load_at_its_record() {
    let folder = tempfile::tempdir().unwrap();
    let many: String = (0..1000).map(|id| format!("{id},x\n")).collect();
    for (text, expected) in [
        ("id,v\n1,a\n3,\"oops\n4,x\n5,y\n".to_owned(), ", line 3: a quote that opens in this record"),
        ("id,v\n1,a\n\"3,oops\n4,x\n5,y\n".to_owned(), ", line 3: a quote that opens in this record"),
        (format!("id,v\n1,a\n3,\"oops\n{many}"), ", line 3: the record does not end within 800 bytes"),
    ] {
        let path = file(folder.path(), "a.csv", &text);
        let (outcome, stored) = run(&[path], InputOptions::default(), None);
        let failure = outcome.failure.unwrap();
        assert_eq!(failure.kind(), FailureKind::Input);
        assert!(failure.to_string().contains(expected), "{failure}");
        assert_eq!(stored, Content::from([("1".into(), "a".into())]));
    }
}

#[test]
fn a_failing_store_ends_the_load() {
    let folder = tempfile::tempdir().unwrap();
    let lines: String = (0..20_000).map(|line| format!("key{line}\tvalue\n")).collect();
    let path = file(folder.path(), "a.tsv", &lines);
    let (outcome, stored) = run(&[path], InputOptions::default(), Some("key1000"));
    assert_eq!(outcome.failure, Some(Failure::other("the device is full")));
    assert!(stored.len() < 10_000, "{} records were stored behind the failure", stored.len());
}

#[test]
fn an_interrupt_ends_the_load_at_a_line_end() {
    let folder = tempfile::tempdir().unwrap();
    let lines: String = (1..=200_000).map(|line| format!("{line}\tvalue\n")).collect();
    let path = file(folder.path(), "a.tsv", &lines);
    let content = Arc::default();
    let sink = MapSink { content: Arc::clone(&content), shard: 0, fails_at: None };
    let interrupt = Interrupt::default();
    interrupt.set();
    let plan = plan(&[path], InputOptions::default()).unwrap();
    let outcome = load(plan, SIZE, vec![sink], &interrupt, |_| {}).unwrap();
    assert!(outcome.interrupted && outcome.failure.is_none());
    let stored = content.lock().len() as u64;
    assert!(stored < 200_000);
    assert_eq!((outcome.records, outcome.position.map_or(0, |position| position.line)), (stored, stored));
}

#[test]
fn options_that_contradict_each_other_are_usage_errors() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| file(folder.path(), name, "");
    let name = || Some(ColumnName::Name("id".to_owned()));
    let none = InputOptions::default;
    for (file, options) in [
        (path("a.txt"), none()),
        (path("a.jsonl"), none()),
        (path("a.jsonl"), InputOptions { key: name(), separator: Some(b','), ..none() }),
        (path("a.jsonl"), InputOptions { key: name(), header: Some(true), ..none() }),
        (path("a.tsv"), InputOptions { key: name(), ..none() }),
        (path("a.csv"), InputOptions { key: name(), header: Some(false), ..none() }),
        (path("a.csv"), InputOptions { skip_malformed: true, ..none() }),
    ] {
        let failure = plan(std::slice::from_ref(&file), options.clone()).unwrap_err();
        assert_eq!(failure.kind(), FailureKind::Usage, "{options:?}: {failure}");
    }
}
