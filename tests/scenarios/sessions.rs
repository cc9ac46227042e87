//! Sessions: idle ones hold up nobody, they move between threads, and there is no limit to their number.

use std::sync::Arc;
use std::sync::mpsc;

use oxifaster::prelude::*;
use oxifaster::status::Status;

use crate::samples::{Sample, increment};
use crate::stores::{in_memory, on_file, on_threads};

const BALLAST: u64 = 1 << 40;

#[test]
fn idle_session() {
    let folder = tempfile::tempdir().unwrap();
    let store = on_file::<u64, Vec<u8>>(folder.path());
    let mut first = store.start_session().unwrap();
    for key in 0..20_000_u64 {
        first.upsert(key, Vec::of(key)).unwrap();
    }
    // Idle after every kind of operation, on this thread, on one that sleeps, and on one that ended.
    let mut idle: Vec<_> = (0..20).map(|_| store.start_session().unwrap()).collect();
    for (session, key) in idle.iter_mut().zip(0_u64..) {
        session.read(&key).unwrap();
        session.rmw(19_990 + key % 10, increment).unwrap();
        session.delete(&(30_000 + key)).unwrap();
        let started = session.start_read(&(key + 1)).unwrap();
        assert_eq!(started.status(), Status::Pending, "key {key} is not cold");
    }
    let asynchronous = store.start_async_session().unwrap();
    let unpolled = asynchronous.read(&3);
    let (wake, woken) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let mut parked = idle.pop().unwrap();
        scope.spawn(move || {
            parked.upsert(40_000, vec![1]).unwrap();
            woken.recv().unwrap();
            assert_eq!(parked.read(&40_000).unwrap(), Some(vec![1]));
        });
        let ended = idle.pop().unwrap();
        let mut ended = scope.spawn(move || ended).join().unwrap();
        let mut viewer = idle.pop().unwrap();
        let view = viewer.read_view(&5).unwrap().unwrap();
        // None of this waits for any of them.
        let evicted = store.stats().pages_evicted;
        for ballast in 0..40_000 {
            first.upsert(BALLAST + ballast, Vec::of(ballast)).unwrap();
            if ballast % 10_000 == 0 {
                store.flush().unwrap();
            }
        }
        assert!(store.stats().pages_evicted > evicted + 30, "{:?}", store.stats());
        assert_eq!(view.as_bytes(), Vec::of(5));
        assert_eq!(ended.read(&6).unwrap(), Some(Vec::of(6)));
        wake.send(()).unwrap();
    });
    for (session, key) in idle.iter_mut().zip(0_u64..) {
        assert_eq!(session.pending_reads(), 1);
        let completed = session.complete_pending(true);
        assert_eq!(completed.len(), 1);
        assert_eq!(completed[0].status(), Status::Ok);
        assert_eq!(completed[0].result.as_ref().unwrap(), &Some(Vec::of(key + 1)));
    }
    drop(unpolled);
    // Closing waits for no idle session either, and they learn of it.
    store.close().unwrap();
    assert_eq!(idle[0].read(&1).unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(idle[0].upsert(1, vec![]).unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(store.start_session().unwrap_err().kind(), ErrorKind::Closed);
}

fn assert_send<T: Send>(value: T) -> T {
    value
}

#[test]
fn session_moves_threads() {
    let store = in_memory::<u64, u64>();
    // 10,000 sessions at once, handed around: every one is used on three threads.
    let sessions: Vec<_> = (0..10_000).map(|_| store.start_session().unwrap()).collect();
    assert_eq!(store.stats().sessions, 10_000);
    let mut sessions = assert_send(sessions);
    for _ in 0..3 {
        sessions = std::thread::scope(|scope| {
            let worker = scope.spawn(move || {
                for (session, key) in sessions.iter_mut().zip(0_u64..) {
                    session.rmw(key % 100, increment).unwrap();
                    session.fetch_add(1_000 + key, 1).unwrap();
                }
                sessions
            });
            worker.join().unwrap()
        });
    }
    assert!(sessions.iter().all(|session| session.serial_num() == 6));
    let first = &mut sessions[0];
    assert!((0..100_u64).all(|key| first.read(&key).unwrap() == Some(300)));
    assert!((1_000..11_000_u64).all(|key| first.read(&key).unwrap() == Some(3)));
    drop(sessions);
    assert_eq!(store.stats().sessions, 0);
    assert_eq!(store.stats().operations.rmws, 30_000, "the counters of ended sessions are kept");
    // A million opened and closed, by several threads: the slots are used again.
    let slots = store.log().epoch_slots();
    on_threads(4, |thread| {
        for round in 0..250_000_u64 {
            let mut session = store.start_session().unwrap();
            if round % 64 == 0 {
                session.fetch_add(500 + thread, 1).unwrap();
            }
        }
    });
    assert_eq!(store.log().epoch_slots(), slots, "epoch slots leaked");
    assert_eq!(Arc::strong_count(&store), 1, "sessions leaked");
    assert_eq!(store.stats().operations.conditional, 30_000 + 4 * 250_000_u64.div_ceil(64));
}
