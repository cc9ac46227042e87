//! A store whose cold records are read through `io_uring`: one system call for many reads, and no other thread.
//!
//! `cargo run --release --features io_uring --example io_uring`. Where the kernel has no `io_uring`, the device takes the
//! portable path and says so; the program does the same either way.
#![expect(clippy::print_stdout, reason = "an example tells what it does")]

use std::sync::Arc;

use oxifaster::device::{IoUringDevice, IoUringOptions, RingUse};
use oxifaster::prelude::*;

const KEYS: u64 = 200_000;

fn main() -> std::io::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("store.log");
    // A log memory of 1 MiB for 4.8 MB of records: most of them are on the device when they are read.
    let config = FasterKvConfig {
        table_size: 1 << 16,
        log_memory_size: 1 << 20,
        page_size_bits: 16,
        ..Default::default()
    };

    let device = IoUringDevice::new(&path)?;
    println!("reads go through {}", device.backend());
    let store = Arc::new(FasterKv::<u64, u64, _>::open(config.clone(), device)?);
    let mut session = store.start_session()?;
    for key in 0..KEYS {
        session.upsert(key, key * key)?;
    }

    // A batch keeps many reads in flight; a single read is one system call on this thread.
    let keys: Vec<u64> = (0..KEYS).step_by(97).collect();
    for (key, value) in keys.iter().zip(session.read_batch(&keys)?) {
        assert_eq!(value, Some(key * key));
    }
    assert_eq!(session.read(&123)?, Some(123 * 123));
    let statistics = store.stats();
    println!("{} keys read, {} of them from the device", keys.len() + 1, statistics.device_reads);
    assert!(statistics.device_reads > keys.len() as u64 / 2, "{statistics:?}");
    store.close()?;
    drop((session, store));

    // The files are those of `FileSystemDisk`; either device opens them. This one is told not to use rings.
    let options = IoUringOptions::default().with_rings(RingUse::Never);
    let device = IoUringDevice::with_options(&path, options)?;
    println!("opened again; reads go through {}", device.backend());
    let store = Arc::new(FasterKv::<u64, u64, _>::open(config, device)?);
    assert_eq!(store.start_session()?.read(&(KEYS - 1))?, Some((KEYS - 1) * (KEYS - 1)));
    Ok(())
}
