//! Each fault kind happens when it was planned, does what it says, and is counted.

use oxifaster_device::device::METADATA_SLOT_BYTES;
use oxifaster_device::fault::{CrashFates, FaultDevice, FaultPlan, Trigger};
use oxifaster_device::{BLOCK_BYTES, DeviceErrorKind, MetadataSlot, StorageDevice};

use crate::driver::{Driver, kind, stamped_bytes};

const BLOCK: u64 = BLOCK_BYTES as u64;

fn with(plan: FaultPlan) -> (FaultDevice, Driver) {
    let device = FaultDevice::with_plan(11, plan);
    let driver = Driver::new(&device);
    (device, driver)
}

#[test]
fn a_device_without_faults_is_a_plain_device() {
    let (device, mut driver) = with(FaultPlan::new());
    assert_eq!(driver.write(2 * BLOCK, 1, 3).unwrap(), 3 * BLOCK_BYTES);
    assert_eq!(driver.read(2 * BLOCK, 3).unwrap(), (3 * BLOCK_BYTES, stamped_bytes(1, 3)));
    // A hole reads as zeros, the end gives a short count.
    assert_eq!(driver.read(0, 2).unwrap(), (2 * BLOCK_BYTES, vec![0; 2 * BLOCK_BYTES]));
    assert_eq!(driver.read(4 * BLOCK, 3).unwrap().0, BLOCK_BYTES);
    assert_eq!(driver.read(5 * BLOCK, 1).unwrap().0, 0);
    assert_eq!(driver.sync().unwrap(), 0);
    let space = device.space_use().unwrap();
    assert_eq!((space.end_offset, space.allocated_bytes), (5 * BLOCK, 3 * BLOCK));
    assert_eq!(device.written_ranges(), vec![2 * BLOCK..5 * BLOCK]);
    assert_eq!(device.counts(), oxifaster_device::fault::FaultCounts::default());
    let traffic = device.traffic();
    assert_eq!((traffic.reads, traffic.writes, traffic.syncs, traffic.changes), (4, 1, 1, 2));
    assert_eq!((traffic.bytes_read, traffic.bytes_written), (6 * BLOCK, 3 * BLOCK));
}

#[test]
fn truncation_cuts_both_ends() {
    let (device, mut driver) = with(FaultPlan::new());
    driver.write(0, 1, 8).unwrap();
    device.truncate_before(2 * BLOCK + 100).unwrap();
    device.truncate_after(6 * BLOCK).unwrap();
    assert_eq!(device.written_ranges(), vec![2 * BLOCK..6 * BLOCK]);
    assert_eq!(device.space_use().unwrap().end_offset, 6 * BLOCK);
    assert_eq!(kind(device.truncate_after(100)), DeviceErrorKind::InvalidRequest);
    assert_eq!(device.traffic().truncations, 2);
}

#[test]
fn requests_outside_of_the_geometry_are_refused_at_submission() {
    use oxifaster_device::{IoBuffer, IoOperation, IoRequest, QueueOptions};
    let device = FaultDevice::new(1).with_reserved_bytes(BLOCK).with_capacity_bytes(4 * BLOCK);
    let mut queue = device.open_queue(QueueOptions::default()).unwrap();
    for offset in [0, 512, BLOCK + 8, u64::MAX - BLOCK + 1] {
        let operation = IoOperation::Write(IoBuffer::zeroed(1).unwrap());
        let refused = queue.submit(IoRequest { tag: 0, offset, operation });
        assert_eq!(kind(refused), DeviceErrorKind::InvalidRequest, "offset {offset}");
    }
    assert_eq!(queue.in_flight(), 0);
    // Whether there is room is known at execution: what fits is written.
    let mut driver = Driver::new(&device);
    driver.write(BLOCK, 1, 3).unwrap();
    assert_eq!(kind(driver.write(3 * BLOCK, 2, 2)), DeviceErrorKind::Full);
    assert_eq!(device.space_use().unwrap().end_offset, 4 * BLOCK);
    assert_eq!(device.read_bytes(3 * BLOCK, BLOCK_BYTES), stamped_bytes(2, 2)[..BLOCK_BYTES]);
    assert_eq!(device.counts().full_errors, 1);
    assert_eq!(device.crash(1).geometry(), device.reopen().geometry());
}

#[test]
fn errors_come_at_the_planned_operation() {
    let plan = FaultPlan::new().fail_reads(Trigger::nth(2)).fail_writes(Trigger::from_nth(3));
    let (device, mut driver) = with(plan);
    let writes: Vec<bool> = (0..5).map(|n| driver.write(n * BLOCK, n, 1).is_ok()).collect();
    assert_eq!(writes, [true, true, false, false, false]);
    let reads: Vec<bool> = (0..4).map(|_| driver.read(0, 1).is_ok()).collect();
    assert_eq!(reads, [true, false, true, true]);
    device.set_plan(FaultPlan::new().fail_reads(Trigger::probability(0.5).at_most(3)));
    let failed = (0..100).filter(|_| driver.read(0, 1).is_err()).count();
    assert_eq!(failed, 3);
    assert_eq!((device.counts().read_errors, device.counts().write_errors), (4, 3));
}

#[test]
fn a_failed_write_touches_some_sectors_of_its_range_and_no_other() {
    let (device, mut driver) = with(FaultPlan::new().fail_writes(Trigger::nth(2)));
    driver.write(0, 1, 4).unwrap();
    assert_eq!(kind(driver.write(BLOCK, 2, 2)), DeviceErrorKind::Io);
    let (old, new) = (stamped_bytes(1, 4), stamped_bytes(2, 2));
    let found = device.read_bytes(0, 4 * BLOCK_BYTES);
    let mut mixed = [0, 0];
    for (index, sector) in found.chunks(512).enumerate() {
        let is_old = sector == &old[index * 512..][..512];
        let is_new = (8..24).contains(&index) && sector == &new[(index - 8) * 512..][..512];
        assert!(is_old || is_new, "sector {index}");
        mixed[usize::from(is_new)] += 1;
    }
    assert!(mixed[1] > 0 && mixed[1] < 16, "{mixed:?}");
}

#[test]
fn a_failed_sync_poisons_and_loses_what_it_covered() {
    let (device, mut driver) = with(FaultPlan::new().fail_syncs(Trigger::nth(2)));
    driver.write(0, 1, 1).unwrap();
    driver.sync().unwrap();
    driver.write(0, 2, 1).unwrap();
    assert_eq!(kind(driver.sync()), DeviceErrorKind::Io);
    assert_eq!(kind(driver.write(BLOCK, 3, 1)), DeviceErrorKind::Poisoned);
    assert_eq!(kind(driver.sync()), DeviceErrorKind::Poisoned);
    assert_eq!(kind(device.write_metadata(MetadataSlot::Even, b"x")), DeviceErrorKind::Poisoned);
    assert_eq!(driver.read(0, 1).unwrap().1, stamped_bytes(2, 1));
    let counts = device.counts();
    assert_eq!((counts.sync_errors, counts.lost_by_failed_sync, counts.poisoned_refusals), (1, 1, 3));
    assert_eq!(device.crash(1).read_bytes(0, BLOCK_BYTES), stamped_bytes(1, 1));
}

#[test]
fn without_poison_a_retried_sync_lies() {
    let keep = FaultPlan::new().crash_fates(CrashFates::KEEP_ALL);
    let (device, mut driver) = with(keep.fail_syncs(Trigger::nth(1)).poison_on_failed_sync(false));
    driver.write(0, 1, 1).unwrap();
    driver.write(BLOCK, 1, 1).unwrap();
    assert_eq!(kind(driver.sync()), DeviceErrorKind::Io);
    assert_eq!(driver.sync().unwrap(), 0);
    assert_eq!(driver.read(0, 1).unwrap().1, stamped_bytes(1, 1));
    // Only what is written again is saved by a later sync.
    driver.write(BLOCK, 1, 1).unwrap();
    driver.sync().unwrap();
    assert_eq!(device.crash(1).written_ranges(), vec![BLOCK..2 * BLOCK]);
}

#[test]
fn space_runs_out_and_comes_back() {
    let (device, mut driver) = with(FaultPlan::new().space_budget_bytes(4 * BLOCK));
    driver.write(0, 1, 3).unwrap();
    assert_eq!(kind(driver.write(3 * BLOCK, 2, 2)), DeviceErrorKind::Full);
    assert_eq!(device.space_use().unwrap().allocated_bytes, 4 * BLOCK);
    // What has a block already is rewritten in it.
    driver.write(0, 3, 4).unwrap();
    device.truncate_before(2 * BLOCK).unwrap();
    driver.write(4 * BLOCK, 4, 2).unwrap();
    assert_eq!(kind(driver.write(6 * BLOCK, 5, 1)), DeviceErrorKind::Full);
    device.change_plan(|plan| plan.space_budget_bytes(5 * BLOCK));
    driver.write(6 * BLOCK, 5, 1).unwrap();
    device.change_plan(FaultPlan::space_unlimited);
    driver.write(7 * BLOCK, 6, 9).unwrap();
    assert_eq!(device.counts().full_errors, 2);
}

#[test]
fn short_transfers_move_a_front_of_sectors() {
    let (device, mut driver) = with(FaultPlan::new().short_reads(0.5).short_writes(0.5));
    let mut short = [0, 0];
    for n in 0..200 {
        let offset = n * 4 * BLOCK;
        let moved = driver.write(offset, n, 2).unwrap();
        assert!(moved.is_multiple_of(512) && moved > 0 && moved <= 2 * BLOCK_BYTES);
        let mut expected = stamped_bytes(n, 2);
        expected[moved..].fill(0);
        assert_eq!(device.read_bytes(offset, 2 * BLOCK_BYTES), expected);
        let existing = moved.next_multiple_of(BLOCK_BYTES);
        let (moved_back, found) = driver.read(offset, 2).unwrap();
        assert!(moved_back.is_multiple_of(512) && moved_back > 0 && moved_back <= existing);
        assert_eq!(found[..moved_back], expected[..moved_back]);
        assert!(found[moved_back..].iter().all(|byte| *byte == 0), "a short read touched more than it moved");
        short[0] += u64::from(moved < 2 * BLOCK_BYTES);
        short[1] += u64::from(moved_back < existing);
    }
    assert!(short.iter().all(|count| (50..150).contains(count)), "{short:?}");
    assert_eq!([device.counts().short_writes, device.counts().short_reads], short);
}

#[test]
fn bits_flip_in_data_as_read() {
    let (device, mut driver) = with(FaultPlan::new().flip_bits_in_reads(Trigger::nth(2)));
    driver.write(0, 1, 2).unwrap();
    let clean = stamped_bytes(1, 2);
    assert_eq!(driver.read(0, 2).unwrap().1, clean);
    let flipped = driver.read(0, 2).unwrap().1;
    let bits: u32 = flipped.iter().zip(&clean).map(|(found, wanted)| (found ^ wanted).count_ones()).sum();
    assert_eq!(bits, 1);
    device.flip_in_next_read(BLOCK + 5, 3);
    assert_eq!(driver.read(0, 1).unwrap().1, clean[..BLOCK_BYTES]);
    assert_eq!(driver.read(BLOCK, 1).unwrap().1[5], clean[BLOCK_BYTES + 5] ^ 8);
    assert_eq!(driver.read(0, 2).unwrap().1, clean);
    assert_eq!(device.counts().read_bits_flipped, 2);
}

#[test]
fn bits_flip_in_the_image() {
    let (device, mut driver) = with(FaultPlan::new());
    driver.write(0, 1, 1).unwrap();
    driver.sync().unwrap();
    let mut expected = stamped_bytes(1, 1);
    for offset in [0, 7, 8, 513, 4095] {
        for bit in 0..8 {
            assert!(device.flip_bit(offset, bit));
            expected[usize::try_from(offset).unwrap()] ^= 1 << bit;
            assert_eq!(driver.read(0, 1).unwrap().1, expected);
        }
    }
    assert_eq!(device.snapshot_durable().read_bytes(0, BLOCK_BYTES), expected);
    assert!(!device.flip_bit(BLOCK, 0), "there is no such block");
    device.overwrite(4090, b"0123456789");
    assert_eq!(driver.read(0, 2).unwrap().1[4090..4100], *b"0123456789");
    assert_eq!(device.read_bytes(4092, 6), b"234567");

    device.write_metadata(MetadataSlot::Odd, &[0x10; 600]).unwrap();
    assert!(device.flip_metadata_bit(MetadataSlot::Odd, 599, 7));
    assert!(!device.flip_metadata_bit(MetadataSlot::Odd, METADATA_SLOT_BYTES, 0));
    device.overwrite_metadata(MetadataSlot::Odd, b"a");
    let mut slot = vec![0xFF; METADATA_SLOT_BYTES];
    device.crash(1).read_metadata(MetadataSlot::Odd, &mut slot).unwrap();
    assert_eq!((slot[0], slot[1], slot[598], slot[599], slot[600]), (b'a', 0x10, 0x10, 0x90, 0));
    assert_eq!(device.counts().image_bits_flipped, 41);
}

#[test]
fn metadata_faults_leave_the_slot_as_they_say() {
    let (old, new) = (vec![1_u8; 4096], vec![2_u8; 4096]);
    let sectors = |device: &FaultDevice| -> Vec<u8> {
        device.metadata_bytes(MetadataSlot::Even)[..4096].chunks(512).map(|sector| sector[0]).collect()
    };
    let plan = FaultPlan::new().fail_metadata_writes(Trigger::nth(2)).fail_metadata_reads(Trigger::nth(1));
    let (device, _driver) = with(plan);
    device.write_metadata(MetadataSlot::Even, &old).unwrap();
    assert_eq!(kind(device.write_metadata(MetadataSlot::Even, &new)), DeviceErrorKind::Io);
    let torn = sectors(&device);
    assert!(torn.contains(&1) && torn.contains(&2), "{torn:?}");
    assert_eq!(sectors(&device.snapshot_durable()), torn);
    let mut buffer = vec![0; METADATA_SLOT_BYTES];
    assert_eq!(kind(device.read_metadata(MetadataSlot::Even, &mut buffer)), DeviceErrorKind::Io);
    device.read_metadata(MetadataSlot::Even, &mut buffer).unwrap();
    device.write_metadata(MetadataSlot::Even, &new).unwrap();
    assert_eq!(sectors(&device), [2; 8]);

    device.set_plan(FaultPlan::new().fail_metadata_syncs(Trigger::nth(1)));
    assert_eq!(kind(device.write_metadata(MetadataSlot::Even, &old)), DeviceErrorKind::Io);
    assert_eq!(kind(device.write_metadata(MetadataSlot::Odd, &old)), DeviceErrorKind::Poisoned);
    assert_eq!(sectors(&device), [1; 8]);
    assert_eq!(sectors(&device.crash(3)), [2; 8]);
    let counts = device.counts();
    assert_eq!((counts.metadata_read_errors, counts.metadata_write_errors), (1, 1));
    assert_eq!((counts.metadata_sync_errors, counts.metadata_torn), (1, 1));
}

#[test]
fn metadata_of_the_wrong_length_is_refused() {
    let device = FaultDevice::new(1);
    assert_eq!(
        kind(device.write_metadata(MetadataSlot::Even, &vec![0; METADATA_SLOT_BYTES + 1])),
        DeviceErrorKind::InvalidRequest
    );
    assert_eq!(
        kind(device.read_metadata(MetadataSlot::Even, &mut vec![0; METADATA_SLOT_BYTES + 1])),
        DeviceErrorKind::InvalidRequest
    );
    device.read_metadata(MetadataSlot::Even, &mut [0; 512]).unwrap();
}
