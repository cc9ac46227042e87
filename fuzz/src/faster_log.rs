//! Arbitrary bytes as a log: opening and reading never panics, and never shows an entry that does not verify.
//!
//! The first bytes say what is damaged in a small good log; the rest are the bytes that go there. So that the fuzzer gets past
//! checksums, a device is made from a good log and then overwritten.

use std::sync::LazyLock;

use oxifaster_core::Address;
use oxifaster_device::fault::FaultDevice;
use oxifaster_device::{BLOCK_BYTES, MetadataSlot};
use oxifaster_log::{FasterLog, FasterLogConfig};

/// A good log, made once, and what is in it.
struct Made {
    device: FaultDevice,
    written: Vec<(Address, Vec<u8>)>,
}

static CLOSED: LazyLock<Made> = LazyLock::new(|| make(true));
static LEFT_OPEN: LazyLock<Made> = LazyLock::new(|| make(false));

fn config() -> FasterLogConfig {
    FasterLogConfig::default().with_page_size(4096).with_memory_pages(8)
}

fn make(close: bool) -> Made {
    let device = FaultDevice::new(1);
    let log = FasterLog::open(config(), device.clone()).expect("a new device takes a log");
    let mut written = Vec::new();
    for number in 0..12_u8 {
        let entry = vec![number; usize::from(number) * 150];
        written.push((log.append(&entry).expect("there is room"), entry));
        if number % 4 == 3 {
            log.commit().expect("the device works");
        }
    }
    if close {
        log.close().expect("the device works");
    }
    Made { device: device.snapshot_durable(), written }
}

/// Damages a log as `bytes` say, opens it, and reads all of it.
pub fn run(bytes: &[u8]) {
    let close = bytes.first().is_some_and(|first| first % 2 == 1);
    let made = if close { &*CLOSED } else { &*LEFT_OPEN };
    let device = made.device.snapshot_durable();
    // Pieces: place (u16 in units of 8 bytes, the metadata slots first), length, bytes.
    let mut rest = bytes.get(1..).unwrap_or_default();
    while let [low, high, len, after @ ..] = rest {
        let (piece, behind) = after.split_at(usize::from(*len).min(after.len()));
        let place = u64::from(u16::from_le_bytes([*low, *high])) * 8;
        match place {
            0..8192 => device.overwrite_metadata(MetadataSlot::Even, &shifted(place, piece)),
            8192..16384 => device.overwrite_metadata(MetadataSlot::Odd, &shifted(place - 8192, piece)),
            _ => device.overwrite(place - 16384 + BLOCK_BYTES as u64, piece),
        }
        rest = behind;
    }
    let Ok(log) = FasterLog::open(config(), device) else { return };
    for found in log.scan(..) {
        let Ok(found) = found else { break };
        assert!(made.written.contains(&found), "an entry that nobody wrote at {}", found.0);
    }
    let _ = log.self_check();
    let _ = log.entry(3);
    let _ = log.append(b"goes on").and_then(|address| log.wait_for_commit(address));
}

/// The front of a slot up to the piece is left as it is only if the piece begins it; else it is zero, like a torn write.
fn shifted(place: u64, piece: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(place).unwrap_or(0)];
    bytes.extend_from_slice(piece);
    bytes
}
