//! Operations as futures: real wake-ups, many device reads in flight from one thread, and any executor: here two of them.
//!
//! `cargo run --example async_operations`
#![expect(clippy::print_stdout, reason = "an example tells what it does")]

use std::sync::Arc;

use oxifaster::prelude::*;

const KEYS: u64 = 80_000;

fn main() -> std::io::Result<()> {
    let config = FasterKvConfig { table_size: 1 << 14, log_memory_size: 8 << 20, ..Default::default() };
    println!("In memory, on an executor that is one function:");
    let store = Arc::new(FasterKv::open(config.clone(), NullDisk::new())?);
    pollster::block_on(story(Arc::clone(&store)))?;
    assert_eq!(store.stats().device_reads, 0);

    println!("On a file with 1 MiB of memory, on tokio, 200 tasks with one session:");
    let folder = tempfile::tempdir()?;
    let device = FileSystemDisk::single_file(folder.path().join("async.log"))?;
    let store = Arc::new(FasterKv::open(config.with_log_memory_size(1 << 20), device)?);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build()?;
    runtime.block_on(story(Arc::clone(&store)))?;
    runtime.block_on(many_tasks(Arc::clone(&store)))?;
    println!("  {} operations looked at the device", store.stats().pending_operations);
    assert!(store.stats().pending_operations > 0);
    store.close()?;
    Ok(())
}

/// Nothing in here knows the executor.
async fn story<D: StorageDevice>(store: Arc<FasterKv<u64, u64, D>>) -> Result<(), Error> {
    let session = store.start_async_session()?;
    for key in 0..KEYS {
        session.upsert(key, key * 3).await?;
    }
    // The oldest key: with little memory it is on the device now.
    let first = session.read(&0).await?;
    let outcome = session
        .rmw(1, |value| {
            *value += 1;
            true
        })
        .await?;
    println!("  key 0 has {first:?}, key 1 was {outcome:?} to {:?}", session.read(&1).await?);
    assert_eq!((first, outcome), (Some(0), RmwOutcome::Updated));
    assert_eq!(session.read(&1).await?, Some(4));

    session.delete(&2).await?;
    assert_eq!(session.read(&2).await?, None);
    assert_eq!(session.remove(&3).await?, Some(9));
    assert!(session.insert_if_absent(3, 9).await?);
    Ok(())
}

async fn many_tasks<D: StorageDevice>(store: Arc<FasterKv<u64, u64, D>>) -> std::io::Result<()> {
    let session = Arc::new(store.start_async_session()?);
    let tasks: Vec<_> = (10..KEYS)
        .step_by(400)
        .map(|key| {
            let session = Arc::clone(&session);
            tokio::spawn(async move { session.read(&key).await.map(|value| (key, value)) })
        })
        .collect();
    let count = tasks.len();
    for task in tasks {
        let (key, value) = task.await??;
        assert_eq!(value, Some(key * 3));
    }
    println!("  {count} tasks read their key");
    Ok(())
}
