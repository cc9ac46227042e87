//! A codec decodes any bytes without a panic, and what it accepts survives another round.

use std::fmt::Debug;

use oxifaster_core::codec::{Bincode, KeyCodec, PersistKey, PersistValue, ValueCodec};

/// A serde value with what its wire format can get wrong: lengths, signs, nesting, text.
type Serde = Bincode<(String, i64, Vec<u16>, Option<Box<(bool, char)>>)>;

/// Decodes `bytes` as keys and values of every codec.
pub fn run(bytes: &[u8]) {
    key::<u64>(bytes);
    key::<[u8; 5]>(bytes);
    key::<Vec<u8>>(bytes);
    key::<String>(bytes);
    key::<Serde>(bytes);
    value::<u8>(bytes);
    value::<i64>(bytes);
    value::<[u64; 3]>(bytes);
    value::<Vec<u8>>(bytes);
    value::<String>(bytes);
    value::<Serde>(bytes);
}

fn key<K: PersistKey + PartialEq + Debug>(bytes: &[u8]) {
    let Ok(key) = K::Codec::decode(bytes) else { return };
    let encoded = K::Codec::encode(&key).expect("what was decoded can be encoded");
    assert_eq!(K::Codec::decode(encoded.as_ref()).expect("what was encoded can be decoded"), key);
}

fn value<V: PersistValue + PartialEq + Debug>(bytes: &[u8]) {
    let Ok(value) = V::Codec::decode(bytes) else { return };
    let encoded = V::Codec::encode(&value).expect("what was decoded can be encoded");
    assert_eq!(V::Codec::decode(encoded.as_ref()).expect("what was encoded can be decoded"), value);
}
