//! First steps: open a store, write, read, change, delete; in memory, then on a file that is closed and opened again.
//!
//! `cargo run --example basic_kv`
#![expect(clippy::print_stdout, reason = "an example tells what it does")]

use std::sync::Arc;

use oxifaster::prelude::*;

fn main() -> std::io::Result<()> {
    println!("A store in memory:");
    let store = Arc::new(FasterKv::open(config(), NullDisk::new())?);
    fill(&store)?;

    println!("The same on a file:");
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("fruit.log");
    let store = Arc::new(FasterKv::open(config(), FileSystemDisk::single_file(&path)?)?);
    fill(&store)?;
    store.close()?;
    // The file stays locked until the last handle is gone.
    drop(store);

    println!("The file, opened again:");
    let store = Arc::new(FasterKv::open(config(), FileSystemDisk::single_file(&path)?)?);
    let report = store.recovery_report();
    println!("  it was closed: {}; {} records were read and verified", report.was_closed, report.records);
    assert!(report.was_closed && !report.created);
    expect_content(&store)?;
    Ok(())
}

/// Small, because the example is. `FasterKvConfig::default()` takes 256 MiB.
fn config() -> FasterKvConfig {
    FasterKvConfig { table_size: 1 << 10, log_memory_size: 1 << 20, ..Default::default() }
}

fn fill<D: StorageDevice>(store: &Arc<FasterKv<String, u64, D>>) -> Result<(), Error> {
    let mut session = store.start_session()?;
    session.upsert("apples", 3)?;
    session.upsert("pears", 5)?;
    println!("  apples: {:?}, plums: {:?}", session.read("apples")?, session.read("plums")?);
    assert_eq!(session.read("apples")?, Some(3));
    assert_eq!(session.read("plums")?, None);

    // The closure gets a private copy and says whether to keep what it did. A key that is absent starts from zero.
    let sell_two = |count: &mut u64| {
        let enough = *count >= 2;
        *count = count.saturating_sub(2);
        enough
    };
    assert_eq!(session.rmw("apples", sell_two)?, RmwOutcome::Updated);
    assert_eq!(session.rmw("apples", sell_two)?, RmwOutcome::Unchanged, "one apple is not enough");
    assert_eq!(
        session.rmw("plums", |count| {
            *count += 7;
            true
        })?,
        RmwOutcome::Created
    );
    println!("  after selling two apples and buying seven plums: {:?}", session.read_batch(&all())?);

    // Conditional operations, each atomic.
    assert!(!session.insert_if_absent("plums", 100)?, "there are plums already");
    assert_eq!(session.compare_exchange("plums", 6, 8)?, Err(Some(7)), "not six, seven");
    assert_eq!(session.fetch_add("apples", 10)?, 1);

    session.delete("pears")?;
    println!("  without the pears: {:?}", session.read_batch(&all())?);
    expect_content(store)
}

fn all() -> [String; 3] {
    ["apples", "pears", "plums"].map(str::to_owned)
}

fn expect_content<D: StorageDevice>(store: &Arc<FasterKv<String, u64, D>>) -> Result<(), Error> {
    let mut session = store.start_session()?;
    let content = session.read_batch(&all())?;
    println!("  apples, pears, plums: {content:?}");
    assert_eq!(content, [Some(11), None, Some(7)]);
    Ok(())
}
