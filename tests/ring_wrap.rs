//! `ring_wrap`: data ten times larger than memory. An earlier implementation let its page ring overwrite live pages: all
//! upserts reported success, and 44 % of the keys were silently gone.

use std::sync::Arc;

use oxifaster::prelude::*;

fn config() -> FasterKvConfig {
    FasterKvConfig { table_size: 1 << 16, log_memory_size: 1 << 20, ..Default::default() }
}

#[test]
fn ring_wrap() {
    let folder = tempfile::tempdir().unwrap();
    let device = FileSystemDisk::single_file(folder.path().join("store.log")).unwrap();
    let store = Arc::new(FasterKv::<u64, u64, _>::open(config(), device).unwrap());
    // 24 bytes each: 10.5 MB of records in 1 MiB of memory.
    let keys = 440_000_u64;
    let mut session = store.start_session().unwrap();
    for key in 0..keys {
        session.upsert(key, key * 3).unwrap();
    }
    for key in (0..keys).step_by(171) {
        assert_eq!(session.read(&key).unwrap(), Some(key * 3), "key {key}");
    }
    let sample: Vec<u64> = (0..keys).step_by(13).collect();
    let expected: Vec<Option<u64>> = sample.iter().map(|key| Some(key * 3)).collect();
    assert_eq!(session.read_batch(&sample).unwrap(), expected);
    assert_eq!(session.read(&keys).unwrap(), None);
    let statistics = store.stats();
    assert!(statistics.device_reads > 0, "the device was not used: {statistics:?}");
    assert!(statistics.log_bytes_in_memory <= 1 << 20, "{statistics:?}");
    drop(session);
    store.close().unwrap();
    drop(store);

    let device = FileSystemDisk::single_file(folder.path().join("store.log")).unwrap();
    let store = Arc::new(FasterKv::<u64, u64, _>::open(config(), device).unwrap());
    assert_eq!(store.recovery_report().records, keys);
    let mut session = store.start_session().unwrap();
    assert_eq!(session.read_batch(&sample).unwrap(), expected);
}
