//! Epoch protection: how something is reused while others may still look at it, without a lock on their side.
//!
//! Sessions do this themselves, per operation: an idle one holds up nobody, and there is nothing to refresh. The first
//! part uses epochs directly, the second shows what they buy in a store.
//!
//! `cargo run --example epoch_protection`
#![expect(clippy::print_stdout, reason = "an example tells what it does")]

use std::array::from_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use oxifaster::epoch::LightEpoch;
use oxifaster::prelude::*;

fn main() -> std::io::Result<()> {
    a_guard_holds_reuse_up();
    readers_never_see_a_reused_frame();

    let config = FasterKvConfig { table_size: 1 << 12, log_memory_size: 1 << 20, ..Default::default() };
    println!("A store in memory, with an idle session:");
    idle_session(&Arc::new(FasterKv::open(config.clone(), NullDisk::new())?))?;

    println!("A store on a file, with an idle session:");
    let folder = tempfile::tempdir()?;
    let device = FileSystemDisk::single_file(folder.path().join("idle.log"))?;
    let store = Arc::new(FasterKv::open(config, device)?);
    idle_session(&store)?;
    println!("  {} pages left memory meanwhile", store.stats().pages_evicted);
    assert!(store.stats().pages_evicted > 0);
    store.close()?;
    Ok(())
}

fn a_guard_holds_reuse_up() {
    let epoch = LightEpoch::new();
    let mut reader = epoch.register();
    let guard = reader.enter();
    // Unlink something here; then:
    let unlinked = epoch.bump();
    println!("A reader is inside: reuse is safe: {}", epoch.is_safe(unlinked));
    assert!(!epoch.is_safe(unlinked));
    drop(guard);
    println!("The reader has left: reuse is safe: {}", epoch.is_safe(unlinked));
    assert!(epoch.is_safe(unlinked));
}

/// Two frames; one is current. The writer fills the other one, makes it current, waits for the epoch, and wipes the
/// old one. A reader that is inside may go on with the old one: it is wiped only when that reader has left.
fn readers_never_see_a_reused_frame() {
    const READS: u64 = 2_000;
    const ROUNDS: u64 = 200;
    const WIPED: u64 = u64::MAX;
    let frames: [[AtomicU64; 64]; 2] = from_fn(|_| from_fn(|_| AtomicU64::new(0)));
    let (current, reads, done) = (AtomicUsize::new(0), AtomicU64::new(0), AtomicBool::new(false));
    let epoch = LightEpoch::new();
    let mut round = 0;
    std::thread::scope(|scope| {
        for _ in 0..2 {
            let mut participant = epoch.register();
            let (frames, current, reads, done) = (&frames, &current, &reads, &done);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    let _guard = participant.enter();
                    // Loaded after entering, used until leaving.
                    let frame = frames.get(current.load(Ordering::Acquire)).expect("two frames");
                    let words: Vec<u64> = frame.iter().map(|word| word.load(Ordering::Relaxed)).collect();
                    assert!(words.windows(2).all(|pair| pair.first() == pair.last()), "torn: {words:?}");
                    assert!(!words.contains(&WIPED), "this frame was reused under a reader");
                    reads.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        while round < ROUNDS || reads.load(Ordering::Relaxed) < READS {
            round += 1;
            let old = current.load(Ordering::Relaxed);
            let [a, b] = &frames;
            let (next, leaving) = if old == 0 { (b, a) } else { (a, b) };
            next.iter().for_each(|word| word.store(round, Ordering::Relaxed));
            current.store(1 - old, Ordering::Release);
            let unlinked = epoch.bump();
            epoch.wait_until_safe(unlinked);
            leaving.iter().for_each(|word| word.store(WIPED, Ordering::Relaxed));
        }
        done.store(true, Ordering::Relaxed);
    });
    let reads = reads.into_inner();
    println!("Frames were reused {round} times under {reads} reads; none saw a wiped one");
    assert!(round >= ROUNDS && reads >= READS);
}

/// Writes more than memory holds while another session, open all the time, does nothing.
fn idle_session<D: StorageDevice>(store: &Arc<FasterKv<u64, u64, D>>) -> Result<(), Error> {
    let mut idle = store.start_session()?;
    idle.upsert(0, 1)?;
    let mut busy = store.start_session()?;
    for round in 0..30_u64 {
        for key in 1..=4_000 {
            // Deleting and inserting again appends: about 5 MB of records over all rounds.
            busy.delete(&key)?;
            busy.upsert(key, key + round)?;
        }
    }
    let statistics = store.stats();
    println!("  {} bytes appended beside it in 1 MiB of memory", statistics.appended_bytes);
    assert!(statistics.appended_bytes > 2 << 20);
    assert_eq!(busy.read(&4_000)?, Some(4_029));
    assert_eq!(idle.read(&0)?, Some(1));
    Ok(())
}
