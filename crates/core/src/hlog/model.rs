//! The production page ring under loom: every interleaving of few threads on tiny pages, and the mistakes that must show.
//!
//! Threads play the parts of operations, flusher and maintenance with the calls that those use. Waiting for the device is
//! left out: a page counts as written as soon as it may be written. Words of records are read and written relaxed, so that
//! all order has to come from the ring and its epochs.
//!
//! | model | proves |
//! |---|---|
//! | `page_turn` | reservations are disjoint, each within one page, and everybody finds the frame of a new page (rule 5) |
//! | `seized_tail` | whoever seizes the tail appends alone, over a page's end, and everybody goes on behind it |
//! | `reused_frame` | a page is opened only on a ready frame, and its words are zero (rule 4) |
//! | `eviction` | a guard that saw a page in memory reads that page, whatever happens to the frame next (rules 1 to 3) |
//! | `read_only_shift` | what lies below the safe read-only address has taken its last store, and it is visible (rules 2, 3) |
//! | `fuzzy_copy` | an update that waits out the fuzzy region copies all that was done in place |
//! | `aligned_tail` | no record lies across an aligned tail; what lies below is filled when the shift to it is safe |
//! | `forgotten_page` | pages of a log in memory are never read once forgotten, and never looked for on the device |

use std::cell::RefCell;

use loom::thread;

use oxifaster_device::Words;
use oxifaster_device::sync::atomic::{AtomicU64, Ordering};

use super::page_layout::PageLayout;
use super::page_ring::{PageRing, PageTurn};
use crate::address::Address;
use crate::epoch::{EpochGuard, FenceForm, LightEpoch, Participant};
use crate::mutation::{Mutation, model_with};
use crate::sync::Arc;

// loom runs all threads of a model as coroutines of the thread that started it, so this is one value per test.
std::thread_local! {
    static NOTICED: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Keeps in mind that something is wrong. A model panics when all its threads have ended: a thread that loom gives up in the
/// middle would leave its guard where there is no model any more.
macro_rules! expect {
    ($holds:expr, $($message:tt)+) => {
        if !$holds {
            NOTICED.with_borrow_mut(|noticed| {
                noticed.get_or_insert_with(|| format!($($message)+));
            });
        }
    };
}

/// Pages of eight words; records fit into six of them.
fn eight_words() -> PageLayout {
    PageLayout::tiny(3, 2)
}

/// Pages of four words, each for one record of two.
fn four_words() -> PageLayout {
    PageLayout::tiny(2, 2)
}

/// Size of the one record of a page of four words.
const RECORD: u64 = 2;

/// A ring whose log goes on at word `offset` of page `page`; `head_page` is its oldest page in memory.
fn ring(layout: PageLayout, frames: u64, head_page: u64, page: u64, offset: u64) -> Arc<PageRing> {
    let memory = Words::zeroed(usize::try_from(PageRing::memory_words(layout, frames)).unwrap()).unwrap();
    let head = layout.start_of(head_page);
    let tail = layout.start_of(page).plus(offset);
    let epoch = LightEpoch::with_fences(FenceForm::Symmetric);
    Arc::new(PageRing::new(layout, std::sync::Arc::new(memory), epoch, head, head, tail))
}

/// A ring with one mutable record on page 1, filled with `value`, and the tail on page 2.
fn ring_with_record(value: u64) -> (Arc<PageRing>, Address) {
    let ring = ring(four_words(), 2, 1, 1, 2);
    let record = append(&ring, &mut ring.epoch().register(), RECORD, value);
    assert_eq!(ring.turn_page(RECORD, 0), PageTurn::Turned);
    (ring, record)
}

fn page_two() -> Address {
    four_words().start_of(2)
}

fn record_words<'g>(
    ring: &'g PageRing,
    guard: &'g EpochGuard<'_>,
    at: Address,
    size: u64,
) -> &'g [AtomicU64] {
    &ring.words(guard, at)[..usize::try_from(size).unwrap()]
}

fn fill(words: &[AtomicU64], value: u64) {
    for word in words {
        let found = word.load(Ordering::Relaxed);
        expect!(found == 0, "a reserved word is {found}");
        word.store(value, Ordering::Relaxed);
    }
}

fn expect_filled(words: &[AtomicU64], value: u64) {
    for word in words {
        let found = word.load(Ordering::Relaxed);
        expect!(found == value, "not the record's words: {found} instead of {value}");
    }
}

/// One operation that appends a record; it makes room as the store does, without a guard.
fn append(ring: &PageRing, participant: &mut Participant, size: u64, value: u64) -> Address {
    loop {
        {
            let guard = participant.enter();
            if let Ok(address) = ring.try_allocate(&guard, size) {
                fill(record_words(ring, &guard, address, size), value);
                return address;
            }
        }
        while let PageTurn::NoFrame(_) = ring.turn_page(size, 0) {
            thread::yield_now();
        }
    }
}

fn spawn<T: 'static>(
    ring: &Arc<PageRing>,
    body: impl FnOnce(&PageRing, &mut Participant) -> T + 'static,
) -> thread::JoinHandle<T> {
    let ring = Arc::clone(ring);
    let mut participant = ring.epoch().register();
    thread::spawn(move || body(&ring, &mut participant))
}

/// Waits until everything below `to` is read-only for everybody.
fn make_read_only(ring: &PageRing, to: Address) {
    ring.shift_read_only(to);
    while ring.complete_shifts() < to {
        thread::yield_now();
    }
}

/// Evicts everything below `to`, and frees its frames, as the maintenance thread does.
fn evict(ring: &PageRing, to: Address) {
    if let Some(epoch) = ring.shift_head(to) {
        ring.epoch().wait_until_safe(epoch);
        ring.release_frames(to);
    }
}

fn expect_disjoint_records(ring: &PageRing, records: &[(Address, u64)], size: u64) {
    let mut participant = ring.epoch().register();
    let guard = participant.enter();
    for (place, &(address, value)) in records.iter().enumerate() {
        let offset = ring.layout().offset_of(address);
        expect!(offset >= ring.layout().first_word(), "a record among the checksums");
        expect!(offset + size <= ring.layout().page_words(), "a record across pages");
        for (other, _) in &records[place + 1..] {
            let apart = address.words().abs_diff(other.words());
            expect!(apart >= size, "{address} and {other} overlap");
        }
        expect_filled(record_words(ring, &guard, address, size), value);
    }
}

/// Two threads append across the end of page 1; page 2 has another frame than its slot says before.
fn page_turn() {
    let ring = ring(eight_words(), 3, 1, 1, 5);
    let other = spawn(&ring, |ring, participant| (append(ring, participant, 3, 20), 20));
    let mut participant = ring.epoch().register();
    let mut records = vec![];
    for value in [10, 11] {
        records.push((append(&ring, &mut participant, 3, value), value));
    }
    records.push(other.join().unwrap());
    expect_disjoint_records(&ring, &records, 3);
}

/// Both threads find page 1 full.
fn page_turn_twice() {
    let ring = ring(eight_words(), 3, 1, 1, 7);
    let other = spawn(&ring, |ring, participant| (append(ring, participant, 3, 20), 20));
    let record = (append(&ring, &mut ring.epoch().register(), 3, 10), 10);
    expect_disjoint_records(&ring, &[record, other.join().unwrap()], 3);
}

/// One thread seizes the tail and appends over the end of page 1, while another one appends.
fn seized_tail() {
    let ring = ring(eight_words(), 3, 1, 1, 2);
    let other = spawn(&ring, |ring, participant| (append(ring, participant, 3, 20), 20));
    let mut participant = ring.epoch().register();
    let mut records = vec![];
    let mut tail = ring.seize_tail();
    for value in [10, 11] {
        let guard = participant.enter();
        let address = tail.allocate(&guard, 3).unwrap();
        fill(record_words(&ring, &guard, address, 3), value);
        records.push((address, value));
    }
    let last = records[1].0;
    drop(tail);
    records.push((append(&ring, &mut participant, 3, 12), 12));
    expect!(records[2].0 > last, "an append behind the seizure lies below it");
    records.push(other.join().unwrap());
    expect_disjoint_records(&ring, &records, 3);
}

/// Page 3 needs the frame of page 1, which is full of old words.
fn reused_frame() {
    let ring = ring(four_words(), 2, 1, 2, 3);
    for word in &ring.memory()[ring.frame_range(1)] {
        word.store(7, Ordering::Relaxed);
    }
    let maintenance = spawn(&ring, |ring, _| evict(ring, page_two()));
    let mut participant = ring.epoch().register();
    let record = append(&ring, &mut participant, RECORD, 9);
    maintenance.join().unwrap();
    expect_filled(record_words(&ring, &participant.enter(), record, RECORD), 9);
}

/// A reader looks at a record while its page is written, evicted, zeroed and reused.
fn eviction() {
    let (ring, record) = ring_with_record(7);
    let reader = spawn(&ring, move |ring, participant| {
        let guard = participant.enter();
        if record >= ring.read_floor() {
            expect_filled(record_words(ring, &guard, record, RECORD), 7);
        }
    });
    make_read_only(&ring, page_two());
    ring.set_flushed_until(page_two());
    evict(&ring, page_two());
    assert_eq!(ring.turn_page(3, 0), PageTurn::Turned);
    let reused = append(&ring, &mut ring.epoch().register(), RECORD, 9);
    assert_eq!(ring.frame_range(ring.layout().page_of(reused)), ring.frame_range(1));
    reader.join().unwrap();
}

/// One update in place, if the record may be updated in place.
fn update_in_place(ring: &PageRing, participant: &mut Participant, record: Address) -> bool {
    let guard = participant.enter();
    let mutable = record >= ring.update_floor();
    if mutable {
        for word in record_words(ring, &guard, record, RECORD) {
            word.fetch_add(1, Ordering::Relaxed);
        }
    }
    mutable
}

fn values(ring: &PageRing, record: Address) -> Vec<u64> {
    let mut participant = ring.epoch().register();
    let guard = participant.enter();
    record_words(ring, &guard, record, RECORD).iter().map(|word| word.load(Ordering::Relaxed)).collect()
}

/// A writer updates in place, one thread shifts, a third one (the flusher) only looks how far the shift came.
fn read_only_shift() {
    let (ring, record) = ring_with_record(7);
    let writer = spawn(&ring, move |ring, participant| update_in_place(ring, participant, record));
    let flusher = spawn(&ring, move |ring, _| {
        // The flusher has no guard: it alone lets pages be evicted.
        (ring.safe_read_only() > record).then(|| {
            let words = &ring.words_unguarded(record)[..2];
            words.iter().map(|word| word.load(Ordering::Relaxed)).collect::<Vec<_>>()
        })
    });
    ring.shift_read_only(page_two());
    ring.complete_shifts();
    let updated = writer.join().unwrap();
    let last = 7 + u64::from(updated);
    if let Some(written) = flusher.join().unwrap() {
        expect!(written == [last; 2], "a record changed after it was written to the device");
    }
}

/// One thread updates in place; another one finds the record in the fuzzy region, waits, and copies it.
fn fuzzy_copy() {
    let (ring, record) = ring_with_record(7);
    let writer = spawn(&ring, move |ring, participant| update_in_place(ring, participant, record));
    ring.shift_read_only(page_two());
    while ring.complete_shifts() <= record {
        thread::yield_now();
    }
    let copied = values(&ring, record);
    let last = 7 + u64::from(writer.join().unwrap());
    expect!(copied == [last; 2], "an update was left behind");
}

/// A flush aligns the tail while two records are appended, the second one on the next page, and waits for its shift.
fn aligned_tail() {
    let ring = ring(eight_words(), 3, 1, 1, 2);
    let writer =
        spawn(&ring, |ring, participant| [10, 11].map(|value| (append(ring, participant, 3, value), value)));
    let aligned = ring.align_tail();
    expect!(aligned.words() % ring.layout().block_words() == 0, "{aligned} is not aligned");
    make_read_only(&ring, aligned);
    let below = usize::try_from(aligned.words() - ring.layout().start_of(1).words()).unwrap();
    let flushed: Vec<u64> =
        ring.memory()[ring.frame_range(1)][..below].iter().map(|word| word.load(Ordering::Relaxed)).collect();
    let mut records = writer.join().unwrap().to_vec();
    for (address, value) in &records {
        expect!(address.plus(3) <= aligned || *address >= aligned, "a record across the aligned tail");
        if *address < aligned {
            let written = flushed.iter().filter(|word| **word == *value).count();
            expect!(written == 3, "a record was flushed before it was filled");
        }
    }
    let behind = append(&ring, &mut ring.epoch().register(), 3, 12);
    expect!(behind >= aligned, "space below the aligned tail was reserved again");
    records.push((behind, 12));
    expect_disjoint_records(&ring, &records, 3);
}

/// Forgets page 1 of a log in memory, as the in-memory compaction does, and takes its frame for page 3.
fn forget_and_reuse(ring: &PageRing) {
    let epoch = ring.shift_begin_in_memory(page_two());
    ring.epoch().wait_until_safe(epoch);
    ring.release_frames(page_two());
    assert_eq!(ring.turn_page(3, 0), PageTurn::Turned);
    append(ring, &mut ring.epoch().register(), RECORD, 9);
}

/// A log in memory forgets page 1, whose record was copied; a reader still has its address from a chain.
fn forgotten_page() {
    let (ring, record) = ring_with_record(7);
    let reader = spawn(&ring, move |ring, participant| {
        let guard = participant.enter();
        if record >= ring.read_floor() {
            expect_filled(record_words(ring, &guard, record, RECORD), 7);
        } else {
            expect!(record < ring.begin(), "a forgotten page is looked for on the device");
        }
    });
    forget_and_reuse(&ring);
    reader.join().unwrap();
}

/// An update walks down to the read-only address and looks at no head.
fn forgotten_page_against_update() {
    let (ring, record) = ring_with_record(7);
    let updater = spawn(&ring, move |ring, participant| {
        let guard = participant.enter();
        if record >= ring.update_floor() {
            expect_filled(record_words(ring, &guard, record, RECORD), 7);
        }
    });
    forget_and_reuse(&ring);
    updater.join().unwrap();
}

/// Runs a model as it is, and with each of the mistakes.
fn check(preemptions: usize, mistakes: &[Mutation], model: fn()) {
    let whole = move || {
        NOTICED.set(None);
        model();
        if let Some(mistake) = NOTICED.take() {
            panic!("model: {mistake}");
        }
    };
    model_with(mistakes, preemptions, whole);
}

#[test]
fn model_page_turn() {
    check(3, &[Mutation::RingTurnRelaxed, Mutation::RingAllocateRelaxed], page_turn);
    check(
        3,
        &[Mutation::RingTurnRelaxed, Mutation::RingAllocateRelaxed, Mutation::RingTurnUnlocked],
        page_turn_twice,
    );
}

#[test]
fn model_seized_tail() {
    check(3, &[Mutation::RingTurnIgnoresSeizure, Mutation::RingSeizeLeavesWord], seized_tail);
}

#[test]
fn model_reused_frame() {
    check(
        3,
        &[Mutation::RingTurnWithoutFrame, Mutation::RingReadyRelaxed, Mutation::RingReadyBeforeZeroes],
        reused_frame,
    );
}

#[test]
fn model_eviction() {
    check(
        3,
        &[Mutation::RingEvictWithoutDrain, Mutation::EpochWaitsForNobody, Mutation::EpochBumpWithoutFence],
        eviction,
    );
}

#[test]
fn model_read_only_shift() {
    check(
        3,
        &[
            Mutation::RingShiftWithoutDrain,
            Mutation::RingShiftAfterBump,
            Mutation::RingSafeReadOnlyRelaxed,
            Mutation::EpochLeaveRelaxed,
        ],
        read_only_shift,
    );
}

#[test]
fn model_fuzzy_copy() {
    check(3, &[Mutation::RingShiftWithoutDrain, Mutation::RingShiftAfterBump], fuzzy_copy);
}

#[test]
fn model_aligned_tail() {
    check(3, &[Mutation::RingAlignByStore, Mutation::RingShiftWithoutDrain], aligned_tail);
}

#[test]
fn model_forgotten_page() {
    check(
        3,
        &[Mutation::RingHeadBeforeBegin, Mutation::RingForgetRelaxed, Mutation::RingForgetWithoutDrain],
        forgotten_page,
    );
    check(
        3,
        &[Mutation::RingForgetKeepsReadOnly, Mutation::RingForgetWithoutDrain],
        forgotten_page_against_update,
    );
}
