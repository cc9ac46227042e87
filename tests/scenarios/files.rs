//! Closing and opening, owning, and what the files look like from outside.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use oxifaster::prelude::*;

use crate::samples::{Sample, increment};
use crate::stores::{OnFile, assert_was_larger_than_memory, on_file, on_threads, small};

/// A store in segments of 256 KiB.
fn segmented<V: PersistValue>(folder: &Path, prefix: &str) -> OnFile<u64, V> {
    let device = FileSystemDisk::segmented(folder, prefix, 256 << 10).unwrap();
    Arc::new(FasterKv::open(small(), device).unwrap())
}

/// Reads keys in batches and compares.
fn check<V: Sample>(
    session: &mut Session<u64, V, FileSystemDisk>,
    keys: &[u64],
    expected: impl Fn(u64) -> Option<V>,
) {
    for keys in keys.chunks(1_000) {
        for (key, value) in keys.iter().zip(session.read_batch(keys).unwrap()) {
            assert_eq!(value, expected(*key), "key {key}");
        }
    }
}

/// Writes, deletes and changes keys over several lives of a store; each finds what the former left, whether that was
/// closed or only dropped.
fn reopen_of<V: Sample>(open: impl Fn() -> OnFile<u64, V>, keys: u64) {
    let all: Vec<u64> = (0..keys).collect();
    for life in 0..4_u64 {
        let store = open();
        assert_eq!(store.recovery_report().created, life == 0);
        let mut session = store.start_session().unwrap();
        check(&mut session, &all, |key| match life {
            0 => None,
            1 => Some(V::of(1)),
            _ => (key % 5 != 0).then(|| V::of(life)),
        });
        for key in 0..keys {
            // Life 0 writes 1, each later one adds 1 or deletes.
            match life {
                0 => session.upsert(key, V::of(1)).unwrap(),
                _ if key % 5 == 0 => session.delete(&key).unwrap(),
                _ if key % 16 == 1 => assert_eq!(session.rmw(key, increment).unwrap(), RmwOutcome::Updated),
                _ => session.upsert(key, V::of(life + 1)).unwrap(),
            }
        }
        assert_was_larger_than_memory_in(life, &store.stats());
        if life % 2 == 0 {
            store.close().unwrap();
        }
        // Sessions may be the last to hold the store.
        drop(store);
        drop(session);
    }
    let store = open();
    assert!(store.recovery_report().was_closed, "{:?}", store.recovery_report());
    let mut session = store.start_session().unwrap();
    check(&mut session, &all, |key| (key % 5 != 0).then(|| V::of(4)));
}

/// The first life has nothing to read.
fn assert_was_larger_than_memory_in(life: u64, statistics: &Statistics) {
    if life == 0 {
        assert!(statistics.pages_evicted > 0, "{statistics:?}");
    } else {
        assert_was_larger_than_memory(statistics);
    }
}

#[test]
fn reopen() {
    let folder = tempfile::tempdir().unwrap();
    reopen_of(|| on_file::<u64, u64>(folder.path()), 50_000);
    let folder = tempfile::tempdir().unwrap();
    reopen_of(|| on_file::<u64, Vec<u8>>(folder.path()), 20_000);
    let folder = tempfile::tempdir().unwrap();
    reopen_of(|| segmented::<[u64; 8]>(folder.path(), "store"), 14_000);
    // A second open for writing is refused as long as the first one lives, and changes nothing.
    let store = segmented::<[u64; 8]>(folder.path(), "store");
    let refused = FileSystemDisk::segmented(folder.path(), "store", 256 << 10).unwrap_err();
    assert_eq!(Error::from(refused).kind(), ErrorKind::Locked);
    let mut session = store.start_session().unwrap();
    session.upsert(1, <[u64; 8]>::of(9)).unwrap();
    store.close().unwrap();
    drop((session, store));
    let store = segmented::<[u64; 8]>(folder.path(), "store");
    assert_eq!(store.start_session().unwrap().read(&1).unwrap(), Some(<[u64; 8]>::of(9)));
}

#[test]
fn file_size() {
    let folder = tempfile::tempdir().unwrap();
    let store = on_file::<u64, Vec<u8>>(folder.path());
    let path = folder.path().join("store.log");
    let mut session = store.start_session().unwrap();
    let page = 1 << 16;
    let reserved = store.device().geometry().reserved_bytes;
    let mut payload = 0;
    for key in 0..230_000_u64 {
        session.upsert(key, vec![1_u8; 64]).unwrap();
        payload += 64 + 8;
        if key % 50_000 == 0 {
            let size = std::fs::metadata(&path).unwrap().len();
            let log = store.stats().log_bytes;
            assert!(size <= reserved + log + page, "{size} bytes for a log of {log} bytes");
        }
    }
    let log = store.flush().unwrap().byte_offset();
    let statistics = store.stats();
    assert!(statistics.log_bytes >= payload && statistics.log_bytes < payload * 3 / 2, "{statistics:?}");
    assert!(statistics.log_bytes <= log && log - statistics.log_bytes <= reserved + page, "{statistics:?}");
    assert!(statistics.device_write_bytes <= statistics.log_bytes + 64 * page, "{statistics:?}");
    drop((session, store));
    let metadata = std::fs::metadata(&path).unwrap();
    let bound = reserved + statistics.log_bytes + page;
    assert!(metadata.len() >= payload && metadata.len() <= bound, "{} bytes, not {bound}", metadata.len());
    // The blocks are there: it is not a file of holes.
    assert!(metadata.blocks() * 512 >= payload, "{} blocks", metadata.blocks());
    assert!(metadata.blocks() * 512 <= bound + (1 << 20), "{} blocks", metadata.blocks());
}

const CHILD: &str = "OXIFASTER_SCENARIO_FOLDER";

/// The process that is killed: it owns the store, has flushed a part, and waits.
fn own_until_killed(folder: &Path) {
    let store = on_file::<u64, u64>(folder);
    let mut session = store.start_session().unwrap();
    (0..1_000).for_each(|key| session.upsert(key, key + 1).unwrap());
    store.flush().unwrap();
    (1_000..2_000).for_each(|key| session.upsert(key, key + 1).unwrap());
    eprintln!("it is mine");
    let mut nothing = [0];
    drop(std::io::stdin().read(&mut nothing));
}

#[test]
fn stale_lock_file() {
    if let Some(folder) = std::env::var_os(CHILD) {
        return own_until_killed(Path::new(&folder));
    }
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "files::stale_lock_file", "--nocapture"])
        .env(CHILD, folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "it is mine"), "the owner did not start");
    let path = folder.path().join("store.log");
    let refused = FileSystemDisk::single_file(&path).unwrap_err();
    assert_eq!(Error::from(refused).kind(), ErrorKind::Locked);
    child.kill().unwrap();
    child.wait().unwrap();
    // Whatever files it left behind: the next owner starts at once, with all that was flushed.
    let store = on_file::<u64, u64>(folder.path());
    assert!(!store.recovery_report().was_closed);
    let mut session = store.start_session().unwrap();
    for key in 0..1_000 {
        assert_eq!(session.read(&key).unwrap(), Some(key + 1));
    }
    for key in 1_000..2_000 {
        assert!(session.read(&key).unwrap().is_none_or(|value| value == key + 1));
    }
    session.upsert(5, 5).unwrap();
    store.close().unwrap();
}

#[test]
fn two_stores_one_folder() {
    let folder = tempfile::tempdir().unwrap();
    let one = segmented::<u64>(folder.path(), "one");
    let two = segmented::<u64>(folder.path(), "two");
    let file = on_file::<u64, u64>(folder.path());
    on_threads(3, |thread| {
        let stores = [&one, &two];
        let mut session = match thread {
            0 | 1 => stores[thread as usize].start_session().unwrap(),
            _ => file.start_session().unwrap(),
        };
        (0..60_000).for_each(|key| session.upsert(key * 3 + thread, key * 10 + thread).unwrap());
    });
    for (store, number) in [(&one, 0), (&two, 1), (&file, 2)] {
        let mut session = store.start_session().unwrap();
        let keys: Vec<u64> = (0..180_000).step_by(7).collect();
        check(&mut session, &keys, |key| (key % 3 == number).then_some(key / 3 * 10 + number));
        assert_was_larger_than_memory(&store.stats());
        // The same place a second time is refused.
        let again = match number {
            0 => FileSystemDisk::segmented(folder.path(), "one", 256 << 10),
            1 => FileSystemDisk::segmented(folder.path(), "two", 256 << 10),
            _ => FileSystemDisk::single_file(folder.path().join("store.log")),
        };
        assert_eq!(Error::from(again.unwrap_err()).kind(), ErrorKind::Locked);
    }
    drop((one, two, file));
    // A store of other types, or no store at all, is refused and left as it is.
    let path = folder.path().join("store.log");
    let before = std::fs::read(&path).unwrap();
    let device = FileSystemDisk::single_file(&path).unwrap();
    let refused = FasterKv::<u64, String, _>::open(small(), device).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::IncompatibleFormat, "{refused}");
    assert!(std::fs::read(&path).unwrap() == before, "a refused open changed the file");
    let path = folder.path().join("letter.txt");
    std::fs::File::create(&path).unwrap().write_all("Dear reader, ".repeat(20_000).as_bytes()).unwrap();
    let before = std::fs::read(&path).unwrap();
    if let Ok(device) = FileSystemDisk::single_file(&path) {
        let refused = FasterKv::<u64, String, _>::open(small(), device).unwrap_err();
        assert!(matches!(refused.kind(), ErrorKind::IncompatibleFormat | ErrorKind::Corruption), "{refused}");
    }
    assert!(std::fs::read(&path).unwrap() == before, "a refused open changed the file");
}

/// What threads were told was done before the store was closed under them is there afterwards, and nothing else is.
fn graceful_shutdown_of<V: Sample>(close: bool) {
    const COUNTERS: u64 = 50;
    let folder = tempfile::tempdir().unwrap();
    let store = on_file::<u64, V>(folder.path());
    let (inserted, added) = ([const { AtomicU64::new(0) }; 3], AtomicU64::new(0));
    let (stop, running) = (AtomicBool::new(false), AtomicU64::new(0));
    on_threads(4, |thread| {
        if thread == 3 {
            while running.load(Ordering::Acquire) < 60_000 {
                std::thread::yield_now();
            }
            stop.store(true, Ordering::Release);
            if close {
                store.close().unwrap();
            }
            return;
        }
        let mut session = store.start_session().unwrap();
        for number in 0.. {
            if !close && stop.load(Ordering::Acquire) {
                break;
            }
            running.fetch_add(1, Ordering::Release);
            match session.rmw(number % COUNTERS, increment) {
                Ok(_) => _ = added.fetch_add(1, Ordering::Relaxed),
                Err(error) => return assert_eq!(error.kind(), ErrorKind::Closed, "{error}"),
            }
            match session.upsert(COUNTERS + number * 3 + thread, V::of(number)) {
                Ok(()) => inserted[thread as usize].store(number + 1, Ordering::Relaxed),
                Err(error) => return assert_eq!(error.kind(), ErrorKind::Closed, "{error}"),
            }
        }
    });
    drop(store);
    let store = on_file::<u64, V>(folder.path());
    assert!(store.recovery_report().was_closed);
    let mut session = store.start_session().unwrap();
    for thread in 0..3_u64 {
        let count = inserted[thread as usize].load(Ordering::Relaxed);
        let keys: Vec<u64> = (0..count + 5).map(|number| COUNTERS + number * 3 + thread).collect();
        check(&mut session, &keys, |key| {
            let number = (key - COUNTERS) / 3;
            (number < count).then(|| V::of(number))
        });
    }
    let sum: u64 =
        (0..COUNTERS).filter_map(|key| session.read(&key).unwrap()).map(|value| value.number()).sum();
    assert_eq!(sum, added.into_inner());
    assert!(store.recovery_report().pages_in_memory < store.recovery_report().pages, "it fits into memory");
}

#[test]
fn graceful_shutdown() {
    graceful_shutdown_of::<u64>(true);
    graceful_shutdown_of::<Vec<u8>>(true);
    graceful_shutdown_of::<[u64; 8]>(false);
}
