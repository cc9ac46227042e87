//! A process that is killed without warning: what it acknowledged is there, and the next one starts.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use oxifaster::prelude::*;

use crate::scene::{Class, Model, Store, Varlen, open};

/// Names the store's file to the child.
const CHILD: &str = "OXIFASTER_TEST_KILLED_CHILD";
const NAME: &str = "process_kill::acknowledged_updates_survive_a_killed_process";
const KEYS: u64 = 1500;
/// The key that counts the updates.
const COUNTER: u64 = KEYS;
const UPDATES_PER_FLUSH: u64 = 40;

fn store_at(path: &Path) -> Store<Varlen, FileSystemDisk> {
    open::<Varlen, _>(FileSystemDisk::single_file(path).unwrap()).unwrap()
}

fn count(store: &Store<Varlen, FileSystemDisk>) -> u64 {
    let value = store.start_session().unwrap().read(&Varlen::key(COUNTER)).unwrap();
    value.map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().unwrap()))
}

/// Applies update `number` to a model.
fn replay(model: &mut Model, number: u64) {
    let key = number * 31 % KEYS;
    if number.is_multiple_of(7) {
        model.remove(&key);
    } else {
        model.insert(key, number);
    }
}

/// Updates for ever, one session, and says which are durable.
fn child(path: &Path) {
    let store = store_at(path);
    let mut session = store.start_session().unwrap();
    let mut number = count(&store);
    let mut out = std::io::stdout();
    loop {
        for _ in 0..UPDATES_PER_FLUSH {
            number += 1;
            let key = Varlen::key(number * 31 % KEYS);
            if number.is_multiple_of(7) {
                session.delete(&key).unwrap();
            } else {
                session.upsert(&key, Varlen::value(number)).unwrap();
            }
            session.upsert(Varlen::key(COUNTER), number.to_le_bytes().to_vec()).unwrap();
        }
        store.flush().unwrap();
        writeln!(out, "\ndurable {number}").unwrap();
        out.flush().unwrap();
    }
}

/// Runs a child, kills it after `lines` acknowledgements and a little more, and returns the last one.
fn killed_after(path: &Path, lines: usize, more: Duration) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", NAME, "--nocapture", "--test-threads=1"])
        .env(CHILD, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut durable = 0;
    let mut seen = 0;
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while output.read_line(&mut line).unwrap() > 0 {
        // A line without its end was not acknowledged.
        if let Some(number) = line.strip_suffix('\n').and_then(|line| line.strip_prefix("durable ")) {
            durable = number.parse().unwrap();
            seen += 1;
            if seen == lines {
                std::thread::sleep(more);
                child.kill().unwrap();
            }
        }
        line.clear();
    }
    assert!(
        !child.wait().unwrap().success() && seen >= lines,
        "the child ended by itself after {seen} lines"
    );
    durable
}

#[test]
fn acknowledged_updates_survive_a_killed_process() {
    if let Some(path) = std::env::var_os(CHILD) {
        return child(Path::new(&path));
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.log");
    let mut model = Model::new();
    let mut replayed = 0;
    for cycle in 0..12_u64 {
        let more = Duration::from_micros(crate::scene::Word::value(cycle) % 9000);
        let durable = killed_after(&path, 1 + (cycle * 5 % 13) as usize, more);
        let store = store_at(&path);
        let found = count(&store);
        assert!(found >= durable, "cycle {cycle}: {durable} were acknowledged, {found} are there");
        assert_eq!(found % UPDATES_PER_FLUSH, 0, "cycle {cycle}: not a state that was flushed");
        for number in replayed + 1..=found {
            replay(&mut model, number);
        }
        replayed = found;
        crate::scene::assert_holds::<Varlen, _>(
            &store,
            &model,
            KEYS,
            &format!("cycle {cycle}, update {found}"),
        );
    }
}
