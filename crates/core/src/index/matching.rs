#![expect(unsafe_code, reason = "the processor compares a line's tags side by side; see below")]
//! Which entry of a bucket has a tag, without a branch per entry.
//!
//! Caller: [`HashIndex::candidate`](super::HashIndex::candidate). Keys come in any order, so a branch per entry would be
//! guessed wrong for every other key; and a wrong guess about a line that is still on its way keeps the processor from
//! starting on the next operation's lines meanwhile, which is where the speed of single operations comes from.
//!
//! The answer is a hint: the entry may change at once. Whoever follows it compares keys.
//!
//! # Soundness
//! 1. The instructions read the 64 bytes of the bucket, which is borrowed, and write nothing but registers. Aligned
//!    16-byte loads read each of their 8-byte words whole, so this is what eight relaxed atomic loads would be.
//! 2. x86-64 has SSE2.

#[cfg(not(all(target_arch = "x86_64", not(loom), not(miri))))]
use oxifaster_device::sync::atomic::Ordering;

use super::buckets::Bucket;

/// The place of an entry with this tag and neither the tentative nor the read-cache bit, if there is one.
#[cfg(all(target_arch = "x86_64", not(loom), not(miri)))]
#[inline(always)]
pub(super) fn place_of(bucket: &Bucket, tag: u64) -> Option<usize> {
    /// The entries' bits of the mask, without the overflow word's.
    const ENTRIES: u32 = 0b0010_1010_1010_1010;
    let mask: u32;
    // SAFETY: obligations 1 and 2.
    unsafe {
        std::arch::asm!(
            // The tag in every 16-bit lane; it is compared with the upper 16 bits of every word, and with what lies below.
            "movd {tags}, {tag:e}",
            "pshuflw {tags}, {tags}, 0",
            "punpcklqdq {tags}, {tags}",
            "movdqa {low}, {tags}",
            "pcmpeqw {low}, xmmword ptr [{bucket}]",
            "movdqa {high}, {tags}",
            "pcmpeqw {high}, xmmword ptr [{bucket} + 16]",
            "packsswb {low}, {high}",
            "movdqa {high}, {tags}",
            "pcmpeqw {high}, xmmword ptr [{bucket} + 32]",
            "pcmpeqw {tags}, xmmword ptr [{bucket} + 48]",
            "packsswb {high}, {tags}",
            // A byte of sign per two lanes: that of the upper one. Bit 2 n + 1 of the mask belongs to word n.
            "packsswb {low}, {high}",
            "pmovmskb {mask:e}, {low}",
            bucket = in(reg) bucket,
            tag = in(reg) tag,
            tags = out(xmm_reg) _,
            low = out(xmm_reg) _,
            high = out(xmm_reg) _,
            mask = lateout(reg) mask,
            options(readonly, nostack, preserves_flags),
        );
    }
    let mask = mask & ENTRIES;
    (mask != 0).then_some(mask.trailing_zeros() as usize / 2)
}

/// The place of an entry with this tag and neither the tentative nor the read-cache bit, if there is one.
#[cfg(not(all(target_arch = "x86_64", not(loom), not(miri))))]
#[inline(always)]
pub(super) fn place_of(bucket: &Bucket, tag: u64) -> Option<usize> {
    let [entries @ .., _] = bucket;
    // Relaxed: a hint.
    let has_tag = |word: u64| word >> crate::address::ADDRESS_BITS == tag;
    entries.iter().position(|entry| has_tag(entry.load(Ordering::Relaxed)))
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use oxifaster_device::sync::atomic::AtomicU64;

    use super::*;

    #[test]
    fn every_entry_is_found_by_its_tag_alone() {
        #[repr(align(64))]
        struct Line(Bucket);
        for tag in [0, 1, 0x1234, 0x2AAA, 0x3FFF] {
            for place in 0..8 {
                for around in [tag ^ 1, tag ^ 0x2000, tag | 0x4000, tag | 0x8000] {
                    // The lower lanes hold the tag, too: only the upper one counts.
                    let lower = tag * 0x0001_0001_0001;
                    let word = |at| AtomicU64::new(if at == place { tag } else { around } << 48 | lower);
                    let line = Line(std::array::from_fn(word));
                    let expected = (place < 7).then_some(place);
                    assert_eq!(place_of(&line.0, tag), expected, "tag {tag:#x} at {place} among {around:#x}");
                }
            }
        }
    }

    #[test]
    fn the_first_of_several_entries_is_found() {
        #[repr(align(64))]
        struct Line(Bucket);
        let line = Line(std::array::from_fn(|at| AtomicU64::new(if at >= 3 { 9 << 48 | 7 } else { 7 })));
        assert_eq!(place_of(&line.0, 9), Some(3));
        assert_eq!(place_of(&line.0, 0), Some(0));
        assert_eq!(place_of(&line.0, 8), None);
    }
}
