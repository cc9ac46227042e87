//! Operations as futures whose records are on the device, finished and dropped.

use std::collections::HashMap;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use oxifaster::prelude::*;

use crate::cold::{cold_store, is_deleted};
use crate::gate::{Gate, GatedDisk};
use crate::samples::{Sample, increment};
use crate::stores::{assert_was_larger_than_memory, small};

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

#[test]
fn async_cold() {
    let folder = tempfile::tempdir().unwrap();
    let store = cold_store::<Vec<u8>>(folder.path(), 20_000);
    run(async {
        let session = Arc::new(store.start_async_session().unwrap());
        // All of them are started before the first one is looked at, on one thread.
        let reads: Vec<_> = (0..10_000_u64)
            .map(|key| {
                let session = Arc::clone(&session);
                tokio::spawn(async move { session.read(&key).await.unwrap() })
            })
            .collect();
        for (key, read) in (0_u64..).zip(reads) {
            let expected = (!is_deleted(key)).then_some(key);
            assert_eq!(read.await.unwrap().map(|value| value.number()), expected, "key {key}");
        }
        // Updates of what is cold and what is absent, 4,000 at once.
        let updates: Vec<_> = (0..4_000_u64)
            .map(|number| {
                let session = Arc::clone(&session);
                tokio::spawn(async move {
                    let key = number / 4;
                    match number % 4 {
                        0 | 1 => {
                            assert_ne!(session.rmw(key, increment).await.unwrap(), RmwOutcome::Unchanged)
                        }
                        2 => assert!(session.compare_exchange(key, vec![], vec![]).await.unwrap().is_err()),
                        _ => assert_eq!(session.rmw(key, |_| false).await.unwrap(), RmwOutcome::Unchanged),
                    }
                })
            })
            .collect();
        for update in updates {
            update.await.unwrap();
        }
        for key in 0..1_000_u64 {
            let expected = if is_deleted(key) { 2 } else { key + 2 };
            assert_eq!(session.read(&key).await.unwrap().map(|value| value.number()), Some(expected));
        }
        assert_eq!(session.serial_num(), 2_000);
        for key in 1_000..1_500_u64 {
            let inserted = session.insert_if_absent(key, Vec::of(3)).await.unwrap();
            assert_eq!(inserted, is_deleted(key));
            let removed = session.remove(&key).await.unwrap().map(|value| value.number());
            assert_eq!(removed, Some(if inserted { 3 } else { key }));
            session.delete(&key).await.unwrap();
            assert_eq!(session.read(&key).await.unwrap(), None);
        }
        // More than the memory holds: futures wait for room too.
        let writes: Vec<_> = (0..4_u64)
            .map(|writer| {
                let session = Arc::clone(&session);
                tokio::spawn(async move {
                    for number in 0..10_000 {
                        session.upsert((1 << 40) + writer * 10_000 + number, Vec::of(number)).await.unwrap();
                    }
                })
            })
            .collect();
        for write in writes {
            write.await.unwrap();
        }
    });
    assert_was_larger_than_memory(&store.stats());
    assert!(store.stats().device_reads >= 5_000, "{:?}", store.stats());
}

/// Polls a future at most `polls` times; waits for its waker in between, with the gate open for the last time given.
fn poll_some<T>(future: impl Future<Output = T>, polls: usize, gate: &Gate) -> Option<T> {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    for poll in 0..polls {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Some(output);
        }
        if poll + 1 == polls {
            return None; // dropped with its request in flight
        }
        gate.open();
        // The reply is there soon, and polling early is allowed.
        oxifaster_device::sync::thread::sleep(std::time::Duration::from_micros(200));
        gate.hold_reads();
    }
    None
}

type GatedStore = Arc<FasterKv<u64, Vec<u8>, GatedDisk>>;
type Effect<'a> = Pin<Box<dyn Future<Output = Result<Option<u64>, Error>> + 'a>>;

/// One operation on a cold key, as a future of the number that the key's value has afterwards; `None`: absent.
fn operation<'a>(
    session: &'a AsyncSession<u64, Vec<u8>, GatedDisk>,
    kind: u64,
    key: u64,
    before: Option<u64>,
    ran: &'a AtomicU64,
) -> Effect<'a> {
    Box::pin(async move {
        match kind {
            0 => Ok(session.read(&key).await?.map(|value| value.number())),
            1 => {
                session
                    .rmw(key, |value| {
                        ran.fetch_add(1, Ordering::Relaxed);
                        increment(value)
                    })
                    .await?;
                Ok(Some(before.unwrap_or(0) + 1))
            }
            2 => session.remove(&key).await.map(|_| None),
            3 => {
                let inserted = session.insert_if_absent(key, Vec::of(5)).await?;
                Ok(if inserted { Some(5) } else { before })
            }
            4 => {
                let expected = Vec::of(before.unwrap_or(0));
                let exchanged = session.compare_exchange(key, expected, Vec::of(6)).await?;
                Ok(if exchanged.is_ok() { Some(6) } else { before })
            }
            _ => session.upsert(key, Vec::of(7)).await.map(|()| Some(7)),
        }
    })
}

fn gated_store(folder: &std::path::Path, keys: u64) -> (GatedStore, Gate) {
    let (device, gate) = GatedDisk::new(FileSystemDisk::single_file(folder.join("store.log")).unwrap());
    let store: GatedStore = Arc::new(FasterKv::open(small(), device).unwrap());
    let mut session = store.start_session().unwrap();
    for key in 0..keys * 4 {
        session.upsert(key, Vec::of(key)).unwrap();
    }
    (store, gate)
}

#[test]
fn dropped_future() {
    const KEYS: u64 = 6_000;
    let folder = tempfile::tempdir().unwrap();
    let (store, gate) = gated_store(folder.path(), KEYS);
    let session = store.start_async_session().unwrap();
    let ran = AtomicU64::new(0);
    let mut expected = HashMap::new();
    let mut dropped = 0;
    let mut effects = 0;
    gate.hold_reads();
    for key in 0..1_200 {
        let (kind, polls) = (key % 6, 1 + (key / 6 % 3) as usize);
        let serial = session.serial_num();
        let future = operation(&session, kind, key, Some(key), &ran);
        match poll_some(future, polls, &gate) {
            Some(after) => {
                expected.insert(key, after.unwrap());
            }
            None => {
                // It has not taken effect, and never will: the serial says so.
                dropped += 1;
                assert_eq!(session.serial_num(), serial, "key {key}");
                expected.insert(key, Some(key));
            }
        }
        effects += session.serial_num() - serial;
    }
    assert!(dropped > 300, "only {dropped} futures were dropped");
    assert!(effects > 100, "only {effects} updates took effect");
    gate.open();
    let mut blocking = store.start_session().unwrap();
    let check = |blocking: &mut Session<u64, Vec<u8>, GatedDisk>| {
        for key in 0..KEYS {
            let after = expected.get(&key).copied().unwrap_or(Some(key));
            assert_eq!(blocking.read(&key).unwrap().map(|value| value.number()), after, "key {key}");
        }
    };
    check(&mut blocking);
    // Not even later, when everything that was in flight has long come back.
    run(async { assert_eq!(session.read(&(KEYS - 1)).await.unwrap(), Some(Vec::of(KEYS - 1))) });
    check(&mut blocking);
    let increments = ran.load(Ordering::Relaxed);
    assert!(increments > 0);
    drop((session, blocking));
    // Nothing holds the store any more: it closes, and its file can be opened again.
    store.close().unwrap();
    let store = Arc::into_inner(store).expect("something leaked a reference to the store");
    drop(store);
    let device = FileSystemDisk::single_file(folder.path().join("store.log")).unwrap();
    let store = Arc::new(FasterKv::<u64, Vec<u8>, _>::open(small(), device).unwrap());
    let mut session = store.start_session().unwrap();
    for (key, after) in expected {
        assert_eq!(session.read(&key).unwrap().map(|value| value.number()), after, "key {key}");
    }
}

/// While a search for a cold record is under way, the record is superseded and its successor goes to the device too: the
/// result of the search is not the newest value any more.
#[test]
fn rmw_cold_while_pages_are_evicted() {
    let folder = tempfile::tempdir().unwrap();
    let (store, gate) = gated_store(folder.path(), 6_000);
    let session = store.start_async_session().unwrap();
    let mut blocking = store.start_session().unwrap();
    gate.hold_reads();
    let mut context = Context::from_waker(Waker::noop());
    let (rmws, removes) = (0..20_u64, 20..30_u64);
    let mut futures: Vec<_> = rmws.clone().map(|key| Box::pin(session.rmw(key, increment))).collect();
    for future in &mut futures {
        assert!(future.as_mut().poll(&mut context).is_pending());
    }
    let keys: Vec<u64> = removes.clone().collect();
    let mut more: Vec<_> = keys.iter().map(|key| Box::pin(session.remove(key))).collect();
    for future in &mut more {
        assert!(future.as_mut().poll(&mut context).is_pending());
    }
    // Every third key is changed, every third deleted, and all of that is evicted.
    for key in 0..30 {
        match key % 3 {
            0 => blocking.upsert(key, Vec::of(1_000 + key)).unwrap(),
            1 => blocking.delete(&key).unwrap(),
            _ => {}
        }
    }
    let evicted = store.stats().pages_evicted;
    let mut ballast = 1 << 40;
    while store.stats().pages_evicted < evicted + 18 {
        blocking.upsert(ballast, Vec::of(ballast)).unwrap();
        ballast += 1;
    }
    gate.open();
    let newest = |key: u64| match key % 3 {
        0 => Some(1_000 + key),
        1 => None,
        _ => Some(key),
    };
    run(async {
        for (key, future) in rmws.zip(futures) {
            let outcome = future.await.unwrap();
            assert_eq!(outcome == RmwOutcome::Created, newest(key).is_none(), "key {key}");
            let read = blocking.read(&key).unwrap().map(|value| value.number());
            assert_eq!(read, Some(newest(key).unwrap_or(0) + 1), "key {key}");
        }
        for (key, future) in removes.zip(more) {
            assert_eq!(future.await.unwrap().map(|value| value.number()), newest(key), "key {key}");
            assert_eq!(blocking.read(&key).unwrap(), None, "key {key}");
        }
    });
}

/// Futures that wait for room in the log are dropped, and the store is closed while others still wait.
#[test]
fn dropped_future_that_waits_for_room() {
    let folder = tempfile::tempdir().unwrap();
    let (store, gate) = gated_store(folder.path(), 100);
    gate.hold_writes();
    let session = store.start_async_session().unwrap();
    let mut context = Context::from_waker(Waker::noop());
    let mut waiting = Vec::new();
    let mut written = Vec::new();
    for key in 10_000.. {
        let mut future = Box::pin(session.upsert(key, vec![1; 2_000]));
        let mut result = future.as_mut().poll(&mut context);
        // Turning a page takes a moment; waiting for a frame takes as long as the gate is closed.
        let mut patience = if waiting.is_empty() { 1_000 } else { 0 };
        while result.is_pending() && patience > 0 {
            oxifaster_device::sync::thread::sleep(std::time::Duration::from_millis(1));
            result = future.as_mut().poll(&mut context);
            patience -= 1;
        }
        match result {
            Poll::Ready(result) => {
                result.unwrap();
                written.push(key);
            }
            Poll::Pending => waiting.push((key, future)),
        }
        if waiting.len() == 20 {
            break;
        }
    }
    assert_eq!(session.serial_num(), written.len() as u64);
    let kept = waiting.split_off(10);
    let dropped: Vec<u64> = waiting.into_iter().map(|(key, _)| key).collect();
    gate.open();
    run(async {
        for (key, future) in kept {
            future.await.unwrap();
            written.push(key);
        }
        for key in &written {
            assert_eq!(session.read(key).await.unwrap(), Some(vec![1; 2_000]), "key {key}");
        }
        for key in &dropped {
            assert_eq!(session.read(key).await.unwrap(), None, "key {key}");
        }
    });
    assert_eq!(session.serial_num(), written.len() as u64);
    // Closed with reads in flight: they get an error or their value, and nobody hangs.
    gate.hold_reads();
    let mut reads: Vec<_> = (0..50_u64)
        .map(|key| {
            let session = &session;
            Box::pin(async move { (key, session.read(&key).await) })
        })
        .collect();
    reads.retain_mut(|read| read.as_mut().poll(&mut context).is_pending());
    assert!(reads.len() > 25, "only {} reads are cold", reads.len());
    reads.truncate(25);
    gate.open();
    store.close().unwrap();
    run(async {
        for read in reads {
            match read.await {
                (_, Err(error)) => assert_eq!(error.kind(), ErrorKind::Closed, "{error}"),
                (key, Ok(value)) => assert_eq!(value, Some(Vec::of(key))),
            }
        }
    });
}

/// A panicking closure inside a future leaves the session usable.
#[test]
fn closure_panics_in_a_future() {
    let folder = tempfile::tempdir().unwrap();
    let store = cold_store::<Vec<u8>>(folder.path(), 20_000);
    let session = store.start_async_session().unwrap();
    for key in [1, 19_999, 50_000] {
        let before = run(session.read(&key)).unwrap();
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            run(session.rmw(key, |value| {
                value.clear();
                panic!("a user's closure panics")
            }))
        }));
        assert!(panicked.is_err());
        assert_eq!(run(session.read(&key)).unwrap(), before);
        run(session.rmw(key, increment)).unwrap();
        let number = before.map_or(0, |value| value.number());
        assert_eq!(run(session.read(&key)).unwrap(), Some(Vec::of(number + 1)));
    }
    assert_eq!(session.serial_num(), 3);
}
