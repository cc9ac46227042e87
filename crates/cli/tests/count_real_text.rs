//! `count` on the repository's own sources and documents: right, and beyond memory.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod program;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use program::{number, repository, run, text_of};

/// One file with the repository's text, in which everything that is not ASCII became a space: so that `tr` and the
/// program mean the same by a word.
fn ascii_text(folder: &Path) -> PathBuf {
    let mut text = Vec::new();
    for part in ["crates/core", "crates/device", "docs"] {
        append(&repository().join(part), &mut text);
    }
    assert!(text.len() > 300_000, "{} bytes of text", text.len());
    text.iter_mut().filter(|byte| !byte.is_ascii()).for_each(|byte| *byte = b' ');
    let path = folder.join("text");
    std::fs::write(&path, text).unwrap();
    path
}

fn append(path: &Path, text: &mut Vec<u8>) {
    if path.is_file() {
        text.extend(std::fs::read(path).unwrap());
        text.push(b'\n');
        return;
    }
    let mut entries: Vec<_> = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    entries.iter().for_each(|entry| append(entry, text));
}

/// What the standard tools count.
fn counted_by_tools(text: &Path, ngrams: &str) -> BTreeMap<String, u64> {
    let script =
        format!("tr -cs 'A-Za-z0-9' '\\n' < '{}' | grep . | {ngrams} sort | uniq -c", text.display());
    let output = Command::new("sh").arg("-c").arg(script).env("LC_ALL", "C").output().unwrap();
    assert!(output.status.success());
    let counts = String::from_utf8(output.stdout).unwrap();
    let entry = |line: &str| {
        let (count, key) = line.trim_start().split_once(' ').unwrap();
        (key.to_owned(), count.parse().unwrap())
    };
    counts.lines().map(entry).collect()
}

fn top_of(report: &serde_json::Value) -> Vec<(String, u64)> {
    let top = report["top"].as_array().unwrap();
    top.iter()
        .map(|entry| (entry["key"].as_str().unwrap().to_owned(), entry["count"].as_u64().unwrap()))
        .collect()
}

#[test]
fn words_are_what_sort_and_uniq_count() {
    let folder = tempfile::tempdir().unwrap();
    let text = ascii_text(folder.path());
    let expected = counted_by_tools(&text, "");
    let ran =
        run(&["count", "--json", "--top", "50000", "--memory", "128M", "--threads", "3", text_of(&text)]);
    let report = ran.with_code(0).json();
    let found: BTreeMap<String, u64> = top_of(&report).into_iter().collect();
    assert_eq!(found, expected);
    assert_eq!(number(&report, "/counted"), expected.values().sum::<u64>());
    assert_eq!(number(&report, "/new_keys"), expected.len() as u64);
}

/// The same, in so little memory that most counts are on the device when they are raised.
#[test]
fn ngrams_beyond_memory_are_what_sort_and_uniq_count() {
    let folder = tempfile::tempdir().unwrap();
    let text = ascii_text(folder.path());
    let trigrams = "awk 'NR>2{print a\" \"b\" \"$0} {a=b;b=$0}' |";
    let expected = counted_by_tools(&text, trigrams);
    let ran = run(&["count", "--json", "--ngrams", "3", "--top", "200", "--memory", "5M", text_of(&text)]);
    let report = ran.with_code(0).json();
    assert_eq!(number(&report, "/counted"), expected.values().sum::<u64>());
    assert_eq!(number(&report, "/new_keys"), expected.len() as u64);
    let mut best: Vec<(String, u64)> = expected.into_iter().collect();
    best.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    best.truncate(200);
    assert_eq!(top_of(&report), best);
    assert!(number(&report, "/device/reads") > 0, "{report}");
    let memory = number(&report, "/store/log_in_memory_bytes");
    assert!(number(&report, "/store/log_on_device_bytes") > memory / 2, "{report}");
}

/// The job of the README, as it stands there.
#[test]
fn the_readme_job_really_uses_the_device() {
    let before = temporary_folders();
    let ran =
        run(&["count", "--ngrams", "3", "--memory", "12M", "--json", "crates", "docs", "src"]).with_code(0);
    let report = ran.json();
    assert!(number(&report, "/device/reads") > 0, "{report}");
    assert!(number(&report, "/device/writes") > 0, "{report}");
    assert!(number(&report, "/store/log_on_device_bytes") > 0, "{report}");
    assert_eq!(report["complete"], true);
    assert_eq!(report["top"].as_array().unwrap().len(), 10);
    let left: Vec<_> = temporary_folders().into_iter().filter(|folder| !before.contains(folder)).collect();
    assert!(left.len() <= 1, "temporary folders are left behind: {left:?}");
}

/// Temporary folders of `count`; tests of other processes may have one at the moment.
fn temporary_folders() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(std::env::temp_dir()).unwrap().flatten().map(|entry| entry.path());
    let ours = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("oxifaster-count-"))
    };
    entries.filter(ours).collect()
}

#[test]
fn counts_in_a_folder_add_up_over_runs() {
    let folder = tempfile::tempdir().unwrap();
    let (store, text) = (folder.path().join("counts"), folder.path().join("text"));
    std::fs::write(&text, "rain and Rain and sun").unwrap();
    let count = ["count", "--dir", text_of(&store), "--lowercase", text_of(&text)];
    let first = run(&count).with_code(0).text();
    assert!(first.starts_with("      2 and\n      2 rain\n      1 sun\n\n"), "{first}");
    let second = run(&count).with_code(0).text();
    assert!(second.starts_with("      4 and\n      4 rain\n      2 sun\n\n"), "{second}");
    let got = run(&["get", "--dir", text_of(&store), "rain", "sun"]).with_code(0).text();
    assert_eq!(got, "rain\t4\nsun\t2\n");
}
