//! What a log knows about itself across restarts: the payload of the metadata area (`docs/format/metadata.md`).
//!
//! Called by the hybrid log at open, flush and close. Byte-exact and bounds-checked: decoding arbitrary bytes gives a
//! value or an error, never a panic.

use super::checksum::Incarnation;
use super::page_layout::{PAGE_SIZE_BITS_MAX, PAGE_SIZE_BITS_MIN, PageLayout};
use crate::address::Address;
use crate::error::{Error, ErrorKind};
use oxifaster_device::BLOCK_WORDS;

/// Facts of the layer above that are fixed when a store is created, or only grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnerFacts {
    /// Stable number of the hash.
    pub hash_kind: u8,
    /// log2 of the largest index table, in buckets, used since the log began.
    pub table_bits: u8,
    /// Stable number of the key codec.
    pub key_codec: u32,
    /// Stable number of the value codec.
    pub value_codec: u32,
}

/// Checksums of the data blocks below the consistent tail in the page that is not complete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenPage {
    /// The page.
    pub page: u64,
    /// One number per data block, from the first on.
    pub checksums: Vec<u32>,
}

/// The metadata of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogMetadata {
    /// Random identity of the store.
    pub store_id: [u8; 16],
    /// log2 of the page size in bytes.
    pub page_size_bits: u32,
    /// The log ends at the consistent tail: nothing was written behind it.
    pub clean: bool,
    /// Facts of the layer above.
    pub owner: OwnerFacts,
    /// First address that exists.
    pub begin: Address,
    /// The log up to here is one consistent state.
    pub consistent_tail: Address,
    /// Time lines, oldest first; at least one.
    pub incarnations: Vec<Incarnation>,
    /// The page that the consistent tail lies in.
    pub open_page: OpenPage,
    /// Later additions; empty in version 1.
    pub extension: Vec<u8>,
}

fn malformed(what: &str) -> Error {
    Error::new(ErrorKind::Corruption, format!("the store's metadata is malformed: {what}"))
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (front, rest) =
            self.rest.split_first_chunk::<N>().ok_or_else(|| malformed("it ends too early"))?;
        self.rest = rest;
        Ok(*front)
    }

    fn u8(&mut self) -> Result<u8, Error> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Result<u32, Error> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Error> {
        self.take().map(u64::from_le_bytes)
    }

    fn address(&mut self, name: &str) -> Result<Address, Error> {
        let words = self.u64()?;
        if words > Address::MAX.words() {
            return Err(malformed(&format!("{name} {words:#x} has more than 48 bits")));
        }
        Ok(Address::from_low_bits(words))
    }

    /// A count of items of `item_bytes`, refused when the payload can't hold them.
    fn count(&mut self, item_bytes: usize, name: &str) -> Result<usize, Error> {
        let count = usize::try_from(self.u32()?).unwrap_or(usize::MAX);
        if count.saturating_mul(item_bytes) > self.rest.len() {
            return Err(malformed(&format!("{count} {name} do not fit")));
        }
        Ok(count)
    }
}

impl LogMetadata {
    /// The payload's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes =
            Vec::with_capacity(128 + self.incarnations.len() * 16 + self.open_page.checksums.len() * 4);
        bytes.extend_from_slice(&self.store_id);
        let page_size_bits = u8::try_from(self.page_size_bits).unwrap_or(u8::MAX);
        bytes.extend_from_slice(&[
            page_size_bits,
            self.owner.hash_kind,
            u8::from(self.clean),
            self.owner.table_bits,
        ]);
        bytes.extend_from_slice(&self.owner.key_codec.to_le_bytes());
        bytes.extend_from_slice(&self.owner.value_codec.to_le_bytes());
        bytes.extend_from_slice(&self.begin.words().to_le_bytes());
        bytes.extend_from_slice(&self.consistent_tail.words().to_le_bytes());
        put_count(&mut bytes, self.incarnations.len());
        for incarnation in &self.incarnations {
            bytes.extend_from_slice(&incarnation.number.to_le_bytes());
            bytes.extend_from_slice(&incarnation.start_offset.to_le_bytes());
        }
        bytes.extend_from_slice(&self.open_page.page.to_le_bytes());
        put_count(&mut bytes, self.open_page.checksums.len());
        for checksum in &self.open_page.checksums {
            bytes.extend_from_slice(&checksum.to_le_bytes());
        }
        put_count(&mut bytes, self.extension.len());
        bytes.extend_from_slice(&self.extension);
        bytes
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// `Corruption` for anything that [`encode`](Self::encode) can't have written.
    pub fn decode(payload: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader { rest: payload };
        let store_id = reader.take::<16>()?;
        let page_size_bits = u32::from(reader.u8()?);
        if !(PAGE_SIZE_BITS_MIN..=PAGE_SIZE_BITS_MAX).contains(&page_size_bits) {
            return Err(malformed(&format!("page size bits {page_size_bits}")));
        }
        let hash_kind = reader.u8()?;
        let clean = match reader.u8()? {
            0 => false,
            1 => true,
            other => return Err(malformed(&format!("clean flag {other}"))),
        };
        let table_bits = reader.u8()?;
        if table_bits > 48 {
            return Err(malformed(&format!("table bits {table_bits}")));
        }
        let owner =
            OwnerFacts { hash_kind, table_bits, key_codec: reader.u32()?, value_codec: reader.u32()? };
        let begin = reader.address("the begin address")?;
        let consistent_tail = reader.address("the consistent tail")?;
        let mut incarnations = Vec::new();
        for _ in 0..reader.count(16, "incarnations")? {
            incarnations.push(Incarnation { number: reader.u64()?, start_offset: reader.u64()? });
        }
        let page = reader.u64()?;
        let mut checksums = Vec::new();
        for _ in 0..reader.count(4, "checksums")? {
            checksums.push(reader.u32()?);
        }
        let extension_len = reader.count(1, "extension bytes")?;
        let extension = reader.rest.get(..extension_len).unwrap_or_default().to_vec();
        let open_page = OpenPage { page, checksums };
        let metadata = Self {
            store_id,
            page_size_bits,
            clean,
            owner,
            begin,
            consistent_tail,
            incarnations,
            open_page,
            extension,
        };
        metadata.check()?;
        Ok(metadata)
    }

    /// Page geometry.
    #[must_use]
    pub fn layout(&self) -> PageLayout {
        PageLayout::new(self.page_size_bits)
    }

    /// What must hold between the fields.
    fn check(&self) -> Result<(), Error> {
        let layout = self.layout();
        if !self.consistent_tail.words().is_multiple_of(BLOCK_WORDS as u64)
            || self.begin > self.consistent_tail
        {
            return Err(malformed(&format!(
                "begin {} and consistent tail {}",
                self.begin, self.consistent_tail
            )));
        }
        let rising = self.incarnations.windows(2).all(|pair| match pair {
            [first, second] => first.number < second.number && first.start_offset < second.start_offset,
            _ => true,
        });
        if self.incarnations.is_empty() || !rising {
            return Err(malformed("its incarnations do not rise"));
        }
        let expected = open_page_blocks(layout, self.consistent_tail);
        if self.open_page.checksums.len() != expected
            || self.open_page.page != layout.page_of(self.consistent_tail)
        {
            return Err(malformed(&format!(
                "{} checksums of page {} for a consistent tail at {}",
                self.open_page.checksums.len(),
                self.open_page.page,
                self.consistent_tail
            )));
        }
        Ok(())
    }
}

/// Number of data blocks below `tail` in the page of `tail`.
#[must_use]
pub fn open_page_blocks(layout: PageLayout, tail: Address) -> usize {
    let offset = layout.offset_of(tail);
    if offset <= layout.first_word() { 0 } else { layout.data_block_of(offset) }
}

fn put_count(bytes: &mut Vec<u8>, count: usize) {
    bytes.extend_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> LogMetadata {
        LogMetadata {
            store_id: [3; 16],
            page_size_bits: 16,
            clean: true,
            owner: OwnerFacts { hash_kind: 1, table_bits: 12, key_codec: 0x0100_0008, value_codec: 1 },
            begin: Address::new(8192),
            consistent_tail: Address::new(8192 * 3 + 512 * 3),
            incarnations: vec![
                Incarnation { number: 1, start_offset: 0 },
                Incarnation { number: 4, start_offset: 8192 * 8 },
            ],
            open_page: OpenPage { page: 3, checksums: vec![0xAABB_CCDD, 2] },
            extension: Vec::new(),
        }
    }

    #[test]
    fn round_trip() {
        assert_eq!(LogMetadata::decode(&sample().encode()).unwrap(), sample());
    }

    #[test]
    fn every_shorter_payload_and_every_broken_relation_is_refused() {
        let bytes = sample().encode();
        for end in 0..bytes.len() {
            assert!(LogMetadata::decode(&bytes[..end]).is_err(), "{end} bytes");
        }
        for change in [
            |metadata: &mut LogMetadata| metadata.begin = Address::new(8192 * 9),
            |metadata: &mut LogMetadata| metadata.consistent_tail = Address::new(8192 * 3 + 1),
            |metadata: &mut LogMetadata| metadata.incarnations.reverse(),
            |metadata: &mut LogMetadata| metadata.incarnations.clear(),
            |metadata: &mut LogMetadata| metadata.open_page.checksums.truncate(1),
            |metadata: &mut LogMetadata| metadata.open_page.page = 2,
            |metadata: &mut LogMetadata| metadata.page_size_bits = 40,
        ] {
            let mut metadata = sample();
            change(&mut metadata);
            assert!(LogMetadata::decode(&metadata.encode()).is_err(), "{metadata:?}");
        }
    }

    #[test]
    fn golden_bytes() {
        let hex: String = sample().encode().iter().map(|byte| format!("{byte:02x}")).collect();
        let golden = concat!(
            "03030303030303030303030303030303",
            "10",
            "01",
            "01",
            "0c",
            "08000001",
            "01000000",
            "0020000000000000",
            "0066000000000000",
            "02000000",
            "0100000000000000",
            "0000000000000000",
            "0400000000000000",
            "0000010000000000",
            "0300000000000000",
            "02000000",
            "ddccbbaa",
            "02000000",
            "00000000",
        );
        assert_eq!(hex, golden);
    }
}
