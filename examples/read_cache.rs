//! A few hot keys among many that are never written again: their pages leave memory, the read cache keeps their records.
//!
//! `cargo run --example read_cache`
#![expect(clippy::print_stdout, reason = "an example tells what it does")]

use std::sync::Arc;

use oxifaster::cache::ReadCacheConfig;
use oxifaster::prelude::*;

const KEYS: u64 = 200_000;
/// Every fortieth key is read often.
const HOT: u64 = 40;
const READS: u64 = 20_000;

fn main() -> std::io::Result<()> {
    let without = device_reads(None)?;
    println!("{READS} reads of {} keys without a cache: {without} device reads", KEYS / HOT);
    let with = device_reads(Some(ReadCacheConfig::default().with_mem_size(1 << 20)))?;
    println!("the same with 1 MiB of read cache: {with} device reads");
    assert!(with * 2 < without, "{with} and {without}");
    Ok(())
}

/// Fills a store with more than its memory holds, reads hot keys, and says how often the device was read.
fn device_reads(cache: Option<ReadCacheConfig>) -> std::io::Result<u64> {
    let folder = tempfile::tempdir()?;
    let device = FileSystemDisk::single_file(folder.path().join("store.log"))?;
    // 1 MiB for the newest part of 4.8 MB of records.
    let config = FasterKvConfig {
        table_size: 1 << 16,
        log_memory_size: 1 << 20,
        read_cache: cache,
        ..Default::default()
    };
    let store = Arc::new(FasterKv::<u64, u64, _>::open(config, device)?);
    let mut session = store.start_session()?;
    for key in 0..KEYS {
        session.upsert(key, key * key)?;
    }
    for number in 0..READS {
        let key = number * HOT % KEYS;
        assert_eq!(session.read(&key)?, Some(key * key));
    }
    // What is written is seen at once; the copy of the old record is never asked for again.
    session.upsert(0, 1)?;
    assert_eq!(session.read(&0)?, Some(1));
    let statistics = store.stats();
    if statistics.read_cache_hits > 0 {
        println!(
            "  {} records were found in the cache, {} were read from the device and kept",
            statistics.read_cache_hits, statistics.read_cache_inserts
        );
    }
    store.close()?;
    Ok(statistics.device_reads)
}
