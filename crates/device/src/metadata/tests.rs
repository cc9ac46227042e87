//! The envelope byte by byte, the table of decisions row by row, and arbitrary bytes.

use proptest::prelude::{any, proptest};

use super::{
    COPY_BYTES, ContentKind, FORMAT_VERSION, MAGIC, MetadataArea, PAYLOAD_BYTES_MAX, SlotState, decode_slot,
    encode_slot,
};
use crate::device::{METADATA_SLOT_BYTES, MetadataSlot, StorageDevice};
use crate::error::DeviceErrorKind;
use crate::null::NullDisk;

fn device_with(even: &[u8], odd: &[u8]) -> NullDisk {
    let device = NullDisk::new();
    device.write_metadata(MetadataSlot::Even, even).unwrap();
    device.write_metadata(MetadataSlot::Odd, odd).unwrap();
    device
}

fn refusal(even: &[u8], odd: &[u8]) -> (DeviceErrorKind, String) {
    let device = device_with(even, odd);
    let error = MetadataArea::read(&device, ContentKind::FasterKv).unwrap_err();
    (error.kind(), error.to_string())
}

fn slot(generation: u64) -> Vec<u8> {
    encode_slot(ContentKind::FasterKv, generation, format!("payload {generation}").as_bytes()).unwrap()
}

/// Both copies of the envelope are damaged.
fn damaged(generation: u64) -> Vec<u8> {
    let mut bytes = slot(generation);
    bytes[30] ^= 1;
    bytes[COPY_BYTES + 30] ^= 1;
    bytes
}

/// One copy of the envelope is damaged.
fn half_damaged(generation: u64, copy: usize) -> Vec<u8> {
    let mut bytes = slot(generation);
    bytes[copy * COPY_BYTES + 30] ^= 1;
    bytes
}

fn valid(kind: u32, generation: u64, payload: &[u8], single: bool) -> SlotState {
    SlotState::Valid { kind, generation, payload: payload.to_vec(), single }
}

/// The document's example in bytes; the checksum is CRC-32C of the 30 bytes before it.
#[test]
fn golden_bytes() {
    let bytes = encode_slot(ContentKind::FasterLog, 7, b"ab").unwrap();
    let mut expected = b"OXFSTMD1".to_vec();
    expected.extend([1, 0, 0, 0, 2, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, b'a', b'b']);
    assert_eq!(bytes[..30], expected[..]);
    assert_eq!(bytes[30..34], crc32c::crc32c(&expected).to_le_bytes());
    assert!(bytes[34..COPY_BYTES].iter().all(|byte| *byte == 0));
    assert_eq!(bytes[COPY_BYTES..], bytes[..34]);
    assert_eq!(decode_slot(&bytes), valid(2, 7, b"ab", false));
    let mut padded = bytes;
    padded[34..COPY_BYTES].fill(0xEE);
    padded.resize(METADATA_SLOT_BYTES, 0xEE);
    assert_eq!(decode_slot(&padded), valid(2, 7, b"ab", false), "bytes behind the checksums mean nothing");
}

#[test]
fn one_flipped_bit_is_noticed_and_loses_nothing() {
    let bytes = slot(3);
    let envelope = bytes.len() - COPY_BYTES;
    for (copy, bit) in (0..2).flat_map(|copy| (0..envelope * 8).map(move |bit| (copy, bit))) {
        let mut flipped = bytes.clone();
        flipped[copy * COPY_BYTES + bit / 8] ^= 1 << (bit % 8);
        assert_eq!(decode_slot(&flipped), valid(1, 3, b"payload 3", true), "bit {bit} of copy {copy}");
    }
}

#[test]
fn a_flipped_bit_in_each_copy_is_noticed() {
    let bytes = slot(3);
    for bit in 0..(bytes.len() - COPY_BYTES) * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        flipped[COPY_BYTES + bit / 8] ^= 1 << (bit % 8);
        let state = decode_slot(&flipped);
        let expected = match bit / 8 {
            0..8 => state == SlotState::Foreign,
            _ => state == SlotState::Damaged,
        };
        assert!(expected, "bit {bit}: {state:?}");
    }
}

/// As a program of format version 2 writes it: another version, under its own checksum.
fn slot_of_version_2(generation: u64) -> Vec<u8> {
    let mut bytes = slot(generation);
    let end = bytes.len() - COPY_BYTES - 4;
    for copy in [0, COPY_BYTES] {
        bytes[copy + 8..copy + 12].copy_from_slice(&2_u32.to_le_bytes());
        let checksum = crc32c::crc32c(&bytes[copy..copy + end]).to_le_bytes();
        bytes[copy + end..copy + end + 4].copy_from_slice(&checksum);
    }
    bytes
}

/// A program of version 2 wrote a generation over ours and was told that it is durable; the other slot is still ours. To take
/// that one would take back what the other program has flushed, and our next write would make it final.
#[test]
fn a_slot_of_another_version_is_never_rolled_back() {
    let newer = slot_of_version_2(5);
    let mut newer_and_rotten = newer.clone();
    newer_and_rotten[COPY_BYTES + 30] ^= 1;
    for other in [newer, newer_and_rotten, slot_of_version_2(3)] {
        for (even, odd) in
            [(slot(4), other.clone()), (half_damaged(4, 0), other.clone()), (damaged(4), other)]
        {
            let device = device_with(&even, &odd);
            let error = MetadataArea::open(&device, ContentKind::FasterKv).unwrap_err();
            assert_eq!(error.kind(), DeviceErrorKind::InvalidRequest);
            assert!(error.to_string().contains("format version 2"), "{error}");
            let mut found = vec![0; METADATA_SLOT_BYTES];
            device.read_metadata(MetadataSlot::Odd, &mut found).unwrap();
            assert!(found.starts_with(&odd), "nothing is touched");
        }
    }
    let (kind, text) = refusal(&slot_of_version_2(4), &slot(3));
    assert_eq!((kind, text.contains("format version 2")), (DeviceErrorKind::InvalidRequest, true));
}

/// The other program lost power between the copies of its first slot: it has acknowledged nothing, so ours goes on.
#[test]
fn a_torn_write_of_another_version_took_nothing() {
    let torn = [&slot_of_version_2(5)[..COPY_BYTES], &slot(3)[COPY_BYTES..]].concat();
    let loaded = MetadataArea::read(&device_with(&slot(4), &torn), ContentKind::FasterKv).unwrap().unwrap();
    assert_eq!((loaded.generation, loaded.damaged_copy), (4, true));
}

/// Rot of the version in both copies of a slot is damage like any other: the checksums say which version it was.
#[test]
fn rot_of_a_version_is_not_another_version() {
    for bit in 0..32 {
        let mut rotten = slot(5);
        rotten[8 + bit / 8] ^= 1 << (bit % 8);
        rotten[COPY_BYTES + 8 + (bit + 7) % 32 / 8] ^= 1 << ((bit + 7) % 8);
        assert_eq!(decode_slot(&rotten), SlotState::Damaged, "bit {bit}");
        let loaded = MetadataArea::read(&device_with(&slot(4), &rotten), ContentKind::FasterKv).unwrap();
        assert_eq!(loaded.map(|loaded| (loaded.generation, loaded.damaged_copy)), Some((4, true)));
    }
}

/// The write of a slot stopped between its copies: the newer copy counts, wherever it is, and is called single.
#[test]
fn the_newer_copy_of_a_torn_slot_counts() {
    let (old, new) = (slot(4), slot(6));
    let new_first = [&new[..COPY_BYTES], &old[COPY_BYTES..]].concat();
    let new_second = [&old[..COPY_BYTES], &new[COPY_BYTES..]].concat();
    for torn in [&new_first, &new_second, &new[..COPY_BYTES].to_vec()] {
        assert_eq!(decode_slot(torn), valid(1, 6, b"payload 6", true));
    }
}

#[test]
fn the_longest_payload_fits_and_one_byte_more_does_not() {
    let longest = vec![5; PAYLOAD_BYTES_MAX];
    let bytes = encode_slot(ContentKind::FasterKv, 1, &longest).unwrap();
    assert_eq!(bytes.len(), METADATA_SLOT_BYTES);
    assert_eq!(decode_slot(&bytes), valid(1, 1, &longest, false));
    let error = encode_slot(ContentKind::FasterKv, 1, &vec![5; PAYLOAD_BYTES_MAX + 1]).unwrap_err();
    assert_eq!(error.kind(), DeviceErrorKind::InvalidRequest);
}

#[test]
fn generations_start_at_one_and_alternate() {
    let device = NullDisk::new();
    let (mut area, loaded) = MetadataArea::open(&device, ContentKind::FasterKv).unwrap();
    assert!(loaded.is_none());
    for generation in 1..=5_u64 {
        assert_eq!(area.write_next(&device, &[u8::try_from(generation).unwrap()]).unwrap(), generation);
        let (reopened, loaded) = MetadataArea::open(&device, ContentKind::FasterKv).unwrap();
        assert_eq!(reopened.generation(), generation);
        let loaded = loaded.unwrap();
        assert_eq!((loaded.generation, loaded.payload[0]), (generation, u8::try_from(generation).unwrap()));
        assert!(!loaded.damaged_copy);
    }
    let mut odd = vec![0; METADATA_SLOT_BYTES];
    device.read_metadata(MetadataSlot::Odd, &mut odd).unwrap();
    assert!(matches!(decode_slot(&odd), SlotState::Valid { generation: 5, .. }));
}

#[test]
fn the_higher_generation_counts_wherever_it_is() {
    for (even, odd, expected) in [(4, 3, 4), (4, 5, 5)] {
        let device = device_with(&slot(even), &slot(odd));
        let loaded = MetadataArea::read(&device, ContentKind::FasterKv).unwrap().unwrap();
        assert_eq!((loaded.generation, loaded.damaged_copy), (expected, false));
        assert_eq!(loaded.payload, format!("payload {expected}").as_bytes());
    }
}

#[test]
fn one_damaged_slot_is_reported_and_survived() {
    for (even, odd) in [(damaged(4), slot(3)), (slot(4), damaged(5)), (b"junk".to_vec(), slot(3))] {
        let device = device_with(&even, &odd);
        let loaded = MetadataArea::read(&device, ContentKind::FasterKv).unwrap().unwrap();
        assert!(loaded.damaged_copy);
    }
}

/// Rot of the newest metadata must not bring back the generation before: a flush was acknowledged in between.
#[test]
fn rot_of_one_copy_of_the_newest_slot_takes_nothing_back() {
    for (even, odd) in [
        (half_damaged(4, 0), slot(3)),
        (half_damaged(4, 1), slot(3)),
        (half_damaged(4, 1), half_damaged(3, 0)),
    ] {
        let device = device_with(&even, &odd);
        let loaded = MetadataArea::read(&device, ContentKind::FasterKv).unwrap().unwrap();
        assert_eq!((loaded.generation, loaded.damaged_copy), (4, true));
    }
    let device = device_with(&slot(4), &half_damaged(3, 0));
    let loaded = MetadataArea::read(&device, ContentKind::FasterKv).unwrap().unwrap();
    assert_eq!((loaded.generation, loaded.damaged_copy), (4, true));
}

#[test]
fn refusals_name_their_reason() {
    let (kind, text) = refusal(b"#!/bin/sh", &[]);
    assert_eq!(kind, DeviceErrorKind::InvalidRequest);
    assert!(text.contains("not an oxifaster store"), "{text}");

    let mut other_version = MAGIC.to_vec();
    other_version.extend((FORMAT_VERSION + 1).to_le_bytes());
    for (even, odd) in [(other_version.clone(), Vec::new()), (damaged(2), other_version)] {
        let (kind, text) = refusal(&even, &odd);
        assert_eq!(kind, DeviceErrorKind::InvalidRequest);
        assert!(text.contains("format version 2"), "{text}");
    }

    for (even, odd) in [(damaged(2), damaged(1)), (damaged(2), Vec::new()), (b"junk".to_vec(), damaged(1))] {
        let (kind, text) = refusal(&even, &odd);
        assert_eq!(kind, DeviceErrorKind::Corrupt, "{text}");
    }

    let log = encode_slot(ContentKind::FasterLog, 1, &[]).unwrap();
    let (kind, text) = refusal(&[], &log);
    assert_eq!(kind, DeviceErrorKind::InvalidRequest);
    assert!(text.contains("holds a FasterLog, not a FasterKv"), "{text}");
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode_slot(&bytes);
        let mut with_magic = MAGIC.to_vec();
        with_magic.extend(FORMAT_VERSION.to_le_bytes());
        with_magic.extend(bytes);
        assert!(!matches!(decode_slot(&with_magic), SlotState::Empty | SlotState::Foreign));
    }

    #[test]
    fn what_was_encoded_decodes(generation in 1_u64.., payload in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let bytes = encode_slot(ContentKind::FasterKv, generation, &payload).unwrap();
        assert_eq!(decode_slot(&bytes), valid(1, generation, &payload, false));
    }
}
