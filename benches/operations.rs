//! Single operations on a store in memory: nanoseconds for each, or a plain loop for an instruction counter.
//!
//! `cargo bench` prints a table. `cargo bench -- --loop read 100000` loads, then runs 100,000 reads and nothing else:
//! the difference between two such runs under an instruction counter is the cost of an operation.
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the real clock")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use oxifaster::device::NullDisk;
use oxifaster::store::{FasterKv, FasterKvConfig, Session};

const OPERATIONS: [&str; 6] = ["read", "upsert", "rmw", "fetch_add", "delete_absent", "read_batch"];

fn run(session: &mut Session<u64, u64, NullDisk>, operation: &str, keys: u64, count: u64) {
    // A fixed odd multiplier visits the keys in an order that no prefetcher guesses.
    let key = |number: u64| number.wrapping_mul(0x9E37_79B9_7F4A_7C15) % keys;
    for number in 0..count {
        let key = key(number);
        match operation {
            "read" => drop(black_box(session.read(&key).expect("read"))),
            "upsert" => session.upsert(key, number).expect("upsert"),
            "rmw" => {
                let changed = session.rmw(key, |value| {
                    *value = value.wrapping_add(1);
                    true
                });
                black_box(changed.expect("rmw"));
            }
            "fetch_add" => drop(black_box(session.fetch_add(key, 1).expect("fetch_add"))),
            "delete_absent" => session.delete(&(key + keys)).expect("delete"),
            _ => {
                if number % 64 == 0 {
                    let batch: Vec<u64> = (number..number + 64).map(|number| number % keys).collect();
                    black_box(session.read_batch(&batch).expect("read_batch"));
                }
            }
        }
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let looped = match arguments.as_slice() {
        [flag, operation, count] if flag == "--loop" => {
            Some((operation.as_str(), count.parse().expect("a count")))
        }
        _ => None,
    };
    let keys: u64 = if looped.is_some() { 10_000 } else { 1_000_000 };
    let config = FasterKvConfig { table_size: (keys / 4).next_power_of_two(), ..Default::default() };
    let store = Arc::new(FasterKv::<u64, u64, _>::new(config, NullDisk::new()));
    let mut session = store.start_session().expect("a session");
    for key in 0..keys {
        session.upsert(key, key).expect("upsert");
    }
    if let Some((operation, count)) = looped {
        run(&mut session, operation, keys, count);
        return;
    }
    for operation in OPERATIONS {
        let start = Instant::now();
        run(&mut session, operation, keys, 2_000_000);
        let nanoseconds = start.elapsed().as_secs_f64() / 2e6 * 1e9;
        eprintln!("{operation:>14}  {nanoseconds:7.1} ns");
    }
}
