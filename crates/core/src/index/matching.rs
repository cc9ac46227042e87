#![expect(unsafe_code, reason = "the processor compares a line's tags side by side; see below")]
//! What a bucket has of a tag, without a branch per entry.
//!
//! Callers: [`HashIndex::candidate`](super::HashIndex::candidate), which asks for the [place](place_of) of an entry, and the scans of
//! `chain`, which [`glance`] at each bucket before they look at its entries one after the other. Keys come in any order, so a branch per entry would be
//! guessed wrong for every other key; and a wrong guess about a line that is still on its way keeps the processor from
//! starting on the next operation's lines meanwhile, which is where the speed of single operations comes from.
//!
//! A place is a hint: the entry may change at once, and whoever follows it compares keys. A glance is not: it loads every word of
//! the bucket once, at some moment of its own, as a loop over them would.
//!
//! # Soundness
//! 1. The instructions read the 64 bytes of the bucket, which is borrowed, and write nothing but registers. Aligned
//!    16-byte loads read each of their 8-byte words whole, so this is what eight relaxed atomic loads would be; on this
//!    processor every load is an acquire, and the compiler moves no later access over [`glance`]'s, which may write memory
//!    for all it knows.
//! 2. x86-64 has SSE2.
//! 3. These loads fault on addresses that are no multiple of 16, which the type of a bucket (words of 8 bytes) does not promise. Every
//!    bucket there is comes from a [`BucketArray`](super::buckets::BucketArray): a region that is aligned to 4096 bytes (asserted where it
//!    is made), cut into 64-byte pieces. A fault ends the process; it is no undefined behaviour, and debug builds say why.

#[cfg(not(all(target_arch = "x86_64", not(loom), not(miri))))]
use crate::mutation::{Mutation, planted};
#[cfg(not(all(target_arch = "x86_64", not(loom), not(miri))))]
use oxifaster_device::sync::atomic::Ordering;

use super::BUCKET_ENTRIES;
use super::buckets::Bucket;

/// What a look at the entries of a bucket for one tag saw: a bit for each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Glance {
    /// Entries that have the tag, or are tentative or frozen, whichever tag they have; for tag 0 free ones, too.
    pub(super) notable: u32,
    /// Entries without read-cache bit, tentative bit and tag: the free ones, and those of tag 0.
    pub(super) vacant: u32,
}

/// All entries.
const ENTRIES_MASK: u32 = (1 << BUCKET_ENTRIES) - 1;

/// The place of an entry with this tag and neither the tentative nor the read-cache bit, if there is one.
#[cfg(all(target_arch = "x86_64", not(loom), not(miri)))]
#[inline(always)]
pub(super) fn place_of(bucket: &Bucket, tag: u64) -> Option<usize> {
    /// The entries' bits of the mask, two for each, without the overflow word's.
    const ENTRIES: u32 = (1 << (2 * BUCKET_ENTRIES)) - 1;
    debug_assert!(std::ptr::from_ref(bucket).addr().is_multiple_of(64), "obligation 3");
    let mask: u32;
    // SAFETY: obligations 1, 2 and 3.
    unsafe {
        std::arch::asm!(
            // The tag in every 16-bit lane.
            "movd {tags}, {tag:e}",
            "pshuflw {tags}, {tags}, 0",
            "punpcklqdq {tags}, {tags}",
            // The upper 32 bits of the eight words, then their upper 16 bits: one lane for each word.
            "movaps {lanes}, xmmword ptr [{bucket}]",
            "shufps {lanes}, xmmword ptr [{bucket} + 16], 0xDD",
            "movaps {upper}, xmmword ptr [{bucket} + 32]",
            "shufps {upper}, xmmword ptr [{bucket} + 48], 0xDD",
            "psrad {lanes}, 16",
            "psrad {upper}, 16",
            "packssdw {lanes}, {upper}",
            "pcmpeqw {lanes}, {tags}",
            "pmovmskb {mask:e}, {lanes}",
            bucket = in(reg) bucket,
            tag = in(reg) tag,
            tags = out(xmm_reg) _,
            lanes = out(xmm_reg) _,
            upper = out(xmm_reg) _,
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

/// What the entries of a bucket have of a tag. Acquire: pairs with the release of every compare-exchange on an entry.
#[cfg(all(target_arch = "x86_64", not(loom), not(miri)))]
#[inline(always)]
pub(super) fn glance(bucket: &Bucket, tag: u64) -> Glance {
    debug_assert!(std::ptr::from_ref(bucket).addr().is_multiple_of(64), "obligation 3");
    let mask: u32;
    // SAFETY: obligations 1, 2 and 3.
    unsafe {
        std::arch::asm!(
            // The upper 32 bits of the eight words, then their upper 16 bits: one lane for each word.
            "movaps {lanes}, xmmword ptr [{bucket}]",
            "shufps {lanes}, xmmword ptr [{bucket} + 16], 0xDD",
            "movaps {upper}, xmmword ptr [{bucket} + 32]",
            "shufps {upper}, xmmword ptr [{bucket} + 48], 0xDD",
            "psrad {lanes}, 16",
            "psrad {upper}, 16",
            "packssdw {lanes}, {upper}",
            // The tag in every lane; both sides without the two bits above it.
            "movd {tags}, {tag:e}",
            "pshuflw {tags}, {tags}, 0",
            "punpcklqdq {tags}, {tags}",
            "movdqa {upper}, {lanes}",
            "psllw {tags}, 2",
            "psllw {upper}, 2",
            "pcmpeqw {tags}, {upper}",
            // The tentative bit becomes the sign of its lane.
            "movdqa {upper}, {lanes}",
            "paddw {upper}, {upper}",
            "por {tags}, {upper}",
            "pxor {upper}, {upper}",
            "pcmpeqw {lanes}, {upper}",
            // A byte of sign per lane: notable ones, then vacant ones.
            "packsswb {tags}, {lanes}",
            "pmovmskb {mask:e}, {tags}",
            bucket = in(reg) bucket,
            tag = in(reg) tag,
            lanes = out(xmm_reg) _,
            upper = out(xmm_reg) _,
            tags = out(xmm_reg) _,
            mask = lateout(reg) mask,
            options(nostack, preserves_flags),
        );
    }
    Glance { notable: mask & ENTRIES_MASK, vacant: mask >> 8 & ENTRIES_MASK }
}

/// What the entries of a bucket have of a tag. Acquire: pairs with the release of every compare-exchange on an entry.
#[cfg(not(all(target_arch = "x86_64", not(loom), not(miri))))]
#[inline(always)]
pub(super) fn glance(bucket: &Bucket, tag: u64) -> Glance {
    let [entries @ .., _] = bucket;
    let mut glance = Glance { notable: 0, vacant: 0 };
    for (place, entry) in entries.iter().enumerate() {
        let upper = entry.load(Ordering::Acquire) >> crate::address::ADDRESS_BITS;
        let is_final = upper & 0x7FFF == tag;
        let is_tentative = upper & 0x4000 != 0 && !planted(Mutation::IndexGlanceSeesFinalOnly);
        glance.notable |= u32::from(is_final || is_tentative) << place;
        glance.vacant |= u32::from(upper == 0) << place;
    }
    glance
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

    #[test]
    fn a_glance_sees_what_a_loop_over_the_entries_sees() {
        #[repr(align(64))]
        struct Line(Bucket);
        // Every interesting kind of word at every place, among each of the others; the lower lanes are full of tags.
        let tags = [0_u64, 1, 0x1234, 0x2AAA, 0x3FFF];
        for tag in tags {
            let low = tag * 0x0001_0001_0001;
            let uppers =
                [0, tag, tag | 0x4000, tag | 0x8000, tag ^ 1, tag ^ 0x2000 | 0x4000, tag ^ 0x1000 | 0x8000];
            for upper in uppers {
                for around in uppers {
                    for place in 0..8 {
                        let of = |at| if at == place { upper } else { around };
                        let line = Line(std::array::from_fn(|at| AtomicU64::new(of(at) << 48 | low)));
                        let bits = |wanted: &dyn Fn(u64) -> bool| {
                            (0..7).filter(|at| wanted(of(*at))).fold(0, |bits, at| bits | 1 << at)
                        };
                        let notable = bits(&|word| word & 0x3FFF == tag || word & 0x4000 != 0);
                        let expected = Glance { notable, vacant: bits(&|word| word == 0) };
                        assert_eq!(glance(&line.0, tag), expected, "{tag:#x}: {upper:#x} among {around:#x}");
                    }
                }
            }
        }
    }
}
