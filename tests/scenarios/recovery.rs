//! Opening what was written with other sizes of memory and table.

use std::path::Path;

use oxifaster::prelude::*;

use crate::samples::{Sample, increment};
use crate::stores::{OnFile, assert_was_larger_than_memory, on_file_with, small};

/// Buckets of the table that the store is made with.
const TABLE: u64 = 1 << 16;

/// Each life of the store changes one key of so many.
const CHANGES: u64 = 4;

fn is_changed(key: u64, life: u64) -> bool {
    key % CHANGES == life % CHANGES
}

/// What is stored for a key behind so many lives of the store.
fn expected<V: Sample>(key: u64, lives: u64) -> Option<V> {
    let changes = (0..lives).filter(|life| is_changed(key, *life)).count() as u64;
    (key % 7 != 3).then(|| V::of(key + changes))
}

/// Every key in a life of the store: what was deleted is absent, all others have their value.
fn check_every_key<V: Sample>(store: &OnFile<u64, V>, keys: u64, life: u64, what: &str) {
    let mut session = store.start_session().unwrap();
    let all: Vec<u64> = (0..keys + 1_000).collect();
    for keys_of_batch in all.chunks(1_000) {
        for (key, value) in keys_of_batch.iter().zip(session.read_batch(keys_of_batch).unwrap()) {
            let wanted = if *key < keys { expected::<V>(*key, life) } else { None };
            assert!(value == wanted, "{what}: key {key} has {value:?} instead of {wanted:?}");
        }
    }
}

/// Changes keys that are there; the deleted ones stay deleted.
fn change_keys<V: Sample>(store: &OnFile<u64, V>, keys: u64, life: u64) {
    let mut session = store.start_session().unwrap();
    let there = (0..keys).filter(|key| expected::<V>(*key, 0).is_some() && is_changed(*key, life));
    for keys in there.collect::<Vec<u64>>().chunks(1_000) {
        let outcomes = session.rmw_batch(keys, |_, value| increment(value)).unwrap();
        assert!(outcomes.iter().all(|outcome| *outcome == RmwOutcome::Updated));
    }
}

fn fill<V: Sample>(folder: &Path, keys: u64) {
    let store: OnFile<u64, V> = on_file_with(small().with_table_size(TABLE), folder);
    let mut session = store.start_session().unwrap();
    for key in 0..keys {
        session.upsert(key, V::of(key)).unwrap();
    }
    for key in (0..keys).filter(|key| expected::<V>(*key, 0).is_none()) {
        session.delete(&key).unwrap();
    }
    assert!(store.stats().pages_evicted > 0 && store.stats().log_bytes > 3 << 19, "{:?}", store.stats());
    store.close().unwrap();
}

/// One store, opened again and again with other sizes: less memory, a larger table, a smaller one, which is raised to the largest
/// that was used, and said. Each life finds every key as the former ones left it, and changes some.
fn recover_smaller_of<V: Sample>(keys: u64) {
    let folder = tempfile::tempdir().unwrap();
    fill::<V>(folder.path(), keys);
    let least = small().with_log_memory_size(6 << 16);
    let lives = [
        ("less memory", least.clone().with_table_size(TABLE), None),
        ("a larger table", least.clone().with_table_size(TABLE * 2), None),
        ("a smaller table", least.clone().with_table_size(TABLE / 4), Some(TABLE * 2)),
        ("the smallest table", small().with_table_size(1), Some(TABLE * 2)),
        ("a still larger table", small().with_table_size(TABLE * 4), None),
        ("the first sizes", small().with_table_size(TABLE), Some(TABLE * 4)),
    ];
    for (life, (what, config, raised)) in (0..).zip(lives) {
        let asked = config.clone();
        let store: OnFile<u64, V> = on_file_with(config, folder.path());
        let report = store.recovery_report().clone();
        assert!(report.was_closed && !report.created, "{what}: {report:?}");
        assert_eq!(report.table_raised_to, raised, "{what}");
        assert_eq!(store.stats().index_buckets, raised.unwrap_or(asked.table_size), "{what}");
        // The log pays for the larger table, down to the least that works.
        let pays = raised.is_some() && asked.log_memory_size > least.log_memory_size;
        assert_eq!(report.log_memory_lowered_to.is_some(), pays, "{what}: {report:?}");
        check_every_key(&store, keys, life, what);
        change_keys(&store, keys, life);
        assert_was_larger_than_memory(&store.stats());
        store.close().unwrap();
    }
}

#[test]
fn recover_smaller() {
    recover_smaller_of::<u64>(70_000);
    recover_smaller_of::<[u64; 8]>(18_000);
    recover_smaller_of::<Vec<u8>>(18_000);
}
