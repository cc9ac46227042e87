//! Any serde type, in a length-prefixed envelope.
//!
//! The name is the one that users of the earlier ports know. The encoder inside is `postcard` 1.x, whose wire format is
//! specified and stable; `bincode` itself is no longer maintained. Golden tests freeze the bytes.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Extent, KeyCodec, PersistKey, PersistValue, ValueCodec};
use crate::error::{Error, ErrorKind};

/// The serde codec, number 3, and a wrapper that makes any serde type a key or a value.
///
/// The bytes: 4 bytes little-endian payload length, then the payload in postcard's wire format. A store can hold the
/// wrapper, or a type of yours that is bound to this codec:
///
/// ```
/// use oxifaster_core::codec::{Bincode, PersistValue, ValueCodec};
///
/// #[derive(serde::Serialize, serde::Deserialize, Default, PartialEq, Debug)]
/// struct Account {
///     name: String,
///     cents: i64,
/// }
/// impl PersistValue for Account {
///     type Codec = Bincode<Self>;
/// }
///
/// let account = Account { name: "Ada".into(), cents: -3 };
/// let bytes = <Bincode<Account> as ValueCodec<Account>>::encode(&account)?;
/// assert_eq!(<Bincode<Account> as ValueCodec<Account>>::decode(&bytes)?, account);
/// # Ok::<(), oxifaster_core::Error>(())
/// ```
///
/// A key must serialise to the same bytes every time: no hash maps or sets inside, whose order changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bincode<T>(pub T);

const NUMBER: u32 = 3;
const PREFIX_BYTES: usize = 4;

fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, Error> {
    let refuse = |error| Error::new(ErrorKind::InvalidInput, "the value can't be encoded").with_source(error);
    let mut bytes = postcard::to_extend(value, vec![0; PREFIX_BYTES]).map_err(refuse)?;
    let len = u32::try_from(bytes.len() - PREFIX_BYTES)
        .map_err(|_| Error::new(ErrorKind::InvalidInput, "an encoded value must be shorter than 4 GiB"))?;
    if let Some(prefix) = bytes.get_mut(..PREFIX_BYTES) {
        prefix.copy_from_slice(&len.to_le_bytes());
    }
    Ok(bytes)
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    let damaged = |what: &str| Error::new(ErrorKind::Corruption, format!("a stored serde value {what}"));
    let (prefix, payload) =
        bytes.split_first_chunk::<PREFIX_BYTES>().ok_or_else(|| damaged("is too short"))?;
    if u32::from_le_bytes(*prefix) as usize != payload.len() {
        return Err(damaged("has another length than it says"));
    }
    match postcard::take_from_bytes(payload) {
        Ok((value, [])) => Ok(value),
        Ok(_) => Err(damaged("has bytes left over: it was written as another type")),
        Err(error) => Err(damaged("does not decode: it was written as another type").with_source(error)),
    }
}

/// Keys and values that are `$stored`, whose serialised part is `$part`.
macro_rules! bind_serde {
    ($stored:ty, |$object:ident| $part:expr, $wrap:expr) => {
        impl<T: Serialize + DeserializeOwned> KeyCodec<$stored> for Bincode<T> {
            const NUMBER: u32 = NUMBER;
            const EXTENT: Extent = Extent::Varlen;
            type Encoded<'k>
                = Vec<u8>
            where
                T: 'k;

            fn encode($object: &$stored) -> Result<Vec<u8>, Error> {
                encode($part)
            }

            fn decode(bytes: &[u8]) -> Result<$stored, Error> {
                decode(bytes).map($wrap)
            }
        }

        impl<T: Serialize + DeserializeOwned + Default> ValueCodec<$stored> for Bincode<T> {
            const NUMBER: u32 = NUMBER;
            const EXTENT: Extent = Extent::Varlen;
            type Encoded<'v>
                = Vec<u8>
            where
                T: 'v;

            fn encode($object: &$stored) -> Result<Vec<u8>, Error> {
                encode($part)
            }

            fn decode(bytes: &[u8]) -> Result<$stored, Error> {
                decode(bytes).map($wrap)
            }

            fn initial() -> $stored {
                $wrap(T::default())
            }
        }
    };
}

bind_serde!(T, |object| object, std::convert::identity::<T>);
bind_serde!(Bincode<T>, |object| &object.0, Bincode);

impl<T: Serialize + DeserializeOwned + Send + 'static> PersistKey for Bincode<T> {
    type Codec = Bincode<T>;
}

impl<T: Serialize + DeserializeOwned + Default + Send + 'static> PersistValue for Bincode<T> {
    type Codec = Bincode<T>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize, serde::Deserialize, Default, PartialEq, Debug)]
    struct Account {
        name: String,
        cents: i64,
        tags: Vec<u16>,
    }

    #[test]
    fn wire_format_is_frozen() {
        let account = Account { name: "Ada".into(), cents: -3, tags: vec![1, 300] };
        let bytes = <Bincode<Account> as ValueCodec<Account>>::encode(&account).unwrap();
        assert_eq!(bytes, [9, 0, 0, 0, 3, b'A', b'd', b'a', 5, 2, 1, 0xAC, 0x02]);
        let back: Bincode<Account> = <Bincode<Account> as ValueCodec<_>>::decode(&bytes).unwrap();
        assert_eq!(<Bincode<Account> as ValueCodec<_>>::encode(&back).unwrap(), bytes);
        assert_eq!(back.0, Account { name: "Ada".into(), cents: -3, tags: vec![1, 300] });
    }

    #[test]
    fn arbitrary_bytes_are_an_error_and_never_a_panic() {
        for len in 0..64_usize {
            let bytes: Vec<u8> = (0..len).map(|place| u8::try_from(place * 37 % 251).unwrap()).collect();
            let decoded: Result<Account, _> = <Bincode<Account> as ValueCodec<_>>::decode(&bytes);
            assert_eq!(decoded.unwrap_err().kind(), ErrorKind::Corruption);
        }
    }
}
