//! Keys that are counted by one call to the store, in one piece of memory.
//!
//! Callers: the workers of `count`, which gather them, and sinks.

/// Keys, in the order in which they were added; a key may be there more than once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyBatch {
    bytes: Vec<u8>,
    /// Where each key ends in `bytes`; it starts where the one before it ends.
    ends: Vec<usize>,
}

impl KeyBatch {
    /// Adds a key.
    pub fn push(&mut self, key: &[u8]) {
        self.bytes.extend_from_slice(key);
        self.ends.push(self.bytes.len());
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Removes all keys; the memory stays.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// The keys.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().map(move |&end| {
            let key = self.bytes.get(start..end).unwrap_or_default();
            start = end;
            key
        })
    }
}

#[cfg(test)]
mod tests {
    use super::KeyBatch;

    #[test]
    fn what_goes_in_comes_out_until_it_is_cleared() {
        let mut batch = KeyBatch::default();
        let keys: [&[u8]; 4] = [b"a", b"", b"key", b"a"];
        for _ in 0..2 {
            assert!(batch.is_empty());
            keys.iter().for_each(|key| batch.push(key));
            assert_eq!((batch.iter().collect::<Vec<_>>(), batch.len()), (keys.to_vec(), 4));
            batch.clear();
        }
    }
}
