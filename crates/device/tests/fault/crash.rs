//! Power loss against a model that knows, for each sector, what it may hold.

use std::collections::BTreeMap;

use oxifaster_device::fault::{CrashFates, CrashPoint, FaultCounts, FaultDevice, FaultPlan, Trigger};
use oxifaster_device::{BLOCK_BYTES, DeviceErrorKind, MetadataSlot, StorageDevice};
use proptest::prelude::{Just, Strategy, prop_oneof};
use proptest::{collection, prop_assert, prop_assert_eq, proptest};

use crate::driver::{Driver, kind, stamped_bytes};

const BLOCK: u64 = BLOCK_BYTES as u64;
const BLOCKS: u64 = 12;
const SECTORS_PER_BLOCK: u64 = 8;

#[derive(Clone, Copy, Debug)]
enum Step {
    Write { block: u64, blocks: u64 },
    Sync,
    CutBefore { block: u64 },
    CutAfter { block: u64 },
    Metadata { slot: MetadataSlot },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..BLOCKS - 3, 1..4_u64).prop_map(|(block, blocks)| Step::Write { block, blocks }),
        2 => Just(Step::Sync),
        1 => (0..BLOCKS).prop_map(|block| Step::CutBefore { block }),
        1 => (0..BLOCKS).prop_map(|block| Step::CutAfter { block }),
        1 => Just(Step::Metadata { slot: MetadataSlot::Even }),
        1 => Just(Step::Metadata { slot: MetadataSlot::Odd }),
    ]
}

/// What one sector may hold after a crash.
#[derive(Clone, Debug)]
struct Sector {
    durable: Vec<u8>,
    /// Contents of unsynced changes since; `None` for a cut.
    unsynced: Vec<Option<Vec<u8>>>,
}

impl Default for Sector {
    fn default() -> Self {
        Self { durable: vec![0; 512], unsynced: Vec::new() }
    }
}

impl Sector {
    fn allows(&self, found: &[u8], damage: bool) -> bool {
        let written = self.unsynced.iter().any(Option::is_some);
        found == self.durable
            || self.unsynced.iter().any(|change| match change {
                Some(content) => found == content,
                None => found.iter().all(|byte| *byte == 0),
            })
            || (damage && written)
    }

    fn newest(&self) -> Vec<u8> {
        match self.unsynced.last() {
            None => self.durable.clone(),
            Some(change) => change.clone().unwrap_or_else(|| vec![0; 512]),
        }
    }
}

#[derive(Default)]
struct Model {
    sectors: BTreeMap<u64, Sector>,
    slots: [Vec<u8>; 2],
    steps: u64,
}

impl Model {
    fn cut(&mut self, blocks: std::ops::Range<u64>) {
        for sector in blocks.start * SECTORS_PER_BLOCK..blocks.end * SECTORS_PER_BLOCK {
            self.sectors.entry(sector).or_default().unsynced.push(None);
        }
    }

    /// Executes a step at the device and in the model.
    fn execute(&mut self, step: Step, device: &FaultDevice, driver: &mut Driver) {
        self.steps += 1;
        let stamp = self.steps;
        match step {
            Step::Write { block, blocks } => {
                let blocks_usize = usize::try_from(blocks).unwrap();
                assert_eq!(
                    driver.write(block * BLOCK, stamp, blocks_usize).unwrap(),
                    blocks_usize * BLOCK_BYTES
                );
                let content = stamped_bytes(stamp, blocks_usize);
                for (sector, bytes) in (block * SECTORS_PER_BLOCK..).zip(content.chunks(512)) {
                    self.sectors.entry(sector).or_default().unsynced.push(Some(bytes.to_vec()));
                }
            }
            Step::Sync => {
                driver.sync().unwrap();
                for sector in self.sectors.values_mut() {
                    sector.durable = sector.newest();
                    sector.unsynced.clear();
                }
            }
            Step::CutBefore { block } => {
                device.truncate_before(block * BLOCK).unwrap();
                self.cut(0..block);
            }
            Step::CutAfter { block } => {
                device.truncate_after(block * BLOCK).unwrap();
                self.cut(block..BLOCKS);
            }
            Step::Metadata { slot } => {
                let content = stamped_bytes(stamp, 1);
                device.write_metadata(slot, &content).unwrap();
                self.slots[slot.index()] = content;
            }
        }
    }

    fn check(&self, found: &FaultDevice, damage: bool) -> Result<(), proptest::test_runner::TestCaseError> {
        for (sector, model) in &self.sectors {
            let bytes = found.read_bytes(sector * 512, 512);
            prop_assert!(model.allows(&bytes, damage), "sector {} holds what nobody wrote", sector);
        }
        for range in found.written_ranges() {
            prop_assert!(range.end <= BLOCKS * BLOCK, "{:?} was never written", range);
        }
        for slot in MetadataSlot::ALL {
            let wanted = &self.slots[slot.index()];
            prop_assert_eq!(&found.metadata_bytes(slot)[..wanted.len()], &wanted[..]);
        }
        Ok(())
    }
}

fn no_damage() -> CrashFates {
    CrashFates { zeroed: 0, scrambled: 0, ..CrashFates::default() }
}

proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(150))]

    /// Durable bytes survive every crash; a sector with unsynced changes holds one of its versions, or, where zeros and
    /// noise are asked for, anything; nothing else changes. A restart keeps the newest version of everything, and leaves it
    /// just as unsynced as it was.
    #[test]
    fn a_crash_keeps_the_durable_and_mixes_only_the_unsynced(
        seed: u64,
        before in collection::vec(step(), 1..40),
        after in collection::vec(step(), 0..10),
        damage: bool,
        restart: bool,
    ) {
        let fates = if damage { CrashFates::default() } else { no_damage() };
        let plan = FaultPlan::new().crash_fates(fates).reorder(0.5).delay_by_reaps(0.3, 3);
        let mut device = FaultDevice::with_plan(seed, plan);
        let mut driver = Driver::new(&device);
        let mut model = Model::default();
        for step in before {
            model.execute(step, &device, &mut driver);
        }
        if restart {
            device = device.reopen();
            driver = Driver::new(&device);
            for (sector, state) in &model.sectors {
                prop_assert_eq!(device.read_bytes(sector * 512, 512), state.newest());
            }
        }
        for step in after {
            model.execute(step, &device, &mut driver);
        }
        for crash in 0..4 {
            model.check(&device.crash(seed ^ crash), damage)?;
        }
        let durable = device.snapshot_durable();
        for (sector, state) in &model.sectors {
            prop_assert_eq!(&durable.read_bytes(sector * 512, 512), &state.durable);
        }
    }
}

/// A fixed workload with every kind of fault in its plan.
fn noisy_run(seed: u64) -> (Vec<String>, FaultDevice) {
    let plan = FaultPlan::new()
        .fail_reads(Trigger::probability(0.1))
        .fail_writes(Trigger::probability(0.1))
        .fail_syncs(Trigger::probability(0.1))
        .poison_on_failed_sync(false)
        .short_reads(0.2)
        .short_writes(0.2)
        .flip_bits_in_reads(Trigger::probability(0.1))
        .reorder(0.5)
        .delay_by_reaps(0.3, 4)
        .space_budget_bytes(20 * BLOCK);
    let device = FaultDevice::with_plan(seed, plan);
    let mut driver = Driver::new(&device);
    let mut seen = Vec::new();
    for n in 0..200_u64 {
        let offset = n * 7 % 25 * BLOCK;
        match n % 5 {
            0 => seen.push(format!("{:?}", driver.sync())),
            1 | 2 => seen.push(format!("{:?}", driver.write(offset, n, 2))),
            3 => seen.push(format!("{:?}", driver.read(offset, 2))),
            _ => {
                seen.push(format!("{:?}", device.write_metadata(MetadataSlot::of_generation(n), &[7; 2000])))
            }
        }
    }
    let after = device.crash(seed);
    (seen, after)
}

#[test]
fn a_seed_replays_everything() {
    let (first, image) = noisy_run(1);
    let (second, same_image) = noisy_run(1);
    assert_eq!(first, second);
    assert_eq!(image.counts(), same_image.counts());
    assert_eq!(image.written_ranges(), same_image.written_ranges());
    let all = |device: &FaultDevice| device.read_bytes(0, 30 * BLOCK_BYTES);
    assert_eq!(all(&image), all(&same_image));
    assert_ne!(noisy_run(2).0, first);
}

#[test]
fn every_fate_is_met_and_counted() {
    let mut sum = FaultCounts::default();
    for seed in 0..20 {
        let device = FaultDevice::new(seed);
        let mut driver = Driver::new(&device);
        for block in 0..10 {
            driver.write(block * BLOCK, block, 1).unwrap();
        }
        let after = device.crash(seed);
        let counts = after.counts();
        let fates = [counts.crash_kept, counts.crash_dropped, counts.crash_torn, counts.crash_zeroed];
        assert_eq!(fates.iter().sum::<u64>() + counts.crash_scrambled, 10);
        let found = |block| after.read_bytes(block * BLOCK, BLOCK_BYTES);
        let kept = (0..10).filter(|block| found(*block) == stamped_bytes(*block, 1)).count() as u64;
        assert_eq!(kept, counts.crash_kept);
        let zero = (0..10).filter(|block| found(*block).iter().all(|byte| *byte == 0)).count() as u64;
        assert_eq!(zero, counts.crash_dropped + counts.crash_zeroed);
        sum += counts;
    }
    let fates = [sum.crash_kept, sum.crash_dropped, sum.crash_torn, sum.crash_zeroed, sum.crash_scrambled];
    assert!(fates.iter().all(|count| (20..60).contains(count)), "{fates:?}");
    assert_eq!(sum.crashes, 20);
}

#[test]
fn crash_points_stop_the_world_where_they_say() {
    let run = |point| {
        let fates = CrashFates::KEEP_ALL;
        let device = FaultDevice::new(1);
        let mut driver = Driver::new(&device);
        device.set_plan(FaultPlan::new().crash_at(point).crash_fates(fates));
        let mut done = 0;
        let mut all = || -> Result<(), oxifaster_device::DeviceError> {
            for n in 0..3 {
                driver.write(n * BLOCK, n, 1)?;
                done += 1;
                driver.sync()?;
                done += 1;
                device
                    .write_metadata(MetadataSlot::of_generation(n), &[u8::try_from(n).unwrap() + 1; 1024])?;
                done += 1;
            }
            Ok(())
        };
        if let Err(error) = all() {
            assert_eq!(error.kind(), DeviceErrorKind::Closed);
            assert!(device.power_is_lost());
            assert_eq!(device.counts().crash_points, 1);
        }
        let written = device.crash(1).written_ranges().last().map_or(0, |range| range.end / BLOCK);
        (done, written)
    };
    assert_eq!(run(CrashPoint::AfterWrites(0)), (0, 0));
    assert_eq!(run(CrashPoint::AfterWrites(2)), (4, 2));
    assert_eq!(run(CrashPoint::AfterSyncs(2)), (5, 2));
    assert_eq!(run(CrashPoint::AfterMetadataWrites(1)), (3, 1));
    assert_eq!(run(CrashPoint::DuringMetadataWrite(2)), (5, 2));
    assert_eq!(run(CrashPoint::AfterChanges(100)), (9, 3));
    for n in 0..=9 {
        assert_eq!(run(CrashPoint::AfterChanges(n)).0, n);
    }
}

#[test]
fn power_loss_in_a_metadata_write_tears_that_slot_alone() {
    let device = FaultDevice::new(1);
    for slot in MetadataSlot::ALL {
        device.write_metadata(slot, &[1; 4096]).unwrap();
    }
    device.set_plan(FaultPlan::new().crash_at(CrashPoint::DuringMetadataWrite(1)));
    assert_eq!(kind(device.write_metadata(MetadataSlot::Odd, &[2; 4096])), DeviceErrorKind::Closed);
    assert_eq!(kind(device.write_metadata(MetadataSlot::Odd, &[2; 4096])), DeviceErrorKind::Closed);
    let after = device.crash(9);
    let sectors = |slot| -> Vec<u8> {
        after.metadata_bytes(slot)[..4096]
            .chunks(512)
            .map(|sector| {
                assert!(sector.iter().all(|byte| *byte == sector[0]), "torn inside of a sector");
                sector[0]
            })
            .collect()
    };
    assert_eq!(sectors(MetadataSlot::Even), [1; 8]);
    let torn = sectors(MetadataSlot::Odd);
    assert!(torn.contains(&1) && torn.contains(&2), "{torn:?}");
    assert_eq!(after.counts().metadata_torn, 1);
}

/// Rule 2 of the contract, as the file devices keep it: a truncation is as durable as a write at that place would be.
#[test]
fn a_truncation_is_durable_with_the_next_sync_and_not_before() {
    let truncated = |step: &dyn Fn(&FaultDevice, &mut Driver), fates: CrashFates, seed: u64| {
        let device = FaultDevice::with_plan(seed, FaultPlan::new().crash_fates(fates));
        let mut driver = Driver::new(&device);
        driver.write(0, 1, 12).unwrap();
        driver.sync().unwrap();
        device.truncate_after(4 * BLOCK).unwrap();
        step(&device, &mut driver);
        device.crash(seed).space_use().unwrap().end_offset / BLOCK
    };
    let synced = |_: &FaultDevice, driver: &mut Driver| {
        driver.sync().unwrap();
    };
    assert_eq!(truncated(&synced, CrashFates::DROP_ALL, 1), 4);
    let metadata = |device: &FaultDevice, _: &mut Driver| {
        device.write_metadata(MetadataSlot::Odd, b"no sync of blocks").unwrap();
    };
    assert_eq!(truncated(&metadata, CrashFates::DROP_ALL, 1), 12);
    let in_part = CrashFates { kept: 0, dropped: 0, torn: 1, zeroed: 0, scrambled: 0 };
    let ends: std::collections::BTreeSet<u64> =
        (0..100).map(|seed| truncated(&metadata, in_part, seed)).collect();
    assert_eq!(ends, (4..=12).collect());
}
