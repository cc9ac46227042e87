//! The segment size of a segmented device, recorded in its `.meta` file behind the two slots.
//!
//! Opened with another size every block would be looked for in the wrong place and look like corruption; so the size is
//! recorded before the first segment is made, and compared (`docs/format/segments.md` has the bytes).

use super::block_file::{BlockFile, read_slot, write_slot};
use crate::BLOCK_BYTES;
use crate::device::METADATA_SLOT_BYTES;
use crate::error::{DeviceError, DeviceErrorKind};

/// Offset in the `.meta` file.
const OFFSET: u64 = 2 * METADATA_SLOT_BYTES as u64;
const MAGIC: [u8; 8] = *b"OXFSTSG1";
/// Bytes in front of the checksum.
const CHECKED_BYTES: usize = 16;

/// The recorded size in bytes, if there is one.
pub(super) fn recorded(meta: &BlockFile) -> Result<Option<u64>, DeviceError> {
    let mut block = [0_u8; BLOCK_BYTES];
    read_slot(meta, OFFSET, &mut block)?;
    if block.iter().all(|byte| *byte == 0) {
        return Ok(None);
    }
    let damaged = || {
        let message = "the record of the segment size is damaged, or not ours";
        DeviceError::new(DeviceErrorKind::Corrupt, message).at_path(meta.path()).at_offset(OFFSET)
    };
    decode(&block).map(Some).ok_or_else(damaged)
}

/// Compares what is recorded, if anything is, with `segment_bytes`. Says whether it is recorded.
pub(super) fn check(meta: &BlockFile, segment_bytes: u64) -> Result<bool, DeviceError> {
    match recorded(meta)? {
        None => Ok(false),
        Some(size) if size == segment_bytes => Ok(true),
        Some(size) => {
            let message = format!("this device has segments of {size} bytes, not of {segment_bytes}");
            let error = DeviceError::new(DeviceErrorKind::InvalidRequest, message);
            Err(error.at_path(meta.path()).at_offset(OFFSET))
        }
    }
}

/// Records the size. Durable with the next sync of the file.
pub(super) fn record(meta: &BlockFile, segment_bytes: u64) -> Result<(), DeviceError> {
    write_slot(meta, OFFSET, &encode(segment_bytes))
}

fn encode(segment_bytes: u64) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&segment_bytes.to_le_bytes());
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
    bytes
}

fn decode(block: &[u8; BLOCK_BYTES]) -> Option<u64> {
    let (checked, rest) = block.split_at_checked(CHECKED_BYTES)?;
    let checksum = u32::from_le_bytes(rest.first_chunk::<4>().copied()?);
    let value = checked.strip_prefix(&MAGIC)?.first_chunk::<8>().copied()?;
    (crc32c::crc32c(checked) == checksum).then_some(u64::from_le_bytes(value))
}
