//! The two classes of values: a word, which is updated by an atomic instruction, and bytes.

use std::hint::black_box;

use oxifaster_core::codec::PersistValue;
use oxifaster_core::error::Error;
use oxifaster_device::StorageDevice;
use oxifaster_store::Session;
use oxifaster_workload::Prng;

/// How many bytes more than a value are made at random: values begin anywhere in them, so that two in a row differ.
const SPARE_BYTES: usize = 4096;

/// Where a thread's new values come from: copying random bytes costs less than making them.
#[derive(Clone, Debug)]
pub struct ValueSource {
    bytes: Vec<u8>,
    value_bytes: usize,
    count: usize,
}

impl ValueSource {
    /// Values of so many bytes.
    #[must_use]
    pub fn new(value_bytes: usize, seed: u64) -> Self {
        let mut prng = Prng::new(seed);
        let words = (value_bytes + SPARE_BYTES).div_ceil(8);
        let bytes = (0..words).flat_map(|_| prng.next_u64().to_le_bytes()).collect();
        Self { bytes, value_bytes, count: 0 }
    }

    #[inline]
    fn next(&mut self) -> &[u8] {
        self.count = self.count.wrapping_add(1);
        let start = self.count % SPARE_BYTES;
        self.bytes.get(start..start + self.value_bytes).unwrap_or(&[])
    }
}

/// A class of values.
pub trait Payload: PersistValue + Default {
    /// Makes this the next value.
    fn renew(&mut self, source: &mut ValueSource);

    /// What a read-modify-write does.
    fn change(&mut self);

    /// Reads a key as a user of this class would; says whether it was there.
    ///
    /// # Errors
    /// The store's errors.
    fn read<D: StorageDevice>(
        session: &mut Session<u64, Self, D>,
        key: u64,
        scratch: &mut Vec<u8>,
    ) -> Result<bool, Error>;

    /// Bytes that a record of such a value takes in the log at least.
    fn record_bytes(value_bytes: u64) -> u64;
}

impl Payload for u64 {
    #[inline]
    fn renew(&mut self, source: &mut ValueSource) {
        source.count = source.count.wrapping_add(1);
        *self = source.count as u64;
    }

    #[inline]
    fn change(&mut self) {
        *self = self.wrapping_add(1);
    }

    #[inline]
    fn read<D: StorageDevice>(
        session: &mut Session<u64, Self, D>,
        key: u64,
        _scratch: &mut Vec<u8>,
    ) -> Result<bool, Error> {
        Ok(black_box(session.read(&key)?).is_some())
    }

    fn record_bytes(_value_bytes: u64) -> u64 {
        24
    }
}

impl Payload for Vec<u8> {
    #[inline]
    fn renew(&mut self, source: &mut ValueSource) {
        self.clear();
        self.extend_from_slice(source.next());
    }

    #[inline]
    fn change(&mut self) {
        if let Some(first) = self.first_mut() {
            *first = first.wrapping_add(1);
        }
    }

    #[inline]
    fn read<D: StorageDevice>(
        session: &mut Session<u64, Self, D>,
        key: u64,
        scratch: &mut Vec<u8>,
    ) -> Result<bool, Error> {
        let found = session.read_into(&key, scratch)?;
        black_box(scratch);
        Ok(found)
    }

    fn record_bytes(value_bytes: u64) -> u64 {
        24 + value_bytes.next_multiple_of(8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_their_length_and_two_in_a_row_differ() {
        for value_bytes in [1, 100, 5000] {
            let mut source = ValueSource::new(value_bytes, 7);
            let (mut one, mut other) = (Vec::new(), Vec::new());
            for _ in 0..2 * SPARE_BYTES {
                one.renew(&mut source);
                other.renew(&mut source);
                assert_eq!((one.len(), other.len()), (value_bytes, value_bytes));
                assert!(value_bytes < 8 || one != other);
            }
        }
    }
}
