//! Hashing of keys: which function, and which bits of its result mean what.
//!
//! Layer 1. Callers: `index` (bucket and tag), `store` (hashes the encoded key once per operation). The function is
//! recorded in the metadata area (docs/format/metadata.md) because index and cold chunks are rebuilt from it.
//!
//! ```text
//! bit 63 62 | 61 .. 48 | 47 .. 0
//!    unused | tag      | bucket number, from the low end
//! ```
//!
//! Bucket and tag share no bit, so an entry keeps its tag when the table doubles.
//!
//! Invariants: the value of a hash never changes for the same kind and bytes (golden tests below).

use xxhash_rust::{xxh3::xxh3_64, xxh64::xxh64};

/// The number of low bits that may choose a bucket.
pub const BUCKET_BITS: u32 = 48;
/// The number of bits of a tag.
pub const TAG_BITS: u32 = 14;

/// Which function hashes the keys of a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HashKind {
    /// XXH3, 64 bits, seed 0. Short keys of known length compile to a few multiplications without a call.
    #[default]
    Xxh3,
    /// XXH64, seed 0.
    Xxh64,
}

impl HashKind {
    /// The number that stands for this kind in the metadata area.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Xxh3 => 1,
            Self::Xxh64 => 2,
        }
    }

    /// The kind of a recorded number, if this version knows it.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Xxh3),
            2 => Some(Self::Xxh64),
            _ => None,
        }
    }

    /// Hashes the bytes of a key. For [`HashKind::Xxh3`] and a length the compiler knows (8 or 16 bytes) nothing but the
    /// branch-free path of that length is left.
    #[inline(always)]
    #[must_use]
    pub fn hash(self, bytes: &[u8]) -> KeyHash {
        match self {
            // The same bytes from a register: the function reads halves, which the compiler does not join in memory.
            Self::Xxh3 if let Ok(word) = <[u8; 8]>::try_from(bytes) => {
                KeyHash(xxh3_64(&u64::from_le_bytes(word).to_le_bytes()))
            }
            Self::Xxh3 => KeyHash(xxh3_64(bytes)),
            // Inline too: a call in one arm would make every operation of the other save registers for it.
            Self::Xxh64 if let Ok(word) = <[u8; 8]>::try_from(bytes) => {
                KeyHash(xxh64_of_word(u64::from_le_bytes(word)))
            }
            Self::Xxh64 => KeyHash(xxh64(bytes, 0)),
        }
    }
}

/// XXH64, seed 0, of eight bytes in little-endian order: one round and the avalanche.
#[inline(always)]
fn xxh64_of_word(word: u64) -> u64 {
    const PRIMES: [u64; 5] = [
        0x9E37_79B1_85EB_CA87,
        0xC2B2_AE3D_27D4_EB4F,
        0x1656_67B1_9E37_79F9,
        0x85EB_CA77_C2B2_AE63,
        0x27D4_EB2F_1656_67C5,
    ];
    let [first, second, third, fourth, fifth] = PRIMES;
    let round = word.wrapping_mul(second).rotate_left(31).wrapping_mul(first);
    let mut hash = fifth.wrapping_add(8) ^ round;
    hash = hash.rotate_left(27).wrapping_mul(first).wrapping_add(fourth);
    hash = (hash ^ hash >> 33).wrapping_mul(second);
    hash = (hash ^ hash >> 29).wrapping_mul(third);
    hash ^ hash >> 32
}

/// The hash of a key: chooses a bucket and gives a tag.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyHash(pub u64);

impl KeyHash {
    /// The bucket number under `mask` (number of buckets minus one).
    #[inline(always)]
    #[must_use]
    pub const fn bucket(self, mask: u64) -> u64 {
        self.0 & mask
    }

    /// The tag, `TAG_BITS` bits.
    #[inline(always)]
    #[must_use]
    pub const fn tag(self) -> u64 {
        (self.0 >> BUCKET_BITS) & ((1 << TAG_BITS) - 1)
    }
}

impl std::fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyHash({:#018x})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_hashes_as_its_bytes() {
        for word in (0..64).map(|bit| 1_u64 << bit).chain([0, u64::MAX, 0x0123_4567_89AB_CDEF]) {
            assert_eq!(xxh64_of_word(word), xxh64(&word.to_le_bytes(), 0), "{word:#x}");
        }
    }

    /// The public test vectors of the two functions (empty input), and our own frozen values for the rest.
    #[test]
    fn hashes_are_frozen() {
        let long: Vec<u8> = (0..=255_u8).cycle().take(1000).collect();
        let golden: [(&[u8], u64, u64); 6] = [
            (b"", 0x2d06_8005_38d3_94c2, 0xef46_db37_51d8_e999),
            (&42_u64.to_le_bytes(), 0xd5a6_f8c8_38df_27c8, 0xb556_806f_b6d1_4353),
            (&[0; 8], 0xc77b_3abb_6f87_acd9, 0x34c9_6acd_cadb_1bbb),
            (&[0xff; 16], 0x722a_202f_07a4_b313, 0xa721_445d_6a57_c444),
            (b"user:000001", 0x4334_488a_260d_decd, 0x1703_cc02_3453_8ec1),
            (&long, 0xd33d_d80b_46f6_0e50, 0x6ef4_36b0_0eba_4078),
        ];
        for (bytes, xxh3, xxh64) in golden {
            assert_eq!(HashKind::Xxh3.hash(bytes), KeyHash(xxh3), "xxh3 of {bytes:?}");
            assert_eq!(HashKind::Xxh64.hash(bytes), KeyHash(xxh64), "xxh64 of {bytes:?}");
        }
    }

    #[test]
    fn numbers_are_frozen() {
        assert_eq!((HashKind::Xxh3.number(), HashKind::Xxh64.number()), (1, 2));
        for number in 0..=u8::MAX {
            assert_eq!(HashKind::from_number(number).map_or(number, HashKind::number), number);
        }
        assert_eq!((HashKind::from_number(0), HashKind::from_number(3)), (None, None));
    }

    #[test]
    fn bucket_and_tag_share_no_bit() {
        let all_bucket = KeyHash((1 << BUCKET_BITS) - 1);
        assert_eq!((all_bucket.tag(), all_bucket.bucket(u64::MAX >> 16)), (0, (1 << 48) - 1));
        let all_tag = KeyHash(0x3fff << 48);
        assert_eq!((all_tag.tag(), all_tag.bucket((1 << BUCKET_BITS) - 1)), (0x3fff, 0));
        assert_eq!(KeyHash(3 << 62).tag(), 0, "the two top bits are not used");
    }
}
