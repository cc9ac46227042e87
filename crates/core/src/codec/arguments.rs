//! Which forms of keys and values calls accept.
//!
//! Look-ups take whatever the key type borrows as (`read("key")` on a `String` store); writes take the type, a reference
//! to it, or its borrowed form (`upsert("key", "value")`, `upsert(&key, &value)`, `upsert(1, 2)`). The price: an argument
//! whose type is left open (`upsert(key.into(), ..)`) could be `K` or `&K`, so the compiler asks for its type.

use super::{KeyCodec, PersistKey, PersistValue, RawBytes, Utf8, ValueCodec};
use crate::error::Error;

/// A borrowed form of a key, with the same bytes as the owned one.
pub trait KeyBytes {
    /// The encoded key.
    type Encoded<'k>: AsRef<[u8]>
    where
        Self: 'k;

    /// Encodes the key.
    ///
    /// # Errors
    /// `InvalidInput` when it can't be encoded.
    fn key_bytes(&self) -> Result<Self::Encoded<'_>, Error>;
}

impl<K: PersistKey> KeyBytes for K {
    type Encoded<'k> = <K::Codec as KeyCodec<K>>::Encoded<'k>;

    #[inline(always)]
    fn key_bytes(&self) -> Result<Self::Encoded<'_>, Error> {
        K::Codec::encode(self)
    }
}

impl KeyBytes for str {
    type Encoded<'k> = &'k [u8];

    #[inline]
    fn key_bytes(&self) -> Result<&[u8], Error> {
        Ok(self.as_bytes())
    }
}

impl KeyBytes for [u8] {
    type Encoded<'k> = &'k [u8];

    #[inline]
    fn key_bytes(&self) -> Result<&[u8], Error> {
        Ok(self)
    }
}

/// What can be written as a key of type `K`.
pub trait KeyArgument<K> {
    /// The encoded key.
    type Encoded<'k>: AsRef<[u8]>
    where
        Self: 'k;

    /// Encodes the key.
    ///
    /// # Errors
    /// `InvalidInput` when it can't be encoded.
    fn encode_key(&self) -> Result<Self::Encoded<'_>, Error>;
}

/// What can be written as a value of type `V`.
pub trait ValueArgument<V> {
    /// The encoded value.
    type Encoded<'v>: AsRef<[u8]>
    where
        Self: 'v;

    /// Encodes the value.
    ///
    /// # Errors
    /// `InvalidInput` when it can't be encoded.
    fn encode_value(&self) -> Result<Self::Encoded<'_>, Error>;
}

impl<K: PersistKey> KeyArgument<K> for K {
    type Encoded<'k> = <K::Codec as KeyCodec<K>>::Encoded<'k>;

    #[inline(always)]
    fn encode_key(&self) -> Result<Self::Encoded<'_>, Error> {
        K::Codec::encode(self)
    }
}

impl<K: PersistKey> KeyArgument<K> for &K {
    type Encoded<'k>
        = <K::Codec as KeyCodec<K>>::Encoded<'k>
    where
        Self: 'k;

    #[inline(always)]
    fn encode_key(&self) -> Result<Self::Encoded<'_>, Error> {
        K::Codec::encode(self)
    }
}

impl<V: PersistValue> ValueArgument<V> for V {
    type Encoded<'v> = <V::Codec as ValueCodec<V>>::Encoded<'v>;

    #[inline(always)]
    fn encode_value(&self) -> Result<Self::Encoded<'_>, Error> {
        V::Codec::encode(self)
    }
}

impl<V: PersistValue> ValueArgument<V> for &V {
    type Encoded<'v>
        = <V::Codec as ValueCodec<V>>::Encoded<'v>
    where
        Self: 'v;

    #[inline(always)]
    fn encode_value(&self) -> Result<Self::Encoded<'_>, Error> {
        V::Codec::encode(self)
    }
}

macro_rules! accept_borrowed {
    ($owned:ty, $borrowed:ty, $(const $len:ident: usize)?, $bytes:expr) => {
        impl<$(const $len: usize)?> KeyArgument<$owned> for &$borrowed {
            type Encoded<'k>
                = &'k [u8]
            where
                Self: 'k;

            #[inline]
            fn encode_key(&self) -> Result<&[u8], Error> {
                Ok($bytes(self))
            }
        }

        impl<$(const $len: usize)?> ValueArgument<$owned> for &$borrowed {
            type Encoded<'v>
                = &'v [u8]
            where
                Self: 'v;

            #[inline]
            fn encode_value(&self) -> Result<&[u8], Error> {
                Ok($bytes(self))
            }
        }
    };
}

accept_borrowed!(String, str, , str::as_bytes);
accept_borrowed!(Vec<u8>, [u8], , |bytes| bytes);
accept_borrowed!(Vec<u8>, [u8; N], const N: usize, <[u8; N]>::as_slice);
accept_borrowed!(Utf8, str, , str::as_bytes);
accept_borrowed!(RawBytes, [u8], , |bytes| bytes);
accept_borrowed!(RawBytes, [u8; N], const N: usize, <[u8; N]>::as_slice);

#[cfg(test)]
mod tests {
    use std::borrow::Borrow;
    use std::marker::PhantomData;

    use super::*;

    struct Mock<K, V>(PhantomData<(K, V)>);

    impl<K: PersistKey, V: PersistValue> Mock<K, V> {
        fn upsert(&self, key: impl KeyArgument<K>, value: impl ValueArgument<V>) -> (Vec<u8>, Vec<u8>) {
            (key.encode_key().unwrap().as_ref().to_vec(), value.encode_value().unwrap().as_ref().to_vec())
        }

        fn read<Q: KeyBytes + ?Sized>(&self, key: &Q) -> Vec<u8>
        where
            K: Borrow<Q>,
        {
            key.key_bytes().unwrap().as_ref().to_vec()
        }
    }

    #[test]
    #[expect(clippy::needless_borrows_for_generic_args, reason = "references are one of the forms")]
    fn every_form_of_a_key_has_the_same_bytes() {
        let numbers = Mock::<u64, u64>(PhantomData);
        assert_eq!(numbers.upsert(1, 2).0, numbers.read(&1));
        assert_eq!(numbers.upsert(&7, &8).1, 8_u64.to_le_bytes());
        let text = Mock::<String, String>(PhantomData);
        assert_eq!(text.upsert("key", "value").0, text.read("key"));
        assert_eq!(text.upsert("key".to_owned(), "v".to_owned()).0, text.read(&"key".to_owned()));
        assert_eq!(text.upsert(&"key".to_owned(), "v").0, b"key");
        let raw = Mock::<Vec<u8>, Vec<u8>>(PhantomData);
        assert_eq!(raw.upsert(b"key", vec![1, 2]).0, raw.read(b"key".as_slice()));
        assert_eq!(raw.upsert(b"key".as_slice(), &[][..]).1, b"");
        let named = Mock::<Utf8, RawBytes>(PhantomData);
        assert_eq!(named.upsert("key", b"value").0, named.read("key"));
        assert_eq!(named.upsert(Utf8::from("key"), RawBytes::from("value")).1, b"value");
        let floats = Mock::<i8, f32>(PhantomData);
        assert_eq!(floats.upsert(-1, 0.5), (vec![0xFF], 0.5_f32.to_le_bytes().to_vec()));
    }
}
