//! Everything that can go wrong ends with one sentence and the exit code that `--help` promises.

mod program;

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use oxifaster_device::FileSystemDisk;
use oxifaster_device::sync::thread;

use program::{Ran, command, run, run_with_input, text_of};

fn loaded(folder: &Path, records: usize) -> PathBuf {
    let store = folder.join("db");
    let lines: String = (0..records).map(|number| format!("key{number}\t{}\n", "v".repeat(100))).collect();
    let arguments = ["load", "--dir", text_of(&store), "--format", "tsv", "--memory", "10M", "-"];
    run_with_input(&arguments, lines.as_bytes()).with_code(0);
    store
}

#[test]
fn wrong_arguments_are_code_2() {
    let folder = tempfile::tempdir().unwrap();
    let dir = text_of(folder.path());
    let readme = "docs/format/page.md";
    run(&["load"]).with_code(2).saying(&["--dir", "--help"]);
    run(&["fly"]).with_code(2).saying(&["fly"]);
    run(&["count", "--memory", "lots", readme]).with_code(2).saying(&["'lots' is not a size"]);
    run(&["count", "--memory", "1M", readme])
        .with_code(2)
        .saying(&["--memory 1.0 MiB is too little", "the least is"]);
    run(&["count", "--threads", "0", readme]).with_code(2).saying(&["--threads"]);
    run(&["load", "--dir", dir, readme]).with_code(2).saying(&["page.md", "--format"]);
    run(&["load", "--dir", dir, "--format", "jsonl", readme]).with_code(2).saying(&["--key"]);
    run(&["load", "--dir", dir, "--format", "csv", "--header", "--no-header", readme]).with_code(2);
    let nothing = run(&[]).with_code(2);
    assert!(nothing.text().contains("Usage:"), "{}", nothing.text());
}

#[test]
fn help_and_version_are_code_0() {
    let help = run(&["--help"]).with_code(0).text();
    assert!(help.contains("Exit codes:") && help.contains("damage"), "{help}");
    assert!(run(&["load", "--help"]).with_code(0).text().contains("Examples:"));
    assert!(run(&["--version"]).with_code(0).text().starts_with("oxifaster "));
}

#[test]
fn bad_input_is_code_3_with_file_and_line() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("db");
    let dir = text_of(&store);
    run(&["load", "--dir", dir, "missing.tsv"]).with_code(3).saying(&["missing.tsv"]);
    assert!(!store.exists(), "a mistyped file name made a store");
    run(&["count", "missing"]).with_code(3).saying(&["missing"]);
    let file = folder.path().join("a.jsonl");
    std::fs::write(&file, "{\"id\":1}\n{\"id\":2}\n{\"id\":\n{\"id\":4}\n").unwrap();
    let ran = run(&["load", "--json", "--dir", dir, "--key", "id", text_of(&file)]).with_code(3);
    let ran = ran.saying(&["a.jsonl, line 3: not valid JSON", "everything up to line 2 of", "is durable"]);
    assert_eq!(ran.json()["complete"], false);
    run(&["get", "--dir", dir, "1", "2"]).with_code(0);
    run(&["get", "--dir", dir, "4"]).with_code(6);
}

#[test]
fn a_locked_store_is_code_4() {
    let folder = tempfile::tempdir().unwrap();
    let store = loaded(folder.path(), 10);
    let held =
        FileSystemDisk::segmented(&store, "store", oxifaster_cli::store_access::SEGMENT_BYTES).unwrap();
    for command in [&["get", "key1"][..], &["stats"], &["verify"]] {
        run(&[command, &["--dir", text_of(&store)]].concat())
            .with_code(4)
            .saying(&["another process has the store in"]);
    }
    drop(held);
    run(&["get", "key1", "--dir", text_of(&store)]).with_code(0);
}

#[test]
fn a_damaged_block_is_code_5_with_its_address() {
    let folder = tempfile::tempdir().unwrap();
    let store = loaded(folder.path(), 5000);
    let dir = text_of(&store);
    run(&["verify", "--dir", dir]).with_code(0);
    let segment = store.join("store.000000.log");
    let whole = std::fs::read(&segment).unwrap();
    let cases = [
        ("data", 3 * 65_536 + 5 * 4096 + 17, "the block does not match its checksum", 1),
        ("checksums", 2 * 65_536 + 100, "the checksum block does not match its own checksum", 1),
    ];
    for (name, byte, what, blocks) in cases {
        let mut damaged = whole.clone();
        damaged[byte] ^= 0x40;
        std::fs::write(&segment, damaged).unwrap();
        let ran = run(&["verify", "--json", "--dir", dir]).with_code(5);
        let block_start = byte / 4096 * 4096;
        let address = format!("{:#x}", block_start / 8);
        let ran = ran.saying(&["blocks of the store in", &format!("the first one at address {address}")]);
        let report = ran.json();
        assert_eq!(report["damaged_blocks"], blocks, "{name}");
        assert_eq!(report["damage"][0]["address"], address.as_str(), "{name}");
        assert_eq!(report["damage"][0]["byte"], block_start, "{name}");
        assert_eq!(report["damage"][0]["what"], what, "{name}");
        assert_eq!(report["damage"][0]["file"], segment.to_str().unwrap(), "{name}");
        run(&["get", "--dir", dir, "--memory", "10M", "key1"]).with_code(5).saying(&["is damaged"]);
    }
    std::fs::write(&segment, &whole).unwrap();
    run(&["verify", "--dir", dir]).with_code(0);
    std::fs::write(&segment, &whole[..whole.len() / 2]).unwrap();
    let ran = run(&["verify", "--dir", dir]).with_code(5);
    assert!(ran.text().contains("the block is missing"), "{}", ran.text());
}

#[test]
fn damaged_metadata_is_code_5() {
    let folder = tempfile::tempdir().unwrap();
    let store = loaded(folder.path(), 10);
    let meta = store.join("store.meta");
    let mut bytes = std::fs::read(&meta).unwrap();
    // Both copies in both slots, wherever the file keeps them: each magic gets a wrong generation behind it.
    let starts: Vec<usize> =
        bytes.windows(8).enumerate().filter(|(_, window)| window == b"OXFSTMD1").map(|(at, _)| at).collect();
    assert_eq!(starts.len(), 4);
    bytes[starts[0] + 20] ^= 1;
    std::fs::write(&meta, &bytes).unwrap();
    let one = run(&["verify", "--dir", text_of(&store)]).with_code(5);
    assert!(one.stderr.contains("metadata slot"), "{}", one.stderr);
    starts[1..].iter().for_each(|start| bytes[start + 20] ^= 1);
    std::fs::write(&meta, &bytes).unwrap();
    for command in [&["verify"][..], &["get", "key1"], &["stats"]] {
        run(&[command, &["--dir", text_of(&store)]].concat()).with_code(5).saying(&["is damaged"]);
    }
}

#[test]
fn no_store_is_code_7() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    for dir in [folder.path(), &missing] {
        for command in [&["get", "key"][..], &["delete", "key"], &["stats"], &["verify"]] {
            run(&[command, &["--dir", text_of(dir)]].concat()).with_code(7).saying(&["there is no store in"]);
        }
    }
    assert!(
        !missing.exists() && std::fs::read_dir(folder.path()).unwrap().next().is_none(),
        "files were made"
    );
}

/// Files of other programs may begin with the same word.
#[test]
fn a_folder_of_somebody_else_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("store.txt"), "milk, bread").unwrap();
    for command in [&["get", "key"][..], &["delete", "key"], &["stats"], &["verify"]] {
        let arguments = [command, &["--dir", text_of(folder.path())]].concat();
        run(&arguments).with_code(7).saying(&["there is no store in"]);
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "files were made");
}

/// The memory that filled a store may be too little to open it; the program says so at once, and how much is enough.
#[test]
fn a_store_with_a_full_index_names_the_memory_that_opens_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("db");
    let dir = text_of(&store);
    let lines: String = (0..900_000).map(|number| format!("{number}\t\n")).collect();
    let load = ["load", "--dir", dir, "--format", "tsv", "--threads", "2", "--memory"];
    let loaded = run_with_input(&[&load[..], &["6M", "-"]].concat(), lines.as_bytes()).with_code(0);
    let said = loaded.stderr.lines().find(|line| line.contains("the index is full")).unwrap_or_default();
    let named = |text: &str| {
        let size =
            text.rsplit("--memory ").next().and_then(|rest| rest.split('M').next()).map(str::parse::<u64>);
        size.unwrap().unwrap_or_else(|_| panic!("no --memory in: {text}"))
    };
    let enough = named(said);

    let mut least = 0;
    for command in [&["get", "1"][..], &["stats"]] {
        let refused = run(&[command, &["--dir", dir, "--memory", "6M"]].concat()).with_code(2);
        let refused = refused.saying(&["--memory 6.0 MiB is too little", "the least is --memory"]);
        assert!(!refused.stderr.contains("table_size"), "{}", refused.stderr);
        least = named(&refused.stderr);
        assert!(least > 6 && least <= enough, "{least} of {enough}");
    }
    let again = [&load[..], &["6M", "-"]].concat();
    run_with_input(&again, b"x\ty\n").with_code(2).saying(&["--memory 6.0 MiB is too little"]);
    // Twice: the first one makes the table larger, which the second one has to carry.
    for _ in 0..2 {
        run(&["get", "1", "899999", "--dir", dir, "--memory", &format!("{least}M")]).with_code(0);
    }
    let enough = format!("{enough}M");
    let again = [&load[..], &[&enough, "-"]].concat();
    run_with_input(&again, b"x\ty\n").with_code(0);
    run(&["get", "1", "x", "--dir", dir, "--memory", &enough]).with_code(0);
}

/// A backup that can't be written is read all the same.
#[cfg(unix)]
#[test]
fn a_store_that_cannot_be_written_is_read() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;

    let folder = tempfile::tempdir().unwrap();
    let store = loaded(folder.path(), 1000);
    let files = || std::fs::read_dir(&store).unwrap().map(|entry| entry.unwrap().path());
    let allow = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    files().for_each(|path| allow(&path, 0o444));
    allow(&store, 0o555);
    allow(folder.path(), 0o755);
    let is_root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    let run = |arguments: &[&str]| {
        let mut command = command();
        command.args(arguments).args(["--dir", text_of(&store)]).stdin(Stdio::null());
        if is_root {
            // Nothing is forbidden to root.
            command.uid(65_534).gid(65_534);
            // An instrumented build would complain that it can't write its counters as nobody.
            command.env("LLVM_PROFILE_FILE", "/dev/null");
        }
        Ran::of(command.output().unwrap())
    };
    let before: Vec<_> = files().map(|path| std::fs::read(path).unwrap()).collect();
    run(&["verify"]).with_code(0).saying(&["can't be written, so it is read without a lock"]);
    let got = run(&["get", "key1"]).with_code(0);
    assert!(got.text().starts_with("key1\tvvv"), "{}", got.text());
    run(&["stats"]).with_code(0);
    run(&["delete", "key1"]).with_code(1);
    run(&["get", "key1"]).with_code(0);
    assert_eq!(files().map(|path| std::fs::read(path).unwrap()).collect::<Vec<_>>(), before);
    allow(&store, 0o755);
}

/// Ctrl-C while standard input is open and silent: what came is stored, and the message says up to where.
#[cfg(unix)]
#[test]
fn an_interrupted_load_says_what_is_durable() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("db");
    let mut child = command()
        .args(["load", "--json", "--dir", text_of(&store), "--format", "tsv", "--memory", "10M", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let lines: String = (1..=20_000).map(|line| format!("{line}\tvalue\n")).collect();
    stdin.write_all(lines.as_bytes()).unwrap();
    // The pipe is empty soon; the reader then waits for more, which never comes.
    thread::sleep(Duration::from_secs(1));
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let ran = Ran::of(child.wait_with_output().unwrap()).with_code(130);
    drop(stdin);
    let ran = ran.saying(&["interrupted: everything up to line", "of standard input is durable"]);
    let records = ran.json()["records"].as_u64().unwrap();
    assert!(ran.stderr.contains(&format!("line {records} of")), "{}", ran.stderr);
    assert!((1..20_000).contains(&records), "{records}");
    run(&["get", "--dir", text_of(&store), &records.to_string()]).with_code(0);
    run(&["get", "--dir", text_of(&store), &(records + 1).to_string()]).with_code(6);
}

/// A reader that goes away ends the output quietly.
#[test]
fn a_broken_pipe_is_quiet() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text");
    let words: String = (0..60_000).map(|number| format!("word{number} ")).collect();
    std::fs::write(&text, words).unwrap();
    let mut child = command()
        .args(["count", "--top", "60000", "--memory", "128M", text_of(&text)])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 10];
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut first).unwrap();
    drop(stdout);
    let ran = Ran::of(child.wait_with_output().unwrap()).with_code(0);
    assert!(!ran.stderr.contains("panicked") && !ran.stderr.contains("pipe"), "{}", ran.stderr);
}
