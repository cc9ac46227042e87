//! What is read is what was written, whole, at every size.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use oxifaster::prelude::*;

use crate::samples::Sample;
use crate::stores::{assert_was_larger_than_memory, in_memory, on_file, on_file_with, on_threads, small};

const BALLAST: u64 = 1 << 40;

/// Two writers, each with keys of its own and rising numbers; two readers who must see whole values that never go back.
fn torn_value_on<V: Sample, D: StorageDevice>(store: &Arc<FasterKv<u64, V, D>>, rounds: u64, ballast: u64) {
    const KEYS: u64 = 12;
    let stop = AtomicBool::new(false);
    let write = |thread: u64| {
        let mut session = store.start_session().unwrap();
        for round in 1..=rounds {
            let key = (round % (KEYS / 2)) * 2 + thread;
            if round % 3 == 0 {
                session
                    .rmw(key, |value| {
                        value.number();
                        *value = V::of(round);
                        true
                    })
                    .unwrap();
            } else {
                session.upsert(key, V::of(round)).unwrap();
            }
            for number in 0..ballast {
                session.upsert(BALLAST + (thread * rounds + round) * ballast + number, V::of(1)).unwrap();
            }
        }
        stop.store(true, Ordering::Release);
    };
    let read = |thread: u64| {
        let mut session = store.start_session().unwrap();
        let mut newest = [0; KEYS as usize];
        let keys: Vec<u64> = (0..KEYS).collect();
        let mut bytes = Vec::new();
        while !stop.load(Ordering::Acquire) {
            for key in 0..KEYS {
                let number = if thread == 2 {
                    session.read(&key).unwrap().map_or(0, |value| value.number())
                } else if session.read_into(&key, &mut bytes).unwrap() {
                    <V::Codec as oxifaster::codec::ValueCodec<V>>::decode(&bytes).unwrap().number()
                } else {
                    0
                };
                assert!(number >= newest[key as usize], "key {key} went back to {number}");
                newest[key as usize] = number;
            }
            for (key, value) in session.read_batch(&keys).unwrap().into_iter().enumerate() {
                let number = value.map_or(0, |value| value.number());
                assert!(number >= newest[key], "key {key} went back to {number}");
                newest[key] = number;
            }
            // The values that lie on the device are read too.
            let old = BALLAST + newest[0] / 4 * ballast;
            assert!(session.read(&old).unwrap().is_none_or(|value| value.number() == 1));
        }
    };
    on_threads(4, |thread| if thread < 2 { write(thread) } else { read(thread) });
}

fn torn_value_of<V: Sample>(ballast: u64) {
    torn_value_on(&in_memory::<u64, V>(), 60_000, 0);
    let folder = tempfile::tempdir().unwrap();
    let store = on_file::<u64, V>(folder.path());
    torn_value_on(&store, 20_000, ballast);
    assert_was_larger_than_memory(&store.stats());
}

#[test]
fn torn_value() {
    torn_value_of::<[u64; 8]>(1);
}

#[test]
fn torn_value_of_odd_length() {
    torn_value_of::<[u8; 101]>(1);
}

/// Two writers of one key: whoever wins, its value is whole.
#[test]
fn torn_value_with_two_writers() {
    let store = in_memory::<u64, [u64; 512]>();
    let stop = AtomicBool::new(false);
    on_threads(3, |thread| {
        let mut session = store.start_session().unwrap();
        let mut last = 0;
        for round in 0..100_000 {
            match thread {
                2 if stop.load(Ordering::Acquire) => break,
                2 => drop(session.read(&1).unwrap().map(|value| value.number())),
                _ if round % 4 == 0 => drop(
                    session
                        .rmw(1, |value| {
                            last = value.number();
                            *value = Sample::of(last + 1);
                            true
                        })
                        .unwrap(),
                ),
                _ => session.upsert(1, <[u64; 512]>::of(round * 2 + thread)).unwrap(),
            }
        }
        stop.store(true, Ordering::Release);
    });
}

#[test]
fn torn_value_of_changing_length() {
    torn_value_of::<Vec<u8>>(1);
}

#[test]
fn torn_value_of_words() {
    torn_value_of::<u64>(3);
}

/// A view is held while its record is overwritten, deleted and evicted by somebody else.
#[test]
fn view_during_update() {
    let folder = tempfile::tempdir().unwrap();
    let store = on_file::<u64, Vec<u8>>(folder.path());
    let mut session = store.start_session().unwrap();
    for (key, len) in [(1_u64, 40_usize), (2, 4_000), (3, 0)] {
        let value = vec![7_u8; len];
        for place in 0..3 {
            session.upsert(key, &value).unwrap();
            if place > 0 {
                // Read-only or on the device when it is looked at.
                for ballast in 0..2_000 * place * place {
                    session.upsert(BALLAST + ballast, vec![1_u8; 100 + place as usize]).unwrap();
                }
            }
            let view = session.read_view(&key).unwrap().unwrap();
            assert_eq!(view.as_bytes(), value);
            std::thread::scope(|scope| {
                // Joined while the view is held: nobody waits for it.
                let writer = scope.spawn(|| {
                    let mut other = store.start_session().unwrap();
                    for round in 0..200_u8 {
                        other.upsert(key, vec![round; len + usize::from(round)]).unwrap();
                        other
                            .rmw(key, |bytes| {
                                bytes.reverse();
                                true
                            })
                            .unwrap();
                    }
                    other.delete(&key).unwrap();
                    let evicted = store.stats().pages_evicted;
                    let mut ballast = 0;
                    while store.stats().pages_evicted < evicted + 16 {
                        other.upsert(BALLAST + ballast % 5_000, vec![2_u8; 1_000]).unwrap();
                        ballast += 1;
                    }
                    store.flush().unwrap();
                });
                writer.join().unwrap();
            });
            assert_eq!(view.as_bytes(), value, "the bytes of a view changed");
            assert_eq!(session.read(&key).unwrap(), None);
        }
    }
}

/// The longest value that `key` can have, found by asking.
fn longest_value<D: StorageDevice>(session: &mut Session<Vec<u8>, Vec<u8>, D>, key: &[u8]) -> usize {
    let (mut fits, mut refused) = (0, 1 << 20);
    while refused - fits > 1 {
        let len = (fits + refused) / 2;
        match session.upsert(key, vec![1_u8; len]) {
            Ok(()) => fits = len,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
                assert!(error.to_string().contains("page_size_bits"), "{error}");
                refused = len;
            }
        }
    }
    fits
}

#[test]
fn values_near_a_page() {
    let folder = tempfile::tempdir().unwrap();
    let store = on_file::<Vec<u8>, Vec<u8>>(folder.path());
    let mut session = store.start_session().unwrap();
    let mut expected = Vec::new();
    for key_len in [0, 1, 7, 8, 9, 1_000, 30_000] {
        let key = vec![9_u8; key_len];
        let longest = longest_value(&mut session, &key);
        // Header, lengths and checksums take little of a page of 64 KiB.
        assert!(longest + key_len > (1 << 16) - 4_096 - 64, "only {longest} bytes for a key of {key_len}");
        let value: Vec<u8> = (0..longest).map(|at| (at * 7 + key_len) as u8).collect();
        session.upsert(&key, &value).unwrap();
        let (tail, serial) = (store.log().tail(), session.serial_num());
        let too_long = vec![0_u8; longest + 1];
        for error in [
            session.upsert(&key, &too_long).unwrap_err(),
            session
                .rmw(&key, |value| {
                    value.push(1);
                    true
                })
                .unwrap_err(),
            session.compare_exchange(&key, &value, &too_long).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        }
        assert_eq!(session.read(&key).unwrap().as_ref(), Some(&value));
        assert_eq!(session.read_view(&key[..]).unwrap().unwrap().as_bytes(), value);
        assert_eq!((store.log().tail(), session.serial_num()), (tail, serial));
        expected.push((key, value));
    }
    // A key that no value fits beside.
    let key = vec![3_u8; 1 << 16];
    assert_eq!(session.upsert(&key, vec![]).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(session.rmw(&key, |_| true).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(session.read(&key).unwrap(), None);
    session.delete(&key).unwrap();
    for number in 0..40_u8 {
        session.upsert(&[200, number], vec![number; 60_000]).unwrap();
    }
    check_pairs(&mut session, &expected);
    assert_was_larger_than_memory(&store.stats());
    drop((session, store));
    let store = on_file::<Vec<u8>, Vec<u8>>(folder.path());
    check_pairs(&mut store.start_session().unwrap(), &expected);
}

fn check_pairs<
    K: PersistKey + Clone + PartialEq + std::fmt::Debug,
    V: PersistValue + PartialEq + std::fmt::Debug,
    D: StorageDevice,
>(
    session: &mut Session<K, V, D>,
    pairs: &[(K, V)],
) {
    // What a buffer had before is gone.
    let mut bytes = vec![77; 50];
    for (key, value) in pairs {
        assert!(session.read(key).unwrap().as_ref() == Some(value), "another value at {key:?}");
        assert!(session.read_into(key, &mut bytes).unwrap());
        let decoded = <V::Codec as oxifaster::codec::ValueCodec<V>>::decode(&bytes).unwrap();
        assert!(decoded == *value, "another value at {key:?}: {bytes:?}");
    }
    let keys: Vec<K> = pairs.iter().map(|(key, _)| key.clone()).collect();
    let together = session.read_batch(&keys).unwrap();
    assert!(together.iter().flatten().eq(pairs.iter().map(|(_, value)| value)), "other values in a batch");
}

/// Writes pairs, reads them from memory, from the device and after opening again; then deletes every other one.
fn extremes<K, V>(keys: &[K], values: &[V])
where
    K: PersistKey + Clone + PartialEq + std::fmt::Debug,
    V: PersistValue + Clone + PartialEq + std::fmt::Debug,
{
    let folder = tempfile::tempdir().unwrap();
    // One bucket and nothing beyond it: different keys meet in one chain.
    let config = || FasterKvConfig { table_size: 1, overflow_buckets: Some(0), ..small() };
    let open = || on_file_with::<K, V>(config(), folder.path());
    for shift in 0..values.len() {
        let pairs: Vec<(K, V)> = keys
            .iter()
            .enumerate()
            .map(|(at, key)| (key.clone(), values[(at + shift) % values.len()].clone()))
            .collect();
        let store = open();
        let mut session = store.start_session().unwrap();
        for (key, value) in &pairs {
            session.upsert(key, value).unwrap();
        }
        check_pairs(&mut session, &pairs);
        for (key, value) in &pairs {
            assert!(!session.insert_if_absent(key, value).unwrap());
            assert_eq!(session.compare_exchange(key, value, value).unwrap(), Ok(()));
            assert_eq!(session.rmw(key, |_| true).unwrap(), RmwOutcome::Updated);
        }
        check_pairs(&mut session, &pairs);
        store.close().unwrap();
        drop((session, store));
        let store = open();
        let mut session = store.start_session().unwrap();
        check_pairs(&mut session, &pairs);
        for (key, value) in pairs.iter().step_by(2) {
            assert_eq!(session.remove(key).unwrap().as_ref(), Some(value));
        }
        for (at, (key, value)) in pairs.iter().enumerate() {
            assert_eq!(session.read(key).unwrap().as_ref(), (at % 2 == 1).then_some(value), "{key:?}");
        }
    }
    // The same from the device.
    let store = open();
    let mut session = store.start_session().unwrap();
    let pairs: Vec<(K, V)> = keys.iter().cloned().zip(values.iter().cycle().cloned()).collect();
    session.upsert_batch(&pairs).unwrap();
    while store.stats().pages_evicted < 20 {
        // Appended, not updated in place, because a deleted record is not used again.
        let (key, value) = &pairs[0];
        session.delete(key).unwrap();
        session.upsert(key, value).unwrap();
    }
    check_pairs(&mut session, &pairs);
    assert!(keys.len() == 1 || store.stats().device_reads > 0, "{:?}", store.stats());
}

#[test]
fn zero_and_extreme_keys() {
    let numbers = [0, 1, u64::MAX, u64::MAX - 1, 1 << 63, (1 << 48) - 1];
    extremes(&numbers, &numbers);
    extremes(&[0_u8, 1, 255], &[0_u128, 1, u128::MAX]);
    extremes(&[i64::MIN, -1, 0, i64::MAX], &[0_u8, 255]);
    extremes(&[[0_u8; 17], [255; 17]], &[[0_u64; 8], [u64::MAX; 8]]);
    extremes(&[(0_u32)], &[()]);
    extremes(&numbers, &[[1_u8; 13], [255; 13]]);
    extremes(&numbers, &[[2_u8; 100], [254; 100]]);
    extremes(&numbers, &[[3_u8; 135], [253; 135]]);
    let text = ["", "\0", "\0\0", " ", "a", "a\0", "\u{10ffff}", "12345678", "12345678\0"];
    let text: Vec<String> = text.map(str::to_owned).into();
    extremes(&text, &text);
    extremes(&text, &numbers);
    let mut bytes = vec![Vec::new(), vec![0], vec![0; 2], vec![255], vec![255; 7]];
    bytes.extend([vec![0; 7], vec![0; 8], vec![0; 9], vec![255; 8], vec![255; 16], vec![0; 5_000]]);
    bytes.extend((10..24).map(|len| vec![0; len]));
    extremes(&bytes, &bytes);
    extremes(&numbers, &bytes);
}

#[test]
fn a_buffer_that_is_large_enough_is_not_replaced() {
    let store = in_memory::<u64, Vec<u8>>();
    let mut session = store.start_session().unwrap();
    for len in 0..200_u8 {
        session.upsert(1, vec![len; usize::from(len)]).unwrap();
        let mut buffer = Vec::with_capacity(usize::from(len));
        let memory = buffer.as_ptr();
        assert!(session.read_into(&1, &mut buffer).unwrap());
        assert_eq!(buffer, vec![len; usize::from(len)]);
        assert_eq!((buffer.as_ptr(), buffer.capacity()), (memory, usize::from(len)));
    }
    let mut buffer = vec![1, 2, 3];
    assert!(!session.read_into(&2, &mut buffer).unwrap());
    assert!(buffer.is_empty());
}

/// A value whose codec says that its memory is its encoding, and lends none of it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Forgotten([u8; 16]);

impl PersistValue for Forgotten {
    type Codec = ForgottenCodec;
}

struct ForgottenCodec;

impl oxifaster::codec::ValueCodec<Forgotten> for ForgottenCodec {
    const NUMBER: u32 = oxifaster::codec::FIRST_USER_CODEC_NUMBER + 77;
    const EXTENT: oxifaster::codec::Extent = oxifaster::codec::Extent::Fixed(16);
    const IS_PLAIN: bool = true;
    type Encoded<'v> = [u8; 16];

    fn encode(value: &Forgotten) -> Result<[u8; 16], Error> {
        Ok(value.0)
    }

    fn decode(bytes: &[u8]) -> Result<Forgotten, Error> {
        Ok(Forgotten(bytes.try_into().unwrap()))
    }

    fn initial() -> Forgotten {
        Forgotten::default()
    }
}

#[test]
fn a_codec_that_lends_other_memory_than_its_extent_is_decoded() {
    let store = in_memory::<u64, Forgotten>();
    let mut session = store.start_session().unwrap();
    session.upsert(1, Forgotten([7; 16])).unwrap();
    assert_eq!(session.read(&1).unwrap(), Some(Forgotten([7; 16])));
    assert_eq!(session.read_batch(&[2, 1]).unwrap(), [None, Some(Forgotten([7; 16]))]);
    session
        .rmw(1, |value| {
            value.0[3] += 1;
            true
        })
        .unwrap();
    let mut expected = [7; 16];
    expected[3] = 8;
    assert_eq!(session.read(&1).unwrap(), Some(Forgotten(expected)));
}
