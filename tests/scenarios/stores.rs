//! The stores that scenarios run on.

use std::path::Path;
use std::sync::Arc;

use oxifaster::prelude::*;

/// A store in memory alone.
pub(crate) type InMemory<K, V> = Arc<FasterKv<K, V, NullDisk>>;
/// A store on a file.
pub(crate) type OnFile<K, V> = Arc<FasterKv<K, V, FileSystemDisk>>;

/// 1 MiB of log memory in pages of 64 KiB, half of it updated in place: pages turn, are written and evicted all the time.
pub(crate) fn small() -> FasterKvConfig {
    FasterKvConfig {
        table_size: 1 << 12,
        log_memory_size: 1 << 20,
        page_size_bits: 16,
        mutable_fraction: 0.5,
        ..Default::default()
    }
}

/// A store without a device, with 16 MiB.
pub(crate) fn in_memory<K: PersistKey, V: PersistValue>() -> InMemory<K, V> {
    let config = small().with_log_memory_size(16 << 20);
    Arc::new(FasterKv::open(config, NullDisk::new()).unwrap())
}

/// The small store on the file `store.log` of a folder, created or opened again.
pub(crate) fn on_file<K: PersistKey, V: PersistValue>(folder: &Path) -> OnFile<K, V> {
    on_file_with(small(), folder)
}

/// As [`on_file`], with another configuration.
pub(crate) fn on_file_with<K: PersistKey, V: PersistValue>(
    config: FasterKvConfig,
    folder: &Path,
) -> OnFile<K, V> {
    let device = FileSystemDisk::single_file(folder.join("store.log")).unwrap();
    Arc::new(FasterKv::open(config, device).unwrap())
}

/// Fails unless pages were evicted and operations had to read the device.
pub(crate) fn assert_was_larger_than_memory(statistics: &Statistics) {
    assert!(statistics.pages_evicted > 0, "no page was evicted: {statistics:?}");
    assert!(statistics.device_reads > 0, "the device was not read: {statistics:?}");
}

/// Runs `body` on so many threads at once, with their numbers; a panic in one is a panic here.
pub(crate) fn on_threads(threads: u64, body: impl Fn(u64) + Sync) {
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let body = &body;
            scope.spawn(move || body(thread));
        }
    });
}
