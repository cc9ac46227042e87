//! How types become bytes: codecs, what binds a type to its codec, and which forms calls accept.
//!
//! Layer 1. Callers: the store, generic over its key and value types. A codec has a stable number that is written into
//! the metadata area (`docs/format/record.md`); numbers and encodings are frozen by golden tests.
//!
//! | type | codec | extent |
//! |---|---|---|
//! | integers, floats, `()`, arrays of them; a `Pod` type with `impl Blittable for T {}`; [`Plain<T>`] | [`BlittableCodec`] | fixed |
//! | `Vec<u8>` or [`RawBytes`], looked up by `[u8]` | [`RawBytes`] | varlen |
//! | `String` or [`Utf8`], looked up by `str` | [`Utf8`] | varlen |
//! | serde types bound to it, and [`Bincode<T>`] for all others | [`Bincode<T>`] | varlen |
//!
//! # Rules
//! 1. Equal keys have equal bytes and different keys different ones: keys are hashed and compared as bytes. The borrowed
//!    forms of a key have the bytes of the key.
//! 2. `decode` undoes `encode`. Given other bytes it returns `Corruption` or some value; it never panics.
//! 3. A fixed extent is kept by every encoding. The memory that a plain codec lends has the bytes that `encode` makes, and any bytes in it
//!    are what `decode` would make of them. Where it is not as long as the extent, it is not used.
//! 4. Numbers and bytes never change: they are in files. `tests.rs` freezes them. Numbers from
//!    [`FIRST_USER_CODEC_NUMBER`] on are free for codecs of users.
//!
//! A type without a codec does not compile:
//!
//! ```compile_fail
//! struct Opaque;
//! fn store<V: oxifaster_core::codec::PersistValue>(_: V) {}
//! store(Opaque);
//! ```

mod arguments;
mod bincode;
mod blittable;
mod bytes;
mod fetch_add;
#[cfg(all(test, not(loom)))]
mod tests;

pub use arguments::{KeyArgument, KeyBytes, ValueArgument};
pub use bincode::Bincode;
pub use blittable::{Blittable, BlittableCodec, Plain, PodBytes};
pub use bytes::{RawBytes, Utf8};
pub use fetch_add::FetchAdd;

use crate::error::Error;

/// The first codec number that is free for users.
pub const FIRST_USER_CODEC_NUMBER: u32 = 0x8000_0000;

/// How many bytes an encoded key or value has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Always so many.
    Fixed(usize),
    /// Any number, known per record.
    Varlen,
}

/// Turns keys of type `K` into bytes. Equal keys have equal bytes, and different keys different ones.
pub trait KeyCodec<K> {
    /// Stable number of the encoding.
    const NUMBER: u32;
    /// Length of encoded keys.
    const EXTENT: Extent;
    /// An encoded key.
    type Encoded<'k>: AsRef<[u8]>
    where
        K: 'k;

    /// Encodes a key.
    ///
    /// # Errors
    /// `InvalidInput` when the key can't be encoded.
    fn encode(key: &K) -> Result<Self::Encoded<'_>, Error>;

    /// Decodes a key.
    ///
    /// # Errors
    /// `Corruption` when no key has these bytes.
    fn decode(bytes: &[u8]) -> Result<K, Error>;
}

/// Turns values of type `V` into bytes and back.
pub trait ValueCodec<V> {
    /// Stable number of the encoding.
    const NUMBER: u32;
    /// Length of encoded values.
    const EXTENT: Extent;
    /// Whether values live in one word that is changed atomically: fixed, and at most 8 bytes.
    const IS_WORD: bool = matches!(Self::EXTENT, Extent::Fixed(0..=8));
    /// Whether [`plain_bytes`](Self::plain_bytes) lends the memory of a value, which is its encoding, whatever bytes it has: a read
    /// makes an [`initial`](Self::initial) value and copies right into it, not into a buffer first.
    const IS_PLAIN: bool = false;
    /// An encoded value.
    type Encoded<'v>: AsRef<[u8]>
    where
        V: 'v;

    /// Encodes a value.
    ///
    /// # Errors
    /// `InvalidInput` when the value can't be encoded.
    fn encode(value: &V) -> Result<Self::Encoded<'_>, Error>;

    /// Decodes a value.
    ///
    /// # Errors
    /// `Corruption` when no value has these bytes.
    fn decode(bytes: &[u8]) -> Result<V, Error>;

    /// What a read-modify-write of an absent key starts from, and what reads of a [plain](Self::IS_PLAIN) codec fill.
    fn initial() -> V;

    /// The memory of a value of a [plain](Self::IS_PLAIN) codec: as long as its fixed extent.
    #[inline]
    fn plain_bytes(value: &mut V) -> &mut [u8] {
        let _ = value;
        &mut []
    }

    /// Decodes a word value ([`IS_WORD`](Self::IS_WORD)); bytes beyond the extent are zero.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    #[inline]
    fn from_word(word: u64) -> Result<V, Error> {
        let bytes = word.to_le_bytes();
        match Self::EXTENT {
            Extent::Fixed(len) => Self::decode(bytes.get(..len).unwrap_or(&bytes)),
            Extent::Varlen => Self::decode(&bytes),
        }
    }

    /// Encodes a word value, zero-padded.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    #[inline]
    fn to_word(value: &V) -> Result<u64, Error> {
        Ok(word_of(Self::encode(value)?.as_ref()))
    }
}

/// The memory of a value that may be filled with an encoding, if its codec has such.
#[inline(always)]
pub fn plain_bytes<V: PersistValue>(value: &mut V) -> Option<&mut [u8]> {
    if !V::Codec::IS_PLAIN {
        return None;
    }
    let bytes = V::Codec::plain_bytes(value);
    (V::Codec::EXTENT == Extent::Fixed(bytes.len())).then_some(bytes)
}

/// The first 8 bytes, or fewer, as a zero-padded little-endian word.
#[inline(always)]
#[must_use]
pub fn word_of(bytes: &[u8]) -> u64 {
    if let Some(whole) = bytes.first_chunk::<8>() {
        return u64::from_le_bytes(*whole);
    }
    // Loads that overlap instead of a loop or a copy: where they do, they bring the same bytes.
    if let (Some(low), Some(high)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        let high = u64::from(u32::from_le_bytes(*high)) << (8 * (bytes.len() - 4));
        return u64::from(u32::from_le_bytes(*low)) | high;
    }
    let byte = |at: usize| bytes.get(at).map_or(0, |byte| u64::from(*byte) << (8 * at));
    byte(0) | byte(1) | byte(2)
}

/// Binds a key type to its codec.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no key codec",
    note = "for a `Pod` type: `impl oxifaster::codec::Blittable for {Self} {{}}`; for a serde type use `Bincode<{Self}>`"
)]
pub trait PersistKey: Sized + Send + 'static {
    /// The codec.
    type Codec: KeyCodec<Self>;
}

/// Binds a value type to its codec.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no value codec",
    note = "for a `Pod` type: `impl oxifaster::codec::Blittable for {Self} {{}}`; for a serde type use `Bincode<{Self}>`"
)]
pub trait PersistValue: Sized + Send + 'static {
    /// The codec.
    type Codec: ValueCodec<Self>;
}
