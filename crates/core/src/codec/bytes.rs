//! Byte strings and text as they are.
//!
//! `Vec<u8>` and `String` are keys and values themselves; [`RawBytes`] and [`Utf8`] are their codecs, and wrappers around
//! them for programs that know these names as types. Wrapped or not, the stored bytes are the same.

use std::borrow::Borrow;

use super::{Extent, KeyCodec, PersistKey, PersistValue, ValueCodec};
use crate::error::{Error, ErrorKind};

/// The codec of `Vec<u8>`, number 1: the bytes themselves. Also a `Vec<u8>` under this name.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RawBytes(pub Vec<u8>);

/// The codec of `String`, number 2: its UTF-8 bytes. Also a `String` under this name.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Utf8(pub String);

fn text(bytes: &[u8]) -> Result<String, Error> {
    String::from_utf8(bytes.to_vec())
        .map_err(|error| Error::new(ErrorKind::Corruption, "a stored string is not UTF-8").with_source(error))
}

macro_rules! bind_bytes {
    ($codec:ty, $type:ty, $borrowed:ty, $number:literal, $encode:expr, $decode:expr) => {
        impl KeyCodec<$type> for $codec {
            const NUMBER: u32 = $number;
            const EXTENT: Extent = Extent::Varlen;
            type Encoded<'k> = &'k $borrowed;

            #[inline]
            fn encode(key: &$type) -> Result<&$borrowed, Error> {
                Ok($encode(key))
            }

            fn decode(bytes: &[u8]) -> Result<$type, Error> {
                $decode(bytes)
            }
        }

        impl ValueCodec<$type> for $codec {
            const NUMBER: u32 = $number;
            const EXTENT: Extent = Extent::Varlen;
            type Encoded<'v> = &'v $borrowed;

            #[inline]
            fn encode(value: &$type) -> Result<&$borrowed, Error> {
                Ok($encode(value))
            }

            fn decode(bytes: &[u8]) -> Result<$type, Error> {
                $decode(bytes)
            }

            fn initial() -> $type {
                <$type>::default()
            }
        }

        impl PersistKey for $type {
            type Codec = $codec;
        }

        impl PersistValue for $type {
            type Codec = $codec;
        }
    };
}

bind_bytes!(RawBytes, Vec<u8>, [u8], 1, Vec::as_slice, |bytes: &[u8]| Ok(bytes.to_vec()));
bind_bytes!(RawBytes, RawBytes, [u8], 1, RawBytes::as_slice, |bytes: &[u8]| Ok(RawBytes(bytes.to_vec())));
bind_bytes!(Utf8, String, str, 2, String::as_str, text);
bind_bytes!(Utf8, Utf8, str, 2, Utf8::as_str, |bytes| text(bytes).map(Utf8));

impl RawBytes {
    /// The bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }
}

impl Utf8 {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Look-ups by the borrowed form: `Hash` and `Eq` of a wrapper are those of what it wraps.
impl Borrow<[u8]> for RawBytes {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl Borrow<str> for Utf8 {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl<T: Into<Vec<u8>>> From<T> for RawBytes {
    fn from(bytes: T) -> Self {
        Self(bytes.into())
    }
}

impl<T: Into<String>> From<T> for Utf8 {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}
