//! What a record cache keeps, for how long, and that it never gives anything else.

use std::collections::HashSet;

use oxifaster_device::Words;
use oxifaster_device::sync::atomic::{AtomicU64, Ordering};

use super::shard::{Eviction, Shard};
use super::slot::Place;
use super::{LINE_WORDS, RECORD_CACHE_BYTES_MIN, RecordCache, RecordCacheConfig, directory_words};
use crate::address::Address;

const CONFIG: RecordCacheConfig = RecordCacheConfig {
    memory_bytes: RECORD_CACHE_BYTES_MIN,
    record_words: Some(3),
    young_fraction: 0.0,
    second_chance: true,
    touched: false,
};

fn cache(config: RecordCacheConfig) -> RecordCache {
    RecordCache::new(&config).unwrap()
}

/// The words of the record at an address: all of them tell whose they are.
fn record(address: Address, words: usize) -> Vec<AtomicU64> {
    (0..words as u64).map(|place| AtomicU64::new(address.words() << 16 | place)).collect()
}

fn expect_record(found: &[AtomicU64], address: Address, words: usize) {
    let plain = |record: &[AtomicU64]| -> Vec<u64> {
        record.iter().map(|word| word.load(Ordering::Relaxed)).collect()
    };
    assert_eq!(plain(found), plain(&record(address, words)), "the record at {address}");
}

fn insert(cache: &RecordCache, address: Address, words: usize) {
    cache.insert(address, &record(address, words));
}

/// Whether the record is there; it must be the right one then.
fn has(cache: &RecordCache, address: Address, words: usize) -> bool {
    let mut found = Vec::new();
    let is_here = cache.read(address, &mut found);
    if is_here {
        expect_record(&found, address, words);
    }
    is_here
}

fn address(number: u64) -> Address {
    Address::new(513 + number * 3)
}

/// Sizes that follow from the address, so that entries of many sizes lie side by side.
fn size(address: Address) -> usize {
    1 + usize::try_from(address.words() * 7 % 90).unwrap()
}

#[test]
fn a_record_is_found_by_its_address_alone() {
    let cache = cache(CONFIG);
    insert(&cache, address(1), 3);
    assert!(has(&cache, address(1), 3));
    assert!(!has(&cache, address(2), 3));
    insert(&cache, address(1), 3);
    assert_eq!(cache.counts().inserted, 1, "it was there");
}

#[test]
fn records_of_all_sizes_go_round_the_ring() {
    let cache = cache(CONFIG);
    for number in 0..100_000 {
        let at = address(number);
        insert(&cache, at, size(at));
        assert!(has(&cache, at, size(at)), "{number}");
        for before in 1..200_u64.min(number) {
            has(&cache, address(number - before), size(address(number - before)));
        }
    }
    let counts = cache.counts();
    assert_eq!(counts.inserted, 100_000);
    assert!(counts.evicted > 90_000 && counts.kept > 1000, "{counts:?}");
}

#[test]
fn what_is_read_again_stays_and_nothing_does_without_a_second_chance() {
    for second_chance in [true, false] {
        let cache = cache(RecordCacheConfig { second_chance, ..CONFIG });
        let mut last_seen = 0;
        insert(&cache, address(0), 3);
        for number in 1..20_000 {
            insert(&cache, address(number), 3);
            if number % 100 == 0 && has(&cache, address(0), 3) {
                last_seen = number;
            }
        }
        let entries = RECORD_CACHE_BYTES_MIN / 32;
        assert_eq!(last_seen == 19_900, second_chance, "seen until {last_seen} of about {entries} entries");
    }
}

#[test]
fn a_burst_of_reads_does_not_count() {
    let cache = cache(RecordCacheConfig { young_fraction: 0.5, ..CONFIG });
    insert(&cache, address(0), 3);
    (0..10).for_each(|_| assert!(has(&cache, address(0), 3)));
    (1..20_000).for_each(|number| insert(&cache, address(number), 3));
    assert_eq!(cache.counts().kept, 0);
}

#[test]
fn most_of_the_memory_is_records_that_are_found() {
    for (memory_bytes, words) in [(64 << 10, 3), (1 << 20, 3), (8 << 20, 17)] {
        let cache = cache(RecordCacheConfig { memory_bytes, record_words: Some(words), ..CONFIG });
        assert_eq!(cache.memory_bytes(), memory_bytes);
        let entries = memory_bytes / (words as u64 * 8 + 8);
        (0..entries * 2).for_each(|number| insert(&cache, address(number), words));
        let found = (0..entries * 2).filter(|&number| has(&cache, address(number), words)).count() as u64;
        // The directory takes 12 bytes for each entry; shards and lines are not filled evenly.
        let room = memory_bytes / (words as u64 * 8 + 8 + 12);
        assert!(found * 100 > room * 90 && found <= entries, "{found} of {room} records of {words} words");
    }
}

#[test]
fn a_record_that_is_too_large_is_not_kept() {
    let cache = cache(CONFIG);
    let largest = (8192 - directory_words(8192, CONFIG.record_words)) / 8;
    insert(&cache, address(0), largest);
    assert!(!has(&cache, address(0), largest));
    insert(&cache, address(0), largest - 1);
    assert!(has(&cache, address(0), largest - 1));
    insert(&cache, address(1), 0);
    assert!(has(&cache, address(1), 0), "nor does an empty one disturb");
}

#[test]
fn the_directory_leaves_room_for_entries() {
    for words in [LINE_WORDS * 4, 8192, 1 << 20] {
        for record_words in [None, Some(1), Some(3), Some(100_000)] {
            let directory = directory_words(words, record_words);
            assert!(
                directory.is_multiple_of(LINE_WORDS) && directory > 0 && directory <= words / 2,
                "{directory}"
            );
        }
    }
}

/// Rings of many lengths, records of all sizes that they take, and every third one read again: so entries are moved by every distance, also over
/// themselves and around the ring's end.
#[test]
fn entries_lie_one_behind_the_other_whatever_moves() {
    let (mut padded, mut kept) = (0, 0);
    for length in 64..150 {
        let memory = std::sync::Arc::new(Words::zeroed(4 * LINE_WORDS + length).unwrap());
        let eviction = Eviction { young_fraction: 0.0, second_chance: true };
        let shard = Shard::new(memory, 0..4 * LINE_WORDS, 4 * LINE_WORDS..4 * LINE_WORDS + length, eviction);
        for number in 0..3000 {
            let at = address(number * 7);
            let words = usize::try_from(at.words() * 31 / 7).unwrap() % (length / 8);
            shard.insert(Place::of(at), at, &record(at, words));
            padded += shard.check_ring();
            for before in 0..12_u64.min(number) {
                let at = address((number - before) * 7);
                let words = usize::try_from(at.words() * 31 / 7).unwrap() % (length / 8);
                let mut found = Vec::new();
                if before % 3 == 0 && shard.read(Place::of(at), at, &mut found) {
                    expect_record(&found, at, words);
                }
            }
        }
        kept += shard.counts().kept;
    }
    assert!(padded > 1000 && kept > 1000, "{padded} {kept}");
}

#[test]
fn readers_and_writers_never_get_what_is_not_theirs() {
    let cache = cache(RecordCacheConfig { young_fraction: 0.1, ..CONFIG });
    let found: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4_u64)
            .map(|thread| {
                let cache = &cache;
                scope.spawn(move || {
                    let (mut seed, mut found) = (thread + 1, HashSet::new());
                    for _ in 0..200_000 {
                        seed = seed
                            .wrapping_mul(6_364_136_223_846_793_005)
                            .wrapping_add(1_442_695_040_888_963_407);
                        // Squared: the first ones are hot.
                        let part = (seed >> 33) % 2000;
                        let at = address(part * part / 2000);
                        if has(cache, at, size(at)) {
                            found.insert(at.words());
                        } else {
                            insert(cache, at, size(at));
                        }
                    }
                    found.len()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    let counts = cache.counts();
    assert!(found > 1000 && counts.kept > 0 && counts.evicted > 0, "{found}, {counts:?}");
}
