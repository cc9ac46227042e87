//! One thread's view of a record: every layout word by word, keys, values in place, and who is refused when.

#![expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]

use std::panic::{AssertUnwindSafe, catch_unwind};

use oxifaster_device::sync::atomic::{AtomicU64, Ordering};
use proptest::prelude::*;

use super::{LatchError, RecordFlags, RecordInfo, RecordLayout, RecordRef, WordBuffer};
use crate::address::Address;

const HEADER: u64 = 1 << 63;

/// Words that hold rubbish, as a frame might, so that what was not written shows.
fn words(len: u64) -> Vec<AtomicU64> {
    (0..len).map(|_| AtomicU64::new(0xAAAA_AAAA_AAAA_AAAA)).collect()
}

fn loaded(words: &[AtomicU64]) -> Vec<u64> {
    words.iter().map(|word| word.load(Ordering::Relaxed)).collect()
}

/// The words of a new record of this layout, which is as large as its parts need.
fn new_record(layout: RecordLayout, key: &[u8], value: &[u8]) -> Vec<AtomicU64> {
    let words = words(layout.size_words(key.len(), value.len()).unwrap());
    RecordRef::new(&words, layout).write_new(Address::new(7), key, value, RecordFlags::NONE);
    words
}

fn value(record: RecordRef<'_>) -> Vec<u8> {
    let mut copy = WordBuffer::default();
    let snapshot = record.read_value(&mut copy).expect("nobody writes");
    assert_eq!(snapshot.len_bytes, copy.bytes().len());
    assert_eq!(record.value_bytes_immutable().unwrap(), copy.bytes());
    copy.bytes().to_vec()
}

#[test]
fn every_layout_is_written_as_the_format_says() {
    let key = [1_u8, 0, 0, 0, 0, 0, 0, 2];
    let key_word = 0x0200_0000_0000_0001;
    let nine = [3_u8, 0, 0, 0, 0, 0, 0, 0, 4];
    let header = HEADER | 7;
    let written = |layout: RecordLayout, key: &[u8], value: &[u8]| loaded(&new_record(layout, key, value));
    assert_eq!(
        written(RecordLayout::of::<u64, u64>(), &key, &[5; 8]),
        [header, key_word, 0x0505_0505_0505_0505]
    );
    assert_eq!(written(RecordLayout::of::<u64, u8>(), &key, &[5]), [header, key_word, 5]);
    assert_eq!(written(RecordLayout::of::<u64, [u8; 9]>(), &key, &nine), [header, 0, key_word, 3, 4]);
    assert_eq!(
        written(RecordLayout::of::<u64, Vec<u8>>(), &key, &nine),
        [header, 8 << 32 | 6, 9, key_word, 3, 4]
    );
    assert_eq!(
        written(RecordLayout::of::<Vec<u8>, u16>(), &nine, &[6, 1]),
        [header, 9 << 32 | 5, 3, 4, 0x0106]
    );
    assert_eq!(
        written(RecordLayout::of::<Vec<u8>, [u8; 9]>(), &nine, &nine),
        [header, 9 << 32 | 7, 0, 3, 4, 3, 4]
    );
    assert_eq!(written(RecordLayout::of::<Vec<u8>, Vec<u8>>(), &nine, &[]), [header, 9 << 32 | 5, 0, 3, 4]);
    assert_eq!(written(RecordLayout::of::<(), [u64; 2]>(), &[], &[1; 16]).len(), 4);
}

#[test]
fn keys_differ_by_length_and_by_every_byte() {
    for len in 0..=25_usize {
        let key: Vec<u8> = (0..len).map(|at| u8::try_from(at * 7 % 256).unwrap()).collect();
        let words = new_record(RecordLayout::of::<Vec<u8>, u64>(), &key, &[1; 8]);
        let record = RecordRef::new(&words, RecordLayout::of::<Vec<u8>, u64>());
        assert!(record.key_equals(&key));
        let mut copied = vec![9; 3];
        record.copy_key(&mut copied);
        assert_eq!(copied, key);
        // A zero more pads to the same words; a byte less is a prefix.
        let longer: Vec<u8> = key.iter().copied().chain([0]).collect();
        assert!(!record.key_equals(&longer));
        if let Some((_, shorter)) = key.split_last() {
            assert!(!record.key_equals(shorter));
        }
        for at in 0..len {
            let mut other = key.clone();
            other[at] ^= 0x80;
            assert!(!record.key_equals(&other), "byte {at} of {len}");
        }
    }
}

#[test]
fn fixed_keys_of_every_size_compare_whole() {
    fn check<const N: usize>() {
        let layout = RecordLayout::of::<[u8; N], u64>();
        let words = new_record(layout, &[0xFF; N], &[1; 8]);
        let record = RecordRef::new(&words, layout);
        assert!(record.key_equals(&[0xFF; N]));
        for at in 0..N {
            let mut other = [0xFF; N];
            other[at] = 0;
            assert!(!record.key_equals(&other), "byte {at} of {N}");
        }
    }
    check::<0>();
    check::<1>();
    check::<7>();
    check::<8>();
    check::<9>();
    check::<16>();
    check::<24>();
}

#[test]
fn varlen_values_shrink_and_grow_in_place_up_to_the_capacity() {
    let layout = RecordLayout::of::<u64, Vec<u8>>();
    let words = new_record(layout, &[0; 8], &[1; 20]);
    let record = RecordRef::new(&words, layout);
    assert!(record.fits(24) && !record.fits(25));
    for new in [vec![2; 24], vec![], vec![3; 1], vec![4; 23]] {
        record.try_latch().unwrap().write_value(&new);
        assert_eq!(value(record), new);
        assert!(record.fits(24), "the capacity stays");
    }
    let refused = catch_unwind(AssertUnwindSafe(|| record.try_latch().unwrap().write_value(&[5; 25])));
    assert!(refused.is_err());
    assert_eq!(value(record), [4; 23], "nothing was written");
    assert!(record.try_latch().is_ok(), "and the latch was given back");
}

#[test]
fn a_sequence_tells_whether_the_value_changed() {
    let layout = RecordLayout::of::<u64, [u64; 3]>();
    let words = new_record(layout, &[0; 8], &[1; 24]);
    let record = RecordRef::new(&words, layout);
    let before = record.read_value(&mut WordBuffer::default()).unwrap();
    assert!(record.try_latch().unwrap().value_unchanged_since(before.sequence));
    // The same bytes again are a change too.
    record.try_latch().unwrap().write_value(&[1; 24]);
    let after = record.read_value(&mut WordBuffer::default()).unwrap();
    let latched = record.try_latch().unwrap();
    assert!(!latched.value_unchanged_since(before.sequence));
    assert!(latched.value_unchanged_since(after.sequence));
}

#[test]
fn closure_panics_leave_nothing_latched() {
    let layout = RecordLayout::of::<u64, [u64; 2]>();
    let words = new_record(layout, &[0; 8], &[1; 16]);
    let record = RecordRef::new(&words, layout);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _latched = record.try_latch().unwrap();
        assert_eq!(record.try_latch().err(), Some(LatchError::Busy));
        panic!("between latch and write");
    }));
    assert!(panicked.is_err());
    assert!(!record.info().is_latched());
    assert_eq!(value(record), [1; 16]);
}

#[test]
fn readers_give_up_on_a_writer_that_stays() {
    let layout = RecordLayout::of::<u64, [u64; 2]>();
    let words = new_record(layout, &[0; 8], &[1; 16]);
    words[1].store(1, Ordering::Relaxed);
    assert_eq!(RecordRef::new(&words, layout).read_value(&mut WordBuffer::default()), None);
}

#[test]
fn refusals_say_why_and_are_final() {
    let layout = RecordLayout::of::<u64, Vec<u8>>();
    let live = || new_record(layout, &[0; 8], &[1; 8]);
    let refusal = |words: &[AtomicU64]| RecordRef::new(words, layout).try_latch().err();

    let words = live();
    RecordRef::new(&words, layout).try_latch().unwrap().set_tombstone();
    assert_eq!(refusal(&words), Some(LatchError::Tombstone));
    assert!(!RecordRef::new(&words, layout).try_set_tombstone(), "deleted once");
    assert!(!RecordRef::new(&words, layout).try_seal());

    let words = live();
    RecordRef::new(&words, layout).try_latch().unwrap().seal();
    assert_eq!(refusal(&words), Some(LatchError::Sealed));
    assert!(!RecordRef::new(&words, layout).try_set_tombstone());

    let words = live();
    RecordRef::new(&words, layout).mark_invalid();
    assert_eq!(refusal(&words), Some(LatchError::Invalid));
    assert_eq!(RecordRef::new(&words, layout).info().previous(), Address::new(7), "the link stays");

    let words = live();
    let record = RecordRef::new(&words, layout);
    let latched = record.try_latch().unwrap();
    assert!(!record.try_seal() && !record.try_set_tombstone(), "the holder alone changes the header");
    drop(latched);
    assert!(record.try_seal());
    record.unseal();
    assert!(record.try_latch().is_ok());
}

#[test]
fn word_values_change_whole() {
    let layout = RecordLayout::of::<u64, u32>();
    let words = new_record(layout, &[0; 8], &[1, 0, 0, 0]);
    let record = RecordRef::new(&words, layout);
    assert_eq!(record.load_word_value(), Some(1));
    assert!(record.store_word_value(&[2, 0, 0, 1]));
    assert_eq!(record.load_word_value(), Some(0x0100_0002));
    assert_eq!(record.compare_exchange_word(1, 5), Err(0x0100_0002));
    assert_eq!(record.compare_exchange_word(0x0100_0002, 5), Ok(()));
    assert_eq!(record.fetch_add_word(2), 5);
    assert_eq!(record.load_word_value(), Some(7));
    assert_eq!(record.value_bytes_immutable().unwrap(), [7, 0, 0, 0]);

    let layout = RecordLayout::of::<u64, [u64; 2]>();
    let words = new_record(layout, &[0; 8], &[1; 16]);
    let record = RecordRef::new(&words, layout);
    assert_eq!(record.load_word_value(), None);
    assert!(!record.store_word_value(&[0; 16]));
    assert_eq!(value(record), [1; 16]);
}

proptest! {
    /// Whatever the words are, looking at them neither panics nor reaches behind them.
    #[test]
    fn untrusted_words_never_panic(content: Vec<u64>, lengths: (u8, u8, u8), key: Vec<u8>) {
        fn look(layout: RecordLayout, words: &[AtomicU64], key: &[u8]) {
            let Ok(size) = layout.size_in(words) else { return };
            let Some(words) = usize::try_from(size).ok().and_then(|size| words.get(..size)) else { return };
            let record = RecordRef::new(words, layout);
            // Rubbish may pad the key, so that it equals nothing, not even its own bytes.
            assert!(!record.key_equals(key) || key.len().div_ceil(8) <= words.len());
            record.copy_key(&mut Vec::new());
            if !record.info().is_tombstone() {
                record.value_bytes_immutable().expect("the size was checked");
            }
        }
        // Headers that look like one, and small sizes, so that more than the first check is reached.
        let mut content = content;
        let (size, key_len, value_len) = lengths;
        for (at, word) in content.iter_mut().enumerate().take(3) {
            *word = match at {
                0 => HEADER | *word & (RecordInfo::TOMBSTONE | 0xFF),
                1 => u64::from(size % 16) | u64::from(key_len % 64) << 32,
                _ => u64::from(value_len % 64),
            };
        }
        let words: Vec<AtomicU64> = content.into_iter().map(AtomicU64::new).collect();
        for layout in [
            RecordLayout::of::<u64, u64>(),
            RecordLayout::of::<u64, [u8; 20]>(),
            RecordLayout::of::<u64, Vec<u8>>(),
            RecordLayout::of::<String, u8>(),
            RecordLayout::of::<String, [u8; 20]>(),
            RecordLayout::of::<String, String>(),
        ] {
            look(layout, &words, &key);
        }
    }
}

#[test]
fn the_memory_of_a_large_value_is_given_back_with_the_next_small_one() {
    let layout = RecordLayout::of::<u64, Vec<u8>>();
    let record_of = |bytes: usize| new_record(layout, &[0; 8], &vec![5; bytes]);
    let (small, medium, large) = (record_of(100), record_of(1 << 20), record_of(3 << 20));
    let mut copy = WordBuffer::default();
    let mut memory_after = |words: &[AtomicU64]| {
        let snapshot = RecordRef::new(words, layout).read_value(&mut copy).unwrap();
        assert_eq!(copy.bytes().len(), snapshot.len_bytes);
        assert!(copy.bytes().iter().all(|byte| *byte == 5));
        copy.memory_words() * 8
    };
    // Values up to 1 MiB share their memory.
    assert_eq!((memory_after(&medium), memory_after(&small)), (1 << 20, 1 << 20));
    assert!(memory_after(&large) >= 3 << 20);
    assert!(memory_after(&large) >= 3 << 20);
    assert!(memory_after(&small) < 1 << 10, "the large value's memory is kept");
}
