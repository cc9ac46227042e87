//! One store, many threads: each has its own session, no increment is lost, and of many inserts of a key one wins.
//!
//! `cargo run --example concurrent_access`
#![expect(clippy::print_stdout, reason = "an example tells what it does")]

use std::sync::Arc;

use oxifaster::prelude::*;

const THREADS: u64 = 4;
/// Counters that all threads raise.
const COUNTERS: u64 = 500;
const INCREMENTS_PER_THREAD: u64 = 40_000;
/// Keys that a thread writes for itself.
const KEYS_PER_THREAD: u64 = 20_000;

fn main() -> std::io::Result<()> {
    println!("In 16 MiB of memory:");
    let config = FasterKvConfig { table_size: 1 << 14, log_memory_size: 16 << 20, ..Default::default() };
    let store = Arc::new(FasterKv::open(config.clone(), NullDisk::new())?);
    work(&store)?;
    assert_eq!(store.stats().device_reads, 0);

    println!("On a file, with 1 MiB of memory for about 2 MiB of records:");
    let folder = tempfile::tempdir()?;
    let device = FileSystemDisk::single_file(folder.path().join("counters.log"))?;
    let store = Arc::new(FasterKv::open(config.with_log_memory_size(1 << 20), device)?);
    work(&store)?;
    let statistics = store.stats();
    println!(
        "  {} bytes of log, {} of them in memory, {} device reads",
        statistics.log_bytes, statistics.log_bytes_in_memory, statistics.device_reads
    );
    assert!(statistics.device_reads > 0 && statistics.log_bytes_in_memory <= 1 << 20);
    store.close()?;
    Ok(())
}

fn work<D: StorageDevice>(store: &Arc<FasterKv<u64, u64, D>>) -> Result<(), Error> {
    let won = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..THREADS).map(|thread| scope.spawn(move || one_thread(store, thread))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("a thread panicked"))
            .sum::<Result<u64, Error>>()
    })?;
    println!("  {THREADS} threads tried to insert {COUNTERS} marks each: {won} inserts won");
    assert_eq!(won, COUNTERS);

    let mut session = store.start_session()?;
    let counters: Vec<u64> = (0..COUNTERS).collect();
    let sum: u64 = session.read_batch(&counters)?.into_iter().flatten().sum();
    println!("  {THREADS} x {INCREMENTS_PER_THREAD} increments of {COUNTERS} counters: the sum is {sum}");
    assert_eq!(sum, THREADS * INCREMENTS_PER_THREAD);

    let sample: Vec<u64> = (0..THREADS * KEYS_PER_THREAD).step_by(97).map(own_key).collect();
    let values = session.read_batch(&sample)?;
    println!("  {} of {} sampled keys have their value", values.iter().flatten().count(), sample.len());
    assert!(sample.iter().zip(values).all(|(key, value)| value == Some(key * 2)));
    Ok(())
}

/// Returns how many marks this thread was the one to insert.
fn one_thread<D: StorageDevice>(store: &Arc<FasterKv<u64, u64, D>>, thread: u64) -> Result<u64, Error> {
    let mut session = store.start_session()?;
    for number in 0..INCREMENTS_PER_THREAD {
        session.rmw((number * 7 + thread) % COUNTERS, |count| {
            *count += 1;
            true
        })?;
    }
    let mut won = 0;
    for mark in 0..COUNTERS {
        won += u64::from(session.insert_if_absent(1_000_000 + mark, thread)?);
    }
    for number in 0..KEYS_PER_THREAD {
        let key = own_key(thread * KEYS_PER_THREAD + number);
        session.upsert(key, key * 2)?;
    }
    Ok(won)
}

/// Keys that are neither counters nor marks.
fn own_key(number: u64) -> u64 {
    10_000_000 + number
}
