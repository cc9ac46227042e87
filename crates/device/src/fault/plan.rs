//! The fault plan: which faults a device injects, and when.
//!
//! Callers: tests build one and hand it to a [`FaultDevice`](super::FaultDevice), at construction or later; `state`
//! and `queue` ask it. Operation numbers count from the moment a plan was installed, starting with 1.

use std::time::Duration;

use super::counts::Traffic;
use super::crash::CrashFates;
use super::random::Random;

/// When a fault happens.
///
/// # Examples
/// ```
/// use oxifaster_device::fault::Trigger;
/// let third_only = Trigger::nth(3);
/// let broken_from_the_third = Trigger::from_nth(3);
/// let sometimes = Trigger::probability(0.01);
/// let once_somewhere = Trigger::probability(0.01).at_most(1);
/// # let _ = (third_only, broken_from_the_third, sometimes, once_somewhere);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Trigger {
    first: u64,
    probability: f64,
    limit: u64,
    seen: u64,
}

impl Trigger {
    /// Never.
    pub const NEVER: Trigger = Trigger { first: 1, probability: 0.0, limit: 0, seen: 0 };

    /// At every operation.
    pub const ALWAYS: Trigger = Trigger { first: 1, probability: 1.0, limit: u64::MAX, seen: 0 };

    /// At the `n`-th operation of its kind, counted from 1, and never again.
    #[must_use]
    pub fn nth(n: u64) -> Self {
        Self { first: n, limit: 1, ..Self::ALWAYS }
    }

    /// At the `n`-th operation of its kind, counted from 1, and for ever after.
    #[must_use]
    pub fn from_nth(n: u64) -> Self {
        Self { first: n, ..Self::ALWAYS }
    }

    /// At each operation with this probability (0 to 1).
    #[must_use]
    pub fn probability(probability: f64) -> Self {
        Self { probability, ..Self::ALWAYS }
    }

    /// At most `limit` times.
    #[must_use]
    pub fn at_most(mut self, limit: u64) -> Self {
        self.limit = limit;
        self
    }

    /// Counts an operation and says whether the fault hits it.
    pub(super) fn fires(&mut self, random: &mut Random) -> bool {
        self.seen += 1;
        let fires = self.limit > 0 && self.seen >= self.first && random.chance(self.probability);
        if fires {
            self.limit -= 1;
        }
        fires
    }
}

/// Where power is lost. From then on everything fails with `Closed` and nothing reaches the image; what was executed
/// before is what [`FaultDevice::crash`](super::FaultDevice::crash) works on.
///
/// # Examples
/// Every crash point of a workload, the one before its first change included:
/// ```
/// use oxifaster_device::fault::{CrashPoint, FaultDevice, FaultPlan};
/// use oxifaster_device::{MetadataSlot, StorageDevice};
/// let workload = |device: &FaultDevice| -> Result<(), oxifaster_device::DeviceError> {
///     device.write_metadata(MetadataSlot::Odd, b"generation 1")?;
///     device.write_metadata(MetadataSlot::Even, b"generation 2")
/// };
/// let rehearsal = FaultDevice::new(1);
/// workload(&rehearsal).unwrap();
/// for n in 0..=rehearsal.traffic().changes {
///     let device = FaultDevice::with_plan(1, FaultPlan::new().crash_at(CrashPoint::AfterChanges(n)));
///     assert_eq!(workload(&device).is_ok(), n == 2);
///     let found = device.crash(n);
///     assert_eq!(found.metadata_bytes(MetadataSlot::Even)[0] != 0, n == 2);
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CrashPoint {
    /// Right after the `n`-th block write took effect; its completion still comes.
    AfterWrites(u64),
    /// Right after the `n`-th sync; its completion still comes.
    AfterSyncs(u64),
    /// Right after the `n`-th metadata write returned.
    AfterMetadataWrites(u64),
    /// In the `n`-th metadata write: the slot being written is torn by sectors, the call fails with `Closed`.
    DuringMetadataWrite(u64),
    /// Right after the `n`-th write, sync, metadata write or truncation, counted together.
    AfterChanges(u64),
}

impl CrashPoint {
    /// Whether power is gone after `done`.
    fn is_behind(self, done: &Traffic) -> bool {
        match self {
            CrashPoint::AfterWrites(n) => done.writes >= n,
            CrashPoint::AfterSyncs(n) => done.syncs >= n,
            CrashPoint::AfterMetadataWrites(n) => done.metadata_writes >= n,
            // Taken inside of the call.
            CrashPoint::DuringMetadataWrite(_) => false,
            CrashPoint::AfterChanges(n) => done.changes >= n,
        }
    }
}

/// How long a delayed request stays in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delay {
    /// So many further reaps.
    Reaps(u64),
    /// So long.
    Time(Duration),
}

/// Which faults happen. A new plan has none.
///
/// # Examples
/// ```
/// use oxifaster_device::fault::{FaultDevice, FaultPlan, Trigger};
/// let plan = FaultPlan::new()
///     .fail_syncs(Trigger::nth(2))
///     .short_reads(0.1)
///     .reorder(1.0)
///     .space_budget_bytes(1 << 20);
/// let device = FaultDevice::with_plan(42, plan);
/// // Space comes back, the other faults stay.
/// device.change_plan(|plan| plan.space_unlimited());
/// ```
#[derive(Clone, Debug)]
pub struct FaultPlan {
    pub(super) read_errors: Trigger,
    pub(super) write_errors: Trigger,
    pub(super) sync_errors: Trigger,
    pub(super) metadata_read_errors: Trigger,
    pub(super) metadata_write_errors: Trigger,
    pub(super) metadata_sync_errors: Trigger,
    pub(super) poison: bool,
    pub(super) short_reads: Trigger,
    pub(super) short_writes: Trigger,
    pub(super) read_flips: Trigger,
    pub(super) space_budget_bytes: Option<u64>,
    pub(super) fates: CrashFates,
    reorder: f64,
    delay_reaps: (f64, u64),
    delay_time: (f64, Duration),
    crash_point: Option<CrashPoint>,
    /// Operations since the plan was installed, for crash points.
    pub(super) done: Traffic,
}

impl Default for FaultPlan {
    fn default() -> Self {
        Self::new()
    }
}

impl FaultPlan {
    /// No faults; a failed sync poisons; at a crash all fates are equally likely.
    #[must_use]
    pub fn new() -> Self {
        Self {
            read_errors: Trigger::NEVER,
            write_errors: Trigger::NEVER,
            sync_errors: Trigger::NEVER,
            metadata_read_errors: Trigger::NEVER,
            metadata_write_errors: Trigger::NEVER,
            metadata_sync_errors: Trigger::NEVER,
            poison: true,
            short_reads: Trigger::NEVER,
            short_writes: Trigger::NEVER,
            read_flips: Trigger::NEVER,
            space_budget_bytes: None,
            fates: CrashFates::default(),
            reorder: 0.0,
            delay_reaps: (0.0, 0),
            delay_time: (0.0, Duration::ZERO),
            crash_point: None,
            done: Traffic::default(),
        }
    }

    /// Block reads fail with an I/O error.
    #[must_use]
    pub fn fail_reads(mut self, trigger: Trigger) -> Self {
        self.read_errors = trigger;
        self
    }

    /// Block writes fail with an I/O error. What the range holds then is undefined: some of its sectors are new.
    #[must_use]
    pub fn fail_writes(mut self, trigger: Trigger) -> Self {
        self.write_errors = trigger;
        self
    }

    /// Syncs fail with an I/O error. As in a kernel that marks pages clean after a failed write-back, what the sync should
    /// have made durable is still read, is lost at the next crash, and no later sync brings it back.
    #[must_use]
    pub fn fail_syncs(mut self, trigger: Trigger) -> Self {
        self.sync_errors = trigger;
        self
    }

    /// Metadata reads fail with an I/O error.
    #[must_use]
    pub fn fail_metadata_reads(mut self, trigger: Trigger) -> Self {
        self.metadata_read_errors = trigger;
        self
    }

    /// Metadata writes fail with an I/O error before their sync. The slot is left torn by sectors; nothing is poisoned.
    #[must_use]
    pub fn fail_metadata_writes(mut self, trigger: Trigger) -> Self {
        self.metadata_write_errors = trigger;
        self
    }

    /// The sync inside of a metadata write fails: the slot is read as written, is the old one after a crash, and the device
    /// is poisoned.
    #[must_use]
    pub fn fail_metadata_syncs(mut self, trigger: Trigger) -> Self {
        self.metadata_sync_errors = trigger;
        self
    }

    /// Whether the device refuses writes and syncs after a failed sync, as the contract wants (the default). Without it
    /// the device behaves as a bare file: a layer above that wrongly tries again is told `Ok` and loses data at the crash.
    #[must_use]
    pub fn poison_on_failed_sync(mut self, poison: bool) -> Self {
        self.poison = poison;
        self
    }

    /// Block reads of more than one sector move fewer bytes than asked (a multiple of 512, not 0) with this probability.
    #[must_use]
    pub fn short_reads(mut self, probability: f64) -> Self {
        self.short_reads = Trigger::probability(probability);
        self
    }

    /// Block writes move fewer bytes than asked (a multiple of 512, not 0) with this probability.
    #[must_use]
    pub fn short_writes(mut self, probability: f64) -> Self {
        self.short_writes = Trigger::probability(probability);
        self
    }

    /// Block reads deliver one flipped bit; the image stays as it is.
    #[must_use]
    pub fn flip_bits_in_reads(mut self, trigger: Trigger) -> Self {
        self.read_flips = trigger;
        self
    }

    /// Blocks may take so many bytes together; a write beyond that writes what fits and fails with `Full`. Metadata slots
    /// are allocated once and do not count. Truncation gives space back.
    #[must_use]
    pub fn space_budget_bytes(mut self, bytes: u64) -> Self {
        self.space_budget_bytes = Some(bytes);
        self
    }

    /// Space has no limit but the capacity.
    #[must_use]
    pub fn space_unlimited(mut self) -> Self {
        self.space_budget_bytes = None;
        self
    }

    /// Batches are executed, and completions delivered, in shuffled order with this probability.
    #[must_use]
    pub fn reorder(mut self, probability: f64) -> Self {
        self.reorder = probability;
        self
    }

    /// A request stays in flight for 1 to `reaps_max` further reaps with this probability: not executed, visible to no
    /// read, covered by no sync, and yet possibly on the device after a crash. A waiting reap that finds nothing else
    /// releases the next one.
    #[must_use]
    pub fn delay_by_reaps(mut self, probability: f64, reaps_max: u64) -> Self {
        self.delay_reaps = (probability, reaps_max.max(1));
        self
    }

    /// A request stays in flight for a time up to `time_max` with this probability (real time: not replayed by the seed).
    #[must_use]
    pub fn delay_by_time(mut self, probability: f64, time_max: Duration) -> Self {
        self.delay_time = (probability, time_max);
        self
    }

    /// Power is lost at this point.
    #[must_use]
    pub fn crash_at(mut self, point: CrashPoint) -> Self {
        self.crash_point = Some(point);
        self
    }

    /// What a crash makes of unsynced writes.
    #[must_use]
    pub fn crash_fates(mut self, fates: CrashFates) -> Self {
        self.fates = fates;
        self
    }

    /// The plan of a device after a crash or a restart: space and fates stay, faults do not.
    pub(super) fn after_restart(&self) -> Self {
        Self {
            space_budget_bytes: self.space_budget_bytes,
            fates: self.fates,
            poison: self.poison,
            ..Self::new()
        }
    }

    /// Starts to count: called when the plan is installed.
    pub(super) fn installed(mut self) -> Self {
        self.done = Traffic::default();
        self
    }

    /// Whether the crash point lies behind what was done.
    pub(super) fn power_is_lost(&self) -> bool {
        self.crash_point.is_some_and(|point| point.is_behind(&self.done))
    }

    /// Whether power is lost in the metadata write that was just counted.
    pub(super) fn power_is_lost_in_metadata_write(&self) -> bool {
        self.crash_point == Some(CrashPoint::DuringMetadataWrite(self.done.metadata_writes))
    }

    /// Whether the next batch is shuffled.
    pub(super) fn shuffles(&self, random: &mut Random) -> bool {
        random.chance(self.reorder)
    }

    /// How long the next request is delayed, if it is.
    pub(super) fn draw_delay(&self, random: &mut Random) -> Option<Delay> {
        let (probability, reaps_max) = self.delay_reaps;
        if random.chance(probability) {
            return Some(Delay::Reaps(1 + random.below(reaps_max)));
        }
        let (probability, time_max) = self.delay_time;
        if random.chance(probability) {
            let micros = u64::try_from(time_max.as_micros()).unwrap_or(u64::MAX);
            return Some(Delay::Time(Duration::from_micros(random.below(micros.saturating_add(1)))));
        }
        None
    }
}
