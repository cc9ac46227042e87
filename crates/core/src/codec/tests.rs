//! What is in files stays readable: numbers and bytes are frozen; whatever goes in comes out, and damage never panics.

#![expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]

use std::fmt::Debug;

use proptest::prelude::*;

use super::{
    Bincode, Blittable, Extent, KeyCodec, PersistKey, PersistValue, Plain, RawBytes, Utf8, ValueCodec,
};
use crate::error::ErrorKind;

#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Point {
    x: i32,
    y: f32,
    id: u64,
}
impl Blittable for Point {}

/// A user's serde type, bound without a wrapper.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
struct Account {
    name: String,
    cents: i64,
    limits: Option<Vec<u32>>,
}
impl PersistKey for Account {
    type Codec = Bincode<Self>;
}
impl PersistValue for Account {
    type Codec = Bincode<Self>;
}

/// Encodes as key and as value, which have the same bytes, and decodes both again.
fn bytes_of<T: PersistKey + PersistValue + PartialEq + Debug>(object: &T) -> Vec<u8> {
    let key = <T as PersistKey>::Codec::encode(object).unwrap().as_ref().to_vec();
    let value = <T as PersistValue>::Codec::encode(object).unwrap().as_ref().to_vec();
    assert_eq!(key, value);
    assert_eq!(&<T as PersistKey>::Codec::decode(&key).unwrap(), object);
    assert_eq!(&<T as PersistValue>::Codec::decode(&value).unwrap(), object);
    if let Extent::Fixed(len) = <T as PersistKey>::Codec::EXTENT {
        assert_eq!(key.len(), len);
    }
    if <T as PersistValue>::Codec::IS_WORD {
        let word = <T as PersistValue>::Codec::to_word(object).unwrap();
        assert_eq!(&<T as PersistValue>::Codec::from_word(word).unwrap(), object);
    }
    key
}

fn number<T: PersistKey + PersistValue>() -> u32 {
    assert_eq!(<T as PersistKey>::Codec::NUMBER, <T as PersistValue>::Codec::NUMBER);
    <T as PersistKey>::Codec::NUMBER
}

#[test]
fn numbers_are_frozen() {
    assert_eq!([number::<Vec<u8>>(), number::<RawBytes>()], [1, 1]);
    assert_eq!([number::<String>(), number::<Utf8>()], [2, 2]);
    assert_eq!([number::<Account>(), number::<Bincode<Account>>(), number::<Bincode<u64>>()], [3, 3, 3]);
    assert_eq!([number::<()>(), number::<u8>(), number::<i64>()], [0x0100_0000, 0x0100_0001, 0x0100_0008]);
    assert_eq!(
        [number::<Point>(), number::<Plain<Point>>(), number::<[u8; 300]>()],
        [0x0100_0010, 0x0100_0010, 0x0100_012C]
    );
}

#[test]
fn bytes_are_frozen() {
    assert_eq!(bytes_of(&0x0102_0304_0506_0708_u64), [8, 7, 6, 5, 4, 3, 2, 1]);
    assert_eq!(bytes_of(&-2_i16), [0xFE, 0xFF]);
    assert_eq!(bytes_of(&1.0_f64), [0, 0, 0, 0, 0, 0, 0xF0, 0x3F]);
    assert_eq!(bytes_of(&[1_u16, 2]), [1, 0, 2, 0]);
    let point = Point { x: -1, y: 0.5, id: 3 };
    let point_bytes = [0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0x3F, 3, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(bytes_of(&point), point_bytes);
    assert_eq!(bytes_of(&Plain(point)), point_bytes);
    assert_eq!(bytes_of(&vec![1_u8, 0, 2]), [1, 0, 2]);
    assert_eq!(bytes_of(&"gr\u{fc}n".to_owned()), [b'g', b'r', 0xC3, 0xBC, b'n']);
    let account = Account { name: "Ada".into(), cents: -3, limits: Some(vec![1, 300]) };
    let account_bytes = [10, 0, 0, 0, 3, b'A', b'd', b'a', 5, 1, 2, 1, 0xAC, 0x02];
    assert_eq!(bytes_of(&account), account_bytes);
    assert_eq!(bytes_of(&Bincode(account)), account_bytes);
}

#[test]
fn zero_and_extreme_keys() {
    assert_eq!(bytes_of(&()), []);
    assert_eq!(bytes_of(&0_u64), [0; 8]);
    assert_eq!(bytes_of(&u64::MAX), [0xFF; 8]);
    assert_eq!(bytes_of(&u128::MAX), [0xFF; 16]);
    assert_eq!(bytes_of(&[0_u8; 24]), [0; 24]);
    assert_eq!(bytes_of(&i8::MIN), [0x80]);
    assert_eq!(bytes_of(&String::new()), []);
    assert_eq!(bytes_of(&Vec::<u8>::new()), []);
    assert_eq!(bytes_of(&vec![0_u8; 9]), [0; 9]);
    assert_eq!(bytes_of(&Bincode(())), [0; 4]);
}

#[test]
fn initial_values_are_zero_empty_or_default() {
    fn initial<V: PersistValue>() -> V {
        V::Codec::initial()
    }
    assert_eq!(initial::<u64>(), 0);
    assert_eq!(initial::<Point>(), Point { x: 0, y: 0.0, id: 0 });
    assert_eq!(initial::<String>(), "");
    assert_eq!(initial::<RawBytes>(), RawBytes(Vec::new()));
    assert_eq!(initial::<Account>(), Account::default());
}

#[test]
fn wrong_lengths_and_damage_are_corruption() {
    fn refused<T: PersistValue + Debug>(bytes: &[u8]) {
        let error = T::Codec::decode(bytes).expect_err("must be refused");
        assert_eq!(error.kind(), ErrorKind::Corruption, "{error}");
    }
    refused::<u64>(&[0; 7]);
    refused::<u64>(&[0; 9]);
    refused::<Point>(&[]);
    refused::<String>(&[b'a', 0xFF]);
    refused::<Account>(&[]);
    refused::<Account>(&[1, 0, 0]);
    // A length that is larger, or smaller, than what follows; bytes left over inside of the payload.
    refused::<Bincode<u8>>(&[2, 0, 0, 0, 7]);
    refused::<Bincode<u8>>(&[0, 0, 0, 0, 7]);
    refused::<Bincode<u8>>(&[2, 0, 0, 0, 7, 7]);
    refused::<Bincode<u8>>(&[0xFF, 0xFF, 0xFF, 0xFF, 7]);
}

#[test]
fn words_are_little_endian_and_zero_padded() {
    let bytes = [0x11, 0x82, 0x33, 0xF4, 0x55, 0x06, 0x77, 0x98, 0x99];
    for len in 0..=bytes.len() {
        let expected = bytes[..len.min(8)].iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
        assert_eq!(super::word_of(&bytes[..len]), expected, "{len} bytes");
    }
}

proptest! {
    #[test]
    fn what_goes_in_comes_out(
        number: u64,
        small: i16,
        coordinates: (i32, u32, u64),
        array: [u32; 5],
        bytes: Vec<u8>,
        text: String,
        cents: i64,
        limits: Option<Vec<u32>>,
    ) {
        bytes_of(&number);
        bytes_of(&small);
        // Any bits that are no NaN, which equals nothing.
        let y = Some(f32::from_bits(coordinates.1)).filter(|y| !y.is_nan()).unwrap_or(-0.0);
        bytes_of(&Point { x: coordinates.0, y, id: coordinates.2 });
        bytes_of(&array);
        prop_assert_eq!(bytes_of(&bytes), bytes);
        prop_assert_eq!(bytes_of(&text), text.as_bytes());
        bytes_of(&Account { name: text, cents, limits });
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        fn decode<T: PersistKey + PersistValue + PartialEq + Debug>(bytes: &[u8]) {
            if let Ok(object) = <T as PersistValue>::Codec::decode(bytes) {
                // NaNs do not equal themselves; these types have none.
                bytes_of(&object);
            }
        }
        decode::<u64>(&bytes);
        decode::<[u8; 3]>(&bytes);
        decode::<String>(&bytes);
        decode::<Account>(&bytes);
        decode::<Bincode<Vec<(u8, Option<String>)>>>(&bytes);
    }
}
