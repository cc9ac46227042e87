//! A durable log: appends from several threads, group commit, scans, a tail that follows, a reader beside the writer, truncation, a restart.
//!
//! `cargo run --example faster_log`
#![expect(clippy::print_stdout, reason = "an example tells what it does")]

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use futures_core::Stream;
use oxifaster::log::{CommitPolicy, ScanEnd};
use oxifaster::prelude::*;

const THREADS: u64 = 3;
const EACH: u64 = 1000;

fn config() -> FasterLogConfig {
    FasterLogConfig {
        commit_policy: CommitPolicy::Every(Duration::from_millis(2)),
        ..FasterLogConfig::default().with_page_size(1 << 16).with_memory_pages(16)
    }
}

fn main() -> std::io::Result<()> {
    println!("In memory:");
    let log = FasterLog::open(config(), NullDisk::new())?;
    write_and_follow(&log)?;

    println!("On files:");
    let folder = tempfile::tempdir()?;
    let open = || FileSystemDisk::segmented(folder.path(), "events", 1 << 20);
    let log = FasterLog::open(config(), open()?)?;
    write_and_follow(&log)?;
    let last = log.append_and_commit(b"this one survives power loss")?;
    // What another process sees, which takes no lock and writes nothing.
    let reader = FasterLog::open_read_only(FileSystemDisk::segmented_read_only(folder.path(), "events")?)?;
    assert_eq!(reader.read_entry(last)?.as_deref(), Some(&b"this one survives power loss"[..]));
    println!("  read beside its writer: {} entries", reader.scan_all().count());
    // A consumer whose place survives with a commit.
    let mut consumer = log.named_iterator("consumer")?;
    consumer.try_next()?;
    consumer.complete()?;
    drop((reader, consumer));
    log.append(b"this one is committed by the close")?;
    log.close()?;
    drop(log);

    let log = FasterLog::open(config(), open()?)?;
    println!("  opened again: {} entries, commit {}", log.commit_info().entries, log.commit_info().number);
    assert_eq!(log.read_entry(last)?.as_deref(), Some(&b"this one survives power loss"[..]));
    let (second, _) =
        log.named_iterator("consumer")?.try_next()?.ok_or_else(|| std::io::Error::other("more"))?;
    assert_eq!(Some(second), log.address_of(1)?);
    let middle = log.address_of(EACH)?.ok_or_else(|| std::io::Error::other("entry 1000 is there"))?;
    log.truncate_before(middle)?;
    log.truncate_suffix(last)?;
    assert_eq!(log.scan(..).count() as u64, (THREADS - 1) * EACH);
    let mut scan = log.scan(middle..);
    assert!(scan.by_ref().all(|entry| entry.is_ok()));
    assert_eq!(scan.finish()?, ScanEnd::EndOfLog);
    println!(
        "  truncated at both ends: {} entries, checked: {:?}",
        log.scan_all().count(),
        log.self_check()?
    );
    log.close()?;
    Ok(())
}

/// Threads append, and wait for commits that they share; a reader follows.
fn write_and_follow(log: &FasterLog) -> std::io::Result<()> {
    let mut tail = log.tail(log.begin_address());
    std::thread::scope(|scope| {
        let reader = scope.spawn(move || {
            let mut seen = 0;
            while seen < THREADS * EACH {
                // Sleeps until a commit wakes it.
                let next = pollster::block_on(poll_fn(|context| Pin::new(&mut tail).poll_next(context)));
                match next {
                    Some(Ok((_, entry))) => assert!(entry.starts_with(b"thread ")),
                    Some(Err(error)) => return Err(error),
                    None => break,
                }
                seen += 1;
            }
            Ok(seen)
        });
        let writers: Vec<_> = (0..THREADS)
            .map(|thread| {
                scope.spawn(move || -> Result<(), Error> {
                    for number in 0..EACH / 2 {
                        let one = format!("thread {thread}, entry {number}");
                        let two = format!("thread {thread}, entry {number} once more");
                        let addresses = log.append_batch(&[one, two])?;
                        if number % 100 == 99 {
                            log.wait_for_commit(addresses.last().copied().unwrap_or_default())?;
                        }
                    }
                    Ok(())
                })
            })
            .collect();
        for writer in writers {
            writer.join().expect("a writer does not panic")?;
        }
        let info = log.commit()?;
        let seen = reader.join().expect("the reader does not panic")?;
        assert_eq!(seen, THREADS * EACH);
        println!("  {seen} entries followed, {} commits for them", info.number);
        Ok(())
    })
}
