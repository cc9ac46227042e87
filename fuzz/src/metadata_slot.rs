//! A metadata slot of any bytes is judged without a panic, and what is called valid is exactly what was written.

use oxifaster_device::metadata::{COPY_BYTES, ContentKind, SlotState, decode_slot, encode_slot};

/// Judges `bytes` as a slot, as its second copy alone, and as both copies; a copy that is called valid must be reproduced
/// byte for byte by writing what was read.
pub fn run(bytes: &[u8]) {
    judge(bytes);
    let mut second = vec![0; COPY_BYTES];
    second.extend_from_slice(bytes);
    judge(&second);
    let mut both = bytes.to_vec();
    both.resize(COPY_BYTES, 0);
    both.extend_from_slice(bytes);
    judge(&both);
}

fn judge(bytes: &[u8]) {
    let SlotState::Valid { kind, generation, payload, single } = decode_slot(bytes) else { return };
    let known =
        [ContentKind::FasterKv, ContentKind::FasterLog].into_iter().find(|known| known.number() == kind);
    // A kind of a later version is valid and can't be written by this one.
    let Some(known) = known else { return };
    let written = encode_slot(known, generation, &payload).expect("what was read fits into a slot");
    let envelope = written.get(COPY_BYTES..).expect("a slot has two copies");
    let copies = [bytes, bytes.get(COPY_BYTES..).unwrap_or_default()];
    let equal = copies.into_iter().filter(|copy| copy.starts_with(envelope)).count();
    assert_eq!(equal, if single { 1 } else { 2 }, "a valid copy is the one that its content encodes to");
}
