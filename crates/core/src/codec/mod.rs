//! How types become bytes: codecs, what binds a type to its codec, and which forms calls accept.
//!
//! Layer 1. Callers: the store, generic over its key and value types. A codec has a stable number that is written into
//! the metadata area (`docs/format/record.md`); numbers and encodings are frozen by golden tests.
//!
//! | type | codec | extent |
//! |---|---|---|
//! | integers, floats, `()`, arrays of them, any `Pod` type bound by one line | [`BlittableCodec`] | fixed |
//! | `Vec<u8>`, looked up by `[u8]` | [`RawBytes`] | varlen |
//! | `String`, looked up by `str` | [`Utf8`] | varlen |
//! | [`Bincode<T>`] for serde types | [`BincodeCodec`] | varlen |
//!
//! A `Pod` type of a user's own is bound explicitly, because a blanket implementation for every `Pod` type would forbid
//! the one for `String` (Rust's coherence rules):
//!
//! ```
//! use oxifaster_core::codec::{BlittableCodec, PersistValue};
//!
//! #[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
//! #[repr(C)]
//! struct Point {
//!     x: u64,
//!     y: u64,
//! }
//!
//! impl PersistValue for Point {
//!     type Codec = BlittableCodec<Point>;
//! }
//! ```
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

pub use arguments::{KeyArgument, KeyBytes, ValueArgument};
pub use bincode::{Bincode, BincodeCodec};
pub use blittable::{BlittableCodec, PodBytes};
pub use bytes::{RawBytes, Utf8};
pub use fetch_add::FetchAdd;

use crate::error::Error;

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

    /// What a read-modify-write of an absent key starts from.
    fn initial() -> V;

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

/// Up to 8 bytes as a zero-padded little-endian word.
#[inline(always)]
#[must_use]
pub fn word_of(bytes: &[u8]) -> u64 {
    if let Ok(word) = bytes.try_into() {
        return u64::from_le_bytes(word);
    }
    let mut word = [0_u8; 8];
    for (to, from) in word.iter_mut().zip(bytes) {
        *to = *from;
    }
    u64::from_le_bytes(word)
}

/// Binds a key type to its codec.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no key codec",
    note = "for a `Pod` type: `impl PersistKey for {Self} {{ type Codec = BlittableCodec<{Self}>; }}`; for a serde type use `Bincode<{Self}>`"
)]
pub trait PersistKey: Sized + Send + 'static {
    /// The codec.
    type Codec: KeyCodec<Self>;
}

/// Binds a value type to its codec.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no value codec",
    note = "for a `Pod` type: `impl PersistValue for {Self} {{ type Codec = BlittableCodec<{Self}>; }}`; for a serde type use `Bincode<{Self}>`"
)]
pub trait PersistValue: Sized + Send + 'static {
    /// The codec.
    type Codec: ValueCodec<Self>;
}
