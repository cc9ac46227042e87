//! Epochs on real threads: who is waited for, slots that come and go, actions that run once.

use std::collections::BTreeSet;
use std::time::Duration;

use oxifaster_device::sync::Arc;
use oxifaster_device::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use oxifaster_device::sync::thread::{self, sleep};

use super::{Epoch, FenceForm, LightEpoch, Participant};

const FORMS: [FenceForm; 2] = [FenceForm::Symmetric, FenceForm::Asymmetric];

#[test]
fn a_bump_waits_for_those_inside_and_only_for_them() {
    for form in FORMS {
        let epoch = LightEpoch::with_fences(form);
        let (mut early, mut late) = (epoch.register(), epoch.register());
        assert!(epoch.is_safe(Epoch::ZERO));
        let inside = early.enter();
        let first = epoch.bump();
        let second = epoch.bump();
        assert!(first < second);
        let behind = late.enter();
        assert!(!epoch.is_safe(first));
        drop(inside);
        assert!(epoch.is_safe(first) && epoch.is_safe(second), "the late one entered behind both");
        let third = epoch.bump();
        assert!(!epoch.is_safe(third));
        drop(behind);
        assert!(epoch.is_safe(third));
    }
}

#[test]
fn an_idle_participant_holds_nobody_up() {
    let epoch = LightEpoch::new();
    let mut idle = epoch.register();
    drop(idle.enter());
    let bumped = epoch.bump();
    assert!(epoch.is_safe(bumped));
    epoch.wait_until_safe(bumped);
}

#[test]
fn a_renewed_guard_protects_from_then_on_only() {
    let epoch = LightEpoch::new();
    let mut participant = epoch.register();
    let mut guard = participant.enter();
    let before = epoch.bump();
    assert!(!epoch.is_safe(before));
    guard.renew();
    assert!(epoch.is_safe(before));
    let behind = epoch.bump();
    assert!(!epoch.is_safe(behind), "the renewed guard still protects");
}

#[test]
fn safe_is_remembered_although_a_stale_slot_appears() {
    let epoch = LightEpoch::new();
    let bumped = epoch.bump();
    assert!(epoch.is_safe(bumped));
    let mut participant = epoch.register();
    let _guard = participant.enter();
    assert!(epoch.is_safe(bumped), "monotone");
}

#[test]
fn a_forgotten_guard_ends_with_its_participant() {
    let epoch = LightEpoch::new();
    let mut participant = epoch.register();
    let _keeps_the_slot_in_the_scan = epoch.register();
    std::mem::forget(participant.enter());
    let bumped = epoch.bump();
    assert!(!epoch.is_safe(bumped));
    drop(participant);
    assert!(epoch.is_safe(bumped));
}

#[test]
fn slots_follow_the_participants() {
    let epoch = LightEpoch::new();
    let mut open: Vec<Participant> = (0..10_000).map(|_| epoch.register()).collect();
    assert_eq!(epoch.slots(), 10_000);
    let last = open.pop();
    open.drain(100..).for_each(drop);
    assert_eq!(epoch.slots(), 10_000, "the last one is still there");
    let reused = epoch.register();
    drop(last);
    assert_eq!(epoch.slots(), 101, "the lowest free slot was reused");
    drop(reused);
    assert_eq!(epoch.slots(), 100);
    for _ in 0..1_000_000 {
        let _ = epoch.register();
    }
    assert_eq!(epoch.slots(), 100, "a million opened and closed leave nothing");
}

#[test]
fn a_participant_moves_between_threads() {
    let epoch = LightEpoch::new();
    let mut participant = epoch.register();
    let mover = thread::spawn("mover", move || {
        drop(participant.enter());
        participant
    });
    let mut participant = mover.unwrap().join().unwrap();
    let _guard = participant.enter();
    let bumped = epoch.bump();
    assert!(!epoch.is_safe(bumped));
}

#[test]
fn waiting_ends_when_the_last_one_leaves() {
    let epoch = LightEpoch::new();
    let left = Arc::new(AtomicBool::new(false));
    let entered = Arc::new(AtomicBool::new(false));
    let reader = {
        let (epoch, left, entered) = (epoch.clone(), Arc::clone(&left), Arc::clone(&entered));
        thread::spawn("reader", move || {
            let mut participant = epoch.register();
            let guard = participant.enter();
            entered.store(true, Ordering::Release);
            sleep(Duration::from_millis(20));
            left.store(true, Ordering::Relaxed);
            drop(guard);
        })
        .unwrap()
    };
    while !entered.load(Ordering::Acquire) {
        thread::yield_now();
    }
    epoch.wait_until_safe(epoch.bump());
    assert!(left.load(Ordering::Relaxed));
    reader.join().unwrap();
}

#[test]
fn actions_run_once_and_only_when_safe() {
    let epoch = LightEpoch::new();
    let ran = Arc::new(AtomicUsize::new(0));
    let count = |ran: &Arc<AtomicUsize>| {
        let ran = Arc::clone(ran);
        Box::new(move || {
            ran.fetch_add(1, Ordering::Relaxed);
        })
    };
    assert_eq!(epoch.drain(), 0);
    let mut participant = epoch.register();
    let guard = participant.enter();
    let first = epoch.bump_with(count(&ran));
    let second = epoch.bump_with(count(&ran));
    assert!(first < second);
    assert_eq!((epoch.drain(), ran.load(Ordering::Relaxed)), (0, 0));
    drop(guard);
    assert_eq!((epoch.drain(), ran.load(Ordering::Relaxed)), (2, 2));
    assert_eq!(epoch.drain(), 0);
}

#[test]
fn an_action_may_bump_and_drain() {
    let epoch = LightEpoch::new();
    let ran = Arc::new(AtomicUsize::new(0));
    let (inner_epoch, inner_ran) = (epoch.clone(), Arc::clone(&ran));
    epoch.bump_with(Box::new(move || {
        let ran = Arc::clone(&inner_ran);
        inner_epoch.bump_with(Box::new(move || {
            ran.fetch_add(1, Ordering::Relaxed);
        }));
        inner_epoch.drain();
        inner_ran.fetch_add(1, Ordering::Relaxed);
    }));
    assert_eq!(epoch.drain(), 1);
    assert_eq!(ran.load(Ordering::Relaxed), 2);
}

#[test]
fn many_drainers_run_each_action_once() {
    let epoch = LightEpoch::new();
    let ran: Arc<Vec<AtomicUsize>> = Arc::new((0..400).map(|_| AtomicUsize::new(0)).collect());
    let threads: Vec<_> = (0..4)
        .map(|part| {
            let (epoch, ran) = (epoch.clone(), Arc::clone(&ran));
            thread::spawn("drainer", move || {
                let mut participant = epoch.register();
                for action in 0..100 {
                    let _guard = participant.enter();
                    let ran = Arc::clone(&ran);
                    epoch.bump_with(Box::new(move || {
                        ran[part * 100 + action].fetch_add(1, Ordering::Relaxed);
                    }));
                    epoch.drain();
                }
            })
            .unwrap()
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    epoch.drain();
    let counts: BTreeSet<usize> = ran.iter().map(|count| count.load(Ordering::Relaxed)).collect();
    assert_eq!(counts, BTreeSet::from([1]));
}

/// A reader follows a published cell number; the writer publishes the other cell, waits, and takes the old one away until
/// its next turn. (A missing fence needs more luck than a test has; the models notice it.)
#[test]
fn nobody_sees_a_reclaimed_cell() {
    const OPERATIONS: usize = 3_000;
    const GONE: u64 = 0;
    const THERE: u64 = 1;
    struct World {
        published: AtomicUsize,
        cells: [AtomicU64; 2],
        operations: AtomicUsize,
    }
    for form in FORMS {
        let epoch = LightEpoch::with_fences(form);
        let world = Arc::new(World {
            published: AtomicUsize::new(0),
            cells: [AtomicU64::new(THERE), AtomicU64::new(GONE)],
            operations: AtomicUsize::new(0),
        });
        let reader = {
            let (epoch, world) = (epoch.clone(), Arc::clone(&world));
            thread::spawn("reader", move || {
                let mut participant = epoch.register();
                while world.operations.fetch_add(1, Ordering::Relaxed) < OPERATIONS {
                    let _guard = participant.enter();
                    let cell = &world.cells[world.published.load(Ordering::Acquire)];
                    for look in 0..100 {
                        if look == 50 {
                            thread::yield_now();
                        }
                        assert_eq!(cell.load(Ordering::Relaxed), THERE, "a reclaimed cell was seen");
                    }
                }
            })
            .unwrap()
        };
        let mut old = 0;
        while world.operations.load(Ordering::Relaxed) < OPERATIONS && !reader.is_finished() {
            world.cells[1 - old].store(THERE, Ordering::Relaxed);
            world.published.store(1 - old, Ordering::Release);
            epoch.wait_until_safe(epoch.bump());
            world.cells[old].store(GONE, Ordering::Relaxed);
            old = 1 - old;
        }
        reader.join().unwrap();
    }
}
