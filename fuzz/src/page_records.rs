//! A page of any words is walked without a panic: the records found rise, lie inside of the page, and give their parts or
//! an error.
//!
//! Input: one byte that chooses the record layout, then little-endian words from the first usable word of the page on.

use oxifaster_core::hlog::{PAGE_SIZE_BITS_MIN, PageLayout};
use oxifaster_core::record::RecordLayout;
use oxifaster_core::sync::atomic::AtomicU64;
use oxifaster_store::scan_page;

/// The page that the words stand for; any other would do.
const PAGE: u64 = 3;

/// Walks a page.
pub fn run(bytes: &[u8]) {
    let Some((&choice, bytes)) = bytes.split_first() else { return };
    let records = match choice % 5 {
        0 => RecordLayout::of::<u64, u64>(),
        1 => RecordLayout::of::<u64, [u64; 3]>(),
        2 => RecordLayout::of::<u64, Vec<u8>>(),
        3 => RecordLayout::of::<String, u64>(),
        _ => RecordLayout::of::<Vec<u8>, Vec<u8>>(),
    };
    let layout = PageLayout::new(PAGE_SIZE_BITS_MIN);
    let mut words: Vec<AtomicU64> = (0..layout.first_word()).map(|_| AtomicU64::new(0)).collect();
    words.extend(bytes.as_chunks::<8>().0.iter().map(|word| AtomicU64::new(u64::from_le_bytes(*word))));
    words.truncate(usize::try_from(layout.page_words()).expect("a page fits into memory"));

    let (start, end) = (layout.start_of(PAGE), layout.start_of(PAGE).plus(words.len() as u64));
    let mut last = start;
    let mut key = Vec::new();
    // An error is a fine answer to such a page.
    let _ = scan_page(PAGE, layout, records, &words, layout.page_words(), |address, record| {
        assert!(address > last && address < end, "{address} does not lie between {last} and {end}");
        last = address;
        record.copy_key(&mut key);
        record.value_bytes_immutable().map(|value| assert!(value.len() <= words.len() * 8))
    });
}
