//! Reading little-endian fields from bytes that may be anything. Pure; callers: commit records and the log's metadata.

use oxifaster_core::{Address, Error, ErrorKind};

/// The bytes that are left, and what they belong to.
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
    owner: &'static str,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(owner: &'static str, bytes: &'a [u8]) -> Self {
        Self { rest: bytes, owner }
    }

    #[cold]
    pub(crate) fn malformed(&self, what: &str) -> Error {
        Error::new(ErrorKind::Corruption, format!("{} is malformed: {what}", self.owner))
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let Some((front, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(self.malformed("it ends too early"));
        };
        self.rest = rest;
        Ok(*front)
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Result<&'a [u8], Error> {
        let Some((front, rest)) = self.rest.split_at_checked(len) else {
            return Err(self.malformed("it ends too early"));
        };
        self.rest = rest;
        Ok(front)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Error> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Error> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Error> {
        self.array().map(u64::from_le_bytes)
    }

    /// A 48-bit count of words.
    pub(crate) fn address(&mut self, name: &str) -> Result<u64, Error> {
        let words = self.u64()?;
        if words > Address::MAX.words() {
            return Err(self.malformed(&format!("{name} {words:#x} has more than 48 bits")));
        }
        Ok(words)
    }

    /// A number that things have been given or counted with one by one: nobody gets to 2^62.
    pub(crate) fn number(&mut self, name: &str) -> Result<u64, Error> {
        let number = self.u64()?;
        if number >= 1 << 62 {
            return Err(self.malformed(&format!("{name} {number:#x}")));
        }
        Ok(number)
    }

    /// A count of at most `most`.
    pub(crate) fn count(&mut self, most: usize, name: &str) -> Result<usize, Error> {
        let count = self.u32()?;
        match usize::try_from(count) {
            Ok(count) if count <= most => Ok(count),
            _ => Err(self.malformed(&format!("{count} {name}, more than {most}"))),
        }
    }

    /// Nothing may be left.
    pub(crate) fn end(self) -> Result<(), Error> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(self.malformed(&format!("{} bytes behind its end", self.rest.len())))
    }
}

/// Writes a length as u32. Lengths are bounded where they come in.
pub(crate) fn put_count(bytes: &mut Vec<u8>, count: usize) {
    bytes.extend_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
}
