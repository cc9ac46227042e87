//! No update is lost, and none is done by halves.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use oxifaster::prelude::*;

use crate::samples::{Sample, increment, increment_interrupted};
use crate::stores::{assert_was_larger_than_memory, in_memory, on_file, on_file_with, on_threads, small};

/// Keys from here on are ballast: it moves the counters through all regions of the log.
const BALLAST: u64 = 1 << 40;

/// Three threads increment counters, some of them hot, most of them seldom touched and so read-only or on the device.
fn count_on_three_threads<V: Sample, D: StorageDevice>(store: &Arc<FasterKv<u64, V, D>>, rounds: u64) {
    let ballast_per_round = 200 / size_of_val(&V::of(1)).max(24) as u64;
    const HOT: u64 = 7;
    const SELDOM: u64 = 1_500;
    on_threads(3, |thread| {
        let mut session = store.start_session().unwrap();
        for round in 0..rounds {
            session.rmw(round % HOT, increment_interrupted).unwrap();
            let seldom = HOT + (round * 31 + thread * 7) % SELDOM;
            if round % 5 == 0 {
                // The same by hand.
                let mut seen = session.read(&seldom).unwrap();
                while let Err(other) = match &seen {
                    Some(value) => {
                        session.compare_exchange(seldom, value, V::of(value.number() + 1)).unwrap()
                    }
                    None => match session.insert_if_absent(seldom, V::of(1)).unwrap() {
                        true => Ok(()),
                        false => Err(session.read(&seldom).unwrap()),
                    },
                } {
                    seen = other;
                }
            } else {
                session.rmw(seldom, increment).unwrap();
            }
            for number in 0..ballast_per_round {
                let ballast = BALLAST + thread * 4_000 + (round * ballast_per_round + number) % 4_000;
                session.delete(&ballast).unwrap();
                session.upsert(ballast, V::of(round)).unwrap();
            }
        }
        assert_eq!(session.serial_num(), rounds * (2 + 2 * ballast_per_round));
    });
    let mut session = store.start_session().unwrap();
    let keys: Vec<u64> = (0..HOT + SELDOM).collect();
    let counted: u64 =
        session.read_batch(&keys).unwrap().into_iter().flatten().map(|value| value.number()).sum();
    assert_eq!(counted, 3 * 2 * rounds, "{:?}", store.stats());
}

fn lost_rmw_of<V: Sample>() {
    count_on_three_threads(&in_memory::<u64, V>(), 15_000);
    let folder = tempfile::tempdir().unwrap();
    let store = on_file::<u64, V>(folder.path());
    count_on_three_threads(&store, 15_000);
    assert_was_larger_than_memory(&store.stats());
}

#[test]
fn lost_rmw() {
    lost_rmw_of::<u64>();
}

#[test]
fn lost_rmw_of_fixed_values() {
    lost_rmw_of::<[u64; 8]>();
}

#[test]
fn lost_rmw_of_varlen_values() {
    lost_rmw_of::<Vec<u8>>();
}

/// One thread makes values longer, so that their records are superseded; the others change them in place meanwhile.
#[test]
fn lost_rmw_of_growing_values() {
    const KEYS: u64 = 200;
    const ROUNDS: u64 = 15_000;
    let folder = tempfile::tempdir().unwrap();
    let store = on_file::<u64, Vec<u8>>(folder.path());
    let count_of = |value: &[u8]| value.first_chunk::<8>().map_or(0, |count| u64::from_le_bytes(*count));
    on_threads(3, |thread| {
        let mut session = store.start_session().unwrap();
        for round in 0..ROUNDS {
            let add = |value: &mut Vec<u8>| {
                let count = count_of(value);
                if count.is_multiple_of(7) {
                    std::thread::yield_now();
                }
                value.resize(value.len().max(8) + if thread == 0 { 8 } else { 0 }, 7);
                value[..8].copy_from_slice(&(count + 1).to_le_bytes());
                true
            };
            session.rmw(round / 50 % KEYS, add).unwrap();
        }
    });
    let mut session = store.start_session().unwrap();
    let values: Vec<_> = (0..KEYS).map(|key| session.read(&key).unwrap().unwrap()).collect();
    assert_eq!(values.iter().map(|value| count_of(value)).sum::<u64>(), 3 * ROUNDS);
    assert_eq!(values.iter().map(|value| value.len() as u64 - 8).sum::<u64>(), 8 * ROUNDS);
    assert!(store.stats().pages_evicted > 0);
}

/// Increments that wrap around the word are exact too, and every thread sees its own previous value grow.
#[test]
fn lost_rmw_fetch_add() {
    let folder = tempfile::tempdir().unwrap();
    let store = on_file::<u64, u64>(folder.path());
    let start = u64::MAX - 1_000;
    store.start_session().unwrap().upsert(1, start).unwrap();
    on_threads(3, |thread| {
        let mut session = store.start_session().unwrap();
        let mut last = 0;
        for round in 0..20_000 {
            let before = session.fetch_add(1, 1).unwrap().wrapping_sub(start);
            assert!(round == 0 || before > last, "{before} after {last}");
            last = before;
            session.upsert(BALLAST + thread * 20_000 + round, round).unwrap();
        }
        // And as close together as they can be.
        for _ in 0..150_000 {
            session.fetch_add(1, 1).unwrap();
        }
    });
    let mut session = store.start_session().unwrap();
    assert_eq!(session.read(&1).unwrap(), Some(start.wrapping_add(510_000)));
    assert!(store.stats().pages_evicted > 0);
}

/// Several threads write keys of their own that share chains with the keys of the others, and read each at once. Ballast,
/// so many records a round, moves the keys to the device before their next turn.
fn read_your_writes<V: Sample, D: StorageDevice>(
    store: &Arc<FasterKv<u64, V, D>>,
    rounds: u64,
    ballast: u64,
) {
    on_threads(3, |thread| {
        let mut session = store.start_session().unwrap();
        for round in 0..rounds {
            let key = (round * 17 % 1_200) * 3 + thread;
            match round % 7 {
                0 => {
                    session.delete(&key).unwrap();
                    assert_eq!(session.read(&key).unwrap(), None, "key {key} in round {round}");
                    assert!(session.insert_if_absent(key, V::of(round)).unwrap());
                }
                1 => {
                    session.remove(&key).unwrap();
                    assert_eq!(session.rmw(key, |_| false).unwrap(), RmwOutcome::Unchanged);
                    assert_eq!(session.read(&key).unwrap(), None, "key {key} in round {round}");
                    session.upsert(key, V::of(round)).unwrap();
                }
                _ => session.upsert(key, V::of(round)).unwrap(),
            }
            let read = session.read(&key).unwrap().map(|value| value.number());
            assert_eq!(read, Some(round), "key {key}");
            assert_eq!(session.rmw(key, increment).unwrap(), RmwOutcome::Updated);
            let read = session.read_batch(&[key]).unwrap().remove(0).map(|value| value.number());
            assert_eq!(read, Some(round + 1), "key {key}");
            for number in 0..ballast {
                let key = BALLAST + (thread * rounds + round) * ballast + number;
                session.upsert(key, V::of(round)).unwrap();
            }
        }
    });
}

fn lost_insert_of<V: Sample>() {
    // Few buckets and fewer overflow buckets: keys of all threads share chains, and publications collide.
    let few = |config: FasterKvConfig| FasterKvConfig { table_size: 4, overflow_buckets: Some(16), ..config };
    let memory = few(small()).with_log_memory_size(8 << 20);
    let store = Arc::new(FasterKv::<u64, V, _>::open(memory, NullDisk::new()).unwrap());
    read_your_writes(&store, 10_000, 0);
    let folder = tempfile::tempdir().unwrap();
    let file = FasterKvConfig { table_size: 256, overflow_buckets: Some(1), ..small() };
    let store = on_file_with::<u64, V>(file.with_log_memory_size(6 << 16), folder.path());
    read_your_writes(&store, 4_000, 200 / size_of_val(&V::of(1)).max(24) as u64);
    assert_was_larger_than_memory(&store.stats());
}

#[test]
fn lost_insert() {
    lost_insert_of::<u64>();
}

#[test]
fn lost_insert_of_fixed_values() {
    lost_insert_of::<[u64; 8]>();
}

#[test]
fn lost_insert_of_varlen_values() {
    lost_insert_of::<Vec<u8>>();
}

fn rmw_missing_of<V: Sample>() {
    let store = in_memory::<u64, V>();
    let mut session = store.start_session().unwrap();
    assert_eq!(session.rmw(1, |_| false).unwrap(), RmwOutcome::Unchanged);
    assert_eq!((session.read(&1).unwrap(), session.serial_num()), (None, 0));
    assert_eq!(session.rmw(1, increment).unwrap(), RmwOutcome::Created);
    assert_eq!(session.rmw(1, increment).unwrap(), RmwOutcome::Updated);
    assert_eq!(session.read(&1).unwrap(), Some(V::of(2)));
    session.delete(&1).unwrap();
    assert_eq!(session.rmw(1, increment).unwrap(), RmwOutcome::Created);
    assert_eq!(session.read(&1).unwrap(), Some(V::of(1)));
    // Of all who find a key missing at once, one creates it.
    let created = AtomicU64::new(0);
    on_threads(3, |_| {
        let mut session = store.start_session().unwrap();
        for key in 100..1_100 {
            // The initial value is 0, so all of them are interrupted between look-up and publication.
            let outcome = session.rmw(key, increment_interrupted).unwrap();
            created.fetch_add(u64::from(outcome == RmwOutcome::Created), Ordering::Relaxed);
        }
    });
    assert_eq!(created.into_inner(), 1_000);
    for key in 100..1_100 {
        assert_eq!(session.read(&key).unwrap(), Some(V::of(3)));
    }
}

#[test]
fn rmw_missing() {
    rmw_missing_of::<u64>();
    rmw_missing_of::<[u64; 8]>();
    rmw_missing_of::<Vec<u8>>();
}

fn in_place_upsert_of<V: Sample, D: StorageDevice>(
    store: &Arc<FasterKv<u64, V, D>>,
    value: impl Fn(u64) -> V,
) {
    let mut session = store.start_session().unwrap();
    session.upsert(1, value(0)).unwrap();
    let (tail, before) = (store.log().tail(), store.stats());
    for round in 1..=1_000 {
        session.upsert(1, value(round)).unwrap();
    }
    assert_eq!(session.read(&1).unwrap(), Some(value(1_000)));
    assert_eq!(store.log().tail(), tail, "log bytes for upserts of a hot key");
    assert_eq!(store.stats().in_place_updates - before.in_place_updates, 1_000);
    assert_eq!(store.stats().appended_records, before.appended_records);
}

#[test]
fn in_place_upsert() {
    let bytes = |round: u64| vec![(round % 251) as u8; 100];
    in_place_upsert_of(&in_memory(), u64::of);
    in_place_upsert_of(&in_memory(), <[u64; 8]>::of);
    in_place_upsert_of(&in_memory(), bytes);
    // Shorter values fit too.
    in_place_upsert_of(&in_memory(), |round: u64| vec![7_u8; (100 - round % 100) as usize]);
    let folder = tempfile::tempdir().unwrap();
    in_place_upsert_of(&on_file(folder.path()), bytes);
    let folder = tempfile::tempdir().unwrap();
    in_place_upsert_of(&on_file(folder.path()), u64::of);
}

/// Panics inside closures while the key's record is in each region of the log.
fn closure_panics_of<V: Sample, D: StorageDevice>(store: &Arc<FasterKv<u64, V, D>>, evict: bool) {
    const KEYS: u64 = 2_000;
    let mut session = store.start_session().unwrap();
    let mut other = store.start_session().unwrap();
    for key in 0..KEYS {
        session.upsert(key, V::of(key)).unwrap();
    }
    if evict {
        // The older keys are on the device now, some behind them are read-only, the newest are mutable.
        for key in 0..KEYS * 40 {
            session.upsert(BALLAST + key, V::of(key)).unwrap();
        }
        for key in KEYS / 2..KEYS {
            session.rmw(key, |_| false).unwrap();
            session.upsert(key, V::of(key)).unwrap();
        }
    }
    let serial = session.serial_num();
    for key in (0..KEYS + 20).step_by(9) {
        let expected = (key < KEYS).then(|| V::of(key));
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            session.rmw(key, |value| {
                *value = V::of(999_999);
                panic!("a user's closure panics")
            })
        }));
        assert!(panicked.is_err());
        assert_eq!(session.read(&key).unwrap(), expected, "key {key}");
        assert_eq!(other.read(&key).unwrap(), expected, "key {key}");
        // Nothing is latched or sealed: every kind of update goes on, in other sessions too.
        let outcome = other.rmw(key, increment).unwrap();
        assert_eq!(outcome == RmwOutcome::Created, expected.is_none());
        session.upsert(key, V::of(5)).unwrap();
        assert_eq!(other.remove(&key).unwrap(), Some(V::of(5)));
    }
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        session
            .rmw_batch(&[1, 3, 5], |place, value| if place == 1 { panic!("again") } else { increment(value) })
    }));
    assert!(panicked.is_err());
    // Keys in memory take effect in their turn, keys on the device when they have been read: each once or not at all, and counted.
    let values = session.read_batch(&[1_u64, 3, 5]).unwrap();
    let took_effect = [0, 2].map(|place| u64::from(values[place] == Some(V::of(2 * place as u64 + 2))));
    let expected = [1 + took_effect[0], 3, 5 + took_effect[1]];
    assert_eq!(values, expected.map(|number| Some(V::of(number))));
    let counted = session.serial_num() - serial - (KEYS + 20).div_ceil(9);
    assert_eq!(
        counted,
        took_effect.iter().sum::<u64>(),
        "a panicking update was counted, or one that took effect was not"
    );
    assert!(evict || took_effect == [1, 0], "in memory the batch ends where the closure panics");
    // No guard is left behind: pages can still be evicted.
    for key in 0..KEYS * 40 {
        session.upsert(BALLAST + key, V::of(key)).unwrap();
    }
}

fn closure_panics_everywhere<V: Sample>() {
    closure_panics_of(&in_memory::<u64, V>(), false);
    let folder = tempfile::tempdir().unwrap();
    let store = on_file::<u64, V>(folder.path());
    closure_panics_of(&store, true);
    store.flush().unwrap();
    assert_was_larger_than_memory(&store.stats());
}

#[test]
fn closure_panics() {
    closure_panics_everywhere::<u64>();
    closure_panics_everywhere::<[u64; 8]>();
    closure_panics_everywhere::<Vec<u8>>();
}

/// Operations of one batch on one key take effect in their order, also when one in the middle moves the record: the ones
/// behind it must not go on with the record that their group has looked up before.
#[test]
fn equal_keys_in_one_batch() {
    let store = in_memory::<u64, Vec<u8>>();
    let mut session = store.start_session().unwrap();
    for round in 0..3_usize {
        let value = |byte: u8, len: usize| vec![byte; len + 100 * round];
        session.upsert(1, value(0, 16)).unwrap();
        let pairs = [(1, 1, 8), (2, 2, 8), (1, 3, 64), (2, 4, 8), (1, 5, 8)];
        session.upsert_batch(&pairs.map(|(key, byte, len)| (key, value(byte, len)))).unwrap();
        let read = session.read_batch(&[1, 2, 1]).unwrap();
        assert_eq!(read, [value(5, 8), value(4, 8), value(5, 8)].map(Some), "round {round}");
        let longer = |place, value: &mut Vec<u8>| {
            value.resize(value.len() + 40, u8::try_from(place).unwrap());
            true
        };
        session.rmw_batch(&[1, 1, 2, 1], longer).unwrap();
        let mut expected = value(5, 8);
        for place in [0, 1, 3] {
            longer(place, &mut expected);
        }
        assert_eq!(session.read(&1).unwrap(), Some(expected));
        session.delete_batch(&[1, 1]).unwrap();
        let inserted = session.insert_if_absent_batch(&[(1, value(7, 8)), (1, value(8, 8))]).unwrap();
        assert_eq!(inserted, [true, false]);
        assert_eq!(session.read(&1).unwrap(), Some(value(7, 8)));
    }
    assert_eq!(session.serial_num(), 3 * (1 + 5 + 4 + 2 + 1));
}

/// What a batch did before its error stays done; a closed store refuses all of it.
#[test]
fn batch_ends_at_its_first_error() {
    let store = in_memory::<u64, Vec<u8>>();
    let mut session = store.start_session().unwrap();
    let value = |key| vec![0_u8; if key == 40 { 40 << 20 } else { 1 }];
    let pairs: Vec<(u64, Vec<u8>)> = (0..50).map(|key| (key, value(key))).collect();
    let keys: Vec<u64> = (0..50).collect();
    assert_eq!(session.upsert_batch(&pairs).unwrap_err().kind(), ErrorKind::InvalidInput);
    let present = session.read_batch(&keys).unwrap();
    assert!(present.iter().zip(0..).all(|(value, key)| value.is_some() == (key < 40)));
    assert_eq!(session.serial_num(), 40);
    store.close().unwrap();
    let refusals = [
        session.read_batch(&keys).map(drop),
        session.read(&1).map(drop),
        session.upsert_batch(&pairs[..3]),
        session.rmw_batch(&keys, |_, _| true).map(drop),
        session.delete_batch(&keys),
    ];
    assert!(refusals.iter().all(|refusal| refusal.as_ref().unwrap_err().kind() == ErrorKind::Closed));
}
