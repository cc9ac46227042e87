//! The records of a page image, in order.
//!
//! Called by recovery and by whoever walks the log. The image is verified but not trusted: a record that does not fit is
//! reported with its address.

use oxifaster_core::Address;
use oxifaster_core::error::{Error, ErrorKind};
use oxifaster_core::hlog::PageLayout;
use oxifaster_core::record::{RecordInfo, RecordLayout, RecordRef};
use oxifaster_core::sync::atomic::{AtomicU64, Ordering};
use oxifaster_device::BLOCK_WORDS;

/// Calls `visit` with address and record for every record of a page whose first word is `words[0]`, from word `from` of
/// the page on and below `until`.
///
/// # Errors
/// `Corruption` with the address; errors of `visit`.
pub fn scan_page<'w>(
    page: u64,
    layout: PageLayout,
    records: RecordLayout,
    words: &'w [AtomicU64],
    until: u64,
    mut visit: impl FnMut(Address, RecordRef<'w>) -> Result<(), Error>,
) -> Result<(), Error> {
    let start = layout.start_of(page);
    let until = usize::try_from(until).unwrap_or(usize::MAX).min(words.len());
    let words = words.get(..until).unwrap_or_default();
    let mut at = usize::try_from(layout.first_word()).unwrap_or(usize::MAX);
    while let Some(rest) = words.get(at..).filter(|rest| !rest.is_empty()) {
        let address = start.plus(at as u64);
        let damaged = |what: &str| Error::new(ErrorKind::Corruption, what.to_owned()).with_address(address);
        let header = rest.first().map_or(0, |word| word.load(Ordering::Relaxed));
        if header == 0 {
            at = (at + 1).next_multiple_of(BLOCK_WORDS);
            continue;
        }
        let info = RecordInfo::from_bits(header);
        if !info.is_well_formed() {
            return Err(damaged("a record header has reserved bits set: unknown format or damage"));
        }
        let size = if info.is_filler() {
            info.previous().words()
        } else {
            records.size_in(rest).map_err(|error| error.with_address(address))?
        };
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let record = rest.get(..size).filter(|record| !record.is_empty());
        let record = record.ok_or_else(|| damaged("a record reaches beyond its page"))?;
        if !info.is_filler() {
            visit(address, RecordRef::new(record, records))?;
        }
        at += size;
    }
    Ok(())
}
