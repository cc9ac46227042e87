//! Power loss: at every change of the device, during recovery, and again; time lines that were cut off.

use oxifaster::device::MetadataSlot;
use oxifaster::device::fault::{CrashFates, CrashPoint, FaultDevice, FaultPlan, Trigger};
use oxifaster::prelude::*;

use crate::scene::{
    Class, Fixed, Model, Store, Varlen, Word, assert_holds, config, content, matches, open, update,
};

/// Keys that a store is flushed with.
const KEYS: u64 = 300;
const FLUSHES: u64 = 5;

/// Keys of the random workload: more than fit into memory.
fn keys<C: Class>() -> u64 {
    C::PER_PAGE * 8
}

/// Keys that time lines which are cut off write to.
fn all_keys<C: Class>() -> u64 {
    C::PER_PAGE * 9
}

/// What may be found after the crash: the state of the last flush that succeeded, and that of one that was under way.
#[derive(Debug, Default)]
struct Promised {
    flushed: Option<Model>,
    under_way: Option<Model>,
}

/// Updates with flushes in between, larger than memory, until the end or the power loss.
fn run_until_power_is_lost<C: Class>(device: FaultDevice, promised: &mut Promised) -> Result<(), Error> {
    let store = open::<C, _>(device)?;
    promised.flushed = Some(Model::new());
    let mut session = store.start_session()?;
    let mut model = Model::new();
    let mut number = 0;
    for round in 0..FLUSHES {
        // Rounds of different lengths: tails in the middle, and flushes of very little.
        for _ in 0..[C::PER_PAGE * 6, 7, C::PER_PAGE * 6, C::PER_PAGE / 3, C::PER_PAGE][round as usize] {
            number += 1;
            update::<C, _>(&mut session, &mut model, number, keys::<C>())?;
        }
        promised.under_way = Some(model.clone());
        if round + 1 < FLUSHES {
            store.flush()?;
        } else {
            store.close()?;
        }
        promised.flushed = promised.under_way.take();
    }
    Ok(())
}

/// Opens what a crash left, compares, and returns what was found there.
fn check<C: Class>(device: FaultDevice, promised: &Promised, context: &str) -> Model {
    let store = open::<C, _>(device).unwrap_or_else(|error| panic!("{context}: does not open: {error:?}"));
    let found = content::<C, _>(&store, keys::<C>());
    let candidates = [&promised.flushed, &promised.under_way];
    let state = candidates.into_iter().flatten().find(|model| matches::<C>(&found, model));
    let nothing = Model::new();
    let created_only =
        promised.flushed.is_none().then_some(&nothing).filter(|model| matches::<C>(&found, model));
    let Some(state) = state.or(created_only) else {
        let kept = found.iter().flatten().count();
        panic!("{context}: the store holds {kept} keys, and neither the flushed state nor the one under way")
    };
    state.clone()
}

/// After a crash the store is used and crashes again.
fn live_on<C: Class>(device: &FaultDevice, mut model: Model, seed: u64, context: &str) {
    let store = open::<C, _>(device.clone()).unwrap();
    let mut session = store.start_session().unwrap();
    for number in 0..40 {
        update::<C, _>(&mut session, &mut model, 1_000_000 + number, keys::<C>()).unwrap();
    }
    store.flush().unwrap();
    let flushed = model.clone();
    for number in 0..C::PER_PAGE {
        update::<C, _>(&mut session, &mut model, 2_000_000 + number, keys::<C>()).unwrap();
    }
    let after = device.crash(seed);
    drop((session, store));
    assert_holds::<C, _>(&open::<C, _>(after).unwrap(), &flushed, keys::<C>(), context);
}

fn crash_everywhere<C: Class>(point: impl Fn(u64) -> CrashPoint, fates: CrashFates, seed: u64) -> u64 {
    for n in 0.. {
        let plan = FaultPlan::new().crash_at(point(n)).crash_fates(fates).reorder(0.5).delay_by_reaps(0.3, 3);
        let device = FaultDevice::with_plan(seed + n, plan);
        let mut promised = Promised::default();
        let ended = run_until_power_is_lost::<C>(device.clone(), &mut promised);
        let lost = device.counts().crash_points > 0;
        assert!(lost || ended.is_ok(), "without a fault: {ended:?}");
        let context = format!("crash at {:?}, seed {seed}", point(n));
        let after = device.crash(seed * 1000 + n);
        let state = check::<C>(after.clone(), &promised, &context);
        live_on::<C>(&after.reopen(), state, n, &context);
        if !lost {
            return n;
        }
    }
    0
}

/// Every crash point, with every fate of what was not synced; after each the store goes on and crashes again.
fn flush_survives<C: Class>() {
    for (seed, fates) in [(1, CrashFates::default()), (2, CrashFates::KEEP_ALL), (3, CrashFates::DROP_ALL)] {
        let points = crash_everywhere::<C>(CrashPoint::AfterChanges, fates, seed);
        assert!(points > 20, "only {points} crash points: the workload is too small");
    }
    let points = crash_everywhere::<C>(|n| CrashPoint::DuringMetadataWrite(n + 1), CrashFates::default(), 4);
    assert!(points >= FLUSHES, "only {points} metadata writes");
}

#[test]
fn flush_is_durable_for_word_values() {
    flush_survives::<Word>();
}

#[test]
fn flush_is_durable_for_fixed_values() {
    flush_survives::<Fixed>();
}

#[test]
fn flush_is_durable_for_varlen_values() {
    flush_survives::<Varlen>();
}

/// A store with `KEYS` flushed keys on `device`.
fn flushed_store<C: Class>(device: FaultDevice) -> Model {
    let store = open::<C, _>(device).unwrap();
    let mut session = store.start_session().unwrap();
    let mut model = Model::new();
    for key in 0..KEYS {
        session.upsert(C::key(key), C::value(key)).unwrap();
        model.insert(key, key);
    }
    store.flush().unwrap();
    model
}

#[test]
fn crash_while_a_larger_table_is_recorded_at_open() {
    for point in
        [CrashPoint::AfterChanges(0), CrashPoint::DuringMetadataWrite(1), CrashPoint::AfterChanges(1)]
    {
        for seed in 0..4 {
            let device = FaultDevice::new(seed);
            let disk = device.disk();
            let model = flushed_store::<Word>(device);
            let device = disk.crash(seed);
            device.set_plan(FaultPlan::new().crash_at(point));
            let larger = FasterKvConfig { table_size: 1 << 12, ..config() };
            let opened = FasterKv::<u64, u64, _>::open(larger, device);
            // Even when the record is durable: without power there is no queue for the log's writes.
            let refused = opened.err().map(|error| error.kind());
            assert_eq!(refused, Some(ErrorKind::Closed), "{point:?}");
            let store = open::<Word, _>(disk.crash(seed)).unwrap();
            assert_holds::<Word, _>(&store, &model, KEYS, &format!("{point:?}, seed {seed}"));
        }
    }
}

/// Updates every key, and adds many, behind the consistent point, enough to be written by the background, and does not flush.
fn write_an_abandoned_time_line<C: Class, D: StorageDevice>(store: &Store<C, D>) {
    let mut session = store.start_session().unwrap();
    for key in 0..all_keys::<C>() {
        session.upsert(C::key(key), C::value(777_000_000 + key)).unwrap();
    }
}

/// Adds fresh records until the tail is in the last block of its page, and flushes: the consistent tail is a page's end.
fn fill_the_page<C: Class, D: StorageDevice>(store: &Store<C, D>, model: &mut Model) {
    let layout = store.log().layout();
    let mut session = store.start_session().unwrap();
    let mut key = KEYS;
    while layout.offset_of(store.log().tail()) <= layout.page_words() - 512 {
        session.upsert(C::key(key), C::value(5_000 + key)).unwrap();
        model.insert(key, 5_000 + key);
        key += 1;
    }
    let tail = store.flush().unwrap();
    assert_eq!(layout.offset_of(tail), 0, "the tail is a page's end");
}

/// What lies behind the last flush is only counted: a device that can't read it keeps nobody out.
#[test]
fn unreadable_blocks_behind_the_last_flush_do_not_refuse_the_store() {
    let device = FaultDevice::with_plan(8, FaultPlan::new().crash_fates(CrashFates::KEEP_ALL));
    let disk = device.disk();
    let model = flushed_store::<Word>(device);
    let store = open::<Word, _>(disk.crash(8)).unwrap();
    write_an_abandoned_time_line::<Word, _>(&store);
    let after = disk.crash(9);
    drop(store);
    let whole = open::<Word, _>(after.snapshot_durable()).unwrap().recovery_report().pages_behind;
    assert!(whole > 0);
    let (mut refused, mut counted_in_part) = (0, 0);
    for read in 1.. {
        let device = after.snapshot_durable();
        device.set_plan(FaultPlan::new().fail_reads(Trigger::nth(read)));
        let opened = open::<Word, _>(device.clone());
        if device.counts().read_errors == 0 {
            assert_eq!(opened.unwrap().recovery_report().pages_behind, whole);
            break;
        }
        match opened {
            Ok(store) => {
                assert!(store.recovery_report().pages_behind < whole + 1, "read {read}");
                assert_holds::<Word, _>(&store, &model, all_keys::<Word>(), &format!("read {read} failed"));
                counted_in_part += 1;
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Io, "read {read}");
                assert_eq!(counted_in_part, 0, "read {read}: needed blocks are read first");
                refused += 1;
            }
        }
    }
    assert!(refused > 0 && counted_in_part > 0, "{refused} refused, {counted_in_part} counted in part");
}

fn nothing_abandoned_comes_back<C: Class>(fates: CrashFates, seed: u64) {
    let context = format!("seed {seed}, {fates:?}");
    let device = FaultDevice::with_plan(seed, FaultPlan::new().crash_fates(fates));
    let disk = device.disk();
    let mut model = flushed_store::<C>(device);
    // Reopened, so that the abandoned time line starts where a cut is made.
    let store = open::<C, _>(disk.crash(seed)).unwrap();
    write_an_abandoned_time_line::<C, _>(&store);
    let after = disk.crash(seed + 1);
    drop(store);

    let store = open::<C, _>(after).unwrap();
    assert_holds::<C, _>(&store, &model, all_keys::<C>(), &format!("{context}: after the first crash"));
    let behind = store.recovery_report().pages_behind;
    assert_eq!(behind > 0, fates == CrashFates::KEEP_ALL, "{context}: {behind} pages behind");
    // Less than before, in the same place: blocks of both time lines lie in one page now.
    let mut session = store.start_session().unwrap();
    session.upsert(C::key(1), C::value(42)).unwrap();
    model.insert(1, 42);
    store.flush().unwrap();
    drop(session);
    let after = disk.crash(seed + 2);
    drop(store);

    let store = open::<C, _>(after).unwrap();
    assert_holds::<C, _>(&store, &model, all_keys::<C>(), &format!("{context}: after the second crash"));
    assert_eq!(store.recovery_report().pages_behind, 0, "{context}: the cut-off pages are not counted");
    fill_the_page::<C, _>(&store, &mut model);
    let after = disk.crash(seed + 3);
    drop(store);

    // The next page on the device is whole, and belongs to the abandoned time line.
    let store = open::<C, _>(after).unwrap();
    assert_holds::<C, _>(&store, &model, all_keys::<C>(), &format!("{context}: after the third crash"));
    assert_eq!(
        store.recovery_report().pages_behind,
        0,
        "{context}: an abandoned page was taken for a new one"
    );
    store.close().unwrap();
    drop(store);
    let store = open::<C, _>(disk.open().unwrap()).unwrap();
    assert_holds::<C, _>(&store, &model, all_keys::<C>(), &format!("{context}: after a close"));
}

#[test]
fn stale_timeline() {
    for seed in 1..5 {
        nothing_abandoned_comes_back::<Word>(CrashFates::KEEP_ALL, seed);
        nothing_abandoned_comes_back::<Varlen>(CrashFates::KEEP_ALL, seed);
        nothing_abandoned_comes_back::<Fixed>(CrashFates::DROP_ALL, seed);
    }
}

#[test]
fn stale_timeline_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = |number: u32| folder.path().join(format!("store{number}.log"));
    let device = |number| FileSystemDisk::single_file(file(number)).unwrap();
    // Every crash is the file as it is now, copied away under the running store.
    let crash = |number| std::fs::copy(file(number), file(number + 1)).unwrap();

    let store = open::<Word, _>(device(0)).unwrap();
    let mut session = store.start_session().unwrap();
    let mut model: Model = (0..KEYS).map(|key| (key, key)).collect();
    for key in 0..KEYS {
        session.upsert(key, Word::value(key)).unwrap();
    }
    store.flush().unwrap();
    write_an_abandoned_time_line::<Word, _>(&store);
    crash(0);
    let second = open::<Word, _>(device(1)).unwrap();
    assert_holds::<Word, _>(&second, &model, all_keys::<Word>(), "after the first crash");
    assert!(second.recovery_report().pages_behind > 0, "{:?}", second.recovery_report());
    second.start_session().unwrap().upsert(1, Word::value(42)).unwrap();
    model.insert(1, 42);
    second.flush().unwrap();
    crash(1);
    let third = open::<Word, _>(device(2)).unwrap();
    assert_holds::<Word, _>(&third, &model, all_keys::<Word>(), "after the second crash");
    fill_the_page::<Word, _>(&third, &mut model);
    crash(2);
    let fourth = open::<Word, _>(device(3)).unwrap();
    assert_holds::<Word, _>(&fourth, &model, all_keys::<Word>(), "after the third crash");
    assert_eq!(fourth.recovery_report().pages_behind, 0, "an abandoned page was taken for a new one");
}

#[test]
fn a_created_store_is_durable_and_empty() {
    let device = FaultDevice::with_plan(9, FaultPlan::new().crash_fates(CrashFates::DROP_ALL));
    let store = open::<Word, _>(device.clone()).unwrap();
    assert!(store.recovery_report().created);
    let after = device.crash(1);
    assert!(after.metadata_bytes(MetadataSlot::Odd).starts_with(b"OXFSTMD1"));
    assert!(!open::<Word, _>(after).unwrap().recovery_report().created);
}
