//! Opening again: with other configurations, other types, other files; and what the recovery report says.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use oxifaster::prelude::*;

use crate::scene::{Class, Fixed, Model, Varlen, Word, assert_holds, config, open};

fn device(path: &Path) -> FileSystemDisk {
    FileSystemDisk::single_file(path).unwrap()
}

/// A closed store of words in a file, larger than the least memory.
fn closed_file(path: &Path, keys: u64) -> Model {
    let larger =
        FasterKvConfig { log_memory_size: 2 << 20, page_size_bits: 17, table_size: 1 << 12, ..config() };
    let store = Arc::new(FasterKv::<u64, u64, _>::open(larger, device(path)).unwrap());
    let mut session = store.start_session().unwrap();
    let mut model = Model::new();
    for key in 0..keys {
        session.upsert(key, Word::value(key)).unwrap();
        model.insert(key, key);
    }
    session.delete(&3).unwrap();
    model.remove(&3);
    store.close().unwrap();
    model
}

/// Every file of a folder, with its bytes.
fn snapshot(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect();
    files.sort();
    files
}

#[test]
fn reopen_with_another_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.log");
    let keys = 40_000;
    let mut model = closed_file(&path, keys);
    let least = FasterKvConfig { log_memory_size: 6 << 17, ..config() };
    let configurations = [
        ("less memory", FasterKvConfig { table_size: 1 << 12, ..least.clone() }, None),
        ("a smaller table", FasterKvConfig { table_size: 1, ..least.clone() }, Some(1 << 12)),
        ("smaller pages", FasterKvConfig { page_size_bits: 16, ..least.clone() }, Some(1 << 12)),
        (
            "larger pages and memory",
            FasterKvConfig { page_size_bits: 22, log_memory_size: 64 << 20, ..least.clone() },
            Some(1 << 12),
        ),
        ("a larger table", FasterKvConfig { table_size: 1 << 15, ..least.clone() }, None),
        ("the smaller one again", FasterKvConfig { table_size: 1 << 12, ..least.clone() }, Some(1 << 15)),
        ("one thread", FasterKvConfig { recovery_threads: Some(1), ..least }, Some(1 << 15)),
    ];
    for (round, (what, config, raised)) in configurations.into_iter().enumerate() {
        let store = Arc::new(FasterKv::<u64, u64, _>::open(config, device(&path)).unwrap());
        let report = store.recovery_report();
        assert_eq!(report.table_raised_to, raised, "{what}");
        assert!(report.was_closed && !report.created, "{what}: {report:?}");
        assert_eq!(store.log().layout().page_size_bits(), 17, "{what}: a store keeps its pages");
        assert_holds::<Word, _>(&store, &model, keys, what);
        let mut session = store.start_session().unwrap();
        for key in 0..100 {
            session.upsert(key, Word::value(key + round as u64)).unwrap();
            model.insert(key, key + round as u64);
        }
        store.close().unwrap();
    }
}

#[test]
fn what_does_not_fit_is_refused_and_untouched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.log");
    let model = closed_file(&path, 10_000);
    let before = snapshot(folder.path());
    let refuse = |what: &str, kind: ErrorKind, text: &str, opened: Result<(), Error>| {
        let error = opened.expect_err(what);
        assert_eq!(error.kind(), kind, "{what}: {error:?}");
        assert!(error.to_string().contains(text), "{what}: {error}");
        assert!(snapshot(folder.path()) == before, "{what}: the files changed");
    };
    let enough = FasterKvConfig { log_memory_size: 6 << 17, ..config() };
    let xxh64 = enough.clone().with_hash_kind(HashKind::Xxh64);
    let format = ErrorKind::IncompatibleFormat;
    refuse("hash", format, "Xxh64", FasterKv::<u64, u64, _>::open(xxh64, device(&path)).map(drop));
    let values = FasterKv::<u64, [u64; 40], _>::open(enough.clone(), device(&path)).map(drop);
    refuse("values", format, "value codec", values);
    let keys = FasterKv::<String, u64, _>::open(enough.clone(), device(&path)).map(drop);
    refuse("keys", format, "key codec", keys);
    let memory = FasterKv::<u64, u64, _>::open(config(), device(&path)).map(drop);
    refuse("memory", ErrorKind::InvalidConfiguration, "at least 786432 bytes", memory);
    let store = Arc::new(FasterKv::<u64, u64, _>::open(enough, device(&path)).unwrap());
    assert_holds::<Word, _>(&store, &model, 10_000, "after the refusals");
}

/// A file that is not a store, or not one any more, is refused, and its bytes stay.
#[test]
fn foreign_and_damaged_files_are_refused_and_untouched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.log");
    closed_file(&path, 40_000);
    let good = std::fs::read(&path).unwrap();
    let version = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        let slots: Vec<usize> =
            (0..bytes.len() - 8).step_by(512).filter(|at| bytes[*at..].starts_with(b"OXFSTMD1")).collect();
        assert_eq!(slots.len(), 4, "two slots, two copies: {slots:?}");
        // What another version says of itself, this one can't verify: neither as its own nor with its own version in place.
        slots.iter().for_each(|at| (bytes[at + 8], bytes[at + 40]) = (2, !bytes[at + 40]));
        bytes
    };
    let format = ErrorKind::IncompatibleFormat;
    let cases = [
        ("text", format, b"Dear diary, ".iter().copied().cycle().take(300_000).collect()),
        ("a short text", format, b"Dear diary".to_vec()),
        ("another version", format, version(&good)),
        ("a tail cut off", ErrorKind::Corruption, good[..good.len() - 200_000].to_vec()),
        ("all but the metadata cut off", ErrorKind::Corruption, good[..131_072].to_vec()),
    ];
    for (what, kind, bytes) in cases {
        std::fs::write(&path, &bytes).unwrap();
        let opened = FileSystemDisk::single_file(&path).map_err(Error::from).and_then(|device| {
            FasterKv::<u64, u64, _>::open(FasterKvConfig { log_memory_size: 6 << 17, ..config() }, device)
        });
        let error = opened.map(drop).expect_err(what);
        assert_eq!(error.kind(), kind, "{what}: {error:?}");
        assert!(error.to_string().contains("store.log"), "{what}: {error}");
        assert!(std::fs::read(&path).unwrap() == bytes, "{what}: the file changed");
    }
}

fn report_says_what_happened<C: Class>() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.log");
    let store = open::<C, _>(device(&path)).unwrap();
    assert!(store.recovery_report().created && store.recovery_report().pages == 0);
    let mut session = store.start_session().unwrap();
    let keys = C::PER_PAGE * 8;
    for key in 0..keys {
        session.upsert(C::key(key), C::value(key)).unwrap();
    }
    let tail = store.flush().unwrap();
    for key in 0..10 {
        session.delete(&C::key(key)).unwrap();
    }
    store.close().unwrap();
    drop((session, store));

    let store = open::<C, _>(device(&path)).unwrap();
    let report = store.recovery_report().clone();
    assert!(!report.created && report.was_closed && !report.damaged_metadata_slot, "{report:?}");
    assert!(report.consistent_tail > tail && report.begin < tail, "{report:?}");
    assert_eq!((report.records, report.tombstones, report.invalid_records), (keys + 10, 10, 0), "{report:?}");
    assert!(
        report.pages >= 7 && report.pages_in_memory >= 3 && report.pages_in_memory < report.pages,
        "{report:?}"
    );
    assert!(report.bytes > (report.pages - 1) << 16 && report.duration.as_nanos() > 0, "{report:?}");
    assert_eq!((report.pages_behind, report.table_raised_to), (0, None), "{report:?}");

    // A time line that was written by the background and never flushed.
    let mut session = store.start_session().unwrap();
    for key in 0..C::PER_PAGE * 9 {
        session.upsert(C::key(key), C::value(key + 1)).unwrap();
    }
    let copy = folder.path().join("copy.log");
    std::fs::copy(&path, &copy).unwrap();
    let crashed = open::<C, _>(device(&copy)).unwrap();
    let after = crashed.recovery_report();
    assert!(!after.was_closed && after.pages_behind > 0, "{after:?}");
    assert_eq!(after.consistent_tail, report.consistent_tail);
    assert_eq!(after.records, report.records);
}

#[test]
fn recovery_reports_say_what_happened() {
    report_says_what_happened::<Word>();
    report_says_what_happened::<Fixed>();
    report_says_what_happened::<Varlen>();
}
