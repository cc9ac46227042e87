//! What an entry is in words: header, payload, checksum (`docs/format/log.md`). Pure.
//!
//! Callers: whoever writes into the ring, and whoever verifies what comes back. Decoding takes arbitrary words and never panics.

use oxifaster_core::crc32c;
use oxifaster_core::sync::atomic::AtomicU64;

/// Longest payload that the format can hold, in bytes (inclusive).
pub(crate) const PAYLOAD_BYTES_MAX: usize = (1 << LENGTH_BITS) - 1;

const LENGTH_BITS: u32 = 28;

/// What an entry is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntryKind {
    /// The user's bytes.
    User,
    /// A commit record.
    Commit,
    /// Zeros up to the end of a block.
    Padding,
}

impl EntryKind {
    fn number(self) -> u32 {
        match self {
            EntryKind::User => 1,
            EntryKind::Commit => 2,
            EntryKind::Padding => 3,
        }
    }
}

/// The first word of an entry. Never zero: a word of zeros says that nothing is published there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: EntryKind,
    pub(crate) payload_bytes: usize,
    pub(crate) checksum: u32,
}

impl Header {
    /// What a word says, if it can be a header at all.
    pub(crate) fn decode(word: u64) -> Option<Self> {
        let [a, b, c, d, e, f, g, h] = word.to_le_bytes();
        let described = u32::from_le_bytes([e, f, g, h]);
        let kind = match described >> LENGTH_BITS {
            1 => EntryKind::User,
            2 => EntryKind::Commit,
            3 => EntryKind::Padding,
            _ => return None,
        };
        let payload_bytes = usize::try_from(described & ((1 << LENGTH_BITS) - 1)).ok()?;
        Some(Self { kind, payload_bytes, checksum: u32::from_le_bytes([a, b, c, d]) })
    }

    /// The word.
    pub(crate) fn encode(self) -> u64 {
        u64::from(self.checksum) | u64::from(description(self.kind, self.payload_bytes)) << 32
    }

    /// Words of the whole entry, this one included.
    pub(crate) fn words(self) -> u64 {
        entry_words(self.payload_bytes)
    }
}

/// Kind and length, as in bytes 4..8. Lengths are checked where they come in.
fn description(kind: EntryKind, payload_bytes: usize) -> u32 {
    debug_assert!(payload_bytes <= PAYLOAD_BYTES_MAX, "a payload of {payload_bytes} bytes");
    kind.number() << LENGTH_BITS | u32::try_from(payload_bytes).unwrap_or(0)
}

/// Words of an entry with a payload of so many bytes.
#[inline]
pub(crate) fn entry_words(payload_bytes: usize) -> u64 {
    1 + (payload_bytes as u64).div_ceil(8)
}

/// The checksum's state behind log id and incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seed(pub(crate) u32);

impl Seed {
    /// The seed of one incarnation of a log.
    pub(crate) fn new(log_id: [u8; 16], incarnation: u64) -> Self {
        Self(crc32c::append(crc32c::append(0, &log_id), &incarnation.to_le_bytes()))
    }

    /// The header of an entry at `address`.
    #[inline]
    pub(crate) fn header(self, address: u64, kind: EntryKind, payload: &[u8]) -> Header {
        let checksum = crc32c::append_entry(self.0, address, description(kind, payload.len()), payload);
        Header { kind, payload_bytes: payload.len(), checksum }
    }

    /// The same, of a payload that is stored in reserved memory meanwhile: `pieces`, from the word behind the header on.
    #[inline]
    pub(crate) fn store(
        self,
        address: u64,
        kind: EntryKind,
        payload: &[u8],
        pieces: [&[AtomicU64]; 2],
    ) -> Header {
        let described = description(kind, payload.len());
        let checksum = crc32c::store_entry(self.0, address, described, payload, pieces);
        Header { kind, payload_bytes: payload.len(), checksum }
    }

    /// Whether `bytes`, an entry with its header, lie at `address` as they were written.
    pub(crate) fn verifies(self, address: u64, header: Header, bytes: &[u8]) -> bool {
        let Some(rest) = bytes.get(8..) else { return false };
        let Some((payload, zeros)) = rest.split_at_checked(header.payload_bytes) else { return false };
        // The zeros of a padding carry nothing, but a bit that turned is told all the same.
        self.header(address, header.kind, payload) == header
            && zeros.iter().all(|byte| *byte == 0)
            && (header.kind != EntryKind::Padding || payload.iter().all(|byte| *byte == 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: Seed = Seed(7);

    fn bytes_of(header: Header, payload: &[u8]) -> Vec<u8> {
        let mut bytes = header.encode().to_le_bytes().to_vec();
        bytes.extend_from_slice(payload);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    }

    #[test]
    fn headers_round_trip_and_zero_is_none() {
        assert_eq!(Header::decode(0), None);
        for kind in [EntryKind::User, EntryKind::Commit, EntryKind::Padding] {
            for payload_bytes in [0, 1, 4095, PAYLOAD_BYTES_MAX] {
                let header = Header { kind, payload_bytes, checksum: 0xDEAD_BEEF };
                assert_eq!(Header::decode(header.encode()), Some(header));
            }
        }
        assert_eq!(Header::decode(0xF << 60), None);
        assert_eq!((entry_words(0), entry_words(1), entry_words(8), entry_words(9)), (1, 2, 2, 3));
    }

    #[test]
    fn golden_entry() {
        let seed = Seed::new([3; 16], 5);
        let header = seed.header(512, EntryKind::User, b"hello");
        let hex: String = bytes_of(header, b"hello").iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(&hex[8..], "0500001068656c6c6f000000");
        // The checksum of the concatenation that the format page names, computed in one go.
        let mut whole = vec![3_u8; 16];
        whole.extend_from_slice(&5_u64.to_le_bytes());
        whole.extend_from_slice(&512_u64.to_le_bytes());
        whole.extend_from_slice(&0x1000_0005_u32.to_le_bytes());
        whole.extend_from_slice(b"hello");
        assert_eq!(header.checksum, crc32c::append(0, &whole));
    }

    #[test]
    fn checksums_do_not_depend_on_where_the_payload_is_stored() {
        let payload: Vec<u8> = (0..600_usize).map(|place| place.to_le_bytes()[0]).collect();
        for len in [0, 1, 243, 244, 245, 600] {
            let header = SEED.header(99, EntryKind::User, &payload[..len]);
            let mut whole = 99_u64.to_le_bytes().to_vec();
            whole.extend_from_slice(&header.encode().to_le_bytes()[4..]);
            whole.extend_from_slice(&payload[..len]);
            assert_eq!(header.checksum, crc32c::append(SEED.0, &whole), "{len} bytes");
        }
    }

    #[test]
    fn every_flipped_bit_and_every_other_place_is_noticed() {
        let header = SEED.header(77, EntryKind::User, b"some payload");
        let good = bytes_of(header, b"some payload");
        assert!(SEED.verifies(77, header, &good));
        assert!(!SEED.verifies(78, header, &good));
        assert!(!Seed(8).verifies(77, header, &good));
        assert!(!SEED.verifies(77, header, &good[..good.len() - 8]));
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let word = u64::from_le_bytes(bad[..8].try_into().unwrap());
            let passes = Header::decode(word).is_some_and(|header| {
                usize::try_from(header.words() * 8).unwrap() == bad.len() && SEED.verifies(77, header, &bad)
            });
            assert!(!passes, "bit {bit}");
        }
    }
}
