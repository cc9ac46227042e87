//! Types whose memory is their encoding.
//!
//! # Why not every `bytemuck::Pod` type without a word
//! `impl<T: Pod> PersistKey for T` and `impl PersistKey for String` exclude each other: both `Pod` and `String` belong to
//! other crates, which may make `String` a `Pod` one day as far as the compiler knows. It may reason about a trait of our
//! own. So [`Blittable`] marks the types: all primitive ones and arrays are marked here, a user's `Pod` by one line.

use std::marker::PhantomData;
use std::num::{
    NonZeroI8, NonZeroI16, NonZeroI32, NonZeroI64, NonZeroI128, NonZeroU8, NonZeroU16, NonZeroU32,
    NonZeroU64, NonZeroU128, Wrapping,
};

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

#[expect(clippy::cast_possible_truncation, reason = "asserted to have 24 bits, at compile time")]
const fn number_of<T>() -> u32 {
    assert!(size_of::<T>() < 0x0100_0000, "blittable types are smaller than 16 MiB");
    0x0100_0000 + size_of::<T>() as u32
}

#[inline]
fn decode<T: Pod>(bytes: &[u8]) -> Result<T, Error> {
    // Nothing but the length can be wrong.
    bytemuck::try_pod_read_unaligned(bytes).map_err(|_| wrong_length(size_of::<T>(), bytes.len()))
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
    const IS_PLAIN: bool = true;
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

    #[inline(always)]
    fn plain_bytes(value: &mut T) -> &mut [u8] {
        bytemuck::bytes_of_mut(value)
    }
}

/// A `Pod` type that is a key and a value, stored as its own bytes. One line for a type of yours:
///
/// ```
/// use oxifaster_core::codec::{Blittable, PersistKey, PersistValue};
///
/// #[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
/// #[repr(C)]
/// struct Point {
///     x: f64,
///     y: f64,
/// }
/// impl Blittable for Point {}
///
/// fn storable<T: PersistKey + PersistValue>() {}
/// storable::<Point>();
/// storable::<[Point; 3]>();
/// ```
///
/// Keys are compared as bytes: `0.0` and `-0.0` are two keys.
pub trait Blittable: Pod + Send {}

macro_rules! blittable {
    ($($type:ty)*) => { $(impl Blittable for $type {})* };
}
blittable! {
    () u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize f32 f64
    Option<NonZeroU8> Option<NonZeroU16> Option<NonZeroU32> Option<NonZeroU64> Option<NonZeroU128>
    Option<NonZeroI8> Option<NonZeroI16> Option<NonZeroI32> Option<NonZeroI64> Option<NonZeroI128>
}
impl<T: Blittable> Blittable for Wrapping<T> {}
impl<T: Blittable, const N: usize> Blittable for [T; N] {}

impl<T: Blittable> PersistKey for T {
    type Codec = BlittableCodec<T>;
}

impl<T: Blittable> PersistValue for T {
    type Codec = BlittableCodec<T>;
}

/// A `Pod` type of a third crate as key or value, stored as the type itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Plain<T>(pub T);

impl<T: Pod + Send> PersistKey for Plain<T> {
    type Codec = BlittableCodec<T>;
}

impl<T: Pod + Send> PersistValue for Plain<T> {
    type Codec = BlittableCodec<T>;
}

impl<T: Pod> KeyCodec<Plain<T>> for BlittableCodec<T> {
    const NUMBER: u32 = number_of::<T>();
    const EXTENT: Extent = Extent::Fixed(size_of::<T>());
    type Encoded<'k> = PodBytes<'k, T>;

    #[inline(always)]
    fn encode(key: &Plain<T>) -> Result<PodBytes<'_, T>, Error> {
        Ok(PodBytes(&key.0))
    }

    fn decode(bytes: &[u8]) -> Result<Plain<T>, Error> {
        decode(bytes).map(Plain)
    }
}

impl<T: Pod> ValueCodec<Plain<T>> for BlittableCodec<T> {
    const NUMBER: u32 = number_of::<T>();
    const EXTENT: Extent = Extent::Fixed(size_of::<T>());
    const IS_PLAIN: bool = true;
    type Encoded<'v> = PodBytes<'v, T>;

    #[inline(always)]
    fn encode(value: &Plain<T>) -> Result<PodBytes<'_, T>, Error> {
        Ok(PodBytes(&value.0))
    }

    #[inline]
    fn decode(bytes: &[u8]) -> Result<Plain<T>, Error> {
        decode(bytes).map(Plain)
    }

    #[inline]
    fn initial() -> Plain<T> {
        Plain(Zeroable::zeroed())
    }

    #[inline(always)]
    fn plain_bytes(value: &mut Plain<T>) -> &mut [u8] {
        bytemuck::bytes_of_mut(&mut value.0)
    }
}
