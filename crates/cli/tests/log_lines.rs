//! `log`: lines go in, come out again, survive, are truncated, and damage is told.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod program;

use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::Stdio;

use program::{Ran, command, number};

fn log(folder: &Path, words: &[&str]) -> Ran {
    let output = command().arg("log").args(words).arg("--dir").arg(folder).output().unwrap();
    Ran::of(output)
}

fn append(folder: &Path, rule: &str, lines: &str) -> Ran {
    let mut child = command()
        .args(["log", "append", "--json", "--commit", rule, "--dir"])
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that refuses its arguments is gone before it reads.
    let written = child.stdin.take().unwrap().write_all(lines.as_bytes());
    assert!(written.is_ok() || written.is_err_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe));
    Ran::of(child.wait_with_output().unwrap())
}

#[test]
fn lines_go_in_and_come_out() {
    let folder = tempfile::tempdir().unwrap();
    let mut expected = String::new();
    for (rule, lines) in [("each", 20), ("every 1ms", 3000), ("every 64KiB", 3000), ("end", 100)] {
        let text: String = (0..lines).map(|line| format!("{rule}: line {line}\n")).collect();
        let report = append(folder.path(), rule, &text).with_code(0).json();
        assert_eq!(number(&report, "/entries"), lines);
        expected.push_str(&text);
    }
    // An empty line is an entry, and so is a last line without its end.
    append(folder.path(), "end", "\nlast").with_code(0);
    expected.push_str("\nlast\n");
    assert_eq!(log(folder.path(), &["cat"]).with_code(0).text(), expected);
    assert_eq!(log(folder.path(), &["tail", "-n", "2"]).with_code(0).text(), "\nlast\n");
    let some = log(folder.path(), &["cat", "--from", "20", "--count", "1", "--numbers"]).with_code(0);
    assert_eq!(some.text(), "20\tevery 1ms: line 0\n");
    let report = log(folder.path(), &["verify", "--json"]).with_code(0).json();
    assert_eq!(number(&report, "/entries"), 6122);
    assert_eq!(report["clean"], true);

    log(folder.path(), &["truncate", "--before", "6000", "--from", "6121"]).with_code(0);
    let left = log(folder.path(), &["cat", "--numbers"]).with_code(0).text();
    assert_eq!(left.lines().count(), 121);
    assert!(left.starts_with("6000\tevery 64KiB: line 2980\n") && left.ends_with("6120\t\n"), "{left}");
    log(folder.path(), &["truncate", "--before", "5"]).with_code(6).saying(&["no entry 5", "6000"]);
    // Both places are judged before either is used.
    let contradiction = log(folder.path(), &["truncate", "--before", "6010", "--from", "6005"]);
    contradiction.with_code(2).saying(&["--before 6010", "--from 6005", "nothing was changed"]);
    assert_eq!(log(folder.path(), &["cat"]).with_code(0).text().lines().count(), 121);
    log(folder.path(), &["truncate", "--before", "6005", "--from", "6005"]).with_code(0);
    assert_eq!(log(folder.path(), &["cat"]).with_code(0).text(), "");
}

#[test]
fn damage_and_wrong_folders_are_told() {
    let folder = tempfile::tempdir().unwrap();
    log(folder.path(), &["cat"]).with_code(7).saying(&["there is no log"]);
    let text: String = (0..500).map(|line| format!("line {line}\n")).collect();
    append(folder.path(), "every 4KiB", &text).with_code(0);
    let path = folder.path().join("log.000000.log");
    let mut file = std::fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.seek(SeekFrom::Start(4096 + 2000)).unwrap();
    file.read_exact(&mut byte).unwrap();
    file.seek(SeekFrom::Start(4096 + 2000)).unwrap();
    file.write_all(&[byte[0] ^ 4]).unwrap();
    log(folder.path(), &["verify"]).with_code(5).saying(&["damaged", "address"]);
    log(folder.path(), &["cat"]).with_code(5);
    append(folder.path(), "sometimes", "x\n").with_code(2).saying(&["sometimes", "every 5ms"]);
}

#[test]
fn the_benchmark_counts_what_it_did() {
    let folder = tempfile::tempdir().unwrap();
    for (rule, threads) in [("each", "3"), ("every 5ms", "2")] {
        let words = ["bench", "--json", "--seconds", "1", "--commit", rule, "--threads", threads];
        let report = log(folder.path(), &words).with_code(0).json();
        assert!(number(&report, "/entries") > 10 && number(&report, "/commits") > 3, "{report}");
    }
}

/// Nothing comes any more, and nothing ends: an interrupt still ends the program, with everything durable.
#[cfg(unix)]
#[test]
fn an_interrupt_is_seen_while_input_is_slow() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = command()
        .args(["log", "append", "--commit", "each", "--dir"])
        .arg(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = writer.stdin.take().unwrap();
    lines.write_all(b"one\ntwo\nhalf of").unwrap();
    let mut entries = String::new();
    for _ in 0..2000 {
        // The log may not be there yet.
        entries = log(folder.path(), &["cat"]).text();
        if entries == "one\ntwo\n" {
            break;
        }
        oxifaster_device::sync::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert_eq!(entries, "one\ntwo\n");
    let killed =
        std::process::Command::new("kill").args(["-INT", &writer.id().to_string()]).status().unwrap();
    assert!(killed.success());
    for _ in 0..1000 {
        if writer.try_wait().unwrap().is_some() {
            break;
        }
        oxifaster_device::sync::thread::sleep(std::time::Duration::from_millis(10));
    }
    let ended = writer.try_wait().unwrap().is_some();
    if !ended {
        writer.kill().unwrap();
    }
    assert!(ended, "it does not see the interrupt while it waits for input");
    let ran = Ran::of(writer.wait_with_output().unwrap()).with_code(130);
    ran.saying(&["interrupted", "2 entries are durable"]);
    drop(lines);
    assert_eq!(log(folder.path(), &["cat"]).with_code(0).text(), "one\ntwo\n");
}

/// What is followed is not a log any more: the follower says so and ends.
#[test]
fn a_follower_that_can_not_go_on_ends_with_an_error() {
    let folder = tempfile::tempdir().unwrap();
    append(folder.path(), "end", "zero\n").with_code(0);
    let mut follower = command()
        .args(["log", "tail", "-f", "-n", "1", "--dir"])
        .arg(folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(follower.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "zero\n");
    // Other files under the same names: another log.
    let other = tempfile::tempdir().unwrap();
    for _ in 0..3 {
        // More often than the first one, so that its metadata are newer.
        append(other.path(), "end", "other\n").with_code(0);
    }
    let meta = std::fs::read(other.path().join("log.meta")).unwrap();
    let mut file = std::fs::File::options().write(true).open(folder.path().join("log.meta")).unwrap();
    file.write_all(&meta).unwrap();
    file.sync_all().unwrap();
    for _ in 0..1000 {
        if follower.try_wait().unwrap().is_some() {
            break;
        }
        oxifaster_device::sync::thread::sleep(std::time::Duration::from_millis(10));
    }
    let ended = follower.try_wait().unwrap().is_some();
    if !ended {
        follower.kill().unwrap();
    }
    assert!(ended, "it follows for ever what is gone");
    let ran = Ran::of(follower.wait_with_output().unwrap());
    assert!(ran.code > 0, "{}: {}", ran.code, ran.stderr);
    assert!(ran.stderr.contains("log"), "{}", ran.stderr);
}

/// A process that appends is followed by another one, line by line, and a third one verifies meanwhile.
#[test]
fn a_log_in_use_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    append(folder.path(), "end", "zero\n").with_code(0);
    let mut writer = command()
        .args(["log", "append", "--commit", "each", "--dir"])
        .arg(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = writer.stdin.take().unwrap();
    let mut follower = command()
        .args(["log", "tail", "-f", "-n", "1", "--json", "--dir"])
        .arg(folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut followed = BufReader::new(follower.stdout.take().unwrap()).lines();
    let mut next = |number: u64, entry: &str| {
        let object: serde_json::Value = serde_json::from_str(&followed.next().unwrap().unwrap()).unwrap();
        assert_eq!((object["number"].as_u64(), object["entry"].as_str()), (Some(number), Some(entry)));
    };
    next(0, "zero");
    for number in 1..4 {
        let line = format!("line {number}");
        writeln!(lines, "{line}").unwrap();
        next(number, &line);
    }
    log(folder.path(), &["truncate", "--before", "1"]).with_code(4).saying(&["another process"]);
    let report = log(folder.path(), &["verify", "--json"]).with_code(0).json();
    assert_eq!((number(&report, "/entries"), &report["in_use"]), (4, &serde_json::Value::from(true)));
    assert_eq!(log(folder.path(), &["cat", "--from", "2"]).with_code(0).text(), "line 2\nline 3\n");
    assert_eq!(log(folder.path(), &["tail", "-n", "1", "--numbers"]).with_code(0).text(), "3\tline 3\n");
    drop(lines);
    assert!(writer.wait().unwrap().success());
    // The writer is gone, the follower stays, and follows the next one.
    append(folder.path(), "end", "four\n").with_code(0);
    next(4, "four");
    follower.kill().unwrap();
    follower.wait().unwrap();
}
