//! The production index under loom: every interleaving of tiny chains, and the mistakes that must be noticed.
//!
//! Under loom a bucket has two entries. Threads *count*: each finds or creates the slot of a tag and raises its address by
//! one with a compare-exchange, so that two homes of one tag, or a lost publication, show up as a wrong count.

use loom::thread;

use super::growth::{self, Frozen, Sides};
use super::{HashIndex, IndexSlot, Vacancy};
use crate::address::Address;
use crate::hash::KeyHash;
use crate::mutation::{Mutation, model_with};
use crate::sync::Arc;

const FIRST_RECORD: u64 = 512;

fn tag(tag: u64) -> KeyHash {
    KeyHash(tag << 48)
}

fn address(words: u64) -> Address {
    Address::new(words)
}

fn full_index(overflow_buckets: usize) -> Arc<HashIndex> {
    let index = HashIndex::new(1, overflow_buckets).unwrap();
    for other in [10, 11] {
        index.find_or_create(tag(other)).compare_exchange(address(600)).unwrap();
    }
    Arc::new(index)
}

fn count_up(index: &HashIndex, hash: KeyHash) {
    loop {
        let mut slot = index.find_or_create(hash);
        if slot.compare_exchange(address(slot.address().words().max(FIRST_RECORD) + 1)).is_ok() {
            return;
        }
    }
}

/// As [`count_up`], with the entry and the first record at once if that is possible.
fn count_up_at_once(index: &HashIndex, hash: KeyHash) {
    let first = |vacancy: Vacancy<'_>| vacancy.publish(address(FIRST_RECORD + 1));
    if !index.vacancy(hash).is_some_and(first) {
        count_up(index, hash);
    }
}

fn count_of(slot: &IndexSlot<'_>) -> u64 {
    slot.address().words().saturating_sub(FIRST_RECORD)
}

fn spawn(index: &Arc<HashIndex>, body: impl FnOnce(&HashIndex) + 'static) -> thread::JoinHandle<()> {
    let index = Arc::clone(index);
    thread::spawn(move || body(&index))
}

/// What was counted in each slot: in entries of `wanted` from the first record on, in those of [`full_index`] from theirs on.
fn expect_one_home(index: &HashIndex, wanted: KeyHash, count: u64) {
    let homes: Vec<u64> = index
        .entries()
        .map(|slot| if slot.tag() < 10 { count_of(&slot) } else { slot.address().words() - 600 })
        .filter(|&counted| counted > 0)
        .collect();
    assert_eq!(homes, [count], "model: tag {wanted:?} lives in one place");
}

/// Two inserts of one tag, while an entry of another tag in the lower slot is removed: they claim different slots.
fn insert_insert_remove() {
    let index = Arc::new(HashIndex::new(1, 0).unwrap());
    index.find_or_create(tag(10)).compare_exchange(address(600)).unwrap();
    let first = spawn(&index, |index| count_up(index, tag(1)));
    let second = spawn(&index, |index| count_up(index, tag(1)));
    assert!(index.remove(index.find(tag(10)).unwrap()));
    first.join().unwrap();
    second.join().unwrap();
    let entries = index.entries().filter(|slot| slot.tag() == 1).count();
    assert_eq!(entries, 1, "model: one entry for one tag");
    expect_one_home(&index, tag(1), 2);
}

/// The same with inserts of which one or both publish their record with the entry.
fn insert_insert_remove_at_once(other: fn(&HashIndex, KeyHash)) {
    let index = Arc::new(HashIndex::new(1, 0).unwrap());
    index.find_or_create(tag(10)).compare_exchange(address(600)).unwrap();
    let first = spawn(&index, |index| count_up_at_once(index, tag(1)));
    let second = spawn(&index, move |index| other(index, tag(1)));
    assert!(index.remove(index.find(tag(10)).unwrap()));
    first.join().unwrap();
    second.join().unwrap();
    expect_one_home(&index, tag(1), 2);
}

/// Two inserts of different tags race to link an overflow bucket.
fn link_race() {
    let index = full_index(2);
    let other = spawn(&index, |index| count_up(index, tag(1)));
    count_up(&index, tag(2));
    other.join().unwrap();
    for inserted in [1, 2] {
        let count = index.find(tag(inserted)).as_ref().map(count_of);
        assert_eq!(count, Some(1), "model: tag {inserted} was linked");
    }
    assert_eq!(index.stats().overflow_buckets, 1, "model: the loser gave its bucket back");
}

/// Two inserts of one tag, one into a slot that was freed, one into the entry that it shares since it closed the chain.
fn close_race() {
    let index = full_index(0);
    let first = spawn(&index, |index| count_up(index, tag(1)));
    let second = spawn(&index, |index| count_up(index, tag(1)));
    assert!(index.remove(index.find(tag(10)).unwrap()));
    first.join().unwrap();
    second.join().unwrap();
    expect_one_home(&index, tag(1), 2);
}

/// Two tags with one home in a closed chain, and the entry there is removed: one of them claims it, the other shares.
fn claim_race() {
    let index = full_index(0);
    let _closed = index.find_or_create(tag(2));
    let first = spawn(&index, |index| count_up(index, tag(1)));
    let second = spawn(&index, |index| count_up(index, tag(3)));
    let removed = index.remove(index.find(tag(11)).unwrap());
    first.join().unwrap();
    second.join().unwrap();
    let (one, three) = (index.find(tag(1)).unwrap(), index.find(tag(3)).unwrap());
    assert_eq!(one.tag(), three.tag(), "model: both share one entry");
    assert_eq!(one.tag() == 11, !removed, "model: the entry that was removed is gone");
    let counted = if removed { count_of(&one) } else { one.address().words() - 600 };
    assert_eq!(counted, 2, "model: nothing is lost");
}

/// An operation publishes while the bucket is frozen and split: the new table has it exactly if the operation succeeded.
fn freeze_race(old: &Arc<HashIndex>, hash: KeyHash) {
    freeze_against(old, hash, move |old| match growth::find_or_create(old, hash) {
        Ok(mut slot) => slot.compare_exchange(address(700)).is_ok(),
        Err(Frozen) => false,
    });
}

fn freeze_against(old: &Arc<HashIndex>, hash: KeyHash, publish: impl FnOnce(&HashIndex) -> bool + 'static) {
    let writer = {
        let old = Arc::clone(old);
        thread::spawn(move || publish(&old))
    };
    let new = HashIndex::new(2, 4).unwrap();
    growth::freeze_bucket(old, 0);
    growth::split_bucket(old, 0, &new, |_, address| Sides::shared(address)).unwrap();
    let published = writer.join().unwrap();
    for side in [0, 1] {
        let found = new.find(KeyHash(hash.0 | side)).map(|slot| slot.address());
        assert_eq!(
            found == Some(address(700)),
            published,
            "model: the new table has what was published, and no more: {found:?}"
        );
    }
}

fn freeze_against_insert() {
    freeze_race(&Arc::new(HashIndex::new(1, 0).unwrap()), tag(1));
}

fn freeze_against_insert_at_once() {
    freeze_against(&Arc::new(HashIndex::new(1, 0).unwrap()), tag(1), |old| {
        old.vacancy(tag(1)).is_some_and(|vacancy| vacancy.publish(address(700)))
    });
}

fn freeze_against_publish() {
    let old = HashIndex::new(1, 0).unwrap();
    old.find_or_create(tag(1)).compare_exchange(address(600)).unwrap();
    freeze_race(&Arc::new(old), tag(1));
}

fn freeze_against_link() {
    freeze_race(&full_index(1), tag(1));
}

fn freeze_against_close() {
    freeze_race(&full_index(0), tag(1));
}

#[test]
fn model_insert_insert_remove() {
    model_with(
        &[
            Mutation::IndexInsertWithoutFence,
            Mutation::IndexInsertWithoutRescan,
            Mutation::IndexGlanceSeesFinalOnly,
        ],
        3,
        insert_insert_remove,
    );
}

#[test]
fn model_insert_at_once() {
    let mistakes = [
        Mutation::IndexInsertWithoutFence,
        Mutation::IndexInsertWithoutRescan,
        Mutation::IndexGlanceSeesFinalOnly,
    ];
    model_with(&mistakes, 3, || insert_insert_remove_at_once(count_up));
    model_with(&mistakes, 3, || insert_insert_remove_at_once(count_up_at_once));
}

#[test]
fn model_link_race() {
    model_with(&[Mutation::IndexLinkOverwrites], 3, link_race);
}

#[test]
fn model_close_race() {
    model_with(
        &[
            Mutation::IndexInsertWithoutFence,
            Mutation::IndexClosedWithoutFence,
            Mutation::IndexClosedWithoutRescan,
            Mutation::IndexInsertIgnoresClosed,
        ],
        3,
        close_race,
    );
}

#[test]
fn model_claim_race() {
    model_with(&[Mutation::IndexClaimByStore], 3, claim_race);
}

#[test]
fn model_freeze() {
    model_with(&[Mutation::IndexFinalByStore, Mutation::GrowthLeavesEmptySlots], 3, freeze_against_insert);
    model_with(
        &[Mutation::IndexFinalByStore, Mutation::GrowthLeavesEmptySlots],
        3,
        freeze_against_insert_at_once,
    );
    model_with(&[Mutation::GrowthLeavesEntries], 3, freeze_against_publish);
    model_with(&[Mutation::GrowthLeavesOverflow], 3, freeze_against_link);
    model_with::<Mutation>(&[], 3, freeze_against_close);
}

/// A reader finds a record at every moment of a freeze that several threads do at once.
#[test]
fn model_reader_follows_frozen_entries() {
    model_with::<Mutation>(&[], 3, || {
        let index = full_index(0);
        let freezer = spawn(&index, |index| growth::freeze_bucket(index, 0));
        let reader = spawn(&index, |index| {
            assert_eq!(growth::find(index, tag(11)), Some(address(600)), "model: followed");
            assert_eq!(growth::find(index, tag(12)), None, "model: nothing to follow");
        });
        growth::freeze_bucket(&index, 0);
        assert_eq!(growth::find_or_create(&index, tag(12)).err(), Some(Frozen), "model: frozen");
        freezer.join().unwrap();
        reader.join().unwrap();
    });
}

#[test]
fn model_raise() {
    model_with::<Mutation>(&[], 3, || {
        let index = full_index(0);
        let other = spawn(&index, |index| {
            index.raise(tag(1), address(800), 2).unwrap();
        });
        index.raise(tag(1), address(700), 2).unwrap();
        other.join().unwrap();
        let found = index.find(tag(1)).map(|slot| slot.address());
        assert_eq!(found, Some(address(800)), "model: the maximum stays");
        assert_eq!(index.stats().closed_chains, 0, "model: recovery joins nothing");
    });
}
