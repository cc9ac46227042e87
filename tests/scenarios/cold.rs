//! Operations whose records are on the device.

use std::sync::atomic::{AtomicU64, Ordering};

use oxifaster::prelude::*;

use crate::samples::{Sample, increment};
use crate::stores::{OnFile, assert_was_larger_than_memory, on_file, on_threads};

/// A store in which the keys below `keys` have the values of their own numbers and most of them are on the device; every
/// fifth was deleted after that.
pub(crate) fn cold_store<V: Sample>(folder: &std::path::Path, keys: u64) -> OnFile<u64, V> {
    let store = on_file::<u64, V>(folder);
    let mut session = store.start_session().unwrap();
    for key in 0..keys {
        session.upsert(key, V::of(key)).unwrap();
    }
    for key in (0..keys).step_by(5) {
        session.delete(&key).unwrap();
    }
    for key in 0..keys {
        session.upsert(1_000_000 + key, V::of(key)).unwrap();
    }
    drop(session);
    store
}

/// Whether [`cold_store`] has deleted a key.
pub(crate) fn is_deleted(key: u64) -> bool {
    key.is_multiple_of(5)
}

fn rmw_cold_of<V: Sample>(keys: u64) {
    let folder = tempfile::tempdir().unwrap();
    let store = cold_store::<V>(folder.path(), keys);
    let mut session = store.start_session().unwrap();
    for key in (0..keys).step_by(47) {
        let before = (!is_deleted(key)).then_some(key);
        assert_eq!(session.rmw(key, |_| false).unwrap(), RmwOutcome::Unchanged);
        let outcome = session.rmw(key, increment).unwrap();
        assert_eq!(outcome == RmwOutcome::Created, before.is_none(), "key {key}: {outcome:?}");
        let expected = before.unwrap_or(0) + 1;
        assert_eq!(session.read(&key).unwrap(), Some(V::of(expected)), "key {key}");
    }
    // Several at a time, from several threads.
    on_threads(3, |_| {
        let mut session = store.start_session().unwrap();
        let keys: Vec<u64> = (1..keys).step_by(47).collect();
        session.rmw_batch(&keys, |_, value| increment(value)).unwrap();
    });
    for key in (1..keys).step_by(47) {
        let expected = if is_deleted(key) { 3 } else { key + 3 };
        assert_eq!(session.read(&key).unwrap(), Some(V::of(expected)), "key {key}");
    }
    assert_was_larger_than_memory(&store.stats());
}

#[test]
fn rmw_cold() {
    rmw_cold_of::<u64>(40_000);
    rmw_cold_of::<[u64; 8]>(12_000);
    rmw_cold_of::<Vec<u8>>(12_000);
}

fn insert_if_absent_cold_of<V: Sample>(keys: u64) {
    let folder = tempfile::tempdir().unwrap();
    let store = cold_store::<V>(folder.path(), keys);
    let mut session = store.start_session().unwrap();
    for key in (0..keys).step_by(71) {
        let inserted = session.insert_if_absent(key, V::of(9)).unwrap();
        assert_eq!(inserted, is_deleted(key), "key {key}");
        let expected = if inserted { 9 } else { key };
        assert_eq!(session.read(&key).unwrap(), Some(V::of(expected)), "key {key}");
    }
    for key in (1..keys).step_by(71) {
        let there = (!is_deleted(key)).then(|| V::of(key));
        let wrong = V::of(key + 1);
        assert_eq!(session.compare_exchange(key, &wrong, V::of(0)).unwrap(), Err(there.clone()));
        let exchanged = session.compare_exchange(key, V::of(key), V::of(77)).unwrap();
        assert_eq!(exchanged.is_ok(), there.is_some());
        assert_eq!(session.remove(&key).unwrap(), there.map(|_| V::of(77)), "key {key}");
        assert_eq!(session.read(&key).unwrap(), None, "key {key}");
    }
    // Of all who insert a key at once, one succeeds; where it is there, none.
    let (inserted, removed) = (AtomicU64::new(0), AtomicU64::new(0));
    on_threads(3, |thread| {
        let mut session = store.start_session().unwrap();
        for key in (2..keys).step_by(71) {
            let success = session.insert_if_absent(key, V::of(thread)).unwrap();
            inserted.fetch_add(u64::from(success), Ordering::Relaxed);
        }
        for key in (3..keys).step_by(71) {
            let success = session.remove(&key).unwrap().is_some();
            removed.fetch_add(u64::from(success), Ordering::Relaxed);
        }
    });
    let absent = (2..keys).step_by(71).filter(|key| is_deleted(*key)).count() as u64;
    let present = (3..keys).step_by(71).filter(|key| !is_deleted(*key)).count() as u64;
    assert_eq!((inserted.into_inner(), removed.into_inner()), (absent, present));
    assert_was_larger_than_memory(&store.stats());
}

#[test]
fn insert_if_absent_cold() {
    insert_if_absent_cold_of::<u64>(40_000);
    insert_if_absent_cold_of::<Vec<u8>>(12_000);
}
