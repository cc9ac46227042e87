//! Values of every class that carry a number and show when they are torn.

use oxifaster::prelude::*;

/// A value that is made from a number, from which the number can be had back, and of which every part is checked then.
pub(crate) trait Sample: PersistValue + Clone + PartialEq + std::fmt::Debug + Sync {
    /// The value of a number. The codec's initial value counts as that of 0.
    fn of(number: u64) -> Self;

    /// The number of a value. Panics when the parts of the value do not belong together.
    fn number(&self) -> u64;
}

/// Word: at most 8 bytes.
impl Sample for u64 {
    fn of(number: u64) -> Self {
        number
    }

    fn number(&self) -> u64 {
        *self
    }
}

/// Fixed: 64 bytes.
impl Sample for [u64; 8] {
    fn of(number: u64) -> Self {
        [1, 3, 5, 7, 9, 11, 13, 15].map(|odd| number.wrapping_mul(odd))
    }

    fn number(&self) -> u64 {
        assert_eq!(*self, Self::of(self[0]), "a torn value");
        self[0]
    }
}

/// Fixed: 101 bytes, of no word's length.
impl Sample for [u8; 101] {
    fn of(number: u64) -> Self {
        let bytes = number.to_le_bytes();
        let mut value = [0; 101];
        value.iter_mut().enumerate().for_each(|(at, byte)| *byte = bytes[at % 8] ^ (at / 8) as u8);
        if number == 0 { [0; 101] } else { value }
    }

    fn number(&self) -> u64 {
        let number = self.first_chunk().map_or(0, |first| u64::from_le_bytes(*first));
        assert!(*self == Self::of(number), "a torn value: {self:?}");
        number
    }
}

/// Varlen: 8 to 127 bytes, and another length for the next number.
impl Sample for Vec<u8> {
    fn of(number: u64) -> Self {
        let len = 8 + number * 13 % 120;
        let bytes = number.to_le_bytes();
        (0..len).map(|at| bytes[at as usize % 8] ^ (at / 8) as u8).collect()
    }

    fn number(&self) -> u64 {
        let Some((first, _)) = self.split_first_chunk::<8>() else {
            assert!(self.is_empty(), "a torn value of {} bytes", self.len());
            return 0;
        };
        let number = u64::from_le_bytes(*first);
        assert_eq!(*self, Self::of(number), "a torn value");
        number
    }
}

/// Fixed: a page of memory. Copying it takes long enough for others to come in between.
impl Sample for [u64; 512] {
    fn of(number: u64) -> Self {
        let mut value = [number; 512];
        (1_u64..).step_by(2).zip(&mut value).for_each(|(odd, word)| *word = number.wrapping_mul(odd));
        value
    }

    fn number(&self) -> u64 {
        assert!(*self == Self::of(self[0]), "a torn value");
        self[0]
    }
}

/// Makes a value that of the next number: what increments do here.
pub(crate) fn increment<V: Sample>(value: &mut V) -> bool {
    *value = V::of(value.number() + 1);
    true
}

/// [`increment`] that lets other threads come in between what it reads and what it writes, now and then.
pub(crate) fn increment_interrupted<V: Sample>(value: &mut V) -> bool {
    if value.number().is_multiple_of(23) {
        std::thread::yield_now();
    }
    increment(value)
}
