//! Arbitrary bytes as a log whose checksums are all right: what the decoders of metadata and of commit records are shown is what the
//! fuzzer wrote. Whatever it means, nothing panics and nothing goes round for ever.
//!
//! Input: one byte of choices, the length of the metadata payload (u16), the payload, and the bytes of the log from its second block on.
//! Every entry that a walk could meet is signed for the place where it lies, under the log id and the time lines of the payload.

use std::collections::BTreeSet;

use oxifaster_core::{Address, crc32c};
use oxifaster_device::fault::FaultDevice;
use oxifaster_device::metadata::{ContentKind, encode_slot};
use oxifaster_device::{BLOCK_BYTES, MetadataSlot};
use oxifaster_log::{FasterLog, FasterLogConfig};

/// Where the log begins, in words.
const START: u64 = BLOCK_BYTES as u64 / 8;

/// Makes the log, opens it, uses it in every way, and opens it again.
pub fn run(bytes: &[u8]) {
    let [choices, low, high, rest @ ..] = bytes else { return };
    let length = usize::from(u16::from_le_bytes([*low, *high]));
    let (facts, blocks) = rest.split_at(length.min(rest.len()));
    let mut blocks = blocks.to_vec();
    blocks.resize(blocks.len().next_multiple_of(BLOCK_BYTES), 0);
    sign(&mut blocks, facts);
    let device = FaultDevice::new(1);
    device.overwrite(BLOCK_BYTES as u64, &blocks);
    for (slot, generation) in MetadataSlot::ALL.into_iter().zip(2..) {
        let Ok(envelope) = encode_slot(ContentKind::FasterLog, generation, facts) else { return };
        device.overwrite_metadata(slot, &envelope);
    }
    if choices & 1 == 1
        && let Ok(reader) = FasterLog::open_read_only(device.snapshot_durable())
    {
        let _ = reader.scan(..).finish();
        let _ = reader.entry(reader.first_entry_number());
        let _ = reader.commit_info();
        let _ = reader.tail(reader.begin_address()).try_next();
    }
    let config = FasterLogConfig::default().with_page_size(4096).with_memory_pages(8);
    let Ok(log) = FasterLog::open(config.clone(), device.clone()) else { return };
    let place = read(&log, &device);
    write(&log, place, *choices);
    drop(log);
    let Ok(log) = FasterLog::open(config, device.reopen()) else { return };
    let _ = log.scan(..).finish();
}

/// Reads in every way; returns the address of an entry in the middle.
fn read(log: &FasterLog, device: &FaultDevice) -> Address {
    let mut places = Vec::new();
    for found in log.scan(..) {
        let Ok((address, entry)) = found else { break };
        let written = device.read_bytes(address.byte_offset() + 8, entry.len());
        assert_eq!(entry, written, "the entry at {address} is not what lies there");
        places.push(address);
    }
    let first = log.first_entry_number();
    for number in [0, first, first.saturating_add(places.len() as u64 / 2), u64::MAX] {
        let _ = log.address_of(number);
        let _ = log.entry(number);
    }
    let _ = log.self_check();
    let _ = log.tail(log.begin_address()).try_next();
    if let Ok(mut consumer) = log.named_iterator("a") {
        let _ = consumer.try_next();
        let _ = consumer.complete();
    }
    let middle = places.get(places.len() / 2).copied();
    let place = middle.unwrap_or_else(|| log.committed_address());
    let _ = log.read_entry(place);
    place
}

/// Appends, and cuts where the choices say.
fn write(log: &FasterLog, place: Address, choices: u8) {
    let appended = log.append(b"goes on").and_then(|address| log.wait_for_commit(address));
    if choices & 2 == 2 {
        let _ = log.truncate_before(place);
    }
    if choices & 4 == 4 {
        let _ = log.truncate_suffix(place);
        let _ = log.append(b"after the cut");
    }
    let _ = log.commit_with_cookie(b"cookie");
    let _ = log.close();
    drop(appended);
}

/// Signs what lies in `blocks` as entries, from each place on where a walk may begin.
fn sign(blocks: &mut [u8], facts: &[u8]) {
    let lines = Lines::of(facts);
    let end = START + blocks.len() as u64 / 8;
    let mut at = START;
    while at < end {
        let next = lines.places.range(at + 1..).next().copied().unwrap_or(end).min(end);
        at = sign_entry(blocks, &lines, at, next).unwrap_or(at + 1);
    }
}

/// Signs the entry at `at`, if there is one that ends at `limit` at most; returns where it ends.
fn sign_entry(blocks: &mut [u8], lines: &Lines, at: u64, limit: u64) -> Option<u64> {
    let start = usize::try_from((at - START) * 8).ok()?;
    let word = blocks.get(start..start + 8)?;
    let described = u32::from_le_bytes(word.get(4..8)?.try_into().ok()?);
    let (kind, length) = (described >> 28, usize::try_from(described & 0x0FFF_FFFF).ok()?);
    let end = at + 1 + (length as u64).div_ceil(8);
    if !(1..=3).contains(&kind) || end > limit {
        return None;
    }
    let behind = start + usize::try_from(end - at).ok()? * 8;
    blocks.get_mut(start + 8 + length..behind)?.fill(0);
    let mut signed = lines.log_id.to_vec();
    signed.extend_from_slice(&lines.incarnation_at(at).to_le_bytes());
    signed.extend_from_slice(&at.to_le_bytes());
    signed.extend_from_slice(blocks.get(start + 4..start + 8 + length)?);
    let checksum = crc32c::append(0, &signed);
    blocks.get_mut(start..start + 4)?.copy_from_slice(&checksum.to_le_bytes());
    Some(end)
}

/// What a payload says about checksums, as far as it can be understood.
#[derive(Default)]
struct Lines {
    log_id: [u8; 16],
    /// First address and number of each incarnation.
    rows: Vec<(u64, u64)>,
    /// Where a walk may begin or must end.
    places: BTreeSet<u64>,
}

impl Lines {
    fn of(facts: &[u8]) -> Self {
        let mut lines = Self::default();
        // A payload that can't be understood is refused anyway.
        let _ = lines.read(facts);
        lines
    }

    fn read(&mut self, facts: &[u8]) -> Option<()> {
        let mut rest = facts;
        self.log_id = take(&mut rest, 16)?.try_into().ok()?;
        take(&mut rest, 1)?;
        self.places.insert(number(&mut rest)?);
        take(&mut rest, 8)?;
        self.places.insert(number(&mut rest)?);
        take(&mut rest, 16)?;
        let cookie = count(&mut rest)?;
        take(&mut rest, cookie)?;
        for _ in 0..count(&mut rest)? {
            let [name] = take(&mut rest, 1)? else { return None };
            take(&mut rest, usize::from(*name))?;
            self.places.insert(number(&mut rest)?);
        }
        for _ in 0..count(&mut rest)? {
            take(&mut rest, 8)?;
            self.places.insert(number(&mut rest)?);
        }
        for _ in 0..count(&mut rest)? {
            let (incarnation, start, before_ends) =
                (number(&mut rest)?, number(&mut rest)?, number(&mut rest)?);
            self.rows.push((start, incarnation));
            self.places.extend([start, before_ends]);
        }
        Some(())
    }

    fn incarnation_at(&self, address: u64) -> u64 {
        self.rows.iter().rev().find(|(start, _)| *start <= address).map_or(0, |(_, number)| *number)
    }
}

fn take<'b>(rest: &mut &'b [u8], length: usize) -> Option<&'b [u8]> {
    let (taken, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    Some(taken)
}

fn number(rest: &mut &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(take(rest, 8)?.try_into().ok()?))
}

fn count(rest: &mut &[u8]) -> Option<usize> {
    usize::try_from(u32::from_le_bytes(take(rest, 4)?.try_into().ok()?)).ok()
}
