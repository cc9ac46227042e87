//! Many small keys and values in one piece of memory, on their way from a parser to a session.

/// Keys and values, in the order in which they were added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordBatch {
    bytes: Vec<u8>,
    /// Where each key and each value ends in `bytes`; a key starts where the value before it ends.
    ends: Vec<(usize, usize)>,
}

impl RecordBatch {
    /// Adds a record.
    pub fn push(&mut self, key: &[u8], value: &[u8]) {
        self.bytes.extend_from_slice(key);
        let key_end = self.bytes.len();
        self.bytes.extend_from_slice(value);
        self.ends.push((key_end, self.bytes.len()));
    }

    /// How many records there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// All keys and values together, in bytes.
    #[must_use]
    pub fn content_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The records as key and value.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut rest = self.bytes.as_slice();
        let mut start = 0;
        self.ends.iter().map(move |&(key_end, value_end)| {
            let (key, behind_key) = rest.split_at(key_end - start);
            let (value, behind_value) = behind_key.split_at(value_end - key_end);
            rest = behind_value;
            start = value_end;
            (key, value)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::RecordBatch;

    #[test]
    fn what_goes_in_comes_out() {
        let mut batch = RecordBatch::default();
        assert!(batch.is_empty());
        let records: [(&[u8], &[u8]); 4] = [(b"a", b"1"), (b"", b""), (b"", b"value"), (b"key", b"")];
        for (key, value) in records {
            batch.push(key, value);
        }
        assert_eq!(batch.iter().collect::<Vec<_>>(), records);
        assert_eq!((batch.len(), batch.content_bytes()), (4, 10));
    }
}
