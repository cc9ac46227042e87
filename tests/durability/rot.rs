//! Flipped bits: detected or harmless, never a wrong value, never a panic, never a store with less in it.

use oxifaster::device::MetadataSlot;
use oxifaster::device::fault::FaultDevice;
use oxifaster::prelude::*;

use crate::scene::{Class, Model, Varlen, Word, assert_holds, content, matches, open};

const BLOCK: u64 = 4096;
/// From one copy of the metadata in a slot to the other (docs/format/metadata.md).
const COPY_BYTES: usize = 65_536;

/// A closed store of about two and a half pages.
fn closed_store<C: Class>(keys: u64) -> (FaultDevice, Model) {
    let device = FaultDevice::new(31);
    let store = open::<C, _>(device.clone()).unwrap();
    let mut session = store.start_session().unwrap();
    let mut model = Model::new();
    for key in 0..keys {
        session.upsert(C::key(key), C::value(key)).unwrap();
        model.insert(key, key);
    }
    store.flush().unwrap();
    for key in (0..keys).step_by(5) {
        session.delete(&C::key(key)).unwrap();
        model.remove(&key);
    }
    store.close().unwrap();
    (device.reopen(), model)
}

#[derive(Debug, Default)]
struct Verdicts {
    detected: u64,
    harmless: u64,
}

/// Opens the damaged device and judges.
fn judge<C: Class>(
    damaged: FaultDevice,
    model: &Model,
    keys: u64,
    what: &dyn Fn() -> String,
    verdicts: &mut Verdicts,
) {
    match open::<C, _>(damaged) {
        Err(error) => {
            let kind = error.kind();
            let clear = matches!(kind, ErrorKind::Corruption | ErrorKind::IncompatibleFormat);
            assert!(clear, "{}: {error:?}", what());
            verdicts.detected += 1;
        }
        Ok(store) => {
            let found = content::<C, _>(&store, keys);
            assert!(matches::<C>(&found, model), "{}: silently another content", what());
            verdicts.harmless += 1;
        }
    }
}

fn rot_of_blocks<C: Class>(every: u64) -> Verdicts {
    let keys = C::PER_PAGE * 2;
    let (device, model) = closed_store::<C>(keys);
    let mut verdicts = Verdicts::default();
    for range in device.written_ranges() {
        for block in range.step_by(BLOCK as usize) {
            let checksums = block % 65_536 == 0;
            // Of checksum blocks: every bit of the numbers in use and of the block's own; of others: the first header,
            // and a bit here and there.
            let mut places: Vec<u64> =
                (0..BLOCK * 8).step_by(every as usize).map(|bit| bit + block / BLOCK % every).collect();
            if checksums {
                places.extend((0..15 * 32).step_by(7));
                places.extend(BLOCK * 8 - 32..BLOCK * 8);
            } else {
                places.extend((0..64).step_by(5));
            }
            for bit in places {
                let damaged = device.snapshot_durable();
                assert!(damaged.flip_bit(block + bit / 8, (bit % 8) as u8));
                judge::<C>(
                    damaged,
                    &model,
                    keys,
                    &|| format!("bit {bit} of the block at {block}"),
                    &mut verdicts,
                );
            }
        }
    }
    verdicts
}

#[test]
fn bit_rot() {
    let verdicts = rot_of_blocks::<Varlen>(3001);
    assert_eq!(verdicts.harmless, 0, "every byte of every block counts: {verdicts:?}");
    assert!(verdicts.detected > 500, "{verdicts:?}");
    let verdicts = rot_of_blocks::<Word>(7001);
    assert_eq!(verdicts.harmless, 0, "every byte of every block counts: {verdicts:?}");
}

#[test]
fn bit_rot_of_metadata() {
    let keys = 200;
    let (device, model) = closed_store::<Word>(keys);
    let mut verdicts = Verdicts::default();
    for slot in MetadataSlot::ALL {
        let bytes = device.metadata_bytes(slot);
        let used = bytes[..COPY_BYTES].iter().rposition(|byte| *byte != 0).unwrap() + 1;
        assert_eq!(bytes[..used], bytes[COPY_BYTES..COPY_BYTES + used], "the second copy");
        let between = [used + 3, COPY_BYTES - 1, COPY_BYTES, COPY_BYTES + used - 1, 2 * COPY_BYTES - 1];
        for index in (0..used).chain(between) {
            for bit in 0..8 {
                let damaged = device.snapshot_durable();
                assert!(damaged.flip_metadata_bit(slot, index, bit));
                let what = || format!("bit {bit} of byte {index} of slot {slot:?}");
                judge::<Word>(damaged, &model, keys, &what, &mut verdicts);
            }
        }
    }
    assert!(verdicts.harmless > 1000, "{verdicts:?}");
}

#[test]
fn rot_of_both_metadata_slots_is_corruption() {
    let (device, _) = closed_store::<Word>(200);
    for byte in [0, 8, 12, 20, 30, 60] {
        let damaged = device.snapshot_durable();
        for slot in MetadataSlot::ALL {
            damaged.flip_metadata_bit(slot, byte, 3);
            damaged.flip_metadata_bit(slot, COPY_BYTES + byte, 3);
        }
        let error = open::<Word, _>(damaged).unwrap_err();
        let clear = matches!(error.kind(), ErrorKind::Corruption | ErrorKind::IncompatibleFormat);
        assert!(clear, "byte {byte}: {error:?}");
    }
}

/// Damage of pages that nobody reads at open: it happens while the store is in use.
#[test]
fn rot_while_the_store_is_open_is_found_by_the_read() {
    let keys = Word::PER_PAGE * 9;
    let device = FaultDevice::new(32);
    let store = open::<Word, _>(device.clone()).unwrap();
    let mut session = store.start_session().unwrap();
    let model: Model = (0..keys).map(|key| (key, key)).collect();
    for key in 0..keys {
        session.upsert(key, Word::value(key)).unwrap();
    }
    store.flush().unwrap();
    let (mut detected, mut harmless) = (0, 0);
    for key in (0..Word::PER_PAGE).step_by(97) {
        // 24 bytes each, from the second block on.
        let offset = BLOCK + key * 24 + 17;
        assert!(device.flip_bit(offset, 5));
        match session.read(&key) {
            Ok(value) => {
                assert_eq!(value, Some(Word::value(key)), "key {key}");
                harmless += 1;
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Corruption, "key {key}: {error:?}");
                assert!(error.address().is_some(), "{error:?}");
                detected += 1;
            }
        }
        device.flip_bit(offset, 5);
        device.flip_in_next_read(offset, 2);
        let once = session.read(&key).unwrap_err();
        assert_eq!(once.kind(), ErrorKind::Corruption, "key {key}: {once:?}");
    }
    assert!(detected > 20 && harmless == 0, "{detected} detected, {harmless} harmless");
    assert_holds::<Word, _>(&store, &model, keys, "healed");
}
