//! What the tests share: stores of every value class, a model of what they hold, and a watchdog.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use oxifaster::prelude::*;

/// Keys and values of one value class, made from numbers.
pub(crate) trait Class: 'static {
    type Key: PersistKey + Clone + Debug + Send + Sync;
    type Value: PersistValue + Clone + Debug + PartialEq + Send + Sync;
    /// Updates that fill about one page of 64 KiB.
    const PER_PAGE: u64;
    fn key(number: u64) -> Self::Key;
    fn value(seed: u64) -> Self::Value;
}

/// 8 + 8 bytes: one word, no header but the record's.
#[derive(Debug)]
pub(crate) struct Word;
/// A value of a fixed length that is more than a word.
#[derive(Debug)]
pub(crate) struct Fixed;
/// Keys and values of any length.
#[derive(Debug)]
pub(crate) struct Varlen;

impl Class for Word {
    type Key = u64;
    type Value = u64;
    const PER_PAGE: u64 = 2560;
    fn key(number: u64) -> u64 {
        number
    }
    fn value(seed: u64) -> u64 {
        seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ seed
    }
}

impl Class for Fixed {
    type Key = u64;
    type Value = [u64; 40];
    const PER_PAGE: u64 = 175;
    fn key(number: u64) -> u64 {
        number
    }
    fn value(seed: u64) -> [u64; 40] {
        std::array::from_fn(|place| Word::value(seed * 41 + place as u64))
    }
}

impl Class for Varlen {
    type Key = Vec<u8>;
    type Value = Vec<u8>;
    const PER_PAGE: u64 = 180;
    fn key(number: u64) -> Vec<u8> {
        format!("key {number}{}", "-".repeat(number as usize % 23)).into_bytes()
    }
    fn value(seed: u64) -> Vec<u8> {
        let word = Word::value(seed).to_le_bytes();
        word.iter().copied().cycle().take((seed * 7919 % 600) as usize).collect()
    }
}

/// Value seeds by key number: what a store must hold.
pub(crate) type Model = BTreeMap<u64, u64>;
pub(crate) type Store<C, D> = Arc<FasterKv<<C as Class>::Key, <C as Class>::Value, D>>;
pub(crate) type Worker<C, D> = Session<<C as Class>::Key, <C as Class>::Value, D>;

/// Six pages of 64 KiB: the least that works.
pub(crate) fn config() -> FasterKvConfig {
    FasterKvConfig {
        table_size: 1 << 10,
        log_memory_size: 6 << 16,
        recovery_threads: Some(2),
        ..Default::default()
    }
}

pub(crate) fn open<C: Class, D: StorageDevice>(device: D) -> Result<Store<C, D>, Error> {
    FasterKv::open(config(), device).map(Arc::new)
}

/// One update of the workload, chosen by its number.
pub(crate) fn update<C: Class, D: StorageDevice>(
    session: &mut Worker<C, D>,
    model: &mut Model,
    number: u64,
    keys: u64,
) -> Result<(), Error> {
    let dice = Word::value(number);
    let key = dice % keys;
    match dice >> 32 & 15 {
        0 => {
            session.delete(&C::key(key))?;
            model.remove(&key);
        }
        1 | 2 => {
            session.rmw(C::key(key), |value| {
                *value = C::value(number);
                true
            })?;
            model.insert(key, number);
        }
        _ => {
            session.upsert(C::key(key), C::value(number))?;
            model.insert(key, number);
        }
    }
    Ok(())
}

/// What a store holds of the keys below `keys`.
pub(crate) fn content<C: Class, D: StorageDevice>(store: &Store<C, D>, keys: u64) -> Vec<Option<C::Value>> {
    let mut session = store.start_session().unwrap();
    let keys: Vec<C::Key> = (0..keys).map(C::key).collect();
    keys.chunks(256).flat_map(|chunk| session.read_batch(chunk).unwrap()).collect()
}

pub(crate) fn matches<C: Class>(found: &[Option<C::Value>], model: &Model) -> bool {
    found.iter().enumerate().all(|(key, value)| {
        let expected = model.get(&(key as u64)).map(|seed| C::value(*seed));
        *value == expected
    })
}

/// Fails the test when the store does not hold exactly what the model says, for the keys below `keys`.
pub(crate) fn assert_holds<C: Class, D: StorageDevice>(
    store: &Store<C, D>,
    model: &Model,
    keys: u64,
    context: &str,
) {
    for (key, value) in content::<C, D>(store, keys).into_iter().enumerate() {
        let expected = model.get(&(key as u64)).map(|seed| C::value(*seed));
        assert!(value == expected, "{context}: key {key} is {value:?}, expected {expected:?}");
    }
}
/// Runs `body` on a thread of its own and fails the test when it does not end in time.
pub(crate) fn within<R: Send + 'static>(
    seconds: u64,
    what: &str,
    body: impl FnOnce() -> R + Send + 'static,
) -> R {
    let (sender, receiver) = channel();
    let worker = std::thread::spawn(move || {
        let result = body();
        sender.send(result).ok();
    });
    match receiver.recv_timeout(Duration::from_secs(seconds)) {
        Ok(result) => {
            worker.join().unwrap();
            result
        }
        Err(RecvTimeoutError::Disconnected) => match worker.join() {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(()) => panic!("{what}: ended without a result"),
        },
        Err(RecvTimeoutError::Timeout) => panic!("{what}: hangs for {seconds} seconds"),
    }
}

/// Tries again until `attempt` succeeds, for at most some seconds: the engine retries failed writes by itself.
pub(crate) fn eventually<R>(what: &str, mut attempt: impl FnMut() -> Result<R, Error>) -> R {
    let mut last = None;
    for _ in 0..300 {
        match attempt() {
            Ok(result) => return result,
            Err(error) => last = Some(error),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{what}: still {last:?} after 3 seconds");
}
