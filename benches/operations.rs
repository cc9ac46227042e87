//! Operations on a store in memory: nanoseconds for each, or a plain loop for an instruction counter.
//!
//! `cargo bench --bench operations` prints a table, with names behind `--` of those alone. `cargo bench --bench operations -- --loop read 100000` loads, then runs
//! 100,000 reads inside of the function [`measured`], for an instruction counter: `cargo xtask instructions` counts
//! all operations, and compares with `benches/instructions.txt`.
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the real clock")]
#![expect(clippy::print_stdout, reason = "the list of names is for a program that starts this one")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use oxifaster::codec::{PersistKey, PersistValue};
use oxifaster::device::{NullDisk, Words};
use oxifaster::log::{FasterLog, FasterLogConfig};
use oxifaster::store::{FasterKv, FasterKvConfig, Session};
use oxifaster_core::crc32c::append_words;
use oxifaster_device::BLOCK_WORDS;

/// Keys of one call of a batched operation.
const BATCH: usize = 256;

/// How many keys are loaded, and how many operations follow.
#[derive(Clone, Copy)]
struct Size {
    keys: u64,
    operations: u64,
}

/// A benchmark: loads, runs the operations, and says when they began.
type Run = fn(Size) -> Instant;

const BENCHMARKS: [(&str, Run); 22] = [
    ("read", |size| numbers(size, |session, keys| each(keys, |key| session.read(key).expect("read")))),
    ("read_absent", |size| {
        numbers(size, |session, keys| each(keys, |key| session.read(&!key).expect("read")))
    }),
    ("upsert", |size| {
        numbers(size, |session, keys| each(keys, |key| session.upsert(*key, *key).expect("upsert")))
    }),
    ("insert", |size| {
        let mut fresh = size.keys..;
        numbers(size, |session, keys| {
            each(keys, |key| session.upsert(fresh.next().unwrap_or(0), *key).expect("upsert"));
        })
    }),
    ("insert_batch", |size| {
        numbers(size, |session, keys| {
            let mut pairs = vec![(0, 0); BATCH];
            let mut fresh = size.keys..;
            batches(keys, |keys| {
                let pairs = pairs.get_mut(..keys.len()).unwrap_or_default();
                pairs.iter_mut().zip(&mut fresh).for_each(|(pair, key)| *pair = (key, key));
                session.upsert_batch(pairs).expect("upsert_batch");
            });
        })
    }),
    ("insert_rmw", |size| {
        let mut fresh = size.keys..;
        numbers(size, |session, keys| {
            each(keys, |_| session.rmw(fresh.next().unwrap_or(0), increment).expect("rmw"));
        })
    }),
    ("insert_100_bytes", |size| {
        let mut fresh = size.keys..;
        let value = |_| [7_u8; 100];
        store(
            size,
            |key| key,
            value,
            move |session, keys| {
                each(keys, |_| session.upsert(fresh.next().unwrap_or(0), [8; 100]).expect("upsert"));
            },
        )
    }),
    ("rmw", |size| {
        numbers(size, |session, keys| each(keys, |key| session.rmw(*key, increment).expect("rmw")))
    }),
    ("fetch_add", |size| {
        numbers(size, |session, keys| each(keys, |key| session.fetch_add(*key, 1).expect("fetch_add")))
    }),
    ("read_batch", |size| {
        numbers(size, |session, keys| batches(keys, |keys| session.read_batch(keys).expect("read_batch")))
    }),
    ("upsert_batch", |size| {
        numbers(size, |session, keys| {
            let pairs: Vec<(u64, u64)> = keys.iter().take(BATCH).map(|key| (*key, *key)).collect();
            batches(keys, |_| session.upsert_batch(&pairs).expect("upsert_batch"));
        })
    }),
    ("rmw_batch", |size| {
        let increment = |_, value: &mut u64| increment(value);
        numbers(size, |session, keys| {
            batches(keys, |keys| session.rmw_batch(keys, increment).expect("rmw_batch"))
        })
    }),
    ("read_100_bytes", |size| {
        let value = |_| [7_u8; 100];
        store(size, |key| key, value, |session, keys| each(keys, |key| session.read(key).expect("read")))
    }),
    ("upsert_100_bytes", |size| {
        let value = |_| [7_u8; 100];
        store(
            size,
            |key| key,
            value,
            |session, keys| {
                each(keys, |key| session.upsert(*key, [8; 100]).expect("upsert"));
            },
        )
    }),
    ("rmw_100_bytes", |size| {
        store(
            size,
            |key| key,
            |_| [7_u8; 100],
            |session, keys| each(keys, |key| session.rmw(*key, increment_first).expect("rmw")),
        )
    }),
    ("rmw_100_bytes_batch", |size| {
        let increment = |_, value: &mut [u8; 100]| increment_first(value);
        store(
            size,
            |key| key,
            |_| [7_u8; 100],
            |session, keys| batches(keys, |keys| session.rmw_batch(keys, increment).expect("rmw_batch")),
        )
    }),
    ("read_100_bytes_batch", |size| {
        store(
            size,
            |key| key,
            |_| [7_u8; 100],
            |session, keys| batches(keys, |keys| session.read_batch(keys).expect("read_batch")),
        )
    }),
    ("upsert_100_bytes_batch", |size| {
        store(
            size,
            |key| key,
            |_| [7_u8; 100],
            |session, keys| {
                let pairs: Vec<(u64, [u8; 100])> =
                    keys.iter().take(BATCH).map(|key| (*key, [8; 100])).collect();
                batches(keys, |_| session.upsert_batch(&pairs).expect("upsert_batch"));
            },
        )
    }),
    ("read_text", |size| {
        let mut out = Vec::new();
        store(
            size,
            name,
            |key| format!("value {key}"),
            move |session, keys| {
                each(keys, |key| session.read_into(key.as_str(), &mut out).expect("read"));
            },
        )
    }),
    ("upsert_text", |size| {
        store(
            size,
            name,
            |key| format!("value {key}"),
            |session, keys| {
                each(keys, |key| session.upsert(key.as_str(), "value").expect("upsert"));
            },
        )
    }),
    ("log_append_100_bytes", log_append),
    ("block_checksum", block_checksum),
];

/// Entries of 100 bytes; memory for all of them, so that nobody waits.
fn log_append(size: Size) -> Instant {
    let pages = ((size.operations * 128) >> 20).next_power_of_two().max(4);
    let config = FasterLogConfig::default().with_memory_pages(usize::try_from(pages).expect("a size"));
    let log = FasterLog::open(config, NullDisk::new()).expect("a log");
    let start = Instant::now();
    let append = |_| black_box(log.append(&[7; 100]).expect("append"));
    measured(|| (0..size.operations).map(append).for_each(|_| {}));
    start
}

/// Of blocks in word memory that the caches hold.
fn block_checksum(size: Size) -> Instant {
    let memory = Words::zeroed(8 * BLOCK_WORDS).expect("memory");
    let blocks: Vec<_> = memory.chunks_exact(BLOCK_WORDS).collect();
    let start = Instant::now();
    measured(|| {
        for (_, block) in (0..size.operations).zip(blocks.iter().cycle()) {
            black_box(append_words(7, block));
        }
    });
    start
}

fn name(key: u64) -> String {
    format!("user:{key:06}")
}

#[inline(always)]
fn each<K, T>(keys: &[K], mut operation: impl FnMut(&K) -> T) {
    for key in keys {
        black_box(operation(key));
    }
}

#[inline(always)]
fn batches<K, T>(keys: &[K], mut operation: impl FnMut(&[K]) -> T) {
    for keys in keys.chunks(BATCH) {
        black_box(operation(keys));
    }
}

fn increment(value: &mut u64) -> bool {
    *value = value.wrapping_add(1);
    true
}

fn increment_first(value: &mut [u8; 100]) -> bool {
    let [first, ..] = value;
    *first = first.wrapping_add(1);
    true
}

fn numbers(size: Size, run: impl FnOnce(&mut Session<u64, u64, NullDisk>, &[u64])) -> Instant {
    store(size, |key| key, |key| key, run)
}

/// Loads a store, makes the keys of the operations, and runs them.
fn store<K: PersistKey, V: PersistValue>(
    size: Size,
    key: impl Fn(u64) -> K,
    value: impl Fn(u64) -> V,
    run: impl FnOnce(&mut Session<K, V, NullDisk>, &[K]),
) -> Instant {
    let config = FasterKvConfig {
        table_size: ((size.keys + size.operations) / 4).next_power_of_two(),
        log_memory_size: (size.keys + size.operations) * 200 + (64 << 20),
        ..Default::default()
    };
    let store = Arc::new(FasterKv::<K, V, _>::new(config, NullDisk::new()));
    let mut session = store.start_session().expect("a session");
    for number in 0..size.keys {
        session.upsert(key(number), value(number)).expect("upsert");
    }
    // A fixed odd multiplier visits the keys in an order that no prefetcher guesses.
    let scattered = |number: u64| key(number.wrapping_mul(0x9E37_79B9_7F4A_7C15) % size.keys);
    let keys: Vec<K> = (0..size.operations).map(scattered).collect();
    let start = Instant::now();
    measured(|| run(&mut session, &keys));
    start
}

/// What an instruction counter is to count: it knows this function by its name.
#[inline(never)]
fn measured(run: impl FnOnce()) {
    run();
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.as_slice() {
        [flag] if flag == "--names" => BENCHMARKS.iter().for_each(|(name, _)| println!("{name}")),
        [flag, name, count] if flag == "--loop" => {
            let (_, run) = BENCHMARKS.iter().find(|benchmark| benchmark.0 == name).expect("a benchmark");
            run(Size { keys: 10_000, operations: count.parse().expect("a count") });
        }
        names => {
            for (name, run) in BENCHMARKS {
                if names.is_empty() || names.iter().any(|wanted| wanted == name) {
                    let size = Size { keys: 1_000_000, operations: 1_000_000 };
                    let nanoseconds = run(size).elapsed().as_secs_f64() / 1e6 * 1e9;
                    eprintln!("{name:>20}  {nanoseconds:7.1} ns");
                }
            }
        }
    }
}
