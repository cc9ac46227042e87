//! A failing device: errors reach the caller, nothing acknowledged is lost, nothing hangs.

use oxifaster::device::fault::{CrashFates, FaultCounts, FaultDevice, FaultPlan, Trigger};
use oxifaster::prelude::*;

use crate::scene::{
    Class, Fixed, Model, Store, Varlen, Word, assert_holds, eventually, open, update, within,
};

fn keys<C: Class>() -> u64 {
    C::PER_PAGE * 10
}

/// What a run with faults saw.
#[derive(Debug, Default)]
struct Seen {
    errors: Vec<ErrorKind>,
    flushes: u64,
    poisoned: bool,
}

impl Seen {
    fn note<R>(&mut self, result: Result<R, Error>) -> Option<R> {
        result
            .map_err(|error| {
                self.poisoned |= error.kind() == ErrorKind::Poisoned;
                self.errors.push(error.kind());
            })
            .ok()
    }
}

/// What is durable on the device right now is exactly the model.
fn assert_durable<C: Class>(device: &FaultDevice, model: &Model, context: &str) {
    let store = open::<C, _>(device.snapshot_durable())
        .unwrap_or_else(|error| panic!("{context}: does not open: {error:?}"));
    assert_holds::<C, _>(&store, model, keys::<C>(), context);
}

/// Reads all keys one by one: an error is allowed, a wrong value is not.
fn read_everything<C: Class>(store: &Store<C, FaultDevice>, model: &Model, seen: &mut Seen, context: &str) {
    let mut session = store.start_session().unwrap();
    for key in (0..keys::<C>()).step_by(11) {
        if let Some(value) = seen.note(session.read(&C::key(key))) {
            let expected = model.get(&key).map(|seed| C::value(*seed));
            assert!(value == expected, "{context}: key {key} is {value:?}, expected {expected:?}");
        }
    }
}

/// Larger than memory, with flushes and cold reads; updates that fail are given up. Every flush that says `Ok` is checked.
fn workload<C: Class>(device: FaultDevice, plan: FaultPlan, context: &str) -> Seen {
    let mut seen = Seen::default();
    device.set_plan(plan);
    let Some(store) = seen.note(open::<C, _>(device.clone())) else { return seen };
    let mut session = store.start_session().unwrap();
    let mut model = Model::new();
    let mut number = 0;
    for updates in [C::PER_PAGE * 12, 5, C::PER_PAGE * 3] {
        for _ in 0..updates {
            number += 1;
            if seen.note(update::<C, _>(&mut session, &mut model, number, keys::<C>())).is_none()
                && seen.errors.len() > 40
            {
                break;
            }
        }
        read_everything::<C>(&store, &model, &mut seen, context);
        if seen.note(store.flush()).is_some() {
            seen.flushes += 1;
            assert_durable::<C>(&device, &model, context);
        }
    }
    if seen.note(store.close()).is_some() {
        seen.flushes += 1;
        assert_durable::<C>(&device, &model, context);
    }
    seen
}

type Injection = (&'static str, fn(FaultPlan, Trigger) -> FaultPlan);

const INJECTIONS: [Injection; 6] = [
    ("reads", FaultPlan::fail_reads),
    ("writes", FaultPlan::fail_writes),
    ("syncs", FaultPlan::fail_syncs),
    ("metadata reads", FaultPlan::fail_metadata_reads),
    ("metadata writes", FaultPlan::fail_metadata_writes),
    ("metadata syncs", FaultPlan::fail_metadata_syncs),
];

fn faults_of(device: &FaultDevice) -> u64 {
    let counts = device.counts();
    counts.read_errors
        + counts.write_errors
        + counts.sync_errors
        + counts.metadata_read_errors
        + counts.metadata_write_errors
        + counts.metadata_sync_errors
}

/// The n-th operation of each kind fails, once or from then on, for every n that the workload reaches (reads: some).
fn errors_are_not_success<C: Class>() {
    for (what, inject) in INJECTIONS {
        for forever in [false, true] {
            let mut n = 1;
            let mut injected = 0;
            loop {
                let trigger = if forever { Trigger::from_nth(n) } else { Trigger::nth(n) };
                let context = format!("{what} fail, number {n}, for ever: {forever}");
                let device = FaultDevice::new(n);
                let (at, plan) = (device.clone(), inject(FaultPlan::new(), trigger));
                let named = context.clone();
                let seen = within(60, &context, move || workload::<C>(at, plan, &named));
                let faults = faults_of(&device);
                if faults == 0 {
                    assert_eq!(seen.errors, [], "{context}: errors without a fault");
                    break;
                }
                injected += 1;
                // A write that failed once is written again by itself; everything else is told to somebody.
                let healed = what == "writes" && !forever;
                assert!(healed || !seen.errors.is_empty(), "{context}: nobody was told of {faults} faults");
                n += if what == "reads" { 97 } else { 1 };
            }
            assert!(injected > 0, "{what}: none failed");
        }
    }
}

#[test]
fn io_error_is_not_success() {
    errors_are_not_success::<Fixed>();
}

#[test]
fn io_error_is_not_success_for_varlen_values() {
    errors_are_not_success::<Varlen>();
}

#[test]
fn short_transfers_and_other_orders_are_not_errors() {
    let mut counts = FaultCounts::default();
    for seed in 0..4 {
        let device = FaultDevice::new(seed);
        let plan = FaultPlan::new().short_reads(0.2).short_writes(0.2).reorder(1.0).delay_by_reaps(0.5, 4);
        let at = device.clone();
        let seen = within(60, "short transfers", move || workload::<Fixed>(at, plan, "short transfers"));
        assert_eq!((seen.errors, seen.flushes), (Vec::new(), 4));
        counts += device.counts();
    }
    assert!(counts.short_reads > 0 && counts.short_writes > 0 && counts.delayed > 0, "{counts:?}");
}

#[test]
fn an_open_that_fails_leaves_no_lock_behind() {
    let device = FaultDevice::new(3);
    let disk = device.disk();
    open::<Word, _>(device).unwrap().close().unwrap();
    let device = disk.open().unwrap();
    device.set_plan(FaultPlan::new().fail_metadata_writes(Trigger::nth(1)));
    let larger = FasterKvConfig { table_size: 1 << 14, ..crate::scene::config() };
    let refused = FasterKv::<u64, u64, _>::open(larger, device).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Io);
    open::<Word, _>(disk.open().unwrap()).unwrap();
}

/// A sync fails once: the store refuses everything but reads, and after a crash the last consistent point is there.
fn a_failed_sync_is_final<C: Class>(plan: FaultPlan, context: &str) {
    let device = FaultDevice::new(5);
    let disk = device.disk();
    let store = open::<C, _>(device.clone()).unwrap();
    let mut session = store.start_session().unwrap();
    let mut model = Model::new();
    for number in 0..C::PER_PAGE {
        update::<C, _>(&mut session, &mut model, number, keys::<C>()).unwrap();
    }
    store.flush().unwrap();
    let flushed = model.clone();
    for number in 0..C::PER_PAGE {
        update::<C, _>(&mut session, &mut model, 1_000_000 + number, keys::<C>()).unwrap();
    }
    device.set_plan(plan.fail_syncs(Trigger::nth(1)).crash_fates(CrashFates::KEEP_ALL));
    assert_eq!(store.flush().unwrap_err().kind(), ErrorKind::Io, "{context}");
    let syncs = device.traffic().syncs;
    for _ in 0..3 {
        assert_eq!(store.flush().unwrap_err().kind(), ErrorKind::Poisoned, "{context}");
        let refused = session.upsert(C::key(0), C::value(1)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Poisoned, "{context}");
        assert_eq!(session.delete(&C::key(0)).unwrap_err().kind(), ErrorKind::Poisoned, "{context}");
    }
    assert_holds::<C, _>(&store, &model, keys::<C>(), &format!("{context}: reads go on"));
    assert_eq!(store.close().unwrap_err().kind(), ErrorKind::Poisoned, "{context}");
    assert_eq!(session.read(&C::key(0)).unwrap_err().kind(), ErrorKind::Closed, "{context}");
    assert_eq!(device.traffic().syncs, syncs, "{context}: the sync was tried again");
    drop((session, store, device));

    let store = open::<C, _>(disk.crash(1)).unwrap();
    assert_holds::<C, _>(&store, &flushed, keys::<C>(), &format!("{context}: after the crash"));
    store.start_session().unwrap().upsert(C::key(0), C::value(1)).unwrap();
    store.close().unwrap();
}

#[test]
fn fsync_fails_once() {
    for poison in [true, false] {
        let plan = FaultPlan::new().poison_on_failed_sync(poison);
        let context = format!("device poisons itself: {poison}");
        a_failed_sync_is_final::<Word>(plan.clone(), &context);
        a_failed_sync_is_final::<Varlen>(plan, &context);
    }
}

#[test]
fn fsync_fails_once_during_close() {
    let device = FaultDevice::new(6);
    let store = open::<Word, _>(device.clone()).unwrap();
    let mut session = store.start_session().unwrap();
    session.upsert(1, 1).unwrap();
    device.set_plan(FaultPlan::new().fail_syncs(Trigger::nth(1)));
    assert_eq!(store.close().unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(session.read(&1).unwrap_err().kind(), ErrorKind::Closed, "closed in any case");
    store.close().unwrap();
}

/// A close syncs the blocks, and then each of its two slots. Whichever of them fails: the store is closed for good, it does not
/// go on to acknowledge what no flush could make durable.
#[test]
fn the_sync_of_a_slot_fails_once_during_close() {
    for (number, poison) in [(1, true), (2, true), (1, false), (2, false)] {
        let context = format!("slot {number}, device poisons itself: {poison}");
        let device = FaultDevice::new(6);
        let disk = device.disk();
        let store = open::<Word, _>(device.clone()).unwrap();
        let mut session = store.start_session().unwrap();
        session.upsert(1, 1).unwrap();
        store.flush().unwrap();
        session.upsert(1, 2).unwrap();
        let plan = FaultPlan::new().fail_metadata_syncs(Trigger::nth(number));
        device.set_plan(plan.poison_on_failed_sync(poison));
        assert_eq!(store.close().unwrap_err().kind(), ErrorKind::Io, "{context}");
        assert_eq!(device.counts().metadata_sync_errors, 1, "{context}");
        assert_eq!(session.upsert(1, 3).unwrap_err().kind(), ErrorKind::Closed, "{context}");
        assert_eq!(session.read(&1).unwrap_err().kind(), ErrorKind::Closed, "{context}");
        store.close().unwrap();
        drop((session, store, device));
        let store = open::<Word, _>(disk.crash(1)).unwrap();
        assert_eq!(store.start_session().unwrap().read(&1).unwrap(), Some(number), "{context}");
    }
}

/// The same in a flush: nothing is acknowledged behind it, also when the device forgets that a sync of it failed.
#[test]
fn the_sync_of_a_slot_fails_once() {
    for poison in [true, false] {
        let device = FaultDevice::new(6);
        let store = open::<Word, _>(device.clone()).unwrap();
        let mut session = store.start_session().unwrap();
        session.upsert(1, 1).unwrap();
        store.flush().unwrap();
        session.upsert(1, 2).unwrap();
        device.set_plan(FaultPlan::new().fail_metadata_syncs(Trigger::nth(1)).poison_on_failed_sync(poison));
        assert_eq!(store.flush().unwrap_err().kind(), ErrorKind::Io);
        assert_eq!(session.upsert(1, 3).unwrap_err().kind(), ErrorKind::Poisoned, "device poisons: {poison}");
        assert_eq!(store.flush().unwrap_err().kind(), ErrorKind::Poisoned);
        assert_eq!(session.read(&1).unwrap(), Some(2));
    }
}

/// A store with key 1 at 1 durably, and at 2 in a slot of metadata that was written and never synced.
fn leave_an_unsynced_slot(seed: u64) -> FaultDevice {
    let device = FaultDevice::new(seed);
    let disk = device.disk();
    let store = open::<Word, _>(device.clone()).unwrap();
    let mut session = store.start_session().unwrap();
    session.upsert(1, 1).unwrap();
    store.flush().unwrap();
    session.upsert(1, 2).unwrap();
    device.set_plan(FaultPlan::new().fail_metadata_syncs(Trigger::nth(1)));
    assert_eq!(store.flush().unwrap_err().kind(), ErrorKind::Io);
    device.set_plan(FaultPlan::new());
    drop((session, store, device));
    disk.open().unwrap()
}

/// A slot of metadata was written and never synced: its process was killed, or the sync failed. Who opens next reads it from
/// the system's cache, and must not call it durable, or write over the older slot, before it is.
#[test]
fn a_point_that_was_read_at_open_is_made_durable_before_anything_is_built_on_it() {
    for update_before_flush in [false, true] {
        let device = leave_an_unsynced_slot(7);
        let disk = device.disk();
        let store = open::<Word, _>(device.clone()).unwrap();
        let mut session = store.start_session().unwrap();
        assert_eq!(session.read(&1).unwrap(), Some(2), "read from the cache");
        if update_before_flush {
            session.upsert(2, 2).unwrap();
        }
        store.flush().unwrap();
        drop(session);
        let after = open::<Word, _>(disk.crash(1)).unwrap();
        let mut session = after.start_session().unwrap();
        assert_eq!(session.read(&1).unwrap(), Some(2), "a flush said so; update: {update_before_flush}");
        assert_eq!(session.read(&2).unwrap(), update_before_flush.then_some(2));
        drop(store);
    }
    // The new process dies while it writes its first slot: the point that it found is durable by then, or the one before it.
    for step in 0..4 {
        let device = leave_an_unsynced_slot(9);
        let disk = device.disk();
        let store = open::<Word, _>(device.clone()).unwrap();
        device.set_plan(FaultPlan::new().fail_metadata_writes(Trigger::nth(step)));
        let mut session = store.start_session().unwrap();
        session.upsert(2, 2).unwrap();
        let flushed = store.flush();
        drop(session);
        let after = open::<Word, _>(disk.crash(1)).unwrap();
        let mut session = after.start_session().unwrap();
        let found = session.read(&1).unwrap();
        assert!(found == Some(2) || (found == Some(1) && flushed.is_err()), "step {step}: {found:?}");
        drop(store);
    }
}

/// The device fills up in the background of updates, or at a flush; then space comes back, under the open store.
fn full_and_then_not<C: Class>(pages_of_space: u64, updates: u64, context: &str) {
    let device = FaultDevice::new(8);
    let store = open::<C, _>(device.clone()).unwrap();
    let mut session = store.start_session().unwrap();
    let mut model = Model::new();
    for key in 0..100 {
        session.upsert(C::key(key), C::value(key)).unwrap();
        model.insert(key, key);
    }
    store.flush().unwrap();
    let flushed = model.clone();
    device.change_plan(|plan| plan.space_budget_bytes((pages_of_space << 16) + 20_000));
    let mut refused = 0;
    for key in 100..100 + updates {
        match session.upsert(C::key(key), C::value(key)) {
            Ok(()) => drop(model.insert(key, key)),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::OutOfSpace, "{context}: {error:?}");
                refused += 1;
                if refused == 20 {
                    break;
                }
            }
        }
    }
    for _ in 0..2 {
        let error = store.flush().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OutOfSpace, "{context}: {error:?}");
    }
    assert_eq!(refused > 0, updates > C::PER_PAGE * 6, "{context}: {refused} refused");
    let everything = 100 + updates;
    assert_holds::<C, _>(&store, &model, everything, &format!("{context}: while it is full"));
    assert_durable_of::<C>(&device, &flushed, everything, context);

    device.change_plan(FaultPlan::space_unlimited);
    eventually(context, || session.upsert(C::key(0), C::value(9)));
    model.insert(0, 9);
    for key in 0..C::PER_PAGE * 8 {
        eventually(context, || session.upsert(C::key(key), C::value(key + 1)));
        model.insert(key, key + 1);
    }
    store.flush().unwrap();
    let everything = everything.max(C::PER_PAGE * 8);
    assert_durable_of::<C>(&device, &model, everything, context);
    assert_holds::<C, _>(&store, &model, everything, &format!("{context}: with space again"));
    store.close().unwrap();
}

fn assert_durable_of<C: Class>(device: &FaultDevice, model: &Model, keys: u64, context: &str) {
    let store = open::<C, _>(device.snapshot_durable()).unwrap();
    assert_holds::<C, _>(&store, model, keys, &format!("{context}: what is durable"));
}

#[test]
fn disk_full() {
    within(60, "full under back-pressure, words", || {
        full_and_then_not::<Word>(3, Word::PER_PAGE * 14, "back-pressure, words");
    });
    within(60, "full under back-pressure, varlen", || {
        full_and_then_not::<Varlen>(3, Varlen::PER_PAGE * 14, "back-pressure, varlen");
    });
    within(60, "full at a flush", || {
        full_and_then_not::<Fixed>(0, Fixed::PER_PAGE * 2, "at a flush");
    });
}

/// A close that finds no space leaves the store open: with space again it is written to, flushed and closed.
#[test]
fn close_can_be_repeated_when_space_returns() {
    for flush_before_close in [false, true] {
        let device = FaultDevice::new(10);
        let store = open::<Word, _>(device.clone()).unwrap();
        let mut session = store.start_session().unwrap();
        let mut model = Model::new();
        let keys = Word::PER_PAGE * 2;
        for key in 0..keys {
            session.upsert(key, Word::value(key)).unwrap();
            model.insert(key, key);
        }
        device.change_plan(|plan| plan.space_budget_bytes(20_000));
        for _ in 0..3 {
            assert_eq!(store.close().unwrap_err().kind(), ErrorKind::OutOfSpace);
        }
        assert_eq!(session.read(&1).unwrap(), Some(Word::value(1)), "it is open");
        assert_durable_of::<Word>(&device, &Model::new(), keys, "while it is full");
        device.change_plan(FaultPlan::space_unlimited);
        eventually("an upsert with space again", || session.upsert(0, Word::value(7)));
        model.insert(0, 7);
        if flush_before_close {
            store.flush().unwrap();
            assert_durable_of::<Word>(&device, &model, keys, "flushed after a failed close");
        }
        eventually("closing with space again", || store.close());
        assert_eq!(session.upsert(0, 1).unwrap_err().kind(), ErrorKind::Closed);
        assert_durable_of::<Word>(&device, &model, keys, "closed at last");
    }
}

/// A store that is dropped although it can't be closed ends its threads and lets go of its device.
#[test]
fn a_store_that_cannot_be_closed_can_be_dropped() {
    within(60, "dropping a full store", || {
        let device = FaultDevice::new(11);
        let disk = device.disk();
        let store = open::<Word, _>(device).unwrap();
        let mut session = store.start_session().unwrap();
        (0..Word::PER_PAGE * 2).for_each(|key| session.upsert(key, key).unwrap());
        disk.set_plan(FaultPlan::new().space_budget_bytes(20_000));
        assert_eq!(store.close().unwrap_err().kind(), ErrorKind::OutOfSpace);
        drop((session, store));
        disk.set_plan(FaultPlan::new());
        let store = open::<Word, _>(disk.open().unwrap()).unwrap();
        assert_holds::<Word, _>(&store, &Model::new(), 100, "the last consistent point");
    });
}
