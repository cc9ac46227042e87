//! Types whose memory is their encoding.

use std::marker::PhantomData;

use bytemuck::{Pod, Zeroable};

use super::{Extent, KeyCodec, PersistKey, PersistValue, ValueCodec};
use crate::error::{Error, ErrorKind};

/// The bytes of a `Pod` value are its encoding: no padding, every bit pattern valid.
#[derive(Debug)]
pub struct BlittableCodec<T>(PhantomData<T>);

/// The bytes of a borrowed `Pod` value.
#[derive(Debug)]
pub struct PodBytes<'a, T>(&'a T);

impl<T: Pod> AsRef<[u8]> for PodBytes<'_, T> {
    #[inline(always)]
    fn as_ref(&self) -> &[u8] {
        bytemuck::bytes_of(self.0)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "types are far smaller than 16 MiB")]
const fn number_of<T>() -> u32 {
    0x0100_0000 + size_of::<T>() as u32
}

#[inline]
fn decode<T: Pod>(bytes: &[u8]) -> Result<T, Error> {
    let mut value = T::zeroed();
    let to = bytemuck::bytes_of_mut(&mut value);
    if to.len() != bytes.len() {
        return Err(wrong_length(to.len(), bytes.len()));
    }
    to.copy_from_slice(bytes);
    Ok(value)
}

#[cold]
fn wrong_length(expected: usize, found: usize) -> Error {
    Error::new(ErrorKind::Corruption, format!("an encoded value has {found} bytes instead of {expected}"))
}

impl<T: Pod> KeyCodec<T> for BlittableCodec<T> {
    const NUMBER: u32 = number_of::<T>();
    const EXTENT: Extent = Extent::Fixed(size_of::<T>());
    type Encoded<'k> = PodBytes<'k, T>;

    #[inline(always)]
    fn encode(key: &T) -> Result<PodBytes<'_, T>, Error> {
        Ok(PodBytes(key))
    }

    fn decode(bytes: &[u8]) -> Result<T, Error> {
        decode(bytes)
    }
}

impl<T: Pod> ValueCodec<T> for BlittableCodec<T> {
    const NUMBER: u32 = number_of::<T>();
    const EXTENT: Extent = Extent::Fixed(size_of::<T>());
    type Encoded<'v> = PodBytes<'v, T>;

    #[inline(always)]
    fn encode(value: &T) -> Result<PodBytes<'_, T>, Error> {
        Ok(PodBytes(value))
    }

    #[inline]
    fn decode(bytes: &[u8]) -> Result<T, Error> {
        decode(bytes)
    }

    #[inline]
    fn initial() -> T {
        Zeroable::zeroed()
    }
}

macro_rules! bind_blittable {
    ($($type:ty),* $(,)?) => {$(
        impl PersistKey for $type {
            type Codec = BlittableCodec<$type>;
        }
        impl PersistValue for $type {
            type Codec = BlittableCodec<$type>;
        }
    )*};
}

bind_blittable!(u8, u16, u32, u64, u128, i8, i16, i32, i64, i128, f32, f64, ());

impl<T, const N: usize> PersistKey for [T; N]
where
    T: Pod + Send + PersistKey<Codec = BlittableCodec<T>>,
{
    type Codec = BlittableCodec<[T; N]>;
}

impl<T, const N: usize> PersistValue for [T; N]
where
    T: Pod + Send + PersistValue<Codec = BlittableCodec<T>>,
{
    type Codec = BlittableCodec<[T; N]>;
}
