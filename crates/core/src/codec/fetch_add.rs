//! Integers that can be added to in place.

use super::PersistValue;

/// Integers with wrapping addition.
pub trait FetchAdd: PersistValue + Copy {
    /// The sum, wrapping around at the type's limits.
    #[must_use]
    fn wrapping_sum(self, delta: Self) -> Self;

    /// The word to be added to a stored word, if adding words does the same as adding values (8-byte integers).
    fn as_word_delta(self) -> Option<u64>;
}

macro_rules! fetch_add {
    ($($type:ty => $delta:expr),* $(,)?) => {$(
        impl FetchAdd for $type {
            #[inline]
            fn wrapping_sum(self, delta: Self) -> Self {
                self.wrapping_add(delta)
            }

            #[inline]
            fn as_word_delta(self) -> Option<u64> {
                let delta: fn($type) -> Option<u64> = $delta;
                delta(self)
            }
        }
    )*};
}

fetch_add!(
    u8 => |_| None,
    u16 => |_| None,
    u32 => |_| None,
    u64 => Some,
    u128 => |_| None,
    i8 => |_| None,
    i16 => |_| None,
    i32 => |_| None,
    i64 => |delta| Some(delta.cast_unsigned()),
    i128 => |_| None,
);
