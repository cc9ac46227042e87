//! `ycsb` does what it says: exact counts, fields, drawings, one sentence for what makes no sense.

mod program;

use program::{number, run, text_of};
use serde_json::Value;

/// A short run; `arguments` come on top.
fn ycsb(arguments: &[&str]) -> Value {
    let short = ["ycsb", "--json", "--keys", "50000", "--threads", "2", "--memory", "32M"];
    run(&[&short[..], arguments].concat()).with_code(0).json()
}

fn timed(arguments: &[&str]) -> Value {
    ycsb(&[&["--seconds", "0.4", "--warm-up", "0.1"], arguments].concat())
}

fn kinds(report: &Value) -> [u64; 4] {
    ["reads", "upserts", "inserts", "rmws"].map(|kind| number(report, &format!("/run/{kind}")))
}

#[test]
fn every_workload_has_its_mix_and_finds_every_key() {
    for (workload, percentages) in [
        ("a", [50, 50, 0, 0]),
        ("b", [95, 5, 0, 0]),
        ("c", [100, 0, 0, 0]),
        ("d", [95, 0, 5, 0]),
        ("f", [50, 0, 0, 50]),
        ("upsert", [0, 100, 0, 0]),
        ("rmw", [0, 0, 0, 100]),
    ] {
        for batch in ["1", "64"] {
            let report = timed(&["--workload", workload, "--batch", batch]);
            let total = number(&report, "/run/operations");
            assert!(total > 1000, "{report}");
            assert_eq!(kinds(&report).iter().sum::<u64>(), total, "{report}");
            assert_eq!(number(&report, "/run/not_found"), 0, "{report}");
            for (count, percent) in kinds(&report).into_iter().zip(percentages) {
                // Five standard deviations of the count, and the blocks that each end of the window cuts.
                let part = f64::from(percent) / 100.0;
                let slack = 5.0 * (total as f64 * part * (1.0 - part)).sqrt() + 4.0 * 64.0;
                let expected = total as f64 * part;
                assert!((count as f64 - expected).abs() <= slack, "{workload}: {count} of {total}: {report}");
            }
        }
    }
}

#[test]
fn the_time_line_adds_up_to_the_whole() {
    let report = timed(&["--workload", "a"]);
    let timeline = report["timeline"].as_array().unwrap();
    let sum: u64 = timeline.iter().map(|sample| sample["operations"].as_u64().unwrap()).sum();
    assert_eq!(sum, number(&report, "/run/operations"));
    let seconds = report["run"]["seconds"].as_f64().unwrap();
    let last = timeline.last().unwrap()["until_seconds"].as_f64().unwrap();
    assert!(seconds >= 0.4 && (seconds - last).abs() < 1e-9, "{seconds} {last}");
    assert!((2..=5).contains(&timeline.len()), "{report}");
    let rate = report["run"]["operations_per_second"].as_f64().unwrap();
    assert!((rate * seconds - sum as f64).abs() < 1.0, "{report}");
}

#[test]
fn latencies_are_sampled_and_ordered() {
    let report = timed(&["--workload", "a"]);
    assert_eq!(number(&report, "/latency_sampled_one_in"), 32);
    for kind in ["read", "upsert"] {
        let row = |name: &str| report["latency_nanoseconds"][kind][name].as_u64().unwrap();
        assert!(row("p50") > 0, "{report}");
        assert!(["p50", "p90", "p99", "p99.9", "max"].map(row).is_sorted(), "{report}");
    }
    let sampled: u64 = ["read", "upsert"]
        .map(|kind| number(&report, &format!("/latency_nanoseconds/{kind}/timed")))
        .iter()
        .sum();
    let expected = number(&report, "/run/operations") / 32;
    assert!(sampled.abs_diff(expected) <= 2 + expected / 10, "{sampled}, expected {expected}");

    let batched = timed(&["--workload", "a", "--batch", "50"]);
    assert_eq!(number(&batched, "/latency_sampled_one_in"), 1);
    let batches = number(&batched, "/latency_nanoseconds/batch/timed");
    // The window of the counters and that of the latencies open one after the other; on a busy machine some batches lie between.
    let expected = number(&batched, "/run/operations") / 50;
    assert!(batches.abs_diff(expected) <= 6 + expected / 100, "{batched}");
}

#[test]
fn loading_is_measured_to_its_last_key() {
    for batch in ["1", "32"] {
        let report = ycsb(&["--workload", "load", "--batch", batch]);
        assert_eq!(kinds(&report), [0, 0, 50_000, 0]);
        assert_eq!(report["complete"], true);
        assert_eq!(report["load"], Value::Null, "there is no load phase besides: {report}");
        let times = if batch == "1" { "insert" } else { "batch" };
        assert!(number(&report, &format!("/latency_nanoseconds/{times}/timed")) > 1000, "{report}");
    }
}

/// Data of about four times the log's memory on real files, with both ways to read them.
#[test]
fn a_workload_beyond_memory_reads_and_writes_the_device() {
    let parent = tempfile::tempdir().unwrap();
    for device in ["file", "io_uring"] {
        let arguments = [
            &["ycsb", "--json", "--workload", "a", "--distribution", "uniform", "--value-bytes", "100"][..],
            &["--keys", "200000", "--memory", "16M", "--threads", "2", "--seconds", "1", "--warm-up", "0.2"],
            &["--batch", "32", "--device", device, "--dir", text_of(parent.path())],
        ];
        let ran = run(&arguments.concat());
        if device == "io_uring" && ran.code == 1 && ran.stderr.contains("io_uring") {
            eprintln!("skipped: the kernel does not offer io_uring: {}", ran.stderr);
            continue;
        }
        let report = ran.with_code(0).json();
        assert!(report["device_name"].as_str().unwrap().contains(device), "{report}");
        assert!(number(&report, "/memory/log_on_device_bytes") > 16 << 20, "{report}");
        assert!(number(&report, "/device/reads") > 100, "{report}");
        assert!(number(&report, "/device/read_bytes") >= 4096 * number(&report, "/device/reads"), "{report}");
        assert!(number(&report, "/device/write_bytes") > 0, "{report}");
        assert!(number(&report, "/device/disk_bytes") > 16 << 20, "{report}");
        assert!(number(&report, "/memory/peak_memory_bytes") < 80 << 20, "{report}");
        assert_eq!(number(&report, "/run/not_found"), 0);
    }
    assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 0, "the store's folder was left behind");
}

#[test]
fn a_read_cache_is_a_part_of_the_memory_and_saves_device_reads() {
    let parent = tempfile::tempdir().unwrap();
    let reads = |cache: &[&str]| {
        let arguments = [
            &["ycsb", "--json", "--workload", "c", "--value-bytes", "100", "--keys", "200000"][..],
            &["--memory", "16M", "--threads", "2", "--seconds", "1", "--warm-up", "1", "--batch", "32"],
            &["--device", "file", "--dir", text_of(parent.path())],
            cache,
        ];
        let report = run(&arguments.concat()).with_code(0).json();
        assert_eq!(number(&report, "/memory/total_bytes"), 16 << 20, "{report}");
        assert!(number(&report, "/memory/peak_memory_bytes") < 80 << 20, "{report}");
        let cached = number(&report, "/device/read_cache_hits");
        assert_eq!(cached > 0, !cache.is_empty(), "{report}");
        assert_eq!(number(&report, "/memory/read_cache_bytes") > 0, !cache.is_empty(), "{report}");
        number(&report, "/device/reads") as f64 / number(&report, "/run/operations") as f64
    };
    let (without, with) = (reads(&[]), reads(&["--read-cache", "7M"]));
    assert!(with < without * 0.8, "{with} device reads an operation, without a cache {without}");
}

#[test]
fn wrong_arguments_are_one_sentence() {
    let cases: [(&[&str], &[&str]); 19] = [
        (
            &["--read-cache", "8000K", "--memory", "8M", "--device", "file"],
            &["besides --read-cache", "the least is"],
        ),
        (&["--read-cache", "8M"], &["--device memory", "--read-cache"]),
        (&["--read-cache", "8M", "--memory", "8M", "--device", "file"], &["--read-cache 8", "must be less"]),
        (&["--read-cache", "8K", "--device", "file"], &["read cache is 8192 bytes", "65536"]),
        (&["--workload", "e"], &["'e'", "a, b, c, d, f, upsert, rmw, load"]),
        (&["--distribution", "cold"], &["cold"]),
        (&["--workload", "d", "--distribution", "uniform"], &["workload d", "--distribution"]),
        (&["--workload", "load", "--seconds", "1"], &["workload load", "--seconds"]),
        (&["--seconds", "0"], &["--seconds 0"]),
        (&["--seconds=-1"], &["--seconds"]),
        (&["--warm-up", "soon"], &["'soon' is not a number"]),
        (&["--keys", "0"], &["--keys"]),
        (&["--keys", "3", "--threads", "4"], &["--keys 3", "4 threads"]),
        (&["--batch", "0"], &["--batch"]),
        (&["--value-bytes", "0"], &["--value-bytes"]),
        (&["--dir", "x"], &["--dir", "--device file"]),
        (&["--report", "a.png"], &[".svg"]),
        (&["--keys", "10000000", "--memory", "32M"], &["does not hold 10000000 keys", "MiB are enough"]),
        (
            &["--value-bytes", "700000", "--keys", "10", "--memory", "20M", "--threads", "2"],
            &["--value-bytes 700000", "a record has at most"],
        ),
    ];
    for (arguments, words) in cases {
        let ran = run(&[&["ycsb"], arguments].concat()).with_code(2).saying(words);
        assert!(ran.stdout.is_empty(), "{arguments:?}: {}", ran.text());
    }
    run(&["ycsb", "--report", "missing/a.svg"]).with_code(1).saying(&["can't write missing/a.svg"]);
    run(&["ycsb", "--device", "file", "--dir", "missing"]).with_code(1).saying(&["missing", "--dir"]);
}

/// What the program says is enough memory is enough.
#[test]
fn enough_memory_is_enough() {
    let refused = run(&["ycsb", "--keys", "2000000", "--memory", "16M", "--threads", "1"]).with_code(2);
    let (_, enough) = refused.stderr.split_once("them; ").unwrap();
    let mebibytes: u64 = enough.split('.').next().unwrap().parse().unwrap();
    let memory = format!("{mebibytes}M");
    let arguments = ["--keys", "2000000", "--threads", "1", "--memory", &memory, "--workload", "upsert"];
    let timed = ["ycsb", "--json", "--seconds", "0.3", "--warm-up", "0"];
    let report = run(&[&timed[..], &arguments].concat()).with_code(0).json();
    assert!(number(&report, "/memory/resident_bytes") < (mebibytes + 32) << 20, "{report}");
}

#[test]
fn the_table_is_for_people() {
    let ran =
        run(&["ycsb", "--keys", "1000", "--seconds", "0.2", "--warm-up", "0", "--threads", "1"]).with_code(0);
    let table = ran.text();
    for row in
        ["operations a second", "keys a second", "  reads", "p99.9", "upsert", "resident memory", "zipfian"]
    {
        assert!(table.contains(row), "no {row} in\n{table}");
    }
    assert!(ran.stderr.is_empty(), "{}", ran.stderr);
}

#[test]
fn the_drawing_is_well_formed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.svg");
    for more in [&[][..], &["--batch", "16", "--workload", "d"], &["--workload", "load", "--device", "file"]]
    {
        let timed: &[&str] =
            if more.contains(&"load") { &[] } else { &["--seconds", "0.5", "--warm-up", "0"] };
        let short = ["ycsb", "--json", "--keys", "20000", "--threads", "2", "--report", text_of(&file)];
        run(&[&short[..], timed, more].concat()).with_code(0);
        let svg = std::fs::read_to_string(&file).unwrap();
        let names = elements(&svg);
        assert_eq!(names.iter().filter(|name| *name == "svg").count(), 1);
        assert!(names.iter().filter(|name| *name == "polyline").count() >= 2, "{svg}");
        for label in [
            "Throughput",
            "seconds",
            "operations a second",
            "Latency by percentile",
            "99.9",
            "prefers-color-scheme: dark",
        ] {
            assert!(svg.contains(label), "no {label} in\n{svg}");
        }
        let lines = svg.split("points=\"").skip(1).map(|rest| rest.split('"').next().unwrap());
        for point in lines.flat_map(str::split_whitespace) {
            let (x, y) = point.split_once(',').unwrap();
            let inside = |text: &str, most: f64| (0.0..=most).contains(&text.parse::<f64>().unwrap());
            assert!(inside(x, 900.0) && inside(y, 700.0), "{point} is outside");
        }
    }
}

/// Names of all elements of an XML document; panics unless each is closed by its own end, and quotes are paired.
fn elements(text: &str) -> Vec<String> {
    let (mut open, mut names) = (Vec::new(), Vec::new());
    let mut rest = text;
    while let Some(start) = rest.find('<') {
        assert!(!rest[..start].contains('>'), "a stray > before {}", &rest[start..]);
        let end = rest[start..].find('>').expect("a tag ends") + start;
        let tag = &rest[start + 1..end];
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        assert!(!tag.contains('<'), "{tag}");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name));
        } else {
            let name: String = tag.chars().take_while(char::is_ascii_alphanumeric).collect();
            names.push(name.clone());
            if !tag.ends_with('/') {
                open.push(name);
            }
        }
        rest = &rest[end + 1..];
    }
    assert!(open.is_empty() && rest.trim().is_empty(), "{open:?} {rest}");
    names
}
