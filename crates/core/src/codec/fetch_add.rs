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

/// The delta of a pointer-sized integer, which fills its word on 64-bit targets.
fn word_delta(delta: u64) -> Option<u64> {
    (size_of::<usize>() == 8).then_some(delta)
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
    usize => |delta| word_delta(delta as u64),
    isize => |delta| word_delta(delta.cast_unsigned() as u64),
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{BlittableCodec, ValueCodec};

    /// What adding in place does to the stored word is what adding the values does.
    fn check<T: FetchAdd + bytemuck::Pod + PartialEq + std::fmt::Debug>(values: [T; 4]) {
        for (value, delta) in values.into_iter().flat_map(|value| values.map(|delta| (value, delta))) {
            let sum = value.wrapping_sum(delta);
            if let Some(delta) = delta.as_word_delta() {
                let word = BlittableCodec::to_word(&value).unwrap().wrapping_add(delta);
                assert_eq!(<BlittableCodec<T> as ValueCodec<T>>::from_word(word).unwrap(), sum);
            }
        }
    }

    #[test]
    fn adding_words_adds_values_and_wraps() {
        check::<u64>([0, 1, u64::MAX, 1 << 63]);
        check::<i64>([0, -1, i64::MAX, i64::MIN]);
        check::<usize>([0, 1, usize::MAX, 77]);
        check::<isize>([0, -1, isize::MAX, isize::MIN]);
        check::<u8>([0, 1, u8::MAX, 7]);
        assert_eq!(1_u8.as_word_delta(), None, "a carry out of a narrow integer would reach its padding");
        assert_eq!(u8::MAX.wrapping_sum(2), 1);
        assert_eq!(i16::MIN.wrapping_sum(-1), i16::MAX);
    }
}
