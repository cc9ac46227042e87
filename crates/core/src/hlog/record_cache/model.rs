//! The production shard under loom: readers beside a writer that overwrites, moves and replaces what they read.
//!
//! | model | proves |
//! |---|---|
//! | `overwritten` | a reader gets the record of its address or none, while the ring wraps over it |
//! | `kept` | the same for an entry that the hand moves down over itself |
//! | `two_writers` | two writers and a reader: who finds the lock taken keeps nothing, and nothing is mixed up |

use std::sync::Arc;

use loom::thread;

use oxifaster_device::Words;
use oxifaster_device::sync::atomic::{AtomicU64, Ordering};

use super::LINE_WORDS;
use super::shard::{Eviction, Shard};
use super::slot::Place;
use crate::address::Address;
use crate::mutation::{Mutation, model_with};

/// A line, and a ring of `words`.
fn shard(words: usize, second_chance: bool) -> Arc<Shard> {
    let memory = Arc::new(Words::zeroed(LINE_WORDS + words).unwrap());
    let eviction = Eviction { young_fraction: 0.0, second_chance };
    Arc::new(Shard::new(memory, 0..LINE_WORDS, LINE_WORDS..LINE_WORDS + words, eviction))
}

/// The words of the record at an address.
fn value(address: Address) -> u64 {
    1000 + address.words()
}

fn insert(shard: &Shard, address: Address, words: usize) {
    let record: Vec<AtomicU64> = (0..words).map(|_| AtomicU64::new(value(address))).collect();
    shard.insert(Place::of(address), address, &record);
}

/// Reads a record: the right one, or none.
fn read(shard: &Shard, address: Address) -> bool {
    let mut record = Vec::new();
    let found = shard.read(Place::of(address), address, &mut record);
    if found {
        for word in &record {
            let word = word.load(Ordering::Relaxed);
            assert!(word == value(address), "model: {word} in the record of {address}");
        }
    }
    found
}

fn nth(number: u64) -> Address {
    Address::new(number * 10)
}

/// A shard whose ring is full with eight records, as many as its line has slots: the next one overwrites the first.
fn full() -> Arc<Shard> {
    let shard = shard(16, false);
    (1..=8).for_each(|number| insert(&shard, nth(number), 1));
    shard
}

fn overwritten() {
    let shard = full();
    let writer = {
        let shard = Arc::clone(&shard);
        thread::spawn(move || insert(&shard, nth(9), 1))
    };
    read(&shard, nth(1));
    read(&shard, nth(9));
    writer.join().unwrap();
    assert!(read(&shard, nth(9)), "model: a record is not there behind its insert");
    assert!(!read(&shard, nth(1)), "model: a record is there behind its end");
}

/// The first entry has gone, and one of two words lies where it was: the second, which was read, moves over itself by a word.
fn kept() {
    let shard = shard(24, true);
    (1..=8).for_each(|number| insert(&shard, nth(number), 2));
    insert(&shard, nth(9), 1);
    assert!(read(&shard, nth(2)), "model: it is the oldest now, and there");
    let reader = {
        let shard = Arc::clone(&shard);
        thread::spawn(move || read(&shard, nth(2)))
    };
    insert(&shard, nth(10), 1);
    reader.join().unwrap();
    assert!(read(&shard, nth(2)) && !read(&shard, nth(3)), "model: the wrong one went");
}

fn two_writers() {
    let shard = full();
    let writer = |number| {
        let shard = Arc::clone(&shard);
        thread::spawn(move || insert(&shard, nth(number), 1))
    };
    let writers = [writer(9), writer(10)];
    read(&shard, nth(1));
    for writer in writers {
        writer.join().unwrap();
    }
    assert!(read(&shard, nth(9)) || read(&shard, nth(10)), "model: nobody had the lock");
}

const MISTAKES: [Mutation; 5] = [
    Mutation::CacheWriteWithoutFence,
    Mutation::CacheReadWithoutFence,
    Mutation::CacheReadWithoutRecheck,
    Mutation::CachePublishRelaxed,
    Mutation::CacheSlotRelaxed,
];

#[test]
fn model_record_cache_overwritten() {
    model_with(&MISTAKES, 3, overwritten);
}

#[test]
fn model_record_cache_kept() {
    model_with(&MISTAKES[..3], 3, kept);
}

#[test]
fn model_record_cache_two_writers() {
    model_with(&MISTAKES[..3], 2, two_writers);
}
