//! The metadata envelope: two slots written in turn, the valid one with the higher generation counts.
//!
//! Callers: `store` and `log`, which put their payload in. The bytes are settled in `docs/format/metadata.md`:
//!
//! ```text
//! 0        8       12     16           24          28        28+n       32+n        65536    131072
//! | magic  | version| kind | generation | payload n | payload | CRC-32C | means nothing | the same |
//! ```
//!
//! [`encode_slot`] and [`decode_slot`] are pure; [`decode_slot`] takes arbitrary bytes and never panics (a fuzz target).
//! [`MetadataArea`] reads both slots of a device, decides as the document's table says, and touches nothing when it refuses.
//!
//! A slot of another format version refuses the device, whatever the other slot holds: the program that knows that version writes
//! the slots in turn as this one does, so the valid slot beside it is the generation before.
//!
//! Invariant: the next generation goes to the slot that does *not* hold the current one, so a torn write can damage only
//! what has been superseded. Within a slot the envelope is there twice, so that rot of the newest one does not bring back
//! the older generation: that would take back what a flush has acknowledged.

use crate::BLOCK_BYTES;
use crate::device::{METADATA_SLOT_BYTES, MetadataSlot, StorageDevice};
use crate::error::{DeviceError, DeviceErrorKind};

/// The first bytes of a written slot.
pub const MAGIC: [u8; 8] = *b"OXFSTMD1";
/// The version of the envelope that this code writes and reads.
pub const FORMAT_VERSION: u32 = 1;
/// Bytes from the first copy of the envelope in a slot to the second one.
pub const COPY_BYTES: usize = METADATA_SLOT_BYTES / 2;
/// Longest payload of a slot in bytes (inclusive).
pub const PAYLOAD_BYTES_MAX: usize = COPY_BYTES - HEADER_BYTES - 4;

const HEADER_BYTES: usize = 28;

/// What a store's metadata is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentKind {
    /// A key-value store.
    FasterKv,
    /// A log.
    FasterLog,
}

impl ContentKind {
    /// The number in the envelope.
    #[must_use]
    pub fn number(self) -> u32 {
        match self {
            ContentKind::FasterKv => 1,
            ContentKind::FasterLog => 2,
        }
    }

    fn name(number: u32) -> String {
        match number {
            1 => "a FasterKv".to_owned(),
            2 => "a FasterLog".to_owned(),
            other => format!("content of the unknown kind {other}"),
        }
    }
}

/// What the bytes of one slot are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SlotState {
    /// All zero: never written.
    Empty,
    /// Checksum and length of at least one copy are right.
    Valid {
        /// Number of the content kind, known to this version or not.
        kind: u32,
        /// Generation, from 1.
        generation: u64,
        /// The payload.
        payload: Vec<u8>,
        /// The other copy is something else: a write of the slot was torn, or it was damaged later.
        single: bool,
    },
    /// Not zero, and without the magic: somebody else's bytes.
    Foreign,
    /// The magic with another format version, and no copy that is valid in this one; nothing else in it can be judged.
    OtherVersion(
        /// The version found.
        u32,
    ),
    /// Ours, and the length or the checksum is wrong.
    Damaged,
}

/// The bytes of a slot, up to and including the checksum of the second copy.
///
/// # Errors
/// `InvalidRequest` for a payload longer than [`PAYLOAD_BYTES_MAX`] or generation 0.
pub fn encode_slot(kind: ContentKind, generation: u64, payload: &[u8]) -> Result<Vec<u8>, DeviceError> {
    let invalid = |message| Err(DeviceError::new(DeviceErrorKind::InvalidRequest, message));
    let Some(length) = u32::try_from(payload.len()).ok().filter(|_| payload.len() <= PAYLOAD_BYTES_MAX)
    else {
        return invalid(format!(
            "{} bytes of metadata; a slot holds at most {PAYLOAD_BYTES_MAX}",
            payload.len()
        ));
    };
    if generation == 0 {
        return invalid("metadata generations start at 1".to_owned());
    }
    let mut bytes = Vec::with_capacity(COPY_BYTES + HEADER_BYTES + payload.len() + 4);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    bytes.extend_from_slice(&kind.number().to_le_bytes());
    bytes.extend_from_slice(&generation.to_le_bytes());
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(payload);
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
    let envelope_bytes = bytes.len();
    bytes.resize(COPY_BYTES, 0);
    bytes.extend_from_within(..envelope_bytes);
    Ok(bytes)
}

/// Judges the bytes of a slot. Any bytes of any length are allowed.
#[must_use]
pub fn decode_slot(bytes: &[u8]) -> SlotState {
    let (first, second) = bytes.split_at_checked(COPY_BYTES).unwrap_or((bytes, &[]));
    let (first, second) = (decode_copy(first), decode_copy(second));
    let single = first != second;
    match if first.rank() >= second.rank() { first } else { second } {
        SlotState::Valid { kind, generation, payload, .. } => {
            SlotState::Valid { kind, generation, payload, single }
        }
        unreadable => unreadable,
    }
}

impl SlotState {
    /// Which of two copies says more about the slot: the higher rank.
    fn rank(&self) -> (u8, u64) {
        match self {
            SlotState::Empty => (0, 0),
            SlotState::Foreign => (1, 0),
            SlotState::Damaged => (2, 0),
            SlotState::OtherVersion(_) => (3, 0),
            SlotState::Valid { generation, .. } => (4, *generation),
        }
    }
}

/// Judges one copy of the envelope; a valid one is not called single.
fn decode_copy(bytes: &[u8]) -> SlotState {
    if bytes.iter().all(|byte| *byte == 0) {
        return SlotState::Empty;
    }
    if !bytes.starts_with(&MAGIC) {
        return SlotState::Foreign;
    }
    match u32_at(bytes, 8) {
        Some(FORMAT_VERSION) => decode_envelope(bytes).unwrap_or(SlotState::Damaged),
        Some(other) if !is_rot_of_version(bytes) => SlotState::OtherVersion(other),
        _ => SlotState::Damaged,
    }
}

/// Whether the copy verifies with this version in place of the one it names: then it is one of ours, and the version rotted. One
/// of another version does not verify so, because its checksum covers the version.
fn is_rot_of_version(bytes: &[u8]) -> bool {
    let mut restored = bytes.to_vec();
    restored.splice(8..12, FORMAT_VERSION.to_le_bytes());
    decode_envelope(&restored).is_some()
}

/// `None` when the length or the checksum is wrong.
fn decode_envelope(bytes: &[u8]) -> Option<SlotState> {
    let kind = u32_at(bytes, 12)?;
    let generation = u64::from_le_bytes(bytes.get(16..24)?.try_into().ok()?);
    let length = usize::try_from(u32_at(bytes, 24)?).ok().filter(|length| *length <= PAYLOAD_BYTES_MAX)?;
    let end = HEADER_BYTES + length;
    let payload = bytes.get(HEADER_BYTES..end)?;
    let checksum = u32_at(bytes, end)?;
    let good = generation > 0 && crc32c::crc32c(bytes.get(..end)?) == checksum;
    good.then(|| SlotState::Valid { kind, generation, payload: payload.to_vec(), single: false })
}

fn u32_at(bytes: &[u8], start: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(start..start.checked_add(4)?)?.try_into().ok()?))
}

/// What [`MetadataArea::read`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The generation that counts.
    pub generation: u64,
    /// Its payload.
    pub payload: Vec<u8>,
    /// A copy of the envelope is neither valid nor empty: a write of its slot was torn, or it was damaged later. Nothing
    /// that an earlier call acknowledged is lost by a torn write; worth a report.
    pub damaged_copy: bool,
}

/// The metadata of one device: which generation is current, and where the next one goes.
///
/// What was read at open need not be durable: the process that wrote it may have been killed before its sync, or the sync
/// failed. So nothing is built on it before it was written once more ([`MetadataArea::confirm`]): not the next generation, which
/// goes over the one before, and no answer that says "durable".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataArea {
    kind: ContentKind,
    generation: u64,
    /// The payload that was read, until it is confirmed.
    unconfirmed: Option<Vec<u8>>,
}

impl MetadataArea {
    /// Reads both slots and decides. `Ok((area, None))` is a fresh device.
    ///
    /// # Errors
    /// `InvalidRequest` for a foreign file, another format version or another content kind; `Corrupt` when a slot was
    /// written and none is valid; I/O errors. In every case the device was not touched.
    pub fn open(
        device: &dyn StorageDevice,
        expected_kind: ContentKind,
    ) -> Result<(Self, Option<Loaded>), DeviceError> {
        let loaded = Self::read(device, expected_kind)?;
        let generation = loaded.as_ref().map_or(0, |loaded| loaded.generation);
        let unconfirmed = loaded.as_ref().map(|loaded| loaded.payload.clone());
        Ok((Self { kind: expected_kind, generation, unconfirmed }, loaded))
    }

    /// Like [`open`](Self::open), for a reader that will not write.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn read(
        device: &dyn StorageDevice,
        expected_kind: ContentKind,
    ) -> Result<Option<Loaded>, DeviceError> {
        let mut buffer = vec![0; METADATA_SLOT_BYTES];
        let mut slots = [SlotState::Empty, SlotState::Empty];
        for (slot, state) in MetadataSlot::ALL.into_iter().zip(&mut slots) {
            device.read_metadata(slot, &mut buffer)?;
            *state = decode_slot(&buffer);
        }
        choose(slots, expected_kind).map_err(|(kind, message)| {
            DeviceError::new(kind, format!("{} {message}; nothing was changed", device.describe()))
        })
    }

    /// What the first block of each slot says its generation is; 0 for one that says nothing. Nothing is verified: a reader learns
    /// cheaply *whether* something was written since it looked last, and then reads all of it.
    ///
    /// # Errors
    /// I/O errors.
    pub fn peek(device: &dyn StorageDevice) -> Result<[u64; 2], DeviceError> {
        let mut generations = [0; 2];
        let mut front = [0; BLOCK_BYTES];
        for (slot, generation) in MetadataSlot::ALL.into_iter().zip(&mut generations) {
            device.read_metadata(slot, &mut front)?;
            *generation =
                front.get(16..24).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes);
        }
        Ok(generations)
    }

    /// The generation last read or written; 0 on a fresh device.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Makes durable what was read at open, by writing the same bytes to the same slot once; afterwards does nothing. A power
    /// loss on the way leaves each sector as it was or the same.
    ///
    /// # Durability
    /// When this returns `Ok` the current generation survives power loss.
    ///
    /// # Errors
    /// As [`StorageDevice::write_metadata`].
    pub fn confirm(&mut self, device: &dyn StorageDevice) -> Result<(), DeviceError> {
        if let Some(payload) = &self.unconfirmed {
            let bytes = encode_slot(self.kind, self.generation, payload)?;
            device.write_metadata(MetadataSlot::of_generation(self.generation), &bytes)?;
            self.unconfirmed = None;
        }
        Ok(())
    }

    /// Writes the next generation and returns its number; the first one of a fresh device is 1.
    ///
    /// # Durability
    /// When this returns `Ok` the payload survives power loss. When it fails the earlier generation still does; whether
    /// the new one was written is unknown, and a repeated call writes the same generation again.
    ///
    /// # Errors
    /// As [`encode_slot`] and [`StorageDevice::write_metadata`].
    pub fn write_next(&mut self, device: &dyn StorageDevice, payload: &[u8]) -> Result<u64, DeviceError> {
        let generation = self.generation + 1;
        let bytes = encode_slot(self.kind, generation, payload)?;
        self.confirm(device)?;
        device.write_metadata(MetadataSlot::of_generation(generation), &bytes)?;
        self.generation = generation;
        Ok(generation)
    }
}

type Refusal = (DeviceErrorKind, String);

fn choose(slots: [SlotState; 2], expected: ContentKind) -> Result<Option<Loaded>, Refusal> {
    let [even, odd] = slots;
    let (best, other) = if even.rank() >= odd.rank() { (even, odd) } else { (odd, even) };
    match (best, other) {
        // First: what is valid beside it is older than what that other program has acknowledged.
        (SlotState::OtherVersion(version), _) | (_, SlotState::OtherVersion(version)) => Err((
            DeviceErrorKind::InvalidRequest,
            format!(
                "holds metadata of format version {version}; this program knows version {FORMAT_VERSION}"
            ),
        )),
        (SlotState::Valid { kind, generation, payload, single }, other) => {
            let other_damaged = !matches!(other, SlotState::Empty | SlotState::Valid { single: false, .. });
            accept(kind, generation, payload, single || other_damaged, expected)
        }
        (SlotState::Empty, _) => Ok(None),
        (SlotState::Damaged, _) => {
            Err((DeviceErrorKind::Corrupt, "has no undamaged metadata slot".to_owned()))
        }
        (SlotState::Foreign, _) => Err((
            DeviceErrorKind::InvalidRequest,
            "holds something that is not an oxifaster store".to_owned(),
        )),
    }
}

fn accept(
    kind: u32,
    generation: u64,
    payload: Vec<u8>,
    damaged_copy: bool,
    expected: ContentKind,
) -> Result<Option<Loaded>, Refusal> {
    if kind == expected.number() {
        return Ok(Some(Loaded { generation, payload, damaged_copy }));
    }
    let (found, wanted) = (ContentKind::name(kind), ContentKind::name(expected.number()));
    Err((DeviceErrorKind::InvalidRequest, format!("holds {found}, not {wanted}")))
}

#[cfg(test)]
mod tests;
