//! Byte strings and text as they are.

use super::{Extent, KeyCodec, PersistKey, PersistValue, ValueCodec};
use crate::error::{Error, ErrorKind};

/// The codec of `Vec<u8>`: the bytes themselves.
#[derive(Debug)]
pub struct RawBytes;

/// The codec of `String`: its UTF-8 bytes.
#[derive(Debug)]
pub struct Utf8;

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
                <$type>::new()
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
bind_bytes!(Utf8, String, str, 2, String::as_str, text);
