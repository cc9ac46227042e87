//! A record in memory: reading it, writing it before publication, changing word values.

use oxifaster_device::sync::atomic::{AtomicU64, Ordering, fence};
use oxifaster_device::sync::{canary, thread};

use super::info::{RecordFlags, RecordInfo};
use super::latch::{LatchError, Latched};
use super::layout::{RecordLayout, join, split};
use crate::address::Address;
use crate::codec::word_of;
use crate::error::{Error, ErrorKind};
use crate::mutation::{Mutation, planted};
use crate::word_copy;

/// Rounds in which a reader tries to get between the writers before it gives up for now.
const READ_ROUNDS_MAX: u32 = if cfg!(loom) { 2 } else { 64 };

/// A record whose words are lent by `'g`: from its header to its end or farther.
#[derive(Clone, Copy, Debug)]
pub struct RecordRef<'g> {
    words: &'g [AtomicU64],
    layout: RecordLayout,
}

/// Proof of which state of a value was copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The guard word that the copy was made at.
    pub sequence: u64,
    /// Bytes that were copied.
    pub len_bytes: usize,
}

/// Memory that a buffer keeps between values of at most this size, in words: 1 MiB.
const KEPT_WORDS_MAX: usize = 128 << 10;

/// A growing buffer of words that values are copied into; reused, so that copying does not allocate. One value of more than
/// 1 MiB does not keep its memory: the next smaller one gives it back.
#[derive(Debug, Default)]
pub struct WordBuffer {
    words: Vec<u64>,
    len_bytes: usize,
}

impl WordBuffer {
    /// The bytes copied last.
    #[inline(always)]
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        bytemuck::cast_slice(&self.words).get(..self.len_bytes).unwrap_or_default()
    }

    /// Replaces the content.
    pub fn set(&mut self, bytes: &[u8]) {
        for (word, bytes) in self.start(bytes.len().div_ceil(8)).iter_mut().zip(bytes.chunks(8)) {
            *word = word_of(bytes);
        }
        self.len_bytes = bytes.len();
    }

    /// The memory that the buffer holds, in words.
    #[must_use]
    pub fn memory_words(&self) -> usize {
        self.words.capacity()
    }

    /// So many words to be filled, with any content. What a large value needed is given back as soon as a smaller one comes.
    #[inline(always)]
    fn start(&mut self, words: usize) -> &mut [u64] {
        if words > self.words.len() || (self.words.len() > KEPT_WORDS_MAX && words <= KEPT_WORDS_MAX) {
            self.resize(words);
        }
        self.words.get_mut(..words).unwrap_or_default()
    }

    /// Room for `words` and some more, so that values that grow by a little don't come here each time.
    #[cold]
    #[inline(never)]
    fn resize(&mut self, words: usize) {
        // Not resized in place: old content would be copied.
        self.words = vec![0; if words > KEPT_WORDS_MAX { words } else { words.next_power_of_two() }];
    }
}

impl<'g> RecordRef<'g> {
    /// The record that starts at `words[0]`.
    #[inline(always)]
    #[must_use]
    pub fn new(words: &'g [AtomicU64], layout: RecordLayout) -> Self {
        Self { words, layout }
    }

    #[inline(always)]
    #[expect(
        clippy::indexing_slicing,
        reason = "a record's parts lie inside of its page; a made-up record may panic"
    )]
    pub(super) fn word(self, at: usize) -> &'g AtomicU64 {
        &self.words[at]
    }

    /// The header. Acquire pairs with the Release of a tombstone, a seal or an unlatch.
    #[inline(always)]
    #[must_use]
    pub fn info(self) -> RecordInfo {
        RecordInfo::from_bits(self.word(0).load(Ordering::Acquire))
    }

    #[inline(always)]
    fn extent(self) -> (u32, u32) {
        split(self.word(1).load(Ordering::Relaxed))
    }

    #[inline(always)]
    fn key_len(self) -> usize {
        self.layout.fixed_key_bytes().unwrap_or_else(|| self.extent().1 as usize)
    }

    /// Place of the value's first word.
    #[inline(always)]
    pub(super) fn value_start(self) -> usize {
        if self.layout.is_varlen_key() {
            self.layout.value_at(self.key_len())
        } else {
            self.layout.value_at(0)
        }
    }

    /// Whether this is the record of the key with these bytes.
    #[inline(always)]
    #[must_use]
    pub fn key_equals(self, key: &[u8]) -> bool {
        if self.layout.is_varlen_key() && self.extent().1 as usize != key.len() {
            return false;
        }
        let at = self.layout.key_at();
        if self.layout.has_word_key() {
            // One comparison without a loop: the common case of the hot path.
            return self.word(at).load(Ordering::Relaxed) == word_of(key);
        }
        let Some(words) = self.words.get(at..at + key.len().div_ceil(8)) else { return false };
        let (whole, rest) = key.as_chunks::<8>();
        let whole_equal = words
            .iter()
            .zip(whole)
            .all(|(word, bytes)| word.load(Ordering::Relaxed) == u64::from_le_bytes(*bytes));
        let rest_equal =
            || words.last().is_some_and(|word| word.load(Ordering::Relaxed) == last_word(key, rest));
        whole_equal && (rest.is_empty() || rest_equal())
    }

    /// Copies the key's bytes.
    pub fn copy_key(self, key: &mut Vec<u8>) {
        copy_bytes(self.words, self.layout.key_at(), self.key_len(), key);
    }

    /// Writes a whole record that nobody else can see yet.
    #[inline(always)]
    pub fn write_new(self, previous: Address, key: &[u8], value: &[u8], flags: RecordFlags) {
        if self.layout.has_extent() {
            let size = u32::try_from(self.words.len()).unwrap_or(u32::MAX);
            let key_len = u32::try_from(key.len()).unwrap_or(u32::MAX);
            self.word(1).store(join(size, key_len), Ordering::Relaxed);
        }
        if !self.layout.is_word() {
            let len = u32::try_from(value.len()).unwrap_or(u32::MAX);
            let guard = if self.layout.is_varlen_value() { join(len, 0) } else { 0 };
            self.word(self.layout.guard_at()).store(guard, Ordering::Relaxed);
        }
        if self.layout.has_word_key() {
            self.word(self.layout.key_at()).store(word_of(key), Ordering::Relaxed);
        } else {
            self.store_bytes(self.layout.key_at(), key);
        }
        if self.layout.is_word() {
            self.word(self.layout.value_at(key.len())).store(word_of(value), Ordering::Relaxed);
        } else {
            self.store_bytes(self.layout.value_at(key.len()), value);
        }
        self.word(0).store(RecordInfo::new(previous, flags).bits(), Ordering::Relaxed);
    }

    #[inline(always)]
    pub(super) fn store_bytes(self, at: usize, bytes: &[u8]) {
        let words = self.words.get(at..at + bytes.len().div_ceil(8));
        debug_assert!(words.is_some(), "{} bytes do not fit", bytes.len());
        // In this form the compiler knows how many words there are when it knows how many bytes.
        if let Some(words) = words {
            word_copy::store_bytes(words, bytes);
        }
    }

    /// Marks a record that lost the race to be published. Only its writer, before its guard ends.
    pub fn mark_invalid(self) {
        self.word(0).fetch_or(RecordInfo::INVALID, Ordering::Release);
    }

    /// The word of a word record. Acquire pairs with the stores of word values.
    #[inline(always)]
    #[must_use]
    pub fn load_word(self) -> u64 {
        self.word(self.value_start()).load(Ordering::Acquire)
    }

    /// The value of a word record, `None` for other classes. Acquire pairs with the stores of word values.
    #[inline(always)]
    #[must_use]
    pub fn load_word_value(self) -> Option<u64> {
        self.layout.is_word().then(|| self.load_word())
    }

    /// Stores the value of a word record; false for other classes. Release: whoever reads it sees what the writer saw.
    #[inline(always)]
    #[must_use]
    pub fn store_word_value(self, value: &[u8]) -> bool {
        if self.layout.is_word() {
            self.store_word(word_of(value));
        }
        self.layout.is_word()
    }

    /// Stores the word of a word record.
    #[inline(always)]
    pub fn store_word(self, word: u64) {
        self.word(self.value_start()).store(word, Ordering::Release);
    }

    /// Replaces the word of a word record if it is still `current`.
    ///
    /// # Errors
    /// The word that is there instead.
    #[inline(always)]
    pub fn compare_exchange_word(self, current: u64, new: u64) -> Result<(), u64> {
        self.word(self.value_start())
            .compare_exchange(current, new, Ordering::AcqRel, Ordering::Acquire)
            .map(|_| ())
    }

    /// Adds to the word of a word record, wrapping; returns the word before.
    #[inline(always)]
    #[must_use]
    pub fn fetch_add_word(self, delta: u64) -> u64 {
        self.word(self.value_start()).fetch_add(delta, Ordering::AcqRel)
    }

    /// Sets bits of the header of a live record that nobody has latched (rule 6). `AcqRel` pairs with `info`.
    fn try_set(self, bits: u64) -> bool {
        let unless = RecordInfo::SEALED | RecordInfo::TOMBSTONE | RecordInfo::INVALID;
        let unless = unless | if planted(Mutation::RecordBitsIgnoreLatch) { 0 } else { RecordInfo::LATCH };
        let header = self.word(0);
        let mut seen = header.load(Ordering::Relaxed);
        while seen & unless == 0 {
            match header.compare_exchange_weak(seen, seen | bits, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(other) => seen = other,
            }
        }
        false
    }

    /// Sets header bits and gives the latch back. Only for its holder, who alone changes the header meanwhile (rule 6):
    /// so a load and a store lose nothing. Release pairs with the Acquire of the next holder, and of `info`.
    #[inline(always)]
    pub(super) fn store_unlatched(self, bits: u64) {
        let order =
            if planted(Mutation::RecordUnlatchRelaxed) { Ordering::Relaxed } else { Ordering::Release };
        let latched = self.word(0).load(Ordering::Relaxed);
        self.word(0).store((latched | bits) & !RecordInfo::LATCH, order);
    }

    /// Seals a live record that nobody has latched: for whoever waits until all who may have seen it unsealed have left,
    /// and then copies or removes it.
    #[must_use]
    pub fn try_seal(self) -> bool {
        self.try_set(RecordInfo::SEALED)
    }

    /// Takes back a seal of [`try_seal`](Self::try_seal) whose copy was not published. Only by who sealed it: nobody has
    /// changed the record meanwhile, and whoever met the seal looks the key up again.
    pub fn unseal(self) {
        self.word(0).fetch_and(!RecordInfo::SEALED, Ordering::Release);
    }

    /// Sets the tombstone of a word record that the caller has sealed.
    pub fn set_tombstone_sealed(self) {
        self.word(0).fetch_or(RecordInfo::TOMBSTONE, Ordering::AcqRel);
    }

    /// Sets the tombstone of a live mutable record; false when somebody else is inside, or it is not live any more.
    #[must_use]
    pub fn try_set_tombstone(self) -> bool {
        if self.layout.is_word() {
            return self.try_set(RecordInfo::TOMBSTONE);
        }
        match self.try_latch() {
            Ok(latched) => {
                latched.set_tombstone();
                true
            }
            Err(_) => false,
        }
    }

    /// Takes the latch.
    ///
    /// # Errors
    /// Why it can't be had.
    #[inline(always)]
    pub fn try_latch(self) -> Result<Latched<'g>, LatchError> {
        Latched::take(self, self.layout)
    }

    /// Bytes that the value's words can hold.
    #[inline(always)]
    pub(super) fn value_capacity(self) -> usize {
        match self.layout.fixed_value_bytes() {
            Some(bytes) => bytes,
            None => (self.extent().0 as usize).saturating_sub(self.value_start()) * 8,
        }
    }

    /// Whether a value of `len` bytes fits without a new record.
    #[inline(always)]
    #[must_use]
    pub fn fits(self, len: usize) -> bool {
        len <= self.value_capacity()
    }

    /// Copies the value of a fixed or varlen record; `None` when writers kept getting in the way.
    #[inline(always)]
    pub fn read_value(self, out: &mut WordBuffer) -> Option<Snapshot> {
        self.read_words(|words, len_bytes| {
            word_copy::load_bytes(words, bytemuck::cast_slice_mut(out.start(words.len())));
            out.len_bytes = len_bytes;
        })
    }

    /// Copies the value of a fixed record into `out`, which is as long; `None` when writers kept getting in the way, and `out` is any
    /// bytes then.
    #[inline(always)]
    #[must_use]
    pub fn read_fixed(self, out: &mut [u8]) -> Option<Snapshot> {
        self.read_words(|words, _| word_copy::load_bytes(words, out))
    }

    /// Replaces the content of `out` by the value of a fixed or varlen record; false when writers kept getting in the way, and `out` has
    /// any content then.
    #[inline(always)]
    #[must_use]
    pub fn read_bytes(self, out: &mut Vec<u8>) -> bool {
        let copied = self.read_words(|words, len_bytes| {
            out.clear();
            word_copy::append_bytes(words, len_bytes, out);
        });
        copied.is_some()
    }

    /// Lets `copy` look at the words of a fixed or varlen value, again if somebody has written them meanwhile.
    #[inline(always)]
    fn read_words(self, mut copy: impl FnMut(&[AtomicU64], usize)) -> Option<Snapshot> {
        let guard = self.word(self.layout.guard_at());
        let value_at = self.value_start();
        for _ in 0..READ_ROUNDS_MAX {
            // Acquire pairs with the Release store of the even sequence (rule 2).
            let order =
                if planted(Mutation::RecordSequenceRelaxed) { Ordering::Relaxed } else { Ordering::Acquire };
            let sequence = guard.load(order);
            if self.is_odd(sequence) {
                thread::spin_hint();
                continue;
            }
            let len_bytes = self.layout.fixed_value_bytes().unwrap_or(split(sequence).0 as usize);
            copy(self.words.get(value_at..value_at + len_bytes.div_ceil(8))?, len_bytes);
            // Pairs with the writer's Release fence: if a word came from a later write, its odd sequence is seen below.
            if !planted(Mutation::RecordReadWithoutFence) {
                fence(Ordering::Acquire);
            }
            let unchanged = guard.load(Ordering::Relaxed) == sequence;
            if unchanged
                || canary::armed("skip_sequence_recheck")
                || planted(Mutation::RecordReadWithoutRecheck)
            {
                return Some(Snapshot { sequence, len_bytes });
            }
        }
        None
    }

    #[inline(always)]
    pub(super) fn is_odd(self, sequence: u64) -> bool {
        let bit = if self.layout.is_varlen_value() { 1 << 32 } else { 1 };
        sequence & bit != 0
    }

    /// Copies the value of a record that can't change (below safe-read-only, or read from a device and not trusted).
    ///
    /// # Errors
    /// `Corruption` when the value does not fit into the record.
    pub fn value_bytes_immutable(self) -> Result<Vec<u8>, Error> {
        let at = self.value_start();
        let len = match self.layout.fixed_value_bytes() {
            Some(bytes) => bytes,
            None => split(self.word(self.layout.guard_at()).load(Ordering::Relaxed)).0 as usize,
        };
        if at + len.div_ceil(8) > self.words.len() {
            return Err(Error::new(ErrorKind::Corruption, "a record's value does not fit into it"));
        }
        let mut bytes = Vec::with_capacity(len.next_multiple_of(8));
        copy_bytes(self.words, at, len, &mut bytes);
        Ok(bytes)
    }
}

/// The word of `rest`, the fewer than 8 bytes at the end of `bytes`. The last 8 bytes of something longer end with them: one
/// load and a shift.
#[inline(always)]
fn last_word(bytes: &[u8], rest: &[u8]) -> u64 {
    match bytes.last_chunk::<8>() {
        Some(last) if !rest.is_empty() => u64::from_le_bytes(*last) >> (64 - 8 * rest.len()),
        _ => word_of(rest),
    }
}

/// Copies `len` bytes from word `at` on.
fn copy_bytes(words: &[AtomicU64], at: usize, len: usize, out: &mut Vec<u8>) {
    out.clear();
    for word in words.get(at..at + len.div_ceil(8)).unwrap_or_default() {
        out.extend_from_slice(&word.load(Ordering::Relaxed).to_le_bytes());
    }
    out.truncate(len);
}
