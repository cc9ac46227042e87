//! Values of any length: from nothing to almost a page, growing and shrinking, read without an allocation per call.
//!
//! `cargo run --example variable_length`
#![expect(clippy::print_stdout, reason = "an example tells what it does")]

use std::sync::Arc;

use oxifaster::prelude::*;

/// 1 MiB of memory and pages of 64 KiB: a record must fit into a page.
fn config() -> FasterKvConfig {
    FasterKvConfig { table_size: 1 << 10, log_memory_size: 1 << 20, page_size_bits: 16, ..Default::default() }
}

fn main() -> std::io::Result<()> {
    println!("In memory:");
    documents(&Arc::new(FasterKv::open(config(), NullDisk::new())?), 10)?;
    bytes(&Arc::new(FasterKv::open(config(), NullDisk::new())?))?;

    println!("On files:");
    let folder = tempfile::tempdir()?;
    let device = FileSystemDisk::single_file(folder.path().join("documents.log"))?;
    let store = Arc::new(FasterKv::open(config(), device)?);
    documents(&store, 200)?;
    println!("  {} bytes of log, 1 MiB of memory", store.stats().log_bytes);
    assert!(store.stats().log_bytes > 2 << 20);
    store.close()?;
    bytes(&Arc::new(FasterKv::open(
        config(),
        FileSystemDisk::segmented(folder.path(), "bytes", 16 << 20)?,
    )?))?;
    Ok(())
}

/// Text under text keys.
fn documents<D: StorageDevice>(store: &Arc<FasterKv<String, String, D>>, count: usize) -> Result<(), Error> {
    let mut session = store.start_session()?;
    let text = |number: usize| format!("Document {number}. ").repeat(number * 7 % 1_500 + 1);
    for number in 0..count {
        session.upsert(format!("doc/{number}"), text(number))?;
    }
    let mut total = 0;
    for number in 0..count {
        let found = session.read(format!("doc/{number}").as_str())?;
        assert_eq!(found.as_deref(), Some(text(number).as_str()));
        total += found.map_or(0, |text| text.len());
    }
    println!("  {count} documents, {total} bytes of text");

    session.rmw("doc/0", |text| {
        text.push_str("An appendix.");
        true
    })?;
    assert_eq!(session.read("doc/0")?.as_deref(), Some("Document 0. An appendix."));
    Ok(())
}

/// Bytes under byte keys.
fn bytes<D: StorageDevice>(store: &Arc<FasterKv<Vec<u8>, Vec<u8>, D>>) -> Result<(), Error> {
    let mut session = store.start_session()?;
    let mut buffer = Vec::new();
    for len in [0, 1, 7, 8, 9, 4_000, 100, 60_000, 3] {
        session.upsert(b"blob", vec![b'x'; len])?;
        // Copies into the caller's buffer, which is allocated once.
        assert!(session.read_into(b"blob".as_slice(), &mut buffer)?);
        assert_eq!(buffer, vec![b'x'; len]);
    }
    let view = session.read_view(b"blob".as_slice())?.map(|view| view.len());
    println!("  one key had nine lengths up to 60,000 bytes; now it has {view:?}");
    assert_eq!(view, Some(3));

    let error = session.upsert(b"blob", vec![0; 64 << 10]).expect_err("larger than a page");
    println!("  64 KiB in a page of 64 KiB: {error}");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(session.read(b"blob".as_slice())?, Some(b"xxx".to_vec()), "nothing has changed");
    Ok(())
}
