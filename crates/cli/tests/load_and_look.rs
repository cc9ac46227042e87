//! `load`, `get`, `delete`, `stats`, `verify`: a store through its whole life.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod program;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use oxifaster_device::sync::thread;

use program::{Ran, command, number, run, run_with_input, text_of};

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
}

/// 40,000 records of about 200 bytes: far more than 6 MiB of memory leave to the log.
fn many_records() -> String {
    (0..40_000).map(|number| format!("key{number}\tvalue {number} {}\n", "x".repeat(180))).collect()
}

#[test]
fn a_store_larger_than_memory_through_its_life() {
    let folder = tempfile::tempdir().unwrap();
    let (store, file) = (folder.path().join("db"), folder.path().join("many.tsv"));
    write(&file, &many_records());
    let dir = text_of(&store);
    let small = ["--dir", dir, "--memory", "6M"];

    let loaded = run(&[&["load", "--json", text_of(&file)], &small[..]].concat()).with_code(0).json();
    assert_eq!(number(&loaded, "/records"), 40_000);
    assert!(number(&loaded, "/store/log_on_device_bytes") > 5 << 20, "{loaded}");
    assert!(number(&loaded, "/memory/log_bytes") < 3 << 20, "{loaded}");

    let got = run(&[&["get", "--json", "key0", "key39999"], &small[..]].concat()).with_code(0).json();
    let expected = format!("value 0 {}", "x".repeat(180));
    assert_eq!(got.pointer("/found/0/value").and_then(|value| value.as_str()), Some(expected.as_str()));
    assert!(number(&got, "/device/reads") > 0, "key0 was not read from the device: {got}");
    assert_eq!(number(&got, "/operations/read_hits"), 2);

    run(&[&["delete", "key0"], &small[..]].concat()).with_code(0);
    run(&[&["get", "key0"], &small[..]].concat()).with_code(6).saying(&["'key0' is not in the store"]);
    run(&[&["delete", "key0", "key1"], &small[..]].concat())
        .with_code(6)
        .saying(&["'key0' is not in the store"]);
    run(&[&["get", "key1"], &small[..]].concat()).with_code(6);

    let stats = run(&[&["stats", "--json"], &small[..]].concat()).with_code(0).json();
    assert!(number(&stats, "/log/records") >= 40_000, "{stats}");
    assert_eq!(number(&stats, "/log/tombstones"), 2, "{stats}");
    assert_eq!(stats.pointer("/contents").and_then(|text| text.as_str()), Some("records"));
    // What the runs before did: one that loaded, and those that looked and deleted.
    assert!(number(&stats, "/totals/runs") >= 3, "{stats}");
    assert!(number(&stats, "/operations/upserts") >= 40_000, "{stats}");
    assert!(
        number(&stats, "/operations/read_hits") > 0 && number(&stats, "/operations/conditional") >= 2,
        "{stats}"
    );
    assert!(number(&stats, "/device/writes") > 0 && number(&stats, "/device/write_bytes") > 0, "{stats}");

    let verified = run(&["verify", "--json", "--dir", dir]).with_code(0).json();
    assert_eq!(verified["whole"], true);
    assert!(number(&verified, "/blocks") > (8 << 20) / 4096, "{verified}");
}

#[test]
fn every_format_and_standard_input() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("db");
    let dir = text_of(&store);
    let csv = folder.path().join("a.csv");
    write(&csv, "id,name\n1,\"Ada, Countess\"\n2,\"two\nlines\"\n");
    run(&["load", "--dir", dir, "--key", "id", "--value", "name", text_of(&csv)]).with_code(0);
    let lines = b"{\"id\":3,\"name\":\"Grace\"}\n{\"id\":\"4\",\"name\":\"\\u00e9\"}\n";
    run_with_input(
        &["load", "--dir", dir, "--format", "jsonl", "--key", "id", "--value", "name", "-"],
        lines,
    )
    .with_code(0);
    run_with_input(&["load", "--dir", dir, "--format", "tsv", "--separator", ";", "-"], b"5;a;b\n6;\xff\n")
        .with_code(0);
    let got = run(&["get", "--dir", dir, "1", "2", "3", "4", "5", "6"]).with_code(0);
    let expected = b"1\tAda, Countess\n2\ttwo\nlines\n3\tGrace\n4\t\xc3\xa9\n5\ta;b\n6\t\xff\n";
    assert_eq!(got.stdout, expected, "{}", got.text());
    let got = run(&["get", "--json", "--dir", dir, "6"]).with_code(0).json();
    assert_eq!(got.pointer("/found/0/value_hex").and_then(|value| value.as_str()), Some("ff"));
}

/// Whoever writes into a pipe must not see it close before it is read.
#[cfg(unix)]
#[test]
fn a_named_pipe_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let (store, pipe, file) =
        (folder.path().join("db"), folder.path().join("pipe.tsv"), folder.path().join("many"));
    // More than a pipe holds.
    write(&file, &many_records());
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let writer = Command::new("dd")
        .arg(format!("if={}", text_of(&file)))
        .arg(format!("of={}", text_of(&pipe)))
        .spawn();
    let mut writer = writer.unwrap();
    let mut child = command()
        .args(["load", "--json", "--dir", text_of(&store), text_of(&pipe)])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    for _ in 0..600 {
        if child.try_wait().unwrap().is_some() {
            break;
        }
        thread::sleep(Duration::from_millis(100));
    }
    // A load that waits for a writer that has gone would wait for ever; killing it makes the code below -1.
    let ended = child.try_wait().unwrap().is_some();
    if !ended {
        child.kill().unwrap();
        writer.kill().unwrap();
    }
    let ran = Ran::of(child.wait_with_output().unwrap()).with_code(0);
    assert!(writer.wait().unwrap().success());
    assert_eq!(number(&ran.json(), "/records"), 40_000);
}

/// Keys of TSV are bytes; so are those that are asked for.
#[cfg(unix)]
#[test]
fn keys_that_are_no_text_are_found() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("db");
    let dir = text_of(&store);
    run_with_input(&["load", "--dir", dir, "--format", "tsv", "-"], b"\xff\xfe\tvalue\n").with_code(0);
    let on_key = |arguments: &[&str], key: &[u8]| {
        Ran::of(command().args(arguments).args(["--dir", dir]).arg(OsStr::from_bytes(key)).output().unwrap())
    };
    assert_eq!(on_key(&["get"], b"\xff\xfe").with_code(0).stdout, b"\xff\xfe\tvalue\n");
    let json =
        on_key(&["get", "--json"], b"\xff").with_code(6).saying(&["key '\\xff' is not in the store"]).json();
    assert_eq!(json.pointer("/missing/0/key_hex").and_then(|text| text.as_str()), Some("ff"));
    on_key(&["delete"], b"\xff\xfe").with_code(0);
    on_key(&["get"], b"\xff\xfe").with_code(6);
}

#[test]
fn the_closing_table_is_for_people() {
    let folder = tempfile::tempdir().unwrap();
    let (store, file) = (folder.path().join("db"), folder.path().join("a.tsv"));
    write(&file, "k\tv\n");
    let table = run(&["load", "--dir", text_of(&store), text_of(&file)]).with_code(0).text();
    for row in [
        "records ",
        "log in memory",
        "log on the device only",
        "device reads",
        "records a second",
        "peak memory",
        "disk ",
    ] {
        assert!(table.contains(row), "no {row} in\n{table}");
    }
}

#[test]
fn records_and_counts_do_not_mix() {
    let folder = tempfile::tempdir().unwrap();
    let (records, counts) = (folder.path().join("records"), folder.path().join("counts"));
    let file = folder.path().join("a.tsv");
    write(&file, "k\tv\n");
    run(&["load", "--dir", text_of(&records), text_of(&file)]).with_code(0);
    run(&["count", "--dir", text_of(&counts), text_of(&file)]).with_code(0);
    run(&["count", "--dir", text_of(&records), text_of(&file)])
        .with_code(7)
        .saying(&["holds records, this command needs counts"]);
    run(&["load", "--dir", text_of(&counts), text_of(&file)])
        .with_code(7)
        .saying(&["holds counts, this command needs records"]);
}

/// A table that was made large stays large: looking at a store must not make it so.
#[test]
fn looking_at_a_store_does_not_change_it() {
    let folder = tempfile::tempdir().unwrap();
    let (store, file) = (folder.path().join("db"), folder.path().join("a.tsv"));
    write(&file, "k\tv\n");
    let dir = text_of(&store);
    run(&["load", "--dir", dir, "--memory", "10M", text_of(&file)]).with_code(0);
    let before = std::fs::read(store.join("store.meta")).unwrap();
    run(&["get", "--dir", dir, "--memory", "1G", "k"]).with_code(0);
    run(&["stats", "--dir", dir, "--memory", "1G"]).with_code(0);
    run(&["verify", "--dir", dir]).with_code(0);
    assert_eq!(std::fs::read(store.join("store.meta")).unwrap(), before, "the metadata changed");
}

/// The files are the same for every `--device`, and `auto` takes one of the two.
#[test]
fn stores_move_between_devices() {
    let folder = tempfile::tempdir().unwrap();
    let (store, file) = (folder.path().join("db"), folder.path().join("few.tsv"));
    write(&file, "a\t1\nb\t2\n");
    let dir = text_of(&store);
    let read_by = |arguments: &[&str]| {
        let json = run(&[arguments, &["--json", "--dir", dir]].concat()).with_code(0).json();
        json.pointer("/store/read_by").and_then(|text| text.as_str()).unwrap().to_owned()
    };
    let auto = read_by(&["load", text_of(&file)]);
    assert_eq!(read_by(&["stats", "--device", "file"]), "portable (rings were switched off)");
    assert_eq!(read_by(&["stats"]), auto);
    if auto.starts_with("io_uring") {
        assert_eq!(read_by(&["load", text_of(&file), "--device", "io_uring"]), auto);
    } else {
        run(&["stats", "--dir", dir, "--device", "io_uring"]).with_code(1).saying(&["io_uring is required"]);
    }
    run(&["get", "a", "b", "--dir", dir, "--device", "file"]).with_code(0);
}
