#![expect(unsafe_code, reason = "functions compiled for instructions that this processor was asked for")]
//! CRC-32C of bytes, of word memory, and of entries while they are copied: as the crate `crc32c` computes it, faster where it counts.
//!
//! Layer 1. Callers: block checksums of the hybrid log, entries of `log`. A state goes in and comes out, inverted as usual: 0 before the
//! first byte, and what comes out is the checksum.
//!
//! | input | how |
//! |---|---|
//! | from 2,040 bytes on | three lanes of 85 words: the instruction takes three cycles and can be started in each |
//! | from 192 bytes on | three lanes of 8 words |
//! | what is left | word by word, then 4, 2, 1 bytes |
//!
//! Lanes are joined by a carry-less multiplication with x to the number of bits that follow. In a reflected register, the product of
//! two states, taken as a word, is one power of x too high, and the instruction that reduces it adds 32 more: hence the 33 in `power`.
//! Word memory is loaded word by word, atomically: no copy of it is made.
//!
//! Other processors than x86-64, and those without the instructions, use the crate. `lanes_and_crate_agree` compares both.
//!
//! # Soundness
//! 1. A function that is compiled for SSE 4.2 and PCLMULQDQ is called only behind `available`, which asks the processor for both.

use oxifaster_device::sync::atomic::{AtomicU64, Ordering};

/// The state behind `bytes`.
#[inline]
#[must_use]
pub fn append(state: u32, bytes: &[u8]) -> u32 {
    #[cfg(target_arch = "x86_64")]
    if lanes::available() {
        // SAFETY: obligation 1.
        return unsafe { lanes::append(state, bytes) };
    }
    crc32c::crc32c_append(state, bytes)
}

/// The state behind words, each as eight little-endian bytes. Words that others change meanwhile count as they are met.
#[inline]
#[must_use]
pub fn append_words(state: u32, words: &[AtomicU64]) -> u32 {
    #[cfg(target_arch = "x86_64")]
    if lanes::available() {
        // SAFETY: obligation 1.
        return unsafe { lanes::append_words(state, words) };
    }
    portable::append_words(state, words)
}

/// The state behind an entry: a word and half a word in front of `payload`.
#[inline]
#[must_use]
pub fn append_entry(state: u32, word: u64, half: u32, payload: &[u8]) -> u32 {
    #[cfg(target_arch = "x86_64")]
    if lanes::available() {
        // SAFETY: obligation 1.
        return unsafe { lanes::append_entry(state, word, half, payload) };
    }
    portable::append_entry(state, word, half, payload)
}

/// [`append_entry`] that also stores the payload, filled up with zeros to a word, in `pieces`: in the first one as far as it goes, the
/// rest in the second. Stores are relaxed. What finds no room is not stored.
#[inline]
#[must_use]
pub fn store_entry(state: u32, word: u64, half: u32, payload: &[u8], pieces: [&[AtomicU64]; 2]) -> u32 {
    #[cfg(target_arch = "x86_64")]
    if lanes::available() {
        // SAFETY: obligation 1.
        return unsafe { lanes::store_entry(state, word, half, payload, pieces) };
    }
    portable::store_entry(state, word, half, payload, pieces)
}

/// The last bytes, fewer than eight, as a word.
#[inline(always)]
fn store_rest(rest: &[u8], to: Option<&AtomicU64>) {
    if let Some(to) = to.filter(|_| !rest.is_empty()) {
        let (fours, few) = rest.as_chunks::<4>();
        let high = few.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
        let word = fours.first().map_or(high, |four| high << 32 | u64::from(u32::from_le_bytes(*four)));
        to.store(word, Ordering::Relaxed);
    }
}

mod portable {
    //! The same by the crate.

    use super::{AtomicU64, Ordering, store_rest};

    pub(super) fn append_words(state: u32, words: &[AtomicU64]) -> u32 {
        words.iter().fold(state, |state, word| {
            crc32c::crc32c_append(state, &word.load(Ordering::Relaxed).to_le_bytes())
        })
    }

    pub(super) fn append_entry(state: u32, word: u64, half: u32, payload: &[u8]) -> u32 {
        let mut front = [0; 12];
        let (place, described) = front.split_at_mut(8);
        place.copy_from_slice(&word.to_le_bytes());
        described.copy_from_slice(&half.to_le_bytes());
        crc32c::crc32c_append(crc32c::crc32c_append(state, &front), payload)
    }

    pub(super) fn store_entry(
        state: u32,
        word: u64,
        half: u32,
        payload: &[u8],
        pieces: [&[AtomicU64]; 2],
    ) -> u32 {
        let [first, second] = pieces;
        let (for_first, for_second) = payload.split_at(payload.len().min(first.len() * 8));
        for (piece, bytes) in [(first, for_first), (second, for_second)] {
            let (whole, rest) = bytes.as_chunks::<8>();
            for (to, word) in piece.iter().zip(whole) {
                to.store(u64::from_le_bytes(*word), Ordering::Relaxed);
            }
            store_rest(rest, piece.get(whole.len()));
        }
        append_entry(state, word, half, payload)
    }
}

#[cfg(target_arch = "x86_64")]
mod lanes {
    //! The processor's instructions: three lanes at a time.

    use std::arch::x86_64::{
        _mm_clmulepi64_si128, _mm_crc32_u8, _mm_crc32_u16, _mm_crc32_u32, _mm_crc32_u64, _mm_cvtsi32_si128,
        _mm_cvtsi128_si64, _mm_xor_si128,
    };
    use std::iter::zip;

    use super::{AtomicU64, Ordering, store_rest};

    /// Words that are looked at once, in order.
    trait Run: Copy {
        fn len(self) -> usize;
        fn split_at(self, words: usize) -> (Self, Self);
        fn words(self) -> impl Iterator<Item = u64>;
    }

    impl Run for &[[u8; 8]] {
        #[inline(always)]
        fn len(self) -> usize {
            self.len()
        }

        #[inline(always)]
        fn split_at(self, words: usize) -> (Self, Self) {
            self.split_at(words)
        }

        #[inline(always)]
        fn words(self) -> impl Iterator<Item = u64> {
            self.iter().map(|word| u64::from_le_bytes(*word))
        }
    }

    impl Run for &[AtomicU64] {
        #[inline(always)]
        fn len(self) -> usize {
            self.len()
        }

        #[inline(always)]
        fn split_at(self, words: usize) -> (Self, Self) {
            self.split_at(words)
        }

        #[inline(always)]
        fn words(self) -> impl Iterator<Item = u64> {
            self.iter().map(|word| word.load(Ordering::Relaxed))
        }
    }

    /// Words, and where each is stored when it is looked at: as many.
    #[derive(Clone, Copy)]
    struct Copying<'m>(&'m [[u8; 8]], &'m [AtomicU64]);

    impl Run for Copying<'_> {
        #[inline(always)]
        fn len(self) -> usize {
            self.0.len()
        }

        #[inline(always)]
        fn split_at(self, words: usize) -> (Self, Self) {
            let (from, further_from) = self.0.split_at(words);
            let (to, further_to) = self.1.split_at(words);
            (Self(from, to), Self(further_from, further_to))
        }

        #[inline(always)]
        fn words(self) -> impl Iterator<Item = u64> {
            zip(self.0.words(), self.1).map(|(word, to)| {
                to.store(word, Ordering::Relaxed);
                word
            })
        }
    }

    /// Words of a lane, so that two times three lanes and two words are a block.
    const LONG: usize = 85;
    const SHORT: usize = 8;

    #[inline(always)]
    pub(super) fn available() -> bool {
        std::arch::is_x86_feature_detected!("sse4.2") && std::arch::is_x86_feature_detected!("pclmulqdq")
    }

    /// What a state is multiplied by to be so many words further: x to the power of the bits less 33, reflected.
    const fn power(words: usize) -> i32 {
        let mut value: u32 = 1 << 31;
        let mut times = words * 64 - 33;
        while times > 0 {
            value = if value & 1 == 0 { value >> 1 } else { value >> 1 ^ 0x82F6_3B78 };
            times -= 1;
        }
        value.cast_signed()
    }

    /// States are handled inverted and widened, as the instruction has them.
    #[inline(always)]
    fn enter(state: u32) -> u64 {
        u64::from(!state)
    }

    #[inline(always)]
    fn leave(crc: u64) -> u32 {
        !low(crc)
    }

    /// The upper half of what the instruction leaves is zero.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the upper half is zero")]
    fn low(crc: u64) -> u32 {
        crc as u32
    }

    #[target_feature(enable = "sse4.2,pclmulqdq")]
    pub(super) fn append(state: u32, bytes: &[u8]) -> u32 {
        let (words, rest) = bytes.as_chunks::<8>();
        leave(few_bytes(all(enter(state), words), rest))
    }

    #[target_feature(enable = "sse4.2,pclmulqdq")]
    pub(super) fn append_words(state: u32, words: &[AtomicU64]) -> u32 {
        leave(all(enter(state), words))
    }

    #[target_feature(enable = "sse4.2,pclmulqdq")]
    pub(super) fn append_entry(state: u32, word: u64, half: u32, payload: &[u8]) -> u32 {
        let (words, rest) = payload.as_chunks::<8>();
        leave(few_bytes(all(front(state, word, half), words), rest))
    }

    #[target_feature(enable = "sse4.2,pclmulqdq")]
    pub(super) fn store_entry(
        state: u32,
        word: u64,
        half: u32,
        payload: &[u8],
        pieces: [&[AtomicU64]; 2],
    ) -> u32 {
        let crc = front(state, word, half);
        let (words, rest) = payload.as_chunks::<8>();
        let [first, _] = pieces;
        if let Some((to, behind)) = first.split_at_checked(words.len())
            && (rest.is_empty() || !behind.is_empty())
        {
            store_rest(rest, behind.first());
            return leave(few_bytes(all(crc, Copying(words, to)), rest));
        }
        leave(in_two_pieces(crc, words, rest, pieces))
    }

    /// Once in a round of the memory.
    #[cold]
    #[inline(never)]
    #[target_feature(enable = "sse4.2,pclmulqdq")]
    fn in_two_pieces(crc: u64, words: &[[u8; 8]], rest: &[u8], pieces: [&[AtomicU64]; 2]) -> u64 {
        let [first, second] = pieces;
        let (for_first, for_second) = words.split_at(words.len().min(first.len()));
        let (to, behind) = second.split_at(for_second.len().min(second.len()));
        store_rest(rest, behind.first());
        let (for_second, without_room) = for_second.split_at(to.len());
        let crc = all(all(crc, Copying(for_first, first)), Copying(for_second, to));
        few_bytes(all(crc, without_room), rest)
    }

    #[inline]
    #[target_feature(enable = "sse4.2,pclmulqdq")]
    fn front(state: u32, word: u64, half: u32) -> u64 {
        u64::from(_mm_crc32_u32(low(_mm_crc32_u64(enter(state), word)), half))
    }

    #[inline]
    #[target_feature(enable = "sse4.2,pclmulqdq")]
    fn all(mut crc: u64, mut run: impl Run) -> u64 {
        while run.len() >= 3 * LONG {
            (crc, run) = three_lanes::<LONG, _>(crc, run, const { [power(2 * LONG), power(LONG)] });
        }
        while run.len() >= 3 * SHORT {
            (crc, run) = three_lanes::<SHORT, _>(crc, run, const { [power(2 * SHORT), power(SHORT)] });
        }
        run.words().fold(crc, |crc, word| _mm_crc32_u64(crc, word))
    }

    /// The state behind three lanes, and what is left. `powers`: for the two lanes that others follow.
    #[inline]
    #[target_feature(enable = "sse4.2,pclmulqdq")]
    fn three_lanes<const LANE: usize, R: Run>(crc: u64, run: R, powers: [i32; 2]) -> (u64, R) {
        let (first, rest) = run.split_at(LANE);
        let (second, rest) = rest.split_at(LANE);
        let (third, rest) = rest.split_at(LANE);
        let (mut one, mut two, mut three) = (crc, 0, 0);
        for ((first, second), third) in zip(zip(first.words(), second.words()), third.words()) {
            one = _mm_crc32_u64(one, first);
            two = _mm_crc32_u64(two, second);
            three = _mm_crc32_u64(three, third);
        }
        let [further_by_two, further_by_one] = powers;
        let state = |crc| _mm_cvtsi32_si128(low(crc).cast_signed());
        let one = _mm_clmulepi64_si128::<0>(state(one), _mm_cvtsi32_si128(further_by_two));
        let two = _mm_clmulepi64_si128::<0>(state(two), _mm_cvtsi32_si128(further_by_one));
        let both = _mm_cvtsi128_si64(_mm_xor_si128(one, two)).cast_unsigned();
        (_mm_crc32_u64(0, both) ^ three, rest)
    }

    /// Fewer than eight bytes.
    #[inline]
    #[target_feature(enable = "sse4.2,pclmulqdq")]
    fn few_bytes(crc: u64, bytes: &[u8]) -> u64 {
        let mut crc = low(crc);
        let (fours, bytes) = bytes.as_chunks::<4>();
        for four in fours {
            crc = _mm_crc32_u32(crc, u32::from_le_bytes(*four));
        }
        let (twos, bytes) = bytes.as_chunks::<2>();
        for two in twos {
            crc = _mm_crc32_u16(crc, u16::from_le_bytes(*two));
        }
        u64::from(bytes.iter().fold(crc, |crc, byte| _mm_crc32_u8(crc, *byte)))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words_of(bytes: &[u8]) -> Vec<AtomicU64> {
        bytes.as_chunks::<8>().0.iter().map(|word| AtomicU64::new(u64::from_le_bytes(*word))).collect()
    }

    fn pattern(len: usize) -> Vec<u8> {
        (0..len).map(|place| (place * 31 + place / 256).to_le_bytes()[0]).collect()
    }

    /// The entry as the crate sees it, and the payload as it should lie in memory.
    fn expected(state: u32, word: u64, half: u32, payload: &[u8]) -> (u32, Vec<u8>) {
        let mut whole = word.to_le_bytes().to_vec();
        whole.extend_from_slice(&half.to_le_bytes());
        whole.extend_from_slice(payload);
        let mut stored = payload.to_vec();
        stored.resize(payload.len().next_multiple_of(8), 0);
        (crc32c::crc32c_append(state, &whole), stored)
    }

    const WORD: u64 = 0x1234_5678_9ABC;
    const HALF: u32 = 0x1000_0064;

    type StoreEntry = fn(u32, u64, u32, &[u8], [&[AtomicU64]; 2]) -> u32;

    fn check(state: u32, bytes: &[u8], split: usize) {
        let len = bytes.len();
        assert_eq!(append(state, bytes), crc32c::crc32c_append(state, bytes), "{len} bytes");
        let words = words_of(bytes);
        let of_words = crc32c::crc32c_append(state, bytes.get(..words.len() * 8).unwrap_or_default());
        assert_eq!(append_words(state, &words), of_words, "{len} bytes");
        assert_eq!(portable::append_words(state, &words), of_words, "{len} bytes");
        let (checksum, stored) = expected(state, WORD, HALF, bytes);
        assert_eq!(append_entry(state, WORD, HALF, bytes), checksum, "{len} bytes");
        let memory: Vec<AtomicU64> = (0..stored.len() / 8).map(|_| AtomicU64::new(0)).collect();
        let (first, second) = memory.split_at(split.min(memory.len()));
        for store_entry in [store_entry as StoreEntry, portable::store_entry] {
            memory.iter().for_each(|word| word.store(u64::MAX, Ordering::Relaxed));
            assert_eq!(store_entry(state, WORD, HALF, bytes, [&[], &[]]), checksum, "{len} bytes");
            assert_eq!(store_entry(state, WORD, HALF, bytes, [first, second]), checksum, "{len}, {split}");
            let lies = memory.iter().flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes());
            assert!(lies.eq(stored.iter().copied()), "{len} bytes, split at {split}");
        }
    }

    /// Around every length at which another way begins.
    #[test]
    fn lanes_and_crate_agree() {
        let bytes = pattern(9_000);
        let around = [192, 384, 2_040, 2_048, 2_040 + 192, 4_080, 4_092, 4_096, 6_120, 8_192];
        let lengths = (0..300).chain(around.iter().flat_map(|len| len - 9..len + 10));
        for len in lengths {
            for split in [0, 1, len / 16, len / 8, len / 8 + 1] {
                check(0, bytes.get(..len).unwrap_or_default(), split);
                check(0xDEAD_BEEF, bytes.get(1..=len).unwrap_or_default(), split);
            }
        }
    }

    #[test]
    fn known_checksums() {
        // RFC 3720, appendix B.4.
        assert_eq!(append(0, &[0; 32]), 0x8A91_36AA);
        assert_eq!(append(0, &[0xFF; 32]), 0x62A8_AB43);
        assert_eq!(append(0, b"123456789"), 0xE306_9283);
    }

    proptest! {
        #[test]
        fn any_bytes_any_state(
            bytes in proptest::collection::vec(any::<u8>(), 0..5_000),
            state in any::<u32>(),
            split in 0_usize..700,
        ) {
            check(state, &bytes, split);
        }
    }
}
