//! A metadata slot of any bytes is judged without a panic, and what is called valid is exactly what was written.

use oxifaster_device::metadata::{ContentKind, SlotState, decode_slot, encode_slot};

/// Judges `bytes`; a valid slot must be reproduced byte for byte by writing what was read.
pub fn run(bytes: &[u8]) {
    let SlotState::Valid { kind, generation, payload } = decode_slot(bytes) else { return };
    let known =
        [ContentKind::FasterKv, ContentKind::FasterLog].into_iter().find(|known| known.number() == kind);
    // A kind of a later version is valid and can't be written by this one.
    let Some(known) = known else { return };
    let written = encode_slot(known, generation, &payload).expect("what was read fits into a slot");
    assert!(bytes.starts_with(&written), "a valid slot is the one that its content encodes to");
}
