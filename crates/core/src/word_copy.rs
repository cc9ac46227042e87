#![expect(unsafe_code, reason = "the processor moves two words at a time; see below")]
//! Copies between word memory that others may look at meanwhile and bytes of one's own.
//!
//! Layer 1. Callers: `record`, for values and keys longer than a word. The compiler does not turn relaxed loads or stores into wider ones, and what
//! limits a processor that works ahead over cache misses is not only instructions: it keeps some 70 loads and 50 stores in mind. A read of
//! 100 bytes word by word, and the move of its result, took most of them for itself.
//!
//! A copy is no snapshot, neither here nor there: bytes of different moments may come side by side, also within a word. Who may meet a writer
//! asks the record's sequence (`record`, rule 2).
//!
//! # Soundness
//! 1. The words are memory behind a shared reference to atomics, so it may be read and written; the instructions read or write the 16 bytes of
//!    two words, and nothing else. That others may access them meanwhile argues from the processor, not from the language, which has no
//!    accesses of such a kind: x86-64 moves the aligned halves whole in practice, and nobody here needs even that; it keeps loads in the order of
//!    loads and stores in the order of stores. The compiler sees reads (`readonly`), or accesses to any memory, which it moves over no fence and
//!    over no access with acquire or release.
//! 2. x86-64 has SSE2. The instructions do not ask for alignment.
//!
//! Loom and Miri see the portable form. The real one is watched by the tests below and by `torn_value*` of `tests/scenarios/values.rs`.

use oxifaster_device::sync::atomic::{AtomicU64, Ordering};

use crate::codec::word_of;
#[cfg(not(all(target_arch = "x86_64", not(loom), not(miri))))]
use portable::{load_block, load_pair, store_block, store_pair};
#[cfg(all(target_arch = "x86_64", not(loom), not(miri)))]
use wide::{load_block, load_pair, store_block, store_pair};

/// Pairs that are copied without a branch between them.
const PAIRS: usize = 4;

type Pair = [AtomicU64; 2];
type PairBytes = [u8; 16];

/// Loads `to` from the words that hold so many bytes.
#[inline(always)]
pub(crate) fn load_bytes(from: &[AtomicU64], to: &mut [u8]) {
    debug_assert_eq!(from.len(), to.len().div_ceil(8), "words for so many bytes");
    // The same number for both sides, so that no loop looks at two ends.
    let pairs = (to.len() / 16).min(from.len() / 2);
    let (to, to_rest) = to.split_at_mut(pairs * 16);
    let (from, from_rest) = from.split_at(pairs * 2);
    let (to_blocks, to_few) = to.as_chunks_mut::<16>().0.as_chunks_mut::<PAIRS>();
    let (from_blocks, from_few) = from.as_chunks::<2>().0.as_chunks::<PAIRS>();
    from_blocks.iter().zip(to_blocks).for_each(|(from, to)| *to = load_block(from));
    from_few.iter().zip(to_few).for_each(|(from, to)| *to = load_pair(from));
    let (to_word, to_last) = match to_rest.split_first_chunk_mut::<8>() {
        Some((word, last)) => (Some(word), last),
        None => (None, to_rest),
    };
    let mut from = from_rest.iter().map(|word| word.load(Ordering::Relaxed).to_le_bytes());
    if let Some(to) = to_word {
        *to = from.next().unwrap_or_default();
    }
    if !to_last.is_empty() {
        to_last.iter_mut().zip(from.next().unwrap_or_default()).for_each(|(to, byte)| *to = byte);
    }
}

/// Appends the first `len` bytes of the words that hold so many, and makes room for no more than those.
#[inline(always)]
pub(crate) fn append_bytes(from: &[AtomicU64], len: usize, to: &mut Vec<u8>) {
    debug_assert_eq!(from.len(), len.div_ceil(8), "words for so many bytes");
    to.reserve(len);
    let before = to.len();
    if to.capacity() - before < from.len() * 8 {
        return append_exactly(from, len, to);
    }
    // Whole words, without a copy of any length at the end.
    let (pairs, odd) = from.as_chunks::<2>();
    let (blocks, few) = pairs.as_chunks::<PAIRS>();
    for from in blocks {
        to.extend_from_slice(load_block(from).as_flattened());
    }
    for from in few {
        to.extend_from_slice(&load_pair(from));
    }
    for from in odd {
        to.extend_from_slice(&from.load(Ordering::Relaxed).to_le_bytes());
    }
    to.truncate(before + len);
}

/// The same where the last word as a whole has no room.
#[cold]
fn append_exactly(from: &[AtomicU64], len: usize, to: &mut Vec<u8>) {
    let bytes = from.iter().flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes());
    to.extend(bytes.take(len));
}

/// Stores `from` into the words that hold so many bytes, the last one padded with zeros.
#[inline(always)]
pub(crate) fn store_bytes(to: &[AtomicU64], from: &[u8]) {
    debug_assert_eq!(to.len(), from.len().div_ceil(8), "words for so many bytes");
    let pairs = (from.len() / 16).min(to.len() / 2);
    let (from, from_rest) = from.split_at(pairs * 16);
    let (to, to_rest) = to.split_at(pairs * 2);
    let (from_blocks, from_few) = from.as_chunks::<16>().0.as_chunks::<PAIRS>();
    let (to_blocks, to_few) = to.as_chunks::<2>().0.as_chunks::<PAIRS>();
    to_blocks.iter().zip(from_blocks).for_each(|(to, from)| store_block(to, from));
    to_few.iter().zip(from_few).for_each(|(to, from)| store_pair(to, from));
    let (from_word, from_last) = match from_rest.split_first_chunk::<8>() {
        Some((word, last)) => (Some(word), last),
        None => (None, from_rest),
    };
    let mut to = to_rest.iter();
    if let Some((to, from)) = from_word.and_then(|from| Some((to.next()?, from))) {
        to.store(u64::from_le_bytes(*from), Ordering::Relaxed);
    }
    if let Some(to) = to.next() {
        to.store(word_of(from_last), Ordering::Relaxed);
    }
}

#[cfg(all(target_arch = "x86_64", not(loom), not(miri)))]
mod wide {
    use std::arch::asm;
    use std::arch::x86_64::__m128i;

    use super::{PAIRS, Pair, PairBytes};

    #[inline(always)]
    pub(super) fn load_pair(from: &Pair) -> PairBytes {
        let pair: __m128i;
        // SAFETY: obligations 1 and 2.
        unsafe {
            asm!(
                "movdqu {pair}, xmmword ptr [{from}]",
                from = in(reg) from,
                pair = out(xmm_reg) pair,
                options(readonly, nostack, preserves_flags),
            );
        }
        bytemuck::cast(pair)
    }

    #[inline(always)]
    pub(super) fn store_pair(to: &Pair, from: &PairBytes) {
        let pair: __m128i = bytemuck::cast(*from);
        // SAFETY: obligations 1 and 2.
        unsafe {
            asm!(
                "movdqu xmmword ptr [{to}], {pair}",
                to = in(reg) to,
                pair = in(xmm_reg) pair,
                options(nostack, preserves_flags),
            );
        }
    }

    /// As four pairs, with one register for their addresses.
    #[inline(always)]
    pub(super) fn load_block(from: &[Pair; PAIRS]) -> [PairBytes; PAIRS] {
        let (first, second, third, fourth): (__m128i, __m128i, __m128i, __m128i);
        // SAFETY: obligations 1 and 2.
        unsafe {
            asm!(
                "movdqu {first}, xmmword ptr [{from}]",
                "movdqu {second}, xmmword ptr [{from} + 16]",
                "movdqu {third}, xmmword ptr [{from} + 32]",
                "movdqu {fourth}, xmmword ptr [{from} + 48]",
                from = in(reg) from,
                first = out(xmm_reg) first,
                second = out(xmm_reg) second,
                third = out(xmm_reg) third,
                fourth = out(xmm_reg) fourth,
                options(readonly, nostack, preserves_flags),
            );
        }
        [first, second, third, fourth].map(bytemuck::cast)
    }

    #[inline(always)]
    pub(super) fn store_block(to: &[Pair; PAIRS], from: &[PairBytes; PAIRS]) {
        let [first, second, third, fourth] = from.map(bytemuck::cast::<PairBytes, __m128i>);
        // SAFETY: obligations 1 and 2.
        unsafe {
            asm!(
                "movdqu xmmword ptr [{to}], {first}",
                "movdqu xmmword ptr [{to} + 16], {second}",
                "movdqu xmmword ptr [{to} + 32], {third}",
                "movdqu xmmword ptr [{to} + 48], {fourth}",
                to = in(reg) to,
                first = in(xmm_reg) first,
                second = in(xmm_reg) second,
                third = in(xmm_reg) third,
                fourth = in(xmm_reg) fourth,
                options(nostack, preserves_flags),
            );
        }
    }
}

#[cfg(any(test, not(all(target_arch = "x86_64", not(loom), not(miri)))))]
mod portable {
    use oxifaster_device::sync::atomic::Ordering;

    use super::{PAIRS, Pair, PairBytes};

    #[inline(always)]
    pub(super) fn load_pair(from: &Pair) -> PairBytes {
        bytemuck::cast(from.each_ref().map(|word| word.load(Ordering::Relaxed).to_le_bytes()))
    }

    #[inline(always)]
    pub(super) fn store_pair(to: &Pair, from: &PairBytes) {
        let (from, _) = from.as_chunks::<8>();
        to.iter().zip(from).for_each(|(to, from)| to.store(u64::from_le_bytes(*from), Ordering::Relaxed));
    }

    #[inline(always)]
    pub(super) fn load_block(from: &[Pair; PAIRS]) -> [PairBytes; PAIRS] {
        from.each_ref().map(load_pair)
    }

    #[inline(always)]
    pub(super) fn store_block(to: &[Pair; PAIRS], from: &[PairBytes; PAIRS]) {
        to.iter().zip(from).for_each(|(to, from)| store_pair(to, from));
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// Another byte than its neighbours' at each place.
    fn bytes(len: usize) -> Vec<u8> {
        (1..=250_u8).cycle().take(len).collect()
    }

    fn words(len: usize) -> Vec<AtomicU64> {
        (0..len).map(|_| AtomicU64::new(u64::MAX)).collect()
    }

    #[test]
    fn exactly_the_bytes_are_stored_and_loaded() {
        for len in 0..300_usize {
            for start in 0..3 {
                let (bytes, count) = (bytes(len), len.div_ceil(8));
                let memory = words(start + count + 2);
                let place = memory.get(start..start + count).unwrap();
                store_bytes(place, &bytes);
                let padded: Vec<u8> = bytes.iter().copied().chain([0; 8]).take(count * 8).collect();
                for (at, word) in memory.iter().enumerate() {
                    let expected =
                        match at.checked_sub(start).and_then(|at| padded.as_chunks::<8>().0.get(at)) {
                            Some(bytes) => u64::from_le_bytes(*bytes),
                            None => u64::MAX,
                        };
                    assert_eq!(word.load(Ordering::Relaxed), expected, "{len} bytes from {start}: word {at}");
                }
                let mut loaded = vec![0; len];
                load_bytes(place, &mut loaded);
                assert_eq!(loaded, bytes, "{len} bytes from {start}");
                for spare in [0, 9] {
                    let mut appended = Vec::with_capacity(len + 3 + spare);
                    appended.extend_from_slice(b"abc");
                    let memory = appended.as_ptr();
                    append_bytes(place, len, &mut appended);
                    assert_eq!(appended, [b"abc", bytes.as_slice()].concat(), "{len} bytes from {start}");
                    assert_eq!(appended.as_ptr(), memory, "{len} bytes had room");
                }
            }
        }
    }

    #[test]
    fn the_portable_form_does_the_same() {
        let (from, wide, other) = (bytes(64), words(9), words(9));
        for start in 0..2 {
            fn pairs(words: &[AtomicU64], start: usize) -> &[Pair; PAIRS] {
                words.get(start..).unwrap().as_chunks::<2>().0.first_chunk().unwrap()
            }
            let bytes = from.as_chunks::<16>().0.first_chunk().unwrap();
            store_block(pairs(&wide, start), bytes);
            portable::store_block(pairs(&other, start), bytes);
            let loaded = |words: &[AtomicU64]| -> Vec<u64> {
                words.iter().map(|word| word.load(Ordering::Relaxed)).collect()
            };
            assert_eq!(loaded(&wide), loaded(&other));
            assert_eq!(load_block(pairs(&wide, start)), portable::load_block(pairs(&wide, start)));
            let [pair, ..] = pairs(&wide, start);
            assert_eq!(load_pair(pair), portable::load_pair(pair));
        }
    }
}
