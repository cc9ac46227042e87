//! Where the parts of a record lie; fixed by the codecs of a store.

use oxifaster_device::sync::atomic::{AtomicU64, Ordering};

use super::info::RecordInfo;
use crate::codec::{Extent, KeyCodec, PersistKey, PersistValue, ValueCodec};
use crate::error::{Error, ErrorKind};

/// The layout of a store's records. Constant-folds after inlining.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordLayout {
    key: Extent,
    value: Extent,
}

const fn words_of(bytes: usize) -> usize {
    bytes.div_ceil(8)
}

impl RecordLayout {
    /// The layout for keys and values of the given extents.
    #[must_use]
    pub const fn new(key: Extent, value: Extent) -> Self {
        Self { key, value }
    }

    /// The layout for the codecs of two types.
    #[must_use]
    pub const fn of<K: PersistKey, V: PersistValue>() -> Self {
        Self::new(<K::Codec as KeyCodec<K>>::EXTENT, <V::Codec as ValueCodec<V>>::EXTENT)
    }

    /// Values live in one word without a guard.
    #[inline(always)]
    #[must_use]
    pub const fn is_word(self) -> bool {
        matches!(self.value, Extent::Fixed(0..=8))
    }

    /// Records carry their size.
    #[inline(always)]
    #[must_use]
    pub const fn has_extent(self) -> bool {
        matches!(self.key, Extent::Varlen) || matches!(self.value, Extent::Varlen)
    }

    /// Values may change their length.
    #[inline(always)]
    #[must_use]
    pub const fn is_varlen_value(self) -> bool {
        matches!(self.value, Extent::Varlen)
    }

    /// Keys are one word.
    #[inline(always)]
    pub(super) const fn has_word_key(self) -> bool {
        matches!(self.key, Extent::Fixed(1..=8))
    }

    #[inline(always)]
    pub(super) const fn is_varlen_key(self) -> bool {
        matches!(self.key, Extent::Varlen)
    }

    /// Place of the guard word.
    #[inline(always)]
    pub(super) const fn guard_at(self) -> usize {
        1 + self.has_extent() as usize
    }

    /// Place of the key's first word.
    #[inline(always)]
    pub(super) const fn key_at(self) -> usize {
        1 + self.has_extent() as usize + !self.is_word() as usize
    }

    /// Place of the value's first word in a record with a key of `key_bytes`.
    #[inline(always)]
    pub(super) const fn value_at(self, key_bytes: usize) -> usize {
        let key_words = match self.key {
            Extent::Fixed(bytes) => words_of(bytes),
            Extent::Varlen => words_of(key_bytes),
        };
        self.key_at() + key_words
    }

    /// Words of a value's space when it is created with `value_bytes`.
    #[inline(always)]
    const fn value_words(self, value_bytes: usize) -> usize {
        match self.value {
            Extent::Fixed(0..=8) => 1,
            Extent::Fixed(bytes) => words_of(bytes),
            Extent::Varlen => words_of(value_bytes),
        }
    }

    #[inline(always)]
    pub(super) const fn fixed_key_bytes(self) -> Option<usize> {
        match self.key {
            Extent::Fixed(bytes) => Some(bytes),
            Extent::Varlen => None,
        }
    }

    #[inline(always)]
    pub(super) const fn fixed_value_bytes(self) -> Option<usize> {
        match self.value {
            Extent::Fixed(bytes) => Some(bytes),
            Extent::Varlen => None,
        }
    }

    /// Size in words of every record, if all have the same.
    #[inline(always)]
    #[must_use]
    pub const fn fixed_words(self) -> Option<usize> {
        if self.has_extent() { None } else { Some(self.value_at(0) + self.value_words(0)) }
    }

    /// Words that have to be read of any record before its size is known.
    #[must_use]
    pub fn header_words_min(self) -> u64 {
        if self.has_extent() { 2 } else { self.value_at(0) as u64 + self.value_words(0) as u64 }
    }

    /// Size in words of a record with a key and a value of so many bytes; `None` beyond 2^32 bytes.
    #[inline(always)]
    #[must_use]
    pub fn size_words(self, key_bytes: usize, value_bytes: usize) -> Option<u64> {
        if key_bytes > u32::MAX as usize || value_bytes > u32::MAX as usize {
            return None;
        }
        Some((self.value_at(key_bytes) + self.value_words(value_bytes)) as u64)
    }

    /// Size in words of the record that starts at `words[0]`, whose words are not trusted: there is a header of a record,
    /// and the parts that the record claims to have fit into it. The slice may be shorter than the record, but must hold
    /// its header and extent; the value's length is checked if its guard is there.
    ///
    /// # Errors
    /// `Corruption` when no record looks like this.
    pub fn size_in(self, words: &[AtomicU64]) -> Result<u64, Error> {
        let damaged = |what: &str| Error::new(ErrorKind::Corruption, what.to_owned());
        let word = |at: usize| words.get(at).map(|word| word.load(Ordering::Relaxed));
        let info = RecordInfo::from_bits(word(0).unwrap_or(0));
        if !info.is_well_formed() || info.is_filler() {
            return Err(damaged(
                "no record begins here: its header is zero, unused space or of an unknown format",
            ));
        }
        if !self.has_extent() {
            return Ok(self.header_words_min());
        }
        let extent = word(1).ok_or_else(|| damaged("a record has no room for its extent"))?;
        let (size, key_bytes) = split(extent);
        let value_at = self.value_at(key_bytes as usize) as u64;
        let value_words = match word(self.guard_at()) {
            // The value of a tombstone means nothing.
            Some(_) if info.is_tombstone() && self.is_varlen_value() => 0,
            Some(guard) if self.is_varlen_value() => self.value_words(split(guard).0 as usize),
            _ => self.value_words(0),
        };
        if u64::from(size) < value_at + value_words as u64 {
            return Err(damaged("a record is smaller than its parts"));
        }
        Ok(u64::from(size))
    }
}

/// Low and high half of a word.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the halves of a word are what is wanted")]
pub(super) const fn split(word: u64) -> (u32, u32) {
    (word as u32, (word >> 32) as u32)
}

/// A word from its halves.
#[inline(always)]
pub(super) const fn join(low: u32, high: u32) -> u64 {
    low as u64 | (high as u64) << 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_follow_the_format() {
        let sizes = |layout: RecordLayout| layout.size_words(8, 8).unwrap();
        assert_eq!(sizes(RecordLayout::of::<u64, u64>()), 3);
        assert_eq!(sizes(RecordLayout::of::<u64, u8>()), 3);
        assert_eq!(sizes(RecordLayout::of::<u64, ()>()), 3);
        assert_eq!(sizes(RecordLayout::of::<u64, [u64; 2]>()), 1 + 1 + 1 + 2);
        assert_eq!(sizes(RecordLayout::of::<u64, Vec<u8>>()), 1 + 2 + 1 + 1);
        assert_eq!(sizes(RecordLayout::of::<String, u64>()), 1 + 1 + 1 + 1);
        assert_eq!(sizes(RecordLayout::of::<String, [u64; 2]>()), 1 + 2 + 1 + 2);
        assert_eq!(sizes(RecordLayout::of::<String, String>()), 1 + 2 + 1 + 1);
        assert_eq!(RecordLayout::of::<String, String>().size_words(0, 0).unwrap(), 3);
        assert_eq!(RecordLayout::of::<String, String>().size_words(9, 17).unwrap(), 3 + 2 + 3);
    }

    #[test]
    fn untrusted_sizes_are_checked() {
        let layout = RecordLayout::of::<String, String>();
        let words = |extent: u64| [AtomicU64::new(1 << 63), AtomicU64::new(extent)];
        assert_eq!(layout.size_in(&words(join(4, 8))).unwrap(), 4);
        assert!(layout.size_in(&words(join(3, 8))).is_err());
        assert!(layout.size_in(&words(join(4, u32::MAX))).is_err());
        assert!(layout.size_in(&words(0)).is_err());
        assert!(layout.size_in(&words(0)[..1]).is_err());
    }
    #[test]
    fn untrusted_headers_and_value_lengths_are_checked() {
        let word = RecordLayout::of::<u64, u64>();
        let header = |bits: u64| [AtomicU64::new(bits), AtomicU64::new(0), AtomicU64::new(0)];
        assert_eq!(word.size_in(&header(1 << 63 | 5)).unwrap(), 3);
        for no_record in [0, 5, RecordInfo::filler(3).bits(), 1 << 63 | 1 << 60, 1 << 63 | 1 << 54] {
            let error = word.size_in(&header(no_record)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corruption, "{no_record:#x}");
        }
        assert!(word.size_in(&[]).is_err());
        // A record of 6 words: 3, a key of 8 bytes, a value that may have 16 bytes.
        let varlen = RecordLayout::of::<String, String>();
        let record = |flags: u64, value_len: u32| {
            [1 << 63 | flags, join(6, 8), join(value_len, 0), 0, 0, 0].map(AtomicU64::new)
        };
        assert_eq!(varlen.size_in(&record(0, 16)).unwrap(), 6);
        assert!(varlen.size_in(&record(0, 17)).is_err());
        assert!(varlen.size_in(&record(0, u32::MAX)).is_err());
        assert_eq!(varlen.size_in(&record(RecordInfo::TOMBSTONE, u32::MAX)).unwrap(), 6);
        let fixed = RecordLayout::of::<String, [u64; 2]>();
        assert!(fixed.size_in(&[1 << 63, join(5, 8), 0].map(AtomicU64::new)).is_err());
        assert_eq!(fixed.size_in(&[1 << 63, join(6, 8), u64::MAX].map(AtomicU64::new)).unwrap(), 6);
    }
}
