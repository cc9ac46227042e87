//! The index on real threads and in every shape of a chain.

use std::collections::{BTreeMap, BTreeSet};

use oxifaster_device::DeviceErrorKind;
use oxifaster_device::sync::Arc;
use oxifaster_device::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use oxifaster_device::sync::thread;

use super::{HashIndex, RaiseRefused};
use crate::address::Address;
use crate::hash::KeyHash;

/// A hash with this bucket and tag.
fn hash(bucket: u64, tag: u64) -> KeyHash {
    KeyHash(bucket | tag << 48)
}

fn address(words: u64) -> Address {
    Address::new(words)
}

fn publish(index: &HashIndex, hash: KeyHash, words: u64) {
    index.find_or_create(hash).compare_exchange(address(words)).unwrap();
}

fn address_of(index: &HashIndex, hash: KeyHash) -> Option<u64> {
    index.find(hash).map(|slot| slot.address().words())
}

#[test]
fn a_new_entry_has_no_record_and_a_published_one_is_found() {
    let index = HashIndex::new(4, 4).unwrap();
    for tag in [0, 1, 0x3fff] {
        for bucket in 0..4 {
            assert!(index.find(hash(bucket, tag)).is_none());
            assert!(index.find_or_create(hash(bucket, tag)).address().is_null());
            assert_eq!(address_of(&index, hash(bucket, tag)), Some(0), "there, without a record");
            publish(&index, hash(bucket, tag), 512 + tag * 4 + bucket);
        }
    }
    for tag in [0, 1, 0x3fff] {
        for bucket in 0..4 {
            assert_eq!(address_of(&index, hash(bucket, tag)), Some(512 + tag * 4 + bucket));
        }
    }
    assert!(index.find(hash(0, 2)).is_none());
    publish(&index, hash(0, 2), Address::MAX.words());
    assert_eq!(address_of(&index, hash(0, 2)), Some(Address::MAX.words()));
}

#[test]
fn only_whoever_saw_the_newest_address_publishes() {
    let index = HashIndex::new(1, 0).unwrap();
    let mut first = index.find_or_create(hash(0, 7));
    let mut second = index.find_or_create(hash(0, 7));
    assert_eq!(first.compare_exchange(address(600)), Ok(()));
    assert_eq!(first.address(), address(600));
    assert_eq!(second.compare_exchange(address(700)), Err(address(600)));
    assert_eq!(second.compare_exchange(address(700)), Err(address(600)), "not before a reload");
    assert!(second.reload());
    assert_eq!(second.address(), address(600));
    assert_eq!(second.compare_exchange(address(700)), Ok(()));
    assert_eq!(first.compare_exchange(address(800)), Err(address(700)));
    assert_eq!(address_of(&index, hash(0, 7)), Some(700));
}

#[test]
fn a_vacancy_takes_one_record_of_a_tag_that_nobody_has() {
    let index = HashIndex::new(2, 1).unwrap();
    for tag in [7, 1, 0x3fff] {
        let (late, vacancy) = (index.vacancy(hash(0, tag)).unwrap(), index.vacancy(hash(0, tag)).unwrap());
        assert!(vacancy.publish(address(600 + tag)));
        assert_eq!(address_of(&index, hash(0, tag)), Some(600 + tag));
        assert!(index.vacancy(hash(0, tag)).is_none(), "the tag has an entry");
        assert!(!late.publish(address(700)), "the place is taken");
    }
    // A place that is still free, in a bucket that has got the tag: withdrawn, and free again.
    let first = index.vacancy(hash(0, 9)).unwrap();
    publish(&index, hash(0, 8), 800);
    publish(&index, hash(0, 9), 900);
    assert!(index.remove(index.find(hash(0, 8)).unwrap()));
    assert!(!first.publish(address(901)));
    assert_eq!(address_of(&index, hash(0, 9)), Some(900));
    publish(&index, hash(0, 8), 800);
    // A full bucket, and a chain of two.
    publish(&index, hash(0, 10), 1000);
    let last = index.vacancy(hash(0, 11)).unwrap();
    publish(&index, hash(0, 12), 1200);
    assert!(index.vacancy(hash(0, 11)).is_none(), "no place is free");
    publish(&index, hash(0, 13), 1300);
    assert!(index.remove(index.find(hash(0, 12)).unwrap()));
    assert!(index.vacancy(hash(0, 11)).is_none(), "the tag may be in the second bucket");
    assert!(!last.publish(address(1100)), "a chain of two since");
    assert_eq!(index.entries().count(), 7);
    assert!(index.vacancy(hash(1, 7)).is_some());
    assert!(index.vacancy(hash(1, 0)).is_none(), "a glance can't tell it from a free entry");
    let mut zero = index.find_or_create(hash(1, 0));
    zero.compare_exchange(address(700)).unwrap();
    assert!(index.vacancy(hash(1, 7)).is_none(), "the first entry looks free and is not");
}

#[test]
fn a_removed_entry_is_gone_and_its_slot_serves_again() {
    let index = HashIndex::new(1, 0).unwrap();
    for tag in 0..7 {
        publish(&index, hash(0, tag), 512 + tag);
    }
    let mut stale = index.find(hash(0, 3)).unwrap();
    let changed = index.find(hash(0, 4)).unwrap();
    publish(&index, hash(0, 4), 900);
    assert!(!index.remove(changed), "it is not what was seen any more");
    assert!(index.remove(index.find(hash(0, 3)).unwrap()));
    assert!(index.find(hash(0, 3)).is_none());
    assert!(!stale.reload());
    assert_eq!(stale.compare_exchange(address(1000)), Err(Address::NULL));
    publish(&index, hash(0, 99), 800);
    assert!(!stale.reload(), "the slot belongs to another tag");
    assert_eq!(stale.compare_exchange(address(1000)), Err(Address::NULL));
    assert_eq!((address_of(&index, hash(0, 99)), index.stats().entries), (Some(800), 7));
}

#[test]
fn chains_grow_into_overflow_buckets_up_to_the_budget() {
    let index = HashIndex::new(2, 3).unwrap();
    for tag in 0..28 {
        publish(&index, hash(1, tag), 512 + tag);
    }
    let stats = index.stats();
    assert_eq!((stats.buckets, stats.entries, stats.overflow_buckets), (2, 28, 3));
    assert_eq!((stats.closed_chains, stats.overflow_budget, stats.overflow_beyond_budget), (0, 3, 0));
    assert_eq!(stats.chain_lengths, [1, 0, 0, 1]);
    for tag in 0..28 {
        assert_eq!(address_of(&index, hash(1, tag)), Some(512 + tag));
    }
    assert!(index.find(hash(1, 28)).is_none());
    let tags: BTreeSet<_> = index.entries().map(|slot| slot.tag()).collect();
    assert_eq!(tags, (0..28).collect());
    assert_eq!(index.memory_bytes(), (2 + 3) * 64);
}

#[test]
fn a_full_chain_without_budget_shares_the_entries_it_has() {
    let index = HashIndex::new(2, 1).unwrap();
    for tag in 0..14 {
        publish(&index, hash(0, tag), 512 + tag);
    }
    assert!(index.find(hash(0, 100)).is_none());
    // 100 = 14 * 7 + 2, like 107 and 2.
    let mut shared = index.find_or_create(hash(0, 100));
    assert_eq!((shared.tag(), shared.address()), (2, address(514)));
    shared.compare_exchange(address(5000)).unwrap();
    for tag in [2, 100, 107] {
        assert_eq!(address_of(&index, hash(0, tag)), Some(5000), "tag {tag}");
    }
    publish(&index, hash(0, 2), 6000);
    assert_eq!(shared.compare_exchange(address(7000)), Err(address(6000)));
    for tag in [0, 1, 3, 4, 5, 6, 9] {
        assert_eq!(address_of(&index, hash(0, tag)), Some(512 + tag), "entries that exist stay");
    }
    assert_eq!(address_of(&index, hash(0, 101)), Some(515), "another home");

    // An entry goes: its tag has another home from now on, and the place belongs to whoever comes next.
    assert!(index.remove(index.find(hash(0, 9)).unwrap()));
    assert_eq!(address_of(&index, hash(0, 9)), Some(6000), "a free place elsewhere is not used again");
    assert!(index.remove(index.find(hash(0, 107)).unwrap()));
    assert!(index.find(hash(0, 2)).is_none() && index.find(hash(0, 9)).is_none());
    publish(&index, hash(0, 107), 7000);
    assert_eq!(index.find(hash(0, 2)).unwrap().tag(), 107);
    let stats = index.stats();
    assert_eq!((stats.entries, stats.closed_chains, stats.overflow_buckets), (13, 1, 1));
    publish(&index, hash(1, 100), 8000);
    assert_eq!(index.find(hash(1, 100)).unwrap().tag(), 100, "other buckets are not concerned");
}

/// Many tags in one full bucket spread evenly: no chain of records gets more than its share.
#[test]
fn a_closed_chain_shares_evenly() {
    let index = HashIndex::new(1, 0).unwrap();
    let mut records = BTreeMap::new();
    for tag in 0..700 {
        let slot = index.find_or_create(hash(0, tag));
        *records.entry(slot.tag()).or_insert(0) += 1;
    }
    assert_eq!(records.into_values().collect::<Vec<_>>(), [100; 7]);
}

#[test]
fn raising_keeps_the_maximum_and_never_joins_chains() {
    let index = HashIndex::new(1, 1).unwrap();
    let used = 5000_u64.div_ceil(7) - 1;
    let beyond = used - 1;
    for tag in 0..5000 {
        for words in [600, 700 + tag, 650] {
            index.raise(hash(0, tag), address(words), beyond).unwrap();
        }
    }
    for tag in 0..5000 {
        assert_eq!(address_of(&index, hash(0, tag)), Some(700 + tag));
    }
    let stats = index.stats();
    assert_eq!((stats.entries, stats.closed_chains, stats.overflow_buckets), (5000, 0, used));
    assert_eq!(index.overflow_beyond_budget(), beyond);

    while index.find_or_create(hash(0, index.stats().entries)).address().is_null() {}
    assert_eq!(index.stats().closed_chains, 1);
    let refused = index.raise(hash(0, 0x3fff), address(800), u64::MAX).unwrap_err();
    assert!(matches!(refused, RaiseRefused::NoRoom), "tags share entries: {refused:?}");
}

/// What may be taken beyond the budget is a limit, and a refusal changes nothing.
#[test]
fn raising_stops_at_its_limit() {
    let index = HashIndex::new(2, 1).unwrap();
    let mut raised = Vec::new();
    for tag in 0..100 {
        match index.raise(hash(tag % 2, tag), address(600 + tag), 3) {
            Ok(()) => raised.push(tag),
            Err(refused) => assert!(matches!(refused, RaiseRefused::NoRoom), "{refused:?}"),
        }
    }
    // Two buckets, one within the budget, three beyond it.
    assert_eq!(raised.len(), 6 * 7);
    for tag in 0..100 {
        let expected = raised.contains(&tag).then_some(600 + tag);
        assert_eq!(address_of(&index, hash(tag % 2, tag)), expected, "tag {tag}");
    }
    index.raise(hash(0, 0), address(900), 0).unwrap();
    assert_eq!((index.overflow_buckets_used(), index.overflow_beyond_budget()), (4, 3));
}

#[test]
fn raising_in_parallel_keeps_the_maximum() {
    let index = Arc::new(HashIndex::new(2, 0).unwrap());
    on_threads(4, &index, |index, thread| {
        for step in 0..2000 {
            let words = 512 + (step * 7919 + thread * 31) % 5000;
            index.raise(hash(step % 2, step % 300), address(words), u64::MAX).unwrap();
        }
    });
    let mut expected = BTreeMap::new();
    for (thread, step) in (0..4).flat_map(|thread| (0..2000).map(move |step| (thread, step))) {
        let words = 512 + (step * 7919 + thread * 31) % 5000;
        let highest = expected.entry((step % 2, step % 300)).or_insert(0);
        *highest = words.max(*highest);
    }
    for ((bucket, tag), words) in &expected {
        assert_eq!(address_of(&index, hash(*bucket, *tag)), Some(*words));
    }
    assert_eq!(index.stats().entries, expected.len() as u64);
}

#[test]
fn sizes_that_make_no_table_are_refused() {
    for buckets in [0, 3, usize::MAX] {
        assert_eq!(HashIndex::new(buckets, 0).unwrap_err().kind(), DeviceErrorKind::InvalidRequest);
    }
    assert!(HashIndex::new(1 << 47, 0).is_err(), "more than any address space");
}

fn on_threads<S: Send + Sync + 'static>(threads: u64, shared: &Arc<S>, body: fn(&S, u64)) {
    let threads: Vec<_> = (0..threads)
        .map(|number| {
            let shared = Arc::clone(shared);
            thread::spawn("index", move || body(&shared, number)).unwrap()
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

/// Counts in a slot's address, the way a store publishes records.
fn count_up(index: &HashIndex, hash: KeyHash) {
    loop {
        let mut slot = index.find_or_create(hash);
        let next = slot.address().words().max(511) + 1;
        if slot.compare_exchange(address(next)).is_ok() {
            return;
        }
    }
}

/// Runs `first` and `second` on two threads, started at the same moment, for every round.
fn race(
    rounds: usize,
    first: fn(&HashIndex, usize),
    second: fn(&HashIndex, usize),
    indexes: Vec<HashIndex>,
) -> Vec<HashIndex> {
    struct Track {
        indexes: Vec<HashIndex>,
        /// Arrivals of each thread.
        arrived: [AtomicU64; 2],
        rounds: usize,
        bodies: [fn(&HashIndex, usize); 2],
    }
    let track =
        Track { indexes, arrived: [AtomicU64::new(0), AtomicU64::new(0)], rounds, bodies: [first, second] };
    let track = Arc::new(track);
    on_threads(2, &track, |track, thread| {
        let (own, other) = if thread == 0 { (0, 1) } else { (1, 0) };
        for round in 0..track.rounds {
            let arrivals = track.arrived[own].fetch_add(1, Ordering::AcqRel) + 1;
            let mut turns = 0_u32;
            while track.arrived[other].load(Ordering::Acquire) < arrivals {
                turns += 1;
                if turns > 2000 { thread::yield_now() } else { thread::spin_hint() }
            }
            (track.bodies[own])(&track.indexes[round % track.indexes.len()], round);
        }
    });
    Arc::into_inner(track).unwrap().indexes
}

const PASSING: u64 = 0x3000;

/// An index with one full bucket, the passing entry in its first slot.
fn full_bucket(overflow_buckets: usize) -> HashIndex {
    let index = HashIndex::new(1, overflow_buckets).unwrap();
    for tag in PASSING..PASSING + 7 {
        publish(&index, hash(0, tag), 600);
    }
    index
}

/// Was: two entries for one tag after a racing insert, because the re-scan was not ordered behind the tentative entry.
/// One thread removes a passing entry and counts up a new tag, which takes the freed slot; the other counts up the same
/// tag, and if it looked a moment earlier it takes a later slot. Two entries would share the count between them.
#[test]
fn duplicate_tag() {
    const ROUNDS: usize = 30_000;
    let index = HashIndex::new(1, 0).unwrap();
    publish(&index, hash(0, PASSING), 600);
    let [index] = race(
        2 * ROUNDS,
        |index, round| {
            // Odd rounds prepare: the passing entry comes back, the counted one goes.
            if round % 2 == 0 {
                let _removed = index.remove(index.find(hash(0, PASSING)).unwrap());
                count_up(index, hash(0, 1));
            } else {
                let counted = index.find(hash(0, 1)).unwrap();
                assert_eq!(counted.address(), address(511 + 2), "round {round}");
                assert!(index.remove(counted));
                assert!(index.find(hash(0, 1)).is_none(), "a second entry in round {round}");
                publish(index, hash(0, PASSING), 600);
            }
        },
        |index, round| {
            if round % 2 == 0 {
                count_up(index, hash(0, 1));
            }
        },
        vec![index],
    )
    .try_into()
    .unwrap();
    assert_eq!(index.stats().entries, 1);
}

/// The same while the chain is closed: what was counted is either in the tag's entry or in the one that it shares.
#[test]
fn duplicate_tag_in_a_closed_chain() {
    const ROUNDS: usize = 4000;
    let indexes = race(
        ROUNDS,
        |index, _| {
            let _removed = index.remove(index.find(hash(0, PASSING)).unwrap());
            count_up(index, hash(0, 1));
        },
        |index, _| count_up(index, hash(0, 1)),
        (0..ROUNDS).map(|_| full_bucket(0)).collect(),
    );
    for index in indexes {
        let homes: Vec<u64> = index
            .entries()
            .map(|slot| slot.address().words() - if slot.tag() == 1 { 511 } else { 600 })
            .filter(|&counted| counted > 0)
            .collect();
        assert_eq!(homes, [2], "tag 1 lives in one place");
    }
}

/// Two inserts find the bucket full at the same moment: one links its overflow bucket, nobody's entry is lost.
#[test]
fn racing_links_lose_no_entry() {
    const ROUNDS: usize = 4000;
    let indexes = race(
        ROUNDS,
        |index, _| count_up(index, hash(0, 1)),
        |index, _| count_up(index, hash(0, 2)),
        (0..ROUNDS).map(|_| full_bucket(2)).collect(),
    );
    for index in indexes {
        for tag in [1, 2] {
            assert_eq!(address_of(&index, hash(0, tag)), Some(512), "tag {tag}");
        }
        assert_eq!(index.stats().overflow_buckets, 1);
    }
}

/// Many keys share bucket and tag: their records form one chain and none is lost, whichever thread links it.
#[test]
fn many_keys_one_tag() {
    const PER_THREAD: u64 = 5000;
    struct Log {
        index: HashIndex,
        /// Previous address by address, minus 512.
        previous: Vec<AtomicU64>,
    }
    impl Log {
        fn of(&self, address: u64) -> &AtomicU64 {
            &self.previous[usize::try_from(address - 512).unwrap()]
        }
    }
    let previous = (0..4 * PER_THREAD).map(|_| AtomicU64::new(u64::MAX)).collect();
    let log = Arc::new(Log { index: HashIndex::new(2, 0).unwrap(), previous });
    on_threads(4, &log, |log, thread| {
        for record in thread * PER_THREAD..(thread + 1) * PER_THREAD {
            let mut slot = log.index.find_or_create(hash(1, 77));
            loop {
                log.of(512 + record).store(slot.address().words(), Ordering::Relaxed);
                if slot.compare_exchange(address(512 + record)).is_ok() {
                    break;
                }
                assert!(slot.reload(), "nobody removes it");
            }
        }
    });
    let mut seen = BTreeSet::new();
    let mut at = address_of(&log.index, hash(1, 77)).unwrap();
    while at != 0 {
        assert!(seen.insert(at), "a loop at {at}");
        at = log.of(at).load(Ordering::Relaxed);
    }
    assert_eq!(seen.len() as u64, 4 * PER_THREAD);
    assert_eq!(log.index.stats().entries, 1);
}

/// Statistics and iteration run beside inserts and removals and see only final entries.
#[test]
fn iteration_beside_operations() {
    struct Shared {
        index: HashIndex,
        stop: AtomicBool,
    }
    let shared = Arc::new(Shared { index: HashIndex::new(4, 8).unwrap(), stop: AtomicBool::new(false) });
    for tag in 0..5 {
        publish(&shared.index, hash(0, tag), 600);
    }
    on_threads(2, &shared, |shared, thread| {
        if thread == 0 {
            for round in 0..20_000 {
                let churn = hash(round % 4, 1000 + round % 16);
                let _removed = shared.index.remove(shared.index.find_or_create(churn));
            }
            shared.stop.store(true, Ordering::Relaxed);
        }
        while !shared.stop.load(Ordering::Relaxed) {
            let kept = shared.index.entries().filter(|slot| slot.address() == address(600)).count();
            assert_eq!(kept, 5);
            assert!(shared.index.stats().entries >= 5);
        }
    });
}

/// A candidate is the newest address of the entry, and never one of an entry that has none, is undecided or was removed.
#[test]
fn candidates_follow_their_entries() {
    let index = HashIndex::new(4, 1).unwrap();
    let hash = |tag: u64| KeyHash(3 | tag << 48);
    assert_eq!(index.candidate(hash(5)), Address::NULL);
    assert!(index.is_absent(hash(5)));
    assert!(!index.is_absent(hash(0)), "free entries look like entries of tag 0");
    let mut slot = index.find_or_create(hash(5));
    assert!(index.candidate(hash(5)) <= Address::new(1), "no record yet");
    for address in [512, 515] {
        slot.compare_exchange(Address::new(address)).unwrap();
        assert_eq!(index.candidate(hash(5)), Address::new(address));
    }
    for tag in 6..12 {
        index.find_or_create(hash(tag)).compare_exchange(Address::new(1000 + tag)).unwrap();
    }
    assert_eq!(index.candidate(hash(11)), Address::new(1011), "the last entry of the bucket");
    assert!(index.is_absent(hash(12)), "the bucket is full, and has nothing behind it");
    index.find_or_create(hash(12)).compare_exchange(Address::new(1012)).unwrap();
    assert_eq!(index.candidate(hash(12)), Address::NULL, "in the overflow bucket");
    assert!(index.remove(slot));
    assert!(index.candidate(hash(5)).is_null());
    assert!(!index.is_absent(hash(5)), "it might be behind the first bucket");
    assert!(!index.is_absent(hash(12)) && index.find(hash(12)).is_some());
    assert_eq!(index.candidate(hash(8)), Address::new(1008));
}
